"""Random parameters of networks, good ones."""

import numpy as np
from images import power


def _anchors(rng):
    # More than 31 channels take the next layer to Winograd's algorithm.
    return int(rng.integers(32, 40) if rng.random() < 0.2 else rng.integers(1, 13))


def _patch_size(rng):
    return 3 if rng.random() < 0.5 else int(rng.integers(1, 8))


def _dilation(rng):
    return 1 if rng.random() < 0.7 else int(rng.integers(2, 6))


def _subsampling(rng):
    if rng.random() < 0.02:
        return int(power(rng, 2, 9))
    if rng.random() < 0.1:
        return "global"
    return int(rng.integers(1, 5)) if rng.random() < 0.8 else "auto"


def _beta(rng):
    return power(rng, -1, 1.5) if rng.random() < 0.9 else power(rng, -4, 4)


def _reg(rng):
    return power(rng, -6, 0) if rng.random() < 0.95 else power(rng, -12, 3)


def _kernel(rng):
    return str(rng.choice(["exp", "exp", "poly", "arccos1"]))


def _padding(rng):
    return str(rng.choice(["same", "same", "valid"]))


#: Parameters with one value for all layers or one for each.
PER_LAYER = {
    "patch_size": _patch_size,
    "dilation": _dilation,
    "subsampling": _subsampling,
    "kernel": _kernel,
    "beta": _beta,
    "padding": _padding,
}


def _per_layer(rng, draw, n_layers):
    """Return a value, a tuple or a list of values."""
    if rng.random() < 0.5:
        return draw(rng)
    values = [draw(rng) for _ in range(n_layers)]
    return values if rng.random() < 0.2 else tuple(values)


def per_layer_parameters(rng, n_layers):
    """Return random parameters of the layers, some left at their defaults."""
    return {
        name: _per_layer(rng, draw, n_layers)
        for name, draw in PER_LAYER.items()
        if rng.random() < 0.7
    }


def network_parameters(rng):
    """Return random parameters of CKNFeatures, small enough for a quick fit."""
    n_layers = int(rng.choice([1, 2, 3], p=[0.4, 0.5, 0.1]))
    n_anchors = tuple(_anchors(rng) for _ in range(n_layers))
    if n_layers == 1 and rng.random() < 0.5:
        n_anchors = n_anchors[0]
    parameters = {
        "n_anchors": n_anchors,
        **per_layer_parameters(rng, n_layers),
        "n_patches": int(rng.integers(1, 400)),
        "kmeans_max_iter": int(rng.choice([0, 0, 1, 5])),
        "random_state": int(rng.integers(1000)),
    }
    if rng.random() < 0.5:
        parameters["nystrom_reg"] = _per_layer(rng, _reg, n_layers)
    if rng.random() < 0.2:
        parameters["kmeans_tol"] = float(rng.choice([0, 1e-2, 10]))
    if rng.random() < 0.2:
        parameters["flip_average"] = bool(rng.random() < 0.8)
    if rng.random() < 0.2:
        parameters["whitening"] = float(rng.choice([0, 0.25, 0.5]))
    if rng.random() < 0.2:
        parameters["normalize"] = float(rng.choice([0, 0.5, 1]))
    if rng.random() < 0.2:
        parameters["random_state"] = np.int64(parameters["random_state"])
    return parameters
