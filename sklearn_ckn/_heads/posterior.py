"""How uncertain the predictions of ridge are."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.cache_blocks import product_blocks


def _bounded_ldexp(values, exponents):
    """Return values >= 0 times powers of two, or the largest number."""
    xp = namespace(values)
    with np.errstate(over="ignore"):
        values = xp.ldexp(values, exponents)
    return xp.minimum(values, float(np.finfo(values.dtype).max))


@dataclass(frozen=True)
class Posterior:
    """The Gaussian process whose mean is a ridge solution.

    With x standardized, G = X^T diag(w) X / n and the noise's variance s^2, a new
    target has the variance s^2 (1 + 1/n + x^T (G + alpha I)^(-1) x / n) (Rasmussen and
    Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.9, and 1/n for the
    intercept). The inverse is I / alpha - F F^T, or F F^T. A sample of weight w, of
    mean 1, is a target with the noise s^2 / w.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Of the features.
    scale : float
        Of the features.
    factor : ndarray of shape (d, r), float64
        F.
    alpha : float
    n_samples : int
    noise_variance : ndarray of shape (m,)
        In squared units of the targets over two to their exponents.
    exponent : int
        ``mean`` and ``scale`` are those of the features over two to this power.
    target_exponents : int or ndarray of shape (m,), int
    is_complement : bool
        Whether the inverse is I / alpha - F F^T, and not F F^T.
    """

    mean: np.ndarray
    scale: float
    factor: np.ndarray
    alpha: float
    n_samples: int
    noise_variance: np.ndarray
    # Models of version 0.1.0 have no exponents.
    exponent: int = 0
    target_exponents: np.ndarray | int = 0
    is_complement: bool = True

    @classmethod
    def from_path(cls, path, best, noise_variance):
        """Build the posterior of one of a path's solutions.

        Parameters
        ----------
        path : RidgeSolutions
        best : int
            Which of the alphas.
        noise_variance : array of shape (m,)

        Returns
        -------
        posterior : Posterior
            Its arrays are NumPy's.
        """
        factor, is_complement = path.inverse_factor(best)
        features = path.features
        return cls(
            to_numpy(features.mean),
            features.scale,
            to_numpy(factor),
            float(path.alphas[best]),
            len(path.targets),
            to_numpy(noise_variance),
            features.exponent,
            is_complement=is_complement,
        )

    @property
    def original_noise_variance(self):
        """The noise's variance in the targets' squared unit, (m,)."""
        return _bounded_ldexp(self.noise_variance, 2 * self.target_exponents)

    def targets_fit(self, dtype):
        """Return whether a dtype holds numbers of the size of the targets."""
        limits = np.finfo(dtype)
        exponents = np.asarray(self.target_exponents)
        return bool(
            (exponents < limits.maxexp).all() and (exponents > limits.minexp).all()
        )

    def deviation(self, values):
        """Return the standard deviations of the targets of ``values``, (n, m).

        Of the namespace of the values.
        """
        xp = namespace(values)
        mean, factor = xp.asarray(self.mean), xp.asarray(self.factor)
        spreads, root_alpha = xp.empty(len(values)), sqrt(self.alpha)
        for rows in product_blocks(*values.shape):
            block, exponents = self._standardize(values[rows].astype(np.float64), mean)
            spread = xp.square(root_alpha * (block @ factor)).sum(axis=1)
            if self.is_complement:
                spread = xp.square(block).sum(axis=1) - spread
            # Rounding can take a little more away than there was.
            root = xp.sqrt(xp.maximum(spread, 0) / self.n_samples) / root_alpha
            spreads[rows] = _bounded_ldexp(root, exponents)
        ratios = xp.hypot(sqrt(1 + 1 / self.n_samples), spreads)
        noise = xp.asarray(np.sqrt(self.noise_variance))
        exponents = xp.asarray(np.asarray(self.target_exponents, dtype=np.intc))
        return _bounded_ldexp(ratios[:, np.newaxis] * noise, exponents)

    def _standardize(self, block, mean):
        """Return rows over powers of two of their size once standardized, and these.

        Rows of any size so neither overflow nor vanish when they are squared.
        """
        xp = namespace(block)
        largest = abs(block).max(axis=1, keepdims=True)
        units = xp.where(largest > 0, xp.frexp(largest)[1], self.exponent)
        units = xp.maximum(units, self.exponent)
        block = xp.ldexp(block, -units) - xp.ldexp(mean, self.exponent - units)
        block /= self.scale
        sizes = xp.frexp(abs(block).max(axis=1))[1]
        block = xp.ldexp(block, -sizes[:, np.newaxis])
        return block, sizes + units[:, 0] - self.exponent
