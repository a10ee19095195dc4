"""Folds of samples that are held out to choose alpha and to fit probabilities."""

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedKFold

N_FOLDS = 5

# With more samples than this, one fold is enough to compare alphas.
MAX_FOR_ALL_FOLDS = 2000


def held_out_folds(labels, units=None):
    """Divide samples into stratified folds, in their order.

    All samples of a unit are in the same fold, and count as one sample of their most
    frequent class. Every training part contains all classes: a class with one unit is
    never held out, and there are at most as many folds as the next rarest class has
    units.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Positions of the classes.
    units : ndarray of shape (n,) or None, default=None
        Numbers from 0; None makes every sample a unit.

    Returns
    -------
    folds : list of ndarray
        The rows held out in each fold. There are five folds or fewer; only the first is
        returned where there are more than 2,000 units.

    Raises
    ------
    ValueError
        No class has two units.
    """
    units = np.arange(len(labels)) if units is None else units
    strata = most_frequent_labels(labels, units)
    shared = np.flatnonzero(~_has_single_class(labels, units))
    counts = np.bincount(strata[shared], minlength=1)
    # A class that is the most frequent one of a single unit joins the largest class.
    single = counts[strata[shared]] == 1
    joined = np.where(single, counts.argmax(), strata[shared])
    counts = np.bincount(joined)
    n_folds = min(N_FOLDS, counts[counts > 0].min(initial=N_FOLDS))
    folds = [shared]
    if n_folds > 1 and len(shared):
        splitter = StratifiedKFold(n_folds)
        folds = [shared[held_out] for _, held_out in splitter.split(shared, joined)]
    folds = [
        keep_classes(labels, units, np.flatnonzero(np.isin(units, fold)))
        for fold in folds
    ]
    folds = [rows for rows in folds if len(rows)]
    if not folds:
        raise ValueError(
            'Samples are held out for "linear_svm" and "logistic", and for "ridge" '
            "with groups, and y has no class of two samples, or groups, or more, where "
            'equal samples count as one. Without groups, "ridge" needs none.'
        )
    return folds[:1] if len(strata) > MAX_FOR_ALL_FOLDS else folds


def _classes_of_units(labels, units):
    """Return pairs of units and their classes, those of the most samples last."""
    n_classes = labels.max() + 1
    pairs, counts = np.unique(units * n_classes + labels, return_counts=True)
    order = np.argsort(counts, kind="stable")
    return np.divmod(pairs[order], n_classes)


def most_frequent_labels(labels, units):
    """Return the most frequent class of each unit.

    Parameters
    ----------
    labels, units : ndarray of shape (n,)
        Numbers from 0.

    Returns
    -------
    classes : ndarray of shape (number of units,), intp
    """
    owners, classes = _classes_of_units(labels, units)
    strata = np.empty(owners.max() + 1, dtype=np.intp)
    # Where several values are assigned to one place, NumPy keeps the last.
    strata[owners] = classes
    return strata


def _has_single_class(labels, units):
    """Return whether each unit is the only one that has some class."""
    owners, classes = _classes_of_units(labels, units)
    is_single = np.bincount(classes)[classes] == 1
    return np.bincount(owners, is_single) > 0


def keep_classes(labels, units, rows):
    """Return rows to hold out, except the units that the training part needs.

    It needs those units without which it would lack a class.

    Parameters
    ----------
    labels, units : ndarray of shape (n,)
    rows : ndarray of shape (h,)
        All rows of some of the units.
    """
    own = labels[rows]
    is_lost = np.bincount(own, minlength=labels.max() + 1) == np.bincount(labels)
    return rows[~np.isin(units[rows], units[rows][is_lost[own]])]


def group_folds(units):
    """Divide samples with real targets into folds of about equal size.

    Parameters
    ----------
    units : ndarray of shape (n,)
        Numbers from 0; all samples of a unit are in the same fold.

    Returns
    -------
    folds : list of ndarray
        See ``held_out_folds``.

    Raises
    ------
    ValueError
        There is only one unit.
    """
    n_units = units.max() + 1
    if n_units == 1:
        raise ValueError(
            "All samples of positive weight are of one group, so that none can be held "
            "out while others train."
        )
    splitter = GroupKFold(min(N_FOLDS, n_units))
    folds = [held_out for _, held_out in splitter.split(units, groups=units)]
    return folds[:1] if n_units > MAX_FOR_ALL_FOLDS else folds


def scoring_of(splits):
    """Return the public name of how alphas are scored; see ``alpha_scoring_``.

    Parameters
    ----------
    splits : list of tuple, or None
        None stands for samples that are left out one by one.
    """
    if splits is None:
        return "leave_one_out"
    return "held_out" if len(splits) == 1 else "cross_validation"


def complements(folds, n):
    """Return pairs of training rows and held-out rows, one for each fold."""
    return [(np.setdiff1d(np.arange(n), fold), fold) for fold in folds]
