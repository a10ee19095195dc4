"""A fit that fails leaves an estimator as it was before."""

from contextlib import contextmanager


@contextmanager
def keep_fitted_on_error(estimator):
    """Put an estimator's attributes back when fitting it fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
