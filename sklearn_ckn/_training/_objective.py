"""The objective of a batch of images and its gradients, by back-propagation."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._arrays import namespace
from sklearn_ckn._blocks import encode_each, image_scales
from sklearn_ckn._layer import LayerGradients
from sklearn_ckn._training._head import BatchResponse


@dataclass(frozen=True)
class BatchGradients:
    """Gradients of the data term of the objective on a batch, in the network.

    Attributes
    ----------
    anchors : list of array of shape (p, k * k * C), float64
        In the space around the sphere.
    log_betas : list of array of shape ()
    response : BatchResponse
        Of the head; the gradients are those at its intercepts.
    """

    anchors: list
    log_betas: list
    response: BatchResponse

    @property
    def value(self):
        """Weighted loss of the batch."""
        return self.response.value

    @property
    def are_finite(self):
        """Whether a step can be taken."""
        xp = namespace(self.response.slopes)
        # One look for all: what is on a GPU is waited for once.
        finite = np.isfinite(self.value)
        for part in [*self.anchors, *self.log_betas, self.response.slopes]:
            finite = finite & xp.isfinite(part).all()
        return bool(finite)


@dataclass(frozen=True)
class Pass:
    """Some images on their way through the network, and what leads back.

    Attributes
    ----------
    features : array of shape (n, d)
    shape : tuple of int
        Of the maps that the features are made of.
    tape : object
        Of the engine.
    inverse : array of shape (n, 1, 1, 1)
        What the maps were multiplied by.
    """

    features: np.ndarray
    shape: tuple
    tape: object
    inverse: np.ndarray


class Objective:
    """The weighted loss of batches of images and its gradients in the network.

    Parameters
    ----------
    loss : SquaredError, SquaredHinge or Logistic
    engine : CPUEngine or ArrayEngine
    flip_average : bool, default=False
        Whether features are the mean of those of an image and its mirror image.
    """

    def __init__(self, loss, engine, *, flip_average=False):
        self._loss = loss
        self._engine = engine
        self._flip_average = flip_average
        self._n_copies = 1 + flip_average
        # What did not fit into memory once would not fit in the next batch either.
        self._most_rows = np.inf

    def gradients(self, network, head, images, targets, weights):
        """Compute the loss of a batch and its gradients.

        Parameters
        ----------
        network : TrainedNetwork
        head : Head
        images : array of shape (n, H, W, C), float32 or float64
            Like all arrays of the engine's namespace.
        targets : array of shape (n, m)
            +1 and -1.
        weights : array of shape (n, 1)
            Of the samples in the sum.

        Returns
        -------
        gradients : BatchGradients

        Raises
        ------
        MemoryError
            A single image takes more memory than there is.
        """
        layers = network.layers(images.dtype)
        n_rows = self._engine.tape_rows(images.shape[1:], layers, images.dtype.itemsize)
        n_rows = max(1, n_rows // self._n_copies)
        while True:
            n_rows = min(n_rows, len(images), self._most_rows)
            try:
                response, totals = self._add_parts(
                    n_rows, layers, head, images, targets, weights
                )
                break
            except MemoryError:
                if n_rows == 1:
                    raise
            self._most_rows = n_rows // 2
            self._engine.release_memory()
        return BatchGradients(*network.gradients(totals), response)

    def _add_parts(self, n_rows, layers, head, images, targets, weights):
        """Return BatchResponse and LayerGradients, with ``n_rows`` images at once.

        All features are known before any slope is: the tape of the first part is
        kept, the other parts take their way a second time.
        """
        first, *others = gen_batches(len(images), n_rows)
        forward = self._forward(images[first], layers)
        rows = [head.standardize(forward.features)]
        for part in others:
            (maps,) = encode_each(
                [images[part]],
                layers,
                self._engine,
                images.dtype,
                xp=self._engine.xp,
                flip_average=self._flip_average,
            )
            rows.append(head.standardize(maps.reshape(len(maps), -1)))
        rows = self._engine.xp.concatenate(rows) if others else rows[0]
        response = head.respond(rows, targets, weights, self._loss)
        slopes = response.head.backward(response.slopes)
        totals = self._backward(forward, layers, slopes[first], head.scale)
        del forward
        for part in others:
            gradients = self._backward(
                self._forward(images[part], layers), layers, slopes[part], head.scale
            )
            totals = [_add(*pair) for pair in zip(totals, gradients, strict=True)]
        return response, totals

    def _forward(self, images, layers):
        """Return the Pass of some images."""
        n_copies, n = self._n_copies, len(images)
        if self._flip_average:
            images = self._engine.xp.concatenate([images, images[:, :, ::-1]])
        scale, inverse = image_scales(images)
        maps, tape = self._engine.encode_with_tape(images * scale, layers)
        # Halved before the sum, which so does not overflow.
        maps *= inverse / n_copies
        features = maps.reshape(n_copies, n, -1).sum(axis=0)
        return Pass(features, maps.shape, tape, inverse)

    def _backward(self, forward, layers, slopes, feature_scale):
        """Return the LayerGradients of a Pass, with slopes in standardized features."""
        if self._flip_average:
            slopes = self._engine.xp.concatenate([slopes, slopes]) / 2
        # One quotient, in float64: both may be as small as the images' unit.
        factors = forward.inverse.astype(np.float64) / feature_scale
        slopes = (slopes.reshape(forward.shape) * factors).astype(forward.inverse.dtype)
        gradients, _ = self._engine.encode_backward(forward.tape, layers, slopes)
        return gradients


def _add(left, right):
    """Return the sum of two LayerGradients."""
    return LayerGradients(
        left.anchors + right.anchors,
        left.projection + right.projection,
        left.beta + right.beta,
    )
