"""The objective of a batch of images and its gradients, by back-propagation."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._engine.encoder import encode_blocks, image_scales
from sklearn_ckn._network.layer import LayerGradients
from sklearn_ckn._training.head import BatchResponse


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

    def gradients(self, network, head, images, targets, weights):
        """Compute the loss of a batch and its gradients.

        All features are known before any slope is: where memory holds the tape of a
        part of the batch only, its images take the way forward a second time.

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
        batch = _Batch(images, layers, self._engine, self._flip_average)
        rows = [
            head.standardize(features) for features in batch.each(batch.features_of)
        ]
        rows = namespace(images).concatenate(rows) if len(rows) > 1 else rows[0]
        response = head.respond(rows, targets, weights, self._loss)
        slopes = response.head.backward(response.slopes)
        totals = None
        for gradients in batch.each(partial(batch.gradients_of, slopes, head.scale)):
            if totals is None:
                totals = gradients
            else:
                totals = [_add(*pair) for pair in zip(totals, gradients, strict=True)]
        return BatchGradients(*network.gradients(totals), response)


class _Batch:
    """A batch on its way through a network and back, in parts that fit into memory."""

    def __init__(self, images, layers, engine, flip_average):
        self._images = images
        self._layers = layers
        self._engine = engine
        self._flip_average = flip_average
        self._whole = None

    def each(self, compute):
        """Yield what ``compute`` returns for slices of rows."""
        image_bytes = self._engine.tape_bytes_per_image(
            self._images.shape[1:], self._layers, self._images.dtype.itemsize
        )
        parts = self._engine.tape_budget.in_parts(
            len(self._images),
            (1 + self._flip_average) * image_bytes,
            partial(map, compute),
            self._engine,
        )
        for _, result in parts:
            yield result

    def features_of(self, rows):
        """Return the features of some images; of all, their way back is kept."""
        if rows == slice(0, len(self._images)):
            self._whole = self._forward(rows)
            return self._whole.features
        images = self._images[rows]
        parts = encode_blocks(
            images,
            self._layers,
            self._engine,
            images.dtype,
            xp=self._engine.xp,
            flip_average=self._flip_average,
        )
        # A block is valid until the next one is asked for.
        features = [maps.reshape(len(maps), -1).copy() for _, maps in parts]
        return self._engine.xp.concatenate(features)

    def gradients_of(self, slopes, feature_scale, rows):
        """Return the LayerGradients of some images.

        ``slopes`` are those in the standardized features of all images.
        """
        # Whoever tries again finds nothing that still takes memory.
        forward, self._whole = self._whole, None
        if forward is None:
            forward = self._forward(rows)
        slopes = slopes[rows]
        if self._flip_average:
            slopes = self._engine.xp.concatenate([slopes, slopes]) / 2
        # One quotient, in float64: both may be as small as the unit of the images.
        factors = forward.inverse.astype(np.float64) / feature_scale
        slopes = (slopes.reshape(forward.shape) * factors).astype(self._images.dtype)
        gradients, _ = self._engine.encode_backward(forward.tape, self._layers, slopes)
        return gradients

    def _forward(self, rows):
        images = self._images[rows]
        n = len(images)
        n_copies = 1 + self._flip_average
        if self._flip_average:
            images = self._engine.xp.concatenate([images, images[:, :, ::-1]])
        scale, inverse = image_scales(images)
        maps, tape = self._engine.encode_with_tape(images * scale, self._layers)
        # Halved before the sum, which so does not overflow.
        maps *= inverse / n_copies
        features = maps.reshape(n_copies, n, -1).sum(axis=0)
        return Pass(features, maps.shape, tape, inverse)


def _add(left, right):
    """Return the sum of two LayerGradients."""
    return LayerGradients(
        left.anchors + right.anchors,
        left.projection + right.projection,
        left.beta + right.beta,
    )
