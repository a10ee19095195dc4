"""What is probably wrong with images that are not what was expected."""

import warnings

import numpy as np


def stack_images(X):
    """Return X as an array; images in an array or a series of objects as one array.

    Raises
    ------
    ValueError
        X is ragged, or the images differ in shape.
    """
    array = np.asarray(X)
    if array.dtype != object or array.ndim != 1 or not len(array):
        return array
    return np.asarray(list(array)) if np.ndim(array[0]) > 1 else array


def refuse_strings(array, name, X_name):
    """Raise if an array with one axis holds strings, as names of files are."""
    if array.ndim == 1 and len(array) and isinstance(array[0], str):
        raise ValueError(
            f"{X_name} holds strings, such as {str(array[0])!r}: give {name} the "
            "images themselves, as arrays of one shape. "
            "numpy.asarray(PIL.Image.open(path)) reads a file."
        )


def describe_shapes(images):
    """Return two different shapes of images in words, or nothing."""
    try:
        shapes = [np.shape(image) for image in images]
    except (TypeError, ValueError):
        return ""
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    return "" if other is None else f", such as {shapes[0]} and {other}"


def explain_mismatch(given, fitted):
    """Return what to do if X has a known mistake, or nothing.

    Parameters
    ----------
    given : tuple of int
        Shape of X.
    fitted : tuple of int
        (H, W, C) of the images of the fit.
    """
    height, width, n_channels = fitted
    channels_first = (n_channels, height, width)
    if given == fitted or (n_channels == 1 and given == (height, width)):
        return "X seems to be one image: pass X[np.newaxis], a batch of one."
    if given == channels_first:
        return (
            "X seems to be one image with its channels first: pass "
            "X.transpose(1, 2, 0)[np.newaxis], a batch of one with its channels last."
        )
    if given[1:] == channels_first:
        return (
            "The channels of X seem to come first: pass X.transpose(0, 2, 3, 1), which "
            "puts them last."
        )
    return ""


def warn_of_channels(images, stacklevel):
    """Warn of images to fit that have their channels first, or a channel of opacity.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    stacklevel : int
        As of ``warnings.warn``.
    """
    height, width, n_channels = images.shape[1:]
    # Heights of 1 are signals, which may have many channels.
    if n_channels > 4 and (height == 3 or (height in (1, 4) and width == n_channels)):
        warnings.warn(
            f"X holds images of {height} x {width} pixels with {n_channels} channels. "
            f"If they are images of {width} x {n_channels} pixels with their channels "
            "first, pass X.transpose(0, 2, 3, 1); if not, pass "
            f"image_shape={images.shape[1:]} to silence this warning.",
            UserWarning,
            stacklevel=stacklevel,
        )
    if n_channels in (2, 4) and height * width > 1 and _is_opaque(images):
        warnings.warn(
            f"The last of the {n_channels} channels of X is the same everywhere, as "
            "opacity often is. It makes all patches more alike: pass X[..., :-1], "
            f"or image_shape={images.shape[1:]} to silence this warning.",
            UserWarning,
            stacklevel=stacklevel,
        )


def _is_opaque(images):
    """Whether the last channel is one positive number, and others are not."""
    last, others = images[..., -1], images[..., :-1]
    return bool(last.min() == last.max() > 0) and bool(others.min() < others.max())
