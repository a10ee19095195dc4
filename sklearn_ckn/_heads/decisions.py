"""Labels and probabilities from the decisions of a linear classifier."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from sklearn_ckn._common.arrays import take_labels
from sklearn_ckn._common.devices import computed_where_x_is
from sklearn_ckn._common.types import AnyArray, FloatArray
from sklearn_ckn._heads.calibration import log_probabilities, probabilities
from sklearn_ckn._heads.scores import score_on_cpu


class DecisionsMixin(ClassifierMixin):
    """Predictions of a classifier with ``decision_function`` and ``temperature_``."""

    @computed_where_x_is
    def predict(self, X: ArrayLike) -> AnyArray:
        """Return the label of the highest score.

        Parameters
        ----------
        X : array-like
            As for ``decision_function``.

        Returns
        -------
        labels : array of shape (n,), dtype of ``classes_``
            An array of CuPy on the GPU of X if X is one, else of NumPy. Labels that
            CuPy cannot hold, such as strings, are always an array of NumPy.
        """
        decisions = self.decision_function(X)
        is_binary = decisions.ndim == 1
        positions = decisions > 0 if is_binary else decisions.argmax(axis=1)
        return take_labels(self.classes_, positions)

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the part of the labels that is predicted right.

        Parameters
        ----------
        X : array-like
            As for ``decision_function``.
        y : array-like of shape (n,)
            True labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the samples.

        Returns
        -------
        accuracy : float
            Between 0 and 1.
        """
        return score_on_cpu(accuracy_score, y, self.predict(X), sample_weight)

    @computed_where_x_is
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
            An array of CuPy on the GPU of X if X is one, else of NumPy.
        """
        return probabilities(self._decision_columns(X), 1 / self.temperature_)

    @computed_where_x_is
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
            An array of CuPy on the GPU of X if X is one, else of NumPy.
        """
        return log_probabilities(self._decision_columns(X), 1 / self.temperature_)

    def _decision_columns(self, X):
        """Return the decisions in one column for each class, or one for two."""
        decisions = self.decision_function(X)
        return decisions[:, np.newaxis] if decisions.ndim == 1 else decisions
