"""Steps of anchors on the sphere, and of betas, of a size that no unit decides."""

from math import cos, pi

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import powers_of_two, row_norms, unit_rows

# Weights of the past in the running means of gradients and of their squares.
MOMENTUM = 0.9
SQUARES_MOMENTUM = 0.99

#: When the schedule "step" divides the rate by ten, in parts of the training: after
#: epochs 60, 85 and 100 of 105 (Mairal, NIPS 2016, sect. 4.1).
DROPS = (60 / 105, 85 / 105, 100 / 105)


# How a beta changes in a step at most, as logarithms of factors, and where it ends:
# below, the kernel is linear to rounding of float32, and above it tells all patches
# apart that are more than a degree from each other.
LARGEST_FACTORS = (-1.0, 1.0)
BETA_LIMITS = ((np.minimum, 1e-4), (np.maximum, 1e4))


# Steps in which the rate rises, as many as the running mean of the squares reaches
# back, and no more than this part of the training.
WARM_UP_STEPS = 100
WARM_UP_PART = 0.25


def warm_up(n_done, n_steps):
    """Return the part of the rate to take after ``n_done`` of ``n_steps`` steps.

    The first steps have hardly anything to average over: they all are of the full
    rate, whatever little their gradients agree on (Ma and Yarats, AAAI 2021).
    """
    n_rising = min(WARM_UP_STEPS, WARM_UP_PART * n_steps)
    return min(1.0, (n_done + 1) / n_rising)


def scheduled_rate(rate, schedule, progress):
    """Return the rate after a part ``progress`` of the training, between 0 and 1."""
    if schedule == "cosine":
        return rate * (1 + cos(pi * progress)) / 2
    if schedule == "step":
        return rate / 10 ** sum(progress >= drop for drop in DROPS)
    return rate


def tangent(rows, points):
    """Return rows without their part along the unit vectors ``points``."""
    return rows - (rows * points).sum(axis=1, keepdims=True) * points


def safe_norms(rows):
    """Return the norms (n, 1) of rows of float64 of any magnitude."""
    largest = abs(rows).max(axis=1, keepdims=True)
    scale, inverse = powers_of_two(largest)
    return row_norms(rows * scale)[:, np.newaxis] * inverse


class SphereOptimizer:
    """Adam for unit vectors, each an entity with one running mean of its squares.

    The gradient's tangent part g enters m <- 0.9 m + 0.1 g and, by its squared norm,
    v <- 0.99 v + 0.01 ||g||^2; both corrected for their start at 0 (Kingma and Ba, ICLR
    2015). The step -rate m / sqrt(v) is taken in the tangent space, brought back to
    the sphere by normalisation, and m is projected on the new tangent space
    (Becigneul and Ganea, ICLR 2019, in this simplest form). ``rate`` so is the
    angle, in radians, that an anchor moves at most in a step of persistent gradients,
    whatever the scale of images, loss and weights: sqrt(v) is kept rather than v, which
    could overflow or vanish. Logarithms of betas move likewise, on the line.
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
        """Return the network after a step against the gradients.

        Parameters
        ----------
        network : TrainedNetwork
        gradients : BatchGradients
        rate : float
            Radians.

        Returns
        -------
        network : TrainedNetwork
        """
        self._n_steps += 1
        anchors = [
            self._step_anchors(i, rows, slopes, rate)
            for i, (rows, slopes) in enumerate(
                zip(network.anchors, gradients.anchors, strict=True)
            )
        ]
        betas = network.betas
        if self._learned.any():
            # Some numbers a layer: these stay with NumPy.
            slopes = [float(slope) for slope in gradients.log_betas]
            slopes = np.where(self._learned, slopes, 0)
            self._update(self._beta_means, self._beta_roots, slopes, np.abs(slopes))
            moves = self._direction(self._beta_means, self._beta_roots)
            factors = np.exp(np.clip(-rate * moves, *LARGEST_FACTORS))
            # Who has started beyond the limits stays there at most.
            low, high = (reduce(betas, limit) for reduce, limit in BETA_LIMITS)
            betas = np.clip(np.array(betas) * factors, low, high).tolist()
        return network.moved(anchors, betas)

    def _step_anchors(self, i, rows, slopes, rate):
        means, roots = self._anchor_means[i], self._anchor_roots[i]
        slopes = tangent(slopes, rows)
        self._update(means, roots, slopes, safe_norms(slopes))
        moved = unit_rows(rows - rate * self._direction(means, roots))
        self._anchor_means[i] = tangent(means, moved)
        return moved

    @staticmethod
    def _update(means, roots, slopes, norms):
        means *= MOMENTUM
        means += (1 - MOMENTUM) * slopes
        xp = namespace(roots)
        xp.hypot(
            SQUARES_MOMENTUM**0.5 * roots,
            (1 - SQUARES_MOMENTUM) ** 0.5 * norms,
            out=roots,
        )

    def _direction(self, means, roots):
        """Return the unit-scale direction; 0 where no gradient was seen."""
        corrected = roots / (1 - SQUARES_MOMENTUM**self._n_steps) ** 0.5
        xp = namespace(corrected)
        corrected = xp.where(corrected > 0, corrected, 1)
        return means / (1 - MOMENTUM**self._n_steps) / corrected
