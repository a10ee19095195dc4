"""MNIST: training sets of several sizes, 10,000 images to test.

For every size, several random draws of the training images; the anchors, alpha and all
else are learned from these alone. ``--data DIR`` reads ``mnist_train.npz`` and
``mnist_test.npz`` with arrays ``X`` (n, 28, 28) uint8 and ``y``; without it, the images
come from OpenML. The network's parameters were chosen on training images. Run with
``python benchmarks/mnist.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _timing import peak_memory

from sklearn_ckn import CKNFeatures, LinearPathClassifier


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


def evaluate(data, rows, seed, arguments):
    """Train on some rows; return the test error in percent and seconds by step."""
    X, y, X_test, y_test = data
    X, y = X[rows], y[rows]
    seconds = {}

    def timed(name, function, *values):
        start = time.perf_counter()
        result = function(*values)
        seconds[name] = time.perf_counter() - start
        return result

    network = CKNFeatures(
        tuple(arguments.n_anchors),
        patch_size=tuple(arguments.patch_size),
        subsampling=tuple(arguments.subsampling),
        random_state=seed,
    )
    head = LinearPathClassifier(arguments.head)
    timed("anchors", network.fit, X)
    features = timed("features", network.transform, X)
    timed("head", head.fit, features, y)
    test_features = timed("test", network.transform, X_test)
    error = 100 * (1 - head.score(test_features, y_test))
    return error, seconds, head.alpha_


def main():
    """Train, test and print a row per training set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--patch-size", type=int, nargs="+", default=[3, 3])
    parser.add_argument("--subsampling", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--head", default="ridge")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[300, 1000, 5000, 60000]
    )
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    data = load(arguments.data)

    print("images | draw | test error % |   alpha | s: anchors, features, head, test")
    for size in arguments.sizes:
        errors = []
        for draw in range(arguments.draws):
            random_state = np.random.RandomState(draw)
            rows = random_state.choice(len(data[0]), size, replace=False)
            error, seconds, alpha = evaluate(data, rows, draw, arguments)
            errors.append(error)
            steps = ", ".join(f"{value:.1f}" for value in seconds.values())
            print(
                f"{size:6} | {draw:4} | {error:12.2f} | {alpha:.1e} | {steps}",
                flush=True,
            )
        print(f"{size:6} | mean | {np.mean(errors):12.2f}")
    print(f"peak memory {peak_memory():.0f} MB")


if __name__ == "__main__":
    main()
