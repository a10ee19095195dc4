"""Anchors of a layer from patches sampled in the training images."""

from dataclasses import replace

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.random import sample_without_replacement

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.cache_blocks import cache_blocks
from sklearn_ckn._common.norms import square_sums, unit_rows
from sklearn_ckn._common.progress import Task
from sklearn_ckn._network.network import Network

# Patches of more than one pixel are near-constant, and dropped, where the distance
# from their mean pixel is below this part of their norm. What they leave out is
# represented by the patches just above it: the kernel between the two is at least
# kappa(1 - MIN_CONTRAST^2 / 2).
MIN_CONTRAST = 0.05

# Patches on which the Nystroem residual is measured: its standard error is then
# below a hundredth, for values between 0 and 1.
N_RESIDUAL_PATCHES = 10_000

# They are encoded as the pixels of images, a few images a call: several threads, and
# products of a good size.
PATCHES_PER_IMAGE = 256
IMAGES_PER_CALL = 8


def sample_patches(encoder, images, settings, n_patches, random_state, task=None):
    """Sample patches uniformly over all images and positions of a layer's input.

    Only the patches themselves are gathered, borders included, and only images
    that hold one of them pass through the earlier layers.

    Parameters
    ----------
    encoder : Encoder
        Of the earlier layers.
    images : array of shape (n, H, W, C)
        NumPy's, or of the engine's namespace.
    settings : LayerSettings
        Of the layer whose patches are wanted.
    n_patches : int
        All patches are taken where there are no more.
    random_state : RandomState
    task : Task or None
        Each block of images is a subtask of it.

    Returns
    -------
    patches : array of shape (min(n_patches, all), patch length)
        Of the engine's namespace, in the encoder's dtype.
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


def unit_patches(patches, n_channels, patch_size):
    """Drop patches of zeros and near-constant ones, divide the others by their norms.

    Parameters
    ----------
    patches : array of shape (n, kh * kw * C), float32 or float64
        Overwritten: samples of patches are large.
    n_channels : int
        C.
    patch_size : int
        Side k of the patches along axes longer than 1.

    Returns
    -------
    unit : array of shape (m, kh * kw * C), dtype of ``patches``
        At least one row: near-constant patches where there are no others, and the
        constant direction where all are zero.
    """
    n_kept = 0
    for part in cache_blocks(patches):
        block = patches[part]
        units = unit_rows(block[block.any(axis=1)])
        if patch_size > 1:
            units = units[_contrasts(units, n_channels, patch_size) > MIN_CONTRAST]
        patches[n_kept : n_kept + len(units)] = units
        n_kept += len(units)
    if n_kept > 0:
        return patches[:n_kept]
    nonzero = patches.any(axis=1)
    if nonzero.any():
        return unit_rows(patches[nonzero])
    length = patches.shape[1]
    return namespace(patches).full((1, length), length**-0.5, dtype=patches.dtype)


def _contrasts(units, n_channels, patch_size):
    """Return the distance of unit patches from their mean pixel, between 0 and 1.

    A patch is a function on k x k pixels. Along an axis of length 1 it is zero on all
    of them but those of one row or column, which alone are stored: the zeros add
    nothing to sums and products, but their mean is over all k^2 pixels.
    """
    n_pixels = patch_size**2
    n_stored = units.shape[1] // n_channels
    sums = units.reshape(len(units), n_stored, n_channels).sum(axis=1)
    # Without its mean pixel, the square of a unit patch is 1 - |sum|^2 / n_pixels.
    xp = namespace(units)
    return xp.sqrt(xp.maximum(1 - (sums**2).sum(axis=1) / n_pixels, 0))


def nystrom_residual(points, layer, engine):
    """Return the part of the kernel's feature map that a layer's anchors miss.

    It is the mean over unit patches x of 1 - ||psi(x)||^2, where psi(x) =
    (kappa(Z Z^T) + eps I)^(-1/2) kappa(Z x) and kappa(1) = 1 is the squared norm
    of the exact feature map, of which psi is a projection (Mairal, NIPS 2016,
    section 2.2).

    Parameters
    ----------
    points : array of shape (n, length), float32 or float64
        Unit patches of the engine's namespace; about ten thousand are enough.
    layer : Layer
    engine : CPUEngine or ArrayEngine

    Returns
    -------
    residual : float
        Between 0, when the anchors represent every patch, and 1.
    """
    sample = points[:: -(-len(points) // N_RESIDUAL_PATCHES)]
    # To a layer with patches of one pixel, these are pixels of narrow images.
    settings = replace(layer.settings, patch_size=1, subsampling=1)
    shape = 1, PATCHES_PER_IMAGE, sample.shape[1]
    network = Network((replace(layer, settings=settings),), shape)
    prepared = engine.prepare(network, sample.dtype)
    captured = 0.0
    for part in gen_batches(len(sample), PATCHES_PER_IMAGE * IMAGES_PER_CALL):
        block = sample[part]
        n_images = -(-len(block) // PATCHES_PER_IMAGE)
        # What fills the last image up is zero, and so are its features.
        images = engine.xp.zeros((n_images, *shape), block.dtype)
        images.reshape(-1, shape[2])[: len(block)] = block
        maps = engine.encode(images, prepared)
        captured += float(square_sums(maps.reshape(-1, maps.shape[-1])).sum())
    return min(max(1 - captured / len(sample), 0.0), 1.0)
