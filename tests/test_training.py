"""The parts of supervised training: steps, split, augmentation, batches, heads."""

import numpy as np
import pytest
from conftest import relative_error
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNFeatures
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._heads.path import one_vs_rest
from sklearn_ckn._heads.refit import TRAINING_LOSSES, refit_head
from sklearn_ckn._heads.ridge import RidgePath
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._training.augment import augment_images, flip, shift
from sklearn_ckn._training.head import Head
from sklearn_ckn._training.network import TrainedNetwork
from sklearn_ckn._training.objective import BatchGradients, Objective
from sklearn_ckn._training.optimizer import (
    SphereOptimizer,
    scheduled_rate,
    tangent,
    warm_up,
)
from sklearn_ckn._training.split import split_rows

HEADS = ["ridge", "linear_svm", "logistic"]


def problem(dtype="f8", n_images=12, n_classes=3, flip_average=False):
    """Return a network, a head, images, targets and weights."""
    rng = np.random.RandomState(0)
    images = rng.uniform(0.1, 1, size=(n_images, 7, 6, 2)).astype(dtype)
    features = CKNFeatures((4, 5), flip_average=flip_average, random_state=0)
    features.fit(images)
    values = features.transform(images)
    labels = np.arange(n_images) % n_classes
    theta = rng.randn(values.shape[1] + 1, 1 if n_classes == 2 else n_classes)
    head = Head(theta, values.mean(axis=0).astype("f8"), 0.7)
    network = TrainedNetwork.from_network(features._network)
    weights = rng.uniform(0.5, 1.5, size=(n_images, 1)) / n_images
    return network, head, images, one_vs_rest(labels, n_classes), weights


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_gradients_of_the_objective(name, n_classes, flip_average):
    network, head, images, targets, weights = problem(
        n_classes=n_classes, flip_average=flip_average
    )
    loss = TRAINING_LOSSES[name]
    batch = images, targets, weights
    objective = Objective(loss, CPUEngine())
    oracle = Objective(loss, OracleEngine())
    gradients = objective.gradients(network, head, *batch)
    # With the intercepts that the batch has asked for, whose gradients these are.
    features = gradients.response.rows @ head.theta[:-1]
    intercepts = gradients.response.head.theta[-1]
    assert_allclose(
        gradients.value, loss(features + intercepts, targets, weights)[0], rtol=1e-10
    )

    def value(network=network):
        rows = oracle.gradients(network, head, *batch).response.rows
        decisions = rows @ head.theta[:-1] + intercepts
        return loss(decisions, targets, weights)[0]

    assert_allclose(gradients.value, value(), rtol=1e-10)
    rng = np.random.RandomState(1)
    step = 1e-5

    def difference(function):
        return (function(step) - function(-step)) / (2 * step)

    # Third derivatives of these functions are below 1e4 times their value: the
    # difference is off by step^2 / 6 times that, and rounding by 1e-15 / step.
    tolerance = 1e-6 * max(1, gradients.value)
    for i, rows in enumerate(network.anchors):
        move = rng.randn(*rows.shape)
        move -= np.sum(move * rows, axis=1, keepdims=True) * rows

        def moved(h, i=i, rows=rows, move=move):
            anchors = list(network.anchors)
            anchors[i] = unit_rows(rows + h * move)
            return value(network.moved(anchors, network.betas))

        actual = np.sum(gradients.anchors[i] * move)
        assert abs(actual - difference(moved)) < tolerance

        def with_beta(h, i=i):
            betas = list(network.betas)
            betas[i] *= np.exp(h)
            return value(network.moved(network.anchors, betas))

        assert abs(gradients.log_betas[i] - difference(with_beta)) < tolerance


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize("engine", [CPUEngine, OracleEngine])
def test_batches_in_parts(engine, flip_average, monkeypatch):
    arguments = problem(flip_average=flip_average)
    loss = TRAINING_LOSSES["logistic"]
    whole = Objective(loss, engine()).gradients(*arguments)
    monkeypatch.setattr(engine, "tape_bytes", 1)
    parts = Objective(loss, engine()).gradients(*arguments)
    assert_allclose(parts.value, whole.value, rtol=1e-12)
    assert_allclose(parts.response.rows, whole.response.rows, rtol=1e-9, atol=1e-12)
    assert_allclose(parts.log_betas, whole.log_betas, rtol=1e-9)
    for left, right in zip(parts.anchors, whole.anchors, strict=True):
        assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def test_float32_gradients():
    single, double = (
        Objective(TRAINING_LOSSES["ridge"], CPUEngine()).gradients(*problem(dtype))
        for dtype in ("f4", "f8")
    )
    for left, right in zip(single.anchors, double.anchors, strict=True):
        assert relative_error(left, right) < 1e-3


