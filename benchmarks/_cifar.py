"""CIFAR-10 as the benchmarks read it."""

import numpy as np

#: The last rows validate.
N_VALIDATION = 5000


def load_cifar(directory, n_train):
    """Return images and labels to train and to validate on.

    Parameters
    ----------
    directory : Path
        Of ``cifar10_train.npz`` with arrays ``X`` (50,000, 32, 32, 3) uint8 and ``y``.
    n_train : int

    Returns
    -------
    X, y, X_validation, y_validation : ndarray
    """
    with np.load(directory / "cifar10_train.npz") as archive:
        X, y = archive["X"], archive["y"]
    return X[:n_train], y[:n_train], X[-N_VALIDATION:], y[-N_VALIDATION:]


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
