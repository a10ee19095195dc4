"""Checks of the layer parameters: one value for all layers, or one for each layer."""

import sys
from math import ceil
from numbers import Integral, Real

from sklearn_ckn._common.parameters import plain_value
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.settings import LayerSettings

# The CUDA kernels use 32-bit integers for sizes. No axis of an array is longer in
# practice.
LARGEST_INTEGER = 2**31 - 1


# With a larger beta, the rounding errors of cosines in float64, 1e-16, cause large
# errors of kernel values. With a smaller one the kernel is practically constant, and
# training divides by beta.
SMALLEST_BETA, LARGEST_BETA = 1e-100, 1e12


# Largest number of values of a patch. With longer patches, some thousand anchors or
# sampled patches would fill the memory. The part of a map over which a patch extends
# has no more values either: so many zeros may surround a map.
LARGEST_PATCH = 2**22


def _integer(value):
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    return is_integer and 1 <= value <= LARGEST_INTEGER


def _number(value):
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and 0 < value <= sys.float_info.max


def _boolean(value):
    return isinstance(value, bool)


def _one_of(*names):
    return lambda value: isinstance(value, str) and value in names


def _stride(value):
    return value if value == "global" else int(value)


_AN_INTEGER = "an integer of at least 1 and below 2**31"


#: For each parameter: a function that tells whether a value is accepted, a description
#: of the accepted values for error messages, and a function that converts a value.
_RULES = {
    "n_anchors": (_integer, _AN_INTEGER, int),
    "patch_size": (_integer, _AN_INTEGER, int),
    "dilation": (_integer, _AN_INTEGER, int),
    "subsampling": (
        lambda value: _integer(value) or _one_of("auto", "global")(value),
        f'{_AN_INTEGER}, "auto" or "global"',
        _stride,
    ),
    "kernel": (_one_of(*KERNELS), f"one of {', '.join(KERNELS)}", str),
    "beta": (
        lambda value: _number(value) and SMALLEST_BETA <= value <= LARGEST_BETA,
        f"a positive number between {SMALLEST_BETA} and {LARGEST_BETA}",
        float,
    ),
    "padding": (_one_of("same", "valid"), '"same" or "valid"', str),
    "center_patches": (_boolean, "True or False", bool),
    "keep_norm": (_boolean, "True or False", bool),
    "nystrom_reg": (_number, "a positive number", float),
}


def _number_of_layers(parameters):
    """Return the number of layers, and a phrase that says where it comes from."""
    if "n_layers" in parameters:
        n_layers = parameters["n_layers"]
        return n_layers, f"n_layers is {n_layers}"
    n_anchors = parameters["n_anchors"]
    n_layers = len(n_anchors) if hasattr(n_anchors, "__len__") else 1
    if n_layers == 0:
        raise ValueError("n_anchors is empty: give one number of anchors per layer.")
    return n_layers, f"n_anchors has {n_layers}"


def _per_layer(name, value, n_layers, source):
    """Return a tuple with one checked value for each layer."""
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
    """Check the parameters of layers and convert them to LayerSettings.

    Parameters
    ----------
    parameters : dict
        Values of the parameters by name. The names are the fields of LayerSettings,
        for the exact kernel without ``n_anchors`` and ``nystrom_reg``; those with a
        default may be missing. Other names are ignored. The number of layers is
        ``n_layers`` or, if it is missing, the number of values of ``n_anchors``.
    image_shape : tuple of int
        (H, W, C) of the images; the subsampling of ``"auto"`` is computed from it.

    Returns
    -------
    settings : list of LayerSettings
        One item for each layer. ``n_anchors`` and ``nystrom_reg`` are None if they are
        not in ``parameters``, other fields have their defaults.

    Raises
    ------
    ValueError
        A value is not accepted, a parameter has another number of values than there
        are layers, patches are too large, or patches of one pixel are to be centred.
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
        columns["subsampling"] = (2,) * (n_layers - 1) + (parameters["subsampling"],)
    settings = []
    shape = tuple(image_shape)
    for values in zip(*columns.values(), strict=True):
        layer = {"n_anchors": None, "nystrom_reg": None}
        layer |= dict(zip(columns, values, strict=True))
        if layer["subsampling"] == "auto":
            positions = LayerSettings(**{**layer, "subsampling": 1})
            layer["subsampling"] = ceil(max(positions.response_shape(shape)) / 3)
        for name in columns:
            layer[name] = _RULES[name][2](layer[name])
        settings.append(LayerSettings(**layer))
        # After a layer of the exact kernel, the number of channels is None.
        map_shape = (*shape[:2], shape[2] or 1)
        if settings[-1].patch_length(map_shape) > LARGEST_PATCH:
            raise ValueError(
                f"patch_size={layer['patch_size']} makes patches of more than "
                f"{LARGEST_PATCH} values in layer {len(settings) - 1}: use smaller "
                "patches."
            )
        if settings[-1].span_length(map_shape) > LARGEST_PATCH:
            raise ValueError(
                f"dilation={layer['dilation']} makes patches extend over more than "
                f"{LARGEST_PATCH} values in layer {len(settings) - 1}: use a smaller "
                "dilation."
            )
        if settings[-1].center_patches and settings[-1].patch_shape(shape) == (1, 1):
            raise ValueError(
                "center_patches=True leaves nothing of the patches of one pixel of "
                f"layer {len(settings) - 1}: use a larger patch_size, maps of more "
                "than one pixel, or center_patches=False for this layer."
            )
        shape = settings[-1].output_shape(shape)
    return settings
