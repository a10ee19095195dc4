"""Constraints with which scikit-learn validates the parameters of a network."""

from numbers import Integral, Real
from os import PathLike

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sklearn_ckn._common.devices import DEVICES
from sklearn_ckn._network.kernels import KERNELS

NETWORK_CONSTRAINTS = {
    "n_anchors": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "patch_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "subsampling": [
        Interval(Integral, 1, None, closed="left"),
        StrOptions({"auto"}),
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
    "flip_average": ["boolean"],
    "memory": [str, PathLike, HasMethods(["cache"]), None],
    "device": [StrOptions(DEVICES)],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
}
