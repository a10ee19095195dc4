"""What one layer of the network is: its settings, its geometry, its parameters."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, erf, exp, pi, prod, sqrt

import numpy as np

from sklearn_ckn._arrays import namespace, to_namespace
from sklearn_ckn._kernels import (
    InverseSquareRoot,
    kernel_derivatives,
    kernel_values,
)
from sklearn_ckn._threads import single_threaded_blas

# Up to this stride the taps of a Gaussian are added one by one, in some megabytes.
LARGEST_TAP_SUM = 2**17


@dataclass(frozen=True)
class LayerSettings:
    """The hyper-parameters of one layer and the map sizes that follow from them.

    Attributes
    ----------
    n_anchors : int or None
        None in the exact kernel, which has no anchors.
    patch_size : int
        Side k of the square patches, in pixels of the layer's input.
    subsampling : int
        Stride s of the pooling, in positions.
    kernel : {"exp", "poly", "arccos1"}
    beta : float
        Parameter of the kernel ``"exp"``.
    padding : {"same", "valid"}
    nystrom_reg : float or None
        Added to the eigenvalues of the anchors' kernel matrix; None without anchors.
    """

    n_anchors: int | None
    patch_size: int
    subsampling: int
    kernel: str
    beta: float
    padding: str
    nystrom_reg: float | None

    def pad_axis(self, size):
        """Return how many zeros stand before and after an axis of ``size`` pixels.

        ``"same"`` keeps the size, for even patches too. An axis shorter than the
        patch is padded to one patch under ``"valid"``.
        """
        if self.padding == "same":
            return (self.patch_size - 1) // 2, self.patch_size // 2
        missing = max(self.patch_size - size, 0)
        return missing // 2, missing - missing // 2

    def response_size(self, size):
        """Return the number of patch positions along an axis of ``size`` pixels."""
        return size + sum(self.pad_axis(size)) - self.patch_size + 1

    def response_shape(self, image_shape):
        """Return (height, width) of the map of positions of (H, W, C) images."""
        return self.response_size(image_shape[0]), self.response_size(image_shape[1])

    def output_shape(self, image_shape):
        """Return the (H', W', n_anchors) shape that (H, W, C) images come out in."""
        height, width = self.response_shape(image_shape)
        return (
            ceil(height / self.subsampling),
            ceil(width / self.subsampling),
            self.n_anchors,
        )

    def patch_length(self, image_shape):
        """Return the number of values of a patch of (H, W, C) images."""
        return self.patch_size**2 * image_shape[2]


@dataclass(frozen=True)
class Layer:
    """A layer with its parameters, ready to encode.

    Attributes
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (n_anchors, k * k * C)
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
        with single_threaded_blas:
            projection = anchor_root(settings, anchors).value()
        return cls(replace(settings, n_anchors=len(anchors)), anchors, projection)

    def to_namespace(self, xp):
        """Return the layer with arrays of the namespace ``xp``."""
        return replace(
            self,
            anchors=to_namespace(self.anchors, xp),
            projection=to_namespace(self.projection, xp),
        )

    def astype(self, dtype):
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
    anchors : ndarray of shape (n_anchors, k * k * C)
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
    anchors : ndarray of shape (p, k * k * C)

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
    anchors : ndarray of shape (p, k * k * C)
    root : InverseSquareRoot
        That of ``anchor_root``.
    gradients : LayerGradients
        With anchors and projection taken as independent.

    Returns
    -------
    anchor_slopes : ndarray of shape (p, k * k * C), float64
        The whole gradient, in the space around the sphere.
    beta_slope : array of shape ()
    """
    unit = anchors.astype(np.float64, copy=False)
    matrix_slopes = root.backward(gradients.projection.astype(np.float64, copy=False))
    derivative, beta_derivative = kernel_derivatives(
        unit @ unit.T, settings.kernel, settings.beta
    )
    anchor_slopes = gradients.anchors + 2 * (matrix_slopes * derivative) @ unit
    return anchor_slopes, gradients.beta + (matrix_slopes * beta_derivative).sum()


@lru_cache(maxsize=1024)
def _sum_of_taps(subsampling):
    """Return the sum of exp(-d^2 / s^2) over d = -s..s."""
    if subsampling <= LARGEST_TAP_SUM:
        offsets = np.arange(-subsampling, subsampling + 1)
        return np.exp(-((offsets / subsampling) ** 2)).sum()
    # Euler and Maclaurin: the integral, half of both ends, and their slopes over 12.
    # What follows is below 1 / s^3, and rounding adds more.
    edge = exp(-1)
    return subsampling * sqrt(pi) * erf(1) + edge - edge / (3 * subsampling)


def pooling_taps(subsampling, size):
    """Return the Gaussian taps exp(-d^2 / s^2), over their sum for d = -s..s.

    Only those that an axis has positions for: no distance is longer than the axis,
    however large the stride.

    Parameters
    ----------
    subsampling : int
        The stride s; 1 gives the identity, a single tap.
    size : int
        Positions along the longest axis that is pooled.

    Returns
    -------
    taps : ndarray of shape (2 * min(s, size - 1) + 1,), float64
        The tap of d = 0 is in the middle; (1,) for a stride of 1.
    """
    if subsampling == 1:
        return np.ones(1)
    radius = min(subsampling, size - 1)
    offsets = np.arange(-radius, radius + 1)
    return np.exp(-((offsets / subsampling) ** 2)) / _sum_of_taps(subsampling)


def pooling_matrix(size, subsampling):
    """Return the Gaussian pooling of an axis as a matrix.

    Parameters
    ----------
    size : int
        Positions along the axis.
    subsampling : int

    Returns
    -------
    matrix : ndarray of shape (ceil(size / subsampling), size), float64
    """
    taps = pooling_taps(subsampling, size)
    radius = len(taps) // 2
    offsets = np.arange(size) - np.arange(0, size, subsampling)[:, np.newaxis]
    inside = np.abs(offsets) <= radius
    return np.where(inside, taps[np.clip(offsets + radius, 0, 2 * radius)], 0)


def map_shapes(image_shape, layers):
    """Return the (H, W, C) shapes of the images and of every layer's output."""
    shapes = [tuple(image_shape)]
    for layer in layers:
        shapes.append(layer.settings.output_shape(shapes[-1]))
    return shapes


def multiply_adds(image_shape, layers):
    """Count the multiply-adds that one image costs, the kernel function as 16."""
    total = 0
    for shape, layer in zip(map_shapes(image_shape, layers), layers, strict=False):
        settings = layer.settings
        total += (
            prod(settings.response_shape(shape))
            * settings.n_anchors
            * (settings.patch_length(shape) + 16)
            + prod(settings.output_shape(shape)) * settings.n_anchors
        )
    return total
