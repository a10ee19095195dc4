"""Dot-product kernels, their derivatives, and the inverse square root of a matrix."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import eigh_each, namespace

#: Names of the kernels; the index of a name is its number in the C sources.
KERNELS = ("exp", "poly", "arccos1")


def kernel_values(cosines, kernel, beta):
    """Evaluate a dot-product kernel kappa with kappa(1) = 1.

    Parameters
    ----------
    cosines : array of float32 or float64, any shape
        Inner products of unit vectors.
    kernel : {"exp", "poly", "arccos1"}
        ``"exp"`` is exp(beta (u - 1)), the Gaussian kernel of unit vectors with
        beta = 1 / sigma^2 (Mairal, NIPS 2016, eq. 2); ``"poly"`` is u^2;
        ``"arccos1"`` is (sqrt(1 - u^2) + (pi - arccos u) u) / pi, the arc-cosine
        kernel of order 1, which belongs to the ReLU (Cho and Saul, NIPS 2009,
        eq. 6).
    beta : float
        Used by ``"exp"`` only.

    Returns
    -------
    values : array of the shape and dtype of ``cosines``
    """
    xp = namespace(cosines)
    if kernel == "exp":
        # In place: allocating memory for each step costs more than the exponential.
        values = xp.asarray(cosines - 1)
        values *= beta
        return xp.exp(values, out=values)
    if kernel == "poly":
        return cosines * cosines
    u = xp.clip(cosines, -1, 1)
    return (xp.sqrt((1 - u) * (1 + u)) + (np.pi - xp.arccos(u)) * u) / np.pi


def kernel_derivatives(cosines, kernel, beta):
    """Evaluate the derivatives of a dot-product kernel.

    Parameters
    ----------
    cosines, kernel, beta
        See ``kernel_values``.

    Returns
    -------
    derivative : array of the shape and dtype of ``cosines``
        d kappa(u) / du.
    beta_derivative : array of the shape and dtype of ``cosines``
        d kappa(u) / d beta; 0 for kernels without beta.
    """
    xp = namespace(cosines)
    if kernel == "exp":
        values = kernel_values(cosines, kernel, beta)
        return beta * values, (cosines - 1) * values
    if kernel == "poly":
        return 2 * cosines, xp.zeros_like(cosines)
    u = xp.clip(cosines, -1, 1)
    return (np.pi - xp.arccos(u)) / np.pi, xp.zeros_like(cosines)


@dataclass(frozen=True)
class InverseSquareRoot:
    """The inverse square root of a regularised kernel matrix, and its derivative.

    Attributes
    ----------
    eigenvectors : array of shape (p, p), float64
        V, the eigenvectors of the kernel matrix K.
    roots : array of shape (p,), float64
        s_i = sqrt(e_i + regularization), where e_i are the eigenvalues of K.
    """

    eigenvectors: np.ndarray
    roots: np.ndarray

    @classmethod
    def from_matrices(cls, matrices, regularizations):
        """Compute the eigendecompositions of (matrix + regularization I) of each pair.

        Parameters
        ----------
        matrices : list of array of shape (p, p), float64
            Each is a K, symmetric and positive semi-definite up to rounding.
        regularizations : list of float
            Positive.

        Returns
        -------
        roots : list of InverseSquareRoot
        """
        roots = []
        for (eigenvalues, eigenvectors), regularization in zip(
            eigh_each(matrices), regularizations, strict=True
        ):
            xp = namespace(eigenvalues)
            eigenvalues = xp.maximum(eigenvalues, 0)
            roots.append(cls(eigenvectors, xp.sqrt(eigenvalues + regularization)))
        return roots

    def value(self):
        """Return (K + regularization I)^(-1/2), (p, p), symmetric to the bit."""
        xp = namespace(self.roots)
        half = self.eigenvectors * xp.sqrt(1 / self.roots)
        # For a matrix times its own transpose, NumPy's BLAS computes one triangle and
        # copies it to the other; cuBLAS computes both.
        product = half @ half.T
        return product if xp is np else (product + product.T) / 2

    def backward(self, gradient):
        """Compute the gradient with respect to K from that with respect to the root.

        For a gradient G with respect to the inverse square root, the result is
        -V ((V^T G V) / ((s_i + s_j) s_i s_j)) V^T, where the division is element by
        element. It follows from the derivative of the matrix square root, which solves
        a Sylvester equation (Higham, Functions of Matrices, 2008, sect. 6.1).

        Parameters
        ----------
        gradient : array of shape (p, p)
            G; only its symmetric part matters, since K varies among symmetric matrices.

        Returns
        -------
        matrix_gradient : array of shape (p, p), float64
            Symmetric.
        """
        vectors, roots = self.eigenvectors, self.roots
        rotated = vectors.T @ ((gradient + gradient.T) / 2) @ vectors
        columns = roots[:, np.newaxis]
        rotated /= (columns + roots) * (columns * roots)
        return -vectors @ rotated @ vectors.T
