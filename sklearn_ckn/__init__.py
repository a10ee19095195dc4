"""Convolutional Kernel Networks as scikit-learn estimators."""

from sklearn_ckn._classifier import CKNClassifier
from sklearn_ckn._common.pickles import InconsistentVersionWarning
from sklearn_ckn._displays import (
    AnchorsDisplay,
    ContributionDisplay,
    FeatureMapDisplay,
    TrainingDisplay,
)
from sklearn_ckn._exact_kernel import ckn_kernel
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._linear_path import LinearPathClassifier
from sklearn_ckn._regressor import CKNRegressor
from sklearn_ckn._ridge_path import RidgePathRegressor
from sklearn_ckn._signals import signals_to_images
from sklearn_ckn._spherical_kmeans import SphericalKMeans
from sklearn_ckn._supervised import SupervisedCKNClassifier
from sklearn_ckn._version import __version__
from sklearn_ckn._whitening import PatchWhitening

__all__ = [
    "AnchorsDisplay",
    "CKNClassifier",
    "CKNFeatures",
    "CKNRegressor",
    "ContributionDisplay",
    "FeatureMapDisplay",
    "InconsistentVersionWarning",
    "LinearPathClassifier",
    "PatchWhitening",
    "RidgePathRegressor",
    "SphericalKMeans",
    "SupervisedCKNClassifier",
    "TrainingDisplay",
    "__version__",
    "ckn_kernel",
    "signals_to_images",
]


def __dir__() -> list[str]:
    return __all__
