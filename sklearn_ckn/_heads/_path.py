"""Heads fitted along a path of alphas, of which held-out samples choose one."""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._arrays import namespace, to_numpy
from sklearn_ckn._heads._alphas import GRIDS
from sklearn_ckn._heads._calibration import fit_factor
from sklearn_ckn._heads._folds import held_out_folds
from sklearn_ckn._heads._losses import Logistic, SquaredHinge
from sklearn_ckn._heads._newton import Products, minimize_loss
from sklearn_ckn._heads._posterior import Posterior
from sklearn_ckn._heads._ridge import RidgePath
from sklearn_ckn._heads._spectrum import Spectrum
from sklearn_ckn._heads._standardize import StandardizedFeatures
from sklearn_ckn._heads._targets import CentredTargets
from sklearn_ckn._threads import single_threaded_blas

LOSSES = {"linear_svm": SquaredHinge(), "logistic": Logistic()}

# Features of fewer values are worked on by one thread: several wait for each other
# longer than the many small products take.
SMALL_VALUES = 2**22

# Alphas in a row that raise the held-out loss before the path ends.
PATIENCE = 2


@dataclass(frozen=True)
class FittedHead:
    """A linear head and what was held out to choose it.

    Attributes
    ----------
    coef : ndarray of shape (m, d)
        In terms of the features as they came.
    intercept : ndarray of shape (m,)
        In the dtype of the features, or in float64 if float32 cannot hold them.
    alphas : ndarray of shape (A,)
        Those tried, from the largest.
    scores : ndarray of shape (A,)
        Accuracy, or R2, on held-out samples.
    best : int
        The alpha that was chosen.
    factor : float or None
        Of the decisions, for probabilities: see ``fit_factor``.
    """

    coef: np.ndarray
    intercept: np.ndarray
    alphas: np.ndarray
    scores: np.ndarray
    best: int
    factor: float | None = None


def one_vs_rest(labels, n_classes):
    """Return +1 and -1, (n, n_classes): or the second class's column of two."""
    targets = 2.0 * (labels[:, np.newaxis] == np.arange(n_classes)) - 1
    return targets[:, 1:] if n_classes == 2 else targets


def is_correct(decisions, labels):
    """Return whether the decisions (..., m) are those of the labels (...)."""
    if decisions.shape[-1] == 1:
        return (decisions[..., 0] > 0) == labels
    return decisions.argmax(axis=-1) == labels


def choose_alpha(accuracies, decisions_of, labels, weights):
    """Choose by the accuracy on held-out samples, with NumPy.

    Accuracy is what a classifier is for: the squared error prefers an alpha some ten
    times too large where many classes overlap. On few samples it says little, so what
    is within a standard error of the best counts as tied, and of these the alpha is
    taken whose decisions make the best probabilities.

    Parameters
    ----------
    accuracies : array of shape (A,)
    decisions_of : callable
        From one of the alphas' positions to held-out decisions, (n, m).
    labels : array of shape (n,)
    weights : array of shape (n,)
        Of sum 1.

    Returns
    -------
    best : int
    factor : float
        Of the decisions, for probabilities.
    """
    accuracies, labels, weights = map(to_numpy, (accuracies, labels, weights))
    highest = accuracies.max()
    error = np.sqrt(max(highest * (1 - highest), 0) * np.sum(weights**2))
    # Sums of the same weights in another order count as equal.
    tied = np.flatnonzero(accuracies >= highest - error - 1e-10)
    calibrations = [
        fit_factor(to_numpy(decisions_of(i)), labels, weights) for i in tied
    ]
    place = int(np.argmin([log_loss for _, log_loss in calibrations]))
    return int(tied[place]), calibrations[place][0]


def fit_classifier(
    features, labels, weights, *, head, xp=np, alphas=None, n_held_out=0
):
    """Fit a linear head for classes.

    Parameters
    ----------
    features : array of shape (n, d), float32 or float64
        Not changed and not copied as a whole. Of the namespace ``xp``, or NumPy's.
    labels : ndarray of shape (n,)
        Positions of the classes, of which there are two or more.
    weights : ndarray of shape (n,), float64
        Positive; their scale is divided out.
    head : {"ridge", "linear_svm", "logistic"}
    xp : module, default=numpy
        The namespace to compute with, ``numpy`` or ``cupy``.
    alphas : ndarray of shape (A,) or None
        Positive, from the largest; None is a grid of the head's own.
    n_held_out : int, default=0
        How many of the last rows choose alpha, for features that were learned from
        the others; 0 leaves the choice of rows to the head.

    Returns
    -------
    fitted : FittedHead

    Raises
    ------
    ValueError
        The weights are beyond the range of float64.
    """
    targets = one_vs_rest(labels, labels.max() + 1)
    weights = weights / weights.sum()
    labels, targets, weights = map(xp.asarray, (labels, targets, weights))
    fit = _fit_ridge if head == "ridge" else _fit_by_newton
    small = features.size < SMALL_VALUES
    with single_threaded_blas if small else nullcontext():
        return fit(features, labels, targets, weights, head, alphas, n_held_out)


