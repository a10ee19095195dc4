"""The linear heads against the reference vectors, derivatives and a peer."""

import numpy as np
import pytest
from conftest import load_reference
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge

from sklearn_ckn import _heads
from sklearn_ckn._heads import (
    StandardizedFeatures,
    fit_head,
    squared_hinge_objective,
)


def one_vs_rest(labels, n_classes):
    return 2.0 * (labels[:, None] == np.arange(n_classes)) - 1


def make_problem(n, d, dtype=np.float64, seed=0):
    rng = np.random.RandomState(seed)
    labels = rng.randint(3, size=n)
    features = rng.randn(n, d) + 5 + 0.5 * rng.randn(3, d)[labels]
    weights = rng.uniform(0.5, 2, size=n)
    return features.astype(dtype), one_vs_rest(labels, 3), weights


def objective(features, targets, weights, coef, intercept, head, alpha):
    """Evaluate the documented objective on features as they come."""
    weights = weights / weights.mean()
    mean = weights @ features / len(features)
    scale = np.sqrt(weights @ ((features - mean) ** 2).sum(axis=1) / len(features))
    decisions = features @ coef.T + intercept
    if head == "ridge":
        losses = (targets - decisions) ** 2 / 2
    else:
        losses = np.maximum(0, 1 - targets * decisions) ** 2 / 2
    penalty = alpha / 2 * np.sum((coef * scale) ** 2)
    return weights @ losses.sum(axis=1) / len(features) + penalty


def test_squared_hinge_vector():
    arrays, _ = load_reference("net_two_layers_squared_hinge")
    targets = one_vs_rest(arrays["labels"], 4)
    value, coef_gradient, intercept_gradient = squared_hinge_objective(
        arrays["features"],
        targets,
        np.ones(len(targets)),
        arrays["coef"],
        arrays["intercept"],
        float(arrays["alpha"]),
    )
    assert_allclose(value, arrays["objective"], rtol=1e-12)
    assert_allclose(coef_gradient, arrays["coef_grad"], rtol=1e-10, atol=1e-14)
    assert_allclose(intercept_gradient, arrays["intercept_grad"], rtol=1e-10)


def test_squared_error_vector():
    # The objective that the tests below minimise is that of the vectors, whose
    # features are neither centred nor scaled.
    arrays, _ = load_reference("net_one_layer_squared_error")
    decisions = arrays["features"] @ arrays["coef"].T + arrays["intercept"]
    losses = (one_vs_rest(arrays["labels"], 2) - decisions) ** 2 / 2
    assert_allclose(losses.sum(axis=1).mean(), arrays["data_loss"], rtol=1e-12)
    penalty = arrays["alpha"] / 2 * np.sum(arrays["coef"] ** 2)
    assert_allclose(arrays["data_loss"] + penalty, arrays["objective"], rtol=1e-12)


@pytest.mark.parametrize("head", ["ridge", "linear_svm"])
@pytest.mark.parametrize(("n", "d"), [(60, 20), (20, 60), (30, 30)])
@pytest.mark.parametrize("alpha", [1e-4, 1e-1])
def test_the_documented_objective_is_minimised(n, d, head, alpha):
    features, targets, weights = make_problem(n, d)
    coef, intercept = fit_head(features, targets, weights, head=head, alpha=alpha)
    problem = (features, targets, weights)
    best = objective(*problem, coef, intercept, head, alpha)
    rng = np.random.RandomState(1)
    for step in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            coef_step = step * rng.randn(*coef.shape) * np.abs(coef).max()
            intercept_step = step * rng.randn(*intercept.shape)
            for sign in (1, -1):
                moved = objective(
                    *problem,
                    coef + sign * coef_step,
                    intercept + sign * intercept_step,
                    head,
                    alpha,
                )
                assert moved > best


@pytest.mark.parametrize(("n", "d"), [(80, 15), (15, 80)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-9), ("f4", 2e-3)])
def test_ridge_equals_scikit_learn(n, d, dtype, tolerance):
    # float32: the products' rounding, 6e-8 a term, over alpha bounds the relative
    # error of the solution by about d * 6e-8 / alpha = 5e-4 for d = 80.
    alpha = 1e-2
    features, targets, weights = make_problem(n, d, dtype)
    coef, intercept = fit_head(features, targets, weights, head="ridge", alpha=alpha)
    assert coef.dtype == intercept.dtype == dtype
    wide = features.astype(np.float64)
    weights = weights / weights.mean()
    mean = weights @ wide / n
    scale = np.sqrt(weights @ ((wide - mean) ** 2).sum(axis=1) / n)
    peer = Ridge(alpha=n * alpha * scale**2, solver="cholesky")
    peer.fit(wide, targets, sample_weight=weights)
    assert_allclose(coef, peer.coef_, rtol=tolerance, atol=tolerance / 10)
    assert_allclose(wide @ coef.T + intercept, peer.predict(wide), atol=10 * tolerance)


