"""The data and the options of a training."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._heads.path import one_vs_rest


@dataclass(frozen=True)
class TrainingSet:
    """Images and their targets, split into training rows and held-out rows.

    Attributes
    ----------
    images : array of shape (n, H, W, C)
        Of NumPy or of the engine's namespace.
    labels : ndarray of shape (n,)
        Positions of the classes.
    targets : ndarray of shape (n, m)
        +1 and -1.
    weights : ndarray of shape (n,)
        Sample weights, with mean 1 over the training rows.
    train, held_out : ndarray
        Row numbers, in ascending order.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    train: np.ndarray
    held_out: np.ndarray

    @classmethod
    def from_labels(cls, images, labels, rows):
        """Compute targets and weights from labels.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
        labels : Labels
        rows : tuple of ndarray
            Training rows and held-out rows.
        """
        train, held_out = rows
        return cls(
            images,
            labels.positions,
            one_vs_rest(labels.positions, len(labels.classes)),
            labels.weights / labels.weights[train].mean(),
            train,
            held_out,
        )

    @property
    def training_weights(self):
        """The weights, with 0 for the held-out rows."""
        weights = np.zeros_like(self.weights)
        weights[self.train] = self.weights[self.train]
        return weights


@dataclass(frozen=True)
class TrainingOptions:
    """The training parameters of a SupervisedCKNClassifier, which describes them.

    Attributes
    ----------
    head, n_epochs, batch_size, schedule, learn_beta, augment, n_iter_no_change
        Parameters of the estimator.
    alpha : float
        The alpha of the objective.
    learning_rate : float
    """

    head: str
    alpha: float
    n_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    learn_beta: bool
    augment: object
    n_iter_no_change: int | None
