"""Functions shared by the displays: axes, checks of arguments, and pictures."""

from math import sqrt
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._features import CKNFeatures


def import_pyplot(name):
    """Return ``matplotlib.pyplot``; ``name`` is the display for the error message."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            f"{name} needs matplotlib: install sklearn-ckn[plot]."
        ) from error
    return pyplot


def take_axes(name, axes, n_axes, size, purpose):
    """Return the first ``n_axes`` of the given axes, or those of a new figure.

    Parameters
    ----------
    name : str
        Name of the display.
    axes : array-like of matplotlib.axes.Axes or None
    n_axes : int
    size : tuple of float
        Width and height of each new axes, in inches.
    purpose : str
        Purpose of the axes, for the error message.
    """
    if axes is None:
        width, height = size
        _, axes = import_pyplot(name).subplots(
            1, n_axes, figsize=(width * n_axes, height), layout="constrained"
        )
    axes = np.atleast_1d(axes).ravel()
    if len(axes) < n_axes:
        raise ValueError(
            f"axes must hold {n_axes} axes, for {purpose}, got {len(axes)}."
        )
    return axes[:n_axes]


def check_kind(estimator, *others):
    """Raise unless an estimator is a fitted NetworkPredictor, or one of other kinds."""
    if not isinstance(estimator, (*others, NetworkPredictor)):
        names = [*(kind.__name__ for kind in others), "CKNClassifier", "CKNRegressor"]
        raise TypeError(
            f"estimator must be a {', '.join(names)} or SupervisedCKNClassifier, got "
            f"{type(estimator).__name__}: of a Pipeline or a search pass the step or "
            "the best estimator that is one."
        )
    check_is_fitted(estimator)


def fitted_features(estimator):
    """Return the fitted CKNFeatures of an estimator, which may be the estimator."""
    check_kind(estimator, CKNFeatures)
    is_features = isinstance(estimator, CKNFeatures)
    features = estimator if is_features else estimator.features_
    if features.branches_ is not None:
        name = "estimator" if is_features else "estimator.features_"
        raise ValueError(
            f"estimator has branches, of which one can be shown: pass one of {name}"
            ".branches_."
        )
    return features


def check_layer(layer, n_layers):
    """Return the number of a layer; negative numbers count from the last layer."""
    if not isinstance(layer, Integral) or not -n_layers <= layer < n_layers:
        raise ValueError(
            f"layer must be an integer from 0 to {n_layers - 1}, or from -1 for the "
            f"last to {-n_layers}, got {layer!r}."
        )
    return int(layer) % n_layers


def check_image(image, shape):
    """Return one validated image as (H, W, C)."""
    height, width, n_channels = shape
    accepted = [shape, (height * width * n_channels,)]
    if n_channels == 1:
        accepted.append((height, width))
    if np.shape(image) not in accepted:
        raise ValueError(
            f"image must be one image of shape {shape}, as those of the fit, or its "
            f"{height * width * n_channels} values as a row; got an array of shape "
            f"{np.shape(image)}."
        )
    row = check_array(
        np.asarray(image).reshape(1, -1),
        dtype=[np.float64, np.float32, np.uint8],
        input_name="image",
    )
    return row.reshape(shape)


def as_picture(images):
    """Return images with one or three channels in the last axis.

    Three channels are kept; any other number of channels is averaged to one.
    """
    if images.shape[-1] in (1, 3):
        return images
    return images.mean(axis=-1, keepdims=True)


def stretch(values, low, high):
    """Map values linearly so that ``low`` becomes 0 and ``high`` 1, and clip them.

    All values become 0.5 if ``low`` and ``high`` are equal. NaN remains NaN.
    """
    span = np.where(high > low, high - low, 1)
    stretched = np.clip((values - low) / span, 0, 1)
    return np.where((high > low) | np.isnan(values), stretched, 0.5)


def stretch_around_zero(tiles):
    """Scale pictures (..., height, width, channels) so that zero becomes 0.5.

    Each is divided by its largest absolute value. NaN remains NaN.
    """
    largest = np.nanmax(np.abs(tiles), axis=(-3, -2, -1), keepdims=True)
    return stretch(tiles, -largest, largest)


def mosaic(tiles):
    """Arrange tiles row by row in a picture that is about square.

    Parameters
    ----------
    tiles : ndarray of shape (n, height, width, channels)

    Returns
    -------
    picture : ndarray of shape (picture height, picture width, channels)
        NaN between the tiles and after the last one.
    """
    n_tiles, height, width, n_channels = tiles.shape
    gap = max(1, min(height, width) // 8)
    n_columns = round(sqrt(n_tiles * (height + gap) / (width + gap)))
    n_columns = min(max(n_columns, 1), n_tiles)
    n_rows = -(-n_tiles // n_columns)
    cells = np.full((n_rows * n_columns, height + gap, width + gap, n_channels), np.nan)
    cells[:n_tiles, :height, :width] = tiles
    cells = cells.reshape(n_rows, n_columns, *cells.shape[1:]).swapaxes(1, 2)
    return cells.reshape(n_rows * (height + gap), -1, n_channels)[:-gap, :-gap]


#: Colour where a picture is NaN: not a grey, and rare in photographs.
BACKGROUND = "lightsteelblue"


def show(ax, picture, **image_options):
    """Draw a picture with one or three channels; NaN shows the background colour."""
    if picture.shape[-1] == 3:
        opaque = ~np.isnan(picture).any(axis=-1, keepdims=True)
        picture = np.concatenate([np.nan_to_num(picture), opaque], axis=-1)
    else:
        picture = picture[..., 0]
    ax.imshow(picture, interpolation="nearest", **image_options)
    ax.set(xticks=[], yticks=[], facecolor=BACKGROUND)
    ax.spines[:].set_visible(False)
