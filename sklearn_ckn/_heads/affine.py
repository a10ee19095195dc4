"""Linear functions of features, without overflow whatever the units."""

import numpy as np

from sklearn_ckn._common.arrays import namespace

# Significant bits that the largest weight must keep where it is subnormal.
WEIGHT_BITS = 24


def fits(coef, intercept, dtype):
    """Return whether a dtype can represent linear functions, none of them subnormal.

    Parameters
    ----------
    coef : ndarray of shape (m, d)
    intercept : ndarray of shape (m,)
    dtype : dtype
    """
    limits = np.finfo(dtype)
    sizes = np.concatenate([abs(coef).max(axis=1), abs(intercept)])
    sizes = sizes[sizes > 0].astype(np.float64)
    smallest, largest = float(limits.smallest_normal), float(limits.max)
    return bool(((sizes >= smallest) & (sizes <= largest)).all())


def stored_affine(
    coef, intercept, dtype, scale, coef_exponents=0, intercept_exponents=0
):
    """Convert a linear function to the units of its features and its values.

    Parameters
    ----------
    coef : ndarray of shape (m, d), float64
    intercept : ndarray of shape (m,), float64
    dtype : dtype
        Of the result, if it can represent the function.
    scale : float
        The size of the features that the weights multiply, before the conversion.
    coef_exponents, intercept_exponents : int or ndarray of shape (m,), int, default=0
        Powers of two to multiply by.

    Returns
    -------
    coef : ndarray of shape (m, d)
    intercept : ndarray of shape (m,)
        In ``dtype``, or in float64 if ``dtype`` cannot represent them.

    Raises
    ------
    ValueError
        Float64 cannot represent them either.
    """
    limits = np.finfo(np.float64)
    # Weights that change values of size 1 by less than their rounding may underflow.
    matter = scale * abs(coef).max(axis=1) > limits.eps
    coef_exponents, intercept_exponents = (
        np.asarray(exponents, dtype=np.intc)
        for exponents in (coef_exponents, intercept_exponents)
    )
    with np.errstate(over="ignore"):
        coef = np.ldexp(coef, coef_exponents.reshape(-1, 1))
        intercept = np.ldexp(intercept, intercept_exponents)
    smallest = limits.smallest_subnormal * 2.0**WEIGHT_BITS
    overflow = not (np.isfinite(coef).all() and np.isfinite(intercept).all())
    if overflow or (matter & (abs(coef).max(axis=1) < smallest)).any():
        raise ValueError(
            "The weights of the linear head are beyond the range of float64: multiply "
            "X or y by a constant that brings their units nearer to each other."
        )
    if fits(coef, intercept, dtype):
        return coef.astype(dtype), intercept.astype(dtype)
    return coef, intercept


def affine(X, coef, intercept, dtype):
    """Return X coef^T + intercept.

    Parameters
    ----------
    X : array of shape (n, d), float32 or float64
    coef : ndarray of shape (m, d)
    intercept : ndarray of shape (m,)
    dtype : dtype
        float32 or float64.

    Returns
    -------
    values : array of shape (n, m), ``dtype``
        Of the namespace of X. Values beyond the range of the dtype are clipped to it.
    """
    xp = namespace(X)
    computed = dtype if fits(coef, intercept, dtype) else np.float64
    coef, intercept = (
        xp.asarray(array.astype(computed, copy=False)) for array in (coef, intercept)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        values = X.astype(computed, copy=False) @ coef.T
        values += intercept
    lost = xp.flatnonzero(~xp.isfinite(values).all(axis=1))
    limit = float(np.finfo(dtype).max)
    if len(lost):
        exact = _affine_of_any_size(X[lost], coef, intercept)
        values[lost] = xp.clip(exact, -limit, limit)
    if values.dtype != dtype:
        values = xp.clip(values, -limit, limit).astype(dtype)
    return values


def _affine_of_any_size(X, coef, intercept):
    """Return X coef^T + intercept in float64, infinite only beyond its range."""
    xp = namespace(X)

    def scaled(rows):
        rows = rows.astype(np.float64)
        exponents = xp.frexp(abs(rows).max(axis=1))[1]
        return xp.ldexp(rows, -exponents[:, np.newaxis]), exponents

    (X, row_exponents), (coef, coef_exponents) = scaled(X), scaled(coef)
    exponents = row_exponents[:, np.newaxis] + coef_exponents
    values = X @ coef.T
    # Both terms are added in units of the larger one, so that neither overflows.
    raised = xp.maximum(exponents, xp.frexp(intercept.astype(np.float64))[1])
    values = xp.ldexp(values, exponents - raised)
    values += xp.ldexp(intercept.astype(np.float64), -raised)
    with np.errstate(over="ignore"):
        return xp.ldexp(values, raised)
