"""Spherical k-means: the algorithm behind the anchors, and a clusterer of its own."""

import warnings
from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._engine import DEVICES, get_engine, get_prediction_engine
from sklearn_ckn._images import keep_fitted_on_error, validate_rows
from sklearn_ckn._norms import row_norms, unit_rows
from sklearn_ckn._parameters import finite_number
from sklearn_ckn._persistence import VersionedEstimator
from sklearn_ckn._progress import Task
from sklearn_ckn._threads import single_threaded_blas
from sklearn_ckn._typing import Device, FloatArray, RandomState, fit_context

# Candidates for seeds drawn at once, see k_means_plusplus: as many times the seeds
# so far, and at most. Candidates cost little, passes over the data much.
CANDIDATES_PER_SEED = 16
MAX_CANDIDATES = 512


def k_means_plusplus(points, n_clusters, random_state, engine):
    """Draw k-means++ seeds on the sphere, each with its distance as probability.

    The distribution is that of k-means++ (Arthur and Vassilvitskii, SODA 2007) with
    the squared distance 2 (1 - cosine). Seeds are drawn several at once, so that
    distances cost a few matrix products and not one pass over the data a seed: a
    candidate drawn from the distances before its group is accepted with the
    probability (distance now) / (distance before), which gives exactly the
    distribution of drawing one after the other.

    Parameters
    ----------
    points : array of shape (n, length), float32 or float64
        Unit rows, of the engine's namespace.
    n_clusters : int
    random_state : RandomState
    engine : CPUEngine or ArrayEngine

    Returns
    -------
    seeds : list of int
        Indices of distinct points; fewer than ``n_clusters`` where there are fewer
        distinct points.
    nearest : array of shape (n,), intp
        Position in ``seeds`` of every point's nearest seed.
    similarity : array of shape (n,), dtype of the points
        Cosine of that pair.
    """
    xp = namespace(points)
    # Cosines of equal points differ from 1 by rounding.
    rounding = 10 * np.finfo(points.dtype).eps
    seeds = [random_state.randint(len(points))]
    nearest, similarity = engine.nearest_anchors(points, points[seeds])
    while len(seeds) < n_clusters:
        distance = 1 - similarity.astype(np.float64)
        distance[distance < rounding] = 0
        cumulative = xp.cumsum(distance)
        if cumulative[-1] == 0:
            break
        n_candidates = min(CANDIDATES_PER_SEED * len(seeds), MAX_CANDIDATES)
        draws = random_state.uniform(size=(2, n_candidates))
        candidates = xp.searchsorted(
            cumulative, xp.asarray(draws[0]) * cumulative[-1], side="right"
        )
        # A product that rounds up to the sum itself belongs to the last point before.
        last = xp.flatnonzero(distance)[-1]
        candidates = xp.minimum(candidates, last)
        # On one thread, since rounding depends on the number of threads.
        with single_threaded_blas():
            cosines = to_numpy(points[candidates] @ points[candidates].T)
        accepted = _accept_candidates(
            to_numpy(distance[candidates]),
            cosines,
            draws[1],
            n_clusters - len(seeds),
            rounding,
        )
        new = candidates[xp.asarray(accepted)]
        new_nearest, new_similarity = engine.nearest_anchors(points, points[new])
        closer = new_similarity > similarity
        nearest[closer] = new_nearest[closer] + len(seeds)
        similarity[closer] = new_similarity[closer]
        seeds.extend(to_numpy(new).tolist())
    return seeds, nearest, similarity


def _accept_candidates(distances, cosines, draws, n_wanted, rounding):
    """Return the positions of the candidates that become seeds.

    Parameters
    ----------
    distances : ndarray of shape (m,), float64
        Of the candidates from the seeds before them.
    cosines : ndarray of shape (m, m)
        Between the candidates.
    draws : ndarray of shape (m,)
        Uniform between 0 and 1.
    n_wanted : int
        At most so many are accepted.
    rounding : float
        Distances below this are none.
    """
    accepted = []
    for i, distance in enumerate(distances):
        now = min([distance, *(1 - cosines[i, accepted])])
        if now >= rounding and draws[i] * distance < now:
            accepted.append(i)
        if len(accepted) == n_wanted:
            break
    return accepted


def _reseed_empty(labels, similarity, n_clusters):
    """Give every empty cluster the worst-represented point that can be spared."""
    xp = namespace(labels)
    counts = to_numpy(xp.bincount(labels, minlength=n_clusters))
    empty = np.flatnonzero(counts == 0)
    if len(empty) == 0:
        return
    owners = to_numpy(labels).copy()
    worst = iter(to_numpy(xp.argsort(similarity, kind="stable")).tolist())
    moved = []
    for cluster in empty:
        point = next((i for i in worst if counts[owners[i]] > 1), None)
        if point is None:
            break
        counts[owners[point]] -= 1
        counts[cluster] = 1
        owners[point] = cluster
        moved.append(point)
    labels[...] = xp.asarray(owners)
    similarity[xp.asarray(moved, dtype=np.intp)] = 1


def _inertia(similarity):
    # Rounding can put the sum of points that are their own centers below zero.
    return max(float((1 - similarity).sum(dtype=np.float64)), 0.0)


