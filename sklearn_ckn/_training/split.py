"""Images held out of the training of a network."""

import numpy as np

from sklearn_ckn._heads.folds import keep_classes, most_frequent_labels

# With fewer held out, their accuracy says nothing.
MIN_HELD_OUT = 10


def split_rows(labels, fraction, rng, units=None):
    """Hold a part of the rows out, about the same part of every class.

    Every class keeps a row at least. Class by class, rows in random order are given
    evenly spaced places between 0 and 1, with one random offset each; those below
    ``fraction`` are held out, so that small classes are drawn from too. Rows of one
    unit stay together, and count as one of its most frequent class.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Positions of the classes.
    fraction : float
        Between 0 and 1.
    rng : RandomState
    units : ndarray of shape (n,) or None, default=None
        Counted from 0; None takes every row as one.

    Returns
    -------
    train, held_out : ndarray of shape (n - h,) and (h,)
        Rows in ascending order; nothing is held out where that would be fewer than 10.
    """
    n = len(labels)
    units = np.arange(n) if units is None else units
    strata = most_frequent_labels(labels, units)
    places = np.empty(len(strata))
    for label in np.unique(strata):
        own = rng.permutation(np.flatnonzero(strata == label))
        places[own] = (np.arange(len(own)) + rng.uniform(size=len(own))) / len(own)
        places[own[-1]] = 1
    held_out = np.flatnonzero((places < fraction)[units])
    held_out = keep_classes(labels, units, held_out)
    if len(held_out) < MIN_HELD_OUT:
        held_out = np.arange(0)
    return np.setdiff1d(np.arange(n), held_out), held_out
