"""Signals in the shape of grey images, and patches beyond images: what says so."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import sklearn_ckn
from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    PatchWhitening,
    ckn_kernel,
    signals_to_images,
)

SIGNALS = np.random.RandomState(0).rand(12, 40, 3)
IMAGES = SIGNALS[:, np.newaxis]
LABELS = np.arange(12) % 2


def make(estimator=CKNFeatures, **parameters):
    return estimator((3, 4), random_state=0, **parameters)


@pytest.mark.parametrize("shape", [(1, 40, 3), (40, 1, 3)])
def test_signals_become_images_by_image_shape(shape):
    features = make(image_shape=shape).fit(SIGNALS)
    assert features.image_shape_ == shape
    expected = features.transform(SIGNALS.reshape(12, *shape))
    for given in (SIGNALS, SIGNALS[:1], SIGNALS.tolist()):
        assert_array_equal(features.transform(given), expected[: len(given)])
    classifier = make(CKNClassifier, image_shape=shape).fit(SIGNALS, LABELS)
    expected = classifier.decision_function(SIGNALS.reshape(12, *shape))
    assert_array_equal(classifier.decision_function(SIGNALS), expected)
    whitened = PatchWhitening(image_shape=shape).fit_transform(SIGNALS)
    assert whitened.shape == SIGNALS.shape
    images = SIGNALS.reshape(12, *shape)
    for others in ((), (5,)):
        given, reshaped = (
            [each, *(each[:n] for n in others)] for each in (SIGNALS, images)
        )
        K = ckn_kernel(*given, image_shape=shape)
        assert_array_equal(K, ckn_kernel(*reshaped))


def test_signals_after_a_fit_to_images_of_one_row():
    features = make().fit(IMAGES)
    assert_array_equal(features.transform(SIGNALS), features.transform(IMAGES))


def test_channels_first_are_refused_with_the_remedy():
    first = SIGNALS.transpose(0, 2, 1)
    match = r"signals with their channels first: pass sklearn_ckn\.signals_to_images"
    with pytest.raises(ValueError, match=match):
        make(image_shape=(1, 40, 3)).fit(first)
    features = make(image_shape=(1, 40, 3)).fit(SIGNALS)
    with pytest.raises(ValueError, match=match):
        features.transform(first)
    expected = features.transform(SIGNALS)
    assert_array_equal(features.transform(signals_to_images(first)), expected)


def test_as_many_channels_as_samples_are_refused():
    with pytest.raises(ValueError, match="make them agree"):
        make(image_shape=(1, 3, 3)).fit(SIGNALS[:, :3])


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((40, 3), "pass X[:, np.newaxis], images of one row"),
        ((3, 40), "pass sklearn_ckn.signals_to_images(X), images of one row"),
        ((2, 8), "pass sklearn_ckn.signals_to_images(X), images of one row"),
        ((64, 16), "pass X[:, np.newaxis], images of one row"),
    ],
)
def test_signals_taken_for_grey_images_warn(shape, remedy):
    X = np.random.RandomState(0).rand(12, *shape)
    with pytest.warns(UserWarning, match="taken for images of") as record:
        model = make(patch_size=2).fit(X)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert remedy in str(record[0].message)
    assert f"image_shape={shape}" in str(record[0].message)
    advice = remedy.removeprefix("pass ").removesuffix(", images of one row")
    images = eval(advice, {"X": X, "np": np, "sklearn_ckn": sklearn_ckn})
    assert images.shape == (12, 1, max(shape), min(shape))
    # Warnings are errors here.
    make(patch_size=2).fit(images)
    make(patch_size=2, image_shape=shape).fit(X)
    make(patch_size=2).fit(X[..., np.newaxis])
    model.transform(X)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (2, 7), (17, 80), (8, 8)])
def test_other_images_do_not_warn(shape):
    make(patch_size=2).fit(np.random.RandomState(0).rand(12, *shape))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patch_size": 9}, "patch_size=9 makes .* over 9 pixels, beyond .* 4 x 12"),
        ({"dilation": (6, 1)}, "patch_size=3 and dilation=6 makes .* over 13 pixels"),
    ],
)
def test_patches_beyond_the_image_warn(parameters, message):
    X = np.random.RandomState(0).rand(12, 4, 12, 1)
    for model in (make(**parameters), make(CKNClassifier, **parameters)):
        with pytest.warns(UserWarning, match=message) as record:
            model.fit(X, LABELS)
        assert len(record) == 1
        assert record[0].filename == __file__


def test_patches_of_the_size_of_the_image_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(patch_size=8).fit(np.random.RandomState(0).rand(12, 8, 12))
        make(patch_size=3).fit(np.random.RandomState(0).rand(12, 2, 6))
        # Maps of later layers are small in any case.
        make(patch_size=(3, 5)).fit(np.random.RandomState(0).rand(12, 8, 8))
        make(patch_size=9).fit(IMAGES)
