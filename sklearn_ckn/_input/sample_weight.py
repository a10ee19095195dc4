"""Sample weights and groups: checks before any long computation."""

from numbers import Real

import numpy as np
from sklearn.utils import check_array

from sklearn_ckn._common.arrays import to_numpy


def check_sample_weight(sample_weight, n_samples):
    """Return sample weights as an array.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), float or None
        None, or a number, gives all samples the same weight.
    n_samples : int

    Returns
    -------
    weights : ndarray of shape (n_samples,), float64
        Weights that are too small to change a sum of weights in float64 are 0.

    Raises
    ------
    ValueError
        A weight is negative, NaN or infinite; no weight is positive; the number of
        weights is not that of the samples.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, sample_weight)
    weights = check_array(
        to_numpy(sample_weight),
        ensure_2d=False,
        dtype=np.float64,
        input_name="sample_weight",
    )
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must hold one number for each of the {n_samples} samples, "
            f"got the shape {weights.shape}."
        )
    if weights.min() < 0:
        raise ValueError(
            f"sample_weight must not be negative, got {weights.min()!r}. A weight of 0 "
            "leaves a sample out."
        )
    largest = weights.max()
    if largest == 0:
        raise ValueError(
            "sample_weight must hold a positive number: all weights are zero."
        )
    return np.where(weights < largest * np.finfo(np.float64).eps ** 2, 0.0, weights)


def positive_rows(weights):
    """Return an index of the samples of positive weight.

    If all weights are positive, it is a slice, so that indexing makes no copy.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)

    Returns
    -------
    rows : slice or ndarray of shape (k,), intp
    """
    return slice(None) if weights.all() else np.flatnonzero(weights)


def check_groups(groups, n_samples):
    """Return the groups of samples as numbers from 0.

    Parameters
    ----------
    groups : array-like of shape (n_samples,) or None
        Numbers or strings.
    n_samples : int

    Returns
    -------
    groups : ndarray of shape (n_samples,), intp, or None

    Raises
    ------
    ValueError
        The number of groups is not that of the samples, a value is missing, or all are
        equal.
    """
    if groups is None:
        return None
    groups = np.asarray(to_numpy(groups))
    if groups.shape != (n_samples,):
        raise ValueError(
            f"groups must hold one label for each of the {n_samples} samples, got the "
            f"shape {groups.shape}."
        )
    # NaN differs from itself, and None has no order.
    if (groups != groups).any() or any(each is None for each in groups.flat):
        raise ValueError(
            "groups holds None or NaN: give a sample that belongs to no other a label "
            "of its own."
        )
    try:
        names, groups = np.unique(groups, return_inverse=True)
    except TypeError as error:
        raise ValueError("groups must hold numbers or strings, not both.") from error
    if len(names) < 2:
        raise ValueError(
            "groups must name two groups or more, of which some are held out while "
            "the others train; leave it at None for samples that are independent."
        )
    return groups
