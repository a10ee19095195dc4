"""Validation of arrays: rows of features and images, on the CPU and on a GPU."""

from math import isfinite, prod

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_X_y, validate_data

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.dask_arrays import is_dask
from sklearn_ckn._common.lazy_array import LazyArray, largest_magnitude
from sklearn_ckn._input.containers import as_rows
from sklearn_ckn._input.labels import refuse_targets

#: The value of y that tells scikit-learn that a method has no y.
NOT_GIVEN = "no_validation"

#: Dtypes of features.
FLOAT_DTYPES = frozenset(map(np.dtype, "fd"))

#: Dtypes of images that are not converted as a whole but block by block, in both byte
#: orders, since files may have either. Others become float64.
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
    allow_nd=False,
    largest=None,
    **y_options,
):
    """Validate rows, or images, by the rules of scikit-learn, where they are.

    Arrays of one of the dtypes are neither converted nor copied, whatever their
    strides; everything else becomes an array by scikit-learn's rules.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n, n_features), or array of shape (n, ...)
        Of NumPy or CuPy.
    y : array-like of shape (n,) or (n, n_targets), optional
        Of NumPy, CuPy or Dask; it is small, and always becomes an array of NumPy.
    reset : bool
        Whether this is a fit.
    dtypes : set of dtype
        Dtypes that are not converted; others become float64.
    allow_nd : bool, default=False
        Whether X may be images, with more than two axes.
    largest : float or None, default=None
        The ``largest_magnitude`` of X if it is known.
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
        X or y is not as described, or holds NaN or infinity.
    TypeError
        X is sparse.
    """
    y = y.compute() if is_dask(y) else to_numpy(y)
    if y is not None and not (isinstance(y, str) and y == NOT_GIVEN):
        refuse_targets(y, numeric=y_options.get("y_numeric", False))
    is_numpy = namespace(X) is np
    if is_numpy and not needs_no_conversion(X, dtypes, allow_nd):
        rows = as_rows(X)[0] if allow_nd else X
        order = [np.float64, *dtypes]
        # scikit-learn looks for NaN in the sum of X first, in which the largest numbers
        # of both signs can give infinity minus infinity.
        with np.errstate(invalid="ignore"):
            return validate_data(
                estimator, rows, y, reset=reset, dtype=order, **y_options
            )
    if not is_numpy:
        X = _check_gpu_array(X, dtypes, allow_nd)
    _check_features(estimator, X, y, reset)
    largest = largest_magnitude(X) if largest is None else largest
    _check_finite(X, largest, type(estimator).__name__)
    if isinstance(y, str) and y == NOT_GIVEN:
        return X
    # Only the number of samples matters to y.
    _, y = check_X_y(np.zeros((len(X), 1)), y, **y_options)
    return X, y


def needs_no_conversion(X, dtypes, allow_nd):
    """Return whether X is an array that can be used as it is, and is not empty."""
    is_array = type(X) is np.ndarray or isinstance(X, LazyArray)
    if not is_array or X.size == 0 or X.dtype not in dtypes:
        return False
    return X.ndim == 2 or (allow_nd and X.ndim > 2)


def _check_gpu_array(X, dtypes, allow_nd):
    """Return an array of CuPy in one of the dtypes."""
    if X.ndim < 2 or (X.ndim > 2 and not allow_nd) or 0 in X.shape:
        raise ValueError(
            f"Expected an array with rows and columns, got one of shape {X.shape}."
        )
    if X.dtype.kind not in "buif":
        raise ValueError(f"X must hold real numbers, got the dtype {X.dtype}.")
    return X if X.dtype in dtypes else X.astype(np.float64)


def _check_features(estimator, X, y, reset):
    """Check, or at a fit set, the number and the names of the features of an array."""
    shape = len(X), prod(X.shape[1:])
    # An array has no names, which scikit-learn takes longer to find out than a small
    # network to map an image.
    has_names = hasattr(estimator, "feature_names_in_")
    if reset or has_names or shape[1] != estimator.n_features_in_:
        rows = np.broadcast_to(np.zeros(()), shape)
        validate_data(estimator, rows, y, reset=reset, skip_check_array=True)


def _check_finite(X, largest, name):
    """Raise if an array holds NaN or infinity.

    Parameters
    ----------
    X : array
    largest : float
        Its ``largest_magnitude``.
    name : str
        The estimator, for the message.
    """
    if isfinite(largest):
        return
    if namespace(X) is np and not isinstance(X, LazyArray):
        with np.errstate(invalid="ignore"):
            assert_all_finite(X, estimator_name=name, input_name="X")
    raise ValueError("Input X contains NaN or infinity.")
