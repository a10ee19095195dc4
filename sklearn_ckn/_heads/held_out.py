"""Samples for a head, with what ``cv`` and ``groups`` say is held out together."""

from dataclasses import replace

import numpy as np
from sklearn.model_selection import check_cv

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.folds import complements, group_folds, held_out_folds
from sklearn_ckn._heads.samples import Samples
from sklearn_ckn._input.sample_weight import check_groups


def held_out_units(groups, copies):
    """Return numbers, counted from 0, that are equal for what is held out together.

    Parameters
    ----------
    groups : array-like of shape (n,) or None
        As users give them; None stands for equal rows.
    copies : ndarray of shape (n,)
        See ``first_copies``.

    Returns
    -------
    units : ndarray of shape (n,), intp

    Raises
    ------
    ValueError
        See ``check_groups``.
    """
    groups = check_groups(groups, len(copies))
    if groups is not None:
        return groups
    return np.unique(copies, return_inverse=True)[1]


def prepare_samples(X, y, labels, weights, *, cv=None, groups=None, copies=None):
    """Merge equal rows and settle what is held out.

    Parameters
    ----------
    X : array of shape (n, d)
    y : ndarray of shape (n,) or (n, m)
        Labels, or real targets.
    labels : ndarray of shape (n,) or None
        Positions of the classes; None for real targets.
    weights : ndarray of shape (n,)
        0 leaves a row out.
    cv : int, splitter, iterable or None
    groups : array-like of shape (n,) or None
    copies : ndarray of shape (n,) or None
        See ``first_copies``; None looks for equal rows of X.

    Returns
    -------
    samples : Samples

    Raises
    ------
    ValueError
        The groups are not as described; nothing can be held out, or what remains
        lacks a class.
    """
    codes = check_groups(groups, len(y))
    splits = None
    if cv is not None:
        rows = X if namespace(X) is np else np.zeros((len(y), 1))
        try:
            splitter = check_cv(cv, y, classifier=labels is not None)
            splits = [
                (_positions(train), _positions(held_out))
                for train, held_out in splitter.split(rows, y, groups)
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(f"cv={cv!r} gives no splits of X: {error}") from error
        if not splits:
            raise ValueError(f"cv={cv!r} gives no splits of X.")
    samples = Samples.merge(
        X,
        y if labels is None else labels,
        weights,
        copies=copies,
        groups=codes,
        splits=splits,
    )
    if cv is None and groups is not None:
        if labels is None:
            folds = group_folds(samples.units)
        else:
            folds = held_out_folds(samples.answers, samples.units)
        splits = complements(folds, len(samples.weights))
        samples = replace(samples, splits=splits)
    _check_splits(samples, None if labels is None else labels.max() + 1)
    return samples


def _positions(rows):
    """Return the positions that a list of positions, or a mask, stands for."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        return np.flatnonzero(rows)
    return rows.astype(np.intp, casting="unsafe" if rows.size == 0 else "same_kind")


def _check_splits(samples, n_classes):
    """Raise unless every split trains and holds out something, and trains all classes.

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
