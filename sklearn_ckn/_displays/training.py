"""TrainingDisplay: the training curves of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.types import AnyArray
from sklearn_ckn._displays.common import take_axes
from sklearn_ckn._supervised import SupervisedCKNClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


class TrainingDisplay:
    """Plot of the training curves of a network.

    Parameters
    ----------
    history : dict of list
        The ``history_`` of a :class:`SupervisedCKNClassifier`.
    best_epoch : int or None, default=None
        The epoch that was kept, marked by a vertical line.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of matplotlib.axes.Axes, shape (1,) or (2,)
        Axes of the objective and, if images were held out, of their accuracy.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import SupervisedCKNClassifier, TrainingDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = SupervisedCKNClassifier(
    ...     (8, 16), image_shape=(8, 8), n_epochs=2, random_state=0
    ... )
    >>> display = TrainingDisplay.from_estimator(classifier.fit(X[:500], y[:500]))
    >>> display.axes_.shape
    (2,)
    """

    axes_: AnyArray
    figure_: Figure | SubFigure

    def __init__(
        self, history: dict[str, list[float]], *, best_epoch: int | None = None
    ) -> None:
        self.history = history
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(
        cls,
        estimator: SupervisedCKNClassifier,
        *,
        axes: Axes | Sequence[Axes] | AnyArray | None = None,
    ) -> Self:
        """Plot the training curves of a fitted estimator.

        Parameters
        ----------
        estimator : SupervisedCKNClassifier
        axes : array-like of matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        ImportError
            Matplotlib is not installed.
        """
        check_is_fitted(estimator, "history_")
        display = cls(estimator.history_, best_epoch=estimator.best_epoch_)
        return display.plot(axes)

    def plot(self, axes: Axes | Sequence[Axes] | AnyArray | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        axes : array-like of matplotlib.axes.Axes or None, default=None
            One for each of ``axes_``. None creates a figure.

        Returns
        -------
        self : TrainingDisplay

        Raises
        ------
        ValueError
            There are too few ``axes``.
        ImportError
            Matplotlib is not installed.
        """
        has_score = not np.isnan(self.history["validation_score"]).all()
        n_axes = 1 + has_score
        purpose = "the objective and the validation accuracy"
        self.axes_ = take_axes("TrainingDisplay", axes, n_axes, (4.5, 3.5), purpose)
        self.figure_ = self.axes_[0].figure
        epochs = self.history["epoch"]
        curves = [[("objective", "objective"), ("batch_loss", "loss of batches")]]
        if has_score:
            curves.append([("validation_score", "validation accuracy")])
        for ax, names in zip(self.axes_, curves, strict=True):
            for name, label in names:
                ax.plot(epochs, self.history[name], label=label)
            if self.best_epoch is not None:
                ax.axvline(self.best_epoch, color="0.6", linestyle=":", label="kept")
            ax.set_xlabel("epoch")
            ax.legend()
        return self
