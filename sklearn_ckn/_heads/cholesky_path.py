"""Ridge from Cholesky factors, for features so many that eigenvectors take too long."""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np

from sklearn_ckn._common.arrays import matmul
from sklearn_ckn._heads.cholesky import CholeskyFactor
from sklearn_ckn._heads.matrix_powers import apply_powers
from sklearn_ckn._heads.ridge_solutions import LeftOutTargets, RidgeSolutions

#: From this number of features on, with at least so many samples for each of them, a
#: few Cholesky factors take less time than one eigendecomposition. With fewer samples,
#: leverages come close to 1, where their estimates are too imprecise.
MIN_FEATURES, SAMPLES_PER_FEATURE = 4096, 2

#: Random directions for estimates of leverages: where alphas are compared, and for an
#: alpha that may be chosen.
N_DIRECTIONS, N_FINAL_DIRECTIONS = 64, 512

#: A leverage is within so many of its standard errors, sqrt(2 / number of directions)
#: times the leverage, for all but about one sample of a million.
STANDARD_ERRORS = 5

#: With an alpha that may be chosen, a row is solved exactly where the plausible errors
#: of its leverage change its residual by more than this factor.
LARGEST_CHANGE = 1.3

#: Where alphas are compared, estimates of leverages end here: with larger ones, errors
#: would be multiplied by the inverse of a number close to 0.
LARGEST_ESTIMATE = 0.75

#: Largest relative error of the polynomials that give the solutions of several alphas
#: from one factor.
TOLERANCE = 1e-2

#: Rows are solved with the factor together, in about this number.
ROWS_TOGETHER = 1024


class UncertainGramError(Exception):
    """The rounding errors of a Gram matrix are not small compared to an alpha."""


def suits_cholesky(features):
    """Return whether few alphas should be solved by Cholesky factors.

    Parameters
    ----------
    features : StandardizedFeatures
    """
    n, d = features.shape
    return features.xp is np and d >= MIN_FEATURES and n >= SAMPLES_PER_FEATURE * d


