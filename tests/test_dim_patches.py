"""Dim patches beside bright ones: their cosines, responses and gradients stay right."""

import numpy as np
import pytest
from conftest import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from on_engines import backward, encode
from scipy.ndimage import gaussian_filter

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._engine.packing import RoundingGains
from sklearn_ckn._ext import _cpu
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings
from sklearn_ckn._network.unfold import unfold

SIZE = 15


def spots(rng, n):
    """Return bright spots with smooth tails, as point sources and beads have them."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    width = rng.uniform(0.5, 2.5, (n, 1, 1))
    row, column = rng.uniform(3, SIZE - 3, (2, n, 1, 1))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))


def floors(rng, n):
    """Return a bright region on a ground that is up to 1e30 times darker."""
    images = rng.rand(n, SIZE, SIZE)
    ground = 10.0 ** -rng.uniform(3, 30, (n, 1, 1))
    first, last = sorted(rng.randint(0, SIZE, 2))
    bright = np.zeros((SIZE, SIZE), dtype=bool)
    bright[first : last + 1, first : last + 1] = True
    return np.where(bright, images, ground * images)


def powers(rng, n):
    """Return pixels of all magnitudes, side by side."""
    return rng.choice([-1, 1], (n, SIZE, SIZE)) * 10 ** rng.uniform(
        -36, 0, (n, SIZE, SIZE)
    )


def one_hot(rng, n):
    """Return images that are 0 but for one pixel, which may be denormal in float32."""
    images = np.zeros((n, SIZE, SIZE))
    images[np.arange(n), *rng.randint(0, SIZE, (2, n))] = 10 ** rng.uniform(-44, 0, n)
    return images


def blurred(rng, n):
    """Return blurred strokes on an empty ground."""
    images = np.zeros((n, SIZE, SIZE))
    images[:, 5:11, 7] = rng.rand(n, 6)
    return np.stack([gaussian_filter(image, 0.7) for image in images])


def residues(rng, n):
    """Return images on a ground of rounding errors, as a Fourier transform leaves."""
    images = np.zeros((n, SIZE, SIZE))
    images[:, 4:10, 4:10] = rng.rand(n, 6, 6)
    return np.fft.irfft2(np.fft.rfft2(images), s=images.shape[1:])


KINDS = (spots, floors, powers, one_hot, blurred, residues)


def make_network(n_anchors, kernel, subsampling):
    """Return two layers with anchors in the cone of the images' own patches."""
    layers, n_channels = [], 1
    for i, size in enumerate(n_anchors):
        settings = LayerSettings(size, 3, subsampling[i], kernel, 2.8, "same", 1e-3)
        rows = np.abs(np.random.RandomState(i).randn(size, 9 * n_channels))
        layers.append(Layer.from_anchors(settings, unit_rows(rows)))
        n_channels = size
    return layers


def tolerance(layers, dtype):
    """Return the relative error that rounding may cause, by l2 norm.

    That of a layer is up to 2.3 times its response gain and the unit of rounding on
    images that are mostly dark (docs/cpu_engine.md). What enters a second layer may
    leave it enlarged by sqrt(beta) of up to 2, the Lipschitz constant of the kernel's
    feature map.
    """
    unit = np.finfo(dtype).eps / 2
    gains = [
        RoundingGains.of(layer, layer.anchors.mean(axis=0)).responses
        for layer in layers
    ]
    return unit * 2.3 * (2 * gains[0] + gains[1] + 10)


def as_pixels(images, dtype):
    """Return images (n, H, W) in a dtype, scaled as the estimators scale them."""
    images = images.astype(dtype).astype("f8")
    largest = np.abs(images).max(axis=(1, 2), keepdims=True)
    images = images / np.where(largest > 0, 2 ** np.ceil(np.log2(largest + 0.0)), 1)
    return images[..., np.newaxis].astype(dtype)


networks = st.tuples(
    st.sampled_from([(32, 40), (33, 8), (40, 70)]),
    st.sampled_from(KERNELS),
    st.sampled_from([(1, 2), (2, 1), (2, 3)]),
)