def _fit_ridge(values, labels, targets, weights, head, alphas, n_held_out):
    features = StandardizedFeatures.from_values(values, weights)
    alphas = GRIDS[head] if alphas is None else alphas
    if n_held_out:
        accuracies, best, factor = _choose_ridge(
            features.values, labels, targets, weights, alphas, len(values) - n_held_out
        )
        path = RidgePath.from_features(features, targets, alphas[best : best + 1])
        coef, intercept = features.original_units(path.solve(0), path.intercept)
        return FittedHead(coef, intercept, alphas, to_numpy(accuracies), best, factor)
    path = RidgePath.from_features(features, targets, alphas)

    def statistic(rows, predictions):
        correct = is_correct(predictions, labels[rows, np.newaxis])
        return weights[rows] @ correct.astype(np.float64)

    accuracies, leverages = path.summarize(statistic)
    best, factor = choose_alpha(
        accuracies, lambda i: path.leave_one_out_of(i, leverages), labels, weights
    )
    coef, intercept = features.original_units(path.solve(best), path.intercept)
    return FittedHead(coef, intercept, alphas, to_numpy(accuracies), best, factor)


def _choose_ridge(values, labels, targets, weights, alphas, n_train):
    """Fit the first rows and choose alpha by the others; see ``choose_alpha``."""
    path = RidgePath.from_features(
        StandardizedFeatures.from_values(values[:n_train], weights[:n_train], 0),
        targets[:n_train],
        alphas,
    )
    decisions = path.predict(values[n_train:])
    labels = labels[n_train:]
    weights = weights[n_train:] / weights[n_train:].sum()
    correct = is_correct(decisions, labels[:, np.newaxis])
    accuracies = weights @ correct.astype(np.float64)
    best, factor = choose_alpha(accuracies, lambda i: decisions[:, i], labels, weights)
    return accuracies, best, factor


def fit_ridge_regressor(values, targets, alphas=None, *, xp=np):
    """Fit ridge on real targets.

    Parameters
    ----------
    values : array of shape (n, d), float32 or float64
        Of the namespace ``xp``, or NumPy's.
    targets : ndarray of shape (n, m), float32 or float64
    xp : module, default=numpy
        The namespace to compute with, ``numpy`` or ``cupy``.
    alphas : ndarray of shape (A,) or None

    Returns
    -------
    fitted : FittedHead
        The scores are leave-one-out R2, averaged over the targets.
    posterior : Posterior

    Raises
    ------
    ValueError
        The weights are beyond the range of float64.
    """
    weights = xp.ones(len(values))
    targets = CentredTargets.from_values(xp.asarray(targets), weights)
    features = StandardizedFeatures.from_values(values, weights)
    alphas = GRIDS["ridge"] if alphas is None else alphas
    path = RidgePath.from_features(features, targets.values, alphas)

    def statistic(rows, predictions):
        return ((targets.values[rows, np.newaxis] - predictions) ** 2).sum(axis=0)

    errors, leverages = path.summarize(statistic)
    variation = (targets.values**2).sum(axis=0)
    # A constant target is predicted by its mean, whatever alpha.
    scores = 1 - (errors / xp.where(variation > 0, variation, np.inf)).mean(axis=1)
    scores = to_numpy(scores)
    best = int(scores.argmax())
    predictions = path.leave_one_out_of(best, leverages)
    coef, intercept = features.original_units(
        path.solve(best), path.intercept + targets.mean, targets.exponents
    )
    fitted = FittedHead(coef, intercept, alphas, scores, best)
    posterior = Posterior.from_path(path, best, predictions, leverages[:, best])
    return fitted, replace(posterior, target_exponents=to_numpy(targets.exponents))


