"""One layer of a network: its parameters, and the gradients with respect to them."""

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
    """A layer with its settings and parameters.

    Attributes
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (n_anchors, kh * kw * C)
        Unit rows, in (row, column, channel) order. The layers of fitted estimators
        hold NumPy arrays; while a network is trained on a GPU, they are CuPy arrays.
    projection : ndarray of shape (n_anchors, n_anchors), float64
        (kappa(Z Z^T) + nystrom_reg I)^(-1/2) (Mairal, NIPS 2016, eq. 5), symmetric.
    """

    settings: LayerSettings
    anchors: np.ndarray
    projection: np.ndarray

    @classmethod
    def from_anchors(cls, settings, anchors):
        """Build a layer from unit anchors.

        The projection is computed in float64. Its namespace is that of the anchors.

        Parameters
        ----------
        settings : LayerSettings
            ``n_anchors`` is replaced by the number of anchors.
        anchors : array of shape (n_anchors, kh * kw * C)

        Returns
        -------
        layer : Layer
        """
        # With one thread, the bits of the projection do not depend on the number of
        # cores of the machine.
        with single_threaded_blas():
            (root,) = anchor_roots([settings], [anchors])
            projection = root.value()
        return cls(replace(settings, n_anchors=len(anchors)), anchors, projection)

    def to_namespace(self, xp):
        """Return the layer with arrays of the namespace ``xp``."""
        return replace(
            self,
            anchors=to_namespace(self.anchors, xp),
            projection=to_namespace(self.projection, xp),
        )

    def with_anchors_as(self, dtype):
        """Return the layer with its anchors, C-contiguous, in ``dtype``.

        The projection stays in float64. If anchors are similar, it has large entries
        whose contributions cancel, and engines then apply it in float64.
        """
        xp = namespace(self.anchors)
        return replace(self, anchors=xp.ascontiguousarray(self.anchors, dtype=dtype))


@dataclass(frozen=True)
class LayerGradients:
    """Gradients of a scalar function with respect to the parameters of a layer.

    Anchors, projection and beta are treated as independent variables.

    Attributes
    ----------
    anchors : ndarray of shape (n_anchors, kh * kw * C)
    projection : ndarray of shape (n_anchors, n_anchors)
    beta : float or array of shape ()
    """

    anchors: np.ndarray
    projection: np.ndarray
    beta: float


def anchor_roots(all_settings, all_anchors):
    """Return (kappa(Z Z^T) + nystrom_reg I)^(-1/2) for the unit anchors Z of layers.

    Parameters
    ----------
    all_settings : list of LayerSettings
    all_anchors : list of array of shape (p, kh * kw * C)

    Returns
    -------
    roots : list of InverseSquareRoot
        Computed in float64.
    """
    grams = []
    for settings, anchors in zip(all_settings, all_anchors, strict=True):
        unit = anchors.astype(np.float64, copy=False)
        grams.append(kernel_values(unit @ unit.T, settings.kernel, settings.beta))
    return InverseSquareRoot.from_matrices(
        grams, [settings.nystrom_reg for settings in all_settings]
    )


def anchor_gradients(settings, anchors, root, gradients):
    """Compute the total gradients with respect to the anchors and to beta.

    They include the part through the projection, which is a function of both.

    Parameters
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (p, kh * kw * C)
    root : InverseSquareRoot
        Of ``anchor_roots`` for these anchors.
    gradients : LayerGradients

    Returns
    -------
    anchor_gradient : ndarray of shape (p, kh * kw * C), float64
        Not projected on the tangent space of the sphere on which the anchors lie.
    beta_gradient : array of shape ()
    """
    unit = anchors.astype(np.float64, copy=False)
    matrix_gradient = root.backward(gradients.projection.astype(np.float64, copy=False))
    derivative, beta_derivative = kernel_derivatives(
        unit @ unit.T, settings.kernel, settings.beta
    )
    anchor_gradient = gradients.anchors + 2 * (matrix_gradient * derivative) @ unit
    return anchor_gradient, gradients.beta + (matrix_gradient * beta_derivative).sum()