@pytest.mark.parametrize("head", ["ridge", "linear_svm"])
def test_alpha_does_not_depend_on_unit_or_offset(head):
    features, targets, weights = make_problem(50, 10)
    decisions = []
    for moved in (features, 1000 * features + 7):
        coef, intercept = fit_head(moved, targets, weights, head=head, alpha=1e-2)
        decisions.append(moved @ coef.T + intercept)
    # L-BFGS stops at slopes of 1e-5 against curvatures of about 1.
    assert_allclose(*decisions, atol=1e-3 if head == "linear_svm" else 1e-8)


def test_weights_are_repetitions():
    features, targets, _ = make_problem(40, 8)
    repeats = np.random.RandomState(0).randint(1, 4, size=40)
    weighted = fit_head(
        features, targets, repeats.astype(float), head="ridge", alpha=1e-3
    )
    repeated = fit_head(
        features.repeat(repeats, axis=0),
        targets.repeat(repeats, axis=0),
        np.ones(repeats.sum()),
        head="ridge",
        alpha=1e-3,
    )
    for left, right in zip(weighted, repeated, strict=True):
        assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def test_blocks_give_the_same_as_the_whole(monkeypatch):
    for shape in ((50, 20), (20, 50)):
        features, targets, weights = make_problem(*shape)
        whole = fit_head(features, targets, weights, head="ridge", alpha=1e-3)
        monkeypatch.setattr(_heads, "BLOCK_VALUES", 130)
        blocks = fit_head(features, targets, weights, head="ridge", alpha=1e-3)
        monkeypatch.undo()
        for left, right in zip(whole, blocks, strict=True):
            assert_allclose(left, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("head", ["ridge", "linear_svm"])
@pytest.mark.parametrize("d", [3, 7])
def test_constant_features_give_the_class_frequencies(head, d):
    targets = one_vs_rest(np.array([0, 0, 0, 1]), 2)
    coef, intercept = fit_head(
        np.ones((4, d)), targets, np.ones(4), head=head, alpha=1e-6
    )
    assert_allclose(coef, 0, atol=1e-12)
    # Both losses are squared errors while no sample is beyond its margin.
    assert_allclose(intercept, [0.5, -0.5], atol=1e-4)


@pytest.mark.parametrize("head", ["ridge", "linear_svm"])
@pytest.mark.parametrize(("n", "d"), [(300, 200), (100, 200)])
def test_alpha_below_the_rounding_of_float32(head, n, d):
    # Rank-five features: most eigenvalues of the Gram matrix are rounding, some of
    # them negative.
    rng = np.random.RandomState(0)
    features = (rng.randn(n, 5) @ rng.randn(5, d)).astype(np.float32)
    targets = np.sign(features[:, :1]).astype(np.float64)
    coef, intercept = fit_head(features, targets, np.ones(n), head=head, alpha=1e-14)
    decisions = features @ coef.T + intercept
    assert np.isfinite(decisions).all()
    assert np.mean(np.sign(decisions) == targets) > 0.9


def test_too_few_iterations_warn(monkeypatch):
    monkeypatch.setattr(_heads, "MAX_ITER", 2)
    features, targets, weights = make_problem(60, 20)
    with pytest.warns(ConvergenceWarning, match="2 iterations"):
        fit_head(features, targets, weights, head="linear_svm", alpha=1e-6)


def test_features_are_not_changed():
    features, targets, weights = make_problem(30, 10, np.float32)
    before = features.copy()
    fit_head(features, targets, weights, head="ridge", alpha=1e-3)
    assert (features == before).all()


def test_standardized_features_have_mean_0_and_mean_square_norm_1():
    features, _, weights = make_problem(30, 10)
    weights /= weights.mean()
    standardized = StandardizedFeatures.from_values(features, weights)
    ((_, block),) = standardized.row_blocks()
    assert_allclose(weights @ block, 0, atol=1e-12)
    assert_allclose(weights @ (block**2).sum(axis=1) / 30, 1, rtol=1e-12)
