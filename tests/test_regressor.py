"""CKNRegressor: targets of one and several columns, standard deviations."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNFeatures, CKNRegressor, RidgePathRegressor


def make(**parameters):
    return CKNRegressor(**{"n_anchors": (16, 32), "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def tilts():
    """Stripes of several directions and widths, noise, and these two numbers."""
    rng = np.random.RandomState(0)
    angle, width = rng.uniform(0, np.pi / 2, 500), rng.uniform(1, 2, 500)
    rows, columns = np.mgrid[:10, :10]
    phase = np.multiply.outer(np.cos(angle) * width, rows)
    phase += np.multiply.outer(np.sin(angle) * width, columns)
    images = np.sin(phase) + 0.1 * rng.randn(500, 10, 10)
    return images.astype(np.float32), np.column_stack([angle, 10 * width])


def test_several_targets(tilts):
    images, targets = tilts
    regressor = make().fit(images[:400], targets[:400])
    mean, deviation = regressor.predict(images[400:], return_std=True)
    assert mean.shape == deviation.shape == (100, 2)
    assert regressor.score(images[400:], targets[400:]) > 0.8
    assert_array_equal(mean, regressor.predict(images[400:]))
    standardized = (targets[400:] - mean) / deviation
    # 100 squares of heavy tails; the deviations are right within a factor of 2.
    assert_allclose(np.mean(standardized**2, axis=0), 1, atol=0.75)
    one = make().fit(images[:400], targets[:400, 0])
    mean, deviation = one.predict(images[400:], return_std=True)
    assert mean.shape == deviation.shape == (100,)
    assert one.coef_.shape == (np.prod(one.features_.output_shape_),)


def test_the_head_is_that_of_the_features(tilts):
    images, targets = tilts[0][:150], tilts[1][:150, 0]
    regressor = make().fit(images, targets)
    features = regressor.features_.transform(images)
    alone = RidgePathRegressor().fit(features, targets)
    names = ["coef_", "intercept_", "alpha_", "alphas_"]
    for name in (*names, "alpha_scores_", "alpha_scoring_"):
        assert_array_equal(getattr(regressor, name), getattr(alone, name))
    expected = alone.predict(features, return_std=True)
    for left, right in zip(
        regressor.predict(images, return_std=True), expected, strict=True
    ):
        assert_array_equal(left, right)
    with sklearn.config_context(working_memory=0.05):
        assert_allclose(regressor.predict(images), expected[0], rtol=1e-4)


def test_parameters_are_those_of_the_features_and_the_head():
    expected = {**CKNFeatures().get_params(), **RidgePathRegressor().get_params()}
    # The head alone takes splits of rows, in a pipeline.
    assert expected.pop("cv") is None
    # Features without targets have nothing to choose by.
    expected |= dict.fromkeys(("whitening", "flip_average", "normalize"), "auto")
    # The head alone is given features.
    assert CKNRegressor().get_params() == expected | {"streaming": "auto"}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.full(20, np.nan), "NaN"),
        (np.zeros(19), "inconsistent numbers of samples"),
        (np.zeros((20, 2, 2)), "dim 3"),
    ],
)
def test_bad_targets(targets, message, tilts, monkeypatch):
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    with pytest.raises(ValueError, match=message):
        make().fit(tilts[0][:20], targets)


def test_bad_alpha(tilts, monkeypatch):
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    with pytest.raises(ValueError, match="alpha"):
        make(alpha=[0.0]).fit(tilts[0], tilts[1])
