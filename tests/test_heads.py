"""The linear heads against the reference vectors, derivatives and peers."""

import numpy as np
import pytest
from conftest import load_reference, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from sklearn_ckn import LinearPathClassifier
from sklearn_ckn._common import cache_blocks
from sklearn_ckn._heads import newton as _newton
from sklearn_ckn._heads.classification import ClassifierSamples
from sklearn_ckn._heads.losses import Logistic, SquaredHinge
from sklearn_ckn._heads.newton import Preconditioner, Products
from sklearn_ckn._heads.path import one_vs_rest
from sklearn_ckn._heads.standardize import StandardizedFeatures

HEADS = ["ridge", "linear_svm", "logistic"]
LOSSES = {"linear_svm": SquaredHinge(), "logistic": Logistic()}


def make_problem(n, d, dtype=np.float64, n_classes=3, seed=0):
    rng = np.random.RandomState(seed)
    labels = np.r_[np.arange(n_classes), rng.randint(n_classes, size=n - n_classes)]
    features = rng.randn(n, d) + 5 + 0.5 * rng.randn(n_classes, d)[labels]
    weights = rng.uniform(0.5, 2, size=n)
    return features.astype(dtype), labels, weights


def fit(problem, head, alpha):
    samples = ClassifierSamples.prepare(*problem, loss=head, alphas=np.array([alpha]))
    fitted = samples.fit()
    return fitted.coef, fitted.intercept


def standardize(features, weights):
    weights = weights / weights.mean()
    mean = weights @ features / len(features)
    scale = np.sqrt(weights @ ((features - mean) ** 2).sum(axis=1) / len(features))
    return (features - mean) / scale, scale


def objective(problem, coef, intercept, head, alpha):
    """Evaluate the documented objective on features as they come."""
    features, labels, weights = problem
    weights = weights / weights.sum()
    _, scale = standardize(features, weights)
    decisions = features @ coef.T + intercept
    targets = one_vs_rest(labels, labels.max() + 1)
    if head == "ridge":
        loss = weights @ ((targets - decisions) ** 2 / 2).sum(axis=1)
    else:
        loss = LOSSES[head](decisions, targets, weights[:, None])[0]
    return loss + alpha / 2 * np.sum((coef * scale) ** 2)


def reference_derivatives(name, loss, n_classes):
    """Return a vector's arrays and the derivatives that the loss gives for it."""
    arrays, _ = load_reference(name)
    targets = one_vs_rest(arrays["labels"], n_classes)
    decisions = arrays["features"] @ arrays["coef"].T + arrays["intercept"]
    weights = np.full((len(targets), 1), 1 / len(targets))
    value, slopes, _ = loss(decisions, targets, weights)
    alpha, coef = arrays["alpha"], arrays["coef"]
    value += alpha / 2 * np.sum(coef**2)
    return arrays, value, slopes.T @ arrays["features"] + alpha * coef, slopes.sum(0)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("net_two_layers_squared_hinge", SquaredHinge()),
        ("net_three_layers_log_loss", Logistic()),
    ],
)
def test_loss_vectors(name, loss):
    n_classes = len(load_reference(name)[0]["coef"])
    arrays, value, coef_gradient, intercept_gradient = reference_derivatives(
        name, loss, n_classes
    )
    assert_allclose(value, arrays["objective"], rtol=1e-12)
    assert_allclose(coef_gradient, arrays["coef_grad"], rtol=1e-10, atol=1e-14)
    assert_allclose(
        intercept_gradient, arrays["intercept_grad"], rtol=1e-10, atol=1e-14
    )


