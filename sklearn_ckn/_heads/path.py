"""Heads fitted along a path of alphas, of which held-out samples choose one."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.calibration import fit_factor
from sklearn_ckn._heads.folds import complements, held_out_folds, scoring_of
from sklearn_ckn._heads.losses import Logistic, SquaredHinge
from sklearn_ckn._heads.newton import Products, minimize_loss
from sklearn_ckn._heads.ridge import RidgePath
from sklearn_ckn._heads.spectrum import Spectrum
from sklearn_ckn._heads.standardize import StandardizedFeatures

LOSSES = {"linear_svm": SquaredHinge(), "logistic": Logistic()}

# Features of fewer values are worked on by one thread: several wait for each other
# longer than the many small products take.
SMALL_VALUES = 2**22

# A path of alphas of the head's own ends after so many in a row that do not lower the
# least held-out loss by at least this part, or once the loss is below this part of
# that of decisions of 0: smaller alphas then cost more and more and change nothing.
PATIENCE = 2
NEGLIGIBLE = 1e-3


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
    scoring : str
        See ``scoring_of``.
    factor : float or None
        Of the decisions, for probabilities: see ``fit_factor``.
    """

    coef: np.ndarray
    intercept: np.ndarray
    alphas: np.ndarray
    scores: np.ndarray
    best: int
    scoring: str
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


