"""SupervisedCKNClassifier: objective, selection, options, errors."""

import copy
import io
from contextlib import redirect_stdout
from dataclasses import replace

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain_map import PLAIN
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNClassifier, CKNFeatures, SupervisedCKNClassifier
from sklearn_ckn._heads.path import one_vs_rest
from sklearn_ckn._heads.refit import TRAINING_LOSSES
from sklearn_ckn._training import loop as _loop
from sklearn_ckn._training.objective import Objective

HEADS = ["ridge", "linear_svm", "logistic"]


def make(**parameters):
    defaults = {"n_anchors": (6, 10), "n_epochs": 3, "random_state": 0, **PLAIN}
    return SupervisedCKNClassifier(**{**defaults, **parameters})


def start_of(estimator):
    """Return the unsupervised network of an estimator's parameters."""
    names = CKNFeatures().get_params()
    return CKNFeatures(**{name: getattr(estimator, name) for name in names})


def objective(estimator, images, labels, scale):
    """Compute the training objective of the estimator's network and head."""
    features = estimator.features_.transform(images).astype("f8")
    decisions = features @ estimator.coef_.T + estimator.intercept_
    targets = one_vs_rest(labels, len(estimator.classes_))
    weights = np.full((len(labels), 1), 1 / len(labels))
    value, _, _ = TRAINING_LOSSES[estimator.head](decisions, targets, weights)
    penalty = estimator.training_alpha_ * scale**2 / 2 * np.sum(estimator.coef_**2)
    return value + penalty


def random_problem(seed):
    rng = np.random.RandomState(seed)
    n_classes = rng.randint(2, 5)
    shape = rng.randint(3, 8, size=2)
    n_images = rng.randint(30, 80)
    labels = np.arange(n_images) % n_classes
    prototypes = rng.randn(n_classes, *shape, 2)
    images = prototypes[labels] + 2 * rng.randn(n_images, *shape, 2)
    estimator = SupervisedCKNClassifier(
        **PLAIN,
        n_anchors=tuple(rng.randint(2, 8, size=rng.randint(1, 4))),
        patch_size=int(rng.randint(1, 4)),
        kernel=rng.choice(["exp", "poly", "arccos1"]).item(),
        head=HEADS[seed % 3],
        alpha=10.0 ** rng.uniform(-4, -1),
        learn_beta=bool(rng.randint(2)),
        learning_rate=10.0 ** rng.uniform(-2, 1),
        batch_size=int(rng.randint(5, 40)),
        n_epochs=4,
        early_stopping=False,
        random_state=seed,
    )
    return estimator, images, labels


@pytest.mark.parametrize("seed", range(20))
def test_the_objective_never_ends_above_its_start(seed):
    estimator, images, labels = random_problem(seed)
    estimator.fit(images, labels)
    start = start_of(estimator).fit_transform(images)
    centred = start - start.mean(axis=0)
    scale = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
    reached = objective(estimator, images, labels, scale)
    untrained = clone(estimator).set_params(n_epochs=0).fit(images, labels)
    # The heads are within a part of 1e-4 of their minimum.
    assert reached <= objective(untrained, images, labels, scale) * (1 + 1e-4)
    history = estimator.history_
    assert_allclose(history["objective"][estimator.best_epoch_], reached, rtol=2e-4)
    assert min(history["objective"]) == history["objective"][estimator.best_epoch_]


def test_training_lowers_the_objective(digits):
    images, labels = digits[0][:400], digits[1][:400]
    for head in HEADS:
        trained = make(head=head, early_stopping=False, n_epochs=8, alpha=1e-4)
        values = trained.fit(images, labels).history_["objective"]
        assert trained.best_epoch_ > 0
        assert min(values) < 0.98 * values[0]


def test_supervision_beats_the_start():
    # The class is the orientation of weak stripes under strong ones that tell
    # nothing, which k-means spends its few anchors on.
    rng = np.random.RandomState(0)
    labels = rng.randint(2, size=1000)
    images = 0.5 * rng.randn(1000, 8, 8)
    images += 3 * rng.randn(1000, 1, 1) * np.cos(np.arange(8) * 0.5)
    stripes = np.where(np.arange(8) % 2, 0.5, -0.5)
    signs = rng.choice([-1, 1], size=(1000, 1, 1))
    upright = labels[:, np.newaxis, np.newaxis] == 1
    images += signs * np.where(upright, stripes[:, np.newaxis], stripes)
    parameters = {"n_anchors": 3, "random_state": 0, **PLAIN}
    start = CKNClassifier(**parameters).fit(images[:600], labels[:600])
    trained = SupervisedCKNClassifier(**parameters, n_epochs=20)
    trained.fit(images[:600], labels[:600])
    assert trained.best_epoch_ > 0
    before = start.score(images[600:], labels[600:])
    assert trained.score(images[600:], labels[600:]) > before + 0.15


