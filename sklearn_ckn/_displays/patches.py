"""The parts of images that are closest to the anchors of a layer."""

from math import prod

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.encoder import encode_block
from sklearn_ckn._input.dtypes import compute_dtype
from sklearn_ckn._network.network import map_shapes
from sklearn_ckn._network.unfold import unfold


def receptive_field(layers, image_shape, axis):
    """Return where the patches of the last of some layers lie in the images.

    Parameters
    ----------
    layers : list of Layer
        From the first on.
    image_shape : tuple of int
        (H, W, C).
    axis : {0, 1}

    Returns
    -------
    start, step, length : int
        The patch at position i sees the pixels from ``start + i * step`` on, as many
        as ``length``; some may lie outside of the image.
    """
    start, step, length = 0, 1, 1
    shapes = map_shapes(image_shape, layers)
    for position, layer in enumerate(layers):
        settings = layer.settings
        if position > 0:
            # A pixel of a map is a window of 2 s + 1 positions of the layer before.
            subsampling = layers[position - 1].settings.subsampling
            radius = subsampling if subsampling > 1 else 0
            start -= radius * step
            length += 2 * radius * step
            step *= subsampling
        start -= settings.pad_axis(shapes[position][axis])[0] * step
        length += (settings.patch_size - 1) * step
    return start, step, length


def closest_positions(features, layer, images):
    """Find in every image the position whose patch is closest to each anchor.

    Parameters
    ----------
    features : CKNFeatures
        Fitted.
    layer : int
    images : ndarray of shape (n, H, W, C)

    Returns
    -------
    cosines : ndarray of shape (n, n_anchors)
        Between the patches found and the anchors; 0 for patches of zeros.
    positions : ndarray of shape (n, n_anchors)
        Counted row by row, see ``LayerSettings.response_shape``.
    """
    dtype = compute_dtype(images.dtype)
    before = [each.astype(dtype) for each in features._layers[:layer]]
    last = features._layers[layer].astype(dtype)
    map_shape = map_shapes(images.shape[1:], before)[-1]
    n_positions = prod(last.settings.response_shape(map_shape))
    row_bytes = dtype.itemsize * n_positions * 3 * last.anchors.shape[1]
    step = get_chunk_n_rows(row_bytes, max_n_rows=len(images))
    engine = CPUEngine()
    cosines = np.empty((len(images), len(last.anchors)), dtype)
    positions = np.empty(cosines.shape, np.intp)
    for part in gen_batches(len(images), step):
        maps = encode_block(images[part], before, engine, dtype)
        patches = unfold(maps, last.settings)
        units = unit_rows(patches.reshape(-1, patches.shape[-1]))
        # The nearest patch of each anchor, image by image: sums of BLAS would depend on
        # how many images come together.
        for i, own in enumerate(units.reshape(len(maps), n_positions, -1), part.start):
            positions[i], cosines[i] = engine.nearest_anchors(last.anchors, own)
    return cosines, positions


def closest_patches(features, layer, images, n_patches):
    """Cut out of images what the patches closest to each anchor of a layer see.

    Parameters
    ----------
    features : CKNFeatures
        Fitted.
    layer : int
    images : ndarray of shape (n, H, W, C)
    n_patches : int
        How many for each anchor, each of another image.

    Returns
    -------
    patches : ndarray of shape (n_anchors, n_patches, height, width, C)
        Fewer than ``n_patches`` if there are fewer images; NaN outside of the image.
    """
    cosines, positions = closest_positions(features, layer, images)
    chosen = (-cosines).argsort(axis=0, kind="stable")[:n_patches]
    layers = features._layers[: layer + 1]
    shape = images.shape[1:]
    map_shape = map_shapes(shape, layers)[layer]
    n_columns = layers[layer].settings.response_shape(map_shape)[1]
    rows, columns = np.divmod(np.take_along_axis(positions, chosen, axis=0), n_columns)
    top, row_step, height = receptive_field(layers, shape, 0)
    left, column_step, width = receptive_field(layers, shape, 1)
    patches = np.full((*chosen.T.shape, height, width, shape[2]), np.nan)
    for tile, anchor in np.ndindex(chosen.shape):
        patches[anchor, tile] = _cut(
            images[chosen[tile, anchor]],
            top + rows[tile, anchor] * row_step,
            left + columns[tile, anchor] * column_step,
            height,
            width,
        )
    return patches


def _cut(image, top, left, height, width):
    """Return a rectangle of an image, NaN where it reaches outside."""
    rectangle = np.full((height, width, image.shape[2]), np.nan)
    inside = image[
        max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)
    ]
    row, column = max(-top, 0), max(-left, 0)
    rectangle[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return rectangle
