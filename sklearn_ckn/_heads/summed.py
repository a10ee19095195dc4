"""Standardized features that are read once for all sums from which ridge is solved."""

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.cache_blocks import gram_blocks
from sklearn_ckn._common.lower_triangles import each_lower_block
from sklearn_ckn._heads.moments import Moments, Origin
from sklearn_ckn._heads.rounding import smallest_spread
from sklearn_ckn._heads.standardize import (
    StandardizedFeatures,
    exponent_of,
    read_rows,
    scale_of,
)


class FeatureSource:
    """Features that are not in memory: base class.

    ``source[rows]`` computes rows, for a slice or an ascending array of positions.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    dtype : dtype
        float32 or float64.
    """

    shape: tuple[int, int]
    dtype: np.dtype

    def __len__(self):
        return self.shape[0]

    @property
    def size(self):
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows):
        """Return the features of some rows, an array of NumPy or CuPy."""
        raise NotImplementedError

    def take(self, positions):
        """Return a source of the rows at ascending positions."""
        raise NotImplementedError

    def reduce(self, function, combine, arrays, *arguments):
        """Return a function of the features, which several machines may compute.

        Parameters
        ----------
        function : callable
            Of a module. It gets a source of all rows, or of some, the rows of the
            arrays that belong to these, and the other arguments.
        combine : callable
            From a list of results of parts of the rows to one result.
        arrays : tuple of ndarray of shape (n, ...)
        *arguments
        """
        return function(self, *arrays, *arguments)


@dataclass(frozen=True)
class PartSums:
    """Moments of parts of the rows that are held out or trained on together.

    Attributes
    ----------
    targets : array of shape (n, m)
    weights : array of shape (n,)
        Of mean 1.
    parts : ndarray of shape (n,), intp
        Numbers of the parts, from 0.
    origin : Origin
    moments : list of Moments
        Of each part.
    """

    targets: np.ndarray
    weights: np.ndarray
    parts: np.ndarray
    origin: Origin
    moments: list

    @classmethod
    def measure(cls, source, targets, weights, splits):
        """Read all rows once, or twice where their unit was not seen beforehand.

        Parameters
        ----------
        source : FeatureSource or array of shape (n, d)
        targets : array of shape (n, m)
        weights : array of shape (n,)
            Their namespace is the one that computes.
        splits : list of tuple of array, or None
            Training rows and held-out rows, which together are all rows.
        """
        parts = _parts(splits or [], len(source))
        origin = Origin.of_features(source, namespace(weights))
        while True:
            sums = cls(targets, weights / weights.mean(), parts, origin, [])
            sums.moments.extend(sums._read(source))
            largest = max(each.largest for each in sums.moments)
            exponent = exponent_of(largest, source.dtype)
            if exponent == origin.exponent:
                return sums
            origin = Origin.of_features(source, namespace(weights), exponent)

    def _read(self, source):
        """Return the moments of each part."""
        arrays = self.targets, self.weights, self.parts
        arguments = self.origin, int(self.parts.max()) + 1
        if isinstance(source, FeatureSource):
            return source.reduce(_moments, _combine, arrays, *arguments)
        return _moments(source, *arrays, *arguments)

    def total(self, name, weights):
        """Return one of the sums over all rows, with other weights, of mean 1.

        Parameters
        ----------
        name : str
            Attribute of Moments.
        weights : array of shape (n,)
            Those of the sums times a factor, or 0 for all rows of some parts.
        """
        kept = np.unique(self.parts[to_numpy(weights > 0)])
        own = self.weights[namespace(weights).asarray(np.isin(self.parts, kept))]
        first, *others = (getattr(self.moments[part], name) for part in kept)
        # The order of the axes is kept: LAPACK needs the matrix in Fortran order.
        total = first.copy(order="K")
        for other in others:
            total += other
        total *= len(weights) / own.sum()
        return total


