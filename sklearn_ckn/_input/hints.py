"""Error messages and warnings that recognise common mistakes in the input."""

import sys
from math import prod
from os import PathLike

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.cache_blocks import cache_rows
from sklearn_ckn._common.user_warnings import warn_user

# Two axes are taken for the height and width of a picture if the shorter one has at
# least MIN_PICTURE pixels and the longer one at most MAX_ELONGATION times as many.
MIN_PICTURE = 16
MAX_ELONGATION = 2

# Images of one channel are taken for signals in several channels if one side has from 2
# to MAX_SIGNALS pixels and the other at least MIN_LENGTH times as many.
MAX_SIGNALS = 16
MIN_LENGTH = 4


def is_frame(X):
    """Return whether X is a data frame, of pandas, polars or another library."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def refuse_names(array, name, X_name):
    """Raise if an array holds strings or paths, such as the names of files.

    Numbers in strings are left to scikit-learn.
    """
    if array.dtype.kind not in "OU" or array.size == 0:
        return
    first = array.flat[0]
    if not isinstance(first, str | PathLike):
        return
    is_string = isinstance(first, str)
    if is_string and _is_number(first):
        return
    kind = "strings" if is_string else "paths"
    raise ValueError(
        f"{X_name} holds {kind}, such as {str(first)!r}: give {name} the images "
        "themselves, as arrays of one shape. numpy.asarray(PIL.Image.open(path)) reads "
        "a file."
    )


def _is_number(string):
    try:
        float(string)
    except ValueError:
        return False
    return True


def refuse_picture(X, X_name):
    """Raise if X is a picture of PIL, whose rows would be taken for images."""
    pictures = sys.modules.get("PIL.Image")
    if pictures is not None and isinstance(X, pictures.Image):
        raise ValueError(f"{X_name} seems to be one image: {one_image(X, X_name)}.")


def refuse_palettes(images, X_name):
    """Raise if pictures of PIL hold positions in a palette, which are no brightness.

    Parameters
    ----------
    images : object
        What the user has given. Arrays of two axes or more and data frames of several
        columns hold no pictures.
    """
    pictures = sys.modules.get("PIL.Image")
    if pictures is None or not hasattr(images, "__iter__"):
        return
    if is_frame(images) and len(images.columns) == 1:
        images = images[images.columns[0]]
    if getattr(images, "ndim", 1) != 1:
        return
    if not isinstance(next(iter(images), None), pictures.Image):
        return
    for position, image in enumerate(images):
        if getattr(image, "mode", None) in ("P", "PA"):
            raise ValueError(
                f"Image {position} of {X_name} stores each pixel as a position in a "
                f"palette of colours (mode {image.mode!r}), and positions are no "
                "brightness: pass image.convert('RGB') or image.convert('L')."
            )


def one_image(X, X_name="X"):
    """Return the advice for one image that is given without a batch."""
    batch = f"{X_name}[np.newaxis]" if hasattr(X, "shape") else f"[{X_name}]"
    return f"pass {batch}, a batch of one"


def describe_shapes(images):
    """Return a description of two different shapes of images, or an empty string.

    Parameters
    ----------
    images : iterable of images, or a data frame with one column of images
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
    """Return advice if X is a data frame of images and other columns, or ""."""
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


def explain_mismatch(X, given, fitted):
    """Return advice if the shape of X is a common mistake, or an empty string.

    Parameters
    ----------
    X : object
        What the user has given.
    given : tuple of int
        Its shape.
    fitted : tuple of int
        (H, W, C) of the images of the fit.
    """
    height, width, n_channels = fitted
    channels_first = (n_channels, height, width)
    if given == fitted or (n_channels == 1 and given == (height, width)):
        return f"X seems to be one image: {one_image(X)}."
    if given == channels_first:
        return (
            "X seems to be one image with its channels first: pass "
            "X.transpose(1, 2, 0)[np.newaxis], a batch of one with its channels last."
        )
    length = max(height, width)
    if min(height, width) == 1 and given[1:] == (n_channels, length):
        return (
            "X seems to hold signals with their channels first: pass "
            "sklearn_ckn.signals_to_images(X), images of one row."
        )
    if given[1:] == channels_first:
        return (
            "The channels of X seem to come first: pass X.transpose(0, 2, 3, 1), which "
            "puts them last."
        )
    return ""


