"""What every case is checked with: warnings, finite values, copies of estimators."""

import pickle
import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

#: The warnings that the package means to give; all others are failures.
EXPECTED_WARNINGS = (
    (UserWarning, r"Layer \d+ has \d+ distinct patches"),
    (UserWarning, r"X has \d+ distinct directions"),
    (UserWarning, r"X has two dimensions and image_shape is None"),
    (UserWarning, r"If they are images of .* with their channels first"),
    (UserWarning, r"The last of the \d+ channels of X is the same everywhere"),
    # scikit-learn's, of arrays after a fit to a frame.
    (UserWarning, r"X does not have valid feature names"),
    (ConvergenceWarning, r"The linear head did not converge"),
    (UserWarning, r"X seems to be in other units"),
    (UserWarning, r"X is taken for images of"),
    (UserWarning, r"makes patches of the first layer extend over"),
)


class MismatchError(AssertionError):
    """A result is not what the reference says."""


class RefusedError(Exception):
    """Images, or their heads, are refused.

    They are at an end of the range, or have too few distinct samples to hold any out.
    """


#: What images show that may be refused so.
EXTREME_KINDS = ("denormal", "largest", "powers")


#: What heads say of labels of which every class has one distinct sample only.
FEW_DISTINCT = "no class of two samples"


def require(condition, message):
    """Raise unless a condition holds."""
    if not condition:
        raise MismatchError(message)


@contextmanager
def watched_warnings(kind=None):
    """Record the warnings that are expected; others are raised where they arise.

    Parameters
    ----------
    kind : str or None, default=None
        What the images show: errors that say that numbers leave the range of their
        type become RefusedError for images that are at its ends.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        for category, pattern in EXPECTED_WARNINGS:
            warnings.filterwarnings("always", f".*{pattern}", category)
        try:
            yield caught
        except ValueError as error:
            is_extreme = kind in EXTREME_KINDS and "the range of float" in str(error)
            if is_extreme or FEW_DISTINCT in str(error):
                raise RefusedError from error
            raise


def fitted_arrays(estimator):
    """Yield the name and the value of every fitted attribute that holds numbers."""
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name in ("classes_", "feature_names_in_"):
            continue
        values = value if isinstance(value, list) else [value]
        for each in values:
            if isinstance(each, (int, float, np.ndarray, np.generic)):
                yield name, np.asarray(each)


def check_fitted(estimator):
    """Check that no fitted attribute is NaN or infinite."""
    for name, values in fitted_arrays(estimator):
        if values.dtype.kind == "f":
            require(np.isfinite(values).all(), f"{name} is not finite")


def check_same(actual, expected, what):
    """Check that two results are the same to the bit."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    require(
        actual.dtype == expected.dtype and np.array_equal(actual, expected, True),
        f"{what} differs",
    )


def check_copies(estimator, fit, method, X):
    """Check that a pickled and a cloned and refitted estimator do the same.

    Parameters
    ----------
    estimator : estimator
        Fitted, with an integer ``random_state`` if it has one.
    fit : callable
        Fits an estimator as this one was.
    method : str
    X : array-like
    """
    expected = getattr(estimator, method)(X)
    loaded = pickle.loads(pickle.dumps(estimator))
    check_same(getattr(loaded, method)(X), expected, f"{method} after pickling")
    again = clone(estimator)
    fit(again)
    check_same(getattr(again, method)(X), expected, f"{method} of a clone")


def close(actual, expected, bound, what):
    """Check that the norm of a difference is within a bound, both per row.

    Parameters
    ----------
    actual, expected : array of shape (n, ...)
    bound : float or array of shape (n,)
    what : str
    """
    difference = (np.asarray(actual, "f8") - expected).reshape(len(expected), -1)
    require(np.isfinite(difference).all(), f"{what} is not finite")
    error = np.linalg.norm(difference, axis=1)
    # Norms of differences below 1e-150 would vanish.
    excess = error / np.maximum(bound, 1e-300)
    worst = int(excess.argmax())
    require(
        excess[worst] <= 1,
        f"{what} of row {worst} is off by {excess[worst]:.2g} bounds "
        f"(error {error[worst]:.2g})",
    )
