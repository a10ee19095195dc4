"""The input rule: layouts, dtypes, and errors before any work."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal

from sklearn_ckn import CKNClassifier, CKNFeatures, SphericalKMeans
from sklearn_ckn._input.dtypes import compute_dtype

IMAGES = np.random.RandomState(0).randn(12, 6, 5, 2)
LABELS = np.arange(12) % 3


def make(estimator=CKNFeatures, **parameters):
    return estimator(**{"n_anchors": (4, 6), "random_state": 0, **parameters})


def layouts(images):
    """Return the ways to give images, as (X, image_shape)."""
    n, *shape = images.shape
    ways = [
        (images.reshape(n, -1), tuple(shape)),
        (images, None),
        (images, tuple(shape)),
        (images.tolist(), None),
        (list(images), None),
        (np.asfortranarray(images), None),
        (np.repeat(images, 2, axis=2)[:, :, ::2], None),
    ]
    if shape[2] == 1:
        ways += [
            (images[..., 0], None),
            (images[..., 0], tuple(shape[:2])),
            (images.reshape(n, -1), tuple(shape[:2])),
            (list(images[..., 0]), None),
        ]
    return ways


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., :1]], ids=["colour", "gray"])
def test_layouts_give_identical_results(images):
    expected = make().fit(images)
    for X, image_shape in layouts(images):
        features = make(image_shape=image_shape).fit(X)
        assert features.image_shape_ == images.shape[1:]
        assert features.n_features_in_ == images[0].size
        for left, right in zip(features.anchors_, expected.anchors_, strict=True):
            assert_array_equal(left, right)
        # What was fitted on one layout transforms every other.
        for other, _ in layouts(images):
            assert_array_equal(features.transform(other), expected.transform(images))


def test_classifier_takes_the_same_layouts():
    expected = make(CKNClassifier).fit(IMAGES, LABELS).decision_function(IMAGES)
    for X, image_shape in layouts(IMAGES):
        classifier = make(CKNClassifier, image_shape=image_shape).fit(X, LABELS)
        assert_array_equal(classifier.decision_function(X), expected)


def test_dtypes():
    images = np.random.RandomState(0).randint(256, size=(6, 5, 5)).astype(np.uint8)
    features = make().fit(images)
    assert features.anchors_[0].dtype == np.float32
    from_uint8 = features.transform(images)
    assert from_uint8.dtype == np.float32
    assert_array_equal(features.transform(images.astype(np.float32)), from_uint8)
    for other in (np.float64, np.int64, np.int32, object):
        assert features.transform(images.astype(other)).dtype == np.float64
    assert make().fit(images.astype(float)).anchors_[0].dtype == np.float64
    assert compute_dtype(np.dtype("u1")) == compute_dtype(np.dtype("f4")) == "f4"


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_the_order_of_bytes_does_not_matter(dtype):
    native = (100 * IMAGES).astype(dtype)
    swapped = native.astype(native.dtype.newbyteorder())
    expected, actual = make().fit(native), make().fit(swapped)
    assert actual.anchors_[0].dtype == expected.anchors_[0].dtype
    assert_array_equal(actual.anchors_[1], expected.anchors_[1])
    for X in (swapped, list(swapped)):
        features = actual.transform(X)
        assert features.dtype == compute_dtype(native.dtype)
        assert_array_equal(features, expected.transform(native))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_images_near_the_largest_number(dtype):
    # Their sum is infinite, and so is its negative.
    images = (IMAGES - IMAGES.mean()).astype(dtype)
    images *= np.finfo(dtype).max / np.abs(images).max() / 64
    features = make().fit(images)
    small = make().fit(np.ldexp(images, -20))
    assert_array_equal(features.anchors_[1], small.anchors_[1])
    assert np.isfinite(features.transform(images)).all()


def test_float64_transform_of_a_float32_fit():
    features = make().fit(IMAGES.astype(np.float32))
    single = features.transform(IMAGES.astype(np.float32))
    double = features.transform(IMAGES)
    assert double.dtype == np.float64
    # The accuracy in float32 of two layers, as the reference vectors have it.
    assert np.linalg.norm(single - double) < 3e-6 * np.linalg.norm(double)


def test_input_is_not_changed():
    images = IMAGES.copy()
    images.flags.writeable = False
    make().fit(images).transform(images)
    assert_array_equal(images, IMAGES)


def test_rows_without_shape_warn_and_say_how_to_silence():
    rows = IMAGES.reshape(12, -1)
    with pytest.warns(UserWarning, match=r"image_shape=\(1, 1, 60\)") as record:
        features = make().fit(rows)
    assert record[0].filename == __file__
    assert features.image_shape_ == (1, 1, 60)
    with pytest.warns(UserWarning, match="image_shape") as record:
        make(CKNClassifier).fit(rows, LABELS)
    assert len(record) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(image_shape=(1, 1, 60)).fit(rows)


def with_value(value):
    images = IMAGES.copy()
    images[3, 1, 1, 0] = value
    return images


BAD_X = {
    "NaN": (with_value(np.nan), ValueError, "NaN"),
    "infinity": (with_value(np.inf), ValueError, "infinity"),
    "float32 NaN": (with_value(np.nan).astype("f4"), ValueError, "NaN"),
    "sparse": (scipy.sparse.csr_array(np.eye(4)), TypeError, "[Ss]parse"),
    "complex": (IMAGES + 1j, ValueError, "Complex data not supported"),
    "no image": (IMAGES[:0], ValueError, r"0 sample\(s\)"),
    "no pixel": (IMAGES[:, :0], ValueError, r"0 feature\(s\)"),
    "5-D": (IMAGES[..., None], ValueError, "array with dim 5"),
    "1-D": (np.arange(4.0), ValueError, "1D array"),
    "0-D": (3.0, ValueError, "scalar array"),
    "strings": (
        np.full((3, 4, 4), "a"),
        ValueError,
        "X holds strings",
    ),
    "unequal": ([np.ones((3, 3)), np.ones((4, 3))], ValueError, "one shape"),
}


@pytest.mark.parametrize("name", BAD_X)
@pytest.mark.parametrize("estimator", [CKNFeatures, CKNClassifier])
def test_bad_images(estimator, name):
    X, error, message = BAD_X[name]
    with pytest.raises(error, match=message):
        make(estimator).fit(X, LABELS[: len(X) if hasattr(X, "__len__") else 1])
    fitted = make(estimator).fit(IMAGES, LABELS)
    method = fitted.transform if estimator is CKNFeatures else fitted.predict
    with pytest.raises(error, match=f"{message}|was fitted on images of shape"):
        method(X)


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((6, 5), r"60 columns, but image_shape=\(6, 5\) needs 30"),
        ((60,), "image_shape must be"),
        ((6, 5, 2, 1), "image_shape must be"),
        ((6, 10, 0), "image_shape must be"),
        ((6.0, 5, 2), "image_shape must be"),
        ((-6, -5, 2), "image_shape must be"),
    ],
)
def test_bad_image_shape(image_shape, message):
    with pytest.raises(ValueError, match=message):
        make(image_shape=image_shape).fit(IMAGES.reshape(12, -1))


def test_image_shape_must_agree_with_images():
    with pytest.raises(ValueError, match=r"\(6, 5, 2\).*image_shape=\(5, 6, 2\)"):
        make(image_shape=(5, 6, 2)).fit(IMAGES)


@pytest.mark.parametrize(
    "other",
    [IMAGES[:, :5], IMAGES[..., :1], IMAGES[..., 0], IMAGES.transpose(0, 2, 1, 3)],
)
def test_other_shape_at_transform(other):
    with pytest.raises(ValueError, match=r"was fitted on images of shape \(6, 5, 2\)"):
        make().fit(IMAGES).transform(other)


def test_other_number_of_columns_at_transform():
    with pytest.raises(ValueError, match=r"59 features.*60 features"):
        make().fit(IMAGES).transform(IMAGES.reshape(12, -1)[:, :59])


@pytest.mark.parametrize(
    "bad", [{"X": with_value(np.nan)}, {"X": IMAGES[:, :3], "beta": -1.0}]
)
@pytest.mark.parametrize("estimator", [CKNFeatures, CKNClassifier])
def test_a_failed_fit_keeps_what_was_fitted(estimator, bad):
    fitted = make(estimator).fit(IMAGES, LABELS)
    before = vars(fitted).copy()
    parameters = {name: value for name, value in bad.items() if name != "X"}
    with pytest.raises(ValueError, match=r"NaN|beta"):
        fitted.set_params(**parameters).fit(bad["X"], LABELS)
    fitted.set_params(**{name: before[name] for name in parameters})
    assert vars(fitted) == before


def test_a_failed_clustering_keeps_what_was_fitted():
    fitted = SphericalKMeans(3, random_state=0).fit(IMAGES.reshape(12, -1))
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match="n_samples=2"):
        fitted.fit(np.ones((2, 3)))
    assert vars(fitted) == before
