"""ckn_kernel with ``flip_average``: its definition, and the features' limit."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNFeatures, ckn_kernel
from sklearn_ckn._network.kernels import KERNELS

EPS = np.finfo(float).eps
IMAGES = np.random.RandomState(0).randn(5, 6, 5, 2)
OTHERS = np.random.RandomState(1).randn(3, 6, 5, 2)


def flipped(images):
    return images[:, :, ::-1]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("parameters", [{}, {"patch_size": 2, "subsampling": 3}])
@pytest.mark.parametrize("others", [OTHERS, None], ids=["two sets", "one set"])
def test_the_mean_over_the_flips_of_both_images(others, parameters, kernel):
    right = IMAGES if others is None else others
    values = [
        ckn_kernel(a, b, kernel=kernel, **parameters)
        for a in (IMAGES, flipped(IMAGES))
        for b in (right, flipped(right))
    ]
    actual = ckn_kernel(IMAGES, others, kernel=kernel, flip_average=True, **parameters)
    # Of four positive numbers, each the same to the bit in both computations.
    assert_allclose(actual, sum(values) / 4, rtol=4 * EPS)
    # Which differs from each of the four.
    largest = abs(actual).max()
    assert all(abs(each - actual).max() > 1e-6 * largest for each in values)
    if others is None:
        assert_array_equal(actual, actual.T)


def test_flips_change_nothing():
    expected = ckn_kernel(IMAGES, OTHERS, flip_average=True)
    for X, Y in ((flipped(IMAGES), OTHERS), (IMAGES, flipped(OTHERS))):
        actual = ckn_kernel(X, Y, flip_average=True)
        # The sum of the same four numbers in another order.
        assert_allclose(actual, expected, rtol=4 * EPS)


def test_without_flips_nothing_changes():
    """Images that are their own mirror images have the same kernel with flips."""
    images = IMAGES + flipped(IMAGES)
    assert_array_equal(
        ckn_kernel(images, flip_average=True), ckn_kernel(images, flip_average=False)
    )


def test_threads_units_and_single_rows():
    expected = ckn_kernel(IMAGES, OTHERS, flip_average=True)
    threads = ckn_kernel(IMAGES, OTHERS, flip_average=True, n_jobs=2)
    assert_array_equal(threads, expected)
    # A power of two changes the exponents alone.
    larger = ckn_kernel(2.0**40 * IMAGES, OTHERS, flip_average=True)
    assert_array_equal(larger, 2.0**40 * expected)
    rows = IMAGES[0].ravel(), OTHERS[1].ravel()
    value = ckn_kernel(*rows, image_shape=(6, 5, 2), flip_average=True)
    assert value == expected[0, 1]


@pytest.mark.filterwarnings("ignore:Layer .* distinct patches:UserWarning")
@pytest.mark.parametrize("n_layers", [1, 2])
def test_limit_of_the_features(n_layers):
    # With the patches of mirror images among the anchors, these can be all there are.
    images = np.concatenate([OTHERS, flipped(OTHERS)])
    common = {"beta": 1.5, "subsampling": (2, 3)[:n_layers], "flip_average": True}
    exact = ckn_kernel(images, n_layers=n_layers, **common)
    errors = []
    for n_anchors in (4, 32, 180):
        features = CKNFeatures(
            (n_anchors,) * n_layers, random_state=0, nystrom_reg=1e-9, **common
        ).fit_transform(images)
        error = np.linalg.norm(features @ features.T - exact)
        errors.append(error / np.linalg.norm(exact))
    assert errors[0] > errors[1] > errors[2]
    # With all patches as anchors of Gram matrix G, kappa becomes G (G + eps I)^-1 G,
    # which differs from G by eps G (G + eps I)^-1, at most eps = 1e-9 a value. Two
    # decades are left for the gradients of the second layer, and for values below 1.
    assert errors[2] < 1e-7
    plain = ckn_kernel(images, n_layers=n_layers, **{**common, "flip_average": False})
    assert np.linalg.norm(plain - exact) > 1e-2 * np.linalg.norm(exact)
