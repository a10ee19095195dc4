"""Weights of images: in the head, and in the network where they are 0."""

import fake_cupy
import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from plain_map import PLAIN
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_ckn import (
    CKNClassifier,
    CKNRegressor,
    LinearPathClassifier,
    RidgePathRegressor,
    SupervisedCKNClassifier,
)

HEADS = ["ridge", "linear_svm", "logistic"]
# Without the choice of a map, which has tests of its own.
SMALL = {"n_anchors": (6, 8), "n_patches": 500, "random_state": 0, **PLAIN}
WEIGHTS = np.random.RandomState(0).randint(4, size=150).astype(float)
SUPERVISED = {**SMALL, "n_epochs": 2, "alpha": 1e-2}
MODELS = [
    *(CKNClassifier(**SMALL, head=head) for head in HEADS),
    CKNRegressor(**SMALL),
    SupervisedCKNClassifier(**SUPERVISED),
    SupervisedCKNClassifier(**SUPERVISED, early_stopping=False, head="logistic"),
]


@pytest.fixture
def images(digits):
    """Digits under noise, so that alphas differ and some labels are wrong."""
    noise = np.random.RandomState(0).normal(0, 5, (150, 8, 8))
    return digits[0][:150] + noise, digits[1][:150] % 3


def assert_same_model(left, right):
    for one, other in zip(
        left.features_.anchors_, right.features_.anchors_, strict=True
    ):
        assert_array_equal(one, other)
    for name in ("coef_", "intercept_", "alphas_", "alpha_scores_", "alpha_scoring_"):
        assert_array_equal(getattr(left, name), getattr(right, name))
    assert left.alpha_ == right.alpha_


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("head", HEADS)
def test_the_head_is_the_one_of_these_weights(head, class_weight, images):
    weights = WEIGHTS + 0.5
    model = CKNClassifier(**SMALL, head=head, class_weight=class_weight)
    model.fit(*images, sample_weight=weights)
    features = model.features_.transform(images[0])
    alone = LinearPathClassifier(head, class_weight=class_weight)
    alone.fit(features, images[1], weights)
    for name in ("coef_", "intercept_", "alphas_", "alpha_scores_"):
        assert_array_equal(getattr(model, name), getattr(alone, name))
    assert (model.alpha_, model.temperature_) == (alone.alpha_, alone.temperature_)
    expected = model.predict(images[0]) == images[1]
    assert model.score(*images, weights) == pytest.approx(
        np.average(expected, weights=weights)
    )


