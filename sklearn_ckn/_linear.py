"""The names under which models pickled by version 0.1.0 refer to their heads."""

from sklearn_ckn._linear_path import LinearPathClassifier
from sklearn_ckn._ridge_path import RidgePathRegressor

__all__ = ["LinearPathClassifier", "RidgePathRegressor"]
