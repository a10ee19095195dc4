"""Differences of neighbouring pixels of signals."""

from sklearn_ckn._common.arrays import namespace


def first_differences(signals):
    """Return the differences of each pixel from the one before, and 0 for the first.

    Parameters
    ----------
    signals : array of shape (n, 1, W, C) or (n, H, 1, C), float32 or float64

    Returns
    -------
    differences : array of the same shape and dtype
    """
    axis = 1 if signals.shape[2] == 1 else 2
    xp = namespace(signals)
    moved = xp.moveaxis(signals, axis, 1)
    differences = xp.zeros_like(signals)
    xp.moveaxis(differences, axis, 1)[:, 1:] = moved[:, 1:] - moved[:, :-1]
    return differences
