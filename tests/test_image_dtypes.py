"""What images are stored in: block by block to float64, with scikit-learn's errors."""

import tracemalloc

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.utils.validation import check_array, check_X_y

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    PatchWhitening,
    SupervisedCKNClassifier,
    ckn_kernel,
)

IMAGES = np.random.RandomState(0).randint(0, 120, size=(12, 6, 5, 2))
LABELS = np.arange(12) % 2
STORED = [
    *("i1", "u2", "i2", "u4", "i4", "u8", "i8", "?", "f2", ">i2", ">u4", "g"),
    "O",
]


def make(estimator=CKNFeatures, **parameters):
    return estimator((3, 4), random_state=0, **parameters)


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("as_rows", [False, True], ids=["images", "rows"])
def test_all_are_computed_in_float64(dtype, as_rows):
    images = IMAGES.astype(dtype)
    X = images.reshape(12, -1) if as_rows else images
    expected = make().fit(images.astype(float))
    features = make(image_shape=(6, 5, 2)).fit(X)
    for left, right in zip(features.anchors_, expected.anchors_, strict=True):
        assert left.dtype == np.float64
        assert_array_equal(left, right)
    assert features.transform(X).dtype == np.float64
    assert_array_equal(features.transform(X), expected.transform(images.astype(float)))
    classifier = make(CKNClassifier, image_shape=(6, 5, 2)).fit(X, LABELS)
    decisions = classifier.decision_function(X)
    expected = make(CKNClassifier).fit(images.astype(float), LABELS)
    assert_array_equal(decisions, expected.decision_function(images.astype(float)))
    whitening = PatchWhitening(image_shape=(6, 5, 2)).fit(X)
    whitened = whitening.transform(X)
    assert whitened.dtype == np.float64
    expected = PatchWhitening().fit_transform(images.astype(float))
    assert_array_equal(whitened.reshape(expected.shape), expected)


def test_supervised_training_of_integers():
    images = IMAGES.astype(np.int16)
    parameters = {"n_epochs": 1, "augment": "shift", "random_state": 0}
    results = [
        SupervisedCKNClassifier((3, 4), **parameters)
        .fit(X, LABELS)
        .decision_function(X)
        for X in (images, images.astype(float))
    ]
    assert_array_equal(*results)


@pytest.mark.parametrize("dtype", ["i2", "f2", "?", ">i2"])
@pytest.mark.parametrize("method", ["transform", "predict", "whiten"])
def test_no_copy_of_all_images(dtype, method):
    images = np.random.RandomState(0).randint(100, size=(4000, 40, 40)).astype(dtype)
    few = images[:20]
    if method == "whiten":
        call = PatchWhitening(1).fit(few).transform
    elif method == "predict":
        labels = np.arange(20) % 2
        call = (
            CKNClassifier((1,), patch_size=1, random_state=0).fit(few, labels).predict
        )
    else:
        call = CKNFeatures((1,), patch_size=1, random_state=0).fit(few).transform
    with sklearn.config_context(working_memory=2):
        call(few)
        tracemalloc.start()
        try:
            result = call(images)
            peak = tracemalloc.get_traced_memory()[1] - result.nbytes
        finally:
            tracemalloc.stop()
    # A block, its maps and the engine's scratch, of two megabytes each at most; all
    # images would be 6.4 MB in booleans, and 51 MB in float64.
    assert peak < 6e6


class Counted:
    """An array that counts how often it is asked for its values."""

    def __init__(self, values):
        self._values = values
        self.shape = values.shape
        self.n_conversions = 0

    def __len__(self):
        return len(self._values)

    def __array__(self, dtype=None, copy=None):
        self.n_conversions += 1
        return np.array(self._values, dtype=dtype)


@pytest.mark.parametrize("dtype", ["i2", "f8"])
@pytest.mark.parametrize("as_rows", [False, True], ids=["images", "rows"])
@pytest.mark.parametrize(
    "estimator",
    [
        CKNFeatures((3, 4)),
        CKNClassifier((3, 4)),
        CKNRegressor((3, 4)),
        SupervisedCKNClassifier((3, 4), n_epochs=1),
        PatchWhitening(),
    ],
)
def test_images_are_converted_once(estimator, as_rows, dtype, tmp_path):
    images = IMAGES.astype(dtype)
    X = images.reshape(12, -1) if as_rows else images
    estimator = sklearn.clone(estimator).set_params(image_shape=(6, 5, 2))
    if hasattr(estimator, "memory"):
        estimator.set_params(memory=str(tmp_path), random_state=0)
    counted = Counted(X)
    estimator.fit(counted, LABELS)
    assert counted.n_conversions == 1
    call = estimator.transform if hasattr(estimator, "transform") else estimator.predict
    expected = call(X)
    counted.n_conversions = 0
    assert_array_equal(call(counted), expected)
    assert counted.n_conversions == 1
    counted.n_conversions = 0
    ckn_kernel(counted, image_shape=(6, 5, 2))
    assert counted.n_conversions == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("bad_labels", [False, True], ids=["X", "X and y"])
def test_errors_are_those_of_scikit_learn(dtype, value, bad_labels):
    """Of several mistakes, scikit-learn reports that in X first."""
    images = IMAGES.astype(dtype)
    images[-1, -1, -1, -1] = value
    labels = np.where(LABELS, np.nan, 1.0) if bad_labels else LABELS
    rows = images.reshape(12, -1)
    with pytest.raises(ValueError, match="X contains") as expected:
        check_X_y(rows, labels, estimator="CKNClassifier", dtype=None)
    with pytest.raises(ValueError, match="X contains") as actual:
        make(CKNClassifier).fit(images, labels)
    assert str(actual.value) == str(expected.value)
    with pytest.raises(ValueError, match="X contains") as expected:
        check_array(rows, estimator="CKNFeatures", input_name="X")
    with pytest.raises(ValueError, match="X contains") as actual:
        make().fit(IMAGES).transform(images)
    assert str(actual.value).split("\n")[0] == str(expected.value).split("\n")[0]
