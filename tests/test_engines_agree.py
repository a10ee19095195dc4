"""The CPU engine against the array engine, the oracle, on random configurations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from on_engines import bind, encode

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings
from sklearn_ckn._network.unfold import unfold

ORDERS = ("C", "F", "strided")

layer_settings = st.builds(
    LayerSettings,
    n_anchors=st.integers(1, 40),
    patch_size=st.integers(1, 20),
    subsampling=st.one_of(st.integers(1, 6), st.just("global")),
    kernel=st.sampled_from(KERNELS),
    beta=st.floats(0.1, 8),
    padding=st.sampled_from(["same", "valid"]),
    nystrom_reg=st.sampled_from([1e-3, 1e-1]),
    dilation=st.sampled_from([1, 1, 2, 3, 7]),
)
image_shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 17), st.integers(1, 17), st.integers(1, 40)
)
dtypes = st.sampled_from(["f4", "f8"])
seeds = st.integers(0, 2**31 - 1)


def make_images(shape, dtype, order, seed):
    """Return images, a part of their pixels zero, in one of several layouts."""
    rng = np.random.RandomState(seed)
    images = rng.randn(*shape) * (rng.uniform(size=shape[:3]) < 0.7)[..., None]
    images = images.astype(dtype)
    if order == "F":
        return np.asfortranarray(images)
    if order == "strided":
        wide = np.zeros((shape[0], 2 * shape[1], *shape[2:]), dtype=dtype)
        wide[:, ::2] = images
        return wide[:, ::2]
    return images


def make_layer(settings, image_shape, seed):
    rng = np.random.RandomState(seed)
    length = settings.patch_length(image_shape)
    return Layer.from_anchors(
        settings, unit_rows(rng.randn(settings.n_anchors, length))
    )


@given(layer_settings, image_shapes, dtypes, st.sampled_from(ORDERS), seeds)
def test_encode(cpu_engine, settings, shape, dtype, order, seed):
    images = make_images(shape, dtype, order, seed)
    layer = make_layer(settings, shape[1:], seed)
    actual, expected = (
        bind(engine, [layer], images, dtype).maps(images)
        for engine in (cpu_engine, OracleEngine())
    )
    # A sum of m terms is off by at most m eps times the sum of their sizes. The
    # cosines, of terms of sum at most 1 in norm, so differ by length * eps, the
    # responses by beta times that and the few roundings of the kernel function;
    # pooling and projection add a relative (25 + n_anchors) eps each, and the
    # projection multiplies all of it by its norm. What the responses sum to is
    # bounded by the patches' norms.
    length = settings.patch_length(shape[1:])
    slope = max(settings.beta, 2)
    steps = slope * (length + 8) + 25 + settings.n_anchors + 32
    patch_energy = settings.patch_size**2 * np.sum(images.astype("f8") ** 2)
    size = np.sqrt(settings.n_anchors * patch_energy)
    bound = 2 * steps * np.finfo(dtype).eps * size * np.linalg.norm(layer.projection, 2)
    assert actual.shape == (shape[0], *settings.output_shape(shape[1:]))
    assert actual.dtype == expected.dtype == dtype
    assert np.linalg.norm(actual.astype("f8") - expected) <= bound
    assert np.isfinite(actual).all()


@given(layer_settings, image_shapes, dtypes, seeds)
def test_gather_patches(settings, shape, dtype, seed):
    images = make_images(shape, dtype, "C", seed)
    height, width = settings.response_shape(shape[1:])
    indices, rows, columns = np.indices((shape[0], height, width)).reshape(3, -1)
    arguments = (images, indices, rows, columns, settings)
    patches = CPUEngine().gather_patches(*arguments)
    assert_array_equal(patches, OracleEngine().gather_patches(*arguments))
    unfolded = unfold(images, settings)
    assert_array_equal(patches, unfolded.reshape(len(patches), -1))


def test_patches_by_hand():
    image = np.arange(1.0, 7.0).reshape(1, 2, 3, 1)
    settings = LayerSettings(1, 2, 1, "exp", 1.0, "same", 1e-3)
    zero = np.zeros(2, dtype=np.intp)
    last = np.array([0, 1]), np.array([0, 2])
    patches = CPUEngine().gather_patches(image, zero, *last, settings)
    assert_array_equal(patches, [[1, 2, 4, 5], [6, 0, 0, 0]])


@given(st.integers(1, 1200), st.integers(1, 50), st.integers(1, 30), dtypes, seeds)
def test_nearest_anchors_and_sums(cpu_engine, n_points, n_anchors, length, dtype, seed):
    rng = np.random.RandomState(seed)
    # Small integers: every sum is exact in any order, ties included.
    points = rng.randint(-3, 4, size=(n_points, length)).astype(dtype)
    anchors = rng.randint(-3, 4, size=(n_anchors, length)).astype(dtype)
    results = []
    for engine in (cpu_engine, OracleEngine()):
        nearest, similarity = engine.nearest_anchors(points, anchors)
        sums = engine.sum_groups(points, nearest, n_anchors)
        assert nearest.dtype == np.intp
        assert similarity.dtype == dtype
        assert sums.dtype == np.float64
        results.append((nearest, similarity, sums))
    for actual, expected in zip(*results, strict=True):
        assert_array_equal(actual, expected)
    assert_array_equal(results[0][0], (points @ anchors.T).argmax(axis=1))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_functions_over_their_whole_range(cpu_engine, kernel, dtype):
    # One pixel and patches of one pixel: the response to the anchor (1, 0) of the
    # pixel (cos t, sin t) is kappa(cos t).
    angles = np.linspace(0, np.pi, 4001)
    for beta in (0.5, 3.0, 40.0, 2000.0):
        settings = LayerSettings(1, 1, 1, kernel, beta, "same", 1e-3)
        layer = Layer(settings, np.array([[1.0, 0.0]]), np.eye(1))
        pixels = np.column_stack([np.cos(angles), np.sin(angles)]).astype(dtype)
        images = pixels[np.newaxis, :, np.newaxis, :]
        actual = encode(cpu_engine, images, [layer])
        expected = encode(OracleEngine(), images.astype("f8"), [layer])
        eps = np.finfo(dtype).eps
        # exp(beta (u - 1)) has the relative error beta |du| and the rounding of
        # the exponent; the smallest values end at the smallest normal number.
        bound = 4 * eps * (1 + 2 * beta * expected) + 1e-37 * (eps > 1e-10)
        assert (np.abs(actual - expected) <= bound).all()
