"""Cases of the feature map alone: the engine of one layer, and CKNFeatures."""

from dataclasses import replace

import numpy as np
from bounds import REACH, gradient_bounds, is_comparable, layer_error, network_bound
from checks import (
    check_copies,
    check_fitted,
    check_same,
    close,
    require,
    watched_warnings,
)
from images import (
    LAYOUTS,
    choose,
    computed,
    draw,
    image_shape,
    lay_out,
    power,
    random_images,
)
from parameters import network_parameters
from scipy.ndimage import maximum_filter

from sklearn_ckn import CKNFeatures
from sklearn_ckn._common.norms import image_scales, unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.encoder import normalized
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.network import Network
from sklearn_ckn._network.pooling import pooling_matrix
from sklearn_ckn._network.settings import LayerSettings
from sklearn_ckn._network.unfold import SMALLEST_NORM, patch_offsets

#: What images of about 1 can show.
UNIT_KINDS = {"noise": 4, "sparse": 3, "positive": 2, "floor": 4, "spots": 4}


def random_layer(rng, shape):
    """Return a layer with random anchors, some of them close together."""
    settings = LayerSettings(
        n_anchors=int(rng.integers(1, 41)),
        patch_size=3 if rng.random() < 0.6 else int(rng.integers(1, 8)),
        subsampling="global" if rng.random() < 0.1 else int(rng.integers(1, 5)),
        kernel=str(rng.choice(["exp", "exp", "poly", "arccos1"])),
        beta=power(rng, -1, 1.3),
        padding=str(rng.choice(["same", "valid"])),
        nystrom_reg=power(rng, -4, 0),
        dilation=1 if rng.random() < 0.7 else int(rng.integers(2, 6)),
    )
    anchors = rng.standard_normal((settings.n_anchors, settings.patch_length(shape)))
    if rng.random() < 0.5:
        anchors = np.abs(anchors)
    if rng.random() < 0.2:
        anchors = anchors[:1] + power(rng, -3, -1) * anchors
    return Layer.from_anchors(settings, unit_rows(anchors))


def position_errors(maps, layer, eps):
    """Return bounds of the errors of a layer's output at every position, (n, H', W').

    Every position has the accuracy of the patches that are pooled there.
    """
    settings = layer.settings
    height, width = settings.response_shape(maps.shape[1:])
    pads = [settings.pad_axis(size) for size in maps.shape[1:3]]
    squares = np.pad((maps**2).sum(axis=3), ((0, 0), *pads))
    offsets = patch_offsets(settings, maps.shape[1:])
    norms = np.sqrt(sum(squares[:, i : i + height, j : j + width] for i, j in offsets))
    window = 2 * REACH + 1
    reach = maximum_filter(norms, (1, window, window), mode="constant")
    reach = np.divide(reach, norms, out=np.ones_like(norms), where=norms > 0)
    errors = norms * layer_error(layer, eps, reach)
    stride = settings.subsampling
    down, along = (pooling_matrix(size, stride) for size in (height, width))
    return down @ errors @ along.T


def check_engine(rng):
    """One layer, forward and backward, against the array engine in float64."""
    n, n_channels = int(rng.integers(1, 4)), int(rng.choice([1, 2, 3, 32, 40]))
    shape = (*rng.integers(1, 12, size=2).tolist(), n_channels)
    dtype = np.dtype(str(rng.choice(["f4", "f8"])))
    images = draw(rng, choose(rng, UNIT_KINDS), (n, *shape))
    images = (images / np.abs(images).max() if images.any() else images).astype(dtype)
    layer = random_layer(rng, shape).with_anchors_as(dtype)
    exact_images = images.astype("f8")
    engine, oracle = CPUEngine(), OracleEngine()
    eps = np.finfo(dtype).eps
    network = Network((layer,), shape)
    prepared = engine.prepare(network, dtype)
    exactly = oracle.prepare(network, "f8")
    output, tape = engine.encode_with_tape(images, prepared)
    check_same(engine.encode(images, prepared), output, "encode and its tape")
    expected, exact_tape = oracle.encode_with_tape(exact_images, exactly)
    require(np.isfinite(output).all(), "features are not finite")
    norms = np.sqrt((exact_images**2).sum(axis=(1, 2, 3)))
    if is_comparable([layer], eps):
        bound = 2 * position_errors(exact_images, layer, eps)
        # Patches below this norm count as empty, or not, as their norm is rounded.
        smallest = 2 * SMALLEST_NORM * np.linalg.norm(layer.projection, 2)
        smallest *= output.shape[-1]
        close(
            output.reshape(-1, output.shape[-1]),
            expected.reshape(-1, output.shape[-1]),
            bound.ravel() + smallest,
            "position",
        )
    output_gradient = rng.standard_normal(output.shape).astype(dtype)
    (gradients,), to_images = engine.encode_backward(
        tape, prepared, output_gradient, to_images=True
    )
    (exact,), exact_to_images = oracle.encode_backward(
        exact_tape, exactly, output_gradient.astype("f8"), to_images=True
    )
    bounds = gradient_bounds(layer, exact_images, output_gradient.astype("f8"), eps)
    for name in ("anchors", "projection", "beta"):
        actual = np.ravel(getattr(gradients, name))[np.newaxis]
        right = np.ravel(getattr(exact, name))[np.newaxis]
        require(np.isfinite(actual).all(), f"gradient in {name} is not finite")
        if is_comparable([layer], eps) and norms.any():
            close(actual, right, 2 * bounds[name] + 1e-30, f"gradient in {name}")
    require(np.isfinite(to_images).all(), "gradient in images is not finite")
    if is_comparable([layer], eps):
        close(
            to_images[np.newaxis],
            exact_to_images[np.newaxis],
            2 * bounds["images"] + 1e-30,
            "gradient in images",
        )


