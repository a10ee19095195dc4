"""Accuracy of several settings on digits, MNIST and CIFAR-10, behind the defaults.

Each setting changes some parameters of ``CKNFeatures``; the head is ridge at the alpha
that does best on the validation rows, so that the features alone are compared. Digits:
5 folds of scikit-learn's digits. MNIST: 5,000 images to train, the next 5,000 to
validate, from ``mnist_train.npz`` in ``--data DIR``. CIFAR-10: 10,000 and the last
5,000, from ``cifar10_train.npz`` there; both hold arrays ``X`` (n, H, W) or
(n, H, W, C) uint8 and ``y``. A file that is missing is left out. Run with ``python
benchmarks/defaults.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from sklearn_ckn import CKNFeatures, LinearPathClassifier

ALPHAS = (1e-8, 1e-7, 1e-6, 1e-5)
SETTINGS = {
    "defaults": {},
    "1 k-means iteration": {"kmeans_max_iter": 1},
    "3 k-means iterations": {"kmeans_max_iter": 3},
    "10 k-means iterations": {"kmeans_max_iter": 10},
    "beta 2": {"beta": 2.0},
    "beta 4": {"beta": 4.0},
    "patch sizes 5, 3": {"patch_size": (5, 3)},
    "patch size 4": {"patch_size": 4},
    "subsampling 3, auto": {"subsampling": (3, "auto")},
    "subsampling 1, auto": {"subsampling": (1, "auto")},
    "anchors 64, 512": {"n_anchors": (64, 512)},
    "anchors 128, 256": {"n_anchors": (128, 256)},
    "anchors 64, 128, 256": {"n_anchors": (64, 128, 256)},
    "kernel arccos1": {"kernel": "arccos1"},
    "nystrom_reg 0.01": {"nystrom_reg": 1e-2},
}


def digits_splits():
    """Return the five (training images, labels, validation images, labels)."""
    data = load_digits()
    images = data.images.astype(np.uint8)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return [
        (images[train], data.target[train], images[test], data.target[test])
        for train, test in folds.split(images, data.target)
    ]


def file_split(path, train, validation):
    """Return one split of a file's rows, as a list like the digits' splits."""
    with np.load(path) as archive:
        images, labels = archive["X"], archive["y"]
    return [(images[train], labels[train], images[validation], labels[validation])]


def accuracies(split, parameters, seed):
    """Return the validation accuracy in percent at each alpha."""
    X, y, X_validation, y_validation = split
    network = CKNFeatures(random_state=seed, **parameters).fit(X)
    features, held_out = network.transform(X), network.transform(X_validation)
    return [
        100
        * LinearPathClassifier(alpha=alpha)
        .fit(features, y)
        .score(held_out, y_validation)
        for alpha in ALPHAS
    ]


def main():
    """Print a row per setting as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS))
    parser.add_argument("--n-seeds", type=int, default=1)
    arguments = parser.parse_args()
    data = {"digits": digits_splits()}
    mnist = arguments.data / "mnist_train.npz"
    if mnist.exists():
        data["MNIST"] = file_split(mnist, slice(5000), slice(5000, 10_000))
    cifar = arguments.data / "cifar10_train.npz"
    if cifar.exists():
        data["CIFAR-10"] = file_split(cifar, slice(10_000), slice(-5000, None))

    print("accuracy in % (best alpha)")
    print(" | ".join([f"{'setting':22}", *(f"{name:15}" for name in data), "seconds"]))
    for name in arguments.settings:
        start = time.perf_counter()
        cells = [f"{name:22}"]
        for splits in data.values():
            means = np.mean(
                [
                    accuracies(split, SETTINGS[name], seed)
                    for split in splits
                    for seed in range(arguments.n_seeds)
                ],
                axis=0,
            )
            cells.append(f"{means.max():6.2f} ({ALPHAS[means.argmax()]:.0e})")
        cells = [cells[0], *(f"{cell:15}" for cell in cells[1:])]
        print(" | ".join([*cells, f"{time.perf_counter() - start:7.0f}"]), flush=True)


if __name__ == "__main__":
    main()