def test_the_regression_is_the_one_of_these_weights(images):
    weights = WEIGHTS + 0.5
    model = CKNRegressor(**SMALL).fit(*images, sample_weight=weights)
    features = model.features_.transform(images[0])
    alone = RidgePathRegressor().fit(features, images[1], weights)
    for left, right in zip(
        model.predict(images[0], return_std=True),
        alone.predict(features, return_std=True),
        strict=True,
    ):
        assert_array_equal(left, right)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_images_of_weight_0_are_as_if_they_were_not_there(model, images):
    X, y = images
    there = WEIGHTS > 0
    # Groups of which some have no image left, and those others are as they were.
    for groups in (None, np.arange(150) // 2):
        own = None if groups is None else groups[there]
        weighted = clone(model).fit(X, y, WEIGHTS, groups)
        without = clone(model).fit(X[there], y[there], WEIGHTS[there], own)
        assert_same_model(weighted, without)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_positive_weights_do_not_change_what_the_network_starts_from(model, images):
    model = clone(model)
    if hasattr(model, "n_epochs"):
        model.set_params(n_epochs=0)
    plain = clone(model).fit(*images)
    weighted = clone(model).fit(*images, sample_weight=WEIGHTS + 1)
    for one, other in zip(
        plain.features_.anchors_, weighted.features_.anchors_, strict=True
    ):
        assert_array_equal(one, other)
    assert np.any(plain.coef_ != weighted.coef_)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_common_factor_changes_nothing(model, images):
    # A power of two: weights are divided by their largest without rounding.
    one, other = (
        clone(model).fit(*images, sample_weight=factor * (WEIGHTS + 1))
        for factor in (1, 2.0**-20)
    )
    assert_same_model(one, other)


@pytest.mark.parametrize("model", [MODELS[0], MODELS[3]], ids=str)
def test_weights_are_repetitions_where_the_network_is_the_same(model):
    # One patch an image, all of them anchors whatever is drawn: repeated images give
    # the same anchors, in another order.
    rng = np.random.RandomState(0)
    X, y = rng.randn(40, 3, 3), np.arange(40) % 3
    X[y == 1, 0] += 1
    repeats = rng.randint(1, 4, size=40)
    model = clone(model).set_params(n_anchors=40, padding="valid", nystrom_reg=0.1)
    model.set_params(alpha=1e-3)
    weighted = clone(model).fit(X, y, sample_weight=repeats)
    repeated = clone(model).fit(X.repeat(repeats, axis=0), y.repeat(repeats))
    # Accuracies are sums of weights; R2 is as precise as the decisions below.
    assert_allclose(weighted.alpha_scores_, repeated.alpha_scores_, rtol=0, atol=1e-8)
    # Products of 9 and 40 numbers, over eigenvalues of 0.1 and more and alpha: 1e-15
    # times 40 over 0.1 and 1e-3, and a margin of 20.
    method = "predict" if isinstance(model, CKNRegressor) else "decision_function"
    left, right = getattr(weighted, method)(X), getattr(repeated, method)(X)
    assert_allclose(left, right, rtol=0, atol=1e-8)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_training_weighs_images_as_it_weighs_classes(head, early_stopping, images):
    X, y = images
    # Of which the largest is 1, and all are powers of two.
    weights = np.array([0.25, 1.0, 0.5])
    model = SupervisedCKNClassifier(
        **SUPERVISED, head=head, early_stopping=early_stopping
    )
    by_image = clone(model).fit(X, y, sample_weight=weights[y])
    by_class = clone(model).set_params(class_weight=dict(enumerate(weights))).fit(X, y)
    assert_same_model(by_image, by_class)
    assert by_image.history_["objective"] == by_class.history_["objective"]
    plain = clone(model).fit(X, y)
    assert plain.history_["objective"] != by_image.history_["objective"]


def test_a_warm_start_holds_out_what_was_held_out_before(images):
    X, y = images
    model = SupervisedCKNClassifier(**SUPERVISED, warm_start=True).fit(X, y)
    n_images, before = model._split_of
    assert n_images == 150
    weights = np.ones(150)
    left_out = np.r_[before[:2], np.setdiff1d(np.arange(150), before)[:30]]
    weights[left_out] = 0
    model.fit(X, y, sample_weight=weights)
    n_images, held_out = model._split_of
    assert n_images == 150
    assert_array_equal(held_out, before[2:])
    assert model.history_["epoch"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(150), "must not be negative"),
        (np.full(150, np.nan), "sample_weight contains NaN"),
        (np.zeros(150), "all weights are zero"),
        (np.ones(149), r"each of the 150 samples, got the shape \(149,\)"),
    ],
)
@pytest.mark.parametrize("model", MODELS[-3:], ids=str)
def test_bad_weights_are_refused_before_long_work(
    model, weights, message, images, monkeypatch
):
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    with pytest.raises(ValueError, match=message):
        clone(model).fit(*images, sample_weight=weights)


def test_one_class_or_group_of_positive_weight(images, monkeypatch):
    X, y = images
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    message = "one class only among the samples of positive weight"
    for model in (CKNClassifier(**SMALL), SupervisedCKNClassifier(**SUPERVISED)):
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, sample_weight=y == 1)
    groups = np.arange(150) % 2
    for model in (CKNClassifier(**SMALL), CKNRegressor(**SMALL)):
        with pytest.raises(ValueError, match="two groups or more"):
            model.fit(X, y, sample_weight=groups, groups=groups)


def test_weights_and_groups_are_routed(images):
    X, y = images
    groups = np.arange(150) // 2
    with sklearn.config_context(enable_metadata_routing=True):
        model = CKNClassifier(**SMALL).set_fit_request(sample_weight=True, groups=True)
        model.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"beta": [1.0, 2.8]}, cv=2, error_score="raise")
        search.fit(X, y, sample_weight=WEIGHTS, groups=groups)
    assert search.best_estimator_.alpha_scoring_ == "cross_validation"
    direct = CKNClassifier(**SMALL, **search.best_params_)
    assert_same_model(search.best_estimator_, direct.fit(X, y, WEIGHTS, groups))


@pytest.mark.parametrize("model", [MODELS[0], MODELS[3]], ids=str)
def test_weights_of_images_on_a_gpu(model, images, monkeypatch):
    cupy = fake_cupy.install(monkeypatch)
    X, y = images
    on_cpu = clone(model).fit(X, y, WEIGHTS)
    on_gpu = clone(model).set_params(device="cuda")
    on_gpu.fit(cupy.asarray(X), y, cupy.asarray(WEIGHTS))
    assert on_gpu.alpha_ == pytest.approx(on_cpu.alpha_)
    assert_allclose(on_gpu.alpha_scores_, on_cpu.alpha_scores_, atol=1e-5)


def test_weights_that_are_positive_copy_no_image(images):
    from sklearn_ckn._input.images import Images
    from sklearn_ckn._input.sample_weight import positive_rows

    array = images[0][..., np.newaxis]
    own = Images(array, np.abs(array).max())
    assert own[positive_rows(WEIGHTS + 1)] is own
    some = own[positive_rows(WEIGHTS)]
    assert_array_equal(some.array, array[WEIGHTS > 0])
    assert some.largest == np.abs(array[WEIGHTS > 0]).max()
