"""Steps of anchors on the unit sphere, the same in all directions, and of betas."""

from math import cos, pi

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import powers_of_two, unit_rows
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._network.kernels import InverseSquareRoot

# Decay rates of the running means of the gradients and, for betas, of their squares.
MOMENTUM = 0.9
SQUARES_MOMENTUM = 0.99

# Added to the eigenvalues of the Gram matrix of the mean gradients, as a part of their
# sum. Directions with less than a thousandth of the norm are mostly rounding.
REGULARIZATION = 1e-6

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


def orthogonalized(matrices):
    """Return matrices with the same singular vectors and singular values of about 1.

    A singular value s of a matrix M becomes s / sqrt(s^2 + r ||M||_F^2), with r =
    ``REGULARIZATION``. For r = 0 and M of full rank this is (M M^T)^(-1/2) M, the
    nearest matrix with orthonormal rows, or columns. Rows of zeros remain so.

    Parameters
    ----------
    matrices : list of array of shape (p, d), float64

    Returns
    -------
    matrices : list of array of shape (p, d), float64
    """
    scaled, grams = [], []
    with single_threaded_blas():
        for rows in matrices:
            # Squares of large and of small gradients overflow or underflow.
            scale, _ = powers_of_two(abs(rows).max())
            rows = rows * scale
            gram = rows @ rows.T if _is_wide(rows) else rows.T @ rows
            xp = namespace(rows)
            total = xp.trace(gram)
            total = xp.where(total > 0, total, 1)
            scaled.append(rows / xp.sqrt(total))
            grams.append(gram / total)
        roots = InverseSquareRoot.from_matrices(grams, [REGULARIZATION] * len(grams))
        return [
            root.value() @ rows if _is_wide(rows) else rows @ root.value()
            for root, rows in zip(roots, scaled, strict=True)
        ]


def _is_wide(rows):
    return rows.shape[0] <= rows.shape[1]


class SphereOptimizer:
    """Steps of anchors that have the same length in all directions, and Adam for betas.

    The tangent components of the gradients of a layer's anchors, rows G of shape (p,
    d), update M <- 0.9 M + 0.1 G. The step is the tangent component of -rate U V^T,
    where M = U S V^T is the singular value decomposition (Jordan, "Muon: An optimizer
    for hidden layers in neural networks", 2024): the largest decrease of a linear
    function among the steps whose spectral norm is ``rate`` (Bernstein and Newhouse,
    "Old optimizer, new norm", 2024). The gradients of all anchors of a layer share a
    few directions, those in which its patches vary most, and these would otherwise hide
    all others. The anchors are normalised back to the sphere, and M is projected on the
    new tangent space. ``rate`` is therefore the largest angle in radians by which a
    step turns an anchor, whatever the scale of images, loss and weights.

    The logarithms of the betas move by -rate m / sqrt(v), where v <- 0.99 v + 0.01 g^2
    and both means are corrected for their start at 0 (Kingma and Ba, ICLR 2015).
    sqrt(v) is stored instead of v, which could overflow or underflow.

    Parameters
    ----------
    network : TrainedNetwork
    learn_beta : bool
        Whether to update the betas of the kernels ``"exp"``.
    """

    def __init__(self, network, learn_beta):
        xp = namespace(*network.anchors)
        self._means = [xp.zeros_like(rows) for rows in network.anchors]
        self._learned = np.array(
            [learn_beta and each.kernel == "exp" for each in network.settings]
        )
        self._beta_means, self._beta_roots = np.zeros((2, len(network.anchors)))
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
        anchors = self._step_anchors(network.anchors, gradients.anchors, rate)
        betas = network.betas
        if self._learned.any():
            # One number per layer: computed with NumPy on every device.
            log_beta_gradients = [float(gradient) for gradient in gradients.log_betas]
            moves = self._beta_moves(np.where(self._learned, log_beta_gradients, 0))
            factors = np.exp(np.clip(-rate * moves, *LARGEST_FACTORS))
            # A beta that started beyond a limit may stay there, but not go farther.
            low, high = (reduce(betas, limit) for reduce, limit in BETA_LIMITS)
            betas = np.clip(np.array(betas) * factors, low, high).tolist()
        return network.moved(anchors, betas)

    def _step_anchors(self, all_rows, all_gradients, rate):
        for means, rows, gradients in zip(
            self._means, all_rows, all_gradients, strict=True
        ):
            means *= MOMENTUM
            means += (1 - MOMENTUM) * tangent(gradients, rows)
        all_moved = [
            unit_rows(rows - rate * tangent(direction, rows))
            for rows, direction in zip(
                all_rows, orthogonalized(self._means), strict=True
            )
        ]
        self._means = [
            tangent(means, moved)
            for means, moved in zip(self._means, all_moved, strict=True)
        ]
        return all_moved

    def _beta_moves(self, gradients):
        """Return m / sqrt(v), both corrected; 0 if all gradients were 0."""
        means, roots = self._beta_means, self._beta_roots
        means *= MOMENTUM
        means += (1 - MOMENTUM) * gradients
        np.hypot(
            SQUARES_MOMENTUM**0.5 * roots,
            (1 - SQUARES_MOMENTUM) ** 0.5 * np.abs(gradients),
            out=roots,
        )
        corrected = roots / (1 - SQUARES_MOMENTUM**self._n_steps) ** 0.5
        corrected = np.where(corrected > 0, corrected, 1)
        return means / (1 - MOMENTUM**self._n_steps) / corrected