def test_squared_error_vector():
    # The objective that the tests below minimise is that of the vectors, whose
    # features are neither centred nor scaled.
    arrays, _ = load_reference("net_one_layer_squared_error")
    targets = 2.0 * (arrays["labels"][:, None] == np.arange(2)) - 1
    decisions = arrays["features"] @ arrays["coef"].T + arrays["intercept"]
    losses = (targets - decisions) ** 2 / 2
    assert_allclose(losses.sum(axis=1).mean(), arrays["data_loss"], rtol=1e-12)
    penalty = arrays["alpha"] / 2 * np.sum(arrays["coef"] ** 2)
    assert_allclose(arrays["data_loss"] + penalty, arrays["objective"], rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_second_derivatives(loss, n_classes):
    rng = np.random.RandomState(0)
    labels = rng.randint(n_classes, size=12)
    labels[:n_classes] = np.arange(n_classes)
    targets = one_vs_rest(labels, n_classes)
    decisions, moves = rng.randn(2, *targets.shape)
    weights = rng.uniform(size=(12, 1))
    step = 1e-6
    _, above, _ = loss(decisions + step * moves, targets, weights)
    _, below, _ = loss(decisions - step * moves, targets, weights)
    _, slopes, curvature = loss(decisions, targets, weights)
    expected = (above - below) / (2 * step)
    # Central differences: step^2 of the third derivative and rounding over step.
    assert_allclose(loss.product(curvature, moves), expected, atol=1e-8)
    value_above, _, _ = loss(decisions + step * moves, targets, weights)
    value_below, _, _ = loss(decisions - step * moves, targets, weights)
    assert_allclose(
        np.sum(slopes * moves), (value_above - value_below) / (2 * step), atol=1e-8
    )
    for column in range(targets.shape[1]):
        unit = np.zeros_like(targets)
        unit[:, column] = 1
        assert_allclose(
            loss.product(curvature, unit)[:, column],
            loss.diagonal(curvature)[:, column],
            atol=1e-15,
        )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(60, 20), (20, 60), (30, 30)])
@pytest.mark.parametrize("alpha", [1e-4, 1e-1])
def test_the_documented_objective_is_minimised(n, d, head, alpha, n_classes):
    problem = make_problem(n, d, n_classes=n_classes)
    coef, intercept = fit(problem, head, alpha)
    best = objective(problem, coef, intercept, head, alpha)
    # Newton's method stops within 1e-4 of the minimum.
    tolerance = 0 if head == "ridge" else _newton.TOLERANCE * best
    rng = np.random.RandomState(1)
    for step in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            coef_step = step * rng.randn(*coef.shape) * np.abs(coef).max()
            intercept_step = step * rng.randn(*intercept.shape)
            for sign in (1, -1):
                moved = objective(
                    problem,
                    coef + sign * coef_step,
                    intercept + sign * intercept_step,
                    head,
                    alpha,
                )
                assert moved > best - tolerance


@pytest.mark.parametrize(("n", "d"), [(80, 15), (15, 80)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-9), ("f4", 2e-3)])
def test_ridge_equals_scikit_learn(n, d, dtype, tolerance):
    # float32: the products' rounding, 6e-8 a term, over alpha bounds the relative
    # error of the solution by about d * 6e-8 / alpha = 5e-4 for d = 80.
    alpha = 1e-2
    features, labels, weights = make_problem(n, d, dtype)
    coef, intercept = fit((features, labels, weights), "ridge", alpha)
    assert coef.dtype == intercept.dtype == dtype
    wide = features.astype(np.float64)
    _, scale = standardize(wide, weights)
    peer = Ridge(alpha=n * alpha * scale**2, solver="cholesky")
    peer.fit(wide, one_vs_rest(labels, 3), sample_weight=weights / weights.mean())
    assert_allclose(coef, peer.coef_, rtol=tolerance, atol=tolerance / 10)
    assert_allclose(wide @ coef.T + intercept, peer.predict(wide), atol=10 * tolerance)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("alpha", [1e-6, 1e-3])