@pytest.mark.parametrize("head", HEADS)
def test_the_start_is_kept_where_training_does_not_help(head, digits, monkeypatch):
    images, labels = digits[0][:400], digits[1][:400]
    # Held-out accuracy can only fall from the start on.
    refit = _loop.TrainingLoop._refit
    scores = iter([1.0, 0.9, 0.8])

    def worse(self, *arguments):
        fitted, value, _ = refit(self, *arguments)
        return fitted, value, next(scores)

    monkeypatch.setattr(_loop.TrainingLoop, "_refit", worse)
    trained = make(head=head, n_iter_no_change=2).fit(images, labels)
    assert trained.best_epoch_ == 0
    assert trained.history_["epoch"] == [0, 1, 2]
    parameters = {"n_anchors": (6, 10), "head": head, "random_state": 0, **PLAIN}
    start = CKNClassifier(**parameters).fit(images, labels)
    assert_array_equal(trained.coef_, start.coef_)
    assert_array_equal(
        trained.predict_proba(images[:9]), start.predict_proba(images[:9])
    )


@pytest.mark.parametrize(("patience", "n_epochs"), [(None, 5), (3, 3), (9, 5)])
def test_epochs_without_improvement(patience, n_epochs, digits, monkeypatch):
    images, labels = digits[0][:400], digits[1][:400]
    refit = _loop.TrainingLoop._refit

    def never_better(self, *arguments):
        fitted, value, _ = refit(self, *arguments)
        return fitted, value, 0.5

    monkeypatch.setattr(_loop.TrainingLoop, "_refit", never_better)
    trained = make(n_epochs=5)
    assert trained.n_iter_no_change is None
    trained.set_params(n_iter_no_change=patience).fit(images, labels)
    assert trained.n_iter_ == n_epochs


def test_features_are_a_fitted_network(digits):
    images, labels = digits[0][:400], digits[1][:400]
    trained = make(early_stopping=False).fit(images, labels)
    start = start_of(trained).fit(images)
    assert trained.best_epoch_ > 0
    for learned, before in zip(trained.features_.anchors_, start.anchors_, strict=True):
        assert learned.dtype == before.dtype == np.float32
        assert_allclose(np.linalg.norm(learned, axis=1), 1, rtol=1e-6)
        assert np.abs(learned - before).max() > 1e-3
    features = trained.features_.transform(images)
    assert_allclose(
        trained.decision_function(images),
        features @ trained.coef_.T + trained.intercept_,
        atol=1e-4,
    )
    assert_array_equal(
        copy.deepcopy(trained.features_).transform(images[:3]), features[:3]
    )


def test_history(digits):
    images, labels = digits[0][:300], digits[1][:300]
    trained = make(learn_beta=True).fit(images, labels)
    history = trained.history_
    assert set(history) == {
        "epoch",
        "objective",
        "batch_loss",
        "validation_score",
        "learning_rate",
        "seconds",
        "beta_0",
        "beta_1",
    }
    assert history["epoch"] == [0, 1, 2, 3]
    assert all(len(values) == 4 for values in history.values())
    assert np.isnan(history["batch_loss"][0])
    assert history["beta_0"][0] == 2.8 != history["beta_0"][-1]
    assert history["learning_rate"][1] > history["learning_rate"][3]
    fixed = make(early_stopping=False).fit(images, labels)
    assert "beta_0" not in fixed.history_
    assert fixed.features_.betas_ == [2.8, 2.8]
    assert np.isnan(fixed.history_["validation_score"]).all()


