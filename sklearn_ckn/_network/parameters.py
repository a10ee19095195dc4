"""Per-layer parameters: one value for all layers or one for each."""

import sys
from math import ceil
from numbers import Integral, Real

from sklearn_ckn._common.parameters import plain_value
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.settings import LayerSettings

# Numbers of the kernels in C are of 32 bits on a GPU; no array is so long.
LARGEST_INTEGER = 2**31 - 1


# A larger beta turns the rounding of cosines in float64, 1e-16, into large changes. A
# smaller one is as good as none, and training divides by it.
SMALLEST_BETA, LARGEST_BETA = 1e-100, 1e12


# Values of a patch: some thousands of them, as anchors or samples, fill the memory.
LARGEST_PATCH = 2**22


def _integer(value):
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    return is_integer and 1 <= value <= LARGEST_INTEGER


def _number(value):
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and 0 < value <= sys.float_info.max


def _one_of(*names):
    return lambda value: isinstance(value, str) and value in names


_AN_INTEGER = "an integer of at least 1 and below 2**31"


#: For each parameter: whether a value is accepted, which ones are, and its type.
_RULES = {
    "n_anchors": (_integer, _AN_INTEGER, int),
    "patch_size": (_integer, _AN_INTEGER, int),
    "subsampling": (
        lambda value: _integer(value) or _one_of("auto")(value),
        f'{_AN_INTEGER} or "auto"',
        int,
    ),
    "kernel": (_one_of(*KERNELS), f"one of {', '.join(KERNELS)}", str),
    "beta": (
        lambda value: _number(value) and SMALLEST_BETA <= value <= LARGEST_BETA,
        f"a positive number between {SMALLEST_BETA} and {LARGEST_BETA}",
        float,
    ),
    "padding": (_one_of("same", "valid"), '"same" or "valid"', str),
    "nystrom_reg": (_number, "a positive number", float),
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
    parameters = {
        name: plain_value(name, parameters[name])
        for name in (*_RULES, "n_layers")
        if name in parameters
    }
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
        # Maps of the exact kernel have no channels.
        map_shape = (*shape[:2], shape[2] or 1)
        if settings[-1].patch_length(map_shape) > LARGEST_PATCH:
            raise ValueError(
                f"patch_size={layer['patch_size']} makes patches of more than "
                f"{LARGEST_PATCH} values in layer {len(settings) - 1}: use smaller "
                "patches."
            )
        shape = settings[-1].output_shape(shape)
    return settings
