"""AnchorsDisplay: anchors as pictures, and the parts of images closest to them."""

import sys

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sklearn_ckn import (
    AnchorsDisplay,
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._displays.common import mosaic, stretch
from sklearn_ckn._displays.patches import closest_positions
from sklearn_ckn._input.images import Images

#: Like photographs: not negative, 0 the darkest.
IMAGES = np.random.RandomState(0).randint(256, size=(20, 9, 8, 3)).astype(float)
LABELS = np.arange(20) % 2


def make(n_channels=3, **parameters):
    features = CKNFeatures(**{"n_anchors": (5, 6), "random_state": 0, **parameters})
    return features.fit(IMAGES[..., :n_channels])


@pytest.mark.parametrize("n_channels", [1, 3])
def test_first_layer_shows_the_anchors(n_channels, pyplot):
    features = make(n_channels, patch_size=4)
    anchors = features.anchors_[0]
    display = AnchorsDisplay.from_estimator(features)
    expected = anchors / anchors.max(axis=1, keepdims=True)
    assert_array_equal(display.tiles, expected.reshape(5, 1, 4, 4, n_channels))
    assert display.ax_ in display.figure_.axes
    assert "layer 0" in display.ax_.get_title()


def test_zero_is_in_the_middle_where_anchors_are_signed(pyplot):
    features = CKNFeatures(5, random_state=0).fit(IMAGES - 128)
    tiles = AnchorsDisplay.from_estimator(features).tiles.reshape(5, -1)
    anchors = features.anchors_[0]
    scaled = anchors / np.abs(anchors).max(axis=1, keepdims=True)
    assert_allclose(tiles, (1 + scaled) / 2, rtol=0, atol=1e-15)


def test_other_numbers_of_channels_are_averaged(pyplot):
    features = make(2)
    means = features.anchors_[0].reshape(5, 9, 2).mean(axis=-1)
    tiles = AnchorsDisplay.from_estimator(features).tiles
    assert_array_equal(tiles.reshape(5, 9), means / means.max(axis=1, keepdims=True))


@pytest.mark.parametrize(
    "make_estimator",
    [
        lambda: CKNClassifier((5, 6), random_state=0),
        lambda: CKNRegressor((5, 6), random_state=0),
        lambda: SupervisedCKNClassifier((5, 6), n_epochs=1, random_state=0),
    ],
)
def test_estimators_that_have_features(make_estimator, pyplot):
    estimator = make_estimator().fit(IMAGES, LABELS)
    for layer in (0, 1):
        shown = AnchorsDisplay.from_estimator(estimator, layer=layer, images=IMAGES)
        expected = AnchorsDisplay.from_estimator(
            estimator.features_, layer=layer, images=IMAGES
        )
        assert_array_equal(shown.tiles, expected.tiles)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_closest_parts_of_images(dtype, pyplot):
    # Without k-means iterations an anchor is a patch of an image, which is found.
    images = IMAGES.astype(dtype)
    features = CKNFeatures((5, 6), random_state=0).fit(images)
    display = AnchorsDisplay.from_estimator(features, images=images, n_patches=3)
    assert display.tiles.shape == (5, 3, 3, 3, 3)
    patches = np.nan_to_num(display.tiles).reshape(5, 3, -1)
    patches /= np.linalg.norm(patches, axis=-1, keepdims=True)
    anchors = features.anchors_[0]
    assert_allclose(patches[:, 0], anchors, rtol=0, atol=1e-6)
    cosines = np.einsum("jtl,jl->jt", patches, anchors)
    assert (np.diff(cosines) < 1e-6).all()
    assert (cosines[:, 1] < 0.999).all()


def test_scale_of_parts_of_images(pyplot):
    tiles = AnchorsDisplay.from_estimator(make(), layer=1, images=IMAGES).tiles
    inside = tiles[~np.isnan(tiles)]
    assert set(np.unique(inside)) <= set(np.unique(IMAGES) / 255)
    signed = AnchorsDisplay.from_estimator(make(), layer=1, images=IMAGES - 200).tiles
    largest = np.nanmax(np.abs(signed - 0.5), axis=(2, 3, 4))
    assert_allclose(largest, 0.5, rtol=1e-15)


def test_closest_positions_of_a_deeper_layer():
    features = make()
    network, images = features._network, Images(IMAGES, 255.0)
    # The same seed gives the first layer of a network the same anchors.
    first = make(n_anchors=5, subsampling=2)
    height, width, _ = first.output_shape_
    maps = first.transform(IMAGES).reshape(20, height, width, 5)
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = np.stack(
        [
            padded[:, row : row + 3, column : column + 3].reshape(20, -1)
            for row in range(height)
            for column in range(width)
        ],
        axis=1,
    )
    units = patches / np.linalg.norm(patches, axis=2, keepdims=True)
    expected = units @ features.anchors_[1].T
    cosines, positions = closest_positions(network, images)
    assert_allclose(cosines, expected.max(axis=1), rtol=1e-12)
    assert_array_equal(positions, expected.argmax(axis=1))


@pytest.mark.parametrize("scale", [2.0**-700, 2.0**700])
def test_images_of_any_magnitude(scale):
    network = make()._network
    for n_layers in (1, 2):
        first = network.first(n_layers)
        expected = closest_positions(first, Images(IMAGES, 255.0))
        found = closest_positions(first, Images(scale * IMAGES, 255.0))
        for left, right in zip(found, expected, strict=True):
            assert_array_equal(left, right)


def test_memory_does_not_change_what_is_found():
    network = make()._network
    expected = closest_positions(network, Images(IMAGES, 255.0))
    with config_context(working_memory=0.05):
        found = closest_positions(network, Images(IMAGES, 255.0))
    for left, right in zip(found, expected, strict=True):
        assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("patch_size", "dilation", "subsampling", "padding"),
    [
        ((3, 3), 1, (2, 1), "same"),
        ((3, 2), 1, (1, 1), "same"),
        ((4, 2), 1, (3, 1), "same"),
        ((3, 2, 3), 1, (1, 2, 1), ("valid", "same", "valid")),
        ((2, 12), 1, (2, 1), "valid"),
        # Without gaps in what the last layer sees: 5 and 3 pixels, 1 and 2 apart.
        ((5, 3), (1, 3), (1, 1), "same"),
        ((3, 1), 1, ("global", 1), "same"),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_receptive_field(patch_size, dilation, subsampling, padding, axis):
    # The last layer does not pool: each of its outputs is that of one position.
    features = make(
        n_anchors=(4,) * len(patch_size),
        patch_size=patch_size,
        dilation=dilation,
        subsampling=subsampling,
        padding=padding,
    )
    shape = features.image_shape_
    start, step, length = features._network.receptive_field(axis)
    image = IMAGES[:1]
    before = features.transform(image).reshape(features.output_shape_)
    positions = start + step * np.arange(features.output_shape_[axis])
    for pixel in range(shape[axis]):
        changed = image.copy()
        np.moveaxis(changed, 1 + axis, 0)[pixel] += 100
        after = features.transform(changed).reshape(features.output_shape_)
        other_axes = (1 - axis, 2)
        differs = np.abs(after - before).max(axis=other_axes) > 0
        sees = (positions <= pixel) & (pixel < positions + length)
        assert_array_equal(differs, sees)


def test_signals(pyplot):
    signals = IMAGES[:, :1]
    features = CKNFeatures(
        (5, 6), patch_size=(4, 3), subsampling=(2, 1), random_state=0
    ).fit(signals)
    anchors = features.anchors_[0]
    display = AnchorsDisplay.from_estimator(features)
    expected = anchors / anchors.max(axis=1, keepdims=True)
    assert_array_equal(display.tiles, expected.reshape(5, 1, 1, 4, 3))
    # Three pooled pixels, two apart and each of five positions, of four pixels each.
    display = AnchorsDisplay.from_estimator(features, layer=1, images=signals)
    assert display.tiles.shape == (6, 4, 1, (3 - 1) * 2 + 5 + 4 - 1, 3)
    assert features._network.receptive_field(0) == (0, 2, 1)


def test_images_on_a_gpu(monkeypatch, pyplot):
    cupy = fake_cupy.install(monkeypatch)
    features = make(device="cuda")
    expected = AnchorsDisplay.from_estimator(features, layer=1, images=IMAGES)
    images = cupy.asarray(IMAGES)
    display = AnchorsDisplay.from_estimator(features, layer=1, images=images)
    assert_array_equal(display.tiles, expected.tiles)


def test_fewer_images_than_patches(pyplot):
    display = AnchorsDisplay.from_estimator(
        make(), layer=-1, images=IMAGES[:2].reshape(2, -1)
    )
    assert display.tiles.shape[:2] == (6, 2)
    assert "layer 1" in display.ax_.get_title()


def test_mosaic_keeps_the_order():
    tiles = np.arange(5.0)[:, None, None, None] * np.ones((1, 3, 2, 1))
    picture = mosaic(tiles)[..., 0]
    assert picture.shape == (7, 8)
    assert_array_equal(picture[0], [0, 0, np.nan, 1, 1, np.nan, 2, 2])
    assert_array_equal(picture[6], [3, 3, np.nan, 4, 4, np.nan, np.nan, np.nan])
    assert np.isnan(picture[3]).all()


def test_constant_pictures_are_grey():
    assert_array_equal(stretch(np.array([3.0, np.nan]), 3.0, 3.0), [0.5, np.nan])


def test_given_axes_and_colours(pyplot):
    figure, ax = pyplot.subplots()
    display = AnchorsDisplay.from_estimator(make(1), ax=ax, cmap="magma")
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.get_images()[0].get_cmap().name == "magma"
    assert len(ax.get_images()) == 1
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 1}, "images must be given for layer=1"),
        ({"layer": -1}, "images must be given for layer=1"),
        ({"layer": 2}, "layer must be an integer from 0 to 1"),
        ({"layer": 0.0}, "layer must be an integer"),
        ({"images": IMAGES, "n_patches": 0}, "n_patches must be"),
        ({"images": IMAGES[:, 1:]}, "was fitted on images of shape"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        AnchorsDisplay.from_estimator(make(), **options)


def test_bad_estimators(monkeypatch):
    with pytest.raises(NotFittedError):
        AnchorsDisplay.from_estimator(CKNClassifier())
    with pytest.raises(TypeError, match=r"estimator must be a CKNFeatures.*Pipeline"):
        AnchorsDisplay.from_estimator(make_pipeline(make()))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"AnchorsDisplay.*sklearn-ckn\[plot\]"):
        AnchorsDisplay.from_estimator(make())
