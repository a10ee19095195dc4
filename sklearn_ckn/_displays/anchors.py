"""AnchorsDisplay: pictures of the anchors of a layer."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.types import FloatArray
from sklearn_ckn._displays.common import (
    as_picture,
    check_layer,
    fitted_features,
    import_pyplot,
    mosaic,
    show,
    stretch,
    stretch_around_zero,
)
from sklearn_ckn._displays.patches import closest_patches
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._input.images import check_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure


class AnchorsDisplay:
    """Plot of the anchors of a layer.

    Use :meth:`from_estimator` to create it.

    The anchors of the first layer are image patches and are drawn as pictures. Those of
    deeper layers are patches of the maps of the previous layer, which show nothing to
    the eye. Each of them is represented by the parts of given images whose patches in
    that layer are closest to the anchor.

    Parameters
    ----------
    tiles : ndarray of shape (n_anchors, n_tiles, height, width, channels)
        One or more pictures for each anchor, with one channel or three (red, green and
        blue) and values from 0 to 1; NaN is transparent.
    layer : int, default=0
        Number of the layer, for the title.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    FeatureMapDisplay : Plot of the maps of one image.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import AnchorsDisplay, CKNFeatures
    >>> images = load_digits().images
    >>> features = CKNFeatures(n_anchors=(16, 32), random_state=0).fit(images)
    >>> AnchorsDisplay.from_estimator(features).tiles.shape
    (16, 1, 3, 3, 1)
    >>> display = AnchorsDisplay.from_estimator(features, layer=1, images=images[:100])
    >>> display.tiles.shape
    (32, 4, 11, 11, 1)
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(self, tiles: FloatArray, *, layer: int = 0) -> None:
        self.tiles = tiles
        self.layer = layer

    @classmethod
    def from_estimator(
        cls,
        estimator: CKNFeatures | NetworkPredictor,
        *,
        layer: int = 0,
        images: ArrayLike | None = None,
        n_patches: int = 4,
        ax: Axes | None = None,
        cmap: str | Colormap = "gray",
    ) -> Self:
        """Plot the anchors of a layer of a fitted estimator.

        Parameters
        ----------
        estimator : CKNFeatures, CKNClassifier, CKNRegressor or SupervisedCKNClassifier
        layer : int, default=0
            Counted from 0; negative numbers count from the last layer.
        images : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C), default=None
            Images like those of the fit, required for all layers except the first. The
            patches with the smallest angle to an anchor represent it, at most one from
            each image. With None, the anchors of the first layer are drawn themselves.
        n_patches : int, default=4
            Number of image parts to show for each anchor.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.
        cmap : str or matplotlib.colors.Colormap, default="gray"
            Colormap for tiles with one channel.

        Returns
        -------
        display : AnchorsDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        TypeError
            ``estimator`` is not one of these.
        ValueError
            The layer does not exist, or ``images`` are missing or not as described.
        ImportError
            Matplotlib is not installed.

        Notes
        -----
        Anchors and images with one channel are drawn in the colours of ``cmap``, those
        with three channels as red, green and blue, and all others as the mean of their
        channels. The pixels of an anchor are drawn side by side, without the gaps of a
        dilation. Each anchor is divided by its largest absolute value. Zero is the
        lowest colour if no anchor has negative values, and otherwise the middle colour.
        Image parts have the size of the layer's receptive field; where they extend
        beyond the image, nothing is drawn. If ``images`` have no negative values, their
        parts are scaled from the smallest to the largest value of all images, and
        otherwise like anchors.
        """
        features = fitted_features(estimator)
        layer = check_layer(layer, len(features.anchors_))
        if not isinstance(n_patches, Integral) or n_patches < 1:
            raise ValueError(
                f"n_patches must be an integer of at least 1, got {n_patches!r}."
            )
        if images is not None:
            images = check_images(features, to_numpy(images), reset=False)
            network = features._network.first(layer + 1)
            patches = closest_patches(network, images, n_patches)
            tiles = _scale_patches(as_picture(patches), as_picture(images.array))
        elif layer == 0:
            tiles = _anchor_tiles(features)[:, np.newaxis]
        else:
            raise ValueError(
                f"images must be given for layer={layer}: the anchors of all layers "
                "but the first are shown by the parts of images that are closest to "
                "them. Some hundreds of the images of the fit will do."
            )
        return cls(tiles, layer=layer).plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Axes | None = None, cmap: str | Colormap = "gray") -> Self:
        """Draw the anchors row by row, in the order of ``anchors_``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.
        cmap : str or matplotlib.colors.Colormap, default="gray"
            Colormap for tiles with one channel.

        Returns
        -------
        self : AnchorsDisplay

        Raises
        ------
        ImportError
            Matplotlib is not installed.
        """
        if ax is None:
            pyplot = import_pyplot("AnchorsDisplay")
            _, ax = pyplot.subplots(figsize=(6, 6), layout="constrained")
        # The image parts of an anchor are drawn side by side, without a gap.
        n_anchors, n_tiles, height, width, n_channels = self.tiles.shape
        joined = self.tiles.swapaxes(1, 2).reshape(
            n_anchors, height, n_tiles * width, n_channels
        )
        show(ax, mosaic(joined), cmap=cmap, vmin=0, vmax=1)
        ax.set_title(f"anchors of layer {self.layer}")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _anchor_tiles(features):
    """Return the anchors of the first layer as pictures (n, kh, kw, 1 or 3)."""
    network = features._network
    sides = network.settings[0].patch_shape(network.image_shape)
    anchors = network.layers[0].anchors
    tiles = as_picture(anchors.reshape(-1, *sides, network.image_shape[2]))
    if tiles.min() < 0:
        return stretch_around_zero(tiles)
    return stretch(tiles, 0, tiles.max(axis=(1, 2, 3), keepdims=True))


def _scale_patches(patches, images):
    """Return image parts scaled to values from 0 to 1."""
    low, high = images.min(), images.max()
    if low < 0:
        return stretch_around_zero(patches)
    return stretch(patches, low, high)
