"""Ridge by Cholesky factors, against the eigendecomposition."""

import numpy as np
import pytest
from counting import count_calls
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import KFold
from test_interrupt import endless, interrupt_once_begun, python_handles_ctrl_c
from test_streaming import Rows

from sklearn_ckn import LinearPathClassifier, RidgePathRegressor
from sklearn_ckn._common import interrupts as _interrupts
from sklearn_ckn._common.lapack import lower_trsm, potrf
from sklearn_ckn._heads import alpha_search, cholesky, cholesky_path
from sklearn_ckn._heads.alpha_search import group_alphas
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.cholesky_path import (
    TOLERANCE,
    CholeskySolver,
    UncertainGramError,
)
from sklearn_ckn._heads.classification import ClassifierSamples
from sklearn_ckn._heads.matrix_powers import apply_powers
from sklearn_ckn._heads.ridge import RidgePath
from sklearn_ckn._heads.spectrum import Spectrum
from sklearn_ckn._heads.standardize import StandardizedFeatures

__all__ = ["endless", "python_handles_ctrl_c"]

ALPHAS = np.logspace(-1, -4, 7)


def make_problem(n=400, d=40, dtype=np.float64, noise=2.0, seed=0):
    """Return correlated features, labels and weights."""
    rng = np.random.RandomState(seed)
    labels = np.r_[0, 1, 2, rng.randint(3, size=n - 3)]
    scales = np.arange(1, d + 1) ** -1.0
    features = rng.randn(n, d) * scales * noise
    features += 0.6 * rng.randn(3, d)[labels] * np.sqrt(scales)
    return features.astype(dtype), labels, rng.uniform(0.5, 2, size=n)


@pytest.fixture
def by_factors(monkeypatch):
    """Use Cholesky factors for features of any number, and count the factors."""
    monkeypatch.setattr(cholesky_path, "MIN_FEATURES", 1)
    return count_calls(monkeypatch, CholeskySolver, "path")


def fit_both(monkeypatch, estimator, *arguments, **options):
    """Fit by the eigendecomposition and by factors; return both fitted estimators."""
    expected = estimator().fit(*arguments, **options)
    monkeypatch.setattr(cholesky_path, "MIN_FEATURES", 1)
    paths = count_calls(monkeypatch, CholeskySolver, "path")
    decompositions = count_calls(monkeypatch, Spectrum, "from_features")
    actual = estimator().fit(*arguments, **options)
    assert paths
    assert not decompositions
    return expected, actual


def paths_of(n=400, d=40, alphas=ALPHAS, units=None, **options):
    features, _, weights = make_problem(n, d)
    targets = np.random.RandomState(1).randn(n, 2)
    standardized = StandardizedFeatures.from_values(features, weights)
    expected = RidgePath.from_features(standardized, targets, alphas, units)
    solver = CholeskySolver(standardized, targets, units)
    return expected, solver.path(alphas, **options)


def test_cholesky_factor_and_solutions_without_the_lock():
    # Integers: L is the factor of L L^T, and all sums are exact.
    rng = np.random.RandomState(0)
    lower = np.tril(rng.randint(-3, 4, size=(30, 30)), -1) + np.diag(
        2 ** rng.randint(3, size=30)
    )
    lower = lower.astype(np.float64)
    upper = np.triu(np.full((30, 30), 7), 1)
    matrix = np.asfortranarray(np.tril(lower @ lower.T) + upper)
    factor = potrf(matrix)
    assert_array_equal(np.tril(factor), lower)
    assert_array_equal(np.triu(factor, 1), upper)
    expected = rng.randint(-3, 4, size=(30, 5)).astype(np.float64)
    for transposed, product in ((False, lower @ expected), (True, lower.T @ expected)):
        right = np.asfortranarray(product)
        assert lower_trsm(factor, right, transposed) is right
        assert_array_equal(right, expected)


def test_matrix_that_is_not_positive_definite():
    matrix = np.asfortranarray(np.diag([1.0, 1.0, -1.0]))
    with pytest.raises(np.linalg.LinAlgError, match=r"not positive definite.* 3\)"):
        potrf(matrix)