def choose_alpha(accuracies, decisions_of, labels, weights, units):
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
    units : array of shape (n,)
        Samples with the same number, counted from 0, are not independent.

    Returns
    -------
    best : int
    factor : float
        Of the decisions, for probabilities.
    """
    accuracies, labels, weights, units = map(
        to_numpy, (accuracies, labels, weights, units)
    )
    highest = accuracies.max()
    shares = np.bincount(units, weights)
    error = np.sqrt(max(highest * (1 - highest), 0) * np.sum(shares**2))
    # Sums of the same weights in another order count as equal.
    tied = np.flatnonzero(accuracies >= highest - error - 1e-10)
    calibrations = [
        fit_factor(to_numpy(decisions_of(i)), labels, weights) for i in tied
    ]
    place = int(np.argmin([log_loss for _, log_loss in calibrations]))
    return int(tied[place]), calibrations[place][0]


def fit_classifier(
    features,
    labels,
    weights,
    *,
    head,
    xp=np,
    alphas=None,
    units=None,
    splits=None,
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
    units : ndarray of shape (n,) or None, default=None
        Samples with the same number, counted from 0, are held out together. With
        ``"ridge"`` and no splits they must have the same features. None takes every
        sample as one.
    splits : list of tuple of ndarray, or None, default=None
        Rows that train and rows held out to choose alpha; None leaves the choice to
        the head: one unit after the other, or folds.

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
    units = np.arange(len(labels)) if units is None else units
    if splits is None and head != "ridge":
        if units.max() == 0:
            # Equal features tell a head nothing but how frequent the classes are, so
            # that none of the samples need be held out from it.
            splits = [(np.arange(len(labels)),) * 2]
        else:
            splits = complements(held_out_folds(labels, units), len(labels))
    labels, targets, weights, units = map(xp.asarray, (labels, targets, weights, units))
    if splits is not None:
        splits = [tuple(map(xp.asarray, split)) for split in splits]
    fit = _fit_ridge if head == "ridge" else _fit_by_newton
    small = features.size < SMALL_VALUES
    with single_threaded_blas() if small else nullcontext():
        return fit(features, labels, targets, weights, head, alphas, units, splits)


def training_weights(weights, train):
    """Return weights of which those beside the rows ``train`` are 0.

    Rows are so left out of a training without a copy of the others.
    """
    training = namespace(weights).zeros_like(weights)
    training[train] = weights[train]
    return training


def _fit_ridge(values, labels, targets, weights, head, alphas, units, splits):
    features = StandardizedFeatures.from_values(values, weights)
    alphas = GRIDS[head] if alphas is None else alphas
    if splits is not None:
        accuracies, best, factor = _choose_ridge(
            features, labels, targets, weights, alphas, units, splits
        )
        path = RidgePath.from_features(features, targets, alphas[best : best + 1])
        coef, intercept = features.original_units(path.solve(0), path.intercept)
        return FittedHead(
            coef, intercept, alphas, accuracies, best, scoring_of(splits), factor
        )
    path = RidgePath.from_features(features, targets, alphas, units)

    def statistic(rows, predictions):
        correct = is_correct(predictions, labels[rows, np.newaxis])
        return weights[rows] @ correct.astype(np.float64)

    accuracies, leverages = path.summarize(statistic)
    best, factor = choose_alpha(
        accuracies,
        lambda i: path.leave_one_out_of(i, leverages),
        labels,
        weights,
        units,
    )
    coef, intercept = features.original_units(path.solve(best), path.intercept)
    return FittedHead(
        coef, intercept, alphas, to_numpy(accuracies), best, scoring_of(None), factor
    )


def _choose_ridge(features, labels, targets, weights, alphas, units, splits):
    """Choose alpha by the held-out rows of splits; see ``choose_alpha``."""
    decisions = []
    for train, held_out in splits:
        training = training_weights(weights, train)
        path = RidgePath.from_features(features.weighted(training), targets, alphas)
        decisions.append(path.predict(held_out))
    xp = namespace(weights)
    decisions = xp.concatenate(decisions)
    held_out = xp.concatenate([rows for _, rows in splits])
    labels, weights = labels[held_out], weights[held_out] / weights[held_out].sum()
    correct = is_correct(decisions, labels[:, np.newaxis])
    accuracies = to_numpy(weights @ correct.astype(np.float64))
    best, factor = choose_alpha(
        accuracies, lambda i: decisions[:, i], labels, weights, units[held_out]
    )
    return accuracies, best, factor


class _Problem:
    """One training set, on which a loss is minimised alpha after alpha."""

    def __init__(self, features, targets, weights, loss):
        self._weights = weights[:, np.newaxis] / weights.sum()
        self._targets = targets
        self._loss = loss
        self.features = features.weighted(weights)
        self._products = Products(self.features)
        self.theta = self.features.xp.zeros((features.shape[1] + 1, targets.shape[1]))

    def minimize(self, alpha):
        """Continue at another alpha; return the decisions of all rows, (n, m)."""
        self.theta, decisions = minimize_loss(
            self._products, self._loss, self._targets, self._weights, alpha, self.theta
        )
        return decisions


def _fit_by_newton(values, labels, targets, weights, head, alphas, units, splits):
    """Choose alpha on held-out folds, then fit all samples."""
    spectrum = None
    ones = namespace(weights).ones(len(values))
    features = original = StandardizedFeatures.from_values(values, ones)
    if values.shape[0] < values.shape[1]:
        # The solutions lie in the span of the samples: their coordinates there are
        # all that is needed, and fewer.
        spectrum = Spectrum.from_features(original)
        if spectrum.eigenvalues.size == 0:
            # Constant features have no coordinates.
            spectrum = None
        else:
            coordinates = spectrum.coordinates().astype(values.dtype)
            features = StandardizedFeatures.from_values(
                coordinates, ones, spectrum.coordinate_errors()
            )
    folds = follow_path(features, labels, targets, weights, head, alphas, splits)
    best, factor = choose_alpha(
        folds.accuracies,
        lambda i: folds.decisions[i],
        labels[folds.held_out],
        folds.weights,
        units[folds.held_out],
    )
    problem = _Problem(features, targets, weights, LOSSES[head])
    problem.theta = folds.thetas[best]
    problem.minimize(folds.alphas[best])
    coef, intercept = problem.theta[:-1].T, problem.theta[-1]
    if spectrum is None:
        coef, intercept = problem.features.original_units(coef, intercept)
    else:
        coef, intercept = problem.features.of_values(coef, intercept)
        coef = spectrum.expand(coef.T).T
        coef, intercept = original.original_units(coef, intercept)
    return FittedHead(
        coef,
        intercept,
        folds.alphas,
        folds.accuracies,
        best,
        scoring_of(splits),
        factor,
    )


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


def follow_path(features, labels, targets, weights, head, alphas, splits):
    """Minimise on every training part along the path; see ``fit_classifier``.

    Returns
    -------
    path : FoldPath
    """
    loss = LOSSES[head]
    stops = alphas is None
    alphas = GRIDS[head] if alphas is None else alphas
    xp = namespace(weights)
    problems = [
        _Problem(features, targets, training_weights(weights, train), loss)
        for train, _ in splits
    ]
    folds = [held_out for _, held_out in splits]
    held_out = xp.concatenate(folds)
    held_weights = weights[held_out] / weights[held_out].sum()

    def held_out_loss(decisions):
        return loss(decisions, targets[held_out], held_weights[:, np.newaxis])[0]

    nothing = held_out_loss(xp.zeros((len(held_out), targets.shape[1])))
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
        losses.append(held_out_loss(decisions[-1]))
        if stops and _is_at_end(losses, nothing):
            break
    return FoldPath(
        alphas[: len(losses)],
        np.array(accuracies),
        held_out,
        held_weights,
        decisions,
        thetas,
    )


def _is_at_end(losses, nothing):
    """Return whether smaller alphas are not worth trying.

    Parameters
    ----------
    losses : list of float
        Held-out losses, of the largest alpha first.
    nothing : float
        The loss of decisions of 0.
    """
    least, waited = losses[0], 0
    for loss in losses[1:]:
        if loss < (1 - NEGLIGIBLE) * least:
            least, waited = loss, 0
        else:
            waited += 1
    return waited >= PATIENCE or losses[-1] < NEGLIGIBLE * nothing