def test_the_same_seed_gives_the_same_network_with_any_number_of_threads(digits):
    images, labels = digits[0][:300], digits[1][:300]
    parameters = {"augment": "flip+shift", "learn_beta": True, "early_stopping": False}
    fitted = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            fitted.append(make(**parameters).fit(images, labels))
    one, other = fitted
    for left, right in zip(
        one.features_.anchors_, other.features_.anchors_, strict=True
    ):
        assert_array_equal(left, right)
    assert_array_equal(one.coef_, other.coef_)
    assert one.features_.betas_ == other.features_.betas_
    another = make(**{**parameters, "random_state": 1})
    another.fit(images, labels)
    assert np.any(another.coef_ != one.coef_)


def test_warm_start(digits):
    images, labels = digits[0][:300], digits[1][:300]
    trained = make(warm_start=True, early_stopping=False, schedule="constant")
    trained.fit(images, labels)
    assert trained.n_iter_ == 3
    reached = min(trained.history_["objective"])
    anchors = trained.features_.anchors_[0]
    alpha = trained.training_alpha_
    trained.set_params(n_epochs=5).fit(images, labels)
    assert trained.history_["epoch"] == list(range(9))
    assert trained.n_iter_ == 5
    assert min(trained.history_["objective"]) < reached
    assert trained.training_alpha_ == alpha
    assert np.abs(trained.features_.anchors_[0] - anchors).max() > 0
    decisions = trained.decision_function(images)
    trained.set_params(n_epochs=0).fit(images, labels)
    assert_allclose(trained.decision_function(images), decisions, atol=1e-3)
    assert trained.n_iter_ == 0
    for change in ({"patch_size": 2}, {"n_anchors": (6, 10, 4)}):
        # A copy with all that the fit has set.
        other = copy.copy(trained).set_params(**change)
        with pytest.raises(ValueError, match="warm_start"):
            other.fit(images, labels)
    with pytest.raises(ValueError, match="warm_start"):
        trained.fit(images, labels % 3)
    with pytest.raises(ValueError, match="warm_start"):
        trained.fit(images[:, :7], labels)
    assert trained.history_["epoch"] == list(range(9))


@pytest.mark.parametrize("head", HEADS)
def test_a_loss_that_is_not_finite(head, digits, monkeypatch):
    images, labels = digits[0][:300], digits[1][:300]
    original = Objective.gradients
    calls = []

    def diverging(*arguments):
        calls.append(1)
        gradients = original(*arguments)
        response = replace(gradients.response, value=np.nan)
        return gradients if len(calls) < 8 else replace(gradients, response=response)

    monkeypatch.setattr(Objective, "gradients", diverging)
    estimator = make(head=head, early_stopping=False, n_epochs=9)
    with pytest.raises(FloatingPointError, match=r"epoch 2.*smaller learning_rate"):
        estimator.fit(images, labels)
    assert estimator.best_epoch_ == 1
    assert estimator.history_["epoch"] == [0, 1]
    assert estimator.n_iter_ == 1
    assert estimator.score(images, labels) > 0.8


def test_huge_rates_are_survived(digits):
    images, labels = digits[0][:200], digits[1][:200]
    trained = make(learning_rate=1e30, early_stopping=False).fit(images, labels)
    assert np.isfinite(trained.decision_function(images)).all()
    values = trained.history_["objective"]
    assert values[trained.best_epoch_] <= values[0]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("unit", [1e-30, 1e25])
def test_the_unit_of_the_images_does_not_matter(unit, dtype, digits):
    # A power of two changes nothing but exponents.
    factor = 2.0 ** np.round(np.log2(unit))
    images, labels = digits[0][:200].astype(dtype), digits[1][:200]
    one = make(early_stopping=False).fit(images, labels)
    other = make(early_stopping=False).fit(images * np.array(factor, dtype), labels)
    for left, right in zip(
        one.features_.anchors_, other.features_.anchors_, strict=True
    ):
        assert_allclose(left, right, atol=1e-3 if dtype == "f4" else 1e-9)


