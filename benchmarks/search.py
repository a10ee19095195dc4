"""A grid search with and without ``memory``, and alpha in the grid against "auto".

Three values of beta, two of patch size and three folds on 5,000 MNIST images: with
``alpha="auto"``, without and with a fresh folder as memory, and again with what that
folder then holds; and with three alphas in the grid, without and with memory. The
scores must be equal to the bit with and without memory. ``--data DIR`` reads
``mnist_train.npz`` with arrays ``X`` (n, 28, 28) uint8 and ``y``. Run with ``python
benchmarks/search.py --data DIR``.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import GridSearchCV

from sklearn_ckn import CKNClassifier

NETWORK = {"beta": [1.5, 2.8, 4.0], "patch_size": [3, 4]}
ALPHAS = {"alpha": [1e-8, 1e-6, 1e-4]}


def main():
    """Run the searches and print their times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n-train", type=int, default=5000)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[64, 256])
    arguments = parser.parse_args()
    with np.load(arguments.data / "mnist_train.npz") as archive:
        X, y = archive["X"][: arguments.n_train], archive["y"][: arguments.n_train]

    def search(name, grid, memory):
        start = time.perf_counter()
        classifier = CKNClassifier(
            tuple(arguments.n_anchors),
            whitening=None,
            flip_average=False,
            normalize=0.0,
            memory=memory,
            random_state=0,
        )
        fitted = GridSearchCV(classifier, grid, cv=3).fit(X, y)
        seconds = time.perf_counter() - start
        error = 100 * (1 - fitted.best_score_)
        print(
            f"{name:36} | {seconds:7.1f} | {error:6.2f} | {fitted.best_params_}",
            flush=True,
        )
        return seconds, fitted.cv_results_["mean_test_score"]

    print(f"{'':36} | seconds | error % | best")
    with tempfile.TemporaryDirectory() as folder:
        automatic, scores = search('alpha="auto"', NETWORK, None)
        first, remembered = search('alpha="auto", memory', NETWORK, folder)
        again, repeated = search('alpha="auto", memory, again', NETWORK, folder)
    assert (scores == remembered).all()
    assert (scores == repeated).all()
    grid = {**NETWORK, **ALPHAS}
    with tempfile.TemporaryDirectory() as folder:
        alphas, scores = search("alpha in the grid", grid, None)
        alphas_memory, remembered = search("alpha in the grid, memory", grid, folder)
    assert (scores == remembered).all()
    print("ratios of the times:")
    for name, ratio in {
        'alpha="auto": without memory / with': automatic / first,
        'alpha="auto": without memory / the second time with': automatic / again,
        "alpha in the grid: without memory / with": alphas / alphas_memory,
        'without memory: alpha in the grid / "auto"': alphas / automatic,
        'with memory: alpha in the grid / "auto"': alphas_memory / first,
    }.items():
        print(f"{name:54} | {ratio:5.2f}")


if __name__ == "__main__":
    main()
