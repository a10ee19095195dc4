"""How samples are held out to choose alpha: splits, groups and equal samples."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import check_cv

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.folds import complements, group_folds, held_out_folds
from sklearn_ckn._heads.samples import Samples
from sklearn_ckn._input.sample_weight import check_groups


@dataclass(frozen=True)
class HoldOut:
    """How samples are held out to choose alpha.

    Attributes
    ----------
    splits : list of tuple of ndarray, or None
        Training rows and held-out rows; None leaves the choice to the loss.
    groups : ndarray of shape (n,), intp, or None
        Samples of one group are held out together. None stands for samples with equal
        features.
    copies : ndarray of shape (n,), intp, or None
        See ``first_copies``; None compares the rows of the features.
    """

    splits: list | None = None
    groups: np.ndarray | None = None
    copies: np.ndarray | None = None

    @classmethod
    def of_images(cls, images, groups):
        """Check the groups that a user gave, and find equal images.

        Images are compared, not their features: those of equal images may be rounded
        differently.

        Parameters
        ----------
        images : Images
            n of them.
        groups : array-like of shape (n,) or None

        Raises
        ------
        ValueError
            See ``check_groups``.
        """
        groups = check_groups(groups, len(images))
        return cls(groups=groups, copies=images.copies)

    def of_chosen(self, images, rows):
        """Return how some of the images are held out.

        Parameters
        ----------
        images : Images
            The chosen ones.
        rows : ndarray or slice
            Their positions.
        """
        groups = None if self.groups is None else self.groups[rows]
        return HoldOut.of_images(images, groups)

    @classmethod
    def of_rows(cls, X, y, cv, groups, *, classifier):
        """Check the groups that a user gave, and make the splits of ``cv``.

        Parameters
        ----------
        X : array of shape (n, d)
        y : ndarray of shape (n,) or (n, n_targets)
        cv : int, cross-validation splitter, iterable or None
        groups : array-like of shape (n,) or None
        classifier : bool
            Whether an integer ``cv`` means stratified folds.

        Raises
        ------
        ValueError
            See ``check_groups``; ``cv`` does not give splits of X.
        """
        codes = check_groups(groups, len(y))
        if cv is None:
            return cls(groups=codes)
        rows = X if namespace(X) is np else np.zeros((len(y), 1))
        try:
            splits = [
                (_positions(train), _positions(held_out))
                for train, held_out in check_cv(cv, y, classifier=classifier).split(
                    rows, y, groups
                )
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(f"cv={cv!r} gives no splits of X: {error}") from error
        if not splits:
            raise ValueError(f"cv={cv!r} gives no splits of X.")
        return cls(splits, codes)

    @property
    def units(self):
        """The units that are held out together, as numbers from 0, (n,).

        They are the groups, or without groups the sets of equal samples.
        """
        if self.groups is not None:
            return self.groups
        return np.unique(self.copies, return_inverse=True)[1]

    def merge(self, features, answers, weights, n_classes=None):
        """Merge equal samples and adapt the splits to them.

        Parameters
        ----------
        features : array of shape (n, d)
        answers : ndarray of shape (n,) or (n, n_targets)
            Positions of the classes, or real targets.
        weights : ndarray of shape (n,)
            0 leaves a sample out.
        n_classes : int or None, default=None
            None for real targets.

        Returns
        -------
        samples : Samples

        Raises
        ------
        ValueError
            No sample can be held out, or a training part lacks a class.
        """
        samples = Samples.merge(
            features,
            answers,
            weights,
            copies=self.copies,
            groups=self.groups,
            splits=self.splits,
        )
        if self.splits is None and self.groups is not None:
            if n_classes is None:
                folds = group_folds(samples.units)
            else:
                folds = held_out_folds(samples.answers, samples.units)
            splits = complements(folds, len(samples.weights))
            samples = replace(samples, splits=splits)
        _check_splits(samples, n_classes)
        return samples


def _positions(rows):
    """Return the positions given by a list of positions or by a mask."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        return np.flatnonzero(rows)
    return rows.astype(np.intp, casting="unsafe" if rows.size == 0 else "same_kind")


def _check_splits(samples, n_classes):
    """Raise where a side of a split is empty, or a training part lacks a class.

    ``n_classes`` is None for real targets.
    """
    for train, held_out in samples.splits or []:
        if len(train) == 0 or len(held_out) == 0:
            raise ValueError(
                "cv, or groups, must leave samples of positive weight on both sides of "
                f"every split, got one of {len(train)} that train and {len(held_out)} "
                "held out."
            )
        n_trained = len(np.unique(samples.answers[train])) if n_classes else 0
        if n_classes and n_trained < n_classes:
            raise ValueError(
                f"A split of cv trains {n_trained} of the {n_classes} classes: use one "
                "that keeps samples of every class, such as StratifiedKFold or "
                "StratifiedGroupKFold."
            )