@settings(max_examples=15)
@given(
    st.sampled_from(KINDS),
    networks,
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 2**31 - 1),
)
def test_maps(cpu_engine, kind, network, dtype, seed):
    images = as_pixels(kind(np.random.RandomState(seed), 6), dtype)
    layers = make_network(*network)
    actual = encode(cpu_engine, images, layers)
    expected = encode(OracleEngine(), images.astype("f8"), layers)
    assert np.isfinite(actual).all()
    for one, other in zip(actual, expected, strict=True):
        assert relative_error(one, other) <= tolerance(layers, dtype)


@settings(max_examples=10)
@given(
    st.sampled_from(KINDS),
    networks,
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 2**31 - 1),
)
def test_gradients(cpu_engine, kind, network, dtype, seed):
    rng = np.random.RandomState(seed)
    images = as_pixels(kind(rng, 4), dtype)
    layers = make_network(*network)

    def gradients(engine, dtype):
        typed = images.astype(dtype)
        shape = encode(engine, typed, layers).shape
        gradient = np.random.RandomState(0).randn(*shape).astype(dtype)
        return backward(engine, typed, layers, gradient, to_images=True)

    actual, to_images = gradients(cpu_engine, dtype)
    expected, _ = gradients(OracleEngine(), "f8")
    assert np.isfinite(to_images).all()
    for one, other in zip(actual, expected, strict=True):
        for name in ("anchors", "projection"):
            error = getattr(one, name) - getattr(other, name)
            # Gradients of random signs cancel: the sums that are compared are smaller
            # than their terms by the root of their number, below 30 for these maps.
            limit = 30 * tolerance(layers, dtype) * np.linalg.norm(getattr(other, name))
            assert np.linalg.norm(error) <= limit, name


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_each_dim_patch_has_its_own_accuracy(cpu_engine, dtype, kernel):
    rng = np.random.RandomState(0)
    n_channels = 32
    settings = LayerSettings(70, 3, 1, kernel, 2.0, "same", 1e-3)
    anchors = unit_rows(rng.randn(70, 9 * n_channels))
    layer = Layer.from_anchors(settings, anchors)
    images = rng.rand(3, 16, 16, n_channels)
    # Not at the border of a tile, where its transform would not mix the two.
    images[:, :, 6:] *= 1e-12
    images = images.astype(dtype)
    actual = encode(cpu_engine, images, [layer])
    expected = encode(OracleEngine(), images.astype("f8"), [layer])
    # Without pooling a position is one patch. Patches up to MAX_SPREAD = 16384 times
    # weaker than their tile's strongest have an error relative to that one, of 2.3
    # response gains; those of the dark half, beside a bright tile or not, their own.
    gain = RoundingGains.of(layer, anchors.mean(axis=0)).responses + 10
    norms = np.linalg.norm(unfold(images.astype("f8"), settings), axis=-1)
    errors = np.linalg.norm(actual - expected, axis=-1) / norms
    assert errors.max() <= 2.3 * gain * np.finfo(dtype).eps / 2


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_same_bits_in_any_block(dtype):
    rng = np.random.RandomState(0)
    images = as_pixels(np.concatenate([kind(rng, 5) for kind in KINDS]), dtype)
    layers = make_network((32, 40), "exp", (2, 2))
    engine = CPUEngine(_cpu.instruction_sets()[0])
    together = encode(engine, images, layers)
    for i in range(len(images)):
        assert_array_equal(encode(engine, images[i : i + 1], layers)[0], together[i])


@pytest.mark.parametrize("kernel", KERNELS)
def test_cosines_are_clipped(engine, kernel):
    # Anchors that are a little too long: cosines of up to 1.01, whose kernel value is
    # that of 1.
    settings = LayerSettings(8, 1, 1, kernel, 100.0, "same", 1.0)
    layer = Layer.from_anchors(settings, np.eye(8))
    long = Layer(settings, 1.01 * np.eye(8), np.eye(8))
    images = np.eye(8).reshape(1, 1, 8, 8)
    responses = encode(engine, images, [long])
    exact = encode(engine, images, [Layer(settings, layer.anchors, np.eye(8))])
    np.testing.assert_allclose(np.diag(responses[0, 0]), np.diag(exact[0, 0]))
    (gradients,), _ = backward(engine, images, [long], np.ones_like(responses))
    assert np.isfinite(gradients.anchors).all()
    assert np.abs(np.diag(gradients.anchors)).max() <= 100 * (1 + 1e-12)
