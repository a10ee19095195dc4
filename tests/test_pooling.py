"""The pooling: Gaussian taps, no more than an axis needs, and the mean."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from conftest import relative_error
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import backward, encode

from sklearn_ckn import CKNFeatures, ckn_kernel
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.network import Network
from sklearn_ckn._network.pooling import (
    LARGEST_TAP_SUM,
    pooling_matrix,
    pooling_of_maps,
    pooling_taps,
)
from sklearn_ckn._network.settings import LayerSettings


def all_taps(subsampling):
    """Return exp(-d^2 / s^2) for d = -s..s, over their sum."""
    offsets = np.arange(-subsampling, subsampling + 1)
    taps = np.exp(-((offsets / subsampling) ** 2))
    return taps / taps.sum()


@pytest.mark.parametrize("subsampling", [2, 3, 7, 40, 1000])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 39, 40, 41, 90])
def test_taps_that_an_axis_reaches(subsampling, size):
    radius = min(subsampling, size - 1)
    expected = all_taps(subsampling)
    centre = slice(subsampling - radius, subsampling + radius + 1)
    assert_array_equal(pooling_taps(subsampling, size), expected[centre])
    matrix = pooling_matrix(size, subsampling)
    for pooled, row in enumerate(matrix):
        for position, value in enumerate(row):
            distance = position - pooled * subsampling
            inside = abs(distance) <= subsampling
            assert value == (expected[distance + subsampling] if inside else 0)


def test_the_mean_as_taps_and_matrices():
    assert_array_equal(pooling_matrix(4, "global"), np.full((1, 4), 0.25))
    for shape in [(4, 9), (1, 16), (1, 1)]:
        stride, taps = pooling_of_maps("global", shape)
        assert stride == max(shape)
        # A position has the product of two taps as its weight.
        assert taps.shape == (2 * stride - 1,)
        assert_allclose(taps**2, 1 / math.prod(shape), rtol=4 * np.finfo(float).eps)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("shape", "patch_size", "dilation"),
    [
        ((5, 7, 2), 3, 1),
        # through Winograd's algorithm
        ((9, 6, 40), 3, 1),
        # more positions in a row than are computed at a time
        ((1, 1000, 1), 9, 4),
        ((2, 800, 1), 2, 1),
        ((800, 1, 3), 3, 1),
    ],
)
def test_the_mean_over_all_positions(cpu_engine, shape, patch_size, dilation, dtype):
    rng = np.random.RandomState(0)
    images = rng.randn(2, *shape).astype(dtype)
    each = LayerSettings(70, patch_size, 1, "exp", 1.5, "same", 1e-1, dilation)
    anchors = unit_rows(rng.randn(70, each.patch_length(shape)))
    layer = Layer.from_anchors(each, anchors)
    mean = replace(layer, settings=replace(each, subsampling="global"))
    exact = images.astype("f8")
    expected = encode(OracleEngine(), exact, [layer]).mean(axis=(1, 2))
    weights = rng.randn(2, 1, 1, 70)
    spread = np.broadcast_to(weights / math.prod(shape[:2]), (2, *shape[:2], 70))
    (by_layer,), by_images = backward(
        OracleEngine(), exact, [layer], np.ascontiguousarray(spread), to_images=True
    )
    # Sums of 360 products, whose rounding the projection enlarges by 1 / sqrt(0.1),
    # and means over all positions, in float64.
    tolerance = 2000 * np.finfo(dtype).eps
    for engine in (cpu_engine, OracleEngine()):
        maps = encode(engine, images, [mean])
        assert maps.shape == (2, 1, 1, 70)
        assert relative_error(maps[:, 0, 0], expected) < tolerance
        (gradients,), to_images = backward(
            engine, images, [mean], weights.astype(dtype), to_images=True
        )
        # The gradients are sums over all positions in the dtype.
        assert relative_error(to_images, by_images) < 100 * tolerance
        assert relative_error(gradients.anchors, by_layer.anchors) < 100 * tolerance
        by_projection = by_layer.projection
        assert relative_error(gradients.projection, by_projection) < 100 * tolerance


def test_the_mean_of_a_long_signal_is_accurate(cpu_engine):
    # The mean of 100,000 equal responses; a sum of them in float32 would be off by
    # some of its last digits.
    settings = LayerSettings(4, 1, "global", "poly", 1.0, "same", 1e-1)
    signal = np.full((1, 1, 100_000, 2), 0.7, np.float32)
    anchors = unit_rows(np.random.RandomState(0).randn(4, 2))
    layer = Layer.from_anchors(settings, anchors)
    expected = encode(OracleEngine(), signal[:, :, :1].astype("f8"), [layer])
    for engine in (cpu_engine, OracleEngine()):
        maps = encode(engine, signal, [layer])
        # The roundings of one response, enlarged by the projection.
        assert relative_error(maps, expected) < 30 * np.finfo("f4").eps


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_mean_of_a_long_signal_needs_no_map_of_responses(cpu_engine, dtype):
    settings = LayerSettings(64, 9, "global", "exp", 1.5, "same", 1e-1, 32)
    anchors = unit_rows(np.random.RandomState(0).randn(64, 9))
    network = Network((Layer.from_anchors(settings, anchors),), (1, 50_000, 1))
    prepared = cpu_engine.prepare(network, np.dtype(dtype))
    # The responses of all positions.
    n_bytes = 50_000 * 64 * np.dtype(dtype).itemsize
    assert prepared.whole.encode_scratch(1) < n_bytes / 2


def test_a_network_with_the_mean():
    images = np.random.RandomState(0).rand(6, 9, 8, 2)
    features = CKNFeatures((5, 7), subsampling="global", random_state=0).fit(images)
    assert features.subsampling_ == [2, "global"]
    assert features.output_shape_ == (1, 1, 7)
    each = CKNFeatures((5, 7), subsampling=(2, 1), random_state=0).fit(images)
    maps = each.transform(images).reshape(6, -1, 7)
    assert_allclose(features.transform(images), maps.mean(axis=1), rtol=1e-9)
    # In the first layer the second one sees a single pixel.
    first = CKNFeatures((5, 4), subsampling=("global", 3), random_state=0).fit(images)
    assert first.subsampling_ == ["global", 3]
    assert [each.shape for each in first.anchors_] == [(5, 18), (4, 5)]
    assert first.output_shape_ == (1, 1, 4)


def test_a_stride_of_one_is_the_identity():
    assert_array_equal(pooling_taps(1, 5), [1])
    assert_array_equal(pooling_matrix(5, 1), np.eye(5))


@pytest.mark.parametrize("subsampling", [LARGEST_TAP_SUM + 1, 3 * LARGEST_TAP_SUM])
def test_the_sum_of_many_taps(subsampling):
    offsets = np.arange(-subsampling, subsampling + 1)
    values = np.exp(-((offsets / subsampling) ** 2))
    # The sum is exact to rounding; exp, the formula's three terms and the division add
    # four roundings.
    eps = np.finfo(float).eps
    middle = pooling_taps(subsampling, 1)[0]
    assert_allclose(middle, 1 / math.fsum(values), rtol=4 * eps)


@pytest.mark.parametrize("subsampling", [9, 1000, 2 * 10**7, 2**31 - 1])
def test_a_stride_beyond_the_map(subsampling):
    images = np.random.RandomState(0).rand(3, 4, 6, 2)
    settings = LayerSettings(5, 3, subsampling, "exp", 1.5, "same", 1e-3)
    anchors = unit_rows(np.random.RandomState(1).randn(5, 18))
    layer = Layer.from_anchors(settings, anchors)
    maps = [encode(engine, images, [layer]) for engine in (CPUEngine(), OracleEngine())]
    assert maps[0].shape == (3, 1, 1, 5)
    # Weights exp(-d^2 / s^2) / sum, by the positions' distances from the first one.
    identity = Layer(
        LayerSettings(5, 3, 1, "exp", 1.5, "same", 1e-3), anchors, layer.projection
    )
    responses = encode(OracleEngine(), images, [identity])
    down, along = (np.exp(-((np.arange(size) / subsampling) ** 2)) for size in (4, 6))
    total = math.fsum(all_taps_unscaled(subsampling))
    expected = np.einsum("i,j,nijp->np", down / total, along / total, responses)
    # Kernel values and their products with a projection of norm 1 / sqrt(1e-3) at
    # most, on sums of 24 positions: some tens of roundings times 32.
    for result in maps:
        assert_allclose(result[:, 0, 0], expected, rtol=1e-11)


def test_a_stride_beyond_a_long_row(cpu_engine):
    # Rows of more positions than are computed at a time, with one output.
    images = np.random.RandomState(0).rand(2, 2, 1800, 1)
    settings = LayerSettings(5, 3, 2500, "exp", 1.5, "same", 1e-2)
    anchors = unit_rows(np.random.RandomState(1).randn(5, 9))
    layer = Layer.from_anchors(settings, anchors)
    expected = encode(OracleEngine(), images, [layer])
    # Kernel values and their products with a projection of norm 1 / sqrt(1e-2) at most,
    # on sums of 3600 positive numbers, of half as many roundings as terms at the worst.
    for dtype in ("f4", "f8"):
        maps = encode(cpu_engine, images.astype(dtype), [layer])
        assert relative_error(maps, expected) < 20_000 * np.finfo(dtype).eps


def all_taps_unscaled(subsampling):
    """Return few numbers whose sum is that of all taps."""
    if subsampling <= LARGEST_TAP_SUM:
        offsets = np.arange(-subsampling, subsampling + 1)
        return np.exp(-((offsets / subsampling) ** 2))
    # The trapezoidal rule on the integral of exp(-x^2) from -1 to 1; the step 1 / s
    # leaves an error of e^-1 / (3 s).
    return [
        subsampling * math.sqrt(math.pi) * math.erf(1),
        math.exp(-1),
        -math.exp(-1) / (3 * subsampling),
    ]


def test_a_stride_beyond_the_map_takes_no_memory():
    images = np.random.RandomState(0).rand(4, 8, 8)
    tracemalloc.start()
    try:
        features = CKNFeatures((4,), subsampling=2 * 10**7, random_state=0)
        features.fit_transform(images)
        ckn_kernel(images, subsampling=2 * 10**7, n_layers=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All taps would take 320 MB.
    assert peak < 2**25
    assert features.subsampling_ == [2 * 10**7]
