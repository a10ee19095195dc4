"""Leave-one-out predictions of ridge for all alphas, of all samples or many of them."""

import numpy as np
from sklearn.utils.random import sample_without_replacement

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.memory_limits import working_memory_bytes

#: With more samples than this, a fixed random choice of so many is predicted: enough
#: for a standard error of an accuracy of 0.2 %.
MOST_SCORED = 50_000


def scored_positions(n):
    """Return the positions that are scored among n samples, ascending, or None for all.

    They depend only on n.
    """
    if n <= MOST_SCORED:
        return None
    return np.sort(sample_without_replacement(n, MOST_SCORED, random_state=0))


def scored_rows(rows):
    """Return those of some rows that are scored."""
    chosen = scored_positions(len(rows))
    return rows if chosen is None else rows[namespace(rows).asarray(chosen)]


class LeftOut:
    """The leave-one-out predictions of the solutions of a path.

    They are kept if they take at most a quarter of scikit-learn's ``working_memory``;
    otherwise those of one alpha are computed again when they are asked for.

    Parameters
    ----------
    path : RidgeSolutions

    Attributes
    ----------
    rows : array of shape (k,), intp, or slice
        Positions of the samples that are predicted, see ``scored_positions``.
    n_rows : int
        k, the number of these samples.
    leverages : array of shape (k, A)
    """

    def __init__(self, path):
        self._path = path
        n, m = path.targets.shape
        xp = path.features.xp
        chosen = scored_positions(n)
        self._chosen = None if chosen is None else xp.asarray(chosen)
        self.rows = slice(None) if chosen is None else self._chosen
        self.n_rows = n if chosen is None else len(chosen)
        self.leverages = xp.empty((self.n_rows, len(path.alphas)))
        n_bytes = self.leverages.nbytes * m
        self._keeps = n_bytes <= working_memory_bytes() // 4
        self._kept = []

    def summarize(self, statistic):
        """Sum a statistic of the predictions over the samples.

        Parameters
        ----------
        statistic : callable
            A function of positions of rows and the predictions for them,
            (number of rows, A, m), that returns an array.

        Returns
        -------
        total : array
        """
        total = start = 0
        for rows, predictions, leverages in self._path.leave_one_out(self._chosen):
            total = total + statistic(rows, predictions)
            self.leverages[start : start + len(leverages)] = leverages
            start += len(leverages)
            if self._keeps:
                self._kept.append(predictions)
        return total

    def of(self, index):
        """Return the predictions of one of the alphas, (k, m), after ``summarize``."""
        if self._keeps:
            parts = [predictions[:, index] for predictions in self._kept]
            return self._path.features.xp.concatenate(parts)
        leverages = self.leverages[:, index]
        return self._path.leave_one_out_of(index, leverages, self._chosen)
