"""Overlapping patches of images: gathering, second moments, and adding them up."""

from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from scipy.linalg import helmert

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.cache_blocks import cache_rows
from sklearn_ckn._common.lazy_array import LazyArray
from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._common.norms import image_scales
from sklearn_ckn._common.tree_sum import TreeSum

# The smallest exponent of a normal power of two in float64.
MIN_EXPONENT = int(np.finfo(np.float64).minexp)


def centred_basis(patch_shape):
    """Return an orthonormal basis of the space of centred patches.

    Parameters
    ----------
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    basis : ndarray of shape ((kh * kw - 1) * C, kh * kw * C), float64
        For patches of one pixel it is the basis of all patches, (C, C).
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
    """Return the number of patches that each pixel belongs to, (H, W)."""
    rows, columns = (
        np.convolve(np.ones(n_positions), np.ones(side))
        for n_positions, side in zip(
            _n_positions(image_shape, patch_shape), patch_shape[:2], strict=True
        )
    )
    return np.outer(rows, columns)


@dataclass(frozen=True)
class Planes:
    """Images as arrays of values of about 1, one for each channel.

    Attributes
    ----------
    values : array of shape (n, C, H, W), float32 or float64
        The images over 2^exponent, which brings the largest absolute value of each
        between 1/2 and 1: neither differences nor products overflow, whatever the unit
        of the images.
    exponents : array of shape (n, 1, 1, 1), int32
    """

    values: np.ndarray
    exponents: np.ndarray

    @classmethod
    def from_images(cls, images, dtype):
        """Convert images of shape (n, H, W, C)."""
        xp = namespace(images)
        planes = xp.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=dtype)
        scale, inverse = image_scales(planes)
        return cls(planes * scale, xp.frexp(inverse)[1] - 1)


def compute_planes(function, images, patch_shape, dtype, engine):
    """Apply a function to images, block by block.

    Blocks are so small that their patches stay in the cache, which makes the operations
    several times faster than on arrays in memory.

    Parameters
    ----------
    function : callable
        Of Planes.
    images : array of shape (n, H, W, C)
    patch_shape : tuple of int
        (kh, kw, C).
    dtype : dtype
        Of the planes: float32 or float64.
    engine : Engine
        Of the images. Its ``block_bytes`` limit the memory of a block.

    Yields
    ------
    part : slice
        Of the images.
    result : object
        What the function returns.
    """
    shape = images.shape[1:]
    n_values = prod(patch_shape) * prod(_n_positions(shape, patch_shape))
    # The patches before and after whitening, and the image: converted, scaled and
    # whitened.
    image_bytes = (2 * n_values + 3 * prod(shape)) * np.dtype(dtype).itemsize

    def compute(part):
        return function(Planes.from_images(images[part], dtype))

    return Budget(engine.block_bytes).in_parts(
        len(images),
        image_bytes,
        partial(map, compute),
        engine,
        at_most=cache_rows(n_values, namespace(images)),
    )


def _windows(planes, patch_shape):
    """Yield, for each pixel of a patch, a view of its values at all positions.

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

    Constant patches are then exactly zero, and small contrasts are not lost to the
    rounding of large values.

    Parameters
    ----------
    planes : ndarray of shape (n, C, H, W)
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    patches : ndarray of shape (n, (kh * kw - 1) * C, n_positions)
        Without the first pixel, which is zero. Patches of one pixel are returned as
        they are, (n, C, n_positions).
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
    """Add patches at the pixels that they were gathered from.

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


def _contrast_exponents(planes, patch_shape):
    """Return powers of two above the contrasts of images that have any contrast.

    The contrast is the largest difference between two pixels of one channel, or the
    largest absolute value for patches of one pixel, which are not centred.
    """
    values, xp = planes.values, namespace(planes.values)
    contrasts = values.max(axis=(2, 3)) - values.min(axis=(2, 3))
    if patch_shape[:2] == (1, 1):
        contrasts = abs(values).max(axis=(2, 3))
    largest = contrasts.max(axis=1)
    exponents = xp.frexp(largest)[1] + planes.exponents[:, 0, 0, 0]
    return to_numpy(exponents[largest > 0])


def _patch_products(planes, patch_shape, exponent):
    """Return the sums over all patches of their products with themselves.

    Of each image on the CPU, (n, length, length). A GPU adds the images of a block at
    once, (1, length, length): adding one after the other would take it longer than the
    products.
    """
    patches, xp = gather_patches(planes.values, patch_shape), namespace(planes.values)
    # A power that is out of range belongs to a flat image, whose patches are zero.
    powers = xp.clip(planes.exponents[..., 0] - exponent, MIN_EXPONENT, -MIN_EXPONENT)
    patches = patches * xp.ldexp(xp.ones((), np.float64), powers)
    products = patches @ patches.transpose(0, 2, 1)
    return products if xp is np else products.sum(axis=0, keepdims=True)


def second_moments(images, patch_shape, engine):
    """Return the mean over all patches of their products with themselves.

    Everything is computed in float64, in which the differences of uint8 images and
    their products are exact, and added up over a binary tree of the images, so that the
    result does not depend on the size of the blocks.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    patch_shape : tuple of int
        (kh, kw, C).
    engine : Engine
        Of the images.

    Returns
    -------
    moments : ndarray of shape (length, length), float64
        Of what ``gather_patches`` returns, over 4^exponent.
    exponent : int
        Brings the largest differences to about 1, so that no square overflows or
        vanishes.
    """
    exponents = list(_of_blocks(_block_exponents, images, patch_shape, engine))
    exponents = np.concatenate(exponents)
    exponent = int(exponents.max(initial=MIN_EXPONENT))
    moments = TreeSum()
    for part in _of_blocks(_block_moments, images, patch_shape, engine, exponent):
        moments.merge(part)
    n_patches = len(images) * prod(_n_positions(images.shape[1:], patch_shape))
    return to_numpy(moments.total) / n_patches, exponent


def _of_blocks(function, images, *arguments):
    """Return an iterable of the results of a function of blocks of images."""
    if isinstance(images, LazyArray):
        return images.map_blocks(function, *arguments)
    return [function(images, 0, *arguments)]


def _block_exponents(images, start, patch_shape, engine):
    """Return the exponents of the contrasts of images, (k,)."""
    measure = partial(_contrast_exponents, patch_shape=patch_shape)
    planes = compute_planes(measure, images, patch_shape, np.float64, engine)
    return np.concatenate([np.zeros(0, int), *(found for _, found in planes)])


def _block_moments(images, start, patch_shape, engine, exponent):
    """Return the TreeSum of the products of images from position ``start`` on."""
    multiply = partial(_patch_products, patch_shape=patch_shape, exponent=exponent)
    moments = TreeSum()
    position = start
    for _, products in compute_planes(
        multiply, images, patch_shape, np.float64, engine
    ):
        for product in products:
            moments.add(position, product)
            position += 1
    return moments
