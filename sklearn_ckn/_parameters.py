"""Per-layer parameters: one value for all layers or one for each."""

from math import ceil, inf
from numbers import Integral, Real

from sklearn_ckn._kernels import KERNELS
from sklearn_ckn._layer import LayerSettings


def _positive_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _positive_real(value):
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < value < inf


#: For each parameter: whether a value is accepted, which ones are, and its type.
_RULES = {
    "n_anchors": (_positive_integer, "an integer of at least 1", int),
    "patch_size": (_positive_integer, "an integer of at least 1", int),
    "subsampling": (
        lambda value: _positive_integer(value) or value == "auto",
        'an integer of at least 1 or "auto"',
        int,
    ),
    "kernel": (lambda value: value in KERNELS, f"one of {', '.join(KERNELS)}", str),
    "beta": (_positive_real, "a positive number", float),
    "padding": (lambda value: value in ("same", "valid"), '"same" or "valid"', str),
    "nystrom_reg": (_positive_real, "a positive number", float),
}


def _number_of_layers(parameters):
    """Return the number of layers and the words that say where it comes from."""
    if "n_layers" in parameters:
        n_layers = parameters["n_layers"]
        return n_layers, f"n_layers is {n_layers}"
    n_anchors = parameters["n_anchors"]
    n_layers = len(n_anchors) if hasattr(n_anchors, "__len__") else 1
    if n_layers == 0:
        raise ValueError("n_anchors is empty: give one number of anchors per layer.")
    return n_layers, f"n_anchors has {n_layers}"


def _per_layer(name, value, n_layers, source):
    """Return one checked value per layer."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        values = (value,) * n_layers
        names = (name,) * n_layers
    else:
        values = tuple(value)
        names = tuple(f"{name}[{i}]" for i in range(len(values)))
    if len(values) != n_layers:
        raise ValueError(
            f"{name} has {len(values)} values and {source}: give {name} one value "
            "for all layers or one for each."
        )
    accepted, description, _ = _RULES[name]
    for label, item in zip(names, values, strict=True):
        if not accepted(item):
            raise ValueError(f"{label} must be {description}, got {item!r}.")
    return values


def resolve_layers(parameters, image_shape):
    """Turn parameters into the settings of each layer.

    Parameters
    ----------
    parameters : dict
        Values by the names of the fields of LayerSettings, of which the exact
        kernel has no ``n_anchors`` and ``nystrom_reg``; others are ignored.
        ``n_layers`` gives the number of layers, or ``n_anchors`` where it is missing.
    image_shape : tuple of int
        (H, W, C) of the images; a subsampling of ``"auto"`` follows from it.

    Returns
    -------
    settings : list of LayerSettings
        With None for what is not in ``parameters``.

    Raises
    ------
    ValueError
        A value is out of range, or a tuple's length is not the number of layers.
    """
    n_layers, source = _number_of_layers(parameters)
    columns = {
        name: _per_layer(name, parameters[name], n_layers, source)
        for name in _RULES
        if name in parameters
    }
    if isinstance(parameters["subsampling"], str):
        columns["subsampling"] = (2,) * (n_layers - 1) + ("auto",)
    settings = []
    shape = tuple(image_shape)
    for values in zip(*columns.values(), strict=True):
        layer = dict.fromkeys(_RULES) | dict(zip(columns, values, strict=True))
        if layer["subsampling"] == "auto":
            positions = LayerSettings(**{**layer, "subsampling": 1})
            layer["subsampling"] = ceil(max(positions.response_shape(shape)) / 3)
        for name in columns:
            layer[name] = _RULES[name][2](layer[name])
        settings.append(LayerSettings(**layer))
        shape = settings[-1].output_shape(shape)
    return settings
