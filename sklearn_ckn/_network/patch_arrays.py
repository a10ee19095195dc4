"""Overlapping patches of images as arrays: gathered, multiplied and put together."""

from math import prod

import numpy as np
from scipy.linalg import helmert
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.cache_blocks import BLOCK_VALUES, GPU_BLOCK_VALUES
from sklearn_ckn._common.norms import image_scales

# The smallest exponent of a normal power of two in float64.
MIN_EXPONENT = int(np.finfo(np.float64).minexp)


def centred_basis(patch_shape):
    """Return an orthonormal basis of the centred patches.

    Parameters
    ----------
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    basis : ndarray of shape ((kh * kw - 1) * C, kh * kw * C), float64
        Of all patches, (C, C), where they have one pixel.
    """
    height, width, n_channels = patch_shape
    n_pixels = height * width
    pixels = helmert(n_pixels) if n_pixels > 1 else np.ones((1, 1))
    return np.kron(pixels, np.eye(n_channels))


def _n_positions(image_shape, patch_shape):
    """Return how many patches fit along the height and the width of an image."""
    return (
        image_shape[0] - patch_shape[0] + 1,
        image_shape[1] - patch_shape[1] + 1,
    )


def patches_per_pixel(image_shape, patch_shape):
    """Return in how many patches each pixel is, an array of shape (H, W)."""
    rows, columns = (
        np.convolve(np.ones(n_positions), np.ones(side))
        for n_positions, side in zip(
            _n_positions(image_shape, patch_shape), patch_shape[:2], strict=True
        )
    )
    return np.outer(rows, columns)


def blocks_of_planes(images, patch_shape, dtype):
    """Yield slices of images, and these as arrays of values of about 1.

    A block's patches stay in the cache, where they are several times faster to work
    on than in memory, and within scikit-learn's ``working_memory``.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    patch_shape : tuple of int
        (kh, kw, C).
    dtype : dtype
        float32 or float64.

    Yields
    ------
    part : slice
    planes : array of shape (m, C, H, W), ``dtype``
        The images over 2^exponent, which brings the largest absolute value of each
        between 1/2 and 1: neither differences nor products overflow, whatever the
        images' unit.
    exponents : array of shape (m, 1, 1, 1), int32
    """
    n_values = prod(patch_shape) * prod(_n_positions(images.shape[1:], patch_shape))
    # Patches before and after whitening, and the image on both sides and scaled.
    n_bytes = (2 * n_values + 3 * prod(images.shape[1:])) * np.dtype(dtype).itemsize
    by_memory = get_chunk_n_rows(n_bytes, max_n_rows=len(images))
    xp = namespace(images)
    by_cache = max(1, (BLOCK_VALUES if xp is np else GPU_BLOCK_VALUES) // n_values)
    for part in gen_batches(len(images), min(by_memory, by_cache)):
        planes = images[part].transpose(0, 3, 1, 2)
        planes = xp.ascontiguousarray(planes, dtype=dtype)
        scale, inverse = image_scales(planes)
        yield part, planes * scale, xp.frexp(inverse)[1] - 1


def _windows(planes, patch_shape):
    """Yield, for each pixel of a patch, a view of what it sees at all positions.

    Parameters
    ----------
    planes : ndarray of shape (n, C, H, W)
    patch_shape : tuple of int
        (kh, kw, C).

    Yields
    ------
    window : ndarray of shape (n, C, H - kh + 1, W - kw + 1)
    """
    height, width = _n_positions(planes.shape[2:], patch_shape)
    for row in range(patch_shape[0]):
        for column in range(patch_shape[1]):
            yield planes[:, :, row : row + height, column : column + width]


def gather_patches(planes, patch_shape):
    """Return the patches at all positions as differences from their first pixel.

    What is flat is then zero exactly, and large values do not hide small contrasts.

    Parameters
    ----------
    planes : ndarray of shape (n, C, H, W)
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    patches : ndarray of shape (n, (kh * kw - 1) * C, n_positions)
        Without the first pixel, which is zero. One-pixel patches are themselves,
        (n, C, n_positions).
    """
    windows = list(_windows(planes, patch_shape))
    if len(windows) == 1:
        return planes.reshape(*planes.shape[:2], -1)
    n, n_channels, *positions = windows[0].shape
    xp = namespace(planes)
    patches = xp.empty(
        (n, len(windows) - 1, n_channels, *positions), dtype=planes.dtype
    )
    for index, window in enumerate(windows[1:]):
        xp.subtract(window, windows[0], out=patches[:, index])
    return patches.reshape(n, -1, prod(positions))


def add_patches(patches, planes_shape, patch_shape):
    """Add patches up at the pixels that they came from.

    Parameters
    ----------
    patches : ndarray of shape (n, kh * kw * C, n_positions)
    planes_shape : tuple of int
        (n, C, H, W).
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    sums : ndarray of shape (n, C, H, W), dtype of ``patches``
    """
    xp = namespace(patches)
    sums = xp.zeros(planes_shape, dtype=patches.dtype)
    patches = xp.split(patches, prod(patch_shape[:2]), axis=1)
    for window, pixels in zip(_windows(sums, patch_shape), patches, strict=True):
        window += pixels.reshape(window.shape)
    return sums


def _contrast_exponent(images, patch_shape):
    """Return the power of two that the largest contrast of the images is below.

    That is the largest difference between two pixels of one channel, or the largest
    absolute value for patches of one pixel, which are not centred.
    """
    exponents = []
    for _, planes, exponents_of_images in blocks_of_planes(
        images, patch_shape, np.float64
    ):
        xp = namespace(planes)
        contrasts = planes.max(axis=(2, 3)) - planes.min(axis=(2, 3))
        if patch_shape[:2] == (1, 1):
            contrasts = abs(planes).max(axis=(2, 3))
        largest = contrasts.max(axis=1)
        of_contrasts = xp.frexp(largest)[1] + exponents_of_images[:, 0, 0, 0]
        exponents.append(to_numpy(of_contrasts[largest > 0]))
    return int(np.concatenate(exponents).max(initial=MIN_EXPONENT))


def second_moments(images, patch_shape):
    """Return the mean over all patches of their products with themselves.

    Everything is in float64, where the differences of uint8 images and their
    products are exact, and is added image after image, so that the size of the
    blocks does not matter.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    moments : ndarray of shape (length, length), float64
        Of what ``gather_patches`` returns, over 4^exponent.
    exponent : int
        Brings the largest differences to about 1, so that no square overflows or
        vanishes.
    """
    exponent = _contrast_exponent(images, patch_shape)
    moments = 0.0
    for _, planes, exponents in blocks_of_planes(images, patch_shape, np.float64):
        xp = namespace(planes)
        patches = gather_patches(planes, patch_shape)
        # A power that is out of range belongs to a flat image, whose patches are zero.
        powers = xp.clip(exponents[..., 0] - exponent, MIN_EXPONENT, -MIN_EXPONENT)
        patches = patches * xp.ldexp(xp.ones((), np.float64), powers)
        products = patches @ patches.transpose(0, 2, 1)
        # A GPU adds the images of a block at once: one by one would take it longer
        # than the products.
        if xp is np:
            for product in products:
                moments += product
        else:
            moments = moments + products.sum(axis=0)
    return to_numpy(moments) / (len(images) * patches.shape[2]), exponent
