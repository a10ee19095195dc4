"""Whitening of images: a linear map of all patches, averaged where they overlap."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigh

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._network.patch_arrays import (
    add_patches,
    centred_basis,
    compute_planes,
    gather_patches,
    patches_per_pixel,
    second_moments,
)

# Side of the patches and regularization of the whitening that is part of a network.
PATCH_SIZE = 3
REG = 1e-2


def learn_whitening(images, power, engine):
    """Return the Whitening of a network that is learned from images.

    Parameters
    ----------
    images : Images
    power : float or None
        None for no whitening.
    engine : Engine

    Returns
    -------
    whitening : Whitening or None
    """
    if power is None:
        return None
    spectrum = PatchSpectrum.of_images(images.array, PATCH_SIZE, engine)
    return spectrum.whitening(float(power))


@dataclass(frozen=True)
class PatchSpectrum:
    """Second moments of the centred patches of images, decomposed.

    Attributes
    ----------
    image_shape : tuple of int
        (H, W, C).
    patch_shape : tuple of int
        (kh, kw, C), no larger than the images.
    eigenvalues : ndarray of shape (n_components,), float64
        In descending order, over 4^exponent.
    exponent : int
    components : ndarray of shape (n_components, kh * kw * C), float64
        Eigenvectors as rows, in (row, column, channel) order.
    """

    image_shape: tuple
    patch_shape: tuple
    eigenvalues: np.ndarray
    exponent: int
    components: np.ndarray

    @classmethod
    def of_images(cls, images, patch_size, engine):
        """Compute the moments of all patches inside the images.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
        patch_size : int
            Along an axis that is shorter, patches are as long as the axis.
        engine : Engine
            Of the images.
        """
        height, width, n_channels = image_shape = images.shape[1:]
        patch_shape = min(patch_size, height), min(patch_size, width), n_channels
        basis = centred_basis(patch_shape)
        # With one thread the moments are the same bits whatever the number of cores,
        # and the products are too small for threads to make them faster.
        with single_threaded_blas():
            moments, exponent = second_moments(images, patch_shape, engine)
            # The coordinates of a patch in the basis are those of its differences from
            # the first pixel, which do not need the columns of that pixel.
            from_differences = basis[:, -len(moments) :]
            eigenvalues, vectors = eigh(from_differences @ moments @ from_differences.T)
            components = vectors[:, ::-1].T @ basis
        eigenvalues = np.maximum(eigenvalues[::-1], 0)
        return cls(image_shape, patch_shape, eigenvalues, exponent, components)

    def whitening(self, power, reg=REG):
        """Return the Whitening by U (diag(e) + reg mean(e) I)^(-power) U^T.

        If all eigenvalues e are zero, the matrix is U U^T.

        Raises
        ------
        ValueError
            The matrix leaves the range of float64.
        """
        with single_threaded_blas():
            matrix = self._matrix(power, reg)
        return Whitening(self.image_shape, self.patch_shape, power, matrix)

    def _matrix(self, power, reg):
        mean = self.eigenvalues.mean()
        if mean == 0:
            return self.components.T @ self.components
        # Divided first: reg times a tiny mean could underflow to zero.
        multipliers = (self.eigenvalues / mean + reg) ** -power
        multipliers *= mean**-power
        # The factor 4^(-power exponent): most of it is a power of two, which is exact.
        unit = -2 * power * self.exponent
        multipliers *= 2 ** (unit - round(unit))
        half = self.components.T * np.sqrt(multipliers)
        with np.errstate(over="ignore", under="ignore"):
            # A matrix times its own transpose is symmetric to the bit.
            matrix = np.ldexp(half @ half.T, round(unit))
        largest = abs(matrix).max()
        if not np.finfo(np.float64).tiny <= largest < np.inf:
            raise ValueError(
                "The whitening matrix leaves the range of float64: multiply X by a "
                f"constant that brings it nearer to 1, or choose another reg than "
                f"{reg!r}."
            )
        return matrix


# Compared by identity (eq=False), since it holds an array.
@dataclass(frozen=True, eq=False)
class Whitening:
    """A symmetric matrix for all patches of images of one shape.

    Attributes
    ----------
    image_shape : tuple of int
        (H, W, C).
    patch_shape : tuple of int
        (kh, kw, C).
    power : float
        Of the eigenvalues of the patches' second moments, from 0 to 0.5.
    matrix : ndarray of shape (kh * kw * C, kh * kw * C), float64
        Maps flat patches to zero, unless patches have one pixel.
    """

    image_shape: tuple
    patch_shape: tuple
    power: float
    matrix: np.ndarray

    @property
    def growth(self):
        """A bound on the whitened values of images whose largest value is 1."""
        return float(abs(self.matrix).sum(axis=1).max())

    def apply(self, images, dtype, engine):
        """Whiten images, each independently of the others, to the last bit.

        Besides the result, only the patches of a few images are in memory at a time.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
            Of NumPy, or of the engine's namespace.
        dtype : dtype
            float32 or float64.
        engine : Engine
            Limits the memory.

        Returns
        -------
        whitened : array of shape (n, H, W, C), ``dtype``
            Infinite where a value leaves the range of ``dtype``.
        """
        return self._apply(images, self._counts, dtype, engine)

    def apply_transposed(self, gradient, engine):
        """Apply the transpose of the map of ``apply``.

        It maps gradients with respect to whitened images to those with respect to the
        images. ``apply`` gathers patches, multiplies them by the symmetric matrix, adds
        them up, and divides by the numbers of patches; adding up is the transpose of
        gathering. The transpose divides first and is otherwise the same.

        Parameters
        ----------
        gradient : array of shape (n, H, W, C), float32 or float64
            Of NumPy, or of the engine's namespace.
        engine : Engine
            Limits the memory.

        Returns
        -------
        transposed : array of shape (n, H, W, C), dtype of ``gradient``
        """
        counts = namespace(gradient).asarray(self._counts.astype(gradient.dtype))
        divided = gradient / counts[..., np.newaxis]
        return self._apply(divided, np.ones((1, 1)), gradient.dtype, engine)

    def _apply(self, images, divisors, dtype, engine):
        """Multiply all patches by the matrix, add them up and divide the sums.

        Parameters
        ----------
        images, dtype, engine
            See ``apply``.
        divisors : ndarray of shape (H, W) or (1, 1), float64
        """
        xp = namespace(images)
        # Divided by a power of two, as the images are: products are then about 1.
        exponent = np.frexp(abs(self.matrix).max())[1]
        matrix = xp.asarray(np.ldexp(self.matrix, -exponent).astype(dtype))
        divisors = xp.asarray(divisors.astype(dtype))

        def whiten(planes):
            patches = gather_patches(planes.values, self.patch_shape)
            # The matrix maps flat patches to zero: differences from the first pixel,
            # without the columns of that pixel, give the same as the patches.
            products = matrix[:, -patches.shape[1] :] @ patches
            sums = add_patches(products, planes.values.shape, self.patch_shape)
            sums /= divisors
            return xp.ldexp(sums, planes.exponents + exponent)

        whitened = xp.empty(images.shape, dtype=dtype)
        with single_threaded_blas(), np.errstate(over="ignore", under="ignore"):
            for part, planes in compute_planes(
                whiten, images, self.patch_shape, dtype, engine
            ):
                whitened[part] = planes.transpose(0, 2, 3, 1)
        return whitened

    def __getstate__(self):
        state = dict(vars(self))
        state.pop("_counts", None)
        return state

    @cached_property
    def _counts(self):
        """Number of patches that each pixel belongs to, (H, W)."""
        return patches_per_pixel(self.image_shape, self.patch_shape)
