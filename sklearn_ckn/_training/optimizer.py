"""Adam on the unit sphere for anchors, and for betas; steps do not depend on scale."""

from math import cos, pi

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import powers_of_two, row_norms, unit_rows

# Decay rates of the running means of the gradients and of their squares.
MOMENTUM = 0.9
SQUARES_MOMENTUM = 0.99

#: Fractions of the training after which the schedule "step" divides the rate by ten:
#: epochs 60, 85 and 100 of 105 (Mairal, NIPS 2016, sect. 4.1).
DROPS = (60 / 105, 85 / 105, 100 / 105)


# Limits of the change of a beta in a step, as logarithms of factors, and of its value.
# Below 1e-4 the kernel is linear up to float32 rounding. Above 1e4 its value is below
# 0.22 already for patches at an angle of one degree.
LARGEST_FACTORS = (-1.0, 1.0)
BETA_LIMITS = ((np.minimum, 1e-4), (np.maximum, 1e4))


# Number of steps in which the rate increases, which is the memory of the running mean
# of the squares, and its largest fraction of the training.
WARM_UP_STEPS = 100
WARM_UP_PART = 0.25


def warm_up(n_done, n_steps):
    """Return the factor of the learning rate after ``n_done`` of ``n_steps`` steps.

    The first steps average over few gradients. Without this factor they would all be
    as long as the full rate, even if the gradients of the batches do not agree (Ma and
    Yarats, AAAI 2021).
    """
    n_rising = min(WARM_UP_STEPS, WARM_UP_PART * n_steps)
    return min(1.0, (n_done + 1) / n_rising)


def scheduled_rate(rate, schedule, progress):
    """Return the learning rate after a fraction ``progress`` of the training."""
    if schedule == "cosine":
        return rate * (1 + cos(pi * progress)) / 2
    if schedule == "step":
        return rate / 10 ** sum(progress >= drop for drop in DROPS)
    return rate


def tangent(rows, points):
    """Return rows minus their components along the unit vectors ``points``."""
    return rows - (rows * points).sum(axis=1, keepdims=True) * points


def safe_norms(rows):
    """Return the norms (n, 1) of float64 rows without overflow or underflow."""
    largest = abs(rows).max(axis=1, keepdims=True)
    scale, inverse = powers_of_two(largest)
    return row_norms(rows * scale)[:, np.newaxis] * inverse


class SphereOptimizer:
    """Adam for unit vectors, with one running mean of squares for each vector.

    The tangent component g of the gradient updates m <- 0.9 m + 0.1 g and
    v <- 0.99 v + 0.01 ||g||^2, both corrected for their start at 0 (Kingma and Ba, ICLR
    2015). The step -rate m / sqrt(v) is taken in the tangent space and normalised back
    to the sphere, and m is projected on the new tangent space (the simplest form of
    Becigneul and Ganea, ICLR 2019). ``rate`` is therefore the largest angle in radians
    by which a step turns an anchor whose gradients agree, whatever the scale of images,
    loss and weights. sqrt(v) is stored instead of v, which could overflow or underflow.
    The logarithms of the betas are updated in the same way, without the sphere.

    Parameters
    ----------
    network : TrainedNetwork
    learn_beta : bool
        Whether to update the betas of the kernels ``"exp"``.
    """

    def __init__(self, network, learn_beta):
        xp = namespace(*network.anchors)
        self._anchor_means = [xp.zeros_like(rows) for rows in network.anchors]
        self._anchor_roots = [xp.zeros((len(rows), 1)) for rows in network.anchors]
        n_layers = len(network.anchors)
        self._learned = np.array(
            [learn_beta and each.kernel == "exp" for each in network.settings]
        )
        self._beta_means = np.zeros(n_layers)
        self._beta_roots = np.zeros(n_layers)
        self._n_steps = 0

    def step(self, network, gradients, rate):
        """Return the network after a step in the direction of the negative gradients.

        Parameters
        ----------
        network : TrainedNetwork
        gradients : BatchGradients
        rate : float
            In radians.

        Returns
        -------
        network : TrainedNetwork
        """
        self._n_steps += 1
        anchors = [
            self._step_anchors(i, rows, row_gradients, rate)
            for i, (rows, row_gradients) in enumerate(
                zip(network.anchors, gradients.anchors, strict=True)
            )
        ]
        betas = network.betas
        if self._learned.any():
            # One number per layer: computed with NumPy on every device.
            log_beta_gradients = [float(gradient) for gradient in gradients.log_betas]
            log_beta_gradients = np.where(self._learned, log_beta_gradients, 0)
            norms = np.abs(log_beta_gradients)
            self._update(self._beta_means, self._beta_roots, log_beta_gradients, norms)
            moves = self._direction(self._beta_means, self._beta_roots)
            factors = np.exp(np.clip(-rate * moves, *LARGEST_FACTORS))
            # A beta that started beyond a limit may stay there, but not go farther.
            low, high = (reduce(betas, limit) for reduce, limit in BETA_LIMITS)
            betas = np.clip(np.array(betas) * factors, low, high).tolist()
        return network.moved(anchors, betas)

    def _step_anchors(self, i, rows, gradients, rate):
        means, roots = self._anchor_means[i], self._anchor_roots[i]
        gradients = tangent(gradients, rows)
        self._update(means, roots, gradients, safe_norms(gradients))
        moved = unit_rows(rows - rate * self._direction(means, roots))
        self._anchor_means[i] = tangent(means, moved)
        return moved

    @staticmethod
    def _update(means, roots, gradients, norms):
        means *= MOMENTUM
        means += (1 - MOMENTUM) * gradients
        xp = namespace(roots)
        xp.hypot(
            SQUARES_MOMENTUM**0.5 * roots,
            (1 - SQUARES_MOMENTUM) ** 0.5 * norms,
            out=roots,
        )

    def _direction(self, means, roots):
        """Return m / sqrt(v), both corrected; 0 if all gradients were 0."""
        corrected = roots / (1 - SQUARES_MOMENTUM**self._n_steps) ** 0.5
        xp = namespace(corrected)
        corrected = xp.where(corrected > 0, corrected, 1)
        return means / (1 - MOMENTUM**self._n_steps) / corrected
