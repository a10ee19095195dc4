"""Validation of rows for estimators that take no images."""

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklearn_ckn import LinearPathClassifier, RidgePathRegressor, SphericalKMeans

IMAGES = np.random.RandomState(0).rand(8, 3, 2)
ROWS = IMAGES.reshape(8, 6)
LABELS = np.arange(8) % 2
ESTIMATORS = [
    LinearPathClassifier(alpha=1e-2),
    RidgePathRegressor(alpha=1e-2),
    SphericalKMeans(2, random_state=0),
]
WORDS = "Found array with dim 3|Expected an array with rows and columns"


@pytest.fixture(params=["numpy", "cupy"])
def xp(request, monkeypatch):
    return np if request.param == "numpy" else fake_cupy.install(monkeypatch)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_more_than_two_axes_are_refused(estimator, dtype, xp):
    images = xp.asarray((10 * IMAGES).astype(dtype))
    with pytest.raises(ValueError, match=WORDS):
        clone(estimator).fit(images, LABELS)
    fitted = clone(estimator).fit(xp.asarray(ROWS), LABELS)
    with pytest.raises(ValueError, match=WORDS):
        fitted.predict(images)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_rows_of_any_strides(estimator):
    fitted = clone(estimator).fit(ROWS, LABELS)
    expected = fitted.predict(ROWS)
    # BLAS may add in another order; alpha = 1e-2 multiplies rounding by at most 1e2.
    tolerance = 1e3 * np.finfo(float).eps
    for rows in (np.asfortranarray(ROWS), np.repeat(ROWS, 2, axis=1)[:, ::2]):
        again = clone(estimator).fit(rows, LABELS)
        for found in (again.predict(ROWS), fitted.predict(rows)):
            assert_allclose(found, expected, rtol=0, atol=tolerance)
