"""Convolutional Kernel Networks as scikit-learn estimators."""

from sklearn_ckn._classifier import CKNClassifier
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._spherical_kmeans import SphericalKMeans
from sklearn_ckn._version import __version__
from sklearn_ckn._whitening import PatchWhitening

__all__ = [
    "CKNClassifier",
    "CKNFeatures",
    "PatchWhitening",
    "SphericalKMeans",
    "__version__",
]
