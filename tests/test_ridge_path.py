"""Leave-one-out predictions, choice of alpha, and standard deviations of ridge."""

import numpy as np
import pytest
from conftest import relative_error
from counting import count_calls
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.linear_model import RidgeClassifierCV, RidgeCV

from sklearn_ckn import LinearPathClassifier, RidgePathRegressor
from sklearn_ckn._common.lapack import LARGEST_SYEVD
from sklearn_ckn._heads.calibration import fit_factor
from sklearn_ckn._heads.classification import ClassifierSamples
from sklearn_ckn._heads.left_out import LeftOut
from sklearn_ckn._heads.one_alpha import SMALLEST_SOLVED, solve_ridge
from sklearn_ckn._heads.regression import fit_ridge_regressor
from sklearn_ckn._heads.ridge import RidgePath
from sklearn_ckn._heads.spectrum import Spectrum
from sklearn_ckn._heads.standardize import StandardizedFeatures

ALPHAS = np.logspace(0, -6, 7)
SHAPES = [(60, 20), (20, 60), (40, 40)]


def make_problem(n, d, dtype=np.float64, seed=0):
    rng = np.random.RandomState(seed)
    labels = np.r_[0, 1, 2, rng.randint(3, size=n - 3)]
    features = rng.randn(n, d) + 5 + rng.randn(3, d)[labels]
    return features.astype(dtype), labels, rng.uniform(0.5, 2, size=n)


