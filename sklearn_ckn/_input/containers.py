"""The containers that images come in: lists, frames, series and files become arrays."""

from math import prod

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._input.hints import describe_shapes, is_frame, refuse_strings


def _stack(X):
    """Return X as an array; arrays in an array of objects as one array.

    Raises
    ------
    ValueError
        X is ragged, or the images differ in shape.
    """
    array = np.asarray(X)
    if array.dtype != object or array.ndim != 1 or not len(array):
        return array
    if np.ndim(array[0]) == 0:
        return array
    return np.asarray([_stack(each) for each in array])


def _image_column(frame):
    """Return the only column of a frame as an array if it holds images, else None."""
    if len(frame.columns) != 1:
        return None
    array = _stack(frame[frame.columns[0]])
    return array if array.ndim > 1 else None


def read_images(X, name, X_name="X"):
    """Return X as an array if it holds images or rows, or else as it is.

    What no array can hold, or what has fewer than two axes, is left to scikit-learn to
    judge, and so are frames of numbers, whose column names it keeps. A frame with one
    column of images, or of rows, stands for what is in the column.

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
        The images differ in shape, X has more axes, or it holds strings.
    """
    if hasattr(X, "tocsr") or isinstance(X, np.matrix):
        return X
    try:
        if is_frame(X):
            array = _image_column(X)
            if array is None:
                return X
        else:
            array = X if namespace(X) is not np else _stack(X)
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
    return array if array.ndim > 1 else X


def stated_by(X):
    """Return the (H, W, C) shape of images, or None for rows.

    Parameters
    ----------
    X : what ``read_images`` returned
    """
    return (*X.shape[1:], 1)[:3] if getattr(X, "ndim", 0) > 2 else None


def as_rows(X):
    """Return images as rows, and their (H, W, C) shape, or None for rows.

    Parameters
    ----------
    X : what ``read_images`` returned

    Returns
    -------
    rows : array of shape (n, H*W*C), or what is no array of images
    shape : tuple of int or None
    """
    shape = stated_by(X)
    return (X if shape is None else X.reshape(len(X), prod(shape))), shape