class _Problem:
    """One training set, on which a loss is minimised alpha after alpha."""

    def __init__(self, values, targets, weights, loss):
        self._weights = weights[:, np.newaxis] / weights.sum()
        self._targets = targets
        self._loss = loss
        self.features = StandardizedFeatures.from_values(values, weights, 0)
        self._products = Products(self.features)
        self.theta = self.features.xp.zeros((values.shape[1] + 1, targets.shape[1]))

    def minimize(self, alpha):
        """Continue at another alpha; return the decisions of all rows, (n, m)."""
        self.theta, decisions = minimize_loss(
            self._products, self._loss, self._targets, self._weights, alpha, self.theta
        )
        return decisions


def _fit_by_newton(values, labels, targets, weights, head, alphas, n_held_out):
    """Choose alpha on held-out folds, then fit all samples."""
    spectrum = None
    ones = namespace(weights).ones(len(values))
    original = StandardizedFeatures.from_values(values, ones)
    values = original.values
    if values.shape[0] < values.shape[1]:
        # The solutions lie in the span of the samples: their coordinates there are
        # all that is needed, and fewer.
        spectrum = Spectrum.from_features(original)
        if spectrum.eigenvalues.size == 0:
            # Constant features have no coordinates.
            spectrum = None
        else:
            values = spectrum.coordinates().astype(values.dtype)
    folds = [np.arange(len(values) - n_held_out, len(values))] if n_held_out else None
    folds = follow_path(values, labels, targets, weights, head, alphas, folds)
    best, factor = choose_alpha(
        folds.accuracies,
        lambda i: folds.decisions[i],
        labels[folds.held_out],
        folds.weights,
    )
    problem = _Problem(values, targets, weights, LOSSES[head])
    problem.theta = folds.thetas[best]
    problem.minimize(folds.alphas[best])
    coef, intercept = problem.theta[:-1].T, problem.theta[-1]
    if spectrum is None:
        original = replace(problem.features, exponent=original.exponent)
    else:
        coef, intercept = problem.features.of_values(coef, intercept)
        coef = spectrum.expand(coef.T).T
    coef, intercept = original.original_units(coef, intercept)
    return FittedHead(coef, intercept, folds.alphas, folds.accuracies, best, factor)


@dataclass(frozen=True)
class FoldPath:
    """What the folds of a path predict.

    Attributes
    ----------
    alphas : ndarray of shape (A,)
        Those tried.
    accuracies : ndarray of shape (A,)
    held_out : array of shape (h,)
        Rows that were predicted by a head that had not seen them.
    weights : array of shape (h,)
        Of these rows, of sum 1.
    decisions : list of array of shape (h, m)
        Those predictions, for each alpha.
    thetas : list of array of shape (d + 1, m)
        The first fold's solutions.
    """

    alphas: np.ndarray
    accuracies: np.ndarray
    held_out: np.ndarray
    weights: np.ndarray
    decisions: list
    thetas: list


def follow_path(values, labels, targets, weights, head, alphas, folds=None):
    """Minimise on every fold along the path; see ``fit_classifier``.

    Without ``folds``, a list of rows to hold out, they are ``held_out_folds``.

    Returns
    -------
    path : FoldPath
    """
    loss = LOSSES[head]
    patience = PATIENCE if alphas is None else np.inf
    alphas = GRIDS[head] if alphas is None else alphas
    xp = namespace(weights)
    folds = held_out_folds(to_numpy(labels)) if folds is None else folds
    folds = [xp.asarray(fold) for fold in folds]
    problems = []
    for fold in folds:
        # A weight of zero leaves rows out of the training without copying the rest.
        training = weights.copy()
        training[fold] = 0
        problems.append(_Problem(values, targets, training, loss))
    held_out = xp.concatenate(folds)
    held_weights = weights[held_out] / weights[held_out].sum()
    accuracies, losses, decisions, thetas = [], [], [], []
    for alpha in alphas:
        predicted = [
            problem.minimize(alpha)[fold]
            for problem, fold in zip(problems, folds, strict=True)
        ]
        decisions.append(xp.concatenate(predicted))
        thetas.append(problems[0].theta)
        correct = is_correct(decisions[-1], labels[held_out])
        accuracies.append(float(held_weights @ correct.astype(np.float64)))
        losses.append(
            loss(decisions[-1], targets[held_out], held_weights[:, np.newaxis])[0]
        )
        if len(losses) - 1 - int(np.argmin(losses)) >= patience:
            break
    return FoldPath(
        alphas[: len(losses)],
        np.array(accuracies),
        held_out,
        held_weights,
        decisions,
        thetas,
    )
