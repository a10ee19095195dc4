"""Scores of predictions and targets, each of which may be on a GPU."""

from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from sklearn_ckn._common.arrays import to_numpy


def score_on_cpu(metric, y, predicted, sample_weight):
    """Return a metric of scikit-learn, which takes no arrays of CuPy.

    Parameters
    ----------
    metric : callable
        Of true and predicted values, with a ``sample_weight``.
    y, predicted : array-like of shape (n,) or (n, n_targets)
    sample_weight : array-like of shape (n,) or None

    Returns
    -------
    score : float
    """
    return metric(
        to_numpy(y), to_numpy(predicted), sample_weight=to_numpy(sample_weight)
    )


class R2ScoreMixin(RegressorMixin):
    """A regressor whose predictions may be on a GPU."""

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the coefficient of determination R2 of the predictions.

        Parameters
        ----------
        X : array-like
            As for ``predict``.
        y : array-like of shape (n,) or (n, n_targets)
            True targets.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the samples.

        Returns
        -------
        score : float
            1 for perfect predictions, 0 for those of the mean of y; averaged over the
            targets.
        """
        return score_on_cpu(r2_score, y, self.predict(X), sample_weight)
