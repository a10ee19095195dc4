"""The figures of the documentation's page on when to use something else.

Time of ``transform`` with the defaults by the size of the images, on one thread;
accuracy on digits whose pixels are permuted; and on tables. Run with
``python benchmarks/alternatives.py``; ``--parts`` chooses.
"""

import argparse
from functools import partial

import numpy as np
from _timing import alternate
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNClassifier, CKNFeatures

N_LABELS = 400
TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer}


def size_table(repeats):
    """Print the time of an image by its size."""
    print("transform, defaults, one thread\nside | ms/image")
    rng = np.random.RandomState(0)
    for side in (32, 64, 128, 256):
        n_images = 65_536 // side**2 * 4
        images = rng.uniform(size=(n_images, side, side, 3)).astype(np.float32)
        network = CKNFeatures(n_patches=2000, random_state=0).fit(images[:4])
        with threadpool_limits(limits=1):
            transform = partial(network.transform, images)
            seconds = alternate({"": transform}, repeats)[""]
        print(f"{side:4} | {1000 * seconds / n_images:8.3f}", flush=True)


def permutation_table(n_draws):
    """Print accuracies on digits as they are, and with permuted pixels."""
    X, y = load_digits(return_X_y=True)
    accuracies = {"CKN": [], "CKN, permuted": [], "SVM": []}
    for seed in range(n_draws):
        order = np.random.RandomState(seed).permutation(X.shape[1])
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, train_size=N_LABELS, stratify=y, random_state=seed
        )
        network = CKNClassifier(image_shape=(8, 8), random_state=seed)
        for name, model, columns in (
            ("CKN", network, np.arange(X.shape[1])),
            ("CKN, permuted", network, order),
            # which no order of the columns changes
            ("SVM", SVC(C=10), order),
        ):
            model.fit(X_train[:, columns], y_train)
            accuracies[name].append(model.score(X_test[:, columns], y_test))
    print(f"\ndigits, {N_LABELS} labels, mean of {n_draws} draws")
    print("model         | accuracy")
    for name, values in accuracies.items():
        print(f"{name:13} | {100 * np.mean(values):6.2f} %", flush=True)


def table_table():
    """Print accuracies on tables, in five folds."""
    print("\ntables, five folds\ntable         | CKN     | SVM")
    for name, load in TABLES.items():
        X, y = load(return_X_y=True)
        network = make_pipeline(
            StandardScaler(),
            CKNClassifier(
                100, patch_size=1, image_shape=(1, 1, X.shape[1]), random_state=0
            ),
        )
        machine = make_pipeline(StandardScaler(), SVC(C=10))
        scores = [
            100 * cross_val_score(model, X, y, cv=5).mean()
            for model in (network, machine)
        ]
        print(f"{name:13} | {scores[0]:5.1f} % | {scores[1]:5.1f} %", flush=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("size", "permutation", "tables")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    if "size" in options.parts:
        size_table(options.repeats)
    if "permutation" in options.parts:
        permutation_table(options.draws)
    if "tables" in options.parts:
        table_table()


if __name__ == "__main__":
    main()