def spherical_k_means(
    points, n_clusters, *, max_iter, tol, random_state, engine, verbose=0, task=None
):
    """Cluster unit vectors by their directions (Dhillon and Modha, 2001).

    Parameters
    ----------
    points : array of shape (n, length), float32 or float64
        Unit rows, of the engine's namespace.
    n_clusters : int
    max_iter : int
        0 returns the k-means++ seeds.
    tol : float
        Stop when an iteration lowers the inertia by no more than this part of it.
    random_state : RandomState
    engine : CPUEngine or ArrayEngine
    verbose : int, default=0
    task : Task or None
        Of which each iteration is a part.

    Returns
    -------
    centers : array of shape (n_centers, length), dtype of the points
        Unit rows; fewer than ``n_clusters`` where there are fewer distinct points.
    labels : array of shape (n,), intp
    inertia : float
        Sum over the points of 1 - cosine to their center.
    n_iter : int
    """
    seeds, labels, similarity = k_means_plusplus(
        points, n_clusters, random_state, engine
    )
    centers = points[seeds]
    inertia = _inertia(similarity)
    n_iter = 0
    iterations = range(1, max_iter + 1)
    for n_iter in (task or Task()).each("k-means iteration", iterations):
        _reseed_empty(labels, similarity, len(centers))
        sums = engine.sum_groups(points, labels, len(centers))
        norms = row_norms(sums)
        # Opposite points can cancel: such a center stays where it was.
        moved = norms > 1e-6
        centers[moved] = (sums[moved] / norms[moved, np.newaxis]).astype(centers.dtype)
        labels, similarity = engine.nearest_anchors(points, centers)
        before = inertia
        inertia = _inertia(similarity)
        if verbose:
            print(f"k-means iteration {n_iter}: inertia {inertia:.6g}")
        if before - inertia <= tol * before:
            break
    return centers, labels, inertia, n_iter


class SphericalKMeans(
    ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, VersionedEstimator
):
    """K-means on the unit sphere: clusters of directions.

    Rows are divided by their norms and clustered by cosine similarity with
    unit-norm centers; k-means++ seeding, and empty clusters are re-seeded from the
    worst-represented row (Dhillon and Modha, Machine Learning 42, 2001).

    Parameters
    ----------
    n_clusters : int, default=8
    max_iter : int, default=100
        Largest number of iterations; 0 keeps the seeds as centers.
    tol : float, default=1e-4
        Stop when an iteration lowers the inertia by no more than this part of it.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        ``"cuda"`` needs CuPy and an NVIDIA GPU; ``"auto"`` takes a GPU where CuPy
        sees one.
    verbose : int, default=0
        1 prints the inertia of every iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the drawing of the first centers.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of the data
        Unit rows. Fewer, with a warning, where the data have fewer distinct
        directions.
    labels_ : ndarray of shape (n_samples,), intp
        Center of each row; rows of zeros, which have no direction, get 0.
    inertia_ : float
        Sum of 1 - cosine between each non-zero row and its center.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if the data had string column names.

    See Also
    --------
    CKNFeatures : Learns its anchors with this algorithm.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ckn import SphericalKMeans
    >>> X = np.array([[1.0, 0.1], [5.0, 0.0], [0.1, 2.0], [0.0, 1.0]])
    >>> SphericalKMeans(n_clusters=2, random_state=0).fit(X).labels_
    array([0, 0, 1, 1])
    """

    _parameter_constraints = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "device": [StrOptions(DEVICES)],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        max_iter: int = 100,
        tol: float = 1e-4,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.tol = tol
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @fit_context
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find the centers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 stays float32; other types become float64. An array of CuPy is
            clustered where it is.
        y : None
            Ignored.

        Returns
        -------
        self : SphericalKMeans

        Raises
        ------
        ValueError
            X is not a finite matrix, or has fewer rows than ``n_clusters``.
        """
        with keep_fitted_on_error(self):
            engine = get_engine(self.device, X)
            X = engine.xp.asarray(validate_rows(self, X, reset=True))
            if len(X) < self.n_clusters:
                raise ValueError(
                    f"n_samples={len(X)} should be >= n_clusters={self.n_clusters}."
                )
            points = unit_rows(X)
            directed = points.any(axis=1)
            if not directed.any():
                raise ValueError(
                    "All rows of X are zero, so they have no directions to cluster."
                )
            centers, labels, self.inertia_, self.n_iter_ = spherical_k_means(
                points if directed.all() else points[directed],
                self.n_clusters,
                max_iter=self.max_iter,
                tol=finite_number("tol", self.tol),
                random_state=check_random_state(self.random_state),
                engine=engine,
                verbose=self.verbose,
            )
            if len(centers) < self.n_clusters:
                warnings.warn(
                    f"X has {len(centers)} distinct directions, fewer than n_clusters="
                    f"{self.n_clusters}: there are as many centers as directions.",
                    UserWarning,
                    stacklevel=3,
                )
            self.cluster_centers_ = to_numpy(centers)
            self.labels_ = np.zeros(len(X), dtype=np.intp)
            self.labels_[to_numpy(directed)] = to_numpy(labels)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """Return the nearest center of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), intp
            0 for rows of zeros.
        """
        check_is_fitted(self)
        engine = get_prediction_engine(self.device, X)
        points = unit_rows(engine.xp.asarray(validate_rows(self, X, reset=False)))
        centers = self.cluster_centers_.astype(points.dtype, copy=False)
        return to_numpy(engine.nearest_anchors(points, centers)[0])

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the cosine similarity of each row to each center.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        similarities : array of shape (n_samples, n_clusters), dtype of X
            Between -1 and 1; 0 for rows of zeros. An array of CuPy if X is one.
        """
        check_is_fitted(self)
        engine = get_prediction_engine(self.device, X)
        rows = validate_rows(self, X, reset=False)
        points = unit_rows(engine.xp.asarray(rows))
        centers = self.cluster_centers_.astype(points.dtype, copy=False)
        similarities = points @ namespace(points).asarray(centers).T
        return to_namespace(similarities, namespace(rows))

    @property
    def _n_features_out(self):
        return len(self.cluster_centers_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
