"""Accuracy of supervised training against the unsupervised network that it starts from.

``--set`` is ``digits``, of which a part is held out, ``mnist`` (5,000 images to train)
or ``cifar`` (10,000, whitened in patches unless ``--raw``); the last two read
``mnist_train.npz`` or ``cifar10_train.npz`` with arrays ``X`` and ``y`` in ``--data``
and validate on the last 5,000 rows, which take no part in the training. The start is a
``CKNClassifier`` fitted on all the images, with the same seed and head. Run with
``python benchmarks/supervised.py --set cifar --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from sklearn_ckn import CKNClassifier, PatchWhitening, SupervisedCKNClassifier

N_VALIDATION = 5000
FILES = {"mnist": ("mnist_train.npz", 5000), "cifar": ("cifar10_train.npz", 10_000)}


def load(arguments):
    """Return training and validation images and labels."""
    if arguments.set == "digits":
        X, y = load_digits().images, load_digits().target
        order = np.random.RandomState(0).permutation(len(X))
        X, y, n_train, n_validation = X[order], y[order], 1000, len(X) - 1000
    else:
        name, n_train = FILES[arguments.set]
        n_validation = N_VALIDATION
        with np.load(arguments.data / name) as archive:
            X, y = archive["X"], archive["y"]
    parts = [X[:n_train], X[-n_validation:]]
    if arguments.set == "cifar" and not arguments.raw:
        whitening = PatchWhitening().fit(parts[0])
        parts = [whitening.transform(part) for part in parts]
    return parts[0], y[:n_train], parts[1], y[-n_validation:]


def main():
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=["digits", "mnist", "cifar"], required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--subsampling", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--head", default="ridge")
    parser.add_argument("--preset", help="instead of the three arguments before")
    parser.add_argument("--schedule", default="cosine")
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--augment", nargs="+", default=["none", "flip"])
    parser.add_argument("--learn-beta", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    X, y, X_validation, y_validation = load(arguments)
    network = {
        "n_anchors": tuple(arguments.n_anchors),
        "subsampling": tuple(arguments.subsampling),
        "head": arguments.head,
    }
    if arguments.preset:
        preset = SupervisedCKNClassifier.from_preset(arguments.preset).get_params()
        names = ("n_anchors", "patch_size", "subsampling", "kernel", "beta", "head")
        network = {name: preset[name] for name in names}
    # The images are whitened already.
    network |= {"whitening": None, "flip_average": False, "normalize": 0.0}
    print(
        f"{arguments.set}, {network}, {len(X)} images\n"
        "seed | augment    | beta    | epochs | start % | trained % | gain  | kept "
        "epoch | s/epoch"
    )
    for seed in arguments.seeds:
        start = CKNClassifier(**network, random_state=seed).fit(X, y)
        before = 100 * start.score(X_validation, y_validation)
        for augment in arguments.augment:
            for learn_beta in arguments.learn_beta:
                for n_epochs in arguments.epochs:
                    began = time.perf_counter()
                    trained = SupervisedCKNClassifier(
                        **network,
                        n_epochs=n_epochs,
                        batch_size=arguments.batch_size,
                        schedule=arguments.schedule,
                        learning_rate=arguments.learning_rate,
                        augment=None if augment == "none" else augment,
                        learn_beta=bool(learn_beta),
                        random_state=seed,
                    ).fit(X, y)
                    seconds = time.perf_counter() - began
                    seconds /= max(1, len(trained.history_["epoch"]) - 1)
                    after = 100 * trained.score(X_validation, y_validation)
                    print(
                        f"{seed:4} | {augment:10} | "
                        f"{'learned' if learn_beta else 'fixed':7} | {n_epochs:6} | "
                        f"{before:7.2f} | {after:9.2f} | {after - before:+5.2f} | "
                        f"{trained.best_epoch_:10} | {seconds:7.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
