"""The objective of a batch of images and its gradients, by back-propagation."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sklearn_ckn._arrays import namespace
from sklearn_ckn._blocks import image_scales
from sklearn_ckn._layer import LayerGradients
from sklearn_ckn._threads import single_threaded_blas


@dataclass(frozen=True)
class Head:
    """A linear head on features minus their mean over a scale.

    Attributes
    ----------
    theta : array of shape (d + 1, m), float64
        Weights on the standardized features and, in the last row, the intercepts.
    mean : array of shape (d,), float64
    scale : float
    """

    theta: np.ndarray
    mean: np.ndarray
    scale: float

    @property
    def coef(self):
        """Weights on the features as they come, (d, m)."""
        return self.theta[:-1] / self.scale

    def decisions(self, features):
        """Return decisions (n, m) in float64."""
        with single_threaded_blas():
            coef, intercept = self.in_original_units()
            products = features @ coef.T.astype(features.dtype)
        return products + intercept

    def in_original_units(self):
        """Return coef (m, d) and intercept (m,) on the features as they come."""
        coef = self.coef
        return coef.T, self.theta[-1] - self.mean @ coef

    def backward(self, features, slopes):
        """Return the gradient in theta of a function with ``slopes`` in decisions."""
        total = slopes.sum(axis=0)
        with single_threaded_blas():
            products = features.T @ slopes.astype(features.dtype)
        xp = namespace(products)
        products = (products - xp.outer(self.mean, total)) / self.scale
        return xp.vstack([products, total])

    def moved(self, theta_slopes, alpha, rate):
        """Return the head after a gradient step on loss + alpha/2 ||W||^2."""
        theta = (1 - rate * alpha) * self.theta - rate * theta_slopes
        theta[-1] += rate * alpha * self.theta[-1]
        return replace(self, theta=theta)


@dataclass(frozen=True)
class BatchGradients:
    """Value and gradients of the data term of the objective on a batch.

    Attributes
    ----------
    value : float
    anchors : list of array of shape (p, k * k * C), float64
        In the space around the sphere.
    log_betas : list of array of shape ()
    theta : array of shape (d + 1, m)
        In the head.
    """

    value: float
    anchors: list
    log_betas: list
    theta: np.ndarray

    @property
    def are_finite(self):
        """Whether a step can be taken."""
        xp = namespace(self.theta)
        # One look for all: what is on a GPU is waited for once.
        finite = np.isfinite(self.value)
        for part in [*self.anchors, *self.log_betas, self.theta]:
            finite = finite & xp.isfinite(part).all()
        return bool(finite)


def batch_gradients(
    network, head, loss, images, targets, weights, engine, *, flip_average=False
):
    """Compute the weighted loss of a batch and its gradients in network and head.

    Parameters
    ----------
    network : TrainedNetwork
    head : Head
    loss : SquaredError, SquaredHinge or Logistic
    images : array of shape (n, H, W, C), float32 or float64
        Like all arrays of the engine's namespace.
    targets : array of shape (n, m)
        +1 and -1.
    weights : array of shape (n, 1)
        Of the samples in the sum.
    engine : CPUEngine or ArrayEngine
    flip_average : bool, default=False
        Whether features are the mean of those of an image and its mirror image.

    Returns
    -------
    gradients : BatchGradients

    Raises
    ------
    MemoryError
        A single image takes more memory than there is.
    """
    layers = network.layers(images.dtype)
    n_copies = 1 + flip_average

    def compute(rows):
        return _part_gradients(
            layers,
            head,
            loss,
            images[rows],
            targets[rows],
            weights[rows],
            engine,
            n_copies,
        )

    image_bytes = engine.tape_bytes_per_image(
        images.shape[1:], layers, images.dtype.itemsize
    )
    parts = engine.tape_budget.in_parts(
        len(images), n_copies * image_bytes, partial(map, compute), engine
    )
    value, totals, theta_slopes = 0.0, None, 0.0
    for _, (part_value, gradients, part_slopes) in parts:
        value += part_value
        theta_slopes = theta_slopes + part_slopes
        if totals is None:
            totals = gradients
        else:
            totals = [_add(*pair) for pair in zip(totals, gradients, strict=True)]
    return BatchGradients(value, *network.gradients(totals), theta_slopes)


def _part_gradients(layers, head, loss, images, targets, weights, engine, n_copies):
    """Return value, LayerGradients and gradient in the head of a part of a batch."""
    xp = engine.xp
    flip_average = n_copies > 1
    n = len(images)
    if flip_average:
        images = xp.concatenate([images, images[:, :, ::-1]])
    scale, inverse = image_scales(images)
    maps, tape = engine.encode_with_tape(images * scale, layers)
    maps *= inverse
    shape = maps.shape
    features = maps.reshape(n_copies, n, -1)
    features = features.mean(axis=0) if flip_average else features[0]
    value, slopes, _ = loss(head.decisions(features), targets, weights)
    theta_slopes = head.backward(features, slopes)
    with single_threaded_blas():
        slopes = (slopes @ (head.coef.T / n_copies)).astype(images.dtype)
    slopes = xp.concatenate([slopes] * n_copies) if flip_average else slopes
    gradients, _ = engine.encode_backward(tape, layers, slopes.reshape(shape) * inverse)
    return value, gradients, theta_slopes


def _add(left, right):
    """Return the sum of two LayerGradients."""
    return LayerGradients(
        left.anchors + right.anchors,
        left.projection + right.projection,
        left.beta + right.beta,
    )
