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
    copies : ndarray of shape (n,)
        See ``first_copies``.
    groups : ndarray of shape (n,) or None
        As the user gave them.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    copies: np.ndarray
    groups: np.ndarray | None

    @classmethod
    def from_labels(cls, images, labels, weights, rows, copies, groups):
        """Make targets and weights; ``rows`` are a pair, those that train first."""
        train, held_out = rows
        return cls(
            images,
            labels,
            one_vs_rest(labels, labels.max() + 1),
            weights / weights[train].mean(),
            train,
            held_out,
            copies,
            groups,
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
