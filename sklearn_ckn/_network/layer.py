"""One layer: its anchors, its projection and the gradients in them."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_namespace
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._network.kernels import (
    InverseSquareRoot,
    kernel_derivatives,
    kernel_values,
)
from sklearn_ckn._network.settings import LayerSettings


@dataclass(frozen=True)
class Layer:
    """A layer with its parameters, ready to encode.

    Attributes
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (n_anchors, kh * kw * C)
        Unit rows, in (row, column, channel) order. Fitted estimators hold NumPy
        arrays; while a network is trained on a GPU, they are there.
    projection : ndarray of shape (n_anchors, n_anchors), float64
        (kappa(Z Z^T) + nystrom_reg I)^(-1/2) (Mairal, NIPS 2016, eq. 5), symmetric.
    """

    settings: LayerSettings
    anchors: np.ndarray
    projection: np.ndarray

    @classmethod
    def from_anchors(cls, settings, anchors):
        """Build a layer from unit anchors; the projection is computed in float64.

        Its arrays are of the namespace of the anchors.
        """
        # On one thread the projection is the same to the bit on every machine size.
        with single_threaded_blas():
            projection = anchor_root(settings, anchors).value()
        return cls(replace(settings, n_anchors=len(anchors)), anchors, projection)

    def to_namespace(self, xp):
        """Return the layer with arrays of the namespace ``xp``."""
        return replace(
            self,
            anchors=to_namespace(self.anchors, xp),
            projection=to_namespace(self.projection, xp),
        )

    def with_anchors_as(self, dtype):
        """Return the layer ready to encode in ``dtype``.

        Only the anchors are rounded to it: the large entries of a projection of
        anchors that are alike cancel, and engines apply it in float64.
        """
        xp = namespace(self.anchors)
        return replace(self, anchors=xp.ascontiguousarray(self.anchors, dtype=dtype))


@dataclass(frozen=True)
class LayerGradients:
    """Gradients of a function in what a layer computes with.

    Attributes
    ----------
    anchors : ndarray of shape (n_anchors, kh * kw * C)
    projection : ndarray of shape (n_anchors, n_anchors)
    beta : float or array of shape ()
    """

    anchors: np.ndarray
    projection: np.ndarray
    beta: float


def anchor_root(settings, anchors):
    """Return (kappa(Z Z^T) + nystrom_reg I)^(-1/2) of unit anchors Z.

    Parameters
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (p, kh * kw * C)

    Returns
    -------
    root : InverseSquareRoot
        In float64.
    """
    unit = anchors.astype(np.float64, copy=False)
    gram = kernel_values(unit @ unit.T, settings.kernel, settings.beta)
    return InverseSquareRoot.from_matrix(gram, settings.nystrom_reg)


def anchor_gradients(settings, anchors, root, gradients):
    """Follow the projection back to the anchors and the kernel parameter.

    Parameters
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (p, kh * kw * C)
    root : InverseSquareRoot
        That of ``anchor_root``.
    gradients : LayerGradients
        With anchors and projection taken as independent.

    Returns
    -------
    anchor_gradient : ndarray of shape (p, kh * kw * C), float64
        The whole gradient, in the space around the sphere.
    beta_gradient : array of shape ()
    """
    unit = anchors.astype(np.float64, copy=False)
    matrix_gradient = root.backward(gradients.projection.astype(np.float64, copy=False))
    derivative, beta_derivative = kernel_derivatives(
        unit @ unit.T, settings.kernel, settings.beta
    )
    anchor_gradient = gradients.anchors + 2 * (matrix_gradient * derivative) @ unit
    return anchor_gradient, gradients.beta + (matrix_gradient * beta_derivative).sum()
