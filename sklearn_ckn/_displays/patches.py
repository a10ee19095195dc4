"""Finds the image parts whose patches are closest to the anchors of a layer."""

from functools import partial
from math import prod

import numpy as np

from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._common.norms import scaled_rows, unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._network.unfold import centred_patches, unfold


def closest_positions(network, images):
    """Find, in each image, the position of the patch closest to each anchor.

    The anchors and patches are those of the last layer.

    Parameters
    ----------
    network : Network
        Its last layer has the anchors.
    images : Images

    Returns
    -------
    cosines : ndarray of shape (n, n_anchors)
        Cosines between these patches and the anchors; 0 for patches of zeros.
    positions : ndarray of shape (n, n_anchors)
        Numbered row by row in a map of ``LayerSettings.response_shape``.
    """
    engine, dtype = CPUEngine(), images.dtype
    encoder = engine.bind(network.first(len(network.layers) - 1), dtype)
    last = network.layers[-1].with_anchors_as(dtype)
    n_positions = prod(last.settings.response_shape(encoder.network.output_shape))
    cosines = np.empty((len(images), len(last.anchors)), dtype)
    positions = np.empty(cosines.shape, np.intp)

    def unit_patches(part):
        patches = unfold(encoder.maps(images.array[part]), last.settings)
        patches = patches.reshape(-1, patches.shape[-1])
        if last.settings.center_patches:
            n_channels = encoder.network.output_shape[2]
            patches = centred_patches(scaled_rows(patches), n_channels)
        units = unit_rows(patches).astype(dtype, copy=False)
        return units.reshape(-1, n_positions, units.shape[1])

    # Three copies of the patches: padded, unfolded and divided by their norms.
    row_bytes = dtype.itemsize * n_positions * 3 * last.anchors.shape[1]
    parts = Budget(engine.block_bytes).in_parts(
        len(images), row_bytes, partial(map, unit_patches), engine
    )
    for part, units in parts:
        # Image by image, because rounding in BLAS would depend on the number of images
        # in a product.
        for i, own in enumerate(units, part.start):
            positions[i], cosines[i] = engine.nearest_anchors(last.anchors, own)
    return cosines, positions


def closest_patches(network, images, n_patches):
    """Cut out the receptive fields of the patches closest to each anchor.

    The anchors and patches are those of the last layer.

    Parameters
    ----------
    network : Network
        Its last layer has the anchors.
    images : Images
    n_patches : int
        Number of patches for each anchor, each from another image.

    Returns
    -------
    patches : ndarray of shape (n_anchors, n_patches, height, width, C)
        Fewer than ``n_patches`` if there are fewer images; NaN outside the images.
    """
    cosines, positions = closest_positions(network, images)
    chosen = (-cosines).argsort(axis=0, kind="stable")[:n_patches]
    settings = network.settings[-1]
    n_columns = settings.response_shape(network.shapes[-2])[1]
    rows, columns = np.divmod(np.take_along_axis(positions, chosen, axis=0), n_columns)
    top, row_step, height = network.receptive_field(0)
    left, column_step, width = network.receptive_field(1)
    patches = np.full((*chosen.T.shape, height, width, images.shape[2]), np.nan)
    for tile, anchor in np.ndindex(chosen.shape):
        patches[anchor, tile] = _cut(
            images.array[chosen[tile, anchor]],
            top + rows[tile, anchor] * row_step,
            left + columns[tile, anchor] * column_step,
            height,
            width,
        )
    return patches


def _cut(image, top, left, height, width):
    """Return a rectangle of an image, with NaN outside the image."""
    rectangle = np.full((height, width, image.shape[2]), np.nan)
    inside = image[
        max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)
    ]
    row, column = max(-top, 0), max(-left, 0)
    rectangle[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return rectangle