def test_powers_of_a_matrix_for_several_shifts():
    rng = np.random.RandomState(0)
    basis, _ = np.linalg.qr(rng.randn(30, 30))
    eigenvalues = np.r_[0, 1, rng.uniform(size=28)]
    matrix = basis * eigenvalues @ basis.T
    start = rng.randn(30, 4)
    shifts = np.array([30.0, 1.0, 0.0, -0.5, -0.97])
    powers = np.array([-1, -1, -0.5, -0.5])
    results = apply_powers(matrix.dot, start, shifts, powers, 1.0, 1e-3)
    for shift, result in zip(shifts, results, strict=True):
        scales = (1 + shift * eigenvalues[:, np.newaxis]) ** powers
        expected = scales * (basis.T @ start)
        # A relative error in each eigenvector; a little more between the points at
        # which it was measured.
        assert_allclose(basis.T @ result, expected, rtol=1.1e-3, atol=1e-12)


def test_solutions_of_a_group():
    expected, path = paths_of()
    for index in range(len(ALPHAS)):
        solution = expected.solve(index)
        error = np.linalg.norm(path.solve(index) - solution)
        # Relative to the right-hand side in a norm that the factor changes by the root
        # of the condition, at most sqrt(1 / alpha).
        assert error <= TOLERANCE * np.linalg.norm(solution) / np.sqrt(ALPHAS[index])
    chosen = np.array([3, 0, 250])
    for name in ("predict", "spreads"):
        values, estimates = getattr(expected, name)(chosen), getattr(path, name)(chosen)
        assert values.shape == estimates.shape
    assert_allclose(path.predict(chosen), expected.predict(chosen), atol=0.02)


def test_solution_of_one_alpha_is_exact():
    expected, path = paths_of(alphas=ALPHAS[3:4])
    # Two solutions of systems of condition up to 1 / alpha.
    assert_allclose(path.solve(0), expected.solve(0), rtol=1e-9, atol=1e-11)
    factor, is_complement = path.inverse_factor(0)
    assert not is_complement
    ((_, rows),) = expected.features.row_blocks()
    everything = np.arange(len(rows))
    spreads = ((rows @ factor) ** 2).sum(axis=1)
    assert_allclose(spreads, expected.spreads(everything)[:, 0], rtol=1e-9)


def test_estimates_of_leverages():
    expected, path = paths_of(n_directions=64)
    ((_, _, leverages),) = expected.leave_one_out()
    ((_, _, estimates),) = path.leave_one_out()
    ratios = estimates / leverages
    # The standard error, sqrt(2 / 64) = 0.18, and the tolerance of the polynomials,
    # twice for a square.
    assert np.abs(ratios - 1).max() < 5 * 0.18 + 2 * TOLERANCE
    spread = np.sqrt(np.mean((ratios - 1) ** 2, axis=0))
    assert (spread < 1.5 * 0.18).all()


@pytest.mark.parametrize("with_units", [False, True])
def test_rows_that_are_open_are_exact(with_units):
    units = np.r_[np.arange(391), [0, 0, 0, 1, 1, 2, 3, 4, 5]] if with_units else None
    expected, path = paths_of(
        alphas=ALPHAS[4:5],
        units=units,
        n_directions=64,
        is_open=lambda rows, low, high: np.ones(len(low), dtype=bool),
    )
    ((_, predictions, leverages),) = expected.leave_one_out()
    ((_, exact, own),) = path.leave_one_out()
    assert_allclose(own, leverages, rtol=1e-9)
    assert_allclose(exact, predictions, rtol=1e-8, atol=1e-10)
    chosen = np.array([7, 2, 9])
    left_out = path.leave_one_out_of(0, own[chosen, 0], chosen)
    assert_allclose(left_out, predictions[chosen, 0], rtol=1e-8, atol=1e-10)


