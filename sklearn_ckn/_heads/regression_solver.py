"""Ridge for real targets: errors on held-out samples, by leave-one-out or by splits."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._heads.alpha_search import MARGIN, refine, search_alphas
from sklearn_ckn._heads.cholesky_path import (
    N_FINAL_DIRECTIONS,
    CholeskySolver,
    UncertainGramError,
    suits_cholesky,
)
from sklearn_ckn._heads.left_out import LeftOut
from sklearn_ckn._heads.path import join_alphas, training_weights
from sklearn_ckn._heads.ridge import RidgePath


@dataclass(frozen=True)
class HeldOutErrors:
    """The errors of some alphas on held-out samples.

    Attributes
    ----------
    alphas : array of shape (A,)
        In descending order.
    scores : ndarray of shape (A,)
        R2, averaged over the targets.
    noise_of : callable
        From the position of an alpha to the variance of the targets around the
        regression function, (m,).
    n_scored : int
        Number of samples.
    """

    alphas: np.ndarray
    scores: np.ndarray
    noise_of: Callable
    n_scored: int

    @classmethod
    def of_squares(cls, alphas, errors, variation, noise_of, n_scored):
        """Score weighted sums of squares, given those of the targets.

        Parameters
        ----------
        alphas : array of shape (A,)
        errors : array of shape (A, m)
        variation : array of shape (m,)
            The same sums for predictions by the mean of all targets, which is 0.
        noise_of, n_scored
        """
        xp = namespace(errors)
        # A constant target is predicted exactly, by its mean, with any alpha.
        shares = errors / xp.where(variation > 0, variation, np.inf)
        return cls(alphas, to_numpy(1 - shares.mean(axis=1)), noise_of, n_scored)

    @staticmethod
    def merge(parts):
        """Join those of several alphas; see ``join_alphas``."""
        return join_alphas(parts, "noise_of")

    def contenders(self):
        """Return the positions of the alphas that may be the best, ascending.

        R2 is estimated: other alphas are clearly worse.
        """
        losses = 1 - self.scores
        return np.flatnonzero(losses <= (1 + MARGIN) * losses.min())

    def losses(self, positions):
        """Return 1 - R2 of some alphas, an array."""
        return 1 - self.scores[positions]


class RegressionSolver:
    """Chooses alpha by R2 on held-out samples.

    Parameters
    ----------
    features : StandardizedFeatures
        Of n samples.
    targets : array of shape (n, m)
        Of mean 0.
    weights : array of shape (n,)
        Of mean 1.
    units : array of shape (n,)
    splits : list of tuple of array, or None
        Training rows and the held-out rows that are scored.
    """

    def __init__(self, features, targets, weights, units, splits):
        self._features, self._targets = features, targets
        self._weights = weights
        self._units, self._splits = units, splits

    def choose(self, alphas):
        """Choose one of several alphas.

        Parameters
        ----------
        alphas : ndarray of shape (A,)
            In descending order.

        Returns
        -------
        errors : HeldOutErrors
            Of the alphas that were tried.
        best : int
            Position of the alpha that was chosen.
        path : RidgeSolutions
            Fitted to all samples, of all these alphas or of this one.
        """
        if suits_cholesky(self._features):
            try:
                return self._search(alphas)
            except UncertainGramError:
                # All alphas are very small.
                pass
        if self._splits is not None:
            errors = self._score_splits(partial(RidgePath.from_features, alphas=alphas))
            best = int(errors.scores.argmax())
            chosen = alphas[best : best + 1]
            path = RidgePath.from_features(self._features, self._targets, chosen)
            return errors, best, path
        path = RidgePath.from_features(
            self._features, self._targets, alphas, self._units
        )
        errors = self._score_left_out(path)
        return errors, int(errors.scores.argmax()), path

    def _search(self, alphas):
        """Choose an alpha by Cholesky factors, of some of the alphas."""
        errors = search_alphas(alphas, self._score_group, HeldOutErrors.merge)
        refined, best = refine(errors, self._score_exactly)
        parts = [
            refined.get(i) or self._one_of(errors, i) for i in range(len(errors.alphas))
        ]
        chosen = errors.alphas[best : best + 1]
        path = self._factors.path(chosen, n_directions=0)
        return HeldOutErrors.merge(parts), best, path

    @staticmethod
    def _one_of(errors, index):
        """Return the errors of one alpha."""
        part = slice(index, index + 1)
        return HeldOutErrors(
            errors.alphas[part],
            errors.scores[part],
            lambda _: errors.noise_of(index),
            errors.n_scored,
        )

    @cached_property
    def _factors(self):
        """The CholeskySolver for all samples."""
        return CholeskySolver(self._features, self._targets, self._units)

    def _score_group(self, alphas):
        """Score alphas by estimates of the leverages."""
        if self._splits is None:
            return self._score_left_out(self._factors.path(alphas))

        def path_of(features, targets):
            return CholeskySolver(features, targets).path(alphas)

        return self._score_splits(path_of)

    def _score_exactly(self, alpha):
        """Score one alpha, (1,), that may be chosen."""
        if self._splits is not None:
            return self._score_group(alpha)

        def is_open(rows, low, high):
            # All errors count, and none of them decides.
            return np.zeros(len(low), dtype=bool)

        return self._score_left_out(
            self._factors.path(alpha, N_FINAL_DIRECTIONS, is_open)
        )

    def _score_left_out(self, path):
        """Return HeldOutErrors of the leave-one-out predictions of a path."""
        targets, weights = self._targets, self._weights
        left_out = LeftOut(path)

        def statistic(rows, predictions):
            squares = (targets[rows, np.newaxis] - predictions) ** 2
            return (weights[rows, np.newaxis, np.newaxis] * squares).sum(axis=0)

        def noise_of(index):
            leverages = left_out.leverages[:, index]
            return path.noise_variance(left_out.of(index), leverages, rows)

        errors, rows = left_out.summarize(statistic), left_out.rows
        variation = weights[rows] @ targets[rows] ** 2
        return HeldOutErrors.of_squares(
            path.alphas, errors, variation, noise_of, left_out.n_rows
        )

    def _score_splits(self, path_of):
        """Return HeldOutErrors of the held-out rows of the splits.

        The expected square of an error is the variance of the noise times a factor from
        the weight of the sample and the uncertainty of the solution; for the variance,
        the squares are divided by it and averaged.

        Parameters
        ----------
        path_of : callable
            From features and targets to a path of ridge solutions.
        """
        targets, weights = self._targets, self._weights
        errors, noise, variation = [], [], 0
        for train, held_out in self._splits:
            training = training_weights(weights, train)
            path = path_of(self._features.weighted(training), targets)
            own, rows = targets[held_out], weights[held_out, np.newaxis]
            variation = variation + (rows * own**2).sum(axis=0)
            squares = (own[:, np.newaxis] - path.predict(held_out)) ** 2
            squares *= rows[:, :, np.newaxis]
            errors.append(squares.sum(axis=0))
            growth = 1 + rows / training.sum() * (1 + path.spreads(held_out))
            noise.append((squares / growth[:, :, np.newaxis]).sum(axis=0))
        # Some splits may not be solved for the smallest alphas.
        n_alphas = min(map(len, errors))
        errors, noise = (
            sum(part[:n_alphas] for part in parts) for parts in (errors, noise)
        )
        n_scored = sum(len(rows) for _, rows in self._splits)
        return HeldOutErrors.of_squares(
            path.alphas[:n_alphas],
            errors,
            variation,
            lambda index: noise[index] / n_scored,
            n_scored,
        )
