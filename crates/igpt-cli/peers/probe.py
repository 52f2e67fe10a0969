"""A logistic regression in scikit-learn, for `igpt bench probe`, which writes the features; or by hand:

    python probe.py FILE IMAGES WIDTH STRENGTH TOLERANCE THREADS

FILE holds the features as (IMAGES, WIDTH) f32, then as many classes as u32.
"""

import json
import os
import sys
import time

file = sys.argv[1]
images, width = map(int, sys.argv[2:4])
strength, tolerance = map(float, sys.argv[4:6])
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = sys.argv[6]

import numpy as np
from sklearn.linear_model import LogisticRegression

x = np.fromfile(file, "<f4", images * width).reshape(images, width)
y = np.fromfile(file, "<u4", images, offset=x.nbytes)
deviation = x.std(0, dtype=np.float64)
deviation[deviation == 0] = 1
x = ((x - x.mean(0, dtype=np.float64)) / deviation).astype(np.float32)

start = time.perf_counter()
fit = LogisticRegression(C=1 / (strength * images), tol=tolerance, max_iter=10000).fit(x, y)
seconds = time.perf_counter() - start

# What igpt minimises: mean nats and the penalty.
w, (n, classes) = fit.coef_.astype(np.float64), (images, len(fit.classes_))
scores = x @ w.T + fit.intercept_
scores -= scores.max(1, keepdims=True)
nats = np.log(np.exp(scores).sum(1)) - scores[np.arange(n), np.searchsorted(fit.classes_, y)]
loss = nats.mean() + strength / 2 * (w**2).sum()
print(json.dumps({"seconds": seconds, "loss": loss, "iterations": int(fit.n_iter_[0])}))
