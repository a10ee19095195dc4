"""Dot-product kernels on the sphere and the Nystroem projection."""

import numpy as np
from scipy.linalg import eigh

#: Names of the kernels; the position of a name is its code in the C sources.
KERNELS = ("exp", "poly", "arccos1")


def kernel_values(cosines, kernel, beta, xp=np):
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
    xp : module, default=numpy
        Array namespace of ``cosines``.

    Returns
    -------
    values : array of the shape and dtype of ``cosines``
    """
    if kernel == "exp":
        # In place: new memory for every step costs more than the exponential.
        values = xp.asarray(cosines - 1)
        values *= beta
        return xp.exp(values, out=values)
    if kernel == "poly":
        return cosines * cosines
    u = xp.clip(cosines, -1, 1)
    return (xp.sqrt((1 - u) * (1 + u)) + (np.pi - xp.arccos(u)) * u) / np.pi


def inverse_square_root(matrix, regularization):
    """Compute (matrix + regularization I)^(-1/2) of a kernel matrix.

    Parameters
    ----------
    matrix : ndarray of shape (p, p)
        Symmetric and positive semi-definite up to rounding.
    regularization : float
        Positive.

    Returns
    -------
    root : ndarray of shape (p, p), float64
        Symmetric to the bit.
    """
    eigenvalues, eigenvectors = eigh(np.asarray(matrix, dtype=np.float64))
    scales = 1 / np.sqrt(np.maximum(eigenvalues, 0) + regularization)
    half = eigenvectors * np.sqrt(scales)
    # A matrix times its own transpose: BLAS computes one triangle and mirrors it.
    return half @ half.T
