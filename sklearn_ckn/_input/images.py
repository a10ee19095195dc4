"""The input rule: rows, (n, H, W) and (n, H, W, C) images become one layout."""

import warnings
from collections.abc import Sequence
from math import prod, sqrt
from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_array

from sklearn_ckn._common.cache_blocks import BLOCK_VALUES
from sklearn_ckn._common.parameters import plain_value
from sklearn_ckn._input.containers import as_rows, read_images
from sklearn_ckn._input.hints import (
    describe_image_columns,
    explain_mismatch,
    warn_of_channels,
)
from sklearn_ckn._input.rows import IMAGE_DTYPES, validate_rows


def _is_finite_half(rows):
    """Whether rows are an array of float16 without NaN and infinity.

    scikit-learn would look for them in an array of booleans, half as large as X.
    """
    if getattr(rows, "dtype", None) != np.float16 or rows.ndim != 2:
        return False
    step = max(1, BLOCK_VALUES // max(1, rows.shape[1]))
    return all(
        bool(np.isfinite(rows[part]).all()) for part in gen_batches(len(rows), step)
    )


def _stated_shape(image_shape):
    """Check the parameter ``image_shape`` and return it as (H, W, C)."""
    shape = plain_value("image_shape", image_shape)
    if (
        not isinstance(shape, Sequence)
        or len(shape) not in (2, 3)
        or not all(
            isinstance(size, Integral) and not isinstance(size, bool) and size >= 1
            for size in shape
        )
    ):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), "
            f"positive integers, got {image_shape!r}."
        )
    shape = tuple(int(size) for size in shape)
    return shape if len(shape) == 3 else (*shape, 1)


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
    """Raise unless images, or rows with ``shape`` None, are like those of the fit.

    X is what ``read_images`` returned.
    """
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


def _check_rows(rows, name, X_name):
    """Validate rows of a function as scikit-learn does; float64."""
    with np.errstate(invalid="ignore"):
        return check_array(rows, dtype=np.float64, estimator=name, input_name=X_name)


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
    rows, shape = as_rows(read_images(X, name))
    _check_stated(shape, image_shape)
    rows = _check_rows(rows, name, "X")
    if shape is None:
        shape = _row_shape(image_shape, rows.shape[1], name)
    left = _to_images(rows, shape, image_shape, "X")
    if Y is None or Y is X:
        return left, left
    rows, other = as_rows(read_images(Y, name, "Y"))
    if other not in (None, shape):
        raise ValueError(
            f"X holds images of shape {shape} and Y images of shape {other}: crop or "
            "resize them to one shape."
        )
    rows = _check_rows(rows, name, "Y")
    return left, _to_images(rows, shape, shape, "Y")


def check_range(images, layers):
    """Raise if features of images may leave the range of the dtype they are in.

    A patch is at most as long as its pixels times the root of their number, and no
    layer makes it longer.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    layers : list of LayerSettings

    Raises
    ------
    ValueError
        See above.
    """
    dtype = images.dtype
    if dtype not in (np.float32, np.float64):
        return
    largest = max(float(images.max()), -float(images.min()))
    growth = sqrt(images.shape[3]) * prod(layer.patch_size for layer in layers)
    # Twice as much, for rounding.
    if largest > float(np.finfo(dtype).max) / (2 * growth):
        raise ValueError(
            f"X holds values as large as {largest:.3g}, of which features may leave "
            f"the range of {dtype}: divide X by a constant."
        )


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
    images : array of shape (n, H, W, C); real numbers of up to 64 bits
        A view of X where its layout allows, in X's dtype, which ``compute_dtype``
        turns into that of the computation; on a GPU where X is.
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
    X = read_images(X, name)
    rows, shape = as_rows(X)
    if reset:
        _check_stated(shape, estimator.image_shape)
    else:
        _check_fitted(X, shape, estimator, name)
    try:
        validated = validate_rows(
            estimator,
            rows,
            y,
            reset=reset,
            dtypes=IMAGE_DTYPES,
            ensure_all_finite=not _is_finite_half(rows),
            **y_options,
        )
    except ValueError as error:
        remedy = describe_image_columns(X)
        if not remedy:
            raise
        raise ValueError(remedy) from error
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
