"""What must not change the features, to the bit."""

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_limits

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    SphericalKMeans,
    ckn_kernel,
)

DTYPES = ("f4", "f8")

IN_ANY_UNIT = pytest.mark.filterwarnings("ignore:X seems to be in other units")


def make_images(n=7, shape=(11, 9, 3), dtype="f4", seed=0):
    return np.random.RandomState(seed).randn(n, *shape).astype(dtype)


def fit(images, **parameters):
    parameters = {"n_anchors": (12, 20), "random_state": 0, **parameters}
    return CKNFeatures(**parameters).fit(images)


@IN_ANY_UNIT
@given(st.floats(-30, 30), st.sampled_from(["exp", "poly", "arccos1"]))
def test_positively_homogeneous(exponent, kernel):
    images = make_images(dtype="f8")
    features = fit(images, kernel=kernel)
    factor = 10**exponent
    expected = factor * features.transform(images)
    # Only the product factor * images rounds differently: relative eps per pixel,
    # times the condition of the map, whose projection has norm 1 / sqrt(1e-3) = 32.
    error = np.linalg.norm(features.transform(factor * images) - expected)
    assert error <= 1e3 * np.finfo("f8").eps * np.linalg.norm(expected)


@IN_ANY_UNIT
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [-100, -3, 1, 100])
def test_powers_of_two_pass_through_exactly(dtype, power):
    images = make_images(dtype=dtype)
    features = fit(images)
    expected = np.ldexp(features.transform(images), power)
    assert np.isfinite(expected).all()
    assert_array_equal(features.transform(np.ldexp(images, power)), expected)


@IN_ANY_UNIT
@pytest.mark.parametrize("dtype", DTYPES)
def test_images_near_the_largest_number(dtype):
    """Features are right or refused; never infinite."""
    images = make_images(dtype=dtype)
    network = fit(images, flip_average=True)
    expected = network.transform(images)
    # Patches are up to 3 sqrt(3) times as long as a pixel, those of maps 3 times as
    # long as theirs, and another factor of 2 is kept for rounding: 2^5 and some.
    largest = np.finfo(dtype).maxexp - np.frexp(abs(images).max())[1]
    below = np.ldexp(images, largest - 6)
    assert_array_equal(network.transform(below), np.ldexp(expected, largest - 6))
    assert_array_equal(
        fit(below, flip_average=True).transform(below),
        np.ldexp(expected, largest - 6),
    )
    above = np.ldexp(images, largest - 1)
    classifier = CKNClassifier((4, 6), random_state=0)
    labels = np.arange(len(images)) % 2
    for call in (
        network.transform,
        fit,
        lambda X: classifier.fit(images, labels).predict(X),
        lambda X: classifier.fit(X, labels),
    ):
        with pytest.raises(
            ValueError, match=r"X holds values as large as .*: divide X"
        ):
            call(above)


def test_kernel_values_beyond_the_range():
    images = make_images(dtype="f8")
    expected = ckn_kernel(images)
    assert_array_equal(ckn_kernel(np.ldexp(images, 500)), np.ldexp(expected, 1000))
    with pytest.raises(ValueError, match="X or Y holds values so large"):
        ckn_kernel(np.ldexp(images, 1000))


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_does_not_see_its_batch(dtype):
    images = make_images(dtype=dtype)
    features = fit(images)
    together = features.transform(images)
    for i in range(len(images)):
        assert_array_equal(features.transform(images[i : i + 1])[0], together[i])
    order = [3, 3, 0, 6, 1]
    assert_array_equal(features.transform(images[order]), together[order])


@pytest.mark.parametrize("dtype", DTYPES)
def test_number_of_threads(dtype):
    images = make_images(n=40, dtype=dtype)
    results = []
    for n_threads in (1, 2, 3):
        with threadpool_limits(limits=n_threads):
            features = fit(images)
            clusters = SphericalKMeans(5, random_state=0).fit(
                images.reshape(len(images), -1)
            )
            results.append(
                [
                    *features.anchors_,
                    *(layer.projection for layer in features._network.layers),
                    features.transform(images),
                    clusters.cluster_centers_,
                ]
            )
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            assert_array_equal(left, right)


def test_number_of_images_in_a_block():
    images = make_images(n=60)
    features = fit(images)
    whole = features.transform(images)
    # A block of one image up to a few: an image and its maps take about 10 kB.
    for mebibytes in (0.02, 0.05, 0.5):
        with sklearn.config_context(working_memory=mebibytes):
            assert_array_equal(features.transform(images), whole)
            assert_array_equal(fit(images).anchors_[1], features.anchors_[1])


def test_seed():
    images = make_images()
    first, second, other = (fit(images, random_state=seed) for seed in (0, 0, 1))
    for left, right, different in zip(
        first.anchors_, second.anchors_, other.anchors_, strict=True
    ):
        assert_array_equal(left, right)
        assert (left != different).any()
    state = np.random.RandomState(0)
    assert_array_equal(fit(images, random_state=state).anchors_[0], first.anchors_[0])
    assert (fit(images, random_state=state).anchors_[0] != first.anchors_[0]).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(11, 9, 3), (6, 8, 1)])
def test_mirror_images_have_the_same_features(dtype, shape):
    images = make_images(dtype=dtype, shape=shape)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    averaged, plain = fit(images, flip_average=True), fit(images)
    features = averaged.transform(images)
    assert_array_equal(averaged.transform(mirrored), features)
    assert (plain.transform(mirrored) != plain.transform(images)).any()
    # Halves are exact, so the mean is rounded once.
    expected = plain.transform(images) / 2 + plain.transform(mirrored) / 2
    assert_array_equal(features, expected)
    for mebibytes in (0.02, 0.5):
        with sklearn.config_context(working_memory=mebibytes):
            assert_array_equal(averaged.transform(images), features)


def test_mirror_images_are_classified_alike():
    images = make_images(n=40, shape=(8, 8, 1))
    labels = np.arange(40) % 2
    classifier = CKNClassifier((8, 16), flip_average=True, random_state=0)
    classifier.fit(images, labels)
    assert_array_equal(
        classifier.decision_function(images[:, :, ::-1]),
        classifier.decision_function(images),
    )
