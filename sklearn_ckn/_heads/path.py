"""What is known of a path of alphas: the scores of each, the choice, the solution."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._heads.calibration import fit_factor


@dataclass(frozen=True, kw_only=True)
class AlphaChoice:
    """The alphas that were tried, and the one that was chosen.

    Attributes
    ----------
    alphas : ndarray of shape (A,)
        Those tried, from the largest.
    scores : ndarray of shape (A,)
        Accuracy, or R2, on samples that were not trained on.
    best : int
        Position of the alpha that was chosen.
    scoring : str
        What the scores are: see ``scoring_of``.
    factor : float or None
        Of the decisions, for probabilities: see ``fit_factor``.
    """

    alphas: np.ndarray
    scores: np.ndarray
    best: int
    scoring: str
    factor: float | None = None

    @property
    def score(self):
        """The score of the alpha that was chosen."""
        return self.scores[self.best]


@dataclass(frozen=True, kw_only=True)
class FittedHead(AlphaChoice):
    """A linear head, fitted on all samples at the alpha that was chosen.

    Attributes
    ----------
    coef : ndarray of shape (m, d)
        In terms of the features as they came.
    intercept : ndarray of shape (m,)
        In the dtype of the features, or in float64 if float32 cannot hold them.
    """

    coef: np.ndarray
    intercept: np.ndarray

    @classmethod
    def from_choice(cls, choice, coef, intercept):
        """Add the solution to a choice."""
        return cls(**vars(choice), coef=coef, intercept=intercept)


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


def training_weights(weights, train):
    """Return weights of which those beside the rows ``train`` are 0.

    Rows are so left out of a training without a copy of the others.
    """
    training = namespace(weights).zeros_like(weights)
    training[train] = weights[train]
    return training