def warn_of_channels(images):
    """Warn if images have their channels first, or a channel of constant opacity.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    """
    height, width, n_channels = images.shape[1:]
    if _has_channels_first(height, width, n_channels):
        warn_user(
            f"X holds images of {height} x {width} pixels with {n_channels} channels. "
            f"If they are images of {width} x {n_channels} pixels with their channels "
            "first, pass X.transpose(0, 2, 3, 1); if not, pass "
            f"image_shape={images.shape[1:]} to silence this warning.",
        )
    if n_channels in (2, 4) and height * width > 1 and _is_opaque(images):
        warn_user(
            f"The last of the {n_channels} channels of X is the same everywhere, as "
            "opacity often is. It makes all patches more alike: pass X[..., :-1], "
            f"or image_shape={images.shape[1:]} to silence this warning.",
        )


def warn_of_signals(X):
    """Warn if images of one channel may be signals in several channels.

    Parameters
    ----------
    X : array of shape (n, H, W)
    """
    height, width = X.shape[1:]
    n_channels, length = sorted((height, width))
    if not 2 <= n_channels <= MAX_SIGNALS or length < MIN_LENGTH * n_channels:
        return
    remedy = (
        "sklearn_ckn.signals_to_images(X)" if height < width else "X[:, np.newaxis]"
    )
    warn_user(
        f"X is taken for images of {height} x {width} pixels. If they are signals of "
        f"{length} samples in {n_channels} channels, pass {remedy}, images of one row; "
        f"if not, pass image_shape={height, width} to silence this warning."
    )


def warn_of_patches(settings, image_shape):
    """Warn if the patches of the first layer extend beyond the images.

    They do if they are larger in every direction, or twice as large in one. Patches of
    3 x 3 suit images of two rows as well.

    Parameters
    ----------
    settings : list of LayerSettings
    image_shape : tuple of int
        (H, W, C).
    """
    first = settings[0]
    sides = [size for size in image_shape[:2] if size > 1]
    span = max(map(first.patch_span, image_shape[:2]))
    if not sides or (span <= max(sides) and span < 2 * min(sides)):
        return
    gaps = "" if first.dilation == 1 else f" and dilation={first.dilation}"
    warn_user(
        f"patch_size={first.patch_size}{gaps} makes patches of the first layer extend "
        f"over {span} pixels, beyond images of {image_shape[0]} x {image_shape[1]}, so "
        "that a part of each patch is padding: use a smaller one, or check the shape "
        "of X."
    )


def _has_channels_first(height, width, n_channels):
    """Return whether images (H, W, C) probably are images (C, H, W).

    They probably are if the last axis is longer than 4, the number of channels of most
    pictures, and

    - the last two axes are equal, as the height and width of square images, and the
      first one differs, which would be a coincidence if the channels were last; or
    - the first axis is the shortest and has length 3, as red, green and blue; or
    - the first axis is the shortest and has length 2 or more, and the other two could
      be a picture: at least 16 pixels along the shorter one, and at most twice as many
      along the longer one.

    Other images of height 1 do not count: signals have any number of channels. Images
    whose height is not the shortest axis do not count either, such as patches of
    hyperspectral images, boards of games and maps of networks.
    """
    if n_channels <= 4:
        return False
    short, long = sorted((width, n_channels))
    if short == long:
        return height != short
    is_picture = short >= MIN_PICTURE and long <= MAX_ELONGATION * short
    return 1 < height < short and (height == 3 or is_picture)


def _is_opaque(images):
    """Return whether only the last channel is constant, and positive."""
    lowest, highest, opacity = np.inf, -np.inf, None
    row_values = prod(images.shape[1:])
    for rows in gen_batches(len(images), cache_rows(row_values, namespace(images))):
        block = images[rows]
        last, others = block[..., -1], block[..., :-1]
        opacity = float(last.min()) if opacity is None else opacity
        if not opacity == float(last.min()) == float(last.max()) > 0:
            return False
        lowest = min(lowest, float(others.min()))
        highest = max(highest, float(others.max()))
    return lowest < highest
