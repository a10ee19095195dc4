"""The input rule: rows, (n, H, W) and (n, H, W, C) images become one layout."""

import warnings
from contextlib import contextmanager
from math import prod
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_array, check_X_y, validate_data

from sklearn_ckn._arrays import namespace, to_numpy
from sklearn_ckn._image_hints import (
    describe_shapes,
    explain_mismatch,
    refuse_strings,
    stack_images,
    warn_of_channels,
)


def compute_dtype(dtype):
    """Return the dtype that images of ``dtype`` are computed in.

    float64 stays; float32 and uint8 become float32.
    """
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


@contextmanager
def keep_fitted_on_error(estimator):
    """Put an estimator's attributes back when fitting it fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _stated_shape(image_shape):
    """Check the parameter ``image_shape`` and return it as (H, W, C)."""
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(
        isinstance(size, Integral) and size >= 1 for size in shape
    ):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), "
            f"positive integers, got {image_shape!r}."
        )
    shape = tuple(int(size) for size in shape)
    return shape if len(shape) == 3 else (*shape, 1)


def _as_rows(X, name, X_name):
    """Return X with images flattened to rows, and their shape or None for rows.

    Anything that is not an array of three or four axes, or an array of arrays, is
    returned as it is, for scikit-learn to judge.
    """
    if hasattr(X, "columns") or hasattr(X, "tocsr"):
        return X, None
    try:
        array = X if namespace(X) is not np else stack_images(X)
    except ValueError as error:
        raise ValueError(
            f"The images given to {name} differ in shape{describe_shapes(X)}, or are "
            f"no numbers: {X_name} must be rows (n, H*W*C), (n, H, W) or (n, H, W, C). "
            "Crop or resize the images to one shape, and give all the same channels."
        ) from error
    refuse_strings(array, name, X_name)
    if array.ndim > 4:
        raise ValueError(
            f"Found array with dim {array.ndim}, while {name} expects rows (n, H*W*C), "
            "images (n, H, W) or images (n, H, W, C)."
        )
    if array.ndim < 3:
        return X, None
    shape = (*array.shape[1:], 1)[:3]
    return array.reshape(array.shape[0], prod(shape)), shape


def _check_stated(shape, image_shape):
    """Raise unless the shape that images come in is the one that is stated."""
    if shape is None or image_shape is None:
        return
    if shape != _stated_shape(image_shape):
        raise ValueError(
            f"X holds images of shape {shape}, and image_shape="
            f"{image_shape!r}: make them agree, or leave image_shape at None."
        )


def _check_fitted(X, shape, estimator, name):
    """Raise unless images, or rows with ``shape`` None, are like those of the fit."""
    fitted = estimator.image_shape_
    hint = explain_mismatch(getattr(X, "shape", ()), fitted)
    if shape not in (None, fitted):
        raise ValueError(
            f"X holds images of shape {shape}, but {name} was fitted on images of "
            f"shape {fitted}. {hint}".rstrip()
        )
    if hint and shape is None and X.shape[1] != prod(fitted):
        raise ValueError(f"{name} was fitted on images of shape {fitted}. {hint}")


def _row_shape(image_shape, n_features, name):
    """Return the (H, W, C) shape of rows."""
    if image_shape is None:
        warnings.warn(
            f"X has two dimensions and image_shape is None, so {name} takes "
            f"each row as an image of one pixel with {n_features} channels. Pass "
            "image_shape=(height, width) or (height, width, channels) where rows are "
            f"flattened images, or image_shape=(1, 1, {n_features}) if one pixel is "
            "what you mean.",
            UserWarning,
            stacklevel=5,
        )
        return (1, 1, n_features)
    return _stated_shape(image_shape)


def _to_images(rows, shape, image_shape, X_name):
    """Return validated rows as (n, H, W, C) images."""
    if rows.shape[1] != prod(shape):
        raise ValueError(
            f"{X_name} has {rows.shape[1]} columns, but image_shape={image_shape!r} "
            f"needs {prod(shape)}."
        )
    return rows.reshape(rows.shape[0], *shape)


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
    reset : bool
        Whether this is a fit.
    dtypes : tuple of dtype
        Those that stay; others become the first.
    **y_options
        Of :func:`sklearn.utils.check_X_y`: ``multi_output``, ``y_numeric``.

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
    _, y = check_X_y(np.zeros((len(X), 1)), to_numpy(y), **y_options)
    return X, y


def check_image_pair(X, Y, image_shape, name):
    """Validate the input of a function of two sets of images.

    Parameters
    ----------
    X, Y : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
        Y may be None or X itself, and then stands for X.
    image_shape : tuple of int or None
        (H, W) or (H, W, C) of rows.
    name : str
        The function, for messages.

    Returns
    -------
    left, right : ndarray of shape (n, H, W, C), float64
        The same object where Y stands for X.

    Raises
    ------
    ValueError
        X or Y has a wrong shape, or holds what scikit-learn refuses.
    TypeError
        X or Y is sparse.
    """
    rows, shape = _as_rows(X, name, "X")
    _check_stated(shape, image_shape)
    rows = check_array(rows, dtype=np.float64, estimator=name, input_name="X")
    if shape is None:
        shape = _row_shape(image_shape, rows.shape[1], name)
    left = _to_images(rows, shape, image_shape, "X")
    if Y is None or Y is X:
        return left, left
    rows, other = _as_rows(Y, name, "Y")
    if other not in (None, shape):
        raise ValueError(
            f"X holds images of shape {shape} and Y images of shape {other}: crop or "
            "resize them to one shape."
        )
    rows = check_array(rows, dtype=np.float64, estimator=name, input_name="Y")
    return left, _to_images(rows, shape, shape, "Y")


def check_images(estimator, X, y="no_validation", *, reset, **y_options):
    """Validate the input of an estimator and return it as (n, H, W, C) images.

    Sets ``n_features_in_`` and, where X has string column names,
    ``feature_names_in_`` when ``reset`` is true; checks X against these and
    ``image_shape_`` otherwise.

    Parameters
    ----------
    estimator : estimator with a parameter ``image_shape``
    X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
        NumPy's or anything that it reads, or an array of CuPy.
    y : array-like of shape (n,) or (n, n_targets), optional
        Labels or targets, validated with X.
    reset : bool
        Whether this is a fit.
    **y_options
        What scikit-learn's ``check_X_y`` takes for y: ``multi_output``, ``y_numeric``.

    Returns
    -------
    images : array of shape (n, H, W, C); uint8, float32 or float64
        A view of X where its layout allows; on a GPU where X is.
    y : ndarray of shape (n,) or (n, n_targets)
        Only if y was given.

    Raises
    ------
    ValueError
        X has a wrong shape or holds what scikit-learn refuses: NaN, infinity,
        complex numbers, nothing at all.
    TypeError
        X is sparse.
    """
    name = type(estimator).__name__
    rows, shape = _as_rows(X, name, "X")
    if reset:
        _check_stated(shape, estimator.image_shape)
    else:
        _check_fitted(X, shape, estimator, name)
    validated = validate_rows(
        estimator,
        rows,
        y,
        reset=reset,
        dtypes=(np.float64, np.float32, np.uint8),
        **y_options,
    )
    given_y = not (isinstance(y, str) and y == "no_validation")
    rows, y = validated if given_y else (validated, None)
    if not reset:
        shape = estimator.image_shape_
    elif shape is None:
        shape = _row_shape(estimator.image_shape, rows.shape[1], name)
    images = _to_images(rows, shape, estimator.image_shape, "X")
    if reset and estimator.image_shape is None:
        warn_of_channels(images, stacklevel=5)
    return (images, y) if given_y else images


def restore_layout(images, X):
    """Return images in the layout of the X that ``check_images`` made them from.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)

    Returns
    -------
    images : array of the shape of X
        A view where possible.
    """
    # What has no shape, or one axis of objects, is converted once more.
    shape = getattr(X, "shape", ())
    return images.reshape(shape if len(shape) > 1 else stack_images(X).shape)
