"""SphericalKMeans: k-means by cosine similarity, which also learns the anchors."""

from functools import partial
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

from sklearn_ckn._common.arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._common.devices import DEVICES, computed_where_x_is, device_of
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._common.output import RowOutputMixin
from sklearn_ckn._common.parameters import finite_number
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.types import Device, FloatArray, RandomState, fit_context
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._engine.choice import get_engine, get_prediction_engine
from sklearn_ckn._input.copies import distinct_rows
from sklearn_ckn._input.rows import validate_rows
from sklearn_ckn._input.sample_weight import check_sample_weight
from sklearn_ckn._learning.k_means import spherical_k_means, sum_distances


def _nearest_centers(engine, points, centers):
    """Return the label of each point, its similarity, and whether it is not zero."""
    return *engine.nearest_anchors(points, centers), points.any(axis=1)


class SphericalKMeans(
    RowOutputMixin,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    VersionedEstimator,
):
    """K-means on the unit sphere, which clusters directions.

    Rows are divided by their norms and assigned to the center of unit norm with the
    largest cosine similarity (Dhillon and Modha, Machine Learning 42, 2001). The first
    centers are chosen by k-means++. A cluster that becomes empty gets the row with the
    smallest similarity to its center as its new center.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    n_init : int, default=1
        Number of runs with different first centers. The run with the lowest inertia is
        kept.
    max_iter : int, default=100
        Maximum number of iterations of a run. With 0 the rows chosen by k-means++ are
        the centers.
    tol : float, default=1e-4
        Relative tolerance: a run ends when an iteration decreases the inertia by no
        more than this fraction of it.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
    verbose : int, default=0
        1 prints the inertia of every iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the choice of the first centers.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of the data
        Centers as rows of unit norm. There are fewer, with a warning, if the data have
        fewer distinct directions.
    labels_ : ndarray of shape (n_samples,), intp
        Center of each row; 0 for rows of zeros, which have no direction.
    inertia_ : float
        Weighted sum of 1 - cosine between each non-zero row and its center.
    n_iter_ : int
        Number of iterations of the run that was kept.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if the data had string column names.

    See Also
    --------
    CKNFeatures : Learns the anchors of its layers with this algorithm.

    Notes
    -----
    A weight of w means w repetitions of a row: equal rows are clustered as one row with
    the sum of their weights. If these weights differ, the first centers are drawn from
    the rows in an order that depends only on their values. The clusters then depend
    neither on the order of X nor on whether a row is repeated or weighted.

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
        "n_init": [Interval(Integral, 1, None, closed="left")],
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
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @fit_context
    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Find the centers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 is computed in float32, everything else in float64. An array of
            NumPy or CuPy.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative weights of the rows. A row of weight 0 is ignored.

        Returns
        -------
        self : SphericalKMeans

        Raises
        ------
        ValueError
            X is not a matrix of finite numbers, or has fewer rows of positive weight
            than ``n_clusters``; a weight is not as described.
        """
        with keep_fitted_on_error(self), device_of(X):
            engine = get_engine(self.device, X)
            X = engine.xp.asarray(validate_rows(self, X, reset=True))
            weights = check_sample_weight(sample_weight, len(X))
            n_rows = np.count_nonzero(weights)
            if n_rows < self.n_clusters:
                raise ValueError(
                    f"n_samples={n_rows} should be >= n_clusters={self.n_clusters}."
                )
            points = unit_rows(X)
            directed = to_numpy(points.any(axis=1))
            if not directed[weights > 0].any():
                raise ValueError(
                    "All rows of X are zero, so they have no directions to cluster."
                )
            # The sum of the weights themselves could exceed the range of float64.
            unit = float(weights.max())
            kept, weights = distinct_rows(X, weights / unit * directed)
            is_whole = np.array_equal(kept, np.arange(len(X)))
            own = points if is_whole else points[engine.xp.asarray(kept)]
            centers, labels, inertia, n_iter = self._best_run(own, weights, engine)
            if len(centers) < self.n_clusters:
                warn_user(
                    f"X has {len(centers)} distinct directions, fewer than n_clusters="
                    f"{self.n_clusters}: there are as many centers as directions.",
                )
            self.cluster_centers_ = to_numpy(centers)
            self.inertia_, self.n_iter_ = inertia * unit, n_iter
            self.labels_ = np.zeros(len(X), dtype=np.intp)
            self.labels_[kept] = to_numpy(labels)
            directed[kept] = False
            if directed.any():
                rest = points[engine.xp.asarray(directed)]
                labels, _ = engine.nearest_anchors(rest, centers)
                self.labels_[directed] = to_numpy(labels)
        return self

    def _best_run(self, points, weights, engine):
        """Return the result of ``spherical_k_means`` with the lowest inertia."""
        alike = bool((weights == weights[0]).all())
        random_state = check_random_state(self.random_state)
        runs = (
            spherical_k_means(
                points,
                self.n_clusters,
                max_iter=self.max_iter,
                tol=finite_number("tol", self.tol),
                random_state=random_state,
                engine=engine,
                weights=None if alike else engine.xp.asarray(weights),
                verbose=self.verbose,
            )
            for _ in range(self.n_init)
        )
        centers, labels, inertia, n_iter = min(runs, key=lambda run: run[2])
        return centers, labels, inertia * float(weights[0] if alike else 1), n_iter

    @computed_where_x_is
    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.intp]:
        """Find the centers and return the label of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            See :meth:`fit`.

        Returns
        -------
        labels : array of shape (n_samples,), intp
            ``labels_``. An array of CuPy on the GPU of X if X is one, else of NumPy.
        """
        labels = self.fit(X, sample_weight=sample_weight).labels_
        return to_namespace(labels, namespace(X))

    @computed_where_x_is
    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return minus the inertia of the rows and their nearest centers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative weights of the rows.

        Returns
        -------
        score : float
            Minus the weighted sum of 1 - cosine between each non-zero row and its
            nearest center. Larger is better.
        """
        _, similarity, is_directed = self._compute_blocks(X, _nearest_centers)
        weights = check_sample_weight(sample_weight, len(similarity))
        weights = to_namespace(weights, namespace(similarity)) * is_directed
        return -sum_distances(similarity, weights)

    @computed_where_x_is
    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """Return the label of the nearest center of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : array of shape (n_samples,), intp
            0 for rows of zeros. An array of CuPy on the GPU of X if X is one, else of
            NumPy.
        """
        return self._compute_blocks(X, _nearest_centers)[0]

    @computed_where_x_is
    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the cosine similarity of each row to each center.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        similarities : array of shape (n_samples, n_clusters), dtype of X
            Between -1 and 1; 0 for rows of zeros. An array of CuPy on the GPU of X if X
            is one, else of NumPy.
        """
        return self._compute_blocks(
            X, lambda engine, points, centers: [points @ centers.T]
        )[0]

    def _compute_blocks(self, X, function):
        """Apply a function to rows of unit norm, block by block.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        function : callable
            Of an engine, unit rows and the centers, all where the engine computes;
            returns arrays with as many rows.

        Returns
        -------
        results : list of array
            Arrays of CuPy on the GPU of X if X is one, else of NumPy.
        """
        check_is_fitted(self)
        engine = get_prediction_engine(self.device, X)
        X = validate_rows(self, X, reset=False)
        xp = namespace(X)
        centers = engine.xp.asarray(self.cluster_centers_.astype(X.dtype, copy=False))

        def compute(part):
            points = unit_rows(engine.xp.asarray(X[part]))
            results = function(engine, points, centers)
            return [to_namespace(result, xp) for result in results]

        # The rows on the engine, scaled and divided by their norms, and the results.
        row_bytes = X.dtype.itemsize * (3 * X.shape[1] + 2 * len(centers))
        parts = Budget(engine.block_bytes).in_parts(
            len(X), row_bytes, partial(map, compute), engine
        )
        blocks = zip(*(results for _, results in parts), strict=True)
        return [xp.concatenate(arrays) for arrays in blocks]

    @property
    def _n_features_out(self):
        return len(self.cluster_centers_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
