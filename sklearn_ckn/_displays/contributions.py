"""ContributionDisplay: which parts of an image speak for a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.types import AnyArray, FloatArray
from sklearn_ckn._displays.common import (
    as_picture,
    check_image,
    check_kind,
    import_pyplot,
    show,
    stretch,
)
from sklearn_ckn._explanations import (
    Decision,
    occlusion_change,
    pixel_gradient,
    position_borders,
    position_parts,
)
from sklearn_ckn._input.images import check_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure

METHODS = ("positions", "gradient", "occlusion")


class ContributionDisplay:
    """Plot of what the parts of an image contribute to a decision.

    Use :meth:`from_estimator` to create it.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    contributions : ndarray of shape (H', W'), (H, W) or (H, W, C)
        Of the positions of the last map, or of the pixels; those of the channels of a
        pixel are added up in the plot.
    decision : float
        The decision for the image, or the predicted target.
    offset : float or None, default=None
        The part of the decision that no position contributes. None if the contributions
        do not add up to the decision.
    target : object, default=None
        Label of the class, or number of the target.
    name : str, default="decision"
        What the decision is, for the title.
    borders : tuple of ndarray of shape (H' + 1,) and (W' + 1,), or None, default=None
        Borders between the positions along both axes, in pixels. None for pixels.

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
    >>> from sklearn_ckn import CKNClassifier, ContributionDisplay
    >>> images, labels = load_digits().images, load_digits().target
    >>> classifier = CKNClassifier(n_anchors=(16, 32), random_state=0)
    >>> _ = classifier.fit(images[:500], labels[:500])
    >>> display = ContributionDisplay.from_estimator(classifier, images[600])
    >>> display.target, display.contributions.shape
    (2, (2, 2))
    >>> total = display.contributions.sum() + display.offset
    >>> bool(abs(total - display.decision) < 1e-9)
    True
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        image: AnyArray,
        contributions: FloatArray,
        *,
        decision: float,
        offset: float | None = None,
        target: Any = None,
        name: str = "decision",
        borders: tuple[FloatArray, FloatArray] | None = None,
    ) -> None:
        self.image = image
        self.contributions = contributions
        self.decision = decision
        self.offset = offset
        self.target = target
        self.name = name
        self.borders = borders

    @classmethod
    def from_estimator(
        cls,
        estimator: NetworkPredictor,
        image: ArrayLike,
        *,
        target: Any = None,
        method: Literal["positions", "gradient", "occlusion"] = "positions",
        reference: ArrayLike | None = None,
        window: int | None = None,
        step: int | None = None,
        ax: Axes | None = None,
        cmap: str | Colormap = "RdBu_r",
        alpha: float = 0.6,
        colorbar: bool = True,
    ) -> Self:
        """Plot what the parts of one image contribute to a decision.

        Parameters
        ----------
        estimator : CKNClassifier, CKNRegressor or SupervisedCKNClassifier
        image : array-like of shape (H, W), (H, W, C) or (H*W*C,)
            One image, of the same shape as in ``fit``.
        target : object, default=None
            A label of ``classes_``, or the number of a target of a regressor. None is
            the class that is predicted, or the only target.
        method : {"positions", "gradient", "occlusion"}, default="positions"
            How contributions are computed, see Notes.
        reference : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C), or None
            For ``"positions"``: images like those of the fit, to whose mean the image
            is compared. With None, the features are compared to zero.
        window : int or None, default=None
            For ``"occlusion"``: the side of the window in pixels. None is about an
            eighth of the height and of the width.
        step : int or None, default=None
            For ``"occlusion"``: pixels from one window to the next, at most ``window``.
            None is half a window.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.
        cmap : str or matplotlib.colors.Colormap, default="RdBu_r"
            Diverging colormap, whose middle is 0. By default red speaks for the class
            or for a larger target, and blue against it.
        alpha : float, default=0.6
            Opacity of the colours, from 0 to 1.
        colorbar : bool, default=True
            Whether to draw a colorbar.

        Returns
        -------
        display : ContributionDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        TypeError
            ``estimator`` is not one of these.
        ValueError
            An argument is not as described, or the estimator does not have what the
            method needs: see Notes.
        ImportError
            Matplotlib is not installed.

        Notes
        -----
        ``"positions"``: a decision is linear in the features. Features times weights,
        added up over the channels at each position of the last map, are the
        contributions; together with ``offset`` they add up to the decision. ``offset``
        is the intercept or, with ``reference``, the mean decision for these images.
        Without it, every position has a large part that is nearly the same for all
        images. A position is drawn over the pixels that are nearest to the middle of
        its receptive field, which is larger than that. With ``flip_average``, the
        features of a position are the mean of those of the image and of its mirror
        image, so that a position also stands for the one on the other side. There is
        nothing to compare if the map has one position, as with
        ``subsampling="global"``, or with ``branches``.

        ``"gradient"``: how much the decision changes with each pixel, by
        back-propagation through the network, the whitening and mirror images included.
        Pixels all of whose patches are zero, such as those of a black background, have
        the gradient 0. Layers with ``center_patches`` or without ``keep_norm`` are not
        supported.

        ``"occlusion"``: how much lower the decision is when a window of the image is
        filled with the image's mean (Zeiler and Fergus, ECCV 2014, sect. 4.2); for each
        pixel the mean over the windows that contain it. It takes as long as predicting
        some hundreds of images.

        For two classes, the decision for the first class is that for the second class
        times -1. Everything is computed in float64 on the CPU.
        """
        check_kind(estimator)
        if method not in METHODS:
            raise ValueError(
                f"method must be one of {', '.join(map(repr, METHODS))}, got "
                f"{method!r}."
            )
        features = estimator.features_
        given = check_image(to_numpy(image), features.image_shape_)
        pixels = given.astype(np.float64)
        decision = Decision.from_estimator(estimator, pixels, target)
        offset = borders = None
        if method == "positions":
            if reference is not None:
                reference = check_images(features, to_numpy(reference), reset=False)
            contributions, offset = position_parts(decision, pixels, reference)
            borders = position_borders(features, 0), position_borders(features, 1)
        elif method == "gradient":
            contributions = pixel_gradient(decision, pixels)
        else:
            contributions = occlusion_change(decision, pixels, window, step)
        return cls(
            given,
            contributions,
            decision=float(decision.values(pixels[np.newaxis])[0]),
            offset=offset,
            target=decision.target,
            name=decision.name,
            borders=borders,
        ).plot(ax=ax, cmap=cmap, alpha=alpha, colorbar=colorbar)

    def plot(
        self,
        *,
        ax: Axes | None = None,
        cmap: str | Colormap = "RdBu_r",
        alpha: float = 0.6,
        colorbar: bool = True,
    ) -> Self:
        """Draw the contributions over the image, or behind the curves of a signal.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.
        cmap : str or matplotlib.colors.Colormap, default="RdBu_r"
            Diverging colormap, whose middle is 0.
        alpha : float, default=0.6
            Opacity of the colours, from 0 to 1.
        colorbar : bool, default=True
            Whether to draw a colorbar.

        Returns
        -------
        self : ContributionDisplay

        Raises
        ------
        ImportError
            Matplotlib is not installed.
        """
        height, width, n_channels = self.image.shape
        is_signal = 1 in (height, width)
        if ax is None:
            pyplot = import_pyplot("ContributionDisplay")
            size = (6, 2.5) if is_signal else (4.5, 4)
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        values = self.contributions
        if values.ndim == 3:
            values = values.sum(axis=-1)
        rows, columns = self.borders or (
            np.arange(size + 1) - 0.5 for size in (height, width)
        )
        if is_signal:
            curves = self.image.reshape(-1, n_channels)
            ax.plot(curves, color="black" if n_channels == 1 else None, linewidth=1)
            values = values.reshape(1, -1)
            columns = columns if height == 1 else rows
            rows = np.asarray(ax.get_ylim())
        else:
            picture = as_picture(self.image)
            # In the lighter half of the greys, so that colours show on dark parts, too.
            picture = (1 + stretch(picture, picture.min(), picture.max())) / 2
            show(ax, picture, cmap="gray", vmin=0, vmax=1)
        # Any limit will do where all contributions are 0.
        limit = abs(values).max() or 1.0
        mesh = ax.pcolormesh(
            columns,
            rows,
            values,
            cmap=cmap,
            vmin=-limit,
            vmax=limit,
            alpha=alpha,
            zorder=0.5 if is_signal else 1,
        )
        if is_signal:
            ax.set(xlim=columns[[0, -1]], ylim=rows)
        if colorbar:
            ax.figure.colorbar(mesh, ax=ax)
        ax.set_title(f"{self.name}: {self.decision:.3g}")
        self.ax_, self.figure_ = ax, ax.figure
        return self