@dataclass(frozen=True)
class SummedFeatures(StandardizedFeatures):
    """Standardized features with the sums over all rows.

    Attributes
    ----------
    values : FeatureSource or array of shape (n, d)
        Not divided by two to the exponent.
    sums : PartSums or None
        Never None; it follows attributes with default values.

    See ``StandardizedFeatures`` for the other attributes.
    """

    sums: PartSums | None = None

    @classmethod
    def from_source(cls, source, targets, weights, splits):
        """Read the features; see ``PartSums.measure`` for the parameters."""
        return cls._of_sums(
            source, weights, PartSums.measure(source, targets, weights, splits)
        )

    @classmethod
    def _of_sums(cls, source, weights, sums):
        n, xp = len(source), namespace(weights)
        weights = weights / weights.mean()
        exponent, dtype = sums.origin.exponent, source.dtype
        offset = sums.total("features", weights) / n
        mean = sums.origin.shift.astype(np.float64) + offset
        variances = sums.total("squares", weights) / n - offset**2
        errors = xp.asarray(smallest_spread(dtype, exponent))
        scale, varying = scale_of(variances, mean, dtype, errors)
        return cls(source, weights, mean, scale, varying, exponent, errors, sums)

    @property
    def _offset(self):
        """The mean minus the shift of the origin, (d,)."""
        return self.sums.total("features", self.weights) / len(self.weights)

    def weighted(self, weights):
        """Return the same features standardized with other weights (n,).

        They are those of the fit, or 0 for all rows of some splits' parts.
        """
        return self._of_sums(self.values, weights, self.sums)

    def rows(self, chosen):
        """Return rows of the values by a slice or an array of positions."""
        rows = super().rows(chosen)
        exponent = self.exponent
        return self.xp.ldexp(rows, -exponent) if exponent else rows

    def row_blocks(self, chosen=None):
        """Yield positions of rows and these rows, standardized; see the base class."""
        if chosen is None or not isinstance(self.values, FeatureSource):
            yield from super().row_blocks(chosen)
            return
        positions = to_numpy(chosen)
        order = np.argsort(positions)
        taken = replace(self, values=self.values.take(positions[order]))
        for part, block in taken.row_blocks():
            yield chosen[order[part]], block

    def gram(self):
        """Return the lower triangle of X^T diag(w) X / n, (d, d), in Fortran order."""
        n, d = self.shape
        offset, inverse = self._offset, 1 / self.column_scales
        total = self.sums.total("gram", self.weights)

        def standardize(rows, columns):
            block = total[rows, columns]
            block /= n
            block -= offset[rows, np.newaxis] * offset[columns]
            block *= inverse[rows, np.newaxis] * inverse[columns]

        each_lower_block(standardize, d, self.xp)
        return total

    def target_products(self, targets, intercept):
        """Return X^T diag(w) (targets - intercept), (d, m), in float64.

        The targets are those that were measured.
        """
        products = self.sums.total("products", self.weights)
        products -= self._offset[:, np.newaxis] * self.sums.total(
            "targets", self.weights
        )
        return products / self.column_scales[:, np.newaxis]


def _moments(source, targets, weights, parts, origin, n_parts):
    """Return the moments of each part of rows, a list; see ``PartSums``."""
    d, m, xp = source.shape[1], targets.shape[1], namespace(weights)
    moments = [Moments.zeros(d, m, xp) for _ in range(n_parts)]
    product = None
    for rows in gram_blocks(*source.shape):
        block = read_rows(source, rows, xp)
        for part in np.unique(parts[rows]):
            own = xp.asarray(np.flatnonzero(parts[rows] == part))
            product = moments[part].add_rows(
                block if len(own) == len(block) else block[own],
                targets[rows][own],
                weights[rows][own],
                origin,
                product,
            )
    return moments


def _combine(parts):
    """Return the moments of several lists, added in their order."""
    return [reduce(add, moments) for moments in zip(*parts, strict=True)]


def _parts(splits, n):
    """Return numbers of rows, the same for rows that are in the same parts."""
    is_held_out = np.zeros((n, len(splits)), dtype=bool)
    for column, (_, held_out) in enumerate(splits):
        is_held_out[to_numpy(held_out), column] = True
    return np.unique(is_held_out, axis=0, return_inverse=True)[1].reshape(n)


def standardize_features(values, targets, weights, splits):
    """Return the StandardizedFeatures from which ridge is solved.

    They are summed if there are at least as many rows as features, and are otherwise
    needed in memory, where they take less than their sums would.

    See ``PartSums.measure`` for the parameters.
    """
    n, d = values.shape
    if n >= d:
        return SummedFeatures.from_source(values, targets, weights, splits)
    if isinstance(values, FeatureSource):
        values = values[:]
    return StandardizedFeatures.from_values(values, weights)
