"""Weights of samples, repeated rows and groups in the heads as estimators."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs
from sklearn.ensemble import AdaBoostClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.utils import shuffle

from sklearn_ckn import LinearPathClassifier, RidgePathRegressor
from sklearn_ckn._heads.folds import complements, held_out_folds
from sklearn_ckn._heads.newton_path import _is_at_end

HEADS = ["ridge", "linear_svm", "logistic"]


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(120, n_features=15, centers=3, cluster_std=6, random_state=0)


@pytest.fixture(scope="module")
def repeats():
    return np.random.RandomState(1).randint(4, size=120)


def real_targets(features, seed=0):
    rng = np.random.RandomState(seed)
    return features[:, :4] @ rng.randn(4, 2) + 5 * rng.randn(len(features), 2)


def splits_of(folds):
    """Return pairs of rows that train and rows held out, one of the folds each."""
    return [
        (np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
        for fold in np.unique(folds)
    ]


def assert_same_classifier(left, right, rtol=1e-8):
    assert_array_equal(left.classes_, right.classes_)
    assert_array_equal(left.alphas_, right.alphas_)
    assert left.alpha_ == right.alpha_
    assert left.alpha_scoring_ == right.alpha_scoring_
    assert_allclose(left.alpha_scores_, right.alpha_scores_, rtol=1e-12)
    # Sums in another order, which the smallest alphas make more of.
    assert_allclose(left.coef_, right.coef_, rtol=rtol, atol=1e-10)
    # The bounded search of the factor stops within its tolerance.
    assert_allclose(left.temperature_, right.temperature_, rtol=1e-6)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("head", HEADS)
def test_weights_are_repetitions(head, class_weight, blobs, repeats):
    features, labels = blobs
    classifier = LinearPathClassifier(head, class_weight=class_weight)
    weighted = classifier.fit(features, labels, sample_weight=2.5 * repeats)
    repeated = LinearPathClassifier(head, class_weight=class_weight).fit(
        features.repeat(repeats, axis=0), labels.repeat(repeats)
    )
    assert_same_classifier(weighted, repeated)
    if head == "ridge":
        rows = shuffle(np.arange(120).repeat(repeats), random_state=0)
        repeated.fit(features[rows], labels[rows])
        assert_same_classifier(weighted, repeated)


@pytest.mark.parametrize("in_folds", [False, True])
def test_weights_are_repetitions_for_real_targets(in_folds, blobs, repeats):
    features, _ = blobs
    y = real_targets(features)
    positive = repeats > 0
    cv = other = None
    if in_folds:
        # The folds of the repeated rows must be those of the others.
        folds = np.arange(120) % 4
        cv = [
            (np.flatnonzero(folds != i), np.flatnonzero(folds == i)) for i in range(4)
        ]
        own = folds.repeat(repeats)
        other = [(np.flatnonzero(own != i), np.flatnonzero(own == i)) for i in range(4)]
    weighted = RidgePathRegressor(cv=cv).fit(features, y, sample_weight=repeats)
    repeated = RidgePathRegressor(cv=other).fit(
        features.repeat(repeats, axis=0), y.repeat(repeats, axis=0)
    )
    assert weighted.alpha_ == repeated.alpha_
    scoring = "cross_validation" if in_folds else "leave_one_out"
    assert weighted.alpha_scoring_ == repeated.alpha_scoring_ == scoring
    assert_allclose(weighted.alpha_scores_, repeated.alpha_scores_, rtol=1e-8)
    for left, right in zip(
        weighted.predict(features, return_std=True),
        repeated.predict(features, return_std=True),
        strict=True,
    ):
        assert_allclose(left, right, rtol=1e-8)
    without = RidgePathRegressor().fit(features[positive], y[positive])
    assert without.alpha_ > 0
    assert not np.allclose(without.coef_, weighted.coef_, rtol=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_every_row_twice_changes_nothing(head, blobs):
    features, labels = blobs
    once = LinearPathClassifier(head).fit(features, labels)
    twice = LinearPathClassifier(head).fit(
        np.tile(features, (2, 1)), np.tile(labels, 2)
    )
    assert_same_classifier(once, twice)
    y = real_targets(features)
    once = RidgePathRegressor().fit(features, y)
    twice = RidgePathRegressor().fit(np.tile(features, (2, 1)), np.tile(y, (2, 1)))
    assert once.alpha_ == twice.alpha_
    assert_allclose(once.noise_variance_, twice.noise_variance_)
    for left, right in zip(
        once.predict(features, return_std=True),
        twice.predict(features, return_std=True),
        strict=True,
    ):
        assert_allclose(left, right)


def test_intervals_hold_with_repeated_rows():
    # Seen as independent, copies make the smallest alpha look best and the noise
    # vanish.
    rng = np.random.RandomState(0)
    features = rng.randn(1060, 100)
    y = features @ rng.randn(100) + 10 * rng.randn(1060)
    rows = rng.randint(60, size=180)
    regressor = RidgePathRegressor().fit(features[rows], y[rows])
    mean, deviation = regressor.predict(features[60:], return_std=True)
    inside = np.abs(y[60:] - mean) < 2 * deviation
    # 95 % of a Gaussian's; the noise's variance is that of some 60 rows.
    assert inside.mean() > 0.85


@pytest.mark.parametrize("head", HEADS)
def test_weight_zero_is_no_row(head, blobs):
    features, labels = blobs
    weights = np.where(np.arange(120) % 3 > 0, 0.7, 0)
    weights[labels == 2] = 0
    fitted = LinearPathClassifier(head).fit(features, labels, weights)
    kept = weights > 0
    assert_array_equal(fitted.classes_, [0, 1])
    assert_same_classifier(
        fitted, LinearPathClassifier(head).fit(features[kept], labels[kept])
    )


@pytest.mark.parametrize("factor", [1e-300, 1e300])
@pytest.mark.parametrize("head", HEADS)
def test_the_unit_of_the_weights_does_not_matter(head, factor, blobs):
    features, labels = blobs
    weights = np.random.RandomState(0).uniform(1, 2, size=120)
    plain = LinearPathClassifier(head).fit(features, labels, weights)
    scaled = LinearPathClassifier(head).fit(features, labels, factor * weights)
    assert_same_classifier(plain, scaled)
    # A weight that no sum can hold is none.
    weights[5] = 0
    absent = LinearPathClassifier(head).fit(features, labels, weights)
    weights[5] = 1e-100
    assert_same_classifier(
        absent, LinearPathClassifier(head).fit(features, labels, weights)
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(120), "must not be negative"),
        (np.full(120, np.nan), "sample_weight contains NaN"),
        (np.full(120, np.inf), "sample_weight contains infinity"),
        (np.zeros(120), "all weights are zero"),
        (np.ones(119), r"each of the 120 samples, got the shape \(119,\)"),
        (np.ones((120, 2)), r"each of the 120 samples, got the shape \(120, 2\)"),
    ],
)
@pytest.mark.parametrize("estimator", [LinearPathClassifier(), RidgePathRegressor()])
def test_bad_weights(estimator, weights, message, blobs):
    with pytest.raises(ValueError, match=message):
        type(estimator)().fit(*blobs, sample_weight=weights)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.ones(120), "two groups or more"),
        (np.arange(100), r"each of the 120 samples, got the shape \(100,\)"),
        ([None, *range(119)], "None or NaN"),
        ([np.nan, *range(119)], "None or NaN"),
        (np.array([*range(60), *"ab" * 30], dtype=object), "numbers or strings"),
    ],
)
@pytest.mark.parametrize("estimator", [LinearPathClassifier(), RidgePathRegressor()])
def test_bad_groups(estimator, groups, message, blobs):
    with pytest.raises(ValueError, match=message):
        type(estimator)().fit(*blobs, groups=groups)


def test_one_group_of_positive_weight(blobs):
    groups = np.arange(120) % 2
    with pytest.raises(ValueError, match="one group"):
        RidgePathRegressor().fit(*blobs, sample_weight=groups, groups=groups)
    with pytest.raises(ValueError, match="no class of two samples, or groups"):
        LinearPathClassifier().fit(*blobs, sample_weight=groups, groups=groups)


def test_one_class_of_positive_weight(blobs):
    features, labels = blobs
    with pytest.raises(
        ValueError, match="one class only among the samples of positive"
    ):
        LinearPathClassifier().fit(features, labels, labels == 1)


def changed_copies(blobs, n_copies=4, size=1e-3):
    """Return copies that are changed a little, and the row that each is one of."""
    features, labels = blobs
    rows = np.tile(np.arange(len(labels)), n_copies)
    noise = np.random.RandomState(0).randn(len(rows), features.shape[1])
    return features[rows] + size * noise, labels[rows], rows


@pytest.mark.parametrize("head", HEADS)
def test_groups_are_held_out_together(head, blobs):
    hard = (blobs[0] + 8 * np.random.RandomState(1).randn(120, 15), blobs[1])
    features, labels, rows = changed_copies(hard)
    once = LinearPathClassifier(head).fit(*hard)
    grouped = LinearPathClassifier(head).fit(features, labels, groups=rows)
    assert_allclose(grouped.alpha_, once.alpha_, rtol=9.1)
    held_out = grouped.alpha_scores_.max()
    # Two ways to hold out 120 samples, of an accuracy whose standard error is
    # sqrt(0.25 / 120) = 0.046.
    assert abs(held_out - once.alpha_scores_.max()) < 0.1
    apart = LinearPathClassifier(head).fit(features, labels)
    assert apart.alpha_scores_.max() >= held_out
    assert grouped.alpha_scoring_ == "cross_validation"


@pytest.mark.parametrize("head", HEADS)
def test_groups_are_splits_of_groups(head, blobs):
    features, labels, rows = changed_copies(blobs, 2)
    names = np.array([f"image {row}" for row in rows])
    grouped = LinearPathClassifier(head, alpha=[1e-2, 1e-3])
    grouped.fit(features, labels, groups=names)
    codes = np.unique(names, return_inverse=True)[1]
    splits = complements(held_out_folds(labels, codes), len(labels))
    for train, held_out in splits:
        assert not set(rows[train]) & set(rows[held_out])
    given = LinearPathClassifier(head, alpha=[1e-2, 1e-3], cv=splits)
    assert_same_classifier(grouped, given.fit(features, labels, groups=names))


@pytest.mark.parametrize("shape", [(120, 15), (120, 200)])
@pytest.mark.parametrize("head", HEADS)
def test_cv_scores_are_those_of_heads_fitted_without(head, shape):
    features, labels = make_blobs(
        shape[0], n_features=shape[1], centers=3, cluster_std=9, random_state=0
    )
    weights = np.random.RandomState(0).uniform(0.2, 2, size=120)
    alpha = 1e-2
    fitted = LinearPathClassifier(head, alpha=alpha, cv=KFold(3)).fit(
        features, labels, weights
    )
    scores = []
    for train, held_out in KFold(3).split(features):
        alone = LinearPathClassifier(head, alpha=alpha).fit(
            features[train], labels[train], weights[train]
        )
        correct = alone.predict(features[held_out]) == labels[held_out]
        scores.append(weights[held_out] @ correct)
    # Newton's method stops near the minimum: a sample may be on the edge.
    tolerance = 1e-10 if head == "ridge" else 2.1 / 120
    assert_allclose(fitted.alpha_scores_, sum(scores) / weights.sum(), atol=tolerance)
    whole = LinearPathClassifier(head, alpha=alpha).fit(features, labels, weights)
    # Two starts of Newton's method, which stops within 1e-4 of the minimum.
    assert_allclose(
        fitted.decision_function(features),
        whole.decision_function(features),
        atol=1e-9 if head == "ridge" else 0.05,
    )


@pytest.mark.parametrize("shape", [(90, 15), (90, 150)])
def test_cv_of_real_targets(shape):
    rng = np.random.RandomState(0)
    features = rng.randn(*shape)
    y = features[:, :3] @ rng.randn(3, 2) + rng.randn(90, 2)
    weights = rng.uniform(0.2, 2, size=90)
    fitted = RidgePathRegressor(1e-2, cv=KFold(3)).fit(features, y, weights)
    mean = np.average(y, axis=0, weights=weights)
    errors = variation = noise = 0
    for train, held_out in KFold(3).split(features):
        own = weights[train] / weights[train].mean()
        alone = RidgePathRegressor(1e-2).fit(features[train], y[train], own)
        predicted, deviation = alone.predict(features[held_out], return_std=True)
        squares = weights[held_out, None] * (y[held_out] - predicted) ** 2
        errors = errors + squares.sum(axis=0)
        variation = variation + weights[held_out] @ (y[held_out] - mean) ** 2
        # The variance of a new target is s^2 (1 + r); that of one of weight w, with
        # the mean weight 1, is s^2 (1 / w + r).
        ratio = (deviation**2 / alone.noise_variance_)[:, :1] - 1
        growth = 1 + weights[held_out, None] / weights[train].mean() * ratio
        noise = noise + (squares / growth).sum(axis=0)
    assert_allclose(fitted.alpha_scores_, np.mean(1 - errors / variation), rtol=1e-9)
    assert_allclose(fitted.noise_variance_, noise / 90 / weights.mean(), rtol=1e-8)


def test_groups_of_real_targets(blobs):
    features, _, rows = changed_copies(blobs)
    y = real_targets(blobs[0])[rows] + 0.01 * np.random.RandomState(3).randn(480, 2)
    once = RidgePathRegressor().fit(blobs[0], real_targets(blobs[0]))
    grouped = RidgePathRegressor().fit(features, y, groups=rows)
    apart = RidgePathRegressor().fit(features, y)
    # Four copies tell no more than one about the noise: the variance from 120 samples
    # for 15 parameters has a relative standard error of sqrt(2 / 105) = 0.14.
    assert_allclose(grouped.noise_variance_, once.noise_variance_, rtol=0.3)
    assert grouped.alpha_scores_.max() < apart.alpha_scores_.max()


def test_a_split_without_a_class(blobs):
    features, labels = blobs
    order = np.argsort(labels)
    with pytest.raises(ValueError, match=r"trains 2 of the 3 classes"):
        LinearPathClassifier(cv=KFold(3)).fit(features[order], labels[order])
    with pytest.raises(ValueError, match="both sides"):
        LinearPathClassifier(cv=[(np.arange(120), [])]).fit(features, labels)
    weights = np.arange(120) >= 30
    with pytest.raises(ValueError, match="both sides"):
        RidgePathRegressor(cv=KFold(4)).fit(features, labels, weights)


@pytest.mark.parametrize("cv", [[], KFold(500)])
def test_cv_that_gives_no_splits(blobs, cv):
    with pytest.raises(ValueError, match=r"cv=.* gives no splits"):
        LinearPathClassifier(cv=cv).fit(*blobs)


def test_cv_of_masks(blobs):
    held_out = np.arange(120) % 3 == 0
    positions = [(np.flatnonzero(~held_out), np.flatnonzero(held_out))]
    of_masks = LinearPathClassifier(cv=[(~held_out, held_out)]).fit(*blobs)
    of_positions = LinearPathClassifier(cv=positions).fit(*blobs)
    assert_array_equal(of_masks.coef_, of_positions.coef_)


def test_equal_features_with_other_labels_are_held_out_together():
    # Half of the samples have a twin of the other class: leaving one of them out, the
    # other would tell the wrong class, and an accuracy far below one half.
    rng = np.random.RandomState(0)
    features = rng.randn(40, 60)
    rows = np.tile(np.arange(40), 2)
    labels = np.repeat([0, 1], 40)
    for head in HEADS:
        fitted = LinearPathClassifier(head, alpha=[1e-2, 1e-6])
        fitted.fit(features[rows], labels)
        # What is predicted for a pair is right for one of its samples.
        assert_allclose(fitted.alpha_scores_, 0.5)


def test_boosting(blobs):
    features, labels = blobs
    boosted = AdaBoostClassifier(LinearPathClassifier(alpha=1.0), n_estimators=5)
    boosted.fit(features, labels)
    assert len(boosted.estimators_) == 5
    first, second = boosted.estimators_[:2]
    assert not np.allclose(first.coef_, second.coef_)


def test_weights_and_groups_are_routed(blobs):
    features, labels, rows = changed_copies(blobs)
    weights = np.random.RandomState(0).uniform(0.5, 2, size=len(rows))
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = LinearPathClassifier().set_fit_request(
            sample_weight=True, groups=True
        )
        classifier.set_score_request(sample_weight=True)
        grid = {"class_weight": [None, "balanced"]}
        search = GridSearchCV(classifier, grid, cv=GroupKFold(3), error_score="raise")
        search.fit(features, labels, sample_weight=weights, groups=rows)
    assert search.best_estimator_.alpha_scoring_ == "cross_validation"
    direct = LinearPathClassifier(**search.best_params_)
    assert_same_classifier(
        search.best_estimator_, direct.fit(features, labels, weights, rows)
    )


@pytest.mark.parametrize("head", ["linear_svm", "logistic"])
def test_the_path_ends_where_nothing_is_left_to_gain(head):
    # Copies among the others: the held-out loss falls to 0 and never rises.
    rng = np.random.RandomState(0)
    features = rng.randn(100, 30)
    labels = (features[:, 0] > 0).astype(int)
    rows = np.tile(np.arange(100), 3)
    near = features[rows] + 1e-6 * rng.randn(300, 30)
    fitted = LinearPathClassifier(head).fit(near, labels[rows])
    assert len(fitted.alphas_) < 15
    # Candidates that are given are all tried.
    given = LinearPathClassifier(head, alpha=[1e-2, 1e-7, 1e-8])
    assert len(given.fit(near, labels[rows]).alphas_) == 3


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ([1.0, 0.5, 0.4], False),
        ([1.0, 0.5, 0.6], False),
        ([1.0, 0.5, 0.6, 0.55], True),
        ([1.0, 0.5, 0.4999, 0.4998], True),
        # Little by little, but a thousandth in two alphas.
        ([1.0, 0.5, 0.4997, 0.4994], False),
        ([1.0, 0.0021], False),
        ([1.0, 0.0019], True),
    ],
)
def test_when_a_path_ends(losses, ends):
    assert _is_at_end(losses, 2.0) == ends
