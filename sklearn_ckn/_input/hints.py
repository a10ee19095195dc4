"""What is probably wrong with images that are not what was expected."""

import warnings

import numpy as np

# What the two axes of a picture are, where nothing else tells them from channels: so
# many pixels along the shorter one, and so many times as many along the longer.
MIN_PICTURE = 16
MAX_ELONGATION = 2


def is_frame(X):
    """Whether X is a data frame, of pandas, polars or the like."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def refuse_strings(array, name, X_name):
    """Raise if an array with one axis holds strings, as names of files are."""
    if array.ndim == 1 and len(array) and isinstance(array[0], str):
        raise ValueError(
            f"{X_name} holds strings, such as {str(array[0])!r}: give {name} the "
            "images themselves, as arrays of one shape. "
            "numpy.asarray(PIL.Image.open(path)) reads a file."
        )


def describe_shapes(images):
    """Return two different shapes of images in words, or nothing.

    Parameters
    ----------
    images : iterable of images, or a frame with one column of them
    """
    if is_frame(images):
        images = images[images.columns[0]]
    try:
        shapes = [np.shape(image) for image in images]
    except (TypeError, ValueError):
        return ""
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    return "" if other is None else f", such as {shapes[0]} and {other}"


def describe_image_columns(X):
    """Return what to do if X is a frame of images and other columns, or nothing."""
    names = list(X.columns) if is_frame(X) else []
    for name in names:
        first = next(iter(X[name]), None)
        if np.ndim(first) > 0:
            return (
                f"X is a frame of {len(names)} columns, of which {name!r} holds "
                f"images: pass X[{name!r}] alone, or take the columns apart with "
                "sklearn.compose.ColumnTransformer."
            )
    return ""


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
    if _has_channels_first(height, width, n_channels):
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


def _has_channels_first(height, width, n_channels):
    """Whether (H, W, C) images rather are (C, H, W) of some bands.

    They are if more than four channels would make no picture, and

    - the last two axes are equal, as height and width of square images are, and the
      first one differs: a coincidence where channels come last; or
    - the first axis is the shortest and has the length 3 of red, green and blue; or
    - the first axis is the shortest, of 2 or more, and the others make a picture of 16
      pixels or more that is at most twice as long as wide.

    A height of 1 with other lengths is left alone: signals have any number of
    channels. So are maps whose height is not the shortest axis, such as patches of
    hyperspectral images, boards of games and the maps of networks.
    """
    if n_channels <= 4:
        return False
    short, long = sorted((width, n_channels))
    if short == long:
        return height != short
    is_picture = short >= MIN_PICTURE and long <= MAX_ELONGATION * short
    return 1 < height < short and (height == 3 or is_picture)


def _is_opaque(images):
    """Whether the last channel is one positive number, and others are not."""
    last, others = images[..., -1], images[..., :-1]
    return bool(last.min() == last.max() > 0) and bool(others.min() < others.max())