def test_augmentation(digits):
    images, labels = digits[0][:200], digits[1][:200]
    seen = []

    def nothing(batch, rng):
        assert isinstance(rng, np.random.RandomState)
        seen.append(batch.shape)
        return batch

    plain = make(early_stopping=False).fit(images, labels)
    own = make(early_stopping=False, augment=nothing).fit(images, labels)
    assert_array_equal(plain.coef_, own.coef_)
    assert sum(shape[0] for shape in seen) == 3 * 200
    assert seen[0][1:] == (8, 8, 1)
    for name in ("flip", "shift", "flip+shift"):
        changed = make(early_stopping=False, augment=name).fit(images, labels)
        assert changed.history_["batch_loss"][1:] != plain.history_["batch_loss"][1:]
    before = vars(own).copy()
    for function, message in (
        (lambda batch, rng: batch[:, 1:], "one image of the same shape"),
        (lambda batch, rng: batch * np.nan, "NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            own.set_params(augment=function).fit(images, labels)
        assert vars(own) == {**before, "augment": function}


def test_flip_average_is_trained_through(digits):
    images, labels = digits[0][:200].astype("f8"), digits[1][:200]
    trained = make(early_stopping=False, flip_average=True, n_epochs=6)
    trained.fit(images, labels)
    assert trained.best_epoch_ > 0
    assert_allclose(
        trained.decision_function(images),
        trained.decision_function(images[:, :, ::-1]),
        atol=1e-8,
    )


@pytest.mark.parametrize("flip_average", [False, True])
def test_images_in_another_order_of_memory(flip_average, digits):
    images = digits[0][:200].reshape(200, 4, 4, 4).astype(np.float64)
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    fitted = [
        make(n_epochs=1, flip_average=flip_average).fit(each, digits[1][:200])
        for each in (images, channels_first.transpose(0, 2, 3, 1))
    ]
    one, other = fitted
    assert_array_equal(one.coef_, other.coef_)
    assert one.history_["objective"] == other.history_["objective"]


def test_class_weight(digits):
    images, labels = digits[0][:300], digits[1][:300]
    weights = {label: 5.0 if label == 3 else 1.0 for label in range(10)}
    plain, weighted = (
        make(early_stopping=False, alpha=0.1, class_weight=each).fit(images, labels)
        for each in (None, weights)
    )
    assert np.sum(weighted.predict(images) == 3) > np.sum(plain.predict(images) == 3)


def test_too_few_images_to_hold_out():
    rng = np.random.RandomState(0)
    images, labels = rng.randn(30, 5, 5), np.arange(30) % 3
    trained = make().fit(images, labels)
    assert np.isnan(trained.history_["validation_score"]).all()
    assert trained.alpha_scoring_ == "leave_one_out"


def test_verbose_prints_a_line_per_epoch(digits):
    output = io.StringIO()
    with redirect_stdout(output):
        make(verbose=1).fit(digits[0][:200], digits[1][:200])
    lines = [line for line in output.getvalue().splitlines() if "] epoch " in line]
    assert len(lines) == 4
    for word in ("objective", "validation accuracy", "rate", " s"):
        assert all(word in line for line in lines)


def test_pickle_and_memory(digits, tmp_path):
    images, labels = digits[0][:200], digits[1][:200]
    trained = make(memory=str(tmp_path / "cache")).fit(images, labels)
    again = make(memory=str(tmp_path / "cache")).fit(images, labels)
    alone = make().fit(images, labels)
    joblib.dump(trained, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model")
    expected = trained.predict_proba(images)
    for other in (again, alone, loaded):
        assert_array_equal(other.predict_proba(images), expected)
    assert_allclose(expected.sum(axis=1), 1)


def test_presets():
    five = SupervisedCKNClassifier.from_preset("mairal2016-5", n_epochs=1)
    assert five.n_epochs == 1
    assert five.n_anchors == (128,) * 5
    fourteen = SupervisedCKNClassifier.from_preset("mairal2016-14")
    for name in ("n_anchors", "patch_size", "subsampling", "kernel"):
        assert len(getattr(fourteen, name)) == 14
    assert np.prod(fourteen.subsampling) == 16
    assert fourteen.n_epochs == 105
    with pytest.raises(ValueError, match="mairal2016-5"):
        SupervisedCKNClassifier.from_preset("resnet")
    images = np.random.RandomState(0).rand(40, 12, 12, 3)
    five.set_params(n_anchors=(4,) * 5, random_state=0).fit(images, np.arange(40) % 2)
    assert five.features_.output_shape_ == (1, 1, 4)


def test_the_learning_rate_is_a_number(digits):
    images, labels = digits
    assert SupervisedCKNClassifier().learning_rate == 0.01
    with pytest.raises(ValueError, match="'learning_rate' parameter"):
        SupervisedCKNClassifier(learning_rate="auto").fit(images[:40], labels[:40])
