"""Writes testdata/probe/sklearn.json: small features with classes, and what scikit-learn's classifiers make of them.

Run from the project's root: python testdata/probe/make.py (packages: numpy, scikit-learn).
Features are multiples of 1/32, given as integers. Losses are what igpt minimises: mean nats + strength / 2 · |W|².
"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

N, WIDTH = 300, 12


def logistic(x, labels, strength):
    two = labels.max() == 1
    # With two classes scikit-learn fits the difference of the two vectors.
    c = (2 if two else 1) / (strength * N)
    fit = LogisticRegression(C=c, tol=1e-10, max_iter=10000).fit(x, labels)
    w, b = fit.coef_, fit.intercept_
    if two:
        w, b = np.concatenate([-w, w]) / 2, np.concatenate([-b, b]) / 2
    scores = x @ w.T + b
    scores -= scores.max(1, keepdims=True)
    nats = np.log(np.exp(scores).sum(1)) - scores[np.arange(N), labels]
    loss = nats.mean() + strength / 2 * (w**2).sum()
    return {"strength": strength, "classes": int(labels.max()) + 1, "loss": loss, "predicted": fit.predict(x).tolist()}


def ridge(x, labels, strength):
    predicted = RidgeClassifier(alpha=strength * N).fit(x, labels).predict(x)
    return {"strength": strength, "predicted": predicted.tolist()}


def main():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, N)
    centres = rng.normal(size=(4, WIDTH))
    features = centres[labels] + rng.normal(size=(N, WIDTH)) * 1.5 + 3 * rng.normal(size=WIDTH)
    features *= np.exp(rng.normal(size=WIDTH))
    features = np.rint(features * 32).astype(int)
    x = StandardScaler().fit_transform(features / 32)
    golden = {
        "width": WIDTH,
        "features": features.ravel().tolist(),
        "labels": labels.tolist(),
        "logistic": [logistic(x, labels, s) for s in (1.0, 1e-2, 1e-4)],
        "logistic_two": [logistic(x, labels % 2, s) for s in (1e-1, 1e-3)],
        "ridge": [ridge(x, labels, s) for s in (1.0, 1e-3)],
    }
    path = pathlib.Path(__file__).parent / "sklearn.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
