"""Data augmentation: random flips and shifts of training images."""

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy

NAMES = ("flip", "shift", "flip+shift")

# Largest shift of an image, as a fraction of its size: 4 pixels of 32.
LARGEST_SHIFT = 1 / 8


def flip(images, rng):
    """Exchange left and right of an image, with probability 1/2 for each image."""
    xp = namespace(images)
    chosen = xp.asarray(rng.uniform(size=(len(images), 1, 1, 1)) < 0.5)
    return xp.where(chosen, images[:, :, ::-1], images)


def shift(images, rng):
    """Move each image by up to an eighth of its size and repeat its border."""
    n_images, height, width, _ = images.shape
    indices = []
    for size in (height, width):
        largest = round(LARGEST_SHIFT * size)
        offsets = rng.randint(-largest, largest + 1, size=(n_images, 1))
        indices.append(np.clip(np.arange(size) + offsets, 0, size - 1))
    xp = namespace(images)
    rows, columns = map(xp.asarray, indices)
    return images[
        xp.arange(n_images)[:, np.newaxis, np.newaxis],
        rows[:, :, np.newaxis],
        columns[:, np.newaxis],
    ]


def augment_images(augment, images, rng):
    """Apply the parameter ``augment`` to a batch.

    Parameters
    ----------
    augment : {"flip", "shift", "flip+shift"}, callable or None
    images : array of shape (n, H, W, C), float32 or float64
        If they are on a GPU, a callable gets and returns NumPy copies of them.
    rng : RandomState

    Returns
    -------
    images : array of the shape and dtype of ``images``, C-ordered

    Raises
    ------
    ValueError
        The images returned by a callable have another shape or are not finite.
    """
    if augment is None:
        return images
    if not callable(augment):
        for function in (flip, shift):
            if function.__name__ in augment:
                images = function(images, rng)
        return images
    changed = augment(to_numpy(images.copy()), rng)
    changed = np.ascontiguousarray(changed, dtype=images.dtype)
    if changed.shape != images.shape:
        raise ValueError(
            f"augment returned images of shape {changed.shape} for a batch of shape "
            f"{images.shape}: it must return one image of the same shape for each."
        )
    if not np.isfinite(changed).all():
        raise ValueError("augment returned NaN or infinity: it must return numbers.")
    return namespace(images).asarray(changed)
