"""Validation of images, and their conversion to the layout (n, H, W, C)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from numbers import Integral

import joblib
import numpy as np
from sklearn.utils.validation import check_array

from sklearn_ckn._common.arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._common.lazy_array import LazyArray, largest_magnitude
from sklearn_ckn._common.parameters import plain_value
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._input.containers import (
    as_rows,
    as_signals,
    image_shape_of,
    read_images,
)
from sklearn_ckn._input.copies import first_copies
from sklearn_ckn._input.dtypes import compute_dtype
from sklearn_ckn._input.hints import (
    describe_image_columns,
    explain_mismatch,
    warn_of_channels,
    warn_of_signals,
)
from sklearn_ckn._input.rows import (
    IMAGE_DTYPES,
    NOT_GIVEN,
    needs_no_conversion,
    validate_rows,
)


@dataclass(frozen=True, eq=False)
class Images:
    """The validated images of a data set, with their hash and their copies.

    Attributes
    ----------
    array : array of shape (n, H, W, C), or LazyArray; real numbers of up to 64 bits
        If possible, a view of the user's array, on the same device.
    largest : float
        The largest absolute value of a pixel, or a bound on it.
    """

    array: np.ndarray
    largest: float

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        """Return some of the images, in memory; a copy unless ``rows`` is a slice."""
        if isinstance(rows, slice):
            if rows == slice(None):
                return self
        else:
            rows = to_namespace(rows, namespace(self.array))
        array = self.array[rows]
        return Images(array, largest_magnitude(array))

    def keep(self, rows):
        """Return images at ascending positions, which are not read from a file yet."""
        if isinstance(rows, slice) or not isinstance(self.array, LazyArray):
            return self[rows]
        return Images(self.array.take(rows), self.largest)

    @property
    def shape(self):
        """Shape (H, W, C) of an image."""
        return self.array.shape[1:]

    @cached_property
    def dtype(self):
        """The dtype in which they are computed."""
        return compute_dtype(self.array.dtype)

    @property
    def digest(self):
        """A hash of all values, which does not depend on the strides."""
        return self._once("_digest", self._compute_digest)

    def _compute_digest(self):
        if isinstance(self.array, LazyArray):
            return self.array.digest()
        return joblib.hash(np.ascontiguousarray(to_numpy(self.array)))

    @property
    def copies(self):
        """For each image the position of the first image equal to it, (n,)."""
        return self._once("_copies", partial(first_copies, self.array))

    def _once(self, name, compute):
        """Return an attribute, computed when it is asked for the first time.

        Before Python 3.12, cached_property lets one thread compute at a time, for all
        objects: a worker of Dask could wait for itself.
        """
        if name not in vars(self):
            vars(self)[name] = compute()
        return vars(self)[name]

    def to_numpy(self):
        """Return the images in the memory of the CPU."""
        array = to_numpy(self.array)
        return self if array is self.array else replace(self, array=array)


def _stated_shape(image_shape):
    """Validate the parameter ``image_shape`` and return it as (H, W, C)."""
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


def _check_stated(X, shape, image_shape):
    """Raise if images differ in shape from the parameter ``image_shape``.

    X is the result of ``read_images``, of images of ``shape``, or of rows with None.
    """
    if shape is None or image_shape is None:
        return
    stated = _stated_shape(image_shape)
    if shape != stated:
        raise ValueError(
            f"X holds images of shape {shape}, and image_shape="
            f"{image_shape!r}: make them agree, or leave image_shape at None. "
            f"{explain_mismatch(X, X.shape, stated)}".rstrip()
        )


def _check_fitted(X, shape, estimator, name, given):
    """Raise if images, or rows with ``shape`` None, differ from those of the fit.

    X is the result of ``read_images`` for what is given.
    """
    fitted = estimator.image_shape_
    hint = explain_mismatch(given, getattr(X, "shape", ()), fitted)
    if shape not in (None, fitted):
        raise ValueError(
            f"X holds images of shape {shape}, but {name} was fitted on images of "
            f"shape {fitted}. {hint}".rstrip()
        )
    if hint and shape is None and X.shape[1] != prod(fitted):
        raise ValueError(f"{name} was fitted on images of shape {fitted}. {hint}")


def _row_shape(image_shape, n_features, name):
    """Return the shape (H, W, C) of images given as rows."""
    if image_shape is None:
        warn_user(
            f"X has two dimensions and image_shape is None, so {name} takes "
            f"each row as an image of one pixel with {n_features} channels. Pass "
            "image_shape=(height, width) or (height, width, channels) where rows are "
            f"flattened images, or image_shape=(1, 1, {n_features}) if one pixel is "
            "what you mean.",
        )
        return (1, 1, n_features)
    return _stated_shape(image_shape)


def _to_images(rows, shape, image_shape, X_name):
    """Return validated rows, or images, as images (n, H, W, C).

    They are a view unless the values of a row are not adjacent in memory.
    """
    if rows.ndim > 2:
        return rows.reshape(*rows.shape, 1) if rows.ndim == 3 else rows
    if rows.shape[1] != prod(shape):
        raise ValueError(
            f"{X_name} has {rows.shape[1]} columns, but image_shape={image_shape!r} "
            f"needs {prod(shape)}."
        )
    return rows.reshape(rows.shape[0], *shape)


def _check_rows(rows, name, X_name):
    """Validate rows by the rules of scikit-learn and return them in float64."""
    with np.errstate(invalid="ignore"):
        return check_array(rows, dtype=np.float64, estimator=name, input_name=X_name)


def check_image_pair(X, Y, image_shape, name):
    """Validate the input of a function of two sets of images.

    Parameters
    ----------
    X, Y : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
        Y may be None or X itself; both mean that there is only one set.
    image_shape : tuple of int or None
        (H, W) or (H, W, C) of images given as rows.
    name : str
        Name of the function, for messages.

    Returns
    -------
    left, right : ndarray of shape (n, H, W, C), float64
        The same object if there is only one set.

    Raises
    ------
    ValueError
        X or Y has a wrong shape, or values that scikit-learn refuses.
    TypeError
        X or Y is sparse.
    """
    is_one_set = Y is None or Y is X
    X = read_images(X, name)
    if image_shape is not None:
        X = as_signals(X, _stated_shape(image_shape))
    rows, shape = as_rows(X)
    _check_stated(X, shape, image_shape)
    rows = _check_rows(rows, name, "X")
    if shape is None:
        shape = _row_shape(image_shape, rows.shape[1], name)
    left = _to_images(rows, shape, image_shape, "X")
    if is_one_set:
        return left, left
    rows, other = as_rows(as_signals(read_images(Y, name, "Y"), shape))
    if other not in (None, shape):
        raise ValueError(
            f"X holds images of shape {shape} and Y images of shape {other}: crop or "
            "resize them to one shape."
        )
    rows = _check_rows(rows, name, "Y")
    return left, _to_images(rows, shape, shape, "Y")


def check_images(estimator, X, y=NOT_GIVEN, *, reset, **y_options):
    """Validate the input of an estimator and return it as images (n, H, W, C).

    If ``reset`` is true, ``n_features_in_`` is set and, if X has string column names,
    ``feature_names_in_``. Otherwise X is compared with these and with
    ``image_shape_``.

    Parameters
    ----------
    estimator : estimator with a parameter ``image_shape``
    X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
        An array of NumPy or CuPy, or anything that NumPy can convert.
    y : array-like of shape (n,) or (n, n_targets), optional
        Labels or targets, validated with X.
    reset : bool
        Whether this is a fit.
    **y_options
        Options of scikit-learn's ``check_X_y``: ``multi_output``, ``y_numeric``.

    Returns
    -------
    images : Images
    y : ndarray of shape (n,) or (n, n_targets)
        Only if y was given.

    Raises
    ------
    ValueError
        X has a wrong shape or values that scikit-learn refuses: NaN, infinity or
        complex numbers; or it is empty.
    TypeError
        X is sparse.
    """
    name = type(estimator).__name__
    given = X
    X = read_images(X, name)
    if not reset:
        X = as_signals(X, estimator.image_shape_)
    elif estimator.image_shape is not None:
        X = as_signals(X, _stated_shape(estimator.image_shape))
    shape = image_shape_of(X)
    if reset:
        _check_stated(X, shape, estimator.image_shape)
    else:
        _check_fitted(X, shape, estimator, name, given)
    largest = None
    if needs_no_conversion(X, IMAGE_DTYPES, allow_nd=True):
        largest = largest_magnitude(X)
    try:
        validated = validate_rows(
            estimator,
            X,
            y,
            reset=reset,
            dtypes=IMAGE_DTYPES,
            allow_nd=True,
            largest=largest,
            **y_options,
        )
    except ValueError as error:
        remedy = describe_image_columns(X)
        if not remedy:
            raise
        raise ValueError(remedy) from error
    given_y = not (isinstance(y, str) and y == NOT_GIVEN)
    array, y = validated if given_y else (validated, None)
    if not reset:
        shape = estimator.image_shape_
    elif shape is None:
        shape = _row_shape(estimator.image_shape, array.shape[1], name)
    array = _to_images(array, shape, estimator.image_shape, "X")
    images = Images(array, largest_magnitude(array) if largest is None else largest)
    if reset and estimator.image_shape is None:
        if getattr(X, "ndim", 0) == 3:
            warn_of_signals(X)
        warn_of_channels(images.array)
    return (images, y) if given_y else images
