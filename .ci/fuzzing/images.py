"""Random images: what they show, their types and the layouts they come in."""

import numpy as np
import pandas as pd

#: What images can show, with how often.
KINDS = {
    "noise": 4,
    "positive": 4,
    "bytes": 4,
    "sparse": 2,
    "floor": 4,
    "spots": 4,
    "powers": 2,
    "low contrast": 2,
    "one-hot": 1,
    "repeated": 1,
    "constant": 1,
    "blank": 1,
    "denormal": 1,
    "largest": 1,
}

DTYPES = {
    "f8": 6,
    "f4": 6,
    "u1": 3,
    "i2": 2,
    "i8": 1,
    "f2": 1,
    "?": 1,
    ">f8": 1,
    ">f4": 1,
}

LAYOUTS = ("plain", "fortran", "strided", "read-only", "list", "rows", "frame")


def choose(rng, frequencies):
    """Return a key of a dict of frequencies."""
    names = list(frequencies)
    weights = np.array([frequencies[name] for name in names], float)
    return names[rng.choice(len(names), p=weights / weights.sum())]


def power(rng, low, high):
    """Return ten to a uniform exponent."""
    return float(10 ** rng.uniform(low, high))


def image_shape(rng, largest=12):
    """Return a random (H, W, C), small, often with an axis of length 1."""
    height, width = rng.integers(1, largest + 1, size=2).tolist()
    if rng.random() < 0.1:
        height = 1
    if rng.random() < 0.03:
        height = width = 1
    n_channels = int(rng.choice([1, 2, 3, 4, 33], p=[0.5, 0.1, 0.25, 0.1, 0.05]))
    return height, width, n_channels


def _spots(rng, shape):
    """Return bright spots with smooth tails, which fall far below rounding."""
    n, height, width, n_channels = shape
    rows, columns = np.mgrid[:height, :width]
    centers = rng.uniform(0, [[height], [width]], size=(2, n)).T
    distances = [(rows - a) ** 2 + (columns - b) ** 2 for a, b in centers]
    spots = np.exp(-np.stack(distances) / (2 * rng.uniform(0.5, 3) ** 2))
    return spots[..., np.newaxis] * rng.uniform(0.5, 1, size=(n, 1, 1, n_channels))


def _floor(rng, shape):
    """Return bright rectangles over a ground many orders below them."""
    images = rng.random(shape) * power(rng, -30, -3)
    height, width = shape[1:3]
    top, left = rng.integers(height), rng.integers(width)
    images[:, top : top + 3, left : left + 3] += rng.random(shape)[:, :3, :3][
        :, : height - top, : width - left
    ]
    return images


def draw(rng, kind, shape):
    """Return images (n, H, W, C) of a kind in float64, of magnitude about 1."""
    if kind in ("noise", "denormal", "largest"):
        return rng.standard_normal(shape)
    if kind == "bytes":
        return rng.integers(0, 256, size=shape).astype(float)
    if kind == "sparse":
        return rng.standard_normal(shape) * (rng.random((*shape[:3], 1)) < 0.2)
    if kind == "floor":
        return _floor(rng, shape)
    if kind == "spots":
        return _spots(rng, shape)
    if kind == "powers":
        factors = 10 ** rng.uniform(-30, 30, size=(shape[0], 1, 1, 1))
        return rng.standard_normal(shape) * factors
    if kind == "low contrast":
        return 100 + rng.random(shape) * power(rng, -6, 1)
    if kind == "one-hot":
        images = np.zeros(shape)
        flat = images.reshape(shape[0], -1)
        flat[np.arange(shape[0]), rng.integers(flat.shape[1], size=shape[0])] = 1
        return images
    if kind == "repeated":
        return rng.random((2, *shape[1:]))[rng.integers(2, size=shape[0])]
    if kind == "constant":
        return np.full(shape, power(rng, -3, 3))
    if kind == "blank":
        return np.zeros(shape)
    return rng.random(shape)


def to_dtype(rng, images, kind, dtype):
    """Return images in a type; integers and half precision get a range that fits."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return images > np.median(images)
    largest = np.abs(images).max() or 1.0
    if dtype.kind in "iu":
        limit = min(np.iinfo(dtype).max, 30_000)
        scaled = images / largest * limit
        if dtype.kind == "u":
            scaled = np.abs(scaled)
        return scaled.astype(dtype)
    limits = np.finfo(dtype)
    if kind == "denormal":
        images = images / largest * float(limits.tiny) * power(rng, -6, 0)
    elif kind == "largest":
        images = images / largest * float(limits.max) * power(rng, -1.5, -0.01)
    elif largest > float(limits.max) / 1e3 or limits.bits == 16:
        images = images / largest
    return images.astype(dtype)


def lay_out(rng, images, layout):
    """Return the same images in another layout, and the image_shape it needs."""
    shape = images.shape
    if layout == "plain":
        return (images[..., 0] if shape[3] == 1 and rng.random() < 0.5 else images), {}
    if layout == "fortran":
        return np.asfortranarray(images), {}
    if layout == "strided":
        wide = np.zeros((2 * shape[0], shape[1], shape[2] + 1, shape[3]), images.dtype)
        wide[::2, :, 1:] = images
        return wide[::2, :, 1:], {}
    if layout == "read-only":
        images = images.copy()
        images.flags.writeable = False
        return images, {}
    if layout == "list":
        return list(images), {}
    rows = images.reshape(shape[0], -1)
    if layout == "frame":
        # Columns of pandas have the byte order of the machine.
        rows = rows.astype(rows.dtype.newbyteorder("="))
        rows = pd.DataFrame(rows, columns=[f"p{i}" for i in range(rows.shape[1])])
    return rows, {"image_shape": shape[1:]}


def random_images(rng, n, shape, *, kinds=KINDS):
    """Return random images in their type and what they show."""
    kind = choose(rng, kinds)
    dtype = choose(rng, DTYPES)
    if kind in ("denormal", "largest", "powers"):
        dtype = str(rng.choice(["f4", "f8"]))
    return to_dtype(rng, draw(rng, kind, (n, *shape)), kind, dtype), kind


def computed(images):
    """Return images as they are computed: float32 for uint8 and float32, else f8."""
    single = images.dtype.newbyteorder("=") in (np.dtype("f4"), np.dtype("u1"))
    return images.astype(np.float32 if single else np.float64)