def step_of(network, gradients, rate):
    """Return the network after the first step of a new optimizer."""
    return SphereOptimizer(network, True).step(network, gradients, rate)


def test_steps_are_as_long_in_all_directions():
    network = problem()[0]
    rng = np.random.RandomState(0)
    anchor_gradients = [rng.randn(*rows.shape) for rows in network.anchors]
    anchor_gradients[0][1] = 0
    for unit in (1e-300, 1e-20, 1.0, 1e20, 1e300):
        scaled = [unit * each for each in anchor_gradients]
        moved = step_of(network, BatchGradients(scaled, [unit, -unit], None), 0.01)
        for before, after, gradient in zip(
            network.anchors, moved.anchors, anchor_gradients, strict=True
        ):
            assert_allclose(np.linalg.norm(after, axis=1), 1, rtol=1e-14)
            # Where unit_rows has put the anchors back to the sphere.
            step = after / np.sum(after * before, axis=1, keepdims=True) - before
            left, values, right = np.linalg.svd(
                tangent(gradient, before), full_matrices=False
            )
            values = values / np.sqrt(values**2 + 1e-6 * np.sum(values**2))
            expected = -0.01 * tangent(left * values @ right, before)
            assert_allclose(step, expected, atol=1e-12)
            # The rounding of sums of 18 and 36 products.
            assert_allclose(step[~gradient.any(axis=1)], 0, atol=1e-14)
        assert_allclose(
            moved.betas, np.array(network.betas) * np.exp([-0.01, 0.01]), rtol=1e-12
        )
    fixed = SphereOptimizer(network, False)
    assert fixed.step(network, BatchGradients(scaled, [], None), 0.01).betas == (
        network.betas
    )


def test_no_gradient_no_step():
    network = problem()[0]
    zeros = [np.zeros_like(rows) for rows in network.anchors]
    moved = step_of(network, BatchGradients(zeros, [0.0, 0.0], None), 0.01)
    for before, after in zip(network.anchors, moved.anchors, strict=True):
        assert_allclose(after, before, atol=1e-14)
    assert moved.betas == network.betas


def test_gradients_of_later_steps_are_averaged():
    network = problem()[0]
    rng = np.random.RandomState(0)
    first, second = (
        [rng.randn(*rows.shape) for rows in network.anchors] for _ in range(2)
    )
    optimizer = SphereOptimizer(network, False)
    middle = optimizer.step(network, BatchGradients(first, [], None), 0.01)
    moved = optimizer.step(middle, BatchGradients(second, [], None), 0.01)
    mean = [
        0.9 * tangent(tangent(one, rows), moved_rows) + tangent(two, moved_rows)
        for one, two, rows, moved_rows in zip(
            first, second, network.anchors, middle.anchors, strict=True
        )
    ]
    alone = step_of(middle, BatchGradients(mean, [0.0, 0.0], None), 0.01)
    for left, right in zip(moved.anchors, alone.anchors, strict=True):
        assert_allclose(left, right, atol=1e-12)


def test_schedules():
    assert scheduled_rate(2.0, "constant", 0.9) == 2.0
    assert_allclose(
        [scheduled_rate(2.0, "cosine", part) for part in (0, 0.5, 1)], [2, 1, 0]
    )
    rates = [scheduled_rate(1.0, "step", epoch / 105) for epoch in (0, 59, 60, 85, 100)]
    assert_allclose(rates, [1, 1, 0.1, 0.01, 0.001])


