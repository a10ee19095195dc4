"""Powers of matrices I + t N for several t, by polynomials of N."""

import numpy as np
from numpy.polynomial import chebyshev

# Points at which a polynomial is fitted and its error is measured, many more than its
# degree.
N_POINTS = 400


def fit_power(shift, power, limit, tolerance):
    """Approximate (1 + shift x)^power for 0 <= x <= limit by a polynomial.

    With kappa the ratio of the largest and the smallest 1 + shift x, the error falls by
    (sqrt(kappa) - 1) / (sqrt(kappa) + 1) with each degree, as for any function whose
    singularity is at x = -1 / shift (Trefethen, Approximation Theory and Approximation
    Practice, 2013, theorem 8.2).

    Parameters
    ----------
    shift : float
        1 + shift limit is positive.
    power : float
    limit : float
    tolerance : float
        Largest relative error.

    Returns
    -------
    coefficients : ndarray of shape (degree + 1,)
        Of the Chebyshev polynomials of 2 x / limit - 1.
    """
    points = chebyshev.chebpts1(N_POINTS)
    values = (1 + shift * limit * (points + 1) / 2) ** power
    for degree in range(N_POINTS // 4):
        # Least squares of the relative errors, whose maximum hardly exceeds that of
        # the best polynomial.
        coefficients = chebyshev.chebfit(points, values, degree, w=1 / values)
        errors = np.abs(chebyshev.chebval(points, coefficients) / values - 1)
        if errors.max() <= tolerance:
            break
    return coefficients


def apply_powers(multiply, start, shifts, powers, limit, tolerance):
    """Return (I + t N)^power start for several t and a power for each column.

    Parameters
    ----------
    multiply : callable
        Returns N v for v of shape (d, m). The eigenvalues of the symmetric matrix N are
        from 0 to ``limit``.
    start : ndarray of shape (d, m)
    shifts : ndarray of shape (A,)
        The values of t.
    powers : ndarray of shape (m,)
    limit, tolerance
        See ``fit_power``.

    Returns
    -------
    results : list of ndarray of shape (d, m)
    """
    kinds, kind_of = np.unique(powers, return_inverse=True)
    series = [[fit_power(t, kind, limit, tolerance) for kind in kinds] for t in shifts]
    n_terms = max(len(each) for row in series for each in row)
    # (A, number of terms, m)
    series = np.array(
        [[np.pad(each, (0, n_terms - len(each))) for each in row] for row in series]
    )[:, kind_of].transpose(0, 2, 1)
    results = [each[0] * start for each in series]
    current, previous = start, None
    for degree in range(1, n_terms):
        # T_1 = z and T_j = 2 z T_(j - 1) - T_(j - 2), where z = 2 x / limit - 1.
        following = multiply(current) * (2 / limit) - current
        if previous is not None:
            following = 2 * following - previous
        previous, current = current, following
        for result, each in zip(results, series, strict=True):
            result += each[degree] * current
    return results
