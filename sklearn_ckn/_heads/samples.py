"""What a head is fitted on: distinct rows, their weights and what is held out."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_namespace
from sklearn_ckn._input.copies import first_copies, merge_copies


@dataclass(frozen=True)
class Samples:
    """Rows of positive weight, of which no two are equal in features and answer.

    The objective of a head knows no difference between rows that are repeated and
    weights. Predictions for samples left out do: a copy that stays tells the head
    the answer, so that alpha, temperature and deviation would be chosen on samples
    that have been seen. Equal features with other answers are held out together for
    the same reason.

    Attributes
    ----------
    values : array of shape (k, d)
        Not copied where no row was left out.
    answers : ndarray of shape (k,) or (k, m)
        Positions of classes, or real targets.
    weights : ndarray of shape (k,), float64
    units : ndarray of shape (k,), intp
        What is held out together has the same number, counted from 0.
    splits : list of tuple of ndarray, or None
        Rows that train and rows held out; None leaves the choice to the head.
    """

    values: np.ndarray
    answers: np.ndarray
    weights: np.ndarray
    units: np.ndarray
    splits: list | None = None

    @classmethod
    def merge(cls, values, answers, weights, *, copies=None, groups=None, splits=None):
        """Merge equal rows; the first of them stays, with the sum of their weights.

        Parameters
        ----------
        values : array of shape (n, d)
            NumPy's or CuPy's.
        answers : ndarray of shape (n,) or (n, m)
        weights : ndarray of shape (n,)
            0 leaves a row out.
        copies : ndarray of shape (n,) or None
            See ``first_copies``; None finds them.
        groups : ndarray of shape (n,) or None
            What is held out together; None stands for rows of equal features. Equal
            rows of two groups are not merged.
        splits : list of tuple of ndarray, or None
            Rows that train and rows held out; equal rows of different parts are not
            merged.

        Returns
        -------
        samples : Samples
        """
        n = len(values)
        copies = first_copies(values) if copies is None else copies
        parts = _parts(splits or [], n)
        first = copies
        if (copies < np.arange(n)).any():
            keys = [copies, answers, parts] + ([] if groups is None else [groups])
            # Counts and codes are exact in float64.
            first = first_copies(np.column_stack(keys).astype(np.float64))
        # Sums of the largest weights could be beyond the range of float64.
        kept, weights = merge_copies(first, weights / weights.max())
        _, units = np.unique(
            (copies if groups is None else groups)[kept], return_inverse=True
        )
        return cls(
            values if len(kept) == n else values[_index(kept, values)],
            answers[kept],
            weights,
            units,
            None if splits is None else _splits(parts[kept]),
        )


def _index(positions, array):
    return to_namespace(positions, namespace(array))


def _parts(splits, n):
    """Return the part of each row in each split: 1 trains, 2 is held out, 0 neither."""
    parts = np.zeros((n, len(splits)), dtype=np.int8)
    for column, (train, held_out) in enumerate(splits):
        parts[train, column] = 1
        parts[held_out, column] = 2
    return parts


def _splits(parts):
    return [
        (np.flatnonzero(column == 1), np.flatnonzero(column == 2)) for column in parts.T
    ]
