"""Conversion of lists, data frames, series and pictures to arrays of images."""

from math import prod

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.dask_arrays import DaskImages, check_chunks, is_dask
from sklearn_ckn._common.lazy_array import LazyArray, is_lazy
from sklearn_ckn._input.hints import (
    describe_shapes,
    is_frame,
    refuse_names,
    refuse_palettes,
    refuse_picture,
)


def _stack(X):
    """Return X as an array; an array of arrays becomes one array.

    Raises
    ------
    ValueError
        The images differ in shape, or their rows in length.
    """
    array = np.asarray(X)
    if array.dtype != object or array.ndim != 1 or not len(array):
        return array
    if np.ndim(array[0]) == 0:
        return array
    return np.asarray([_stack(each) for each in array])


def _as_array(X):
    """Return X as an array of NumPy or CuPy, or as a LazyArray."""
    if isinstance(X, LazyArray) or namespace(X) is not np:
        return X
    if is_dask(X):
        return DaskImages(X)
    return LazyArray(X) if is_lazy(X) else _stack(X)


def _only_column(frame):
    """Return the only column of a data frame as an array, None if there are others."""
    return _stack(frame[frame.columns[0]]) if len(frame.columns) == 1 else None


def read_images(X, name, X_name="X"):
    """Return X as an array if it holds images or rows, and anything else as it is.

    Objects that are no arrays of two axes or more are left to the validation by
    scikit-learn, as are data frames of numbers, whose column names it stores. A data
    frame with a single column of images, or of rows, is replaced by this column.

    Parameters
    ----------
    X : array-like
    name : str
        The estimator or function, for messages.
    X_name : str
        The argument, for messages.

    Returns
    -------
    X : array of two, three or four axes, or what was given

    Raises
    ------
    ValueError
        The images differ in shape, X has more axes, is one picture or an empty list,
        or it holds strings, paths or pictures with a palette.
    """
    if hasattr(X, "tocsr") or isinstance(X, np.matrix):
        return X
    refuse_picture(X, X_name)
    if is_dask(X):
        check_chunks(X, X_name)
    else:
        refuse_palettes(X, X_name)
    try:
        if is_frame(X):
            array = _only_column(X)
            if array is None:
                return X
        else:
            array = _as_array(X)
    except ValueError as error:
        raise ValueError(
            f"The images given to {name} differ in shape{describe_shapes(X)}, or are "
            f"no numbers: {X_name} must be rows (n, H*W*C), (n, H, W) or (n, H, W, C). "
            "Crop or resize the images to one shape, and give all the same channels."
        ) from error
    if array.shape == (0,):
        raise ValueError(
            f"{X_name} is empty: {name} needs one image or more. If it was made from a "
            "list of files, check the folder and the pattern of their names."
        )
    refuse_names(array, name, X_name)
    if array.ndim > 4:
        raise ValueError(
            f"Found array with dim {array.ndim}, while {name} expects rows (n, H*W*C), "
            "images (n, H, W) or images (n, H, W, C)."
        )
    return array if array.ndim > 1 else X


def image_shape_of(X):
    """Return the shape (H, W, C) of images, or None for rows.

    Parameters
    ----------
    X : object
        The result of ``read_images``.
    """
    return (*X.shape[1:], 1)[:3] if getattr(X, "ndim", 0) > 2 else None


def as_signals(X, shape):
    """Return signals with their channels last as images of one row or one column.

    Parameters
    ----------
    X : object
        The result of ``read_images``.
    shape : tuple of int
        (H, W, C) of the images that are expected.

    Returns
    -------
    X : array of shape (n, H, W, C), or X
        Reshaped if it has the shape (n, length, C), and no other reading fits.
    """
    length, n_channels = max(shape[:2]), shape[2]
    is_signals = (
        getattr(X, "ndim", 0) == 3
        and min(shape[:2]) == 1
        and X.shape[1:] == (length, n_channels)
        # Of as many channels as samples, either may come first.
        and length != n_channels
    )
    return X.reshape(len(X), *shape) if is_signals else X


def as_rows(X):
    """Return images as rows, and their shape (H, W, C), which is None for rows.

    Parameters
    ----------
    X : object
        The result of ``read_images``.

    Returns
    -------
    rows : array of shape (n, H*W*C), or X if it is no array of images
    shape : tuple of int or None
    """
    shape = image_shape_of(X)
    return (X if shape is None else X.reshape(len(X), prod(shape))), shape
