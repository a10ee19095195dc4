"""Rows of numbers, validated as scikit-learn does it, on a GPU too."""

import numpy as np
from sklearn.utils.validation import check_X_y, validate_data

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._input.labels import refuse_targets

# What images may be stored in: the blocks that are worked on are converted, not the
# whole of them. In either order of bytes, which files have. Others become float64.
IMAGE_DTYPES = (
    np.float64,
    np.float32,
    np.float16,
    *(np.dtype(f"{order}f{size}") for size in (4, 8) for order in "<>"),
    np.bool_,
    *(
        np.dtype(f"{order}{kind}{size}")
        for kind in "iu"
        for size in (1, 2, 4, 8)
        for order in "<>"
    ),
)


def validate_rows(
    estimator,
    X,
    y="no_validation",
    *,
    reset,
    dtypes=(np.float64, np.float32),
    **y_options,
):
    """Validate rows as scikit-learn does, or where they are if that is a GPU.

    Parameters
    ----------
    estimator : estimator
    X : array-like or cupy.ndarray of shape (n, n_features)
    y : array-like of shape (n,) or (n, n_targets), optional
        Wherever it is: it is small, and validated by the CPU.
    reset : bool
        Whether this is a fit.
    dtypes : tuple of dtype
        Those that stay; others become the first.
    **y_options
        Of :func:`sklearn.utils.check_X_y`: ``multi_output``, ``y_numeric``,
        ``ensure_all_finite``.

    Returns
    -------
    rows : ndarray or cupy.ndarray of shape (n, n_features)
    y : ndarray of shape (n,) or (n, n_targets)
        Only if y was given.

    Raises
    ------
    ValueError
        X or y is not as described, or holds NaN or infinity.
    TypeError
        X is sparse.
    """
    y = to_numpy(y)
    if y is not None and not (isinstance(y, str) and y == "no_validation"):
        refuse_targets(y, numeric=y_options.get("y_numeric", False))
    xp = namespace(X)
    if xp is np:
        # scikit-learn first looks for NaN in a sum, where the largest numbers of both
        # signs meet as infinities.
        with np.errstate(invalid="ignore"):
            return validate_data(
                estimator, X, y, reset=reset, dtype=list(dtypes), **y_options
            )
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"Expected a 2D array with rows and columns, got one of shape {X.shape}."
        )
    if X.dtype.kind not in "buif":
        raise ValueError(f"X must hold real numbers, got the dtype {X.dtype}.")
    # What scikit-learn checks of the number and the names of features.
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if X.dtype not in dtypes:
        X = X.astype(dtypes[0])
    if X.dtype.kind == "f" and not bool(xp.isfinite(X).all()):
        raise ValueError("Input X contains NaN or infinity.")
    if isinstance(y, str) and y == "no_validation":
        return X
    # Only the length of what stands for X matters to y.
    _, y = check_X_y(np.zeros((len(X), 1)), y, **y_options)
    return X, y
