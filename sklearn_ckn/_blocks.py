"""A data set taken through the network in blocks of bounded memory."""

from math import prod

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows

from sklearn_ckn._arrays import namespace, to_namespace
from sklearn_ckn._layer import multiply_adds
from sklearn_ckn._norms import powers_of_two
from sklearn_ckn._threads import n_threads

# Memory of a block: larger ones are no faster, if every thread has some images.
BLOCK_BYTES = 2**27
IMAGES_PER_THREAD = 16


def block_slices(n_images, image_shape, layers, engine, dtype, *, n_copies=1):
    """Divide images into blocks that fit scikit-learn's ``working_memory``.

    Parameters
    ----------
    n_images : int
    image_shape : tuple of int
        (H, W, C).
    layers : list of Layer
        Layers that the images are to go through; may be empty.
    engine : CPUEngine or ArrayEngine
    dtype : dtype
        float32 or float64, in which the images are computed.
    n_copies : int, default=1
        How many times each image is computed.

    Returns
    -------
    slices : list of slice
    """
    itemsize = np.dtype(dtype).itemsize
    # Beside what the engine takes, the images in ``dtype`` before their scaling.
    image_bytes = engine.bytes_per_image(image_shape, layers, itemsize)
    image_bytes += itemsize * prod(image_shape)
    by_memory = get_chunk_n_rows(n_copies * image_bytes, max_n_rows=n_images)
    enough = max(
        BLOCK_BYTES // (n_copies * image_bytes), IMAGES_PER_THREAD * n_threads()
    )
    work = n_copies * multiply_adds(image_shape, layers)
    by_work = engine.work_per_block // max(1, work)
    step = max(1, min(by_memory, by_work, enough))
    return list(gen_batches(n_images, step))


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
    """Map one block of images through layers.

    The images are first multiplied by powers of two that bring each one's largest
    absolute value between 1/2 and 1, and the maps multiplied back: the network is
    positively homogeneous, so nothing changes but that no intermediate result
    overflows or vanishes, however large or small the images' unit.

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
    maps = _encode(engine.xp.asarray(images), layers, engine, dtype)
    return to_namespace(maps, namespace(images))


def _encode(images, layers, engine, dtype):
    """Do the work of ``encode_block`` on arrays of the engine's namespace."""
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


def encode_each(blocks, layers, engine, dtype, *, xp, flip_average=False):
    """Map blocks of images through layers, one after the other.

    Parameters
    ----------
    blocks : iterable of array of shape (n, H, W, C), any real dtype
        NumPy's, or of the engine's namespace.
    layers, engine, dtype
        See ``encode_block``.
    xp : module
        Namespace of the maps.
    flip_average : bool, default=False
        Whether to average the maps of an image and of its mirror image.

    Returns
    -------
    maps : iterator of array of shape (n, H', W', p), ``dtype``
        Each is valid until the next one is asked for.
    """
    encode = _encode_average if flip_average else _encode
    maps = (encode(block, layers, engine, dtype) for block in engine.upload(blocks))
    return engine.download(maps) if xp is np else maps


def encode_blocks(images, layers, engine, dtype, *, xp, flip_average=False):
    """Map images through layers, a block at a time.

    Parameters
    ----------
    images : array of shape (n, H, W, C), any real dtype
        NumPy's, or of the engine's namespace.
    layers, engine, dtype, xp, flip_average
        See ``encode_each``.

    Returns
    -------
    blocks : iterator of (slice, array)
        The images of each block and their maps.
    """
    slices = block_slices(
        len(images), images.shape[1:], layers, engine, dtype, n_copies=1 + flip_average
    )
    parts = (images[part] for part in slices)
    maps = encode_each(parts, layers, engine, dtype, xp=xp, flip_average=flip_average)
    return zip(slices, maps, strict=True)
