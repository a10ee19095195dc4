"""Along an axis of length 1 patches have side 1, and the features of square ones."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from on_engines import backward, encode

from sklearn_ckn import CKNFeatures
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._input.images import Images
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.network import (
    KERNEL_FUNCTION_COST,
    check_range,
    norm_growth,
)
from sklearn_ckn._network.settings import LayerSettings

# (H, W, C) of images, of few and of many channels.
SHAPES = [(1, 12, 1), (12, 1, 1), (1, 7, 40), (7, 1, 40), (1, 2, 3), (1, 1, 5)]


def make_settings(patch_size, padding="same", kernel="exp"):
    return LayerSettings(6, patch_size, 2, kernel, 1.5, padding, 1e-2)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_sides(padding):
    settings = make_settings(5, padding)
    for shape in [(1, 9, 2), (9, 1, 2), (1, 1, 2), (9, 8, 2)]:
        height, width = (1 if size == 1 else 5 for size in shape[:2])
        assert settings.patch_shape(shape) == (height, width)
        assert settings.patch_length(shape) == height * width * 2
    assert settings.pad_axis(1) == (0, 0)
    assert settings.response_size(1) == 1
    # An axis that is merely shorter than a patch keeps its zeros.
    assert settings.patch_side(2) == 5
    assert sum(settings.pad_axis(2)) == (4 if padding == "same" else 3)


def with_square_patches(layer, images):
    """Return a layer and images of the square patches that a layer's stand for.

    The zeros around the images are written out, and the anchors are zero there.
    """
    settings, shape = layer.settings, images.shape[1:]
    side, n_channels = settings.patch_size, shape[2]
    before = (side - 1) // 2
    pads, insets = [], []
    for size in shape[:2]:
        if size == 1:
            pads.append((before, side - 1 - before))
            insets.append((before, side - 1 - before))
        else:
            pads.append(settings.pad_axis(size))
            insets.append((0, 0))
    anchors = layer.anchors.reshape(-1, *settings.patch_shape(shape), n_channels)
    anchors = np.pad(anchors, ((0, 0), *insets, (0, 0)))
    square = Layer(
        replace(settings, padding="valid"),
        anchors.reshape(len(anchors), -1),
        layer.projection,
    )
    inside = tuple(
        slice(a, a + size) for (a, _), size in zip(pads, shape, strict=False)
    )
    return square, np.pad(images, ((0, 0), *pads, (0, 0))), inside, insets


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("patch_size", [2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_square_patches(
    cpu_engine, shape, patch_size, padding, kernel
):
    rng = np.random.RandomState(0)
    settings = make_settings(patch_size, padding, kernel)
    images = rng.randn(3, *shape)
    rows = rng.randn(settings.n_anchors, settings.patch_length(shape))
    layer = Layer.from_anchors(settings, unit_rows(rows))
    square, padded, inside, insets = with_square_patches(layer, images)
    expected = encode(OracleEngine(), padded, [square])
    weights = rng.randn(*expected.shape)
    (expected_gradients,), expected_input = backward(
        OracleEngine(), padded, [square], weights, to_images=True
    )
    sides = (patch_size, patch_size)
    kept = tuple(slice(a, side - b) for side, (a, b) in zip(sides, insets, strict=True))
    by_anchors = expected_gradients.anchors.reshape(-1, *sides, shape[2])
    by_anchors = by_anchors[:, *kept].reshape(len(rows), -1)
    # Sums of at most 200 products of numbers of about 1 and, of gradients, over 36
    # positions; the projection enlarges errors by at most (p + reg) / reg = 600.
    tolerance = 1e5 * np.finfo("f8").eps
    for engine in (cpu_engine, OracleEngine()):
        maps = encode(engine, images, [layer])
        assert relative_error(maps, expected) < tolerance
        (gradients,), by_images = backward(
            engine, images, [layer], weights, to_images=True
        )
        assert relative_error(gradients.anchors, by_anchors) < 100 * tolerance
        by_projection = expected_gradients.projection
        assert relative_error(gradients.projection, by_projection) < 100 * tolerance
        assert abs(gradients.beta - expected_gradients.beta) <= 100 * tolerance * (
            np.abs(weights).sum() * np.abs(padded).sum()
        )
        assert relative_error(by_images, expected_input[:, *inside]) < 100 * tolerance


def images_of(array):
    return Images(array, float(array.max()))


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("shape", [(1, 40, 2), (40, 1, 2)])
def test_anchors_and_work(shape):
    images = np.random.RandomState(0).randn(20, *shape)
    features = CKNFeatures((4, 5), patch_size=7, random_state=0).fit(images)
    assert [each.shape for each in features.anchors_] == [(4, 7 * 2), (5, 7 * 4)]
    # 40 and 20 positions; after pooling 20 and 3 of them are projected.
    assert features.subsampling_ == [2, 7]
    work = 40 * 4 * (7 * 2 + KERNEL_FUNCTION_COST) + 20 * 4 * 4
    work += 20 * 5 * (7 * 4 + KERNEL_FUNCTION_COST) + 3 * 5 * 5
    assert features._network.multiply_adds == work


def test_a_map_that_pooling_has_made_one_pixel_wide():
    images = np.random.RandomState(0).randn(20, 4, 9, 2)
    features = CKNFeatures(
        (4, 5), patch_size=3, subsampling=(4, 1), random_state=0
    ).fit(images)
    assert features._network.shapes[1] == (1, 3, 4)
    assert [each.shape for each in features.anchors_] == [(4, 9 * 2), (5, 3 * 4)]


def test_rows_and_columns_are_alike():
    # A signal along either axis has the same anchors and features, up to the order of
    # the same sums.
    signals = np.random.RandomState(0).randn(20, 30, 2)
    rows = CKNFeatures(5, patch_size=4, subsampling=3, random_state=0)
    columns = CKNFeatures(5, patch_size=4, subsampling=3, random_state=0)
    rows.fit(signals[:, np.newaxis])
    columns.fit(signals[:, :, np.newaxis])
    assert_array_equal(rows.anchors_[0], columns.anchors_[0])
    found = columns.transform(signals[:, :, np.newaxis])
    expected = rows.transform(signals[:, np.newaxis])
    # Sums of 8 products, enlarged by (p + reg) / reg = 5000 at most.
    assert relative_error(found, expected) < 5e5 * np.finfo("f8").eps


def test_the_range_of_features_is_that_of_the_sides():
    # The norms grow by sqrt(9) at most: a 12th of what float32 holds is accepted, and
    # would not be if patches had 9 x 9 pixels.
    settings = [make_settings(9)]
    array = np.full((1, 1, 20, 1), np.finfo("f4").max / 12, np.float32)
    assert norm_growth(settings, (1, 20, 1)) == norm_growth(settings, (20, 1, 1)) == 3
    check_range(images_of(array), norm_growth(settings, (1, 20, 1)))
    with pytest.raises(ValueError, match="divide X by a constant"):
        check_range(images_of(array), norm_growth(settings, (4, 5, 1)))
    with pytest.raises(ValueError, match="divide X by a constant"):
        check_range(images_of(3 * array), norm_growth(settings, (1, 20, 1)))