def exact_features(network, images, flip_average):
    """Return a network's features of images by the oracle, and their error bounds.

    Parameters
    ----------
    network : CKNFeatures
        Fitted.
    images : ndarray of shape (n, H, W, C), float32 or float64
    flip_average : bool

    Returns
    -------
    features : ndarray of shape (n, ...), float64
        Of the images times powers of two.
    scale : ndarray of shape (n, 1), float64
        These powers.
    bounds : ndarray of shape (n,)
    """
    eps = np.finfo(images.dtype).eps
    oracle, network = OracleEngine(), network._network
    prepared = oracle.prepare(network, "f8")
    exact = images.astype("f8")
    scale = image_scales(exact)[0]
    maps = [exact * scale]
    for layer in prepared:
        maps.append(oracle.encode(maps[-1], [layer]))
    layers = [layer.with_anchors_as("f8") for layer in network.layers]
    bounds = network_bound(maps[:-1], layers, eps)
    features = maps[-1]
    if flip_average:
        mirrored = oracle.encode(maps[0][:, :, ::-1], prepared)
        features = (features + mirrored) / 2
    return features.reshape(len(images), -1), scale.reshape(-1, 1), bounds


def check_features_of(network, features, images):
    """Compare features with those of the oracle, of whitened images if they are."""
    whitening = network._network.whitening
    if whitening is not None:
        images = whitening.apply(images, images.dtype, CPUEngine())
    eps = np.finfo(images.dtype).eps
    require(
        features.dtype == images.dtype,
        f"features of {images.dtype} are {features.dtype}",
    )
    power = network._network.normalize
    if power > 0:
        plain = replace(network._network, whitening=None, normalize=0.0)
        scale, inverse = image_scales(images)
        images = images * scale
        before = CPUEngine().bind(plain, images.dtype).features(images)
        expected = normalized(before, power)[0] * inverse[:, 0, 0] ** (1 - power)
        check_same(features, expected, "normalized features")
        features = before
    flip_average = network._network.flip_average
    expected, scale, bounds = exact_features(network, images, flip_average)
    limits = np.finfo(images.dtype)
    with np.errstate(over="ignore"):
        in_range = np.abs(expected / scale).max(axis=1) < float(limits.max) / 4
    require(np.isfinite(features[in_range]).all(), "features are not finite")
    require(not np.isnan(features).any(), "features are NaN")
    if is_comparable(network._network.layers, eps):
        # Denormal numbers have the absolute rounding of the smallest, and the kernel
        # functions the smallest normal number of float32 for zero.
        smallest = float(limits.smallest_subnormal) * scale[:, 0] + 1e-34
        smallest = smallest * expected.shape[1] ** 0.5
        actual = features[in_range].astype("f8") * scale[in_range]
        bounds = 2 * bounds + smallest
        close(actual, expected[in_range], bounds[in_range], "image")


def check_ckn_features(rng):
    """Fit and transform, in several layouts, against the oracle."""
    shape = image_shape(rng)
    n = int(rng.integers(1, 9))
    images, kind = random_images(rng, n, shape)
    parameters = network_parameters(rng)
    X, extra = lay_out(rng, images, str(rng.choice(LAYOUTS)))
    network = CKNFeatures(**parameters, **extra)
    before = images.copy()
    with watched_warnings(kind):
        features = network.fit(X).transform(X)
        check_same(images, before, "X after fit")
        check_fitted(network)
        used = computed(images)
        for anchors in network.anchors_:
            require(anchors.dtype == used.dtype, f"anchors are {anchors.dtype}")
            norms = np.linalg.norm(anchors.astype("f8"), axis=1)
            rounding = (anchors.shape[1] + 8) * np.finfo(used.dtype).eps
            require((np.abs(norms - 1) <= rounding).all(), "anchors are no unit rows")
        for residual in network.nystrom_residual_:
            require(0 <= residual <= 1, f"Nystroem residual {residual}")
        check_features_of(network, features, used)
        check_same(network.transform(images), features, "transform of the plain layout")
        last = network.transform(images[-1:])
        check_same(last, features[-1:], "transform of one image")
        again = CKNFeatures(**parameters, **extra).fit(used)
        for left, right in zip(network.anchors_, again.anchors_, strict=True):
            check_same(left, right, "anchors of the converted images")
        if rng.random() < 0.3:
            check_copies(network, lambda copy: copy.fit(X), "transform", X)
    return kind
