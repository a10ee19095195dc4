"""Spherical k-means: seeding, iterations, and the clusterer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2

from sklearn_ckn import SphericalKMeans
from sklearn_ckn._common.norms import powers_of_two, row_norms, unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._learning.k_means import k_means_plusplus, spherical_k_means


def random_points(n=300, length=5, seed=0, dtype="f8"):
    return unit_rows(np.random.RandomState(seed).randn(n, length).astype(dtype))


def cluster(points, n_clusters, **parameters):
    parameters = {"max_iter": 100, "tol": 0.0, **parameters}
    return spherical_k_means(
        points,
        n_clusters,
        random_state=np.random.RandomState(0),
        engine=CPUEngine(),
        **parameters,
    )


def one_at_a_time(points, n_seeds, random_state):
    """Draw k-means++ seeds as the algorithm is usually written."""
    seeds = [random_state.randint(len(points))]
    while len(seeds) < n_seeds:
        distance = 1 - (points @ points[seeds].T).max(axis=1)
        distance = np.where(distance > 1e-12, distance, 0)
        seeds.append(random_state.choice(len(points), p=distance / distance.sum()))
    return seeds


def test_seeding_has_the_distribution_of_k_means_plusplus():
    # How often each pair of six points is drawn third and fourth, where several
    # candidates come from one draw, against drawing them one after the other.
    points = unit_rows(
        np.array([[1, 0], [1, 0.2], [0, 1], [0.3, -1], [-1, 0.1], [-1, -1.0]])
    )
    engine = CPUEngine()
    n_draws = 6_000
    counts = np.zeros((2, 36))
    random_state = np.random.RandomState(0)
    for _ in range(n_draws):
        seeds, _, _ = k_means_plusplus(points, 4, random_state, engine)
        counts[0, 6 * seeds[2] + seeds[3]] += 1
        seeds = one_at_a_time(points, 4, random_state)
        counts[1, 6 * seeds[2] + seeds[3]] += 1
    # Seeds drawn in one group come in the order of drawing.
    counts = counts[:, counts.sum(axis=0) > 0]
    assert counts.sum(axis=0).min() >= 10
    expected = counts.sum(axis=0) / 2
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Two-sample chi-square statistic: larger with probability 0.001.
    assert statistic < chi2.ppf(0.999, counts.shape[1] - 1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_seeds_are_distinct_and_nearest_is_right(dtype):
    points = random_points(dtype=dtype).repeat(3, axis=0)
    seeds, nearest, similarity = k_means_plusplus(
        points, 100, np.random.RandomState(0), CPUEngine()
    )
    assert len(np.unique(points[seeds], axis=0)) == 100
    cosines = points @ points[seeds].T
    tolerance = 10 * np.finfo(dtype).eps
    assert_allclose(similarity, cosines.max(axis=1), atol=tolerance)
    assert_allclose(cosines[np.arange(900), nearest], similarity, atol=tolerance)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_no_more_seeds_than_distinct_points(dtype):
    points = random_points(17, dtype=dtype).repeat(5, axis=0)
    centers, labels, inertia, _ = cluster(points, 40)
    assert len(centers) == 17
    assert_allclose(inertia, 0, atol=100 * np.finfo(dtype).eps)
    assert len(np.unique(labels.reshape(17, 5)[:, 0])) == 17


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_no_more_seeds_than_distinct_long_points(dtype):
    # Rounding makes the distance of a point from itself larger than 10 eps here.
    points = random_points(20, length=20_000, dtype=dtype).repeat(2, axis=0)
    cosines = CPUEngine().nearest_anchors(points, points[:1])[1]
    assert abs(cosines[:2] - 1).max() < 20_000**0.5 * np.finfo(dtype).eps
    seeds, _, _ = k_means_plusplus(points, 40, np.random.RandomState(0), CPUEngine())
    assert len(seeds) == 20
    assert len(np.unique(points[seeds], axis=0)) == 20


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_distance_equal_to_the_rounding_is_a_distance(dtype):
    eps = np.finfo(dtype).eps

    class Engine:
        # Two points whose distance is the smallest that counts.
        def nearest_anchors(self, points, anchors):
            similarity = np.full((2, len(anchors)), 1 - 10 * eps, dtype)
            similarity[(points[:, None] == anchors).all(axis=2)] = 1
            return similarity.argmax(axis=1), similarity.max(axis=1)

    points = np.eye(2, dtype=dtype)
    for seed in range(5):
        random_state = np.random.RandomState(seed)
        seeds, _, _ = k_means_plusplus(points, 2, random_state, Engine())
        assert sorted(seeds) == [0, 1]


def test_a_draw_at_the_very_end_takes_the_last_distant_point():
    points = unit_rows(np.array([[1.0, 0], [0, 1.0], [1.0, 0]]))

    class RandomState:
        def randint(self, n):
            return 0

        def uniform(self, size):
            return np.array([np.ones(size[1]), np.zeros(size[1])])

    seeds, _, _ = k_means_plusplus(points, 2, RandomState(), CPUEngine())
    assert list(seeds) == [0, 1]


def test_iterations_lower_the_inertia_to_a_fixed_point():
    points = random_points()
    inertias = [cluster(points, 10, max_iter=i)[2] for i in (0, 1, 2, 5, 100)]
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[-1] < inertias[1] < inertias[0]
    centers, labels, inertia, n_iter = cluster(points, 10)
    assert n_iter < 100
    assert_array_equal(labels, (points @ centers.T).argmax(axis=1))
    assert_allclose(inertia, np.sum(1 - (points @ centers.T).max(axis=1)))
    for i, center in enumerate(centers):
        mean = points[labels == i].sum(axis=0)
        assert_allclose(center, mean / np.linalg.norm(mean), rtol=1e-9)


def test_tolerance_stops_early():
    points = random_points()
    assert cluster(points, 10, tol=0.05)[3] < cluster(points, 10)[3]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_points_that_are_their_own_centers_stop_at_once(dtype):
    for seed in range(20):
        points = random_points(30, 7, seed, dtype)
        _, _, inertia, n_iter = cluster(points, 30, tol=1e-4, max_iter=50)
        assert 0 <= inertia < 30 * 10 * np.finfo(dtype).eps
        assert n_iter <= 2


def test_empty_clusters_take_the_worst_represented_point(monkeypatch):
    points = unit_rows(np.array([[1, 0.01], [1, 0], [1, -0.01], [0.5, 1], [-1, 0.2]]))

    def bad_seeds(points, n_clusters, random_state, engine, weights):
        # Three equal seeds: two of the clusters are empty.
        seeds = np.array([1, 1, 1])
        return seeds, *engine.nearest_anchors(points, points[seeds])

    monkeypatch.setattr("sklearn_ckn._learning.k_means.k_means_plusplus", bad_seeds)
    _, labels, inertia, _ = cluster(points, 3)
    assert labels[0] == labels[1] == labels[2]
    assert len(set(labels)) == 3
    assert inertia < 1e-3


def test_opposite_points_do_not_lose_their_center():
    points = np.array([[1.0, 0], [-1.0, 0]])
    centers, _, inertia, _ = cluster(points, 1)
    assert_allclose(np.abs(centers), [[1, 0]])
    assert inertia == 2


def test_estimator():
    X = 10 * random_points() * np.arange(1, 301)[:, None]
    clusterer = SphericalKMeans(4, random_state=0).fit(X)
    assert clusterer.cluster_centers_.shape == (4, 5)
    assert_allclose(np.linalg.norm(clusterer.cluster_centers_, axis=1), 1)
    assert_array_equal(clusterer.labels_, clusterer.predict(X))
    assert_array_equal(clusterer.labels_, clone_predict(clusterer, X))
    cosines = X @ clusterer.cluster_centers_.T / np.linalg.norm(X, axis=1)[:, None]
    assert_allclose(clusterer.transform(X), cosines, atol=1e-12)
    assert_allclose(clusterer.inertia_, np.sum(1 - cosines.max(axis=1)))
    assert 1 <= clusterer.n_iter_ <= 100
    assert_array_equal(
        clusterer.get_feature_names_out(), [f"sphericalkmeans{i}" for i in range(4)]
    )


def clone_predict(clusterer, X):
    return SphericalKMeans(**clusterer.get_params()).fit_predict(X)


def test_rows_of_zeros_have_no_direction():
    X = np.vstack([np.zeros((3, 5)), random_points(20)])
    clusterer = SphericalKMeans(4, random_state=0).fit(X)
    alone = SphericalKMeans(4, random_state=0).fit(X[3:])
    assert_array_equal(clusterer.cluster_centers_, alone.cluster_centers_)
    assert_array_equal(clusterer.labels_, [0, 0, 0, *alone.labels_])
    assert_array_equal(clusterer.predict(X), clusterer.labels_)
    assert_array_equal(clusterer.transform(X)[:3], 0)
    with pytest.raises(ValueError, match="All rows of X are zero"):
        SphericalKMeans(2).fit(np.zeros((5, 3)))


def test_fewer_directions_than_clusters_warn():
    X = np.outer(np.arange(1, 7), [1.0, 2.0])
    with pytest.warns(UserWarning, match="1 distinct directions") as record:
        clusterer = SphericalKMeans(3, random_state=0).fit(X)
    assert record[0].filename == __file__
    assert clusterer.cluster_centers_.shape == (1, 2)


def test_fewer_rows_than_clusters_is_an_error():
    with pytest.raises(ValueError, match="n_samples=5 should be >= n_clusters=8"):
        SphericalKMeans().fit(random_points(5))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_unit_rows_of_any_magnitude(dtype):
    limits = np.finfo(dtype)
    scales = np.array([limits.max / 4, 1e20, 1, 1e-20, limits.tiny * 4], dtype=dtype)
    rows = np.array([[3.0, 0, -4.0]], dtype=dtype) * (scales[:, None] / 4)
    units = unit_rows(rows)
    assert units.dtype == dtype
    assert_allclose(units, [[0.6, 0, -0.8]] * 5, rtol=4 * limits.eps)
    assert_array_equal(unit_rows(np.zeros((1, 3), dtype)), 0)
    assert_allclose(row_norms(units), 1, rtol=4 * limits.eps)


def test_powers_of_two():
    largest = np.array([0, 1, 3, 0.7, 1e-45, 3e38], dtype="f4")
    scale, inverse = powers_of_two(largest)
    assert_array_equal(scale * inverse, 1)
    scaled = (largest * scale)[1:4]
    assert ((scaled >= 0.5) & (scaled < 1)).all()
    assert scale[0] == 1
    assert np.isfinite(scale).all()


def test_weighted_seeding_draws_points_by_weight():
    points = unit_rows(np.array([[1, 0], [1, 0.2], [0, 1], [-1, 0.1], [-1, -1.0]]))
    weights = np.array([1, 4, 0.5, 2, 1])
    copies = points.repeat((2 * weights).astype(int), axis=0)
    engine = CPUEngine()
    n_draws = 4_000
    counts = np.zeros((2, 25))
    random_state = np.random.RandomState(0)
    for _ in range(n_draws):
        seeds, _, _ = k_means_plusplus(points, 2, random_state, engine, weights)
        counts[0, 5 * seeds[0] + seeds[1]] += 1
        drawn = one_at_a_time(copies, 2, random_state)
        seeds = (points @ copies[drawn].T).argmax(axis=0)
        counts[1, 5 * seeds[0] + seeds[1]] += 1
    counts = counts[:, counts.sum(axis=0) > 9]
    expected = counts.sum(axis=0) / 2
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Two-sample chi-square statistic: larger with probability 0.001.
    assert statistic < chi2.ppf(0.999, counts.shape[1] - 1)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_weights_are_repetitions(dtype):
    rng = np.random.RandomState(0)
    X = rng.randn(60, 4).astype(dtype)
    X[7] = 0
    repeats = rng.randint(5, size=60)
    weighted = SphericalKMeans(5, random_state=0).fit(X, sample_weight=repeats)
    rows = rng.permutation(np.arange(60).repeat(repeats))
    repeated = SphericalKMeans(5, random_state=0).fit(X[rows])
    assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    assert_array_equal(weighted.labels_[rows], repeated.labels_)
    assert_array_equal(weighted.labels_, weighted.predict(X))
    # Sums of rounded numbers in two orders.
    rounding = 1e-12 if dtype == "f8" else 1e-5
    assert_allclose(weighted.inertia_, repeated.inertia_, rtol=rounding)
    cosines = (unit_rows(X) @ weighted.cluster_centers_.T).max(axis=1)
    expected = repeats @ ((1 - cosines) * (X != 0).any(axis=1))
    assert_allclose(weighted.inertia_, expected, rtol=rounding)
    assert_allclose(weighted.score(X, sample_weight=repeats), -expected, rtol=rounding)
    assert_allclose(weighted.score(X[rows]), -expected, rtol=rounding)
    # The iterations have ended: each center is the direction of its weighted sum.
    for center, vector in enumerate(weighted.cluster_centers_):
        own = repeats * (weighted.labels_ == center)
        total = own @ unit_rows(X)
        assert_allclose(vector, total / np.linalg.norm(total), atol=10 * rounding)


@pytest.mark.parametrize("factor", [1e-250, 1e250])
def test_the_unit_of_the_weights_is_that_of_the_inertia(factor):
    X = np.random.RandomState(0).randn(40, 3)
    weights = np.random.RandomState(1).uniform(size=40)
    plain = SphericalKMeans(4, random_state=0).fit(X, sample_weight=weights)
    scaled = SphericalKMeans(4, random_state=0).fit(X, sample_weight=factor * weights)
    assert_allclose(scaled.cluster_centers_, plain.cluster_centers_)
    assert_allclose(scaled.inertia_, factor * plain.inertia_)
    # Weights that are all the same are those of an unweighted fit, to the bit.
    same = SphericalKMeans(4, random_state=0).fit(X, sample_weight=np.full(40, 3.0))
    unweighted = SphericalKMeans(4, random_state=0).fit(X)
    assert_array_equal(same.cluster_centers_, unweighted.cluster_centers_)
    assert same.inertia_ == 3 * unweighted.inertia_


def test_heavy_points_draw_the_centers():
    angles = np.radians([0, 10, 90, 100])
    X = np.column_stack([np.cos(angles), np.sin(angles)])
    fitted = SphericalKMeans(2, random_state=0).fit(X, sample_weight=[1e6, 1, 1, 1e-9])
    centers = np.sort(np.degrees(np.arctan2(*fitted.cluster_centers_.T[::-1])))
    assert_allclose(centers, [0, 90], atol=1e-4)


def test_a_cluster_of_light_points_moves():
    # Its sum is compared with its own weights, not with those of others.
    X = np.array([[1, 0], [1, 0.1], [-1, 0.2], [-1, 0.1]])
    weights = [1, 1, 1e-9, 2e-9]
    fitted = SphericalKMeans(3, random_state=0).fit(X, sample_weight=weights)
    light = fitted.cluster_centers_[fitted.labels_[2]]
    total = unit_rows(X)[2:].T @ weights[2:]
    assert_allclose(light, total / np.linalg.norm(total))


def test_n_init_takes_the_best_of_runs():
    X = np.random.RandomState(0).randn(200, 6)
    random_state = np.random.RandomState(0)
    runs = [SphericalKMeans(8, random_state=random_state).fit(X) for _ in range(5)]
    best = min(runs, key=lambda run: run.inertia_)
    assert best is not runs[0]
    fitted = SphericalKMeans(8, n_init=5, random_state=0).fit(X)
    assert_array_equal(fitted.cluster_centers_, best.cluster_centers_)
    assert_array_equal(fitted.labels_, best.labels_)
    assert (fitted.inertia_, fitted.n_iter_) == (best.inertia_, best.n_iter_)
    assert_allclose(fitted.score(X), -fitted.inertia_)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(9), "must not be negative"),
        (np.ones(8), "each of the 9 samples"),
        (np.zeros(9), "all weights are zero"),
        ([1, 1, 1, 0, 0, 0, 0, 0, 0], "n_samples=3 should be >= n_clusters=4"),
    ],
)
def test_bad_weights(weights, message):
    X = np.random.RandomState(0).randn(9, 2)
    with pytest.raises(ValueError, match=message):
        SphericalKMeans(4).fit(X, sample_weight=weights)


def test_fit_predict_takes_weights():
    X = np.random.RandomState(0).randn(30, 3)
    weights = np.random.RandomState(1).uniform(size=30)
    fitted = SphericalKMeans(3, random_state=0).fit(X, sample_weight=weights)
    clusterer = SphericalKMeans(3, random_state=0)
    assert_array_equal(clusterer.fit_predict(X, sample_weight=weights), fitted.labels_)
    assert_array_equal(clusterer.cluster_centers_, fitted.cluster_centers_)
