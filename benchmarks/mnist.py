"""MNIST: 60,000 images to train, 10,000 to test.

``--data DIR`` reads ``mnist_train.npz`` and ``mnist_test.npz`` with arrays ``X`` (n,
28, 28) uint8 and ``y``; without it, the images come from OpenML. The default alpha was
chosen by training on a third of the training images and validating on another; nothing
is chosen on the test images. Run with ``python benchmarks/mnist.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _timing import peak_memory

from sklearn_ckn import CKNFeatures
from sklearn_ckn._heads import fit_head


def load(directory):
    """Return training images and labels, test images and labels."""
    if directory is not None:
        arrays = []
        for split in ("train", "test"):
            with np.load(directory / f"mnist_{split}.npz") as archive:
                arrays += [archive["X"], archive["y"]]
        return arrays
    from sklearn.datasets import fetch_openml

    data = fetch_openml("mnist_784", version=1, as_frame=False)
    images = data.data.reshape(-1, 28, 28).astype(np.uint8)
    labels = data.target.astype(np.uint8)
    return images[:60_000], labels[:60_000], images[60_000:], labels[60_000:]


def main():
    """Train, test and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--patch-size", type=int, nargs="+", default=[3, 3])
    parser.add_argument("--subsampling", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--alpha", type=float, default=1e-9)
    parser.add_argument("--n-train", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    X, y, X_test, y_test = load(arguments.data)
    X, y = X[: arguments.n_train], y[: arguments.n_train]

    seconds = {}

    def timed(name, function, *values, **options):
        start = time.perf_counter()
        result = function(*values, **options)
        seconds[name] = time.perf_counter() - start
        return result

    network = CKNFeatures(
        tuple(arguments.n_anchors),
        patch_size=tuple(arguments.patch_size),
        subsampling=tuple(arguments.subsampling),
        random_state=arguments.seed,
        verbose=1,
    )
    timed("fit anchors", network.fit, X)
    features = timed("transform training images", network.transform, X)
    targets = 2.0 * (y[:, np.newaxis] == np.arange(10)) - 1
    coef, intercept = timed(
        "fit ridge head",
        fit_head,
        features,
        targets,
        np.ones(len(y)),
        head="ridge",
        alpha=arguments.alpha,
    )
    test_features = timed("transform test images", network.transform, X_test)
    errors = (test_features @ coef.T + intercept).argmax(axis=1) != y_test

    print(f"anchors {arguments.n_anchors}, {features.shape[1]} features")
    for name, value in seconds.items():
        print(f"{name:26} | {value:6.1f} s")
    print(f"{'all':26} | {sum(seconds.values()):6.1f} s")
    print(f"{'peak memory':26} | {peak_memory():6.0f} MB")
    print(f"{'test error':26} | {100 * errors.mean():6.2f} % ({errors.sum()})")


if __name__ == "__main__":
    main()
