"""Images that are repeated or belong together, in the estimators with a network."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    LinearPathClassifier,
    RidgePathRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._training.controller import Training

NETWORK = {"n_anchors": (8, 24), "n_patches": 3000, "random_state": 0}
HEADS = ["ridge", "linear_svm", "logistic"]


@pytest.fixture(scope="module")
def hard_digits(digits):
    """Digits under noise, of which a classifier gets some two thirds right."""
    images, labels = digits
    rng = np.random.RandomState(0)
    order = rng.permutation(len(images))
    return (images + rng.normal(0, 5, images.shape))[order], labels[order]


@pytest.mark.parametrize("head", HEADS)
def test_every_image_twice(head, hard_digits):
    images, labels = hard_digits
    rows = np.tile(np.arange(150), 2)
    model = CKNClassifier(**NETWORK, head=head).fit(images[rows], labels[rows])
    features = model.features_.transform(images[:150])
    alone = LinearPathClassifier(head).fit(features, labels[:150])
    assert model.alpha_ == alone.alpha_
    assert_allclose(model.temperature_, alone.temperature_, rtol=1e-6)
    assert_allclose(model.coef_, alone.coef_, rtol=1e-5, atol=1e-7)
    loss = log_loss(labels[150:], model.predict_proba(images[150:]))
    expected = log_loss(
        labels[150:], alone.predict_proba(model.features_.transform(images[150:]))
    )
    assert_allclose(loss, expected, rtol=1e-4)


def test_every_image_twice_for_real_targets(hard_digits):
    images, labels = hard_digits
    targets = np.column_stack([labels, labels % 3]).astype(float)
    rows = np.tile(np.arange(150), 2)
    model = CKNRegressor(**NETWORK).fit(images[rows], targets[rows])
    features = model.features_.transform(images[:150])
    alone = RidgePathRegressor().fit(features, targets[:150])
    assert model.alpha_ == alone.alpha_
    assert_allclose(model.head_.noise_variance_, alone.noise_variance_, rtol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_groups_choose_alpha(head, hard_digits):
    images, labels = hard_digits
    rows = np.tile(np.arange(100), 3)
    rng = np.random.RandomState(1)
    near = images[rows] + 0.01 * rng.randn(300, 8, 8)
    alphas = np.logspace(-1, -5, 5)
    classifier = CKNClassifier(**NETWORK, head=head, alpha=alphas)
    grouped = classifier.fit(near, labels[rows], groups=rows)
    features = grouped.features_.transform(near)
    head = LinearPathClassifier(head, alpha=alphas)
    alone = clone(head).fit(features, labels[rows], groups=rows)
    assert_array_equal(grouped.alpha_scores_, alone.alpha_scores_)
    assert_array_equal(grouped.coef_, alone.coef_)
    # The same images apart are seen, and their copies taken for proof.
    apart = clone(head).fit(features, labels[rows])
    test = grouped.features_.transform(images[100:]), labels[100:]
    losses = [log_loss(test[1], each.predict_proba(test[0])) for each in (alone, apart)]
    assert losses[0] < losses[1]


def test_groups_of_real_targets(hard_digits):
    images, labels = hard_digits
    rows = np.tile(np.arange(100), 3)
    near = images[rows] + 0.01 * np.random.RandomState(1).randn(300, 8, 8)
    model = CKNRegressor(**NETWORK).fit(near, labels[rows], groups=rows)
    features = model.features_.transform(near)
    alone = RidgePathRegressor().fit(features, labels[rows], groups=rows)
    assert_array_equal(model.alpha_scores_, alone.alpha_scores_)
    assert model.alpha_scoring_ == "cross_validation"
    mean, deviation = model.predict(images[100:], return_std=True)
    # Within a factor of 1.5 of what they are for images of no group before.
    ratio = np.mean(((labels[100:] - mean) / deviation) ** 2)
    assert 1 / 1.5**2 < ratio < 1.5**2


@pytest.mark.parametrize("groups", [None, "names"])
def test_supervised_training_holds_copies_out_together(
    groups, hard_digits, monkeypatch
):
    images, labels = hard_digits
    rows = np.tile(np.arange(120), 2)
    images, labels = images[rows], labels[rows]
    if groups is not None:
        images = images + 0.01 * np.random.RandomState(1).randn(*images.shape)
        groups = np.array([f"image {row}" for row in rows])
    seen = []
    begin = Training.begin

    def watch(self, *args, **kwargs):
        seen.append((self._data, self._problem.hold_out))
        return begin(self, *args, **kwargs)

    monkeypatch.setattr(Training, "begin", watch)
    model = SupervisedCKNClassifier(**NETWORK, n_epochs=1)
    model.fit(images, labels, groups=groups)
    ((data, hold_out),) = seen
    units = hold_out.units
    ((train, held_out),) = hold_out.splits
    assert_array_equal(train, data.train)
    assert_array_equal(held_out, data.held_out)
    assert len(data.held_out) >= 10
    assert not set(units[data.train]) & set(units[data.held_out])
    # Each image is there twice, on one side.
    assert (np.bincount(np.unique(units, return_inverse=True)[1]) == 2).all()


def test_groups_that_cannot_be_held_out_are_refused_before_long_work(
    digits, monkeypatch
):
    images, labels = digits[0][:100], digits[1][:100]

    def no_work(*args, **kwargs):
        raise AssertionError("a network was learned")

    monkeypatch.setattr(CKNFeatures, "_learn", no_work)
    for estimator in (CKNClassifier(), SupervisedCKNClassifier()):
        with pytest.raises(ValueError, match="no class of two samples, or groups"):
            estimator.fit(images, labels, groups=labels)
    for estimator in (CKNClassifier(), CKNRegressor(), SupervisedCKNClassifier()):
        with pytest.raises(ValueError, match="two groups or more"):
            estimator.fit(images, labels, groups=np.zeros(100))
