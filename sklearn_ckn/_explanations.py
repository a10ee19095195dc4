"""How a decision comes about: its parts by position, gradient and occlusion.

Everything is computed in float64, on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._common.lazy_array import largest_magnitude
from sklearn_ckn._common.types import FloatArray
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._input.images import Images
from sklearn_ckn._network.network import check_range

# Windows per side of an image, where their size is not given.
WINDOWS_PER_SIDE = 8


@dataclass(frozen=True)
class Decision:
    """A decision for one class, or the prediction of one target: linear in features.

    Attributes
    ----------
    features : CKNFeatures
        The fitted network.
    target : object
        Label of the class, or number of the target.
    name : str
        What the decision is, for a title.
    coef : ndarray of shape (n_features,), float64
    intercept : float
    """

    features: CKNFeatures
    target: Any
    name: str
    coef: FloatArray
    intercept: float

    @classmethod
    def from_estimator(
        cls, estimator: NetworkPredictor, image: FloatArray, target: Any
    ) -> Decision:
        """Return the decision of a fitted estimator for a class or target.

        Parameters
        ----------
        estimator : CKNClassifier, CKNRegressor or SupervisedCKNClassifier
        image : ndarray of shape (H, W, C), float64
        target : object
            A label of ``classes_``, or the number of a target of a regressor. None is
            the class that is predicted for the image, or the only target.

        Raises
        ------
        ValueError
            There is no such class or target, or there are several targets, and
            ``target`` is None.
        """
        coef = np.atleast_2d(estimator.coef_).astype(np.float64)
        intercept = np.atleast_1d(estimator.intercept_).astype(np.float64)
        if is_classifier(estimator):
            name = "decision for class {}"
            labels = estimator.classes_.tolist()
            if len(labels) == 2:
                # The only row is the decision for the second class.
                coef = np.concatenate([-coef, coef])
                intercept = np.concatenate([-intercept, intercept])
        else:
            labels = list(range(len(coef)))
            name = "prediction" if len(labels) == 1 else "prediction of target {}"
            if target is None and len(labels) > 1:
                raise ValueError(
                    f"target must be given: the estimator predicts {len(labels)} "
                    f"targets, numbered from 0 to {len(labels) - 1}."
                )
        if target is None:
            values = _encode(estimator.features_, image[np.newaxis]) @ coef.T
            row = int((values[0] + intercept).argmax())
        elif target in labels:
            row = labels.index(target)
        else:
            raise ValueError(
                f"target must be one of {', '.join(map(repr, labels))}, got {target!r}."
            )
        return cls(
            estimator.features_,
            labels[row],
            name.format(labels[row]),
            coef[row],
            float(intercept[row]),
        )

    def values(self, images: FloatArray) -> FloatArray:
        """Return the decisions for images (n, H, W, C), float64."""
        return _encode(self.features, images) @ self.coef + self.intercept


def _encode(features, images):
    """Return the features of float64 images."""
    images = Images(images, largest_magnitude(images))
    return features._encoder(images, CPUEngine()).features(images.array)


def _mean_features(features, images):
    """Return the mean of the features of images, (n_features,), float64."""
    check_range(images, features._network.norm_growth)
    encoder = CPUEngine().bind(features._network, np.float64)
    blocks = encoder.feature_blocks(images.array)
    return sum(block.sum(axis=0) for _, block in blocks) / len(images)


def position_parts(
    decision: Decision, image: FloatArray, reference: Images | None = None
) -> tuple[FloatArray, float]:
    """Divide a decision into the parts of the positions of the last map.

    A decision is the sum of features times weights, plus an intercept. The part of a
    position is the sum over its channels.

    Parameters
    ----------
    decision : Decision
    image : ndarray of shape (H, W, C), float64
    reference : Images or None, default=None
        The mean of their features is subtracted first.

    Returns
    -------
    parts : ndarray of shape (H', W'), float64
    offset : float
        The intercept, or the mean decision for ``reference``. With all parts it adds up
        to the decision.

    Raises
    ------
    ValueError
        The last map has one position, or there are several networks.
    """
    network = decision.features._network
    if decision.features.branches_ is not None or network.output_shape[:2] == (1, 1):
        found = (
            "the estimator has branches, whose maps are joined"
            if decision.features.branches_ is not None
            else "the map of the last layer has one position, which is all of the image"
        )
        raise ValueError(
            f'method="positions" has no positions to compare: {found}. Use "gradient" '
            'or "occlusion".'
        )
    values, offset = (
        _encode(decision.features, image[np.newaxis])[0],
        decision.intercept,
    )
    if reference is not None:
        mean = _mean_features(decision.features, reference)
        values, offset = values - mean, offset + float(mean @ decision.coef)
    parts = (values * decision.coef).reshape(network.output_shape).sum(axis=-1)
    return parts, offset


def position_borders(features: CKNFeatures, axis: int) -> FloatArray:
    """Return the borders between the positions of the last map, in pixels.

    A pixel belongs to the position whose center is nearest. Pixel i extends from
    i - 1/2 to i + 1/2.

    Parameters
    ----------
    features : CKNFeatures
        A single network.
    axis : {0, 1}
        Height or width.

    Returns
    -------
    borders : ndarray of shape (n_positions + 1,), float64
    """
    network = features._network
    size, n_positions = network.image_shape[axis], network.output_shape[axis]
    start, step, length = network.receptive_field(axis)
    # "global" has one position, and so no border inside the image.
    stride = step * network.settings[-1].subsampling if n_positions > 1 else 0
    first = start + (length - 1) / 2
    inner = first + stride * (np.arange(n_positions - 1) + 0.5)
    return np.clip(np.concatenate([[-0.5], inner, [size - 0.5]]), -0.5, size - 0.5)


def pixel_gradient(decision: Decision, image: FloatArray) -> FloatArray:
    """Return the gradient of a decision with respect to the pixels.

    Parameters
    ----------
    decision : Decision
    image : ndarray of shape (H, W, C), float64

    Returns
    -------
    gradient : ndarray of shape (H, W, C), float64
        Zero at pixels all of whose patches are zero, where there is no gradient.

    Raises
    ------
    ValueError
        The network has a layer without gradient.
    """
    settings = decision.features._network.settings
    if not all(each.responds_by_norm for each in settings):
        raise ValueError(
            'method="gradient" does not support center_patches=True and '
            'keep_norm=False: use "occlusion".'
        )
    images = Images(image[np.newaxis], largest_magnitude(image))
    encoder = decision.features._encoder(images, CPUEngine())
    return encoder.image_gradient(images.array, decision.coef[np.newaxis])[0]


def occlusion_change(
    decision: Decision,
    image: FloatArray,
    window: int | None = None,
    step: int | None = None,
) -> FloatArray:
    """Return how much lower a decision is when parts of the image are hidden.

    A window over the image is filled with the image's mean, of each channel (Zeiler and
    Fergus, ECCV 2014, sect. 4.2). The value of a pixel is the mean over all windows
    that contain it.

    Parameters
    ----------
    decision : Decision
    image : ndarray of shape (H, W, C), float64
    window : int or None, default=None
        Side of the window, at most that of the image. None is about an eighth of each
        side.
    step : int or None, default=None
        Pixels from one window to the next, at most its side. None is half of it.

    Returns
    -------
    change : ndarray of shape (H, W), float64
        The decision for the image minus that for the image without the part.

    Raises
    ------
    ValueError
        ``window`` or ``step`` is not as described.
    """
    sides = _window_sides(image.shape[:2], window)
    _check_size("step", step, max(sides))
    rows, columns = (
        _window_starts(size, side, max(1, side // 2) if step is None else step)
        for size, side in zip(image.shape[:2], sides, strict=True)
    )
    whole = decision.values(image[np.newaxis])[0]
    mean = image.mean(axis=(0, 1))
    sums, counts = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for row in rows:
        # The windows of one row at a time, so that memory holds few copies of the
        # image.
        places = [
            np.s_[row : row + sides[0], left : left + sides[1]] for left in columns
        ]
        hidden = np.repeat(image[np.newaxis], len(places), axis=0)
        for copy, place in zip(hidden, places, strict=True):
            copy[place] = mean
        for place, value in zip(places, decision.values(hidden), strict=True):
            sums[place] += whole - value
            counts[place] += 1
    return sums / counts


def _window_sides(shape, window):
    """Return the height and the width of the windows over an image."""
    _check_size("window", window, max(shape))
    if window is None:
        return [max(1, round(size / WINDOWS_PER_SIDE)) for size in shape]
    return [min(window, size) for size in shape]


def _check_size(name, value, largest):
    """Raise an error unless a size is None or an integer from 1 to ``largest``."""
    if value is not None and (
        not isinstance(value, Integral) or not 1 <= value <= largest
    ):
        raise ValueError(
            f"{name} must be None or an integer from 1 to {largest}, got {value!r}."
        )


def _window_starts(size, side, step):
    """Return where windows start along an axis; no pixel is between two windows."""
    last = size - side
    return [*range(0, last, min(step, side)), last]