def test_rows_are_solved_in_the_dtype_of_the_features():
    features, _, weights = make_problem(dtype=np.float32)
    targets = np.random.RandomState(1).randn(400, 1)
    standardized = StandardizedFeatures.from_values(features, weights)
    path = CholeskySolver(standardized, targets).path(
        ALPHAS[4:5], is_open=lambda rows, low, high: np.ones(len(low), dtype=bool)
    )
    ((_, block),) = standardized.row_blocks()
    lower = np.tril(path.factor.lower)
    solved = np.linalg.solve(lower, block.T.astype(np.float64))
    leverages = weights / weights.mean() / 400 * (1 + np.sum(solved**2, axis=0))
    ((_, _, own),) = path.leave_one_out()
    errors = np.abs(own[:, 0] / leverages - 1)
    assert errors.max() > 0
    # Each element of L changes by at most (d + 1) roundings, those of its own and those
    # of the substitution (Higham 2002, theorem 8.5); the errors of a square are twice
    # those of the solution.
    changes = 41 * np.finfo(np.float32).eps * np.linalg.norm(lower)
    assert errors.max() < 2 * changes * np.linalg.norm(np.linalg.inv(lower), 2)


def test_only_rows_with_an_uncertain_residual_are_solved(monkeypatch):
    features, _, weights = make_problem()
    # One sample far from the others has a leverage near 1.
    features[17] += 300
    targets = np.random.RandomState(1).randn(400, 1)
    standardized = StandardizedFeatures.from_values(features, weights)
    alphas = ALPHAS[3:4]
    expected = RidgePath.from_features(standardized, targets, alphas)
    solver = CholeskySolver(standardized, targets)
    path = solver.path(
        alphas, 512, is_open=lambda rows, low, high: np.zeros(len(low), dtype=bool)
    )
    ((_, _, leverages),) = expected.leave_one_out()
    ((_, _, own),) = path.leave_one_out()
    exact = np.isclose(own, leverages, rtol=1e-9)[:, 0]
    assert leverages[17] > 0.3
    assert exact[17]
    assert exact.sum() < 40


def test_groups_of_alphas():
    groups, first = group_alphas(GRIDS["ridge"])
    assert_array_equal(np.concatenate(groups), GRIDS["ridge"])
    assert all(group[0] / group[-1] < 1e3 for group in groups)
    assert groups[first][0] > 1e-7 > groups[first][-1]
    groups, first = group_alphas(np.array([1.0, 1e-2]))
    assert [len(group) for group in groups] == [1, 1]
    assert groups[first] == 1e-2


def make_overlapping(seed, noise, dtype):
    """Return features and labels that an alpha in the middle of the grid suits best."""
    rng = np.random.RandomState(seed)
    features = rng.randn(1000, 300) * np.arange(1, 301) ** -0.5
    scores = features @ rng.randn(300, 3) + noise * rng.randn(1000, 3)
    return features.astype(dtype), scores.argmax(axis=1)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("noise", [1, 3])
def test_classifiers_choose_the_same_alpha(dtype, seed, noise, monkeypatch):
    X, y = make_overlapping(seed, noise, dtype)
    expected, actual = fit_both(monkeypatch, LinearPathClassifier, X, y)
    assert actual.alpha_ == expected.alpha_
    assert 1e-4 < actual.alpha_ < 0.1
    tried = np.isin(expected.alphas_, actual.alphas_)
    assert_array_equal(actual.alphas_, expected.alphas_[tried])
    # Leverages that decide a sample are exact; one decision may turn by rounding.
    place = actual.alphas_.tolist().index(actual.alpha_)
    scores = expected.alpha_scores_[tried]
    assert_allclose(actual.alpha_scores_[place], scores[place], atol=1.01 / 1000)
    # Weights of solutions of systems of condition up to 1e4, from products in the
    # dtype of the features.
    tolerance = 1e4 * 10 * np.finfo(dtype).eps
    bound = tolerance * np.abs(expected.coef_).max()
    assert_allclose(actual.coef_, expected.coef_, atol=bound)
    # The other leverages have errors of sqrt(2 / 512) on both sides.
    assert_allclose(actual.temperature_, expected.temperature_, rtol=0.02)