@pytest.mark.parametrize(("n", "d"), [(200, 40), (40, 200)])
def test_linear_svm_reaches_the_minimum_of_scikit_learn(n, d, alpha, dtype):
    features, labels, _ = make_problem(n, d, dtype)
    problem = (features, labels, np.ones(n))
    wide = features.astype(np.float64)
    standardized, scale = standardize(wide, np.ones(n))
    peer = LinearSVC(C=1 / (2 * n * alpha), dual=False, tol=1e-10, max_iter=10**6)
    # scikit-learn's penalises the intercept: a large constant makes that nothing.
    peer.set_params(intercept_scaling=1e3).fit(standardized, labels)
    coef = peer.coef_ / scale
    intercept = peer.intercept_ - coef @ wide.mean(axis=0)
    exact = (wide, labels, np.ones(n))
    ours = objective(exact, *fit(problem, "linear_svm", alpha), "linear_svm", alpha)
    theirs = objective(exact, coef, intercept, "linear_svm", alpha)
    # Ours within TOLERANCE of the minimum; float32 decisions are off by some 1e-6
    # of margins of about 1, where the loss is flat to first order.
    assert ours <= theirs * (1 + 2 * _newton.TOLERANCE) + 1e-9


@pytest.mark.parametrize(("n", "d"), [(200, 40), (40, 200)])
def test_logistic_equals_scikit_learn(n, d):
    alpha = 1e-3
    features, labels, weights = make_problem(n, d)
    problem = (features, labels, weights)
    standardized, scale = standardize(features, weights)
    peer = LogisticRegression(C=1 / (n * alpha), tol=1e-10, max_iter=10**5)
    peer.fit(standardized, labels, sample_weight=weights / weights.mean())
    mean = weights @ features / weights.sum()
    theirs = objective(
        problem,
        peer.coef_ / scale,
        peer.intercept_ - peer.coef_ @ mean / scale,
        "logistic",
        alpha,
    )
    ours = objective(problem, *fit(problem, "logistic", alpha), "logistic", alpha)
    assert theirs <= ours * (1 + 1e-9)
    assert ours <= theirs * (1 + _newton.TOLERANCE)


@pytest.mark.parametrize("head", HEADS)
def test_alpha_does_not_depend_on_unit_or_offset(head):
    features, labels, weights = make_problem(50, 10)
    decisions = []
    for moved in (features, 1000 * features + 7):
        coef, intercept = fit((moved, labels, weights), head, 1e-2)
        decisions.append(moved @ coef.T + intercept)
    assert_allclose(*decisions, atol=1e-7)


