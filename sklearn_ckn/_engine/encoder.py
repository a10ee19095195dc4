"""A data set taken through the network in blocks of bounded memory."""

from math import prod

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._common.norms import powers_of_two
from sklearn_ckn._network.network import map_shapes, multiply_adds


def image_scales(images):
    """Return the powers of two that bring images to about 1, and their inverses.

    Parameters
    ----------
    images : array of shape (n, H, W, C), float32 or float64

    Returns
    -------
    scale, inverse : array of shape (n, 1, 1, 1), dtype of ``images``
        See ``powers_of_two``.
    """
    largest = namespace(images).maximum(
        images.max(axis=(1, 2, 3)), -images.min(axis=(1, 2, 3))
    )
    return powers_of_two(largest[:, np.newaxis, np.newaxis, np.newaxis])


def encode_block(images, layers, engine, dtype):
    """Map images through layers, as one array.

    Parameters
    ----------
    images : array of shape (n, H, W, C), any real dtype
        NumPy's, or of the engine's namespace.
    layers : list of Layer
        In ``dtype``.
    engine : CPUEngine or ArrayEngine
    dtype : dtype
        float32 or float64.

    Returns
    -------
    maps : array of shape (n, H', W', p), ``dtype``
        Of the namespace of the images.
    """
    xp = namespace(images)
    maps = xp.empty((len(images), *map_shapes(images.shape[1:], layers)[-1]), dtype)
    for rows, part in encode_blocks(images, layers, engine, dtype, xp=xp):
        maps[rows] = part
    return maps


def _encode(images, layers, engine, dtype):
    """Map one block of images of the engine's namespace.

    The images are first multiplied by powers of two that bring each one's largest
    absolute value between 1/2 and 1, and the maps multiplied back: the network is
    positively homogeneous, so nothing changes but that no intermediate result
    overflows or vanishes, however large or small the images' unit.
    """
    images = engine.xp.ascontiguousarray(images, dtype=dtype)
    if not layers:
        return images
    scale, inverse = image_scales(images)
    maps = engine.encode(images * scale, layers)
    maps *= inverse
    return maps


def _encode_average(images, layers, engine, dtype):
    """Return the mean of the maps of images and of their mirror images."""
    # Halved first, so that no sum overflows.
    maps = _encode(images, layers, engine, dtype)
    maps *= 0.5
    maps += 0.5 * _encode(images[:, :, ::-1], layers, engine, dtype)
    return maps


def encode_blocks(
    images, layers, engine, dtype, *, xp, flip_average=False, chosen=None
):
    """Map images through layers, in blocks that fit into memory.

    Parameters
    ----------
    images : array of shape (n, H, W, C), any real dtype
        NumPy's, or of the engine's namespace.
    layers, engine, dtype
        See ``encode_block``.
    xp : module
        Namespace of the maps.
    flip_average : bool, default=False
        Whether to average the maps of an image and of its mirror image.
    chosen : ndarray of shape (m,), intp, or None, default=None
        Positions of the images to be mapped; None maps them all.

    Yields
    ------
    rows : slice
        Of the images, or of ``chosen``.
    maps : array of shape (block size, H', W', p), ``dtype``
        Valid until the next one is asked for.

    Raises
    ------
    MemoryError
        A single image takes more memory than there is.
    """
    encode = _encode_average if flip_average else _encode
    if chosen is not None:
        chosen = namespace(images).asarray(chosen)

    def compute(slices):
        blocks = (images[rows if chosen is None else chosen[rows]] for rows in slices)
        maps = (encode(each, layers, engine, dtype) for each in engine.upload(blocks))
        return engine.download(maps) if xp is np else maps

    shape, itemsize = images.shape[1:], np.dtype(dtype).itemsize
    n_copies = 1 + flip_average
    # Beside what the engine takes, the images in ``dtype`` before their scaling.
    image_bytes = n_copies * (
        engine.bytes_per_image(shape, layers, itemsize) + itemsize * prod(shape)
    )
    on_the_way = max(
        images.dtype.itemsize * prod(shape),
        itemsize * prod(map_shapes(shape, layers)[-1]),
    )
    work = n_copies * multiply_adds(shape, layers)
    at_most = min(
        engine.work_per_block // max(1, work),
        engine.transfer_bytes // on_the_way,
        engine.enough_images(image_bytes),
    )
    return Budget(engine.block_bytes).in_parts(
        len(images if chosen is None else chosen),
        image_bytes,
        compute,
        engine,
        at_most=max(1, at_most),
    )
