"""Linear heads on wide features: ridge, linear SVM and logistic regression.

The objective is (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 (Mairal, NIPS
2016, eq. 7), where x are the features centred and divided by their root mean square
norm, y is +1 for the sample's class and -1 for the others, and the loss is
(y - f)^2 / 2 or max(0, 1 - y f)^2 / 2, summed over the classes, or the multinomial log
loss.
"""

from sklearn_ckn._heads._affine import affine, fits
from sklearn_ckn._heads._alphas import resolve_alphas
from sklearn_ckn._heads._calibration import log_probabilities, probabilities
from sklearn_ckn._heads._folds import (
    complements,
    group_folds,
    held_out_folds,
    keep_classes,
    most_frequent_labels,
)
from sklearn_ckn._heads._path import (
    LOSSES,
    fit_classifier,
    is_correct,
    one_vs_rest,
)
from sklearn_ckn._heads._refit import TRAINING_LOSSES, refit_head
from sklearn_ckn._heads._regression import fit_ridge_regressor
from sklearn_ckn._heads._samples import Samples
from sklearn_ckn._heads._standardize import StandardizedFeatures

__all__ = [
    "LOSSES",
    "TRAINING_LOSSES",
    "Samples",
    "StandardizedFeatures",
    "affine",
    "complements",
    "fit_classifier",
    "fit_ridge_regressor",
    "fits",
    "group_folds",
    "held_out_folds",
    "is_correct",
    "keep_classes",
    "log_probabilities",
    "most_frequent_labels",
    "one_vs_rest",
    "probabilities",
    "refit_head",
    "resolve_alphas",
]
