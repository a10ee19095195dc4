"""Heads fitted along a path of alphas, of which held-out samples choose one."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._heads._alphas import GRIDS
from sklearn_ckn._heads._folds import held_out_folds
from sklearn_ckn._heads._losses import Logistic, SquaredHinge
from sklearn_ckn._heads._newton import Products, minimize_loss
from sklearn_ckn._heads._posterior import Posterior
from sklearn_ckn._heads._ridge import RidgePath
from sklearn_ckn._heads._spectrum import Spectrum
from sklearn_ckn._heads._standardize import StandardizedFeatures

LOSSES = {"linear_svm": SquaredHinge(), "logistic": Logistic()}

# Alphas in a row that raise the held-out loss before the path ends.
PATIENCE = 2


@dataclass(frozen=True)
class FittedHead:
    """A linear head and what was held out to choose it.

    Attributes
    ----------
    coef : ndarray of shape (m, d), dtype of the features
        In terms of the features as they came.
    intercept : ndarray of shape (m,), dtype of the features
    alphas : ndarray of shape (A,)
        Those tried, from the largest.
    scores : ndarray of shape (A,)
        Accuracy, or R2, on held-out samples.
    best : int
        The alpha that was chosen.
    held_out : ndarray of shape (h,)
        Rows that were predicted by a head that had not seen them.
    decisions : ndarray of shape (h, m)
        Those predictions, with the alpha chosen.
    """

    coef: np.ndarray
    intercept: np.ndarray
    alphas: np.ndarray
    scores: np.ndarray
    best: int
    held_out: np.ndarray
    decisions: np.ndarray


def one_vs_rest(labels, n_classes):
    """Return +1 and -1, (n, n_classes): or the second class's column of two."""
    targets = 2.0 * (labels[:, np.newaxis] == np.arange(n_classes)) - 1
    return targets[:, 1:] if n_classes == 2 else targets


def is_correct(decisions, labels):
    """Return whether the decisions (..., m) are those of the labels (...)."""
    if decisions.shape[-1] == 1:
        return (decisions[..., 0] > 0) == labels
    return decisions.argmax(axis=-1) == labels


def _best(accuracies, losses):
    """Return the highest accuracy's position; ties go to the smallest loss.

    Accuracy is what a classifier is for, and the squared error prefers alphas some
    ten times too large where many classes overlap. On few samples accuracies tie.
    """
    return int(np.lexsort([losses, -np.round(accuracies, 10)])[0])


def fit_classifier(features, labels, weights, *, head, alphas=None):
    """Fit a linear head for classes.

    Parameters
    ----------
    features : ndarray of shape (n, d), float32 or float64
        Not changed and not copied as a whole.
    labels : ndarray of shape (n,)
        Positions of the classes, of which there are two or more.
    weights : ndarray of shape (n,), float64
        Positive; their scale is divided out.
    head : {"ridge", "linear_svm", "logistic"}
    alphas : ndarray of shape (A,) or None
        Positive, from the largest; None is a grid of the head's own.

    Returns
    -------
    fitted : FittedHead
    """
    targets = one_vs_rest(labels, labels.max() + 1)
    weights = weights / weights.sum()
    fit = _fit_ridge if head == "ridge" else _fit_by_newton
    return fit(features, labels, targets, weights, head, alphas)


def _fit_ridge(values, labels, targets, weights, head, alphas):
    features = StandardizedFeatures.from_values(values, weights)
    alphas = GRIDS[head] if alphas is None else alphas
    path = RidgePath.from_features(features, targets, alphas)

    def statistic(rows, predictions):
        correct = is_correct(predictions, labels[rows, np.newaxis])
        errors = np.sum((targets[rows, np.newaxis] - predictions) ** 2, axis=2)
        return weights[rows] @ np.hstack([correct, errors])

    sums, leverages = path.summarize(statistic)
    accuracies, losses = np.split(sums, 2)
    best = _best(accuracies, losses)
    return FittedHead(
        *features.original_units(path.solve(best), path.intercept),
        alphas,
        accuracies,
        best,
        np.arange(len(labels)),
        path.leave_one_out_of(best, leverages),
    )