@pytest.mark.parametrize("with_splits", [False, True])
def test_the_choice_with_weights_and_equal_samples(with_splits, monkeypatch):
    X, y = make_overlapping(0, 3, "f8")
    X[-50:] = X[:50]
    weights = np.random.RandomState(1).uniform(0.5, 2, size=len(X))
    expected, actual = fit_both(
        monkeypatch,
        lambda: LinearPathClassifier(cv=KFold(3) if with_splits else None),
        X,
        y,
        weights,
    )
    assert actual.alpha_ == expected.alpha_
    assert actual.alpha_scoring_ == expected.alpha_scoring_
    assert actual.alpha_n_samples_ == expected.alpha_n_samples_
    place = actual.alphas_ == actual.alpha_
    scores = expected.alpha_scores_[expected.alphas_ == expected.alpha_]
    assert_allclose(actual.alpha_scores_[place], scores, atol=2.01 / 1000)


@pytest.mark.parametrize("options", ["alpha", "cv", "groups"])
def test_classifiers_agree_with_one_alpha(options, monkeypatch):
    X, y, weights = make_problem()
    X[-20:] = X[:20]
    arguments = [X, y, weights]
    if options == "groups":
        arguments.append(np.arange(400) // 3)
    cv = KFold(3) if options == "cv" else None
    expected, actual = fit_both(
        monkeypatch,
        lambda: LinearPathClassifier(alpha=1e-3, cv=cv),
        *arguments,
    )
    # Two solutions of systems of condition up to 1 / alpha.
    assert_allclose(actual.coef_, expected.coef_, rtol=1e-8, atol=1e-9)
    assert_allclose(actual.intercept_, expected.intercept_, rtol=1e-8, atol=1e-9)
    assert_allclose(actual.alpha_scores_, expected.alpha_scores_, rtol=1e-12)
    # Leverages of samples that are decided are estimates.
    assert_allclose(actual.temperature_, expected.temperature_, rtol=1e-2)


@pytest.mark.parametrize("options", ["plain", "cv", "groups"])
def test_regressors_agree(options, monkeypatch):
    X, _, weights = make_problem()
    X[-20:] = X[:20]
    rng = np.random.RandomState(3)
    y = X @ rng.randn(40, 2) + rng.randn(400, 2)
    arguments = [X, y, weights]
    if options == "groups":
        arguments.append(np.arange(400) // 3)
    expected, actual = fit_both(
        monkeypatch,
        lambda: RidgePathRegressor(cv=KFold(3) if options == "cv" else None),
        *arguments,
    )
    tried = np.isin(expected.alphas_, actual.alphas_)
    assert_array_equal(actual.alphas_, expected.alphas_[tried])
    place = expected.alphas_.tolist().index(actual.alpha_)
    scores = expected.alpha_scores_
    # Scores of the best are at most this far apart: 1 - R2 by leverages of a tenth,
    # whose relative error of sqrt(2 / 512) partly cancels in the sum over samples.
    assert scores.max() - scores[place] < 2e-3
    own = actual.alpha_scores_[actual.alphas_.tolist().index(actual.alpha_)]
    assert_allclose(own, scores[place], atol=2e-3)
    same = RidgePathRegressor(actual.alpha_, cv=KFold(3) if options == "cv" else None)
    monkeypatch.setattr(cholesky_path, "MIN_FEATURES", 10**9)
    same.fit(*arguments)
    assert_allclose(actual.coef_, same.coef_, rtol=1e-7, atol=1e-9)
    means, deviations = actual.predict(X[:9] + 1, return_std=True)
    others, expected_deviations = same.predict(X[:9] + 1, return_std=True)
    assert_allclose(means, others, rtol=1e-7)
    # The noise variance, by estimated leverages.
    assert_allclose(deviations, expected_deviations, rtol=1e-2)


def test_a_few_groups_are_tried(by_factors):
    X, y, _ = make_problem(noise=1.0)
    fitted = LinearPathClassifier().fit(X, y)
    assert len(fitted.alphas_) <= len(GRIDS["ridge"])
    assert len(fitted.alpha_scores_) == len(fitted.alphas_)
    assert fitted.alpha_ in fitted.alphas_
    # The search ends in between, or at an end of the grid.
    highest = fitted.alpha_scores_.max()
    error = np.sqrt(max(highest * (1 - highest), 0) / 400)
    tied = np.flatnonzero(fitted.alpha_scores_ >= highest - error - 1e-10)
    ends = fitted.alphas_[[0, -1]]
    assert tied[0] > 0 or ends[0] == GRIDS["ridge"][0]
    assert tied[-1] < len(fitted.alphas_) - 1 or ends[1] == GRIDS["ridge"][-1]


def test_features_are_read_a_few_times(by_factors):
    X, y, weights = make_problem()
    source = Rows(X)
    ClassifierSamples.prepare(source, y, weights, loss="ridge").fit()
    # Once for the sums, with some rows for the origin, and once for each path.
    assert source.n_read <= len(X) * (1.7 + len(by_factors))
    assert len(by_factors) <= 4 + alpha_search.MOST_REFINED


def low_rank_features():
    """Return float32 features whose Gram matrix has eigenvalues of only rounding."""
    rng = np.random.RandomState(0)
    features = rng.standard_normal((600, 8)) @ rng.standard_normal((8, 40))
    labels = (features[:, :3] + 3 * rng.standard_normal((600, 3))).argmax(axis=1)
    return features.astype(np.float32), labels


def test_alphas_below_the_rounding_are_not_tried():
    X, y = low_rank_features()
    standardized = StandardizedFeatures.from_values(X, np.ones(600))
    targets = 2.0 * (y[:, np.newaxis] == np.arange(3)) - 1
    solver = CholeskySolver(standardized, targets)
    smallest = np.linalg.eigvalsh(standardized.gram())[0]
    assert smallest < 0
    alphas = np.logspace(-6, -10, 9)
    path = solver.path(alphas)
    assert_array_equal(path.alphas, alphas[alphas / 4 > -smallest])
    assert 0 < len(path.alphas) < len(alphas)
    expected = RidgePath.from_features(standardized, targets, path.alphas)
    chosen = np.arange(20)
    # Within the rounding of the matrix over alpha, at most a quarter, the directions of
    # rounding take part; hardly any target is in them.
    assert_allclose(path.predict(chosen), expected.predict(chosen), atol=0.1)
    with pytest.raises(UncertainGramError):
        solver.path(alphas[-2:] / 1e3)


def test_an_alpha_below_the_rounding_is_decomposed(monkeypatch):
    X, y = low_rank_features()
    tiny = 1e-13
    expected = LinearPathClassifier(alpha=tiny).fit(X, y)
    monkeypatch.setattr(cholesky_path, "MIN_FEATURES", 1)
    actual = LinearPathClassifier(alpha=tiny).fit(X, y)
    assert_allclose(actual.coef_, expected.coef_, rtol=1e-6, atol=1e-8)
    other = RidgePathRegressor(tiny).fit(X, X[:, :2])
    monkeypatch.undo()
    assert_allclose(
        other.coef_, RidgePathRegressor(tiny).fit(X, X[:, :2]).coef_, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(79, 40), (40, 60)])
def test_few_samples_are_decomposed(shape, by_factors):
    X, y, _ = make_problem(*shape)
    LinearPathClassifier().fit(X, y)
    assert not by_factors


@pytest.mark.parametrize("name", ["potrf", "lower_trsm"])
def test_a_head_is_left_during_its_factorisation(
    name, endless, by_factors, monkeypatch
):
    X, y, _ = make_problem()
    classifier = LinearPathClassifier().fit(X, y)
    before = vars(classifier).copy()
    monkeypatch.setattr(_interrupts, "LONG_WORK", 0)
    monkeypatch.setattr(cholesky, name, endless)
    interrupt_once_begun(endless, lambda: classifier.fit(X + 1, y))
    assert not endless.may_end.is_set()
    assert vars(classifier) == before
