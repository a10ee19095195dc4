"""The heads as estimators: labels, weights, paths of alphas, folds, errors."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError

from sklearn_ckn import LinearPathClassifier, RidgePathRegressor
from sklearn_ckn._common import cache_blocks
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.classification import ClassifierSamples
from sklearn_ckn._heads.folds import MAX_FOR_ALL_FOLDS, complements, held_out_folds
from sklearn_ckn._heads.newton_path import follow_path
from sklearn_ckn._heads.path import one_vs_rest
from sklearn_ckn._heads.standardize import StandardizedFeatures

HEADS = ["ridge", "linear_svm", "logistic"]


@pytest.fixture(scope="module")
def blobs():
    features, labels = make_blobs(
        150, n_features=20, centers=4, cluster_std=6, random_state=0
    )
    return features, labels


@pytest.mark.parametrize("head", HEADS)
def test_labels_of_any_kind(head, blobs):
    features, labels = blobs
    plain = LinearPathClassifier(head).fit(features, labels)
    assert plain.score(features, labels) > 0.9
    names = np.array(["d", "a", "c", "b"])
    named = LinearPathClassifier(head).fit(features, names[labels])
    assert named.classes_.tolist() == ["a", "b", "c", "d"]
    agreement = np.mean(named.predict(features) == names[plain.predict(features)])
    # The order of the classes turns nothing but a decision within the tolerance.
    assert agreement > 0.99


@pytest.mark.parametrize("head", HEADS)
def test_two_classes(head, blobs):
    features, labels = blobs[0], blobs[1] > 1
    classifier = LinearPathClassifier(head).fit(features, labels)
    assert classifier.coef_.shape == (1, 20)
    assert classifier.intercept_.shape == (1,)
    decisions = classifier.decision_function(features)
    assert decisions.shape == (150,)
    assert_array_equal(classifier.predict(features), decisions > 0)
    predicted = classifier.predict_proba(features)
    assert_array_equal(predicted[:, 1] > 0.5, decisions > 0)
    assert classifier.score(features, labels) > 0.9


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("rare", [1, 2])
def test_a_class_of_few_samples(head, rare, blobs):
    features, labels = blobs
    features = np.vstack([features, 100 + np.eye(20)[:rare]])
    labels = np.append(labels, [9] * rare)
    classifier = LinearPathClassifier(head).fit(features, labels)
    assert_array_equal(classifier.predict(features[-rare:]), [9] * rare)
    assert np.isfinite(classifier.predict_proba(features)).all()


@pytest.mark.parametrize("head", HEADS)
def test_one_class(head):
    with pytest.raises(ValueError, match="one class only"):
        LinearPathClassifier(head).fit(np.eye(3), [1, 1, 1])


@pytest.mark.parametrize("head", ["linear_svm", "logistic"])
def test_single_samples_of_all_classes(head):
    with pytest.raises(ValueError, match=r'no class of two samples.*"ridge"'):
        LinearPathClassifier(head).fit(np.eye(3), [0, 1, 2])
    assert LinearPathClassifier().fit(np.eye(3), [0, 1, 2]).alpha_ > 0


@pytest.mark.parametrize("head", HEADS)
def test_class_weight(head, blobs):
    features, labels = blobs
    chosen = np.r_[np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:8]]
    features, labels = features[chosen], labels[chosen]

    def fit(class_weight):
        classifier = LinearPathClassifier(head, alpha=1.0, class_weight=class_weight)
        return classifier.fit(features, labels)

    plain, balanced = fit(None), fit("balanced")
    counts = np.bincount(labels)
    given = fit({0: 0.5 / counts[0], 1: 0.5 / counts[1]})
    assert_allclose(
        balanced.decision_function(features), given.decision_function(features)
    )
    assert (balanced.decision_function(features) > plain.decision_function(features))[
        labels == 0
    ].all()
    # Probabilities are those of a sample drawn with these weights.
    assert balanced.predict_proba(features)[:, 1].mean() > (
        plain.predict_proba(features)[:, 1].mean()
    )


@pytest.mark.parametrize("head", HEADS)
def test_alphas(head, blobs):
    features, labels = blobs
    classifier = LinearPathClassifier(head, alpha=[1e-5, 1e-2, 1e-2, 1]).fit(*blobs)
    assert_array_equal(classifier.alphas_, [1, 1e-2, 1e-5])
    scores = classifier.alpha_scores_
    assert scores.shape == (3,)
    assert scores[classifier.alphas_ == classifier.alpha_] > scores.max() - 0.05
    chosen = LinearPathClassifier(head, alpha=classifier.alpha_).fit(features, labels)
    assert chosen.alphas_.shape == (1,)
    assert_allclose(
        chosen.decision_function(features),
        classifier.decision_function(features),
        # The start of Newton's method differs, and it stops within 1e-4.
        atol=1e-9 if head == "ridge" else 0.05,
    )


def scoring(estimator, X, y, **fit_parameters):
    """Return what the scores of a fit are said to be; their number must be right."""
    fitted = estimator.fit(X, y, **fit_parameters)
    assert fitted.alpha_scores_.shape == fitted.alphas_.shape
    return fitted.alpha_scoring_


@pytest.mark.parametrize("n_samples", [300, 2200])
@pytest.mark.parametrize(
    "estimator", [*map(LinearPathClassifier, HEADS), RidgePathRegressor()], ids=str
)
def test_what_the_scores_are_of(estimator, n_samples):
    rng = np.random.RandomState(0)
    X, y = rng.randn(n_samples, 4), np.arange(n_samples) % 2
    estimator.set_params(alpha=[1e-1, 1e-2])
    in_folds = "cross_validation" if n_samples <= 2000 else "held_out"
    own = in_folds
    if getattr(estimator, "loss", "ridge") == "ridge":
        own = "leave_one_out"
    assert scoring(estimator, X, y) == own
    assert scoring(estimator, X, y, groups=np.arange(n_samples)) == in_folds
    split = [(np.arange(10, n_samples), np.arange(10))]
    assert scoring(estimator.set_params(cv=split), X, y) == "held_out"
    assert scoring(estimator.set_params(cv=3), X, y) == "cross_validation"
    # The attributes of one fit are those of the next.
    assert scoring(estimator.set_params(cv=None), X, y) == own


@pytest.mark.parametrize("head", HEADS)
def test_the_default_grid(head, blobs):
    classifier = LinearPathClassifier(head).fit(*blobs)
    tried = classifier.alphas_
    assert_array_equal(tried, GRIDS[head][: len(tried)])
    assert (len(tried) == len(GRIDS[head])) == (head == "ridge")


@pytest.mark.parametrize("head", ["linear_svm", "logistic"])
@pytest.mark.parametrize("shape", [(90, 20), (60, 200)])
def test_held_out_decisions_are_of_heads_that_have_not_seen_them(head, shape):
    rng = np.random.RandomState(0)
    features, labels = rng.randn(*shape), rng.randint(3, size=shape[0])
    weights, alphas = np.ones(shape[0]), np.array([1e-2])
    targets = one_vs_rest(labels, 3)
    splits = complements(held_out_folds(labels), shape[0])
    whole = StandardizedFeatures.from_values(features, weights)
    path = follow_path(whole, labels, targets, weights, head, alphas, splits)
    assert_array_equal(np.sort(path.held_out), np.arange(shape[0]))
    first = 0
    for fold in held_out_folds(labels):
        rest = np.setdiff1d(np.arange(shape[0]), fold)
        alone = ClassifierSamples.prepare(
            features[rest], labels[rest], weights[rest], loss=head, alphas=alphas
        ).fit()
        expected = features[fold] @ alone.coef.T + alone.intercept
        # Both stop within 1e-4 of a minimum, whose curvature is at least alpha.
        assert_allclose(
            path.decisions[0][first : first + len(fold)], expected, atol=0.05
        )
        first += len(fold)
    correct = path.decisions[0].argmax(axis=1) == labels[path.held_out]
    assert_allclose(path.accuracies, [correct.mean()])


def test_folds():
    labels = np.repeat([0, 1, 2], [20, 7, 1])
    folds = held_out_folds(labels)
    assert len(folds) == 5
    assert_array_equal(np.sort(np.concatenate(folds)), np.arange(27))
    for fold in folds:
        assert set(np.delete(labels, fold)) == {0, 1, 2}
    assert len(held_out_folds(np.repeat([0, 1], [20, 2]))) == 2
    many = np.arange(MAX_FOR_ALL_FOLDS + 1) % 10
    (fold,) = held_out_folds(many)
    assert len(fold) == pytest.approx(len(many) / 5, abs=1)
    assert_allclose(np.bincount(many[fold]), len(fold) / 10, atol=1)


@pytest.mark.parametrize("head", HEADS)
def test_float32_stays_float32(head, blobs):
    features, labels = blobs
    wide = LinearPathClassifier(head).fit(features, labels)
    narrow = LinearPathClassifier(head).fit(features.astype(np.float32), labels)
    assert wide.coef_.dtype == wide.decision_function(features).dtype == np.float64
    decisions = narrow.decision_function(features.astype(np.float32))
    assert narrow.coef_.dtype == decisions.dtype == np.float32
    assert narrow.decision_function(features).dtype == np.float64
    assert_array_equal(narrow.predict(features), wide.predict(features))


@pytest.mark.parametrize("estimator", [LinearPathClassifier(), RidgePathRegressor()])
@pytest.mark.parametrize("alpha", [[], [0.0], [1, np.inf], ["a"], 0, -1.0, "large"])
def test_bad_alphas(estimator, alpha, blobs):
    with pytest.raises(ValueError, match="alpha"):
        type(estimator)(alpha=alpha).fit(*blobs)


def test_a_failed_fit_keeps_what_was_fitted(blobs):
    features, labels = blobs
    classifier = LinearPathClassifier().fit(features, labels)
    before = classifier.predict(features)
    with pytest.raises(ValueError, match="one class only"):
        classifier.fit(features[:, :3], np.zeros(150))
    assert_array_equal(classifier.predict(features), before)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_not_fitted(method, blobs):
    with pytest.raises(NotFittedError):
        getattr(LinearPathClassifier(), method)(blobs[0])
    with pytest.raises(NotFittedError):
        RidgePathRegressor().predict(blobs[0])


@pytest.mark.parametrize("head", HEADS)
def test_no_copy_of_the_features(head, monkeypatch):
    rng = np.random.RandomState(0)
    labels = rng.randint(3, size=20_000)
    features = rng.randn(20_000, 200).astype(np.float32)
    features[:, :3] += np.eye(3, dtype=np.float32)[labels]
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 2**16)
    classifier = LinearPathClassifier(head, alpha=[1e-2, 1e-3])
    tracemalloc.start()
    classifier.fit(features, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Decisions, weights and matrices of 200 x 200 come to some megabytes. A copy in
    # float32 would take 16 of them, in float64 32.
    assert peak < features.nbytes
