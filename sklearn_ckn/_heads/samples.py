"""The samples that a head is fitted on: distinct rows with weights and splits."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_namespace
from sklearn_ckn._heads.summed import FeatureSource
from sklearn_ckn._input.copies import first_copies, merge_copies


@dataclass(frozen=True)
class Samples:
    """Rows of positive weight, no two of them equal in features and answer.

    For the objective of a head, a row that is repeated is the same as a row with a
    larger weight. For predictions on samples that are left out, it is not: if a copy of
    such a sample stays in the training part, the head has seen the answer, and alpha,
    temperature and standard deviations would be fitted to samples of the training. This
    is why equal rows are merged, and rows with equal features and different answers
    are held out together.

    Attributes
    ----------
    values : array of shape (k, d), or FeatureSource
        Not copied where no row was merged or left out.
    answers : ndarray of shape (k,) or (k, m)
        Positions of classes, or real targets.
    weights : ndarray of shape (k,), float64
    units : ndarray of shape (k,), intp
        Numbers from 0: samples with the same number are held out together.
    splits : list of tuple of ndarray, or None
        Training rows and held-out rows; None leaves the choice to the loss.
    """

    values: np.ndarray
    answers: np.ndarray
    weights: np.ndarray
    units: np.ndarray
    splits: list | None = None

    @classmethod
    def merge(cls, values, answers, weights, *, copies=None, groups=None, splits=None):
        """Merge equal rows: the first of them stays, with the sum of their weights.

        Parameters
        ----------
        values : array of shape (n, d), or FeatureSource
            NumPy's or CuPy's.
        answers : ndarray of shape (n,) or (n, m)
        weights : ndarray of shape (n,)
            0 leaves a row out.
        copies : ndarray of shape (n,) or None
            See ``first_copies``; None finds them.
        groups : ndarray of shape (n,) or None
            Rows of one group are held out together; None stands for rows with equal
            features. Equal rows of different groups are not merged.
        splits : list of tuple of ndarray, or None
            Training rows and held-out rows. Equal rows in different parts are not
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
        # Divided first: a sum of the largest weights could overflow.
        kept, weights = merge_copies(first, weights / weights.max())
        _, units = np.unique(
            (copies if groups is None else groups)[kept], return_inverse=True
        )
        return cls(
            values if len(kept) == n else _rows(values, kept),
            answers[kept],
            weights,
            units,
            None if splits is None else _splits(parts[kept]),
        )


def _rows(values, positions):
    if isinstance(values, FeatureSource):
        return values.take(positions)
    return values[to_namespace(positions, namespace(values))]


def _parts(splits, n):
    """Return 1 for training rows of each split, 2 for held-out rows, 0 for others."""
    parts = np.zeros((n, len(splits)), dtype=np.int8)
    for column, (train, held_out) in enumerate(splits):
        parts[train, column] = 1
        parts[held_out, column] = 2
    return parts


def _splits(parts):
    return [
        (np.flatnonzero(column == 1), np.flatnonzero(column == 2)) for column in parts.T
    ]
