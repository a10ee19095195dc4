"""What a network is trained on, and how."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._heads.path import one_vs_rest


@dataclass(frozen=True)
class TrainingSet:
    """Images with targets, some of them held out of the training.

    Attributes
    ----------
    images : array of shape (n, H, W, C)
        NumPy's, or of the engine's namespace.
    labels : ndarray of shape (n,)
        Positions of the classes.
    targets : ndarray of shape (n, m)
        +1 and -1.
    weights : ndarray of shape (n,)
        Of mean 1 over the training part.
    train, held_out : ndarray
        Rows, in ascending order.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    train: np.ndarray
    held_out: np.ndarray

    @classmethod
    def from_labels(cls, images, labels, rows):
        """Make targets and weights.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
        labels : Labels
        rows : tuple of ndarray
            Rows that train and rows held out.
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
        """The weights, 0 for what is held out."""
        weights = np.zeros_like(self.weights)
        weights[self.train] = self.weights[self.train]
        return weights


@dataclass(frozen=True)
class TrainingOptions:
    """What the training is told.

    Attributes
    ----------
    head, alpha, n_epochs, batch_size, learning_rate, schedule, learn_beta, augment
        See ``SupervisedCKNClassifier``; numbers all.
    n_iter_no_change : int
    """

    head: str
    alpha: float
    n_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    learn_beta: bool
    augment: object
    n_iter_no_change: int
