"""Generative pretraining from pixels (iGPT): train, sample, complete, score, features, classifiers.

>>> import igpt
>>> model = igpt.load()                      # the emoji model that comes with the package
>>> model.sample(4, seed=1).shape
(4, 16, 16, 3)
>>> images, labels, classes = igpt.data.load("emoji", "test")
>>> model.complete(images[:2], rows=8, n=3).shape
(2, 3, 16, 16, 3)
>>> bool((model.log_likelihood(images[:8]) < 0).all())
True
>>> model.features(images[:8], layers=3).shape
(8, 128)

Images are arrays uint8 (N, H, W) or (N, H, W, C), floats in [0, 1], lists of PIL images, arrays or paths, or a folder
(:func:`igpt.images`).
"""

from . import data
from ._igpt import Error, __version__
from ._images import images
from ._model import Inspection, Model, load
from ._palette import Palette
from ._report import Report, report
from ._training import finetune, pretrain

__all__ = [
    "Error",
    "Inspection",
    "Model",
    "Palette",
    "Report",
    "__version__",
    "data",
    "finetune",
    "images",
    "load",
    "pretrain",
    "report",
]
