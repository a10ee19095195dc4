"""Sums over rows of features and targets, which are all that ridge needs to be solved.

They are added up block by block, so that one reading of the features is enough.
"""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.cache_blocks import cache_blocks
from sklearn_ckn._common.lazy_array import largest_magnitude
from sklearn_ckn._common.lower_triangles import add_lower, lower_gram
from sklearn_ckn._heads.standardize import read_rows, unit_exponent

#: Places, spread evenly over all rows, and the rows that are read at each of them to
#: find the origin: files and clusters give neighbours at once.
ORIGIN_PLACES, ROWS_OF_PLACE = 8, 32


@dataclass(frozen=True)
class Origin:
    """Where rows are measured from, so that hardly any digits cancel in their sums.

    Attributes
    ----------
    exponent : int
        Features are divided by two to this power; see ``unit_exponent``.
    shift : array of shape (d,), of the dtype of the features
        About the mean of the divided features.
    """

    exponent: int
    shift: np.ndarray

    @classmethod
    def of_features(cls, values, xp, exponent=None):
        """Take the mean of some rows.

        Parameters
        ----------
        values : FeatureSource or array of shape (n, d)
        xp : module
            The namespace that computes.
        exponent : int or None, default=None
            None takes the one of these rows.
        """
        n = values.shape[0]
        starts = np.linspace(0, n - 1, ORIGIN_PLACES).astype(np.intp)
        chosen = starts[:, np.newaxis] - ROWS_OF_PLACE // 2 + np.arange(ROWS_OF_PLACE)
        rows = read_rows(values, np.unique(chosen.clip(0, n - 1)), xp)
        exponent = unit_exponent(rows) if exponent is None else exponent
        rows = xp.ldexp(rows, -exponent)
        return cls(exponent, rows.mean(axis=0, dtype=np.float64).astype(rows.dtype))

    def measure(self, block):
        """Return rows of features over the power of two, minus the shift."""
        if self.exponent:
            block = namespace(block).ldexp(block, -self.exponent)
        return block - self.shift


@dataclass
class Moments:
    """Sums over rows z of measured features, their targets y and weights w.

    Attributes
    ----------
    largest : float
        The largest absolute value of the features themselves.
    features : array of shape (d,), float64
        sum w z
    targets : array of shape (m,), float64
        sum w y
    gram : array of shape (d, d), float64
        The lower triangle of sum w z z^T, in Fortran order. The products of a block are
        computed in the dtype of the features.
    products : array of shape (d, m), float64
        sum w z y^T
    """

    largest: float
    features: np.ndarray
    targets: np.ndarray
    gram: np.ndarray
    products: np.ndarray

    @classmethod
    def zeros(cls, d, m, xp):
        """Return the sums over no rows."""
        return cls(
            0.0,
            xp.zeros(d),
            xp.zeros(m),
            xp.zeros((d, d), order="F"),
            xp.zeros((d, m)),
        )

    def add_rows(self, block, targets, weights, origin, product=None):
        """Add the sums over some rows.

        Parameters
        ----------
        block : array of shape (k, d)
            Features.
        targets : array of shape (k, m), float64
        weights : array of shape (k,), float64
        origin : Origin
        product : array of shape (d, d) or None, default=None
            The result of an earlier call, whose memory is used again.

        Returns
        -------
        product : array of shape (d, d)
        """
        xp = namespace(block)
        self.largest = max(self.largest, largest_magnitude(block))
        block = origin.measure(block)
        weighted = weights[:, np.newaxis] * targets
        self.targets += weighted.sum(axis=0)
        for rows in cache_blocks(block):
            exact = block[rows].astype(np.float64)
            self.features += weights[rows] @ exact
            self.products += exact.T @ weighted[rows]
        block *= xp.sqrt(weights[:, np.newaxis]).astype(block.dtype)
        product = lower_gram(block, product)
        add_lower(self.gram, product)
        return product

    @property
    def squares(self):
        """The sum of w z^2, (d,)."""
        return self.gram.diagonal()

    def __add__(self, other):
        """Return the sums over the rows of both."""
        return Moments(
            max(self.largest, other.largest),
            self.features + other.features,
            self.targets + other.targets,
            self.gram + other.gram,
            self.products + other.products,
        )
