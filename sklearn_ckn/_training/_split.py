"""Images held out of the training of a network."""

import numpy as np

# With fewer held out, their accuracy says nothing.
MIN_HELD_OUT = 10


def split_rows(labels, fraction, rng):
    """Hold a part of the rows out, about the same part of every class.

    Every class keeps a row at least. Class by class, rows in random order are given
    evenly spaced places between 0 and 1, with one random offset each; those below
    ``fraction`` are held out, so that small classes are drawn from too.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Positions of the classes.
    fraction : float
        Between 0 and 1.
    rng : RandomState

    Returns
    -------
    train, held_out : ndarray of shape (n - h,) and (h,)
        Rows in ascending order; nothing is held out where that would be fewer than 10.
    """
    n = len(labels)
    places = np.empty(n)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        places[rows] = (np.arange(len(rows)) + rng.uniform(size=len(rows))) / len(rows)
        places[rows[-1]] = 1
    is_held_out = places < fraction
    if is_held_out.sum() < MIN_HELD_OUT:
        is_held_out[:] = False
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
