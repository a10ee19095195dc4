"""CIFAR-10 as the benchmarks read it.

Either ``cifar10_train.npz`` with arrays ``X`` (50,000, 32, 32, 3) uint8 and ``y``, or a
tenth as large, and with other accuracies, ``cifar10_train_jpeg.npz``: ``header`` and
``scans``, bytes as uint8, ``offsets`` (50,001,) and ``labels``. The JPEG file of image
i is the header and the scans from ``offsets[i]`` to ``offsets[i + 1]``.
"""

import io

import numpy as np

#: As many of the last rows validate.
N_VALIDATION = 5000


def load_cifar(directory, n_train, n_validation=N_VALIDATION):
    """Return images and labels to train and to validate on.

    Parameters
    ----------
    directory : Path
    n_train, n_validation : int

    Returns
    -------
    X, y, X_validation, y_validation : ndarray
    """
    pixels = directory / "cifar10_train.npz"
    if pixels.exists():
        with np.load(pixels) as archive:
            X, y = archive["X"], archive["y"]
    else:
        with np.load(directory / "cifar10_train_jpeg.npz") as archive:
            X, y = _decode(**archive)
    return X[:n_train], y[:n_train], X[-n_validation:], y[-n_validation:]


def _decode(header, scans, offsets, labels):
    """Return the images (n, 32, 32, 3) of JPEG files with one header, and labels."""
    from PIL import Image

    header, scans = header.tobytes(), scans.tobytes()
    X = np.empty((len(labels), 32, 32, 3), np.uint8)
    for i in range(len(labels)):
        file = io.BytesIO(header + scans[offsets[i] : offsets[i + 1]])
        X[i] = Image.open(file).convert("RGB")
    return X, labels


def made_up_cifar(n_train, n_validation):
    """Return the same of images that are made up: a pattern a class, and noise."""
    rng = np.random.RandomState(0)
    patterns = rng.randint(64, 192, size=(10, 32, 32, 3))
    y = rng.randint(10, size=n_train + n_validation)
    # The last images of few: every class is there.
    y[:10] = y[-10:] = np.arange(10)
    X = rng.randint(-64, 64, size=(len(y), 32, 32, 3), dtype=np.int16) + patterns[y]
    X = X.astype(np.uint8)
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]
