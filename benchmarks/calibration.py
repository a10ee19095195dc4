"""Probabilities of the three heads against softmax of their decisions.

Held-out accuracy, log loss and expected calibration error (15 bins of confidence) on
scikit-learn's digits (1,000 to train) and, with ``--data DIR``, on MNIST (5,000 to
train, the next 5,000 held out) from ``mnist_train.npz`` with arrays ``X`` (n, 28, 28)
uint8 and ``y``. Run with ``python benchmarks/calibration.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

from sklearn_ckn import CKNFeatures, LinearPathClassifier

N_BINS = 15


def calibration_error(predicted, labels):
    """Return the mean gap between confidence and accuracy, over bins."""
    confidence = predicted.max(axis=1)
    correct = predicted.argmax(axis=1) == labels
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return np.abs(np.bincount(bins, correct - confidence)).sum() / len(labels)


def main():
    """Print a row per data set and head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    sets = {"digits": (digits.images[order], digits.target[order], 1000)}
    if arguments.data is not None:
        with np.load(arguments.data / "mnist_train.npz") as archive:
            sets["MNIST"] = (archive["X"][:10_000], archive["y"][:10_000], 5000)

    print(
        "data   | head       | accuracy | log loss: softmax, ours"
        " | error: softmax, ours"
    )
    for name, (X, y, n_train) in sets.items():
        network = CKNFeatures(random_state=0).fit(X[:n_train].astype(np.uint8))
        features = network.transform(X.astype(np.uint8))
        held_out, labels = features[n_train:], y[n_train:]
        for head in ("ridge", "linear_svm", "logistic"):
            start = time.perf_counter()
            classifier = LinearPathClassifier(head).fit(features[:n_train], y[:n_train])
            seconds = time.perf_counter() - start
            plain = softmax(
                classifier.decision_function(held_out).astype(np.float64), axis=1
            )
            ours = classifier.predict_proba(held_out)
            accuracy = 100 * classifier.score(held_out, labels)
            print(
                f"{name:6} | {head:10} | {accuracy:6.2f} %"
                f" | {log_loss(labels, plain):9.4f}, {log_loss(labels, ours):9.4f}"
                f"  | {calibration_error(plain, labels):8.4f},"
                f" {calibration_error(ours, labels):8.4f}"
                f" | alpha {classifier.alpha_:.0e}, {seconds:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
