"""The heads in any unit of features and targets, and where these are constant."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNRegressor, LinearPathClassifier, RidgePathRegressor
from sklearn_ckn._heads.affine import affine, stored_affine
from sklearn_ckn._heads.newton import Preconditioner, Products
from sklearn_ckn._heads.refit import refit_head
from sklearn_ckn._heads.spectrum import Spectrum
from sklearn_ckn._heads.standardize import StandardizedFeatures

HEADS = ["ridge", "linear_svm", "logistic"]
SHAPES = [(60, 8), (30, 50)]

# Exponents of powers of two near 1e-170, 1e155, 1e-42 and the ends of the ranges.
UNITS = {
    "f8": [-1000, -565, -342, -10, 342, 515, 1020],
    "f4": [-139, -43, 43, 124],
}
CASES = [(dtype, exponent) for dtype in UNITS for exponent in UNITS[dtype]]


def make_problem(shape, dtype="f8", seed=0):
    rng = np.random.RandomState(seed)
    labels = np.arange(shape[0]) % 3
    features = (
        0.5 * rng.uniform(size=shape) + 0.1 * rng.uniform(size=(3, shape[1]))[labels]
    )
    # Few digits, which are there in the smallest numbers too.
    return (np.round(features * 1024) / 1024).astype(dtype), labels


def make_targets(features):
    rng = np.random.RandomState(1)
    return features[:, :2].astype(np.float64) @ rng.randn(2, 2) + rng.randn(2)


@pytest.mark.parametrize(("dtype", "exponent"), CASES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_classifier_of_any_unit(shape, head, dtype, exponent):
    features, labels = make_problem(shape, dtype)
    scaled = np.ldexp(features, exponent)
    plain = LinearPathClassifier(head).fit(features, labels)
    other = LinearPathClassifier(head).fit(scaled, labels)
    assert other.alpha_ == plain.alpha_
    assert other.decision_function(scaled).dtype == dtype
    # Powers of two round nothing, but for weights that float32 cannot hold: then the
    # sums are float64's.
    assert_allclose(
        other.predict_log_proba(scaled), plain.predict_log_proba(features), rtol=1e-3
    )
    if dtype == "f8":
        assert_allclose(np.ldexp(other.coef_, exponent), plain.coef_, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "exponent"), CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_regressor_of_any_unit(shape, dtype, exponent):
    features, _ = make_problem(shape, dtype)
    targets = make_targets(features)
    scaled = np.ldexp(features, exponent)
    plain = RidgePathRegressor().fit(features, targets)
    other = RidgePathRegressor().fit(scaled, targets)
    assert other.alpha_ == plain.alpha_
    assert_allclose(other.alpha_scores_, plain.alpha_scores_, rtol=1e-12)
    mean, deviation = other.predict(scaled, return_std=True)
    expected, expected_deviation = plain.predict(features, return_std=True)
    assert mean.dtype == dtype
    # Sums of d products, in float32 or for weights that it cannot hold in float64.
    tolerance = 1e-12 if dtype == "f8" else 1e-4
    assert_allclose(mean, expected, rtol=tolerance, atol=tolerance)
    assert_allclose(deviation, expected_deviation, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("exponents", [(-1000, 996), (0, 150), (-150, 0), (996, 0)])
def test_targets_of_any_unit(dtype, exponents):
    features, _ = make_problem((60, 8), dtype)
    targets = make_targets(features)
    scaled = np.ldexp(targets, exponents)
    plain = RidgePathRegressor().fit(features, targets)
    other = RidgePathRegressor().fit(features, scaled)
    assert other.alpha_ == plain.alpha_
    assert_array_equal(other.alpha_scores_, plain.alpha_scores_)
    # float32 cannot hold these targets.
    mean, deviation = other.predict(features, return_std=True)
    assert mean.dtype == np.float64
    expected, expected_deviation = plain.predict(features, return_std=True)
    # Weights that are rounded to float32, and those that are not.
    tolerance = 1e-12 if dtype == "f8" else 1e-4
    mean = np.ldexp(mean, np.negative(exponents))
    assert_allclose(mean, expected, rtol=tolerance, atol=tolerance)
    deviation = np.ldexp(deviation, np.negative(exponents))
    assert_allclose(deviation, expected_deviation, rtol=1e-12)
    assert not np.isnan(other.noise_variance_).any()


def test_weights_beyond_float64():
    features, _ = make_problem((60, 8))
    targets = make_targets(features)
    regressor = RidgePathRegressor().fit(features, targets)
    before = regressor.predict(features)
    for factors in ((1e-170, 1e300), (1e155, 1e-300), (1e30, [1, 1e-300])):
        with pytest.raises(ValueError, match="beyond the range of float64: multiply X"):
            regressor.fit(factors[0] * features, np.multiply(factors[1], targets))
    assert_array_equal(regressor.predict(features), before)


def test_images_of_a_tiny_unit():
    rng = np.random.RandomState(0)
    images = rng.randn(60, 6, 6).astype(np.float32)
    targets = 1e15 * rng.randn(60)
    tiny = images * np.float32(2.0**-83)
    expected = CKNRegressor((8,), random_state=0).fit(images, targets).predict(images)
    got = CKNRegressor((8,), random_state=0).fit(tiny, targets).predict(tiny)
    # Float32's rounding of 72 terms that cancel to a part of their size.
    assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("head", HEADS)
def test_a_refitted_head_of_any_unit(head):
    features, labels = make_problem((60, 8))
    targets = 2.0 * (labels[:, None] == np.arange(3)) - 1
    weights = np.ones(60)
    theta, mean, scale, objective, decisions = refit_head(
        features, targets, weights, head=head, alpha=1e-3, scale=None
    )
    for exponent in (-1000, 1000):
        scaled = np.ldexp(features, exponent)
        for given in (None, np.ldexp(scale, exponent)):
            other = refit_head(
                scaled, targets, weights, head=head, alpha=1e-3, scale=given
            )
            assert_allclose(other[0], theta, rtol=1e-9, atol=1e-12)
            assert_allclose(np.ldexp(other[1], -exponent), mean)
            assert_allclose(np.ldexp(other[2], -exponent), scale)
            assert_allclose(other[3], objective)
            assert_allclose(other[4], decisions, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("head", HEADS)
def test_a_scale_beyond_the_dtype_of_the_features(head):
    # Of a network whose features have shrunk since its scale was measured.
    features, labels = make_problem((60, 8), "f4")
    targets = 2.0 * (labels[:, None] == np.arange(3)) - 1
    theta, *_, decisions = refit_head(
        features, targets, np.ones(60), head=head, alpha=1e-3, scale=1e45
    )
    assert_allclose(theta[:-1], 0, atol=1e-6)
    assert_allclose(decisions, np.tile(theta[-1], (60, 1)), atol=1e-6)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_predictions_far_from_the_training_features(dtype):
    # Decisions that no number holds are the largest, and never NaN.
    features, labels = make_problem((60, 8), dtype)
    far = features / features.max() * np.finfo(dtype).max
    for head in HEADS:
        classifier = LinearPathClassifier(head).fit(features, labels)
        assert np.isfinite(classifier.decision_function(far)).all()
        assert np.isfinite(classifier.predict_log_proba(far)).all()
        assert_allclose(classifier.predict_proba(far).sum(axis=1), 1)
    targets = 100 * make_targets(features)
    regressor = RidgePathRegressor().fit(features, targets)
    mean, deviation = regressor.predict(far, return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


def test_sums_that_overflow_on_their_way():
    largest = np.finfo(np.float64).max
    X = np.array([[largest, largest, largest], [1, 2, 3]])
    coef = np.array([[3.0, -1.0, -1.5]])
    values = affine(X, coef, np.array([0.25]), np.dtype("f8"))
    assert_allclose(values, [[largest / 2], [-3.25]])


def test_weights_that_float32_cannot_hold():
    coef, intercept = np.array([[1.0, 2.0]]), np.array([0.5])
    for exponent, dtype in ((0, "f4"), (126, "f4"), (127, "f8"), (-140, "f8")):
        weights, offset = stored_affine(coef, intercept, np.dtype("f4"), 1.0, exponent)
        assert weights.dtype == offset.dtype == dtype
        X = np.array([[3, 4]], dtype=np.float32)
        values = affine(X, weights, offset, np.dtype("f8"))
        assert_allclose(values, [[11 * 2.0**exponent + 0.5]])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("shape", [(30, 120), (60, 8)])
@pytest.mark.parametrize("steps", [0, 1])
def test_features_that_are_constant_but_for_rounding(head, dtype, shape, steps):
    rng = np.random.RandomState(0)
    row = rng.uniform(size=shape[1]).astype(dtype)
    features = np.tile(row, (shape[0], 1))
    if steps:
        up = rng.uniform(size=shape) < 0.5
        features[up] = np.nextafter(features, np.inf, dtype=dtype)[up]
    labels = (np.arange(shape[0]) % 3 == 0).astype(int)
    classifier = LinearPathClassifier(head).fit(features, labels)
    assert_array_equal(classifier.coef_, 0)
    # The share of the second class; without one of n samples, its decision moves by
    # up to 2 / n away from its class, which the temperature takes for doubt.
    assert_allclose(classifier.predict_proba(features)[:, 1], 1 / 3, atol=0.1)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_equal_rows_have_equal_coordinates_but_for_rounding(dtype):
    rng = np.random.RandomState(0)
    for n_equal in range(2, 12):
        rows = rng.standard_normal((4, 300)).astype(dtype)
        features = rows[np.r_[np.zeros(n_equal, dtype=int), 1, 2, 3]]
        weights = np.ones(len(features))
        spectrum = Spectrum.from_features(
            StandardizedFeatures.from_values(features, weights)
        )
        weights[n_equal:] = 0
        fold = StandardizedFeatures.from_values(
            spectrum.coordinates(), weights, spectrum.coordinate_errors()
        )
        assert not fold.varying.any()
        # Different ones do differ.
        assert fold.weighted(np.ones(len(features))).varying.all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("constant", [1e-3, 14.62, 1e9])
def test_a_constant_column_changes_nothing(head, constant):
    features, labels = make_problem((60, 8))
    wide = np.column_stack([np.full(60, constant), features])
    alone = LinearPathClassifier(head).fit(features, labels)
    both = LinearPathClassifier(head).fit(wide, labels)
    assert_array_equal(both.coef_[:, 0], 0)
    assert both.alpha_ == alone.alpha_
    # Newton's method stops near the minimum.
    tolerance = 1e-9 if head == "ridge" else 1e-4
    assert_allclose(both.coef_[:, 1:], alone.coef_, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("constant", [0.0, 1.0, 14.62, 0.1, 1e9, -1e300, 1e-300])
@pytest.mark.parametrize("steps", [0, 1])
def test_a_constant_target_does_not_choose_alpha(constant, steps):
    features, _ = make_problem((60, 8))
    targets = make_targets(features) + np.random.RandomState(2).randn(60, 2)
    alone = RidgePathRegressor().fit(features, targets)
    column = np.full(60, constant)
    if steps:
        column[::3] = np.nextafter(column[::3], np.inf)
    if constant == 0 and steps:
        column[:] = 5e-324
    both = RidgePathRegressor().fit(features, np.column_stack([targets, column]))
    assert both.alpha_ == alone.alpha_
    # R2 of a constant that is predicted is 1, as in scikit-learn.
    assert_allclose(both.alpha_scores_, (2 * alone.alpha_scores_ + 1) / 3, rtol=1e-12)
    assert_allclose(both.predict(features)[:, 2], column, rtol=1e-15)
    assert both.noise_variance_[2] == 0
    assert_array_equal(both.coef_[2], 0)


def test_a_target_with_a_large_mean_keeps_its_digits():
    features, _ = make_problem((60, 8))
    targets = np.round(make_targets(features), 2)
    plain = RidgePathRegressor().fit(features, targets)
    moved = RidgePathRegressor().fit(features, targets + 2.0**40)
    assert moved.alpha_ == plain.alpha_
    # The sum rounds the targets to 2^-12, against a spread of about 0.1.
    assert_allclose(moved.alpha_scores_, plain.alpha_scores_, atol=1e-2)


# Below 1e-11 or so rounding decides whether a solution counts as converged.
@pytest.mark.filterwarnings("ignore:The linear head did not converge at alpha=1.0e-")
@pytest.mark.parametrize("alpha", [1e-100, 1e-50, 1e50, 1e100])
def test_alphas_of_any_size(alpha):
    features, labels = make_problem((60, 8))
    targets = make_targets(features)
    regressor = RidgePathRegressor(alpha).fit(features, targets)
    mean, deviation = regressor.predict(features, return_std=True)
    # All of a linear function, or nothing.
    expected = targets if alpha < 1 else np.tile(targets.mean(axis=0), (60, 1))
    assert_allclose(mean, expected, rtol=1e-9)
    assert np.isfinite(deviation).all()
    rare = (np.arange(60) % 10 == 0).astype(int)
    for head in HEADS:
        classifier = LinearPathClassifier(head, alpha=alpha).fit(features, labels)
        assert np.isfinite(classifier.predict_log_proba(features)).all()
        if alpha > 1:
            # What remains is the intercept. Two of the losses are squared errors here.
            decisions = LinearPathClassifier(head, alpha=alpha).fit(features, rare)
            share = np.log(1 / 9) if head == "logistic" else -0.8
            assert_allclose(decisions.intercept_, share, rtol=0.02)


@pytest.mark.parametrize("n_columns", [1, 3])
def test_the_preconditioner_where_every_margin_is_met(n_columns):
    features, _ = make_problem((30, 50))
    products = Products(StandardizedFeatures.from_values(features, np.ones(30)))
    curvatures = np.zeros((30, n_columns))
    residual = np.ones((51, n_columns))
    solution = Preconditioner(products, curvatures, 1e-9)(residual)
    assert_allclose(solution, residual / 1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("shape", [(40, 5), (20, 60)])
def test_separable_classes_at_tiny_alphas(shape, n_classes):
    rng = np.random.RandomState(0)
    labels = np.arange(shape[0]) % n_classes
    features = rng.randn(*shape) + 100 * np.eye(n_classes, shape[1])[labels]
    classifier = LinearPathClassifier("linear_svm", alpha=[1e-3, 1e-7, 1e-9, 1e-12])
    classifier.fit(features, labels)
    assert_array_equal(classifier.predict(features), labels)
