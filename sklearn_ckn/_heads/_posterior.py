"""How uncertain the predictions of ridge are."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._arrays import namespace, to_numpy
from sklearn_ckn._heads._standardize import blocks


@dataclass(frozen=True)
class Posterior:
    """The Gaussian process whose mean is a ridge solution.

    With x standardized, G = X^T diag(w) X / n and the noise's variance s^2, a new
    target has the variance s^2 (1 + 1/n + x^T (G + alpha I)^(-1) x / n) (Rasmussen and
    Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.9, and 1/n for the
    intercept). The inverse is I / alpha - F F^T. A sample of weight w, of mean 1, is
    a target with the noise s^2 / w.

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
    """

    mean: np.ndarray
    scale: float
    factor: np.ndarray
    alpha: float
    n_samples: int
    noise_variance: np.ndarray

    @classmethod
    def from_path(cls, path, best, noise_variance):
        """Build the posterior of one of a path's solutions.

        Parameters
        ----------
        path : RidgePath
        best : int
            Which of the alphas.
        noise_variance : array of shape (m,)

        Returns
        -------
        posterior : Posterior
            Its arrays are NumPy's.
        """
        alpha = path.alphas[best]
        eigenvalues = path.spectrum.eigenvalues
        # 1 / alpha - 1 / (e + alpha)
        lost = eigenvalues / (alpha * (eigenvalues + alpha))
        factor = path.spectrum.directions() * namespace(lost).sqrt(lost)
        features = path.spectrum.features
        return cls(
            to_numpy(features.mean),
            features.scale,
            to_numpy(factor),
            float(alpha),
            len(path.targets),
            to_numpy(noise_variance),
        )

    def deviation(self, values):
        """Return the standard deviations of the targets of ``values``, (n, m).

        Computed where the values are, and returned as a NumPy array.
        """
        xp = namespace(values)
        mean, factor = xp.asarray(self.mean), xp.asarray(self.factor)
        ratios = np.empty(len(values))
        for rows in blocks(*values.shape):
            block = (values[rows].astype(np.float64) - mean) / self.scale
            captured = xp.square(block @ factor).sum(axis=1)
            spread = xp.square(block).sum(axis=1) / self.alpha - captured
            # Rounding can take a little more away than there was.
            ratios[rows] = to_numpy(xp.maximum(spread, 0))
        ratios = 1 + (1 + ratios) / self.n_samples
        return np.sqrt(ratios[:, np.newaxis] * self.noise_variance)
