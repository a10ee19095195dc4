"""Anchors of a layer from patches sampled in the training images."""

from dataclasses import replace

import numpy as np
from sklearn.utils.random import sample_without_replacement

from sklearn_ckn._blocks import block_slices, encode_block
from sklearn_ckn._norms import row_norms, unit_rows

# Patches whose contrast is below this part of the root mean square are dropped.
MIN_CONTRAST = 0.0

# Patches on which the Nystroem residual is measured: its standard error is then
# below a hundredth, for values between 0 and 1.
N_RESIDUAL_PATCHES = 10_000


def sample_patches(images, layers, settings, n_patches, engine, dtype, random_state):
    """Sample patches uniformly over all images and positions of a layer's input.

    Only the patches themselves are gathered, borders included, and only images
    that hold one of them pass through the earlier layers.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)
    layers : list of Layer
        The earlier layers, in ``dtype``.
    settings : LayerSettings
        Of the layer whose patches are wanted.
    n_patches : int
        All patches are taken where there are no more.
    engine : CPUEngine or ArrayEngine
    dtype : dtype
        float32 or float64.
    random_state : RandomState

    Returns
    -------
    patches : ndarray of shape (min(n_patches, all), k * k * C), ``dtype``
    """
    map_shape = images.shape[1:]
    for layer in layers:
        map_shape = layer.settings.output_shape(map_shape)
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

    patches = np.empty((len(places), settings.patch_length(map_shape)), dtype=dtype)
    for part in block_slices(len(sampled), images.shape[1:], layers, engine, dtype):
        maps = encode_block(images[sampled[part]], layers, engine, dtype)
        chosen = slice(*np.searchsorted(owners, [part.start, part.stop]))
        patches[chosen] = engine.gather_patches(
            maps,
            owners[chosen] - part.start,
            rows[chosen],
            columns[chosen],
            settings,
        )
    return patches


def unit_patches(patches):
    """Drop near-constant patches and divide the others by their norms.

    Parameters
    ----------
    patches : ndarray of shape (n, k * k * C), float32 or float64

    Returns
    -------
    unit : ndarray of shape (m, k * k * C), dtype of ``patches``
        At least one row; where nothing else is left, the constant direction.
    """
    norms = row_norms(patches)
    kept = norms > MIN_CONTRAST * np.sqrt(np.mean(norms**2))
    if not kept.any():
        length = patches.shape[1]
        return np.full((1, length), 1 / np.sqrt(length), dtype=patches.dtype)
    return unit_rows(patches[kept])


def nystrom_residual(points, layer, engine):
    """Return the part of the kernel's feature map that a layer's anchors miss.

    It is the mean over unit patches x of 1 - ||psi(x)||^2, where psi(x) =
    (kappa(Z Z^T) + eps I)^(-1/2) kappa(Z x) and kappa(1) = 1 is the squared norm
    of the exact feature map, of which psi is a projection (Mairal, NIPS 2016,
    section 2.2).

    Parameters
    ----------
    points : ndarray of shape (n, length), float32 or float64
        Unit patches; about ten thousand are enough.
    layer : Layer
    engine : CPUEngine or ArrayEngine

    Returns
    -------
    residual : float
        Between 0, when the anchors represent every patch, and 1.
    """
    sample = np.ascontiguousarray(points[:: -(-len(points) // N_RESIDUAL_PATCHES)])
    # Patches are pixels of one narrow image to a layer with patches of one pixel.
    settings = replace(layer.settings, patch_size=1, subsampling=1)
    single = replace(layer, settings=settings).astype(points.dtype)
    features = engine.encode(sample[np.newaxis, :, np.newaxis, :], [single])
    squares = np.einsum("nhwp,nhwp->h", features, features, dtype=np.float64)
    return float(np.clip(1 - squares.mean(), 0, 1))
