"""The Gaussian taps of the pooling: their values, and no more than an axis needs."""

import math
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import encode

from sklearn_ckn import CKNFeatures, ckn_kernel
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.pooling import LARGEST_TAP_SUM, pooling_matrix, pooling_taps
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
