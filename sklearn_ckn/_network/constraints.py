"""Constraints with which scikit-learn validates the parameters of a network."""

from numbers import Integral, Real
from os import PathLike

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sklearn_ckn._common.devices import DEVICES
from sklearn_ckn._network.kernels import KERNELS

NETWORK_CONSTRAINTS = {
    "n_anchors": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "patch_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "dilation": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "subsampling": [
        Interval(Integral, 1, None, closed="left"),
        StrOptions({"auto", "global"}),
        "array-like",
    ],
    "kernel": [StrOptions(set(KERNELS)), "array-like"],
    "beta": [Interval(Real, 0, None, closed="neither"), "array-like"],
    "padding": [StrOptions({"same", "valid"}), "array-like"],
    "image_shape": ["array-like", None],
    "nystrom_reg": [Interval(Real, 0, None, closed="neither"), "array-like"],
    "n_patches": [Interval(Integral, 1, None, closed="left")],
    "kmeans_max_iter": [Interval(Integral, 0, None, closed="left")],
    "kmeans_tol": [Interval(Real, 0, None, closed="left")],
    "differences": ["boolean"],
    "whitening": [Interval(Real, 0, 0.5, closed="both"), None],
    "flip_average": ["boolean"],
    "normalize": [Interval(Real, 0, 1, closed="both")],
    "branches": [list, tuple, StrOptions({"signals"}), None],
    "memory": [str, PathLike, HasMethods(["cache"]), None],
    "device": [StrOptions(DEVICES)],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
}

#: Of the estimators that have labels or targets to choose by.
CHOICE_CONSTRAINTS = {
    name: [*NETWORK_CONSTRAINTS[name], StrOptions({"auto"})]
    for name in ("whitening", "flip_average", "normalize")
}
