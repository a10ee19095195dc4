"""Cases of the linear heads, alone and on features of images."""

import inspect
import warnings

import numpy as np
from checks import (
    check_copies,
    check_fitted,
    check_same,
    close,
    require,
    watched_warnings,
)
from heads_reference import Standardized, check_optimal
from images import (
    LAYOUTS,
    choose,
    computed,
    image_shape,
    lay_out,
    power,
    random_images,
)
from network_cases import check_features_of
from parameters import network_parameters
from sklearn.exceptions import ConvergenceWarning

from sklearn_ckn import (
    CKNClassifier,
    CKNRegressor,
    LinearPathClassifier,
    RidgePathRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._learning import map_choice

ROW_KINDS = {
    "noise": 5,
    "offset": 2,
    "scaled": 3,
    "low rank": 2,
    "repeated": 2,
    "constant columns": 2,
    "constant": 1,
    "separated": 2,
}


def random_rows(rng):
    """Return features (n, d), float32 or float64, and what they are."""
    kind = choose(rng, ROW_KINDS)
    n, d = int(rng.integers(4, 50)), int(rng.integers(1, 70))
    dtype = np.dtype(str(rng.choice(["f4", "f8"])))
    rows = rng.standard_normal((n, d))
    if kind == "offset":
        rows += power(rng, 0, 3)
    elif kind == "scaled":
        limit = 30 if dtype == "f4" else 140
        rows *= power(rng, -limit, limit)
    elif kind == "low rank":
        rows = rows[:, :1] * rng.standard_normal(d)
    elif kind == "repeated":
        rows = rows[rng.integers(max(1, n // 3), size=n)]
    elif kind == "constant columns":
        rows[:, rng.random(d) < 0.7] = power(rng, -3, 3)
    elif kind == "constant":
        rows[:] = rows[0]
    elif kind == "separated":
        rows[:, 0] = np.where(np.arange(n) % 2, 5, -5) * power(rng, 0, 2)
    return rows.astype(dtype), kind


def random_labels(rng, n):
    """Return labels of two classes or more, numbers, strings or booleans."""
    n_classes = int(rng.integers(2, 5))
    labels = np.concatenate([np.arange(2), rng.integers(n_classes, size=n - 2)])
    labels = rng.permutation(labels)
    kind = int(rng.integers(4))
    if kind == 1:
        return np.array(["cat", "dog", "owl", "yak"])[labels]
    if kind == 2:
        return labels > 0
    return labels * 2 - 1 if kind == 3 else labels


def random_alpha(rng):
    """Return a value of the parameter ``alpha``."""
    kind = int(rng.integers(4))
    if kind == 0:
        return "auto"
    if kind == 1:
        return power(rng, -8, 1)
    alphas = 10 ** rng.uniform(-8, 1, size=int(rng.integers(1, 6)))
    return alphas if kind == 2 else alphas.tolist()


def random_weights(rng, estimator, n):
    """Return arguments of ``fit``: sample weights, where the estimator takes them."""
    if "sample_weight" not in inspect.signature(estimator.fit).parameters:
        return {}
    if rng.random() < 0.6:
        return {}
    if rng.random() < 0.5:
        return {"sample_weight": rng.integers(1, 4, size=n).astype(float)}
    return {"sample_weight": rng.uniform(0.1, 3, size=n)}


def class_weight(rng, y):
    """Return a value of the parameter ``class_weight``."""
    classes = np.unique(y)
    values = rng.uniform(0.1, 5, size=len(classes)).tolist()
    weights = dict(zip(classes.tolist(), values, strict=True))
    return [None, None, "balanced", weights][rng.integers(4)]


def total_weights(y, class_weight, sample_weight=None):
    """Return the weights of the samples in the objective, but for their scale."""
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    classes, labels = np.unique(y, return_inverse=True)
    if class_weight is None:
        return weights
    if class_weight == "balanced":
        return weights / np.bincount(labels, weights)[labels]
    return weights * np.array([class_weight[name] for name in classes.tolist()])[labels]


def one_vs_rest(y):
    """Return targets of +1 and -1, in one column for two classes."""
    classes, labels = np.unique(y, return_inverse=True)
    targets = np.where(labels[:, np.newaxis] == np.arange(len(classes)), 1.0, -1.0)
    return targets[:, 1:] if len(classes) == 2 else targets


def check_probabilities(classifier, X):
    """Check decisions, labels, probabilities and their logarithms together."""
    decisions = classifier.decision_function(X).astype("f8")
    probabilities = classifier.predict_proba(X)
    logarithms = classifier.predict_log_proba(X)
    require(np.isfinite(decisions).all(), "decisions are not finite")
    require(np.isfinite(probabilities).all(), "probabilities are not finite")
    require(np.isfinite(logarithms).all(), "log-probabilities are not finite")
    n_classes = len(classifier.classes_)
    sums = probabilities.sum(axis=1)
    require(
        (np.abs(sums - 1) <= n_classes * 1e-15).all(), f"probabilities add to {sums}"
    )
    # A relative error of the exponential of log p is the error of log p, which is
    # rounded relative to itself.
    error = np.abs(np.exp(logarithms) - probabilities)
    bound = 1e-14 * (1 - logarithms) * probabilities + 1e-300
    require((error <= bound).all(), "log-probabilities and probabilities disagree")
    if decisions.ndim == 1:
        decisions = np.column_stack([-decisions, decisions])
    expected = classifier.classes_[decisions.argmax(axis=1)]
    predicted = classifier.predict(X)
    unclear = np.ptp(np.sort(decisions, axis=1)[:, -2:], axis=1) == 0
    require((predicted == expected)[~unclear].all(), "labels are not of the highest")


def converged(caught):
    """Whether no warning says that a minimum was not reached."""
    return not any(issubclass(each.category, ConvergenceWarning) for each in caught)


def check_linear_path_classifier(rng):
    """Check the conditions of a minimum, probabilities, copies."""
    X, kind = random_rows(rng)
    y = random_labels(rng, len(X))
    head = str(rng.choice(["ridge", "linear_svm", "logistic"]))
    given = class_weight(rng, y)
    alpha = random_alpha(rng)
    classifier = LinearPathClassifier(head, alpha=alpha, class_weight=given)
    options = random_weights(rng, classifier, len(X))

    def fit(estimator):
        return estimator.fit(X, y, **options)

    weights = total_weights(y, given, **options)
    with watched_warnings() as caught:
        fit(classifier)
        check_fitted(classifier)
        check_probabilities(classifier, X)
        if rng.random() < 0.2:
            check_copies(classifier, fit, "predict_proba", X)
    require(classifier.alpha_ in classifier.alphas_, "alpha_ is none of alphas_")
    if not isinstance(alpha, str):
        tried = np.unique(alpha)[::-1]
        check_same(classifier.alphas_, tried[: len(classifier.alphas_)], "alphas_")
    if converged(caught):
        check_optimal(
            head,
            Standardized.of(X, weights),
            one_vs_rest(y),
            classifier.coef_,
            classifier.intercept_,
            classifier.alpha_,
        )
    return kind


def random_targets(rng, n):
    """Return real targets, one or several, some of them constant."""
    targets = rng.standard_normal((n, int(rng.integers(1, 4))))
    kind = int(rng.integers(5))
    if kind == 1:
        targets *= power(rng, -100, 100)
    elif kind == 2:
        targets += power(rng, 0, 6)
    elif kind == 3:
        targets[:, 0] = power(rng, -3, 3)
    return targets[:, 0] if targets.shape[1] == 1 else targets


def check_ridge(regressor, X, y, weights):
    """Check the conditions of a minimum, of each target in its own unit."""
    standardized = Standardized.of(X, weights)
    columns = y.reshape(len(y), -1).astype("f8")
    coef = np.reshape(regressor.coef_, (columns.shape[1], -1))
    intercept = np.atleast_1d(regressor.intercept_)
    for i, targets in enumerate(columns.T):
        unit = np.abs(targets).max() or 1.0
        check_optimal(
            "ridge",
            standardized,
            targets[:, np.newaxis] / unit,
            coef[i].astype(np.longdouble) / unit,
            intercept[i] / unit,
            regressor.alpha_,
        )


def check_deviations(regressor, X):
    """Check that standard deviations are finite and not negative."""
    mean, deviation = regressor.predict(X, return_std=True)
    check_same(mean, regressor.predict(X), "mean")
    require(mean.shape == deviation.shape, "shape of the deviations")
    require(np.isfinite(mean).all(), "predictions are not finite")
    require(np.isfinite(deviation).all(), "deviations are not finite")
    require((deviation >= 0).all(), "deviations are negative")


def check_ridge_path_regressor(rng):
    """Check the conditions of a minimum, deviations, copies."""
    X, kind = random_rows(rng)
    y = random_targets(rng, len(X))
    regressor = RidgePathRegressor(random_alpha(rng))
    options = random_weights(rng, regressor, len(X))

    def fit(estimator):
        return estimator.fit(X, y, **options)

    with watched_warnings():
        fit(regressor)
        check_fitted(regressor)
        check_deviations(regressor, X)
        if rng.random() < 0.2:
            check_copies(regressor, fit, "predict", X)
    check_ridge(regressor, X, y, options.get("sample_weight", np.ones(len(X))))
    return kind


#: Maps are compared on as few images, so that some cases choose.
map_choice.MIN_IMAGES = 12


def _images_and_parameters(rng, low, high):
    n = int(rng.integers(low, high))
    shape = image_shape(rng, largest=8)
    images, kind = random_images(rng, n, shape)
    parameters = network_parameters(rng)
    if rng.random() < 0.3:
        parameters["whitening"] = None
    X, extra = lay_out(rng, images, str(rng.choice(LAYOUTS)))
    return images, X, {**parameters, **extra}, kind


def check_decisions(model, X, images):
    """Compare decisions, or predictions, with the head on the features."""
    features = model.features_.transform(X)
    coef = np.reshape(model.coef_, (-1, features.shape[1])).astype("f8")
    intercept = np.atleast_1d(model.intercept_)
    method = getattr(model, "decision_function", model.predict)
    actual = method(X).astype("f8")
    expected = (features.astype("f8") @ coef.T + intercept).reshape(actual.shape)
    eps = np.finfo(features.dtype).eps
    # A product of d terms, of rounded weights and an intercept.
    largest = np.abs(features).max() or 1.0
    sizes = np.abs(features.astype("f8") / largest) @ np.abs(coef * largest).T
    norms = np.linalg.norm(sizes, axis=1)
    bound = 2 * (features.shape[1] + 8) * eps * (norms + np.abs(intercept).max())
    close(actual, expected, bound + 1e-37, "decisions")


def check_ckn_classifier(rng):
    """Check features by the oracle and the head by its objective."""
    images, X, parameters, kind = _images_and_parameters(rng, 6, 25)
    y = random_labels(rng, len(images))
    given = class_weight(rng, y)
    head = str(rng.choice(["ridge", "linear_svm", "logistic"]))
    classifier = CKNClassifier(
        **parameters, head=head, alpha=random_alpha(rng), class_weight=given
    )
    options = random_weights(rng, classifier, len(y))

    def fit(estimator):
        return estimator.fit(X, y, **options)

    weights = total_weights(y, given, **options)
    with watched_warnings(kind) as caught:
        fit(classifier)
        check_fitted(classifier)
        check_fitted(classifier.features_)
        check_probabilities(classifier, X)
        features = classifier.features_.transform(X)
        used = computed(images)
        check_features_of(classifier.features_, features, used)
        check_decisions(classifier, X, used)
        if rng.random() < 0.1:
            check_copies(classifier, fit, "predict_proba", X)
    if converged(caught):
        check_optimal(
            head,
            Standardized.of(features, weights),
            one_vs_rest(y),
            classifier.coef_,
            classifier.intercept_,
            classifier.alpha_,
        )
    return kind


def check_ckn_regressor(rng):
    """Check features by the oracle and ridge by its objective."""
    images, X, parameters, kind = _images_and_parameters(rng, 3, 25)
    y = random_targets(rng, len(images))
    regressor = CKNRegressor(**parameters, alpha=random_alpha(rng))
    options = random_weights(rng, regressor, len(y))

    def fit(estimator):
        return estimator.fit(X, y, **options)

    with watched_warnings(kind):
        fit(regressor)
        check_fitted(regressor)
        check_fitted(regressor.features_)
        check_deviations(regressor, X)
        features = regressor.features_.transform(X)
        check_decisions(regressor, X, computed(images))
        if rng.random() < 0.1:
            check_copies(regressor, fit, "predict", X)
    check_ridge(regressor, features, y, options.get("sample_weight", np.ones(len(y))))
    return kind


def check_supervised(rng):
    """Check a short training: finite, its history, its features by the oracle."""
    images, X, parameters, kind = _images_and_parameters(rng, 12, 40)
    y = random_labels(rng, len(images))
    n_epochs = int(rng.integers(0, 3))
    classifier = SupervisedCKNClassifier(
        **parameters,
        head=str(rng.choice(["ridge", "linear_svm", "logistic"])),
        alpha=random_alpha(rng),
        class_weight=class_weight(rng, y),
        learn_beta=bool(rng.integers(2)),
        n_epochs=n_epochs,
        batch_size=int(rng.integers(1, 30)),
        learning_rate=0.05 if rng.random() < 0.6 else power(rng, -4, 1),
        schedule=str(rng.choice(["cosine", "step", "constant"])),
        augment=[None, "flip", "shift", "flip+shift"][rng.integers(4)],
        early_stopping=bool(rng.integers(2)),
        validation_fraction=float(rng.uniform(0.05, 0.5)),
    )
    options = random_weights(rng, classifier, len(y))

    def fit(estimator):
        return estimator.fit(X, y, **options)

    with watched_warnings(kind):
        fit(classifier)
        check_fitted(classifier)
        check_fitted(classifier.features_)
        check_probabilities(classifier, X)
        used = computed(images)
        features = classifier.features_.transform(X)
        check_features_of(classifier.features_, features, used)
        check_decisions(classifier, X, used)
        if rng.random() < 0.3:
            check_copies(classifier, fit, "predict_proba", X)
    n_entries = len(classifier.history_["epoch"])
    require(1 <= n_entries <= n_epochs + 1, f"{n_entries} entries of the history")
    require(classifier.best_epoch_ <= n_epochs, "best_epoch_")
    objective = classifier.history_["objective"]
    require(
        np.isfinite(objective[classifier.best_epoch_]), "objective of the best epoch"
    )
    return kind


def silent(function, *arguments):
    """Call a function without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)
