"""Unfolding of maps: all their patches, as rows of an array."""

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import square_sums

# Patches with a smaller norm count as zero, because a quotient by the norm could
# overflow. The caller scales the largest value of each image to about 1, so this norm
# is far below the rounding errors.
SMALLEST_NORM = 1e-30

# A centred patch counts as zero if its norm is at most this many eps times the norm of
# the patch: it is constant up to rounding. eps is that of the dtype of the computation.
FLATNESS = 16


def pad_maps(maps, settings):
    """Return maps (n, H, W, C) with the zero padding of the settings."""
    height, width = maps.shape[1:3]
    return namespace(maps).pad(
        maps, ((0, 0), settings.pad_axis(height), settings.pad_axis(width), (0, 0))
    )


def patch_offsets(settings, image_shape):
    """Return the offsets (row, column) of the pixels of a patch from its first one."""
    sides = settings.patch_shape(image_shape)
    return [
        (settings.dilation * row, settings.dilation * column)
        for row, column in np.ndindex(*sides)
    ]


def unfold(maps, settings):
    """Return all patches of maps.

    Parameters
    ----------
    maps : array of shape (n, H, W, C)
    settings : LayerSettings

    Returns
    -------
    patches : array of shape (n, H1, W1, kh * kw * C)
        (H1, W1) is the ``response_shape`` of the settings.
    """
    rows, columns = settings.response_shape(maps.shape[1:])
    padded = pad_maps(maps, settings)
    return namespace(maps).concatenate(
        [
            padded[:, row : row + rows, column : column + columns]
            for row, column in patch_offsets(settings, maps.shape[1:])
        ],
        axis=-1,
    )


def without_means(patches, n_channels):
    """Take the mean of each channel over the pixels of a patch off every patch.

    Parameters
    ----------
    patches : array of shape (n, n_pixels * C), float32 or float64
    n_channels : int
        C.

    Returns
    -------
    centred : array of shape (n, n_pixels * C), float64
    """
    xp = namespace(patches)
    n, length = patches.shape
    pixels = patches.reshape(n, length // n_channels, n_channels)
    # Differences from the first pixel: constant patches are then exactly zero.
    centred = xp.subtract(pixels, pixels[:, :1], dtype=np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    return centred.reshape(n, length)


def centred_patches(patches, n_channels):
    """Return patches without means, zero where they are constant up to rounding.

    See ``without_means`` and ``FLATNESS``. Values must be of about 1: their squares are
    added.
    """
    centred = without_means(patches, n_channels)
    flatness = FLATNESS * np.finfo(patches.dtype).eps
    flat = square_sums(centred) <= flatness**2 * square_sums(patches)
    centred[flat] = 0
    return centred