def test_split():
    labels = np.repeat([0, 1, 2, 3], [200, 100, 3, 1])
    train, held_out = split_rows(labels, 0.2, np.random.RandomState(0))
    assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(304))
    counts = np.bincount(labels[held_out], minlength=4)
    assert abs(counts[0] - 40) <= 1
    assert abs(counts[1] - 20) <= 1
    assert counts[3] == 0
    assert set(labels[train]) == {0, 1, 2, 3}
    # Small classes are drawn from as often as large ones.
    drawn = [
        np.sum(labels[split_rows(labels, 0.2, np.random.RandomState(seed))[1]] == 2)
        for seed in range(300)
    ]
    assert 0.35 < np.mean(drawn) < 0.85
    train, held_out = split_rows(np.arange(20) % 2, 0.2, np.random.RandomState(0))
    assert len(held_out) == 0
    assert_array_equal(train, np.arange(20))


def test_split_of_units():
    rng = np.random.RandomState(0)
    labels = np.repeat([0, 1, 2], [150, 120, 30])
    units = np.arange(300)
    whole = split_rows(labels, 0.2, np.random.RandomState(1), units)
    for left, right in zip(
        whole, split_rows(labels, 0.2, np.random.RandomState(1)), strict=True
    ):
        assert_array_equal(left, right)
    units = np.arange(300) // 3
    order = rng.permutation(300)
    labels, units = labels[order], np.unique(units[order], return_inverse=True)[1]
    train, held_out = split_rows(labels, 0.2, rng, units)
    assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(300))
    assert not set(units[train]) & set(units[held_out])
    # Within a unit of each class.
    counts = np.bincount(labels[held_out])
    assert_allclose(counts, 0.2 * np.bincount(labels), atol=3)
    # Units of several classes: one that alone has a class trains.
    mixed = np.where(np.arange(300) == 7, 3, rng.randint(3, size=300))
    for seed in range(20):
        train, held_out = split_rows(mixed, 0.4, np.random.RandomState(seed), units)
        assert set(mixed[train]) == {0, 1, 2, 3}


def test_flip_and_shift():
    rng = np.random.RandomState(0)
    images = rng.randn(200, 16, 8, 2)
    flipped = flip(images, rng)
    same = (flipped == images).all(axis=(1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same != mirrored).all()
    assert 60 < mirrored.sum() < 140
    ramp = np.arange(16.0)[:, None] * 100 + np.arange(8)
    shifted = shift(np.tile(ramp[None, :, :, None], (200, 1, 1, 1)), rng)[..., 0]
    rows, columns = np.divmod(shifted[:, 8, 4], 100)
    assert set(rows - 8) == {-2, -1, 0, 1, 2}
    assert set(columns - 4) == {-1, 0, 1}
    assert shifted.min() == 0
    assert shifted.max() == ramp.max()
    small = rng.randn(4, 1, 3, 1)
    assert_array_equal(shift(small, rng), small)
    assert augment_images(None, images, rng) is images
    both = augment_images("flip+shift", images.astype("f4"), rng)
    assert both.dtype == np.float32
    assert both.flags.c_contiguous


@pytest.mark.parametrize("head", HEADS)
def test_refitted_heads_minimise(head):
    rng = np.random.RandomState(0)
    values, labels = rng.randn(60, 8), np.arange(60) % 3
    weights = rng.uniform(0.5, 2, size=60)
    targets = one_vs_rest(labels, 3)
    theta, mean, scale, objective, decisions = refit_head(
        values, targets, weights, head=head, alpha=0.01, scale=2.0
    )
    assert scale == 2.0
    assert_allclose(mean, np.average(values, axis=0, weights=weights))

    def value(theta):
        fitted = Head(theta, mean, scale)
        decisions = fitted.decisions(fitted.standardize(values))
        share = weights[:, np.newaxis] / weights.sum()
        data = TRAINING_LOSSES[head](decisions, targets, share)[0]
        return data + 0.005 * np.sum(theta[:-1] ** 2)

    assert_allclose(value(theta), objective, rtol=1e-10)
    rows = Head(theta, mean, scale).standardize(values)
    assert_allclose(decisions, rows @ theta[:-1] + theta[-1], atol=1e-10)
    for _ in range(20):
        # Newton stops within 1e-4 of the minimum.
        move = 0.1 * rng.randn(*theta.shape)
        assert value(theta + move) > objective * (1 - 1e-4)
    measured = refit_head(
        values, targets, weights, head=head, alpha=0.01, scale=None, theta=theta
    )
    centred = values - mean
    expected = np.sqrt(np.average(np.sum(centred**2, axis=1), weights=weights))
    assert_allclose(measured[2], expected)


def drifted_problem(name, n_images=64):
    """Return a head and a batch whose features have moved away from its mean."""
    rng = np.random.RandomState(0)
    theta = 30 * rng.randn(21, 3)
    rows = rng.randn(n_images, 20) / 20**0.5 + 40 * rng.randn(20)
    targets = one_vs_rest(np.arange(n_images) % 3, 3)
    weights = rng.uniform(0.5, 1.5, size=(n_images, 1)) / n_images
    head = Head(theta, np.zeros(20), 1.0)
    loss = TRAINING_LOSSES[name]
    return head, rows, targets, weights, loss


@pytest.mark.parametrize("name", HEADS)
def test_intercepts_follow_a_batch(name):
    head, rows, targets, weights, loss = drifted_problem(name)
    response = head.respond(rows, targets, weights, loss)
    before = loss(head.decisions(rows), targets, weights)[0]
    assert response.value < before
    assert_array_equal(response.head.theta[:-1], head.theta[:-1])
    value, gradients, _ = loss(response.head.decisions(rows), targets, weights)
    assert_allclose(value, response.value, rtol=1e-12)
    assert_allclose(gradients, response.decision_gradients, atol=1e-12)
    if name == "ridge":
        # At the minimum the gradients of a column sum to 0, but for the 1/4096 of what
        # was known before.
        residual = head.decisions(rows) - targets
        rest = (weights * residual).sum(axis=0) / (64**2 + 1)
        assert_allclose(gradients.sum(axis=0), rest, rtol=1e-8)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("alpha", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3])