@pytest.mark.parametrize("head", HEADS)
def test_weights_are_repetitions(head):
    features, labels, _ = make_problem(40, 8)
    repeats = np.random.RandomState(0).randint(1, 4, size=40)
    problem = (features, labels, repeats.astype(float))
    repeated = (features.repeat(repeats, axis=0), labels.repeat(repeats))
    left = fit(problem, head, 1e-3)
    right = fit((*repeated, np.ones(repeats.sum())), head, 1e-3)
    # Newton's method stops within 1e-4 of the minimum.
    tolerance = 1e-9 if head == "ridge" else 1e-4
    assert_allclose(
        objective(problem, *left, head, 1e-3),
        objective(problem, *right, head, 1e-3),
        rtol=tolerance,
    )
    if head == "ridge":
        assert_allclose(left[0], right[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", [(50, 20), (20, 50)])
def test_blocks_give_the_same_as_the_whole(shape, head, monkeypatch):
    problem = make_problem(*shape)
    whole = fit(problem, head, 1e-3)
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 130)
    for left, right in zip(whole, fit(problem, head, 1e-3), strict=True):
        assert_allclose(left, right, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("head", ["ridge", "linear_svm"])
@pytest.mark.parametrize("d", [3, 7])
def test_constant_features_give_the_class_frequencies(head, d):
    coef, intercept = fit(
        (np.ones((4, d)), np.array([0, 0, 0, 1]), np.ones(4)), head, 1e-6
    )
    # Rounding of the mean, 1e-16, over alpha.
    assert_allclose(coef, 0, atol=1e-9)
    # Both losses are squared errors while no sample is beyond its margin.
    assert_allclose(intercept, [-0.5], atol=1e-4)


@pytest.mark.filterwarnings("ignore:The linear head did not converge")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("n", "d"), [(300, 200), (100, 200)])
def test_alpha_below_the_rounding_of_float32(head, n, d):
    # Rank-five features: most eigenvalues of the Gram matrix are rounding, some of
    # them negative.
    rng = np.random.RandomState(0)
    features = (rng.randn(n, 5) @ rng.randn(5, d)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(int)
    coef, intercept = fit((features, labels, np.ones(n)), head, 1e-14)
    decisions = features @ coef.T + intercept
    assert np.isfinite(decisions).all()
    assert np.mean((decisions[:, 0] > 0) == labels) > 0.9


@pytest.mark.parametrize("head", ["linear_svm", "logistic"])
def test_too_few_iterations_warn(head, monkeypatch):
    monkeypatch.setattr(_newton, "MAX_ITER", 1)
    with pytest.warns(ConvergenceWarning, match=r"alpha=1.0e-06, within 1 iterations"):
        fit(make_problem(60, 20), head, 1e-6)


@pytest.mark.parametrize("n_active", [3, 60])
def test_the_preconditioner_inverts_the_second_derivative(n_active):
    # With few active samples it is the inverse, but for the intercept's small
    # penalty and in the other case for what rounding the penalty to a power of 4
    # does; every sample active with the same curvature has a mean of that curvature.
    features, _, _ = make_problem(60, 30)
    standardized = StandardizedFeatures.from_values(features, np.ones(60))
    products = Products(standardized)
    curvatures = np.zeros((60, 1))
    curvatures[:n_active] = 1 / 60
    alpha = 4.0**-6 if n_active == 60 else 1e-3
    ((_, rows),) = standardized.row_blocks()
    augmented = np.column_stack([rows, np.ones(60)])[:n_active]
    penalty = np.full(31, alpha)
    penalty[-1] = 1e-3 * curvatures.sum() if n_active == 3 else 0
    matrix = augmented.T @ augmented / 60 + np.diag(penalty)
    residual = np.random.RandomState(0).randn(31, 1)
    solution = Preconditioner(products, curvatures, alpha)(residual)
    assert_allclose(matrix @ solution, residual, atol=1e-9)


@pytest.mark.parametrize("head", HEADS)
def test_features_are_not_changed(head):
    problem = make_problem(30, 10, np.float32)
    before = problem[0].copy()
    fit(problem, head, 1e-3)
    assert_array_equal(problem[0], before)


def test_standardized_features_have_mean_0_and_mean_square_norm_1():
    features, _, weights = make_problem(30, 10)
    standardized = StandardizedFeatures.from_values(features, weights)
    weights /= weights.mean()
    ((_, block),) = standardized.row_blocks()
    assert_allclose(weights @ block, 0, atol=1e-12)
    assert_allclose(weights @ (block**2).sum(axis=1) / 30, 1, rtol=1e-12)


@pytest.mark.parametrize("head", HEADS)
def test_given_rows_choose_alpha(head):
    rng = np.random.RandomState(0)
    labels = rng.randint(3, size=150)
    features = rng.randn(150, 12) + 0.8 * np.eye(3, 12)[labels]
    alphas = np.array([1.0, 1e-2, 1e-4])
    samples = ClassifierSamples.prepare(
        features,
        labels,
        np.ones(150),
        loss=head,
        alphas=alphas,
        splits=[(np.arange(100), np.arange(100, 150))],
    )
    fitted = samples.fit()
    scores = [
        LinearPathClassifier(head, alpha=alpha)
        .fit(features[:100], labels[:100])
        .score(features[100:], labels[100:])
        for alpha in alphas
    ]
    # Newton's method stops near the minimum: a sample or two may be on the edge.
    assert_allclose(fitted.scores, scores, atol=1e-10 if head == "ridge" else 0.041)
    chosen = LinearPathClassifier(head, alpha=alphas[fitted.best]).fit(features, labels)
    tolerance = 1e-10 if head == "ridge" else 0.03
    assert relative_error(fitted.coef, chosen.coef_) < tolerance