@dataclass(frozen=True, kw_only=True)
class CholeskyPath(RidgeSolutions):
    """The solutions for some alphas, with estimates of the leverages.

    With L L^T = A = X^T diag(w) X / n + alpha I, the coefficients are
    A^(-1) X^T diag(w) y / n, and x^T A^(-1) x = ||L^(-1) x||^2. That is estimated by
    ||R^T L^(-1) x||^2 with a d x k matrix R of random signs over sqrt(k), whose mean it
    is, with the relative standard error sqrt(2 / k) (Achlioptas, Journal of Computer
    and System Sciences 2003, lemma 5.1).

    Attributes
    ----------
    coef : ndarray of shape (A, d, m), float64
    sketches : ndarray of shape (A, d, k), dtype of the features
        L^(-T) R, or the same with another square root of A^(-1).
    factor : CholeskyFactor or None
        Of the first alpha. Its memory belongs to the ``CholeskySolver``.
    is_open : callable or None
        Of a path of one alpha that may be chosen: from rows and their leave-one-out
        predictions (k, m) with the least and with the largest plausible leverages to
        whether they decide differently, (k,). These rows get exact leverages.

    See ``RidgeSolutions`` for the other attributes.
    """

    coef: np.ndarray
    sketches: np.ndarray
    factor: CholeskyFactor | None = None
    is_open: object = None

    @cached_property
    def _rounded_factor(self):
        """The factor with which rows are solved, in the dtype of the features.

        A row x is rounded, which changes L^(-1) x by up to eps ||L^(-1)|| ||x||. So
        does the rounding of L and of the solution, in proportion to the condition
        number of L (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
        theorem 8.5), which here is at most ||L^(-1)||: the trace of L L^T is near 1.
        """
        return self.factor.rounded(self.features.dtype)

    @cached_property
    def _right(self):
        """Coefficients and sketches of all alphas, (d, A m + A k)."""
        n_features = self.coef.shape[1]
        parts = [
            each.transpose(1, 0, 2).reshape(n_features, -1).astype(self.features.dtype)
            for each in (self.coef, self.sketches)
        ]
        return np.hstack(parts)

    def leave_one_out(self, chosen=None):
        """Predict each sample by the solution that is fitted without it.

        See ``RidgePath.leave_one_out``.
        """
        waiting, n_open = [], 0
        for rows, block in self.features.row_blocks(chosen):
            fitted, squares = self._evaluate(block)
            if self.is_open is None:
                leverages = self._leverages(rows, squares)
                leverages = np.minimum(leverages, LARGEST_ESTIMATE)
                yield rows, self._left_out_by(rows, fitted, leverages), leverages
                continue
            is_open = self._find_open(rows, fitted, squares)
            waiting.append((rows, fitted, squares, is_open, block[is_open]))
            n_open += is_open.sum()
            if n_open >= ROWS_TOGETHER:
                yield from self._resolve(waiting)
                waiting, n_open = [], 0
        yield from self._resolve(waiting)

    def _evaluate(self, block):
        """Return predictions (k, A, m) and estimates of x^T A^(-1) x, (k, A)."""
        n_alphas, _, m = self.coef.shape
        products = matmul(block, self._right)
        fitted = products[:, : n_alphas * m].reshape(-1, n_alphas, m) + self.intercept
        sketch = products[:, n_alphas * m :].reshape(len(block), n_alphas, -1)
        return fitted, np.einsum("iaj,iaj->ia", sketch, sketch, dtype=np.float64)

    def _leverages(self, rows, squares):
        shares = self.left_out.weights[rows, np.newaxis] / len(self.targets)
        return shares * (1 + squares)

    def _left_out_by(self, rows, fitted, leverages):
        return self._without(self.left_out.means[rows], fitted, leverages)

    def _find_open(self, rows, fitted, squares):
        """Return which rows of a path of one alpha need exact leverages, (k,)."""
        error = STANDARD_ERRORS * sqrt(2 / self.sketches.shape[2])
        low, high = (
            self._leverages(rows, squares * factor) for factor in (1 - error, 1 + error)
        )
        differs = self.is_open(
            rows,
            self._left_out_by(rows, fitted, low)[:, 0],
            self._left_out_by(rows, fitted, high)[:, 0],
        )
        return differs | (1 - low > LARGEST_CHANGE * (1 - high))[:, 0]

    def _resolve(self, waiting):
        """Yield leave-one-out predictions of blocks once open rows have been solved."""
        if not waiting:
            return
        right = np.concatenate([block for *_, block in waiting]).T
        solved = self._rounded_factor.forward(right)
        exact = np.einsum("ij,ij->j", solved, solved, dtype=np.float64)
        start = 0
        for rows, fitted, squares, is_open, block in waiting:
            squares[is_open, 0] = exact[start : start + len(block)]
            start += len(block)
            leverages = self._leverages(rows, squares)
            yield rows, self._left_out_by(rows, fitted, leverages), leverages

    def predict(self, chosen):
        """Return the predictions of every alpha; see ``RidgePath.predict``."""
        right = self._right[:, : len(self.alphas) * self.coef.shape[2]]
        parts = [matmul(block, right) for block in self._standardized(chosen)]
        products = np.concatenate(parts)
        return products.reshape(len(products), len(self.alphas), -1) + self.intercept

    def spreads(self, chosen):
        """Estimate x^T (X^T diag(w) X / n + alpha I)^(-1) x of some rows, (k, A)."""
        parts = [self._evaluate(block)[1] for block in self._standardized(chosen)]
        return np.concatenate(parts)

    def solve(self, index):
        """Return the solution of one of the alphas; see ``RidgePath.solve``."""
        return self.coef[index].T

    def _products(self, index, chosen):
        coef = self.coef[index].astype(self.features.dtype)
        parts = [block @ coef for block in self._standardized(chosen)]
        return np.concatenate(parts)

    def inverse_factor(self, index):
        """Return F of the inverse F F^T, (d, d), and False; see ``Posterior``.

        Of the first alpha.
        """
        return self.factor.backward(np.eye(len(self.factor.lower))), False


