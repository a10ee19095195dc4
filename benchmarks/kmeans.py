"""Spherical k-means against the matrix products that it cannot avoid.

The products are those of seeding and of each iteration's assignment, each of all
points with all centers, by NumPy on all threads and in the same run. Run with
``python benchmarks/kmeans.py``.
"""

import argparse

import numpy as np
from _timing import alternate

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._learning.k_means import spherical_k_means


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-points", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=576)
    parser.add_argument("--n-clusters", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    rng = np.random.RandomState(0)
    shape = (arguments.n_points, arguments.length)
    points = unit_rows(rng.randn(*shape).astype(np.float32) + rng.randn(shape[1]) / 2)
    points = np.ascontiguousarray(points, dtype=np.float32)
    centers = np.ascontiguousarray(points[: arguments.n_clusters].T)
    products = np.empty((arguments.n_points, arguments.n_clusters), np.float32)

    def cluster(max_iter):
        n_iter = spherical_k_means(
            points,
            arguments.n_clusters,
            max_iter=max_iter,
            tol=0.0,
            random_state=np.random.RandomState(0),
            engine=CPUEngine(),
        )[3]
        assert n_iter == max_iter

    seconds = alternate(
        {
            "one product": lambda: np.matmul(points, centers, out=products),
            **{i: (lambda i=i: cluster(i)) for i in (0, 3, 10)},
        },
        arguments.repeats,
    )
    product = seconds.pop("one product")
    operations = 2 * arguments.n_points * arguments.length * arguments.n_clusters
    print(
        f"{shape[0]} x {shape[1]} float32, {arguments.n_clusters} clusters; "
        f"one product {product:.3f} s, {operations / product / 1e9:.0f} GF/s"
    )
    print("iterations | products needed | seconds | seconds / products'")
    for n_iter, value in seconds.items():
        ratio = value / (product * (n_iter + 1))
        print(f"{n_iter:10d} | {n_iter + 1:15d} | {value:7.3f} | {ratio:.2f}")


if __name__ == "__main__":
    main()
