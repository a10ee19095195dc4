"""A path of alphas: scores, the choice of one, and the head fitted with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._heads.calibration import fit_factor


@dataclass(frozen=True, kw_only=True)
class AlphaChoice:
    """The alphas that were tried, and the one that was chosen.

    Attributes
    ----------
    alphas : ndarray of shape (A,)
        The alphas that were tried, in descending order.
    scores : ndarray of shape (A,)
        Accuracy, or R2, on samples that were not in the training part.
    best : int
        Position of the alpha that was chosen.
    scoring : str
        How the scores were computed: see ``scoring_of``.
    n_scored : int
        Number of samples that were scored.
    factor : float or None
        Factor of the decisions for probabilities: see ``fit_factor``.
    """

    alphas: np.ndarray
    scores: np.ndarray
    best: int
    scoring: str
    n_scored: int
    factor: float | None = None

    @property
    def chosen(self):
        """The alpha that was chosen, (1,)."""
        return self.alphas[self.best : self.best + 1]

    @property
    def score(self):
        """The score of the alpha that was chosen."""
        return self.scores[self.best]

    @property
    def description(self):
        """The choice in words, for a line that is printed."""
        (alpha,) = self.chosen
        tried = f" of {len(self.alphas)} tried" if len(self.alphas) > 1 else ""
        scoring = self.scoring.replace("_", "-")
        return f"alpha={alpha:.2g}{tried}, {scoring} score {self.score:.4f}"


@dataclass(frozen=True, kw_only=True)
class FittedHead(AlphaChoice):
    """A linear head that was fitted to all samples with the chosen alpha.

    Attributes
    ----------
    coef : ndarray of shape (m, d)
        Weights of the features before standardization.
    intercept : ndarray of shape (m,)
        In the dtype of the features, or in float64 where float32 cannot represent
        them.
    """

    coef: np.ndarray
    intercept: np.ndarray

    @classmethod
    def from_choice(cls, choice, coef, intercept):
        """Add the solution to a choice."""
        return cls(**vars(choice), coef=coef, intercept=intercept)


def one_vs_rest(labels, n_classes):
    """Return targets of +1 and -1, (n, n_classes), or (n, 1) for two classes.

    The column of two classes is that of the second one.
    """
    targets = 2.0 * (labels[:, np.newaxis] == np.arange(n_classes)) - 1
    return targets[:, 1:] if n_classes == 2 else targets


def is_correct(decisions, labels):
    """Return whether decisions (..., m) are highest for the labels (...)."""
    if decisions.shape[-1] == 1:
        return (decisions[..., 0] > 0) == labels
    return decisions.argmax(axis=-1) == labels


def join_alphas(parts, name):
    """Join the scores of several alphas on the same samples, in descending order.

    Parameters
    ----------
    parts : list of dataclass
        With ``alphas`` and ``scores``.
    name : str
        Attribute that is a function of the position of an alpha.
    """
    owners = [(part, i) for part in parts for i in range(len(part.alphas))]

    def of_alpha(index):
        part, own = owners[index]
        return getattr(part, name)(own)

    alphas, scores = (
        np.concatenate([getattr(part, values) for part in parts])
        for values in ("alphas", "scores")
    )
    return replace(parts[0], alphas=alphas, scores=scores, **{name: of_alpha})


@dataclass(frozen=True)
class HeldOutScores:
    """The accuracies of some alphas on held-out samples.

    Attributes
    ----------
    alphas : ndarray of shape (A,)
        In descending order.
    scores : ndarray of shape (A,)
        Accuracies.
    decisions_of : callable
        From the position of an alpha to decisions of held-out samples, (n, m).
    labels : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Of sum 1.
    units : ndarray of shape (n,)
        Samples with the same number, from 0, are not independent of each other.
    """

    alphas: np.ndarray
    scores: np.ndarray
    decisions_of: Callable
    labels: np.ndarray
    weights: np.ndarray
    units: np.ndarray

    @classmethod
    def of_arrays(cls, alphas, accuracies, decisions_of, *samples):
        """Take labels, weights and units as arrays of NumPy or CuPy."""
        return cls(
            to_numpy(alphas),
            to_numpy(accuracies),
            decisions_of,
            *map(to_numpy, samples),
        )

    @staticmethod
    def merge(parts):
        """Join those of several alphas; see ``join_alphas``."""
        return join_alphas(parts, "decisions_of")

    def contenders(self):
        """Return the positions of the alphas that may be chosen, ascending.

        With few samples, accuracies are imprecise: those within one standard error of
        the highest count as tied.
        """
        highest = self.scores.max()
        shares = np.bincount(self.units, self.weights)
        error = np.sqrt(max(highest * (1 - highest), 0) * np.sum(shares**2))
        # The tolerance is for sums of the same weights in another order.
        return np.flatnonzero(self.scores >= highest - error - 1e-10)

    def calibrate(self, index):
        """Return the factor of an alpha's decisions, and the log loss with it."""
        decisions = to_numpy(self.decisions_of(index))
        return fit_factor(decisions, self.labels, self.weights)

    def losses(self, positions):
        """Return the log losses of some alphas, an array."""
        return np.array([self.calibrate(i)[1] for i in positions])

    def choose(self):
        """Choose an alpha by the accuracy, and among ties by the log loss.

        The accuracy is the purpose of a classifier. The squared error would choose an
        alpha about ten times too large where many classes overlap. Of the alphas that
        are tied, the one with the lowest log loss of the probabilities is chosen.

        Returns
        -------
        best : int
        factor : float
            Factor of the decisions for probabilities.
        """
        tied = self.contenders()
        calibrations = [self.calibrate(i) for i in tied]
        place = int(np.argmin([log_loss for _, log_loss in calibrations]))
        return int(tied[place]), calibrations[place][0]


def training_weights(weights, train):
    """Return the weights with 0 for all rows except ``train``.

    This leaves rows out of a training without a copy of the others.
    """
    training = namespace(weights).zeros_like(weights)
    training[train] = weights[train]
    return training
