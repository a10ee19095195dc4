"""Patches of the training images: sampling, normalisation, Nystroem residual."""

from dataclasses import replace

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.random import sample_without_replacement

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.cache_blocks import cache_blocks
from sklearn_ckn._common.norms import scaled_rows, square_sums, unit_rows
from sklearn_ckn._common.progress import Task
from sklearn_ckn._network.network import Network
from sklearn_ckn._network.unfold import centred_patches

# A patch of more than one pixel is near-constant, and dropped, if its distance from its
# mean pixel is at most this fraction of its norm. Dropping such patches loses little: a
# patch below this limit has a kernel value of at least kappa(1 - MIN_CONTRAST^2 / 2)
# with some patch just above it.
MIN_CONTRAST = 0.05

# Number of patches over which the Nystroem residual is averaged. The values are between
# 0 and 1, so the standard error of the mean is below 0.01.
N_RESIDUAL_PATCHES = 10_000

# The patches are encoded as the pixels of images, several images in a call, so that
# several threads can work and matrix products are large enough.
PATCHES_PER_IMAGE = 256
IMAGES_PER_CALL = 8


def sample_patches(encoder, images, settings, n_patches, random_state, task=None):
    """Sample patches uniformly over all images and positions of a layer's input.

    Patches that extend past the border are included. Only the images that contain
    sampled patches are mapped through the earlier layers, and only the sampled patches
    are copied.

    Parameters
    ----------
    encoder : Encoder
        Encoder of the earlier layers.
    images : array of shape (n, H, W, C)
        NumPy array, or array of the engine's namespace.
    settings : LayerSettings
        Settings of the layer whose patches are sampled.
    n_patches : int
        If there are no more patches than this, all of them are returned.
    random_state : RandomState
    task : Task or None
        Parent of the tasks that report the progress, one for each block of images.

    Returns
    -------
    patches : array of shape (min(n_patches, n_all), kh * kw * C)
        In the engine's namespace and the encoder's dtype; n_all is the number of all
        patches.
    """
    engine, map_shape = encoder.engine, encoder.network.output_shape
    height, width = settings.response_shape(map_shape)
    n_all = len(images) * height * width
    if n_patches < n_all:
        places = sample_without_replacement(n_all, n_patches, random_state=random_state)
        places.sort()
    else:
        places = np.arange(n_all)
    owners, positions = np.divmod(places.astype(np.intp), height * width)
    rows, columns = np.divmod(positions, width)
    sampled, owners = np.unique(owners, return_inverse=True)

    patches = engine.xp.empty(
        (len(places), settings.patch_length(map_shape)), encoder.dtype
    )
    blocks = encoder.blocks(images, chosen=sampled)
    for part, maps in (task or Task()).each("block", blocks):
        chosen = slice(*np.searchsorted(owners, [part.start, part.stop]))
        patches[chosen] = engine.gather_patches(
            maps,
            owners[chosen] - part.start,
            rows[chosen],
            columns[chosen],
            settings,
        )
    return patches


def unit_patches(patches, n_channels, patch_size, center=False):
    """Drop zero and near-constant patches, and divide the others by their norms.

    Parameters
    ----------
    patches : array of shape (n, kh * kw * C), float32 or float64
        They are overwritten, because samples of patches are large.
    n_channels : int
        C.
    patch_size : int
        Side k of the patches along axes longer than 1.
    center : bool, default=False
        Whether the mean of each channel is taken off first, in float64. Only patches
        that are constant up to rounding are then dropped.

    Returns
    -------
    unit : array of shape (m, kh * kw * C), dtype of ``patches``
        At least one row: if all patches are near-constant, those that are not zero are
        returned; if all are zero, a single constant patch, or the centred patch of one
        bright pixel.
    """
    n_kept = 0
    for part in cache_blocks(patches):
        block = patches[part]
        if center:
            block = centred_patches(scaled_rows(block), n_channels)
        units = unit_rows(block[block.any(axis=1)])
        if patch_size > 1 and not center:
            units = units[_contrasts(units, n_channels, patch_size) > MIN_CONTRAST]
        patches[n_kept : n_kept + len(units)] = units
        n_kept += len(units)
    if n_kept > 0:
        return patches[:n_kept]
    if center:
        patches[:1] = 0
        patches[:1, :n_channels] = 1
        return unit_rows(centred_patches(patches[:1], n_channels)).astype(patches.dtype)
    nonzero = patches.any(axis=1)
    if nonzero.any():
        return unit_rows(patches[nonzero])
    length = patches.shape[1]
    return namespace(patches).full((1, length), length**-0.5, dtype=patches.dtype)


def _contrasts(units, n_channels, patch_size):
    """Return the distance of unit patches from their mean pixel, between 0 and 1.

    The mean is over k x k pixels for all images. Along an axis of length 1, only one
    row or column of them is stored. The other pixels are zero: they add nothing to
    sums and products, but they count in the mean.
    """
    n_pixels = patch_size**2
    n_stored = units.shape[1] // n_channels
    sums = units.reshape(len(units), n_stored, n_channels).sum(axis=1)
    # The squared norm of a unit patch minus its mean pixel is 1 - |sum|^2 / n_pixels.
    xp = namespace(units)
    return xp.sqrt(xp.maximum(1 - (sums**2).sum(axis=1) / n_pixels, 0))


def nystrom_residual(points, layer, engine):
    """Return the part of the kernel's feature map that the anchors do not represent.

    It is the mean of 1 - ||psi(x)||^2 over unit patches x, where psi(x) =
    (kappa(Z Z^T) + eps I)^(-1/2) kappa(Z x) is the output of the layer. psi is a
    projection of the exact feature map, whose squared norm is kappa(1) = 1 (Mairal,
    NIPS 2016, section 2.2).

    Parameters
    ----------
    points : array of shape (n, length), float32 or float64
        Unit patches, an array of the engine's namespace. At most
        N_RESIDUAL_PATCHES of them are used.
    layer : Layer
    engine : Engine

    Returns
    -------
    residual : float
        Between 0 and 1; 0 if the anchors represent all patches exactly.
    """
    sample = points[:: -(-len(points) // N_RESIDUAL_PATCHES)]
    # For a layer with patches of one pixel, the points are the pixels of images of
    # height 1. They are centred already, if the layer does so, and their norms are 1.
    settings = replace(
        layer.settings, patch_size=1, subsampling=1, center_patches=False
    )
    shape = 1, PATCHES_PER_IMAGE, sample.shape[1]
    network = Network((replace(layer, settings=settings),), shape)
    prepared = engine.prepare(network, sample.dtype)
    captured = 0.0
    for part in gen_batches(len(sample), PATCHES_PER_IMAGE * IMAGES_PER_CALL):
        block = sample[part]
        n_images = -(-len(block) // PATCHES_PER_IMAGE)
        # The last image is filled up with zeros, whose features are zero.
        images = engine.xp.zeros((n_images, *shape), block.dtype)
        images.reshape(-1, shape[2])[: len(block)] = block
        maps = engine.encode(images, prepared)
        captured += float(square_sums(maps.reshape(-1, maps.shape[-1])).sum())
    return min(max(1 - captured / len(sample), 0.0), 1.0)
