"""CIFAR-10: 45,000 images to train, 5,000 to validate, alpha chosen inside the former.

``--data DIR`` reads ``cifar10_train.npz`` with arrays ``X`` (50,000, 32, 32, 3) uint8
and ``y``; the last 5,000 rows validate. Images are whitened in patches and the features
averaged over mirror images. Several ``--whitening patch_size:power`` make a network
each, with a seed of its own, and the probabilities are averaged. Run with ``python
benchmarks/cifar.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _cifar import load_cifar
from _timing import peak_memory

from sklearn_ckn import CKNFeatures, LinearPathClassifier, PatchWhitening


def probabilities(data, whitening, seed, arguments):
    """Train one network and return its probabilities of the validation images."""
    X, y, X_validation, _ = data
    start = before = time.perf_counter()

    def report(name):
        nonlocal before
        now = time.perf_counter()
        print(f"{name:26} | {now - before:6.1f} s", flush=True)
        before = now

    patch_size, power = whitening.split(":")
    whitening = PatchWhitening(int(patch_size), power=float(power)).fit(X)
    X = whitening.transform(X)
    report(f"whiten, {patch_size}, power {power}")
    network = CKNFeatures(
        tuple(arguments.n_anchors),
        patch_size=tuple(arguments.patch_size),
        subsampling=tuple(arguments.subsampling),
        flip_average=not arguments.no_flip,
        normalize=arguments.normalize,
        random_state=seed,
    ).fit(X)
    report("fit anchors")
    features = network.transform(X)
    del X
    report("transform training images")
    head = LinearPathClassifier(arguments.head).fit(features, y)
    report(f"fit {arguments.head} head")
    predicted = head.predict_proba(network.transform(whitening.transform(X_validation)))
    report("validation images")
    print(f"{features.shape[1]} features, alpha {head.alpha_:.1e}")
    return predicted, time.perf_counter() - start


def main():
    """Train, validate and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n-train", type=int, default=45_000)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[64, 768])
    parser.add_argument("--patch-size", type=int, nargs="+", default=[3, 3])
    parser.add_argument("--subsampling", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--whitening", nargs="+", default=["3:0.25", "3:0", "5:0.25"])
    parser.add_argument("--no-flip", action="store_true")
    parser.add_argument("--normalize", type=float, default=0.5)
    parser.add_argument("--head", default="ridge")
    arguments = parser.parse_args()
    data = load_cifar(arguments.data, arguments.n_train)

    total, seconds = 0, 0
    for seed, whitening in enumerate(arguments.whitening):
        predicted, taken = probabilities(data, whitening, seed, arguments)
        total, seconds = total + predicted, seconds + taken
        alone, together = (
            100 * np.mean(each.argmax(axis=1) == data[3]) for each in (predicted, total)
        )
        print(
            f"validation accuracy {alone:.2f} %, of all so far {together:.2f} %, "
            f"{seconds:.0f} s, peak memory {peak_memory():.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
