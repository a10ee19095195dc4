"""The split into training images and held-out images."""

import numpy as np

from sklearn_ckn._heads.folds import keep_classes, most_frequent_labels

# The accuracy on fewer held-out images is too inaccurate to choose an epoch.
MIN_HELD_OUT = 10


def split_rows(labels, fraction, rng, units=None):
    """Hold out about the same fraction of the rows of every class.

    At least one row of every class remains for training. The rows of a class are
    shuffled and get evenly spaced numbers between 0 and 1, each with its own random
    offset. Rows with a number below ``fraction`` are held out: in this way rows of
    small classes can be held out too. All rows of a unit stay together and count as one
    row of the most frequent class of the unit.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Positions of the classes.
    fraction : float
        Between 0 and 1.
    rng : RandomState
    units : ndarray of shape (n,) or None, default=None
        Number of the unit of each row, from 0. None makes every row a unit.

    Returns
    -------
    train, held_out : ndarray of shape (n - h,) and (h,)
        Rows in ascending order. No row is held out if there would be fewer than 10.
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
