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
    xp = namespace(signals)
    moved = _time_first(signals)
    differences = xp.zeros_like(signals)
    _time_first(differences)[:, 1:] = moved[:, 1:] - moved[:, :-1]
    return differences


def transposed_differences(signals):
    """Apply the transpose of ``first_differences``, which is linear, to signals.

    It maps gradients with respect to the differences to those with respect to the
    signals.
    """
    moved = _time_first(signals)
    result = namespace(signals).zeros_like(signals)
    target = _time_first(result)
    target[:, 1:] += moved[:, 1:]
    target[:, :-1] -= moved[:, 1:]
    return result


def _time_first(signals):
    """Return a view of signals whose second axis is the longer one of an image."""
    axis = 1 if signals.shape[2] == 1 else 2
    return namespace(signals).moveaxis(signals, axis, 1)
