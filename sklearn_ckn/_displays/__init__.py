"""Plots of fitted estimators, in the style of scikit-learn's displays."""

from sklearn_ckn._displays.anchors import AnchorsDisplay
from sklearn_ckn._displays.contributions import ContributionDisplay
from sklearn_ckn._displays.feature_maps import FeatureMapDisplay
from sklearn_ckn._displays.training import TrainingDisplay

__all__ = [
    "AnchorsDisplay",
    "ContributionDisplay",
    "FeatureMapDisplay",
    "TrainingDisplay",
]
