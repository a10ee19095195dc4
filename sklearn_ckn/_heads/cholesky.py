"""The Cholesky factor of a Gram matrix plus a multiple of the identity."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.interrupts import interruptible
from sklearn_ckn._common.lapack import lower_trsm, potrf


@dataclass(frozen=True)
class CholeskyFactor:
    """L of L L^T = G + alpha I, with NumPy. Ctrl-C can interrupt all long calls.

    Attributes
    ----------
    lower : ndarray of shape (d, d), float64, or float32 if it is rounded
        Fortran-ordered; L in the lower triangle. The rest is not used.
    """

    lower: np.ndarray

    @classmethod
    def of_shifted(cls, gram, alpha, out):
        """Factorise G + alpha I.

        Parameters
        ----------
        gram : ndarray of shape (d, d), float64
            Fortran-ordered. Only the lower triangle is read.
        alpha : float
        out : ndarray of shape (d, d), float64
            Fortran-ordered memory for the factor.

        Raises
        ------
        numpy.linalg.LinAlgError
            The matrix is not positive definite, to rounding.
        """
        np.copyto(out, gram)
        np.einsum("ii->i", out)[:] += alpha
        return cls(interruptible(potrf, len(out) ** 3 // 6)(out))

    def rounded(self, dtype):
        """Return the factor in another dtype, in which solutions are computed."""
        return CholeskyFactor(self.lower.astype(dtype, copy=False))

    def forward(self, right):
        """Return L^(-1) right, (d, m), in Fortran order."""
        return self._solve(right, False)

    def backward(self, right):
        """Return L^(-T) right, (d, m), in Fortran order."""
        return self._solve(right, True)

    def _solve(self, right, transposed):
        right = np.array(right, dtype=self.lower.dtype, order="F")
        solve = interruptible(lower_trsm, right.size * len(self.lower) // 2)
        return solve(self.lower, right, transposed)
