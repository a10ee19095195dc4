"""Spherical k-means of unit vectors: k-means++ seeding and iterations."""

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.norms import row_norms
from sklearn_ckn._common.progress import Task
from sklearn_ckn._common.threads import single_threaded_blas

# Number of candidates that k_means_plusplus draws at once: CANDIDATES_PER_SEED times
# the number of seeds so far, and at most MAX_CANDIDATES. A candidate costs little, a
# pass over the data costs much.
CANDIDATES_PER_SEED = 16
MAX_CANDIDATES = 512


def k_means_plusplus(points, n_clusters, random_state, engine, weights=None):
    """Draw k-means++ seeds on the sphere.

    A point becomes the next seed with a probability proportional to its distance from
    the nearest seed, as in k-means++ (Arthur and Vassilvitskii, SODA 2007) with the
    squared distance 2 (1 - cosine).

    Candidates are drawn in groups, so that the distances of all points are computed
    once for each group, as a matrix product, and not once for each seed. A candidate
    is drawn with a probability proportional to its distance before the group. It is
    accepted with the probability (distance now) / (distance before), where "now"
    includes the seeds that its group has already given. The result has exactly the
    distribution of seeds that are drawn one after the other.

    Parameters
    ----------
    points : array of shape (n, length), float32 or float64
        Unit rows; an array of the engine's namespace.
    n_clusters : int
    random_state : RandomState
    engine : Engine
    weights : array of shape (n,), float64, or None, default=None
        Positive factors of the probabilities; with None all points have the same
        weight.

    Returns
    -------
    seeds : list of int
        Indices of distinct points; fewer than ``n_clusters`` if there are fewer
        distinct points.
    nearest : array of shape (n,), intp
        Position in ``seeds`` of the seed nearest to each point.
    similarity : array of shape (n,), dtype of the points
        Cosine of each point with its nearest seed.
    """
    xp = namespace(points)
    # The computed cosine of two equal points differs from 1 by rounding: the standard
    # deviation of a sum of L products, added one after the other, is sqrt(L) / 6 eps.
    rounding = max(10, points.shape[1] ** 0.5) * np.finfo(points.dtype).eps
    if weights is None:
        seeds = [random_state.randint(len(points))]
    else:
        shares = to_numpy(weights / weights.sum())
        seeds = [int(random_state.choice(len(points), p=shares))]
    nearest, similarity = engine.nearest_anchors(points, points[seeds])
    while len(seeds) < n_clusters:
        distance = 1 - similarity.astype(np.float64)
        distance[distance < rounding] = 0
        distance[xp.asarray(seeds)] = 0
        cumulative = xp.cumsum(distance if weights is None else weights * distance)
        if cumulative[-1] == 0:
            break
        n_candidates = min(CANDIDATES_PER_SEED * len(seeds), MAX_CANDIDATES)
        draws = random_state.uniform(size=(2, n_candidates))
        candidates = xp.searchsorted(
            cumulative, xp.asarray(draws[0]) * cumulative[-1], side="right"
        )
        # A product that is rounded up to the whole sum stands for the last point with a
        # positive distance.
        last = xp.flatnonzero(distance)[-1]
        candidates = xp.minimum(candidates, last)
        # On one thread, because rounding depends on the number of threads.
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
        Distance of each candidate from the nearest seed before the group.
    cosines : ndarray of shape (m, m)
        Cosines between the candidates.
    draws : ndarray of shape (m,)
        Random numbers, uniform between 0 and 1.
    n_wanted : int
        Largest number of accepted candidates.
    rounding : float
        Smaller distances count as zero.

    Returns
    -------
    accepted : list of int
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
    """Move one point into each empty cluster, in place.

    It is the point with the smallest similarity to its center among the points of
    clusters with at least two points.

    Parameters
    ----------
    labels : array of shape (n,), intp
    similarity : array of shape (n,)
        Cosine of each point with its center; 1 for points that are moved.
    n_clusters : int
    """
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


def sum_distances(similarity, weights=None):
    """Return the sum of 1 - ``similarity`` (n,), weighted by ``weights`` (n,)."""
    distances = 1 - similarity
    if weights is not None:
        distances = weights * distances
    # By rounding, the sum can be negative if the points are equal to their centers.
    return max(float(distances.sum(dtype=np.float64)), 0.0)


def _mean_weights(labels, weights, n_clusters):
    """Return the mean weight of the points of each cluster, 1 without weights."""
    if weights is None:
        return 1.0
    xp = namespace(labels)
    counts = xp.bincount(labels, minlength=n_clusters)
    return xp.bincount(labels, weights, minlength=n_clusters) / xp.maximum(counts, 1)


def spherical_k_means(
    points,
    n_clusters,
    *,
    max_iter,
    tol,
    random_state,
    engine,
    weights=None,
    verbose=0,
    task=None,
):
    """Cluster unit vectors by their directions (Dhillon and Modha, 2001).

    Parameters
    ----------
    points : array of shape (n, length), float32 or float64
        Unit rows; an array of the engine's namespace.
    n_clusters : int
    max_iter : int
        Largest number of iterations; with 0 the k-means++ seeds are the centers.
    tol : float
        The iterations stop when one of them reduces the inertia by at most this
        fraction of it.
    random_state : RandomState
    engine : Engine
    weights : array of shape (n,), float64, or None, default=None
        Positive weights of the points in the seeding, the centers and the inertia.
    verbose : int, default=0
        If not 0, the inertia is printed after each iteration.
    task : Task or None, default=None
        Parent of the tasks that report the progress, one for each iteration.

    Returns
    -------
    centers : array of shape (n_centers, length), dtype of the points
        Unit rows; fewer than ``n_clusters`` if there are fewer distinct points.
    labels : array of shape (n,), intp
    inertia : float
        Sum over the points of 1 - cosine to their center.
    n_iter : int
    """
    seeds, labels, similarity = k_means_plusplus(
        points, n_clusters, random_state, engine, weights
    )
    centers = points[seeds]
    inertia = sum_distances(similarity, weights)
    summands = points
    if weights is not None:
        summands = points * weights[:, np.newaxis].astype(points.dtype)
    n_iter = 0
    iterations = range(1, max_iter + 1)
    for n_iter in (task or Task()).each("k-means iteration", iterations):
        _reseed_empty(labels, similarity, len(centers))
        sums = engine.sum_groups(summands, labels, len(centers))
        norms = row_norms(sums)
        # Points in opposite directions can cancel; the center then keeps its value.
        moved = norms > 1e-6 * _mean_weights(labels, weights, len(centers))
        centers[moved] = (sums[moved] / norms[moved, np.newaxis]).astype(centers.dtype)
        labels, similarity = engine.nearest_anchors(points, centers)
        before = inertia
        inertia = sum_distances(similarity, weights)
        if verbose:
            print(f"k-means iteration {n_iter}: inertia {inertia:.6g}")
        if before - inertia <= tol * before:
            break
    return centers, labels, inertia, n_iter
