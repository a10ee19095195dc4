"""CIFAR-10: 45,000 images to train, 5,000 to validate, alpha chosen inside the former.

``--data DIR`` reads ``cifar10_train.npz`` with arrays ``X`` (50,000, 32, 32, 3) uint8
and ``y``; the last 5,000 rows validate. Images are whitened in patches and the features
averaged over mirror images. Run with ``python benchmarks/cifar.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _timing import peak_memory

from sklearn_ckn import CKNFeatures, LinearPathClassifier, PatchWhitening

N_VALIDATION = 5000


def main():
    """Train, validate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n-train", type=int, default=45_000)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--patch-size", type=int, nargs="+", default=[3, 3])
    parser.add_argument("--subsampling", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--power", type=float, default=0.25)
    parser.add_argument("--no-flip", action="store_true")
    parser.add_argument("--head", default="ridge")
    parser.add_argument("--alpha", type=float, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with np.load(arguments.data / "cifar10_train.npz") as archive:
        X, y = archive["X"], archive["y"]
    X_validation, y_validation = X[-N_VALIDATION:], y[-N_VALIDATION:]
    X, y = X[: arguments.n_train], y[: arguments.n_train]

    start = before = time.perf_counter()

    def report(name):
        nonlocal before
        now = time.perf_counter()
        print(f"{name:26} | {now - before:6.1f} s", flush=True)
        before = now

    whitening = PatchWhitening(power=arguments.power).fit(X)
    X = whitening.transform(X)
    report("whiten training images")
    network = CKNFeatures(
        tuple(arguments.n_anchors),
        patch_size=tuple(arguments.patch_size),
        subsampling=tuple(arguments.subsampling),
        flip_average=not arguments.no_flip,
        random_state=arguments.seed,
    ).fit(X)
    report("fit anchors")
    features = network.transform(X)
    del X
    report("transform training images")
    head = LinearPathClassifier(arguments.head, alpha=arguments.alpha or "auto")
    head.fit(features, y)
    report(f"fit {arguments.head} head")
    held_out = network.transform(whitening.transform(X_validation))
    accuracy = head.score(held_out, y_validation)
    report("validation images")

    print(f"anchors {arguments.n_anchors}, {features.shape[1]} features")
    print(f"{'all':26} | {before - start:6.1f} s")
    print(f"{'peak memory':26} | {peak_memory():6.0f} MB")
    print(f"{'alpha':26} | {head.alpha_:.1e} of {len(head.alphas_)}")
    print(f"{'validation accuracy':26} | {100 * accuracy:6.2f} %")


if __name__ == "__main__":
    main()
