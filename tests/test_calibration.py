"""Probabilities: the temperature, and how well they are calibrated."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_expit, log_softmax, softmax
from sklearn.metrics import log_loss

from sklearn_ckn import CKNFeatures, LinearPathClassifier
from sklearn_ckn._heads.calibration import fit_factor, log_probabilities, probabilities


def calibration_error(predicted, labels, n_bins=10):
    """Return the expected calibration error: gaps of confidence and accuracy."""
    confidence = predicted.max(axis=1)
    correct = predicted.argmax(axis=1) == labels
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, correct - confidence, minlength=n_bins)
    return np.abs(gaps).sum() / len(labels)


@pytest.fixture(scope="module")
def digit_features(digits):
    images, labels = digits
    features = CKNFeatures((32, 64), random_state=0).fit_transform(images)
    return features, labels


@pytest.mark.parametrize("head", ["ridge", "linear_svm", "logistic"])
def test_held_out_probabilities_beat_softmax_of_decisions(head, digit_features):
    features, labels = digit_features
    classifier = LinearPathClassifier(head).fit(features[:600], labels[:600])
    predicted = classifier.predict_proba(features[600:])
    decisions = classifier.decision_function(features[600:])
    plain = softmax(decisions, axis=1)
    truth = labels[600:]
    assert_allclose(predicted.sum(axis=1), 1)
    assert_array_equal(predicted.argmax(axis=1), decisions.argmax(axis=1))
    assert log_loss(truth, predicted) < log_loss(truth, plain)
    assert log_loss(truth, predicted) < 0.2
    assert calibration_error(predicted, truth) < 0.03
    if head == "ridge":
        assert calibration_error(plain, truth) > 0.3


def test_the_factor_minimises_the_log_loss():
    rng = np.random.RandomState(0)
    decisions = rng.randn(5000, 4)
    chances = softmax(3 * decisions, axis=1)
    labels = (chances.cumsum(axis=1) > rng.uniform(size=(5000, 1))).argmax(axis=1)
    factor, _ = fit_factor(decisions, labels, np.ones(5000))
    # The standard error of the estimate: 1 / sqrt(n * variance of the own decision).
    assert abs(factor - 3) < 4 / np.sqrt(5000 * 0.2)
    best = log_loss(labels, softmax(factor * decisions, axis=1))
    for other in (0.9, 1.1):
        assert log_loss(labels, softmax(other * factor * decisions, axis=1)) > best


def test_two_classes():
    rng = np.random.RandomState(0)
    decisions = rng.randn(5000, 1)
    labels = (rng.uniform(size=5000) < 1 / (1 + np.exp(-2 * decisions[:, 0]))) * 1
    factor, _ = fit_factor(decisions, labels, np.ones(5000))
    assert abs(factor - 2) < 4 / np.sqrt(5000 * 0.15)
    predicted = probabilities(decisions, factor)
    assert predicted.shape == (5000, 2)
    assert_allclose(predicted[:, 1], 1 / (1 + np.exp(-factor * decisions[:, 0])))


def test_weights_are_repetitions():
    rng = np.random.RandomState(0)
    decisions, labels = rng.randn(50, 3), rng.randint(3, size=50)
    repeats = rng.randint(1, 4, size=50)
    weighted, _ = fit_factor(decisions, labels, repeats.astype(float))
    repeated, _ = fit_factor(
        decisions.repeat(repeats, axis=0), labels.repeat(repeats), np.ones(sum(repeats))
    )
    # Both get one sample more, among 50 and among about 100.
    assert_allclose(weighted, repeated, rtol=0.02)


def test_few_samples_that_are_all_right_are_not_certain():
    labels = np.arange(10) % 2
    decisions = np.where(labels == 1, 1.0, -1.0)[:, np.newaxis]
    factor, loss = fit_factor(decisions, labels, np.ones(10))
    predicted = probabilities(decisions, factor)
    # One sample more, half of it wrong: (10 + 1 / 2) / (10 + 1).
    assert_allclose(predicted.max(axis=1), 10.5 / 11, rtol=1e-3)
    expected = -(10.5 * np.log(10.5 / 11) + 0.5 * np.log(0.5 / 11)) / 11
    assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("n_columns", [1, 3])
@pytest.mark.parametrize("size", [1e-300, 1, 40, 1e3, 1e300, 1.7e308])
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_log_probabilities_of_decisions_of_any_size(size, n_columns, factor):
    decisions = size * np.array([[1.0, -0.5, 0.25], [-1.0, 0.0, 0.5]])[:, :n_columns]
    logarithms = log_probabilities(decisions, factor)
    assert np.isfinite(logarithms).all()
    predicted = probabilities(decisions, factor)
    assert_allclose(np.exp(logarithms), predicted, atol=1e-300)
    assert_allclose(predicted.sum(axis=1), 1)
    if size < 1e300:
        odds = factor * decisions
        if n_columns == 1:
            odds = np.hstack([-odds, odds]) / 2
        largest = odds.max(axis=1, keepdims=True)
        rest = np.log(np.exp(odds - largest).sum(axis=1, keepdims=True))
        # The logarithm of a probability near 1 is the small sum of the others.
        assert_allclose(logarithms, odds - largest - rest, atol=1e-15, rtol=1e-12)
    if n_columns == 1 and size == 40 and factor == 1:
        assert_allclose(logarithms[0, 1], -np.exp(-40.0), rtol=1e-12)


def test_the_factor_of_decisions_far_apart():
    # Losses of 1e-20, which differences of numbers of about 40 would not hold, beside
    # the doubt of one sample more among 1e25.
    labels = np.zeros(2, dtype=int)
    decisions = np.array([[1e6, 1e6 - 1.0], [1e6, 1e6 - 1.0]])
    factor, loss = fit_factor(decisions, labels, np.ones(2))
    # (n + 1 / 2) / (n + 1) are right, as far as the decisions tell.
    assert_allclose(factor, np.log(2.5 / 0.5), rtol=1e-4)
    expected = -(2.5 * np.log(2.5 / 3) + 0.5 * np.log(0.5 / 3)) / 3
    assert_allclose(loss, expected, rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_predict_log_proba_far_from_the_training_features(n_classes, digit_features):
    features, labels = digit_features
    labels = labels % n_classes
    classifier = LinearPathClassifier().fit(features[:200], labels[:200])
    far = 1000 * features[200:300]
    decisions = np.asarray(classifier.decision_function(far), dtype=np.float64)
    decisions = decisions / classifier.temperature_
    if n_classes == 2:
        expected = np.column_stack([log_expit(-decisions), log_expit(decisions)])
    else:
        expected = log_softmax(decisions, axis=1)
    assert expected.min() < -800
    assert_allclose(classifier.predict_log_proba(far), expected, rtol=1e-12)


def test_predict_log_proba(digit_features):
    features, labels = digit_features
    classifier = LinearPathClassifier().fit(features[:100], labels[:100])
    assert_allclose(
        np.exp(classifier.predict_log_proba(features[100:110])),
        classifier.predict_proba(features[100:110]),
    )
