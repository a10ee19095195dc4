"""The heads on wide features, against scikit-learn and the products they need.

The features are made up: normal columns whose variances fall like those of network
features, float32. Ridge: a path of 13 alphas against the product X^T Y of n x d
matrices plus the eigendecomposition of a d x d matrix, and against
``RidgeClassifierCV`` with as many alphas. Linear SVM: against
``LinearSVC(dual=False)`` at the same objective. Each runs in a process of its own,
which tells its memory. Run with ``python benchmarks/heads.py``.

The part ``wide`` fits ridge where Cholesky factors replace the eigendecomposition,
against the Gram matrix and the triangular solve of all rows, the least from which
leave-one-out predictions of one alpha are computed:
``python benchmarks/heads.py --parts wide``. The ratio should be at most 1.5. The Gram
matrix is once the bare product in float32, and once standardized and summed in float64
as the fit needs it. ``--eigen`` also fits by the eigendecomposition, and
``--features FILE --labels FILE`` takes arrays of ``numpy.save`` in place of made up
ones.
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
from _timing import in_process
from scipy.linalg import eigh
from scipy.linalg.blas import strsm
from sklearn.linear_model import RidgeClassifierCV
from sklearn.svm import LinearSVC
from sklearn.utils import gen_batches

from sklearn_ckn import LinearPathClassifier
from sklearn_ckn._common.cache_blocks import product_blocks
from sklearn_ckn._common.lower_triangles import lower_gram
from sklearn_ckn._heads import cholesky_path
from sklearn_ckn._heads.summed import standardize_features

N_CLASSES = 10
ALPHAS = np.logspace(-1, -7, 13)

# Rows that are solved together: more are not faster.
ROWS_OF_SOLVE = 4500


def make_features(n, d):
    """Return features of mean 0 and mean square norm 1, and labels that overlap."""
    rng = np.random.RandomState(0)
    features = rng.standard_normal((n, d)).astype(np.float32)
    scales = np.arange(1, d + 1) ** -0.6
    features *= (scales / np.linalg.norm(scales)).astype(np.float32)
    directions = rng.standard_normal((N_CLASSES, d)).astype(np.float32)
    scores = features @ directions.T
    scores += 0.5 * rng.standard_normal(scores.shape)
    return features, scores.argmax(axis=1)


def gram_gemm(X, _):
    """Time X^T Y: Y is a copy, since X^T X would take half of the products."""
    other = X.copy()
    start = time.perf_counter()
    X.T @ other
    return time.perf_counter() - start


def eigendecomposition(X, _):
    """Time the eigenvectors of a d x d matrix in float64."""
    matrix = (X.T @ X).astype(np.float64)
    start = time.perf_counter()
    eigh(matrix, overwrite_a=True, check_finite=False, driver="evd")
    return time.perf_counter() - start


def bare_gram(X, _):
    """Time the lower triangle of X^T X in float32, by blocks of rows."""
    product = None
    start = time.perf_counter()
    for rows in product_blocks(*X.shape):
        product = lower_gram(X[rows], product)
    return time.perf_counter() - start


def fitted_gram(X, _):
    """Time the Gram matrix that a fit needs, standardized and summed in float64."""
    n = len(X)
    start = time.perf_counter()
    standardize_features(X, np.zeros((n, N_CLASSES)), np.ones(n), None).gram()
    return time.perf_counter() - start


def triangular_solve(X, _):
    """Time the solution of all rows with a Cholesky factor, in float32."""
    lower = np.asfortranarray(X[: X.shape[1]])
    lower[np.diag_indices(len(lower))] = len(lower)
    seconds = 0.0
    for rows in gen_batches(len(X), ROWS_OF_SOLVE):
        right = X[rows].T.copy(order="F")
        start = time.perf_counter()
        strsm(1.0, lower, right, lower=1, overwrite_b=1)
        seconds += time.perf_counter() - start
    return seconds


def ridge_auto(X, y, by_factors=True):
    """Fit the default alphas; return the one chosen, its accuracy and their number."""
    if not by_factors:
        cholesky_path.MIN_FEATURES = np.inf
    fitted = LinearPathClassifier().fit(X, y)
    accuracy = fitted.alpha_scores_[fitted.alphas_ == fitted.alpha_][0]
    return fitted.alpha_, accuracy, len(fitted.alphas_)


def load_features(features, labels, n):
    """Return the first rows of features and labels in files."""
    return np.load(features, mmap_mode="r")[:n].copy(), np.load(labels)[:n]


def ridge_path(X, y):
    """Fit all alphas and return the one chosen and the accuracies."""
    fitted = LinearPathClassifier(alpha=ALPHAS).fit(X, y)
    return fitted.alpha_, fitted.alpha_scores_


def ridge_peer(X, y):
    """Do the same with scikit-learn, whose alphas are in other units."""
    unit = len(X) * np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1))
    peer = RidgeClassifierCV(ALPHAS * unit, scoring="accuracy").fit(X, y)
    return peer.alpha_ / unit, peer.best_score_


def svm_objective(X, y, coef, intercept, alpha):
    """Evaluate the objective of LinearPathClassifier in float64."""
    targets = 2.0 * (y[:, np.newaxis] == np.arange(N_CLASSES)) - 1
    slack = np.maximum(0, 1 - targets * (X @ coef.astype(np.float64).T + intercept))
    scale = np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1))
    return np.sum(slack**2) / (2 * len(X)) + alpha / 2 * scale * np.sum(coef**2)


def svm(X, y, alpha):
    """Minimise along the path down to alpha; return the objective and alpha."""
    candidates = ALPHAS[(alpha * 0.99 < ALPHAS) & (ALPHAS < 0.02)]
    fitted = LinearPathClassifier("linear_svm", alpha=candidates).fit(X, y)
    return fitted.alpha_, fitted.alpha_scores_


def svm_single(X, y, alpha):
    """Minimise at one alpha and return the objective."""
    fitted = LinearPathClassifier("linear_svm", alpha=alpha).fit(X, y)
    return svm_objective(X, y, fitted.coef_, fitted.intercept_, alpha)


def svm_peer(X, y, alpha):
    """Do the same with scikit-learn, whose penalty includes the intercept."""
    fitted = LinearSVC(C=1 / (2 * len(X) * alpha), dual=False).fit(X, y)
    return svm_objective(X, y, fitted.coef_, fitted.intercept_, alpha)


def compare_wide(arguments):
    """Fit wide ridge heads and print the ratio to the products they need."""
    n, d = arguments.wide_shape
    prepare = partial(make_features, n, d)
    if arguments.features is not None:
        prepare = partial(load_features, arguments.features, arguments.labels, n)
    bare, solved, own = (
        in_process(prepare, function)[0]
        for function in (bare_gram, triangular_solve, fitted_gram)
    )
    report(f"Gram matrix, bare product, {n} x {d}", bare, 0, 0)
    report("Gram matrix, standardized, float64 sums", own, 0, 0)
    report("triangular solve of all rows", solved, 0, 0)
    ways = {"Cholesky factors": True}
    if arguments.eigen:
        ways["eigendecomposition"] = False
    for name, by_factors in ways.items():
        function = partial(ridge_auto, by_factors=by_factors)
        (alpha, accuracy, tried), *measured = in_process(prepare, function)
        report(f"ridge by {name}", *measured)
        print(
            f"alpha {alpha:.1e}, accuracy {accuracy:.4f}, {tried} alphas; fit / (Gram "
            f"+ solve): {measured[0] / (own + solved):.2f}, with the bare product "
            f"{measured[0] / (bare + solved):.2f}"
        )


def report(name, seconds, before, peak):
    """Print a row."""
    print(f"{name:44} | {seconds:8.1f} | {before:7.0f} | {peak:7.0f}", flush=True)


def main():
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ridge-shape", type=int, nargs=2, default=[50_000, 4096])
    parser.add_argument("--equal-shape", type=int, nargs=2, default=[4000, 512])
    parser.add_argument("--svm-shape", type=int, nargs=2, default=[20_000, 4096])
    parser.add_argument("--svm-alpha", type=float, default=1e-5)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds a peer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wide-shape", type=int, nargs=2, default=[45_000, 9216])
    parser.add_argument("--features", help="file of an array for the part wide")
    parser.add_argument("--labels", help="file of its labels")
    parser.add_argument("--eigen", action="store_true", help="part wide: both ways")
    parser.add_argument("--parts", nargs="+", default=["ridge", "equal", "svm"])
    arguments = parser.parse_args()
    print(f"{'':44} |  seconds | MB then | MB peak")

    if "ridge" in arguments.parts:
        n, d = arguments.ridge_shape
        prepare = partial(make_features, n, d)
        ratios = []
        for _ in range(arguments.repeats):
            gemm, *_ = in_process(prepare, gram_gemm)
            decomposition, *_ = in_process(prepare, eigendecomposition)
            (alpha, _), seconds, before, peak = in_process(prepare, ridge_path)
            ratios.append(seconds / (gemm + decomposition))
            report(f"product X^T Y, {n} x {d}", gemm, 0, 0)
            report("eigendecomposition", decomposition, 0, 0)
            report("ridge, 13 alphas", seconds, before, peak)
        print(f"ridge / (product + decomposition): {statistics.median(ratios):.2f}")
        result, *measured = in_process(prepare, ridge_peer, arguments.limit)
        report("RidgeClassifierCV, 13 alphas", *measured)
        print(f"alpha {alpha:.1e}; scikit-learn: {result or 'stopped at the limit'}")

    if "wide" in arguments.parts:
        compare_wide(arguments)

    if "equal" in arguments.parts:
        n, d = arguments.equal_shape
        prepare = partial(make_features, n, d)
        (alpha, scores), *measured = in_process(prepare, ridge_path)
        report(f"ridge, 13 alphas, {n} x {d}", *measured)
        result, *measured = in_process(prepare, ridge_peer, arguments.limit)
        report("RidgeClassifierCV, 13 alphas", *measured)
        print(f"alpha and accuracy: {alpha:.3e} {scores.max():.6f}; peer {result}")

    if "svm" in arguments.parts:
        n, d = arguments.svm_shape
        prepare = partial(make_features, n, d)
        alpha = arguments.svm_alpha
        objective, seconds, *memory = in_process(
            prepare, partial(svm_single, alpha=alpha)
        )
        report(f"linear SVM, fold and all, {n} x {d}", seconds, *memory)
        _, path_seconds, *memory = in_process(prepare, partial(svm, alpha=alpha))
        report("linear SVM, path of alphas", path_seconds, *memory)
        theirs, peer_seconds, *memory = in_process(
            prepare, partial(svm_peer, alpha=alpha), arguments.limit
        )
        report("LinearSVC(dual=False)", peer_seconds, *memory)
        print(
            f"LinearSVC / ours: {peer_seconds / seconds:.1f}; objective {objective:.6f}"
        )
        print(f"peer's objective: {theirs or 'stopped at the limit'}")


if __name__ == "__main__":
    main()