def mean_square_norm(features):
    return ((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_leave_one_out_is_fitting_without_the_sample(n, d):
    features, _, weights = make_problem(n, d)
    targets = np.random.RandomState(1).randn(n, 2)
    standardized = StandardizedFeatures.from_values(features, weights)
    path = RidgePath.from_features(standardized, targets, ALPHAS)
    ((_, predictions, _),) = path.leave_one_out()
    ((_, rows),) = standardized.row_blocks()
    design = np.column_stack([rows, np.ones(n)])
    for i in (0, n // 2, n - 1):
        rest = np.delete(np.arange(n), i)
        root = np.sqrt(standardized.weights[rest, None] / n)
        for j, alpha in enumerate(ALPHAS):
            penalty = np.sqrt(alpha) * np.eye(d, d + 1)
            solution, *_ = np.linalg.lstsq(
                np.vstack([root * design[rest], penalty]),
                np.vstack([root * targets[rest], np.zeros((d, 2))]),
                rcond=None,
            )
            # Two solutions of systems of condition up to 1 / alpha.
            assert_allclose(predictions[i, j], design[i] @ solution, atol=1e-7)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_samples_of_equal_features_are_left_out_together(n, d):
    features, _, weights = make_problem(n, d)
    units = np.r_[np.arange(n - 9), [0, 0, 0, 1, 1, 2, 3, 4, 5]]
    features = features[units]
    targets = np.random.RandomState(1).randn(n, 2)
    standardized = StandardizedFeatures.from_values(features, weights)
    path = RidgePath.from_features(standardized, targets, ALPHAS, units)
    ((_, predictions, leverages),) = path.leave_one_out()
    ((_, rows),) = standardized.row_blocks()
    design = np.column_stack([rows, np.ones(n)])
    shares = standardized.weights[:, None] / n
    for unit in (0, 1, 2, 10):
        out = np.flatnonzero(units == unit)
        rest = np.flatnonzero(units != unit)
        for j, alpha in enumerate(ALPHAS):
            penalty = alpha * np.diag(np.r_[np.ones(d), 0])
            matrix = design[rest].T @ (shares[rest] * design[rest]) + penalty
            right = design[rest].T @ (shares[rest] * targets[rest])
            solution = np.linalg.solve(matrix, right)
            # Two solutions of systems of condition up to 1 / alpha.
            assert_allclose(predictions[out, j], design[out] @ solution, atol=1e-7)
    # s^2 by the covariance of the residuals e of a unit left out, which is
    # s^2 (W^(-1) + Z A^(-1) Z^T), with A the matrix of the others.
    index = 2
    matrix = design.T @ (shares * design) + ALPHAS[index] * np.diag(
        np.r_[np.ones(d), 0]
    )
    total = 0
    for unit in np.unique(units):
        out = units == unit
        rest = matrix - design[out].T @ (shares[out] * design[out])
        spread = design[out] @ np.linalg.solve(rest, design[out].T) / n
        covariance = np.diag(1 / standardized.weights[out]) + spread
        residual = targets[out] - predictions[out, index]
        total += (residual * np.linalg.solve(covariance, residual)).sum(axis=0)
    noise = path.noise_variance(predictions[:, index], leverages[:, index])
    assert_allclose(noise, total / n, rtol=1e-7)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_predictions_of_one_alpha_are_those_of_the_path(n, d):
    features, _, weights = make_problem(n, d)
    targets = np.random.RandomState(1).randn(n, 2)
    standardized = StandardizedFeatures.from_values(features, weights)
    path = RidgePath.from_features(standardized, targets, ALPHAS)
    ((_, predictions, leverages),) = path.leave_one_out()
    # In MiB: predictions of 60 x 7 x 2 values are kept or are not.
    for memory in (1, 1e-4):
        with config_context(working_memory=memory):
            left_out = LeftOut(path)
        total = left_out.summarize(lambda rows, values: values.sum(axis=0))
        assert_array_equal(left_out.leverages, leverages)
        assert_allclose(total, predictions.sum(axis=0), rtol=1e-12)
        for index in (0, 3, 6):
            assert_allclose(left_out.of(index), predictions[:, index], atol=1e-8)


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_one_alpha_needs_no_eigenvalues(n, d, dtype, monkeypatch):
    features, _, weights = make_problem(n, d, dtype)
    targets = np.random.RandomState(1).randn(n, 2)
    standardized = StandardizedFeatures.from_values(features, weights)
    path = RidgePath.from_features(standardized, targets, ALPHAS)
    calls = count_calls(monkeypatch, Spectrum, "from_features")
    for index, alpha in enumerate(ALPHAS):
        coef, intercept = solve_ridge(standardized, targets, alpha)
        # Of the standardized features, the trace is 1.
        assert len(calls) == (alpha < SMALLEST_SOLVED)
        assert_array_equal(intercept, path.intercept)
        # Two solutions by the same matrix, whose condition is up to 1 / alpha: its
        # rounding is a few times 60 * 2e-16.
        assert relative_error(coef, path.solve(index)) < 1e-13 / alpha


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_classifier_scores_equal_scikit_learn(n, d, dtype):
    features, labels, _ = make_problem(n, d, dtype)
    ours = LinearPathClassifier(alpha=ALPHAS).fit(features, labels)
    assert_array_equal(ours.alphas_, ALPHAS)
    # A decision within float32's rounding over alpha of another one can turn.
    tolerance = 1e-12 if dtype == "f8" else 1.01 / n
    # One alpha a time, since the peer keeps the best score only.
    for alpha, score in zip(ALPHAS, ours.alpha_scores_, strict=True):
        peer = RidgeClassifierCV(
            [n * alpha * mean_square_norm(features)], scoring="accuracy"
        )
        peer.fit(features.astype(np.float64), labels)
        assert_allclose(score, peer.best_score_, atol=tolerance)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_regressor_equals_scikit_learn(n, d):
    features, _, _ = make_problem(n, d)
    rng = np.random.RandomState(2)
    y = features[:, :5] @ rng.randn(5, 2) + rng.randn(n, 2)
    ours = RidgePathRegressor(ALPHAS).fit(features, y)
    unit = n * mean_square_norm(features)
    peer = RidgeCV(ALPHAS * unit, store_cv_results=True).fit(features, y)
    assert_allclose(ours.alpha_ * unit, peer.alpha_)
    errors = peer.cv_results_.mean(axis=0)
    expected = np.mean(1 - errors / y.var(axis=0)[:, None], axis=0)
    assert_allclose(ours.alpha_scores_, expected, rtol=1e-6)
    assert_allclose(ours.coef_, peer.coef_, rtol=1e-6, atol=1e-9)
    assert_allclose(ours.predict(features), peer.predict(features), rtol=1e-6)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_matrices_too_large_for_the_workspace_of_lapack(n, d, monkeypatch):
    # LAPACK computes the size of the workspace of dsyevd with 32-bit integers.
    for size, fits in ((LARGEST_SYEVD, True), (LARGEST_SYEVD + 1, False)):
        assert (1 + 6 * size + 2 * size**2 < 2**31) == fits
    features, labels, _ = make_problem(n, d)
    expected = LinearPathClassifier("ridge", alpha=ALPHAS).fit(features, labels)

    def refuse(matrix):
        raise AssertionError

    monkeypatch.setattr("sklearn_ckn._common.arrays.syevd", refuse)
    monkeypatch.setattr("sklearn_ckn._heads.spectrum.LARGEST_SYEVD", min(n, d) - 1)
    other = LinearPathClassifier("ridge", alpha=ALPHAS).fit(features, labels)
    assert other.alpha_ == expected.alpha_
    # Rounding of 1e-15 over the smallest alpha.
    assert_allclose(other.coef_, expected.coef_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("noise", [0, 2])
def test_alpha_has_the_best_probabilities_of_the_most_accurate(noise):
    features, labels, weights = make_problem(90, 30)
    features += noise * np.random.RandomState(1).randn(90, 30)
    fitted = ClassifierSamples.prepare(
        features, labels, weights, loss="ridge", alphas=ALPHAS
    ).fit()
    standardized = StandardizedFeatures.from_values(features, weights)
    targets = 2.0 * (labels[:, None] == np.arange(3)) - 1
    path = RidgePath.from_features(standardized, targets, ALPHAS)
    ((_, predictions, _),) = path.leave_one_out()
    weights = weights / weights.sum()
    accuracies = weights @ (predictions.argmax(axis=2) == labels[:, None])
    assert_allclose(fitted.scores, accuracies)
    best = accuracies.max()
    # An accuracy of 1 is a sum of weights, which rounding can carry past 1.
    error = np.sqrt(max(best * (1 - best), 0) * np.sum(weights**2))
    tied = np.flatnonzero(accuracies > best - error - 1e-9)
    assert (len(tied) > 1) == (noise == 0)
    calibrations = [fit_factor(predictions[:, i], labels, weights) for i in tied]
    losses = [loss for _, loss in calibrations]
    assert fitted.best == tied[np.argmin(losses)]
    assert_allclose(fitted.factor, calibrations[np.argmin(losses)][0], rtol=1e-6)


def test_float32_leave_one_out_is_that_of_float64():
    features, labels, _ = make_problem(400, 50)
    scores = [
        LinearPathClassifier(alpha=ALPHAS).fit(features.astype(dtype), labels)
        for dtype in (np.float64, np.float32)
    ]
    # A decision within 1e-6 of another could turn: at most one of 400.
    assert_allclose(scores[0].alpha_scores_, scores[1].alpha_scores_, atol=1 / 400)
    assert scores[1].coef_.dtype == np.float32


def test_dual_solutions_in_float32_cancel_as_in_float64():
    # Smooth curves, whose second moments fall by orders: weights of the smallest alphas
    # are sums of dual coefficients that are a million times larger.
    centers = np.sort(np.random.RandomState(0).uniform(2, 9, size=9))[:, np.newaxis]
    curves = np.exp(-(((np.arange(12) - centers) / 6) ** 2)).astype("f4")
    targets = np.random.RandomState(1).randn(9)
    single, double = (
        RidgePathRegressor(1e-10).fit(curves.astype(dtype), targets)
        for dtype in ("f4", "f8")
    )
    sizes = np.abs(curves) @ np.abs(double.coef_) + np.abs(double.intercept_)
    actual = curves.astype("f8") @ single.coef_ + single.intercept_
    # Weights and intercept are rounded to float32 in the end, half of eps each.
    error = np.abs(actual - double.predict(curves.astype("f8")))
    assert (error <= np.finfo("f4").eps * sizes).all()


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_standard_deviations_are_those_of_the_gaussian_process(n, d):
    features, _, _ = make_problem(n, d)
    rng = np.random.RandomState(3)
    y = np.column_stack([features[:, 0] + rng.randn(n), 7 * rng.randn(n)])
    alpha = 1e-2
    regressor = RidgePathRegressor(alpha).fit(features, y)
    new = rng.randn(5, d) + 5
    mean, deviation = regressor.predict(new, return_std=True)
    assert_allclose(mean, regressor.predict(new))
    centre, scale = features.mean(axis=0), np.sqrt(mean_square_norm(features))
    rows, points = (features - centre) / scale, (new - centre) / scale
    inverse = np.linalg.inv(rows.T @ rows / n + alpha * np.eye(d))
    spread = np.einsum("ij,jk,ik->i", points, inverse, points)
    leverages = (1 + np.einsum("ij,jk,ik->i", rows, inverse, rows)) / n
    residuals = y - regressor.predict(features)
    noise = np.mean(residuals**2 / (1 - leverages)[:, None], axis=0)
    assert_allclose(regressor.noise_variance_, noise, rtol=1e-8)
    expected = np.sqrt(noise * (1 + (1 + spread[:, None]) / n))
    assert_allclose(deviation, expected, rtol=1e-8)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_standard_deviations_cover_new_targets(dtype):
    rng = np.random.RandomState(0)
    features = rng.randn(1200, 100)
    y = features @ rng.randn(100) + 3 * rng.randn(1200)
    features = features.astype(dtype)
    regressor = RidgePathRegressor().fit(features[:200], y[:200])
    mean, deviation = regressor.predict(features[200:], return_std=True)
    standardized = (y[200:] - mean) / deviation
    # The mean square of 1,000 has a standard error of 0.045, and the noise's
    # variance, from 200 samples for 100 parameters, one of sqrt(2 / 100) = 0.14.
    assert abs(np.mean(standardized**2) - 1) < 0.4


def test_constant_targets():
    features, _, _ = make_problem(30, 5)
    regressor = RidgePathRegressor().fit(features, np.full(30, 3.0))
    mean, deviation = regressor.predict(features, return_std=True)
    assert_allclose(mean, 3)
    assert_allclose(deviation, 0, atol=1e-12)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_predictions_and_spreads_of_rows_that_do_not_train(n, d, monkeypatch):
    from sklearn_ckn._common import cache_blocks

    features, _, weights = make_problem(n, d)
    targets = np.random.RandomState(1).randn(n, 2)
    held_out = np.array([0, 5, n - 1])
    weights[held_out] = 0
    standardized = StandardizedFeatures.from_values(features, weights)
    ((_, rows),) = standardized.row_blocks()
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 2 * d)
    path = RidgePath.from_features(standardized, targets, ALPHAS)
    predictions, spreads = path.predict(held_out), path.spreads(held_out)
    shares = standardized.weights[:, None] / n
    mean = (shares * targets).sum(axis=0)
    for j, alpha in enumerate(ALPHAS):
        inverse = np.linalg.inv(rows.T @ (shares * rows) + alpha * np.eye(d))
        solution = inverse @ rows.T @ (shares * (targets - mean))
        expected = rows[held_out] @ solution + mean
        # Two solutions of systems of condition up to 1 / alpha.
        assert_allclose(predictions[:, j], expected, atol=1e-7)
        expected = np.einsum("ij,jk,ik->i", rows[held_out], inverse, rows[held_out])
        assert_allclose(spreads[:, j], expected, rtol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 20), (20, 60)])
def test_posterior_in_blocks(n, d, monkeypatch):
    from sklearn_ckn._common import cache_blocks

    features, _, _ = make_problem(n, d)
    targets = features[:, :1] ** 2
    _, posterior = fit_ridge_regressor(features, targets, ALPHAS)
    whole = posterior.deviation(features)
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 130)
    _, posterior = fit_ridge_regressor(features, targets, ALPHAS)
    assert_allclose(posterior.deviation(features), whole, rtol=1e-6)


def test_small_directions_of_float32_features_are_those_of_float64():
    # With n < d the weights are sums of rows that cancel down to directions a
    # millionth of the features' size: rows standardized in float32 would blur them.
    rng = np.random.RandomState(0)
    features = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 40))
    features = (features + 1e-6 * rng.standard_normal((6, 40))).astype(np.float32)
    targets = rng.standard_normal((6, 1))
    fitted, _ = fit_ridge_regressor(features, targets, np.array([1e-11]))
    wide = features.astype(np.float64)
    expected, _ = fit_ridge_regressor(wide, targets, np.array([1e-11]))
    # The inner products' rounding, 6 * 2e-16, over alpha, and a few times that.
    tolerance = 5e-4 * np.abs(expected.coef).max()
    assert_allclose(fitted.coef, expected.coef, atol=tolerance)
