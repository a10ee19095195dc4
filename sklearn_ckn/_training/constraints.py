"""Constraints with which scikit-learn validates the training parameters."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_ckn._training.augment import NAMES

TRAINING_CONSTRAINTS = {
    "learn_beta": ["boolean"],
    "n_epochs": [Interval(Integral, 0, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "schedule": [StrOptions({"cosine", "step", "constant"})],
    "augment": [StrOptions(set(NAMES)), callable, None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
    "warm_start": ["boolean"],
}
