"""FeatureMapDisplay: the maps of one image after each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.types import AnyArray, FloatArray
from sklearn_ckn._displays.common import (
    as_picture,
    check_image,
    check_layer,
    fitted_features,
    mosaic,
    show,
    stretch,
    take_axes,
)
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._input.dtypes import compute_dtype

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure


class FeatureMapDisplay:
    """Plot of an image and of its maps after each layer.

    Use :meth:`from_estimator` to create it.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    maps : list of ndarray of shape (H', W', n_anchors)
        Maps of the image, for each layer shown.
    layers : list of int
        Numbers of these layers, for the titles.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of matplotlib.axes.Axes, shape (1 + n_layers,)
        Axes of the image and of the maps of each layer.

    See Also
    --------
    AnchorsDisplay : Plot of the anchors of a layer.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import CKNFeatures, FeatureMapDisplay
    >>> images = load_digits().images
    >>> features = CKNFeatures(n_anchors=(16, 32), random_state=0).fit(images)
    >>> display = FeatureMapDisplay.from_estimator(features, images[0])
    >>> [maps.shape for maps in display.maps]
    [(4, 4, 16), (2, 2, 32)]
    """

    axes_: AnyArray
    figure_: Figure | SubFigure

    def __init__(
        self, image: AnyArray, maps: list[FloatArray], *, layers: list[int]
    ) -> None:
        self.image = image
        self.maps = maps
        self.layers = layers

    @classmethod
    def from_estimator(
        cls,
        estimator: CKNFeatures | NetworkPredictor,
        image: ArrayLike,
        *,
        layer: int | None = None,
        axes: Axes | Sequence[Axes] | AnyArray | None = None,
        cmap: str | Colormap = "viridis",
    ) -> Self:
        """Plot the maps of one image.

        Parameters
        ----------
        estimator : CKNFeatures, CKNClassifier, CKNRegressor or SupervisedCKNClassifier
        image : array-like of shape (H, W), (H, W, C) or (H*W*C,)
            One image, of the same shape as in ``fit``.
        layer : int or None, default=None
            The layer to show, counted from 0; negative numbers count from the last.
            None shows all of them.
        axes : array-like of matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.
        cmap : str or matplotlib.colors.Colormap, default="viridis"
            Colormap for the maps.

        Returns
        -------
        display : FeatureMapDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        TypeError
            ``estimator`` is not one of these.
        ValueError
            The layer does not exist, ``image`` is not one image of the same shape as in
            ``fit``, or there are too few ``axes``.
        ImportError
            Matplotlib is not installed.

        Notes
        -----
        The maps of a layer are the input of the next layer; those of the last layer are
        the features. With ``flip_average``, they are the maps of the image without its
        mirror image. There is one map per anchor, in the order of ``anchors_``. The
        colours range from the smallest to the largest value of all maps of a layer. An
        image that does not have one or three channels is drawn as the mean of its
        channels.
        """
        features = fitted_features(estimator)
        n_layers = len(features.anchors_)
        shown = range(n_layers) if layer is None else [check_layer(layer, n_layers)]
        image = check_image(to_numpy(image), features.image_shape_)
        engine, dtype = CPUEngine(), compute_dtype(image.dtype)
        maps = [
            engine.bind(features._network.first(i + 1), dtype).maps(image[np.newaxis])[
                0
            ]
            for i in shown
        ]
        return cls(image, maps, layers=list(shown)).plot(axes=axes, cmap=cmap)

    def plot(
        self,
        *,
        axes: Axes | Sequence[Axes] | AnyArray | None = None,
        cmap: str | Colormap = "viridis",
    ) -> Self:
        """Draw the image and the maps.

        Parameters
        ----------
        axes : array-like of matplotlib.axes.Axes or None, default=None
            Axes for the image and for each layer. None creates a figure.
        cmap : str or matplotlib.colors.Colormap, default="viridis"
            Colormap for the maps.

        Returns
        -------
        self : FeatureMapDisplay

        Raises
        ------
        ValueError
            There are too few ``axes``.
        ImportError
            Matplotlib is not installed.
        """
        n_axes = 1 + len(self.maps)
        purpose = "the image and the maps of each layer"
        self.axes_ = take_axes("FeatureMapDisplay", axes, n_axes, (4, 4), purpose)
        self.figure_ = self.axes_[0].figure
        picture = as_picture(self.image)
        show(
            self.axes_[0],
            stretch(picture, picture.min(), picture.max()),
            cmap="gray",
            vmin=0,
            vmax=1,
        )
        self.axes_[0].set_title("image")
        for ax, layer, maps in zip(self.axes_[1:], self.layers, self.maps, strict=True):
            show(ax, mosaic(np.moveaxis(maps, 2, 0)[..., np.newaxis]), cmap=cmap)
            ax.set_title(f"maps of layer {layer}")
        return self
