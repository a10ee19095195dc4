"""What heads are fitted from: nothing is checked, encoded or decomposed twice."""

import numpy as np
import pytest
from counting import count_calls
from numpy.testing import assert_allclose, assert_array_equal
from plain_map import PLAIN

from sklearn_ckn import CKNClassifier, CKNRegressor, SupervisedCKNClassifier
from sklearn_ckn._heads import one_alpha
from sklearn_ckn._heads.classification import ClassifierProblem, RidgeSolver
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.newton_path import NewtonSolver
from sklearn_ckn._heads.spectrum import Spectrum
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._input import labels as _labels
from sklearn_ckn._input.labels import encode_labels
from sklearn_ckn._training.controller import Training
from sklearn_ckn._training.loop import TrainingLoop

LOSSES = ["ridge", "linear_svm", "logistic"]
SMALL = {"n_anchors": (4, 5), "n_patches": 200, "random_state": 0}
RNG = np.random.RandomState(0)
NAMES = np.array(["one", "three", "two"])[np.arange(60) % 3]
IMAGES = RNG.randn(60, 6, 6) + (NAMES == "two")[:, None, None]


def make_problem(loss, **options):
    labels = encode_labels(NAMES, None)
    split = [(np.arange(20, 60), np.arange(20))]
    options = {"hold_out": HoldOut(split), "alphas": np.array([1.0, 1e-2]), **options}
    return ClassifierProblem(loss, labels, **options)


@pytest.mark.parametrize(
    "estimator",
    [
        CKNClassifier(**SMALL),
        SupervisedCKNClassifier(**SMALL, n_epochs=1, validation_fraction=0.4),
    ],
    ids=lambda each: type(each).__name__,
)
def test_labels_are_encoded_once(estimator, monkeypatch):
    calls = count_calls(monkeypatch, _labels, "check_classification_targets")
    estimator.fit(IMAGES, NAMES)
    assert len(calls) == 1
    assert estimator.head_.classes_ is estimator.classes_


@pytest.mark.parametrize("estimator", [CKNClassifier(**SMALL), CKNRegressor(**SMALL)])
def test_features_of_a_network_are_not_validated_as_those_of_a_user(
    estimator, monkeypatch
):
    def refuse(*arguments, **options):
        raise AssertionError("features were validated")

    monkeypatch.setattr("sklearn_ckn._linear_path.validate_rows", refuse)
    monkeypatch.setattr("sklearn_ckn._ridge_path.validate_rows", refuse)
    assert len(estimator.fit(IMAGES, np.arange(60) % 3).predict(IMAGES)) == 60
    with pytest.raises(AssertionError, match="validated"):
        estimator.head_.predict(estimator.features_.transform(IMAGES))


@pytest.mark.parametrize("loss", LOSSES)
def test_alpha_alone_can_be_chosen(loss, monkeypatch):
    features = IMAGES.reshape(60, -1)[:, :20]
    problem = make_problem(loss)
    calls = count_calls(monkeypatch, Spectrum, "from_features")
    choice = problem.choose(features, np)
    # One decomposition of ridge on the part that trains, none of the others.
    assert len(calls) == (loss == "ridge")
    fitted = problem.fit(features, np)
    # For the alpha that was chosen, a Cholesky factor is enough.
    assert len(calls) == 2 * (loss == "ridge")
    assert choice.score == choice.scores[choice.best] == fitted.score
    for name, value in vars(choice).items():
        assert_array_equal(value, getattr(fitted, name))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_score_that_is_not_above_needs_no_fit(loss, monkeypatch):
    features = IMAGES.reshape(60, -1)[:, :20]
    problem = make_problem(loss)
    choice = problem.choose(features, np)
    solver = RidgeSolver if loss == "ridge" else NewtonSolver
    calls = count_calls(monkeypatch, solver, "solve")
    assert problem.fit(features, np, above=choice.score) is None
    assert len(calls) == 0
    assert problem.fit(features, np, above=choice.score - 1e-6).score == choice.score


@pytest.mark.parametrize(("n_epochs", "start_score"), [(0, 0), (3, -1), (3, 1)])
def test_decompositions_of_a_supervised_fit(n_epochs, start_score, monkeypatch):
    def set_score(self, features):
        self._start_score = start_score

    def improved(self, *arguments):
        return *refit(self, *arguments)[:2], next(scores)

    refit, scores = TrainingLoop._refit, iter([0.1, 0.2, 0.3, 0.4])
    estimator = SupervisedCKNClassifier(
        **SMALL, **PLAIN, n_epochs=n_epochs, validation_fraction=0.4
    )
    monkeypatch.setattr(TrainingLoop, "_refit", improved)
    if n_epochs:
        monkeypatch.setattr(Training, "score_start", set_score)
        # The last epoch is the best one, whatever the objective.
        monkeypatch.setattr(Training, "_is_better", lambda self, epoch: True)
    decomposed = count_calls(monkeypatch, Spectrum, "from_features")
    factorised = count_calls(monkeypatch, one_alpha, "cholesky_solver")
    estimator.fit(IMAGES, NAMES)
    is_kept = n_epochs > 0 and start_score < 0
    assert estimator.best_epoch_ == n_epochs * is_kept
    # Paths of alphas: for the head of the start, and to score that of the start or the
    # final one.
    assert len(decomposed) == 2
    # Single alphas: for the objective of the start and of each epoch, and for the final
    # head, unless the start is kept.
    assert len(factorised) == 1 + n_epochs + is_kept


def test_decompositions_of_a_warm_start(monkeypatch):
    options = {"n_epochs": 0, "validation_fraction": 0.4, "warm_start": True}
    estimator = SupervisedCKNClassifier(**SMALL, **options, **PLAIN)
    estimator.fit(IMAGES, NAMES)
    decomposed = count_calls(monkeypatch, Spectrum, "from_features")
    factorised = count_calls(monkeypatch, one_alpha, "cholesky_solver")
    estimator.fit(IMAGES, NAMES)
    # The path that scores the head of the start also chooses its alpha.
    assert len(decomposed) == 1
    # The objective and the head of the start.
    assert len(factorised) == 2


@pytest.mark.parametrize("loss", LOSSES)
def test_alphas_in_the_unit_of_other_features(loss):
    features = 3 * IMAGES.reshape(60, -1)[:, :20]
    scale = StandardizedFeatures.from_values(features, np.ones(60)).original_scale
    plain = make_problem(loss).fit(features, np)
    other = make_problem(loss, unit=2 * scale, alphas=np.array([0.25, 0.0025]))
    other = other.fit(features, np)
    # The square of a rounded ratio.
    assert_allclose(other.alphas, plain.alphas, rtol=1e-15)
    # Newton's method stops within a part of 1e-4 of the minimum, wherever that is.
    rtol = 1e-10 if loss == "ridge" else 1e-4
    assert_allclose(other.coef, plain.coef, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_to_hold_out_is_said_before_long_work(loss):
    apart = HoldOut(copies=np.arange(60))
    make_problem(loss, hold_out=apart).check()
    of_classes = encode_labels(NAMES, None).positions
    with pytest.raises(ValueError, match="no class of two samples"):
        make_problem(loss, hold_out=HoldOut(groups=of_classes)).check()
