"""FeatureMapDisplay: the maps of one image."""

import sys

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_ckn import CKNClassifier, CKNFeatures, FeatureMapDisplay

IMAGES = np.random.RandomState(0).randint(256, size=(20, 7, 6, 3)).astype(np.uint8)


def make(n_channels=3, **parameters):
    features = CKNFeatures(**{"n_anchors": (4, 5), "random_state": 0, **parameters})
    return features.fit(IMAGES[..., :n_channels])


def test_maps_are_those_of_the_layers(pyplot):
    features = make()
    display = FeatureMapDisplay.from_estimator(features, IMAGES[3])
    assert display.layers == [0, 1]
    assert len(display.axes_) == 3
    assert display.figure_ is display.axes_[0].figure
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["image", "maps of layer 0", "maps of layer 1"]
    last = features.transform(IMAGES[3:4])
    assert_array_equal(display.maps[1].ravel(), last[0])
    # The same seed gives the first layer of a network the same anchors.
    first = make(n_anchors=4, subsampling=features.subsampling_[0])
    assert_array_equal(display.maps[0].ravel(), first.transform(IMAGES[3:4])[0])
    display.figure_.canvas.draw()


def test_one_layer_on_given_axes(pyplot):
    figure, axes = pyplot.subplots(1, 3)
    display = FeatureMapDisplay.from_estimator(
        make(), IMAGES[0], layer=-1, axes=axes, cmap="magma"
    )
    assert display.layers == [1]
    assert list(display.axes_) == list(axes[:2])
    assert display.figure_ is figure
    drawn = axes[1].get_images()[0]
    assert drawn.get_cmap().name == "magma"
    # All maps in one picture, on one scale.
    assert drawn.get_clim() == (display.maps[0].min(), display.maps[0].max())
    with pytest.raises(ValueError, match="axes must hold 2"):
        FeatureMapDisplay.from_estimator(make(), IMAGES[0], layer=0, axes=axes[0])


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_picture_of_the_image(n_channels, pyplot):
    image = IMAGES[0, :, :, :n_channels]
    display = FeatureMapDisplay.from_estimator(make(n_channels), image)
    picture = np.asarray(display.axes_[0].get_images()[0].get_array())
    expected = image.astype(float)
    if n_channels == 3:
        picture = picture[..., :3]
    else:
        expected = expected.mean(axis=-1)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert_allclose(picture, expected, rtol=0, atol=1e-15)


def test_layouts_of_an_image(pyplot):
    features = make(1)
    image = IMAGES[0, :, :, :1]
    expected = FeatureMapDisplay.from_estimator(features, image).maps
    for other in (image[..., 0], image.ravel(), image.tolist()):
        maps = FeatureMapDisplay.from_estimator(features, other).maps
        for left, right in zip(maps, expected, strict=True):
            assert_allclose(left, right, rtol=1e-5)


def test_image_on_a_gpu(monkeypatch, pyplot):
    cupy = fake_cupy.install(monkeypatch)
    features = make(device="cuda")
    expected = FeatureMapDisplay.from_estimator(features, IMAGES[0]).maps
    image = cupy.asarray(IMAGES[0])
    maps = FeatureMapDisplay.from_estimator(features, image).maps
    for left, right in zip(maps, expected, strict=True):
        assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGES[:1], r"one image of shape \(7, 6, 3\).*got an array of shape \(1,"),
        (IMAGES[0, :, :, 0], r"one image of shape \(7, 6, 3\)"),
        (np.full(126, np.nan), "Input image contains NaN"),
    ],
)
def test_bad_image(image, message):
    with pytest.raises(ValueError, match=message):
        FeatureMapDisplay.from_estimator(make(), image)


def test_other_errors(monkeypatch):
    with pytest.raises(NotFittedError):
        FeatureMapDisplay.from_estimator(CKNClassifier(), IMAGES[0])
    with pytest.raises(ValueError, match="layer must be"):
        FeatureMapDisplay.from_estimator(make(), IMAGES[0], layer=2)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"FeatureMapDisplay.*sklearn-ckn\[plot\]"):
        FeatureMapDisplay.from_estimator(make(), IMAGES[0])
