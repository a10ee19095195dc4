"""Validation of arrays: rows of features and images, on the CPU and on a GPU."""

from math import prod

import numpy as np
from sklearn.utils import assert_all_finite, gen_batches
from sklearn.utils.validation import check_X_y, validate_data

from sklearn_ckn._common.arrays import check_current_device, namespace, to_numpy
from sklearn_ckn._common.cache_blocks import BLOCK_VALUES
from sklearn_ckn._input.containers import as_rows
from sklearn_ckn._input.labels import refuse_targets

#: What scikit-learn takes for a y that a method does not have.
NOT_GIVEN = "no_validation"

#: Dtypes of features.
FLOAT_DTYPES = frozenset(map(np.dtype, "fd"))

#: What images may be stored in: the blocks that are worked on are converted, not the
#: whole of them. In either order of bytes, which files have. Others become float64.
IMAGE_DTYPES = frozenset(
    np.dtype(order + code) for order in "<>" for code in "?efdbBhHiIlLqQ"
)


def validate_rows(
    estimator,
    X,
    y=NOT_GIVEN,
    *,
    reset,
    dtypes=FLOAT_DTYPES,
    **y_options,
):
    """Validate rows, or images, as scikit-learn does, on a GPU where they are there.

    Arrays of a dtype that stays are neither converted nor copied, whatever their
    strides; everything else becomes an array by scikit-learn's rules.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n, n_features), or array of shape (n, ...)
        NumPy's or CuPy's.
    y : array-like of shape (n,) or (n, n_targets), optional
    reset : bool
        Whether this is a fit.
    dtypes : set of dtype
        Those that stay; others become float64.
    **y_options
        Of :func:`sklearn.utils.check_X_y`: ``multi_output``, ``y_numeric``.

    Returns
    -------
    X : array of shape (n, n_features), or of the shape of X
    y : ndarray of shape (n,) or (n, n_targets)
        Only if y was given.

    Raises
    ------
    ValueError
        X or y is not as described, or holds NaN or infinity; X is on another GPU
        than the current one.
    TypeError
        X is sparse.
    """
    if y is not None and not (isinstance(y, str) and y == NOT_GIVEN):
        refuse_targets(y, numeric=y_options.get("y_numeric", False))
    is_numpy = namespace(X) is np
    if is_numpy and not _can_stay(X, dtypes):
        rows = as_rows(X)[0]
        order = [np.float64, *dtypes]
        # scikit-learn first looks for NaN in a sum, where the largest numbers of both
        # signs meet as infinities.
        with np.errstate(invalid="ignore"):
            return validate_data(
                estimator, rows, y, reset=reset, dtype=order, **y_options
            )
    if not is_numpy:
        X = _check_gpu_array(X, dtypes)
    # The number and the names of the features: those of the rows that X stands for.
    rows = np.broadcast_to(np.zeros(()), (len(X), prod(X.shape[1:])))
    validate_data(estimator, rows, y, reset=reset, skip_check_array=True)
    _check_finite(X, type(estimator).__name__)
    if isinstance(y, str) and y == NOT_GIVEN:
        return X
    # Only the number of samples matters to y.
    _, y = check_X_y(np.zeros((len(X), 1)), to_numpy(y), **y_options)
    return X, y


def _can_stay(X, dtypes):
    """Return whether X is an array that needs no conversion, and is not empty."""
    return type(X) is np.ndarray and X.ndim > 1 and X.size > 0 and X.dtype in dtypes


def _check_gpu_array(X, dtypes):
    """Return an array of CuPy in a dtype that stays."""
    check_current_device(X)
    if X.ndim < 2 or 0 in X.shape:
        raise ValueError(
            f"Expected an array with rows and columns, got one of shape {X.shape}."
        )
    if X.dtype.kind not in "buif":
        raise ValueError(f"X must hold real numbers, got the dtype {X.dtype}.")
    return X if X.dtype in dtypes else X.astype(np.float64)


def _check_finite(X, name):
    """Raise if an array holds NaN or infinity."""
    if X.dtype.kind != "f":
        return
    if namespace(X) is not np:
        if not bool(namespace(X).isfinite(X).all()):
            raise ValueError("Input X contains NaN or infinity.")
        return
    with np.errstate(invalid="ignore"):
        if X.dtype != np.float16:
            assert_all_finite(X, estimator_name=name, input_name="X")
            return
        # scikit-learn would look for them in an array of booleans, half as large as X.
        for part in gen_batches(len(X), max(1, BLOCK_VALUES // X[0].size)):
            assert_all_finite(X[part], estimator_name=name, input_name="X")
