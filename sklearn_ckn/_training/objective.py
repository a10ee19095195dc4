"""The loss of a batch of images and its gradients, by back-propagation."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._network.layer import LayerGradients
from sklearn_ckn._training.head import BatchResponse


@dataclass(frozen=True)
class BatchGradients:
    """The loss of a batch and its gradients in the parameters of the network.

    Attributes
    ----------
    anchors : list of array of shape (p, kh * kw * C), float64
        Gradients in the anchors, not yet projected on the tangent space.
    log_betas : list of array of shape ()
        Gradients in the logarithms of the betas.
    response : BatchResponse
        The head with adapted intercepts, for which the gradients are computed.
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
        """Whether the loss and all gradients are finite."""
        xp = namespace(self.response.decision_gradients)
        # Combined before the conversion to bool, so that a GPU is waited for once.
        finite = np.isfinite(self.value)
        for part in [*self.anchors, *self.log_betas, self.response.decision_gradients]:
            finite = finite & xp.isfinite(part).all()
        return bool(finite)


class Objective:
    """Computes the weighted loss of batches and its gradients in the network.

    Parameters
    ----------
    loss : SquaredError, SquaredHinge or Logistic
    engine : Engine
    """

    def __init__(self, loss, engine):
        self._loss = loss
        self._engine = engine

    def gradients(self, trained, head, images, targets, weights):
        """Compute the loss of a batch and its gradients.

        Gradients need the features of the whole batch. If memory holds the tape of only
        a part of the batch, the forward pass is therefore computed twice.

        Parameters
        ----------
        trained : TrainedNetwork
        head : Head
        images : array of shape (n, H, W, C), float32 or float64
            Of the engine's namespace, as all other arrays.
        targets : array of shape (n, m)
            +1 and -1.
        weights : array of shape (n, 1)
            Sample weights in the sum.

        Returns
        -------
        gradients : BatchGradients

        Raises
        ------
        MemoryError
            There is not enough memory for a single image.
        """
        batch = _Batch(images, self._engine.bind(trained.network, images.dtype))
        rows = [
            head.standardize(features) for features in batch.each(batch.features_of)
        ]
        rows = namespace(images).concatenate(rows) if len(rows) > 1 else rows[0]
        response = head.respond(rows, targets, weights, self._loss)
        row_gradients = response.head.backward(response.decision_gradients)
        totals = None
        compute = partial(batch.gradients_of, row_gradients, head.scale)
        for gradients in batch.each(compute):
            if totals is None:
                totals = gradients
            else:
                totals = [_add(*pair) for pair in zip(totals, gradients, strict=True)]
        return BatchGradients(*trained.gradients(totals), response)


class _Batch:
    """Forward and backward passes of a batch, in parts that fit into memory."""

    def __init__(self, images, encoder):
        self._images = images
        self._encoder = encoder
        self._whole = None

    def each(self, compute):
        """Yield the results of ``compute`` for slices of rows that fit into memory."""
        engine = self._encoder.engine
        parts = engine.tape_budget.in_parts(
            len(self._images),
            self._encoder.tape_bytes_per_image,
            partial(map, compute),
            engine,
        )
        for _, result in parts:
            yield result

    def features_of(self, rows):
        """Return the features of some rows; the tape is kept if they are all rows."""
        if rows == slice(0, len(self._images)):
            self._whole = self._encoder.forward(self._images)
            return self._whole.features
        return self._encoder.features(self._images[rows])

    def gradients_of(self, row_gradients, feature_scale, rows):
        """Return the LayerGradients of some rows.

        ``row_gradients`` are the gradients in the standardized features of all rows.
        """
        # Released here, so that it takes no memory when a smaller part is tried again.
        forward, self._whole = self._whole, None
        if forward is None:
            forward = self._encoder.forward(self._images[rows])
        return self._encoder.backward(forward, row_gradients[rows], feature_scale)


def _add(left, right):
    """Return the sum of two LayerGradients."""
    return LayerGradients(
        left.anchors + right.anchors,
        left.projection + right.projection,
        left.beta + right.beta,
    )