def test_no_step_of_the_head_raises_the_loss_of_a_batch(name, alpha, spread):
    head, rows, targets, weights, loss = drifted_problem(name)
    rows = rows.mean(axis=0) + spread * (rows - rows.mean(axis=0))
    for _ in range(30):
        response = head.respond(rows, targets, weights, loss)
        moved = response.moved_head(weights, alpha)

        def objective(head):
            value = loss(head.decisions(rows), targets, weights)[0]
            return value + alpha / 2 * np.sum(head.theta[:-1] ** 2)

        assert np.isfinite(moved.theta).all()
        # The bound holds at the minimum over the intercepts, from which these are as
        # far as SMALLEST_SHIFT lets them.
        before = objective(response.head)
        assert objective(moved) <= before * (1 + 1e-9) + 3 * 0.05**2
        head = moved


def test_a_single_image_keeps_its_gradient():
    # What the intercepts could set right alone is left by half.
    head, rows, targets, _, loss = drifted_problem("ridge", 1)
    weights = np.ones((1, 1))
    residual = head.decisions(rows) - targets
    response = head.respond(rows, targets, weights, loss)
    assert_allclose(response.decision_gradients, residual / 2)
    moved = response.moved_head(weights, 1e-4)
    assert np.abs(moved.theta[:-1] - head.theta[:-1]).max() > 0
    after = loss(moved.decisions(rows), targets, weights)[0]
    assert after < response.value


def test_the_rate_rises():
    assert_allclose([warm_up(i, 1000) for i in (0, 49, 99, 500)], [0.01, 0.5, 1, 1])
    assert_allclose([warm_up(i, 40) for i in (0, 4, 9, 39)], [0.1, 0.5, 1, 1])
    assert warm_up(0, 1) == 1


def test_features_without_directions_are_predicted_by_the_mean():
    targets = np.arange(12.0).reshape(6, 2)
    features = StandardizedFeatures.from_values(np.full((6, 3), 0.3), np.ones(6))
    path = RidgePath.from_features(features, targets, np.array([1.0, 0.1, 0.01]))
    predicted = path.predict(np.arange(4))
    assert_allclose(predicted, np.tile(targets.mean(axis=0), (4, 3, 1)))