class CholeskySolver:
    """Solves ridge for some alphas at a time, with one Cholesky factor for each group.

    With b = X^T diag(w) y / n, a factor L of A = G + a I gives the solutions of other
    alphas: those of G + (a + s) I are L^(-T) (I + s N)^(-1) L^(-1) b, where
    N = L^(-1) L^(-T) has eigenvalues from 0 to 1 / a, and L^(-T) (I + s N)^(-1/2) is a
    square root of the inverse. Polynomials of N approximate the powers.

    Parameters
    ----------
    features : StandardizedFeatures
        Of NumPy.
    targets : ndarray of shape (n, m)
    units : ndarray of shape (n,) or None
        See ``RidgePath.from_features``.
    gram : ndarray of shape (d, d) or None, default=None
        That of the features if it is known.
    """

    def __init__(self, features, targets, units=None, gram=None):
        self._features, self._targets = features, targets
        weights = features.weights
        self._intercept = weights @ targets / len(targets)
        products = features.target_products(targets, self._intercept)
        self._products = products / len(targets)
        self._left_out = LeftOutTargets.of_units(targets, weights, units)
        self._gram = features.gram() if gram is None else gram
        self._memory = np.empty_like(self._gram)
        self._smallest_certain = self._limit = 5 * np.finfo(features.dtype).eps

    def path(self, alphas, n_directions=N_DIRECTIONS, is_open=None):
        """Return the solutions for some alphas, which are close to each other.

        Parameters
        ----------
        alphas : ndarray of shape (A,)
            In descending order.
        n_directions : int, default=64
            k of ``CholeskyPath``.
        is_open : callable or None, default=None
            See ``CholeskyPath``.

        Returns
        -------
        path : CholeskyPath
            Of those of the alphas to which the rounding of the matrix is small. A path
            of one alpha has a factor until the next call.

        Raises
        ------
        UncertainGramError
            It is small to none.
        """
        alphas = self._certain(alphas)
        middle = sqrt(alphas[0]) * sqrt(alphas[-1])
        factor = self._factorise(middle)
        # By ``_certain``, no eigenvalue of the matrix is below -alphas[-1] / 4.
        limit = 1 / (1 - alphas[-1] / middle / 4)

        def multiply(right):
            return middle * factor.forward(factor.backward(right))

        features, m = self._features, self._targets.shape[1]
        signs = _random_signs(features.shape[1], n_directions)
        solved = apply_powers(
            multiply,
            np.hstack([factor.forward(self._products), signs]),
            alphas / middle - 1,
            np.repeat([-1, -0.5], [m, n_directions]),
            limit,
            TOLERANCE,
        )
        solved = factor.backward(np.hstack(solved))
        solved = solved.reshape(len(solved), len(alphas), -1).transpose(1, 0, 2)
        return CholeskyPath(
            features=features,
            targets=self._targets,
            alphas=alphas,
            intercept=self._intercept,
            left_out=self._left_out,
            coef=solved[:, :, :m],
            sketches=solved[:, :, m:].astype(features.dtype),
            factor=factor if len(alphas) == 1 else None,
            is_open=is_open,
        )

    def _certain(self, alphas):
        """Return the alphas to which the rounding of the matrix is small.

        The rounding errors of float32 products can make eigenvalues negative. Only
        alphas above four times their size are solved. ``Spectrum`` goes below: it
        leaves out directions with eigenvalues up to ten times the size, after which
        still smaller alphas make little difference. The trace of the matrix is 1, and
        the errors of its entries, sums over many rows, partly cancel: all together they
        are below the rounding of the trace. Alphas below ten times of that are certain
        if the matrix plus a quarter of them has a Cholesky factor.
        """
        if alphas[0] < self._smallest_certain < self._limit:
            # After a proof, little is left below it: often not even the largest.
            self._factorise(alphas[0] / 4)
        while len(alphas):
            smallest = alphas[-1]
            if smallest >= self._smallest_certain:
                return alphas
            try:
                self._factorise(smallest / 4)
            except UncertainGramError:
                alphas = alphas[:-1]
            else:
                self._smallest_certain = smallest
                return alphas
        raise UncertainGramError

    def _factorise(self, alpha):
        try:
            return CholeskyFactor.of_shifted(self._gram, alpha, self._memory)
        except np.linalg.LinAlgError as error:
            raise UncertainGramError from error


def _random_signs(n, n_columns):
    """Return signs over the square root of the number of columns, always the same."""
    signs = np.random.RandomState(0).randint(2, size=(n, n_columns))
    return (2.0 * signs - 1) / sqrt(n_columns)
