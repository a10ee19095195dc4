"""Per-layer parameters: one value for all layers or one for each."""

from math import ceil, inf
from numbers import Integral, Real

from sklearn_ckn._kernels import KERNELS
from sklearn_ckn._layer import LayerSettings


def _positive_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _positive_real(value):
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < value < inf


_RULES = {
    "n_anchors": (_positive_integer, "an integer of at least 1"),
    "patch_size": (_positive_integer, "an integer of at least 1"),
    "subsampling": (
        lambda value: _positive_integer(value) or value == "auto",
        'an integer of at least 1 or "auto"',
    ),
    "kernel": (lambda value: value in KERNELS, f"one of {', '.join(KERNELS)}"),
    "beta": (_positive_real, "a positive number"),
    "padding": (lambda value: value in ("same", "valid"), '"same" or "valid"'),
    "nystrom_reg": (_positive_real, "a positive number"),
}


def _per_layer(name, value, n_layers):
    """Return one checked value per layer."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        values = (value,) * n_layers
        names = (name,) * n_layers
    else:
        values = tuple(value)
        names = tuple(f"{name}[{i}]" for i in range(len(values)))
    if len(values) != n_layers:
        raise ValueError(
            f"{name} has {len(values)} values and n_anchors has {n_layers}: give "
            f"{name} one value for all layers or as many values as n_anchors."
        )
    accepted, description = _RULES[name]
    for label, item in zip(names, values, strict=True):
        if not accepted(item):
            raise ValueError(f"{label} must be {description}, got {item!r}.")
    return values


def resolve_layers(estimator, image_shape):
    """Turn an estimator's parameters into the settings of each layer.

    Parameters
    ----------
    estimator : CKNFeatures
        Its ``n_anchors`` gives the number of layers.
    image_shape : tuple of int
        (H, W, C) of the images; a subsampling of ``"auto"`` follows from it.

    Returns
    -------
    settings : list of LayerSettings

    Raises
    ------
    ValueError
        A value is out of range, or a tuple's length is not that of ``n_anchors``.
    """
    n_anchors = estimator.n_anchors
    n_layers = len(n_anchors) if hasattr(n_anchors, "__len__") else 1
    if n_layers == 0:
        raise ValueError("n_anchors is empty: give one number of anchors per layer.")
    columns = {
        name: _per_layer(name, getattr(estimator, name), n_layers) for name in _RULES
    }
    if isinstance(estimator.subsampling, str):
        columns["subsampling"] = (2,) * (n_layers - 1) + ("auto",)
    settings = []
    shape = tuple(image_shape)
    for values in zip(*columns.values(), strict=True):
        layer = dict(zip(columns, values, strict=True))
        if layer["subsampling"] == "auto":
            positions = LayerSettings(**{**layer, "subsampling": 1})
            layer["subsampling"] = ceil(max(positions.response_shape(shape)) / 3)
        layer = LayerSettings(
            n_anchors=int(layer["n_anchors"]),
            patch_size=int(layer["patch_size"]),
            subsampling=int(layer["subsampling"]),
            kernel=str(layer["kernel"]),
            beta=float(layer["beta"]),
            padding=str(layer["padding"]),
            nystrom_reg=float(layer["nystrom_reg"]),
        )
        settings.append(layer)
        shape = layer.output_shape(shape)
    return settings
