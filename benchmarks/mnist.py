"""MNIST: training sets of several sizes, 10,000 images to test.

For every size, several random draws of the training images; the anchors, alpha and all
else are learned from these alone. With ``--copies``, the head is also fitted to
distorted copies of the training images, and alpha is chosen by folds that hold out an
image with its copies. With several ``--first-patches``, the probabilities of as many
networks are averaged. ``--validate`` tests on the last 10,000 training images instead
of the test images. ``--data DIR`` reads ``mnist_train.npz`` and ``mnist_test.npz`` with
arrays ``X`` (n, 28, 28) uint8 and ``y``; without it, the images come from OpenML. The
parameters were chosen on training images. Run with ``python benchmarks/mnist.py --data
DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _timing import peak_memory
from scipy.ndimage import affine_transform

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


def distorted(images, rng):
    """Return copies that are turned, sheared, scaled and shifted a little at random.

    Angles have a standard deviation of 0.1 radians, factors of 0.07 and shifts of 0.7
    pixels.
    """
    copies = np.empty_like(images)
    centre = (np.array(images.shape[1:]) - 1) / 2
    for image, copy in zip(images, copies, strict=True):
        angle, shear = rng.normal(0, 0.1, size=2)
        turn = np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        factors = np.exp(rng.normal(0, 0.07, size=2))
        matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(factors)
        offset = centre - matrix @ centre + rng.normal(0, 0.7, size=2)
        affine_transform(image, matrix, offset, output=copy, order=1)
    return copies


def evaluate(data, rows, seed, first_patch, arguments):
    """Train on some rows; return test probabilities, seconds by step, and alpha."""
    X, y, X_test = data
    X, y = X[rows], y[rows]
    rng = np.random.RandomState(seed)
    seconds = {}

    def timed(name, function, *values):
        start = time.perf_counter()
        result = function(*values)
        seconds[name] = time.perf_counter() - start
        return result

    network = CKNFeatures(
        tuple(arguments.n_anchors),
        patch_size=(first_patch, 3),
        subsampling=tuple(arguments.subsampling),
        normalize=arguments.normalize,
        random_state=seed,
    )
    head = LinearPathClassifier(arguments.head, alpha=arguments.alpha or "auto")
    timed("anchors", network.fit, X)
    copies = [X, *(distorted(X, rng) for _ in range(arguments.copies))]
    features = timed("features", network.transform, np.concatenate(copies))
    repeated = np.tile(np.arange(len(X)), len(copies))
    groups = repeated if arguments.copies else None
    timed("head", head.fit, features, y[repeated], None, groups)
    del features
    test_features = timed("test", network.transform, X_test)
    return head.predict_proba(test_features), seconds, head.alpha_


def main():
    """Train, test and print a row per training set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--first-patches", type=int, nargs="+", default=[3])
    parser.add_argument("--subsampling", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--normalize", type=float, default=0.0)
    parser.add_argument("--copies", type=int, default=0, help="of each image")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--head", default="ridge")
    parser.add_argument("--alpha", type=float, help="chosen by --validate before")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[300, 1000, 5000, 60000]
    )
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    X, y, X_test, y_test = load(arguments.data)
    if arguments.validate:
        X, y, X_test, y_test = X[:50_000], y[:50_000], X[50_000:], y[50_000:]
    data = X, y, X_test
    sizes = [size for size in arguments.sizes if size <= len(X)] or [len(X)]

    print("images | draw | test error % |   alpha | s: anchors, features, head, test")
    for size in sizes:
        errors = []
        for draw in range(arguments.draws):
            random_state = np.random.RandomState(draw)
            rows = random_state.choice(len(X), size, replace=False)
            total = 0
            for i, first_patch in enumerate(arguments.first_patches):
                seed = draw + 100 * i
                result = evaluate(data, rows, seed, first_patch, arguments)
                probabilities, seconds, alpha = result
                total = total + probabilities
                error = 100 * np.mean(total.argmax(axis=1) != y_test)
                steps = ", ".join(f"{value:.1f}" for value in seconds.values())
                print(
                    f"{size:6} | {draw:4} | {error:12.2f} | {alpha:.1e} | {steps}",
                    flush=True,
                )
            errors.append(error)
        print(f"{size:6} | mean | {np.mean(errors):12.2f}")
    print(f"peak memory {peak_memory():.0f} MB")


if __name__ == "__main__":
    main()
