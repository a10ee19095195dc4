"""Labels and probabilities from the decisions of a linear classifier."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.types import AnyArray, FloatArray
from sklearn_ckn._heads.calibration import log_probabilities, probabilities


class DecisionsMixin(ClassifierMixin):
    """Predictions of a classifier with ``decision_function`` and ``temperature_``."""

    def predict(self, X: ArrayLike) -> AnyArray:
        """Return the label of the highest score.

        Parameters
        ----------
        X : array-like
            As for ``decision_function``.

        Returns
        -------
        labels : ndarray of shape (n,), dtype of ``classes_``
        """
        decisions = to_numpy(self.decision_function(X))
        if decisions.ndim == 1:
            return self.classes_[(decisions > 0).astype(np.intp)]
        return self.classes_[decisions.argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the probabilities of the classes.

        They are softmax(decisions / ``temperature_``), for two classes
        expit(decisions / ``temperature_``), with a temperature that was fitted on
        samples held out of the head's training (Guo, Pleiss, Sun and Weinberger, ICML
        2017, eq. 9).

        Parameters
        ----------
        X : array-like
            As for ``decision_function``.

        Returns
        -------
        probabilities : array of shape (n, n_classes), float64
            An array of CuPy if X is one.
        """
        return probabilities(self._decision_columns(X), 1 / self.temperature_)

    def predict_log_proba(self, X: ArrayLike) -> FloatArray:
        """Return the logarithms of the probabilities of the classes.

        They come from the decisions, not from the probabilities, and so stay finite
        where a probability is too small for float64.

        Parameters
        ----------
        X : array-like
            As for ``decision_function``.

        Returns
        -------
        log_probabilities : array of shape (n, n_classes), float64
            An array of CuPy if X is one.
        """
        return log_probabilities(self._decision_columns(X), 1 / self.temperature_)

    def _decision_columns(self, X):
        """Return the decisions in one column for each class, or one for two."""
        decisions = self.decision_function(X)
        return decisions[:, np.newaxis] if decisions.ndim == 1 else decisions