def fit_ridge_regressor(values, targets, alphas=None):
    """Fit ridge on real targets.

    Parameters
    ----------
    values : ndarray of shape (n, d), float32 or float64
    targets : ndarray of shape (n, m), float64
    alphas : ndarray of shape (A,) or None

    Returns
    -------
    fitted : FittedHead
        The scores are leave-one-out R2, averaged over the targets.
    posterior : Posterior
    """
    features = StandardizedFeatures.from_values(values, np.ones(len(values)))
    alphas = GRIDS["ridge"] if alphas is None else alphas
    path = RidgePath.from_features(features, targets, alphas)

    def statistic(rows, predictions):
        return np.sum((targets[rows, np.newaxis] - predictions) ** 2, axis=0)

    errors, leverages = path.summarize(statistic)
    variation = np.sum((targets - path.intercept) ** 2, axis=0)
    # A constant target is predicted by its mean, whatever alpha.
    scores = 1 - np.mean(errors / np.where(variation > 0, variation, np.inf), axis=1)
    best = int(scores.argmax())
    predictions = path.leave_one_out_of(best, leverages)
    fitted = FittedHead(
        *features.original_units(path.solve(best), path.intercept),
        alphas,
        scores,
        best,
        np.arange(len(targets)),
        predictions,
    )
    return fitted, Posterior.from_path(path, best, predictions, leverages[:, best])


class _Problem:
    """One training set, on which a loss is minimised alpha after alpha."""

    def __init__(self, values, targets, weights, loss):
        self._weights = weights[:, np.newaxis] / weights.sum()
        self._targets = targets
        self._loss = loss
        self.features = StandardizedFeatures.from_values(values, weights)
        self._products = Products(self.features)
        self.theta = np.zeros((values.shape[1] + 1, targets.shape[1]))

    def minimize(self, alpha):
        """Continue at another alpha; return the decisions of all rows, (n, m)."""
        self.theta, decisions = minimize_loss(
            self._products, self._loss, self._targets, self._weights, alpha, self.theta
        )
        return decisions


def _fit_by_newton(values, labels, targets, weights, head, alphas):
    """Choose alpha on held-out folds, then fit all samples."""
    spectrum = None
    if values.shape[0] < values.shape[1]:
        # The solutions lie in the span of the samples: their coordinates there are
        # all that is needed, and fewer.
        original = StandardizedFeatures.from_values(values, np.ones(len(values)))
        spectrum = Spectrum.from_features(original)
        values = spectrum.coordinates().astype(values.dtype)
    chosen = _choose_alpha(values, labels, targets, weights, head, alphas)
    problem = _Problem(values, targets, weights, LOSSES[head])
    problem.theta = chosen.pop("theta")
    problem.minimize(chosen["alphas"][chosen["best"]])
    coef, intercept = problem.features.original_units(
        problem.theta[:-1].T, problem.theta[-1]
    )
    if spectrum is not None:
        coef = spectrum.expand(coef.T.astype(np.float64)).T
        coef, intercept = original.original_units(coef, intercept)
    return FittedHead(coef, intercept, **chosen)


def _choose_alpha(values, labels, targets, weights, head, alphas):
    """Follow the path on every fold and return what FittedHead holds of it."""
    loss = LOSSES[head]
    patience = PATIENCE if alphas is None else np.inf
    alphas = GRIDS[head] if alphas is None else alphas
    folds = held_out_folds(labels)
    problems = []
    for fold in folds:
        # A weight of zero leaves rows out of the training without copying the rest.
        training = weights.copy()
        training[fold] = 0
        problems.append(_Problem(values, targets, training, loss))
    held_out = np.concatenate(folds)
    held_weights = weights[held_out] / weights[held_out].sum()
    accuracies, losses, kept = [], [], []
    for alpha in alphas:
        decisions = np.concatenate(
            [
                problem.minimize(alpha)[fold]
                for problem, fold in zip(problems, folds, strict=True)
            ]
        )
        accuracies.append(held_weights @ is_correct(decisions, labels[held_out]))
        losses.append(
            loss(decisions, targets[held_out], held_weights[:, np.newaxis])[0]
        )
        kept.append((problems[0].theta, decisions))
        if len(losses) - 1 - int(np.argmin(losses)) >= patience:
            break
    best = _best(np.array(accuracies), np.array(losses))
    theta, decisions = kept[best]
    return {
        "alphas": alphas[: len(losses)],
        "scores": np.array(accuracies),
        "best": best,
        "held_out": held_out,
        "decisions": decisions,
        "theta": theta,
    }
