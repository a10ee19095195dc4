"""Losses minimised along a path of alphas, of which held-out samples choose one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.folds import scoring_of
from sklearn_ckn._heads.losses import LOSSES
from sklearn_ckn._heads.newton import Products, minimize_loss
from sklearn_ckn._heads.path import (
    AlphaChoice,
    HeldOutScores,
    is_correct,
    training_weights,
)
from sklearn_ckn._heads.spectrum import Spectrum
from sklearn_ckn._heads.standardize import StandardizedFeatures

# The default path of alphas ends after PATIENCE alphas in a row that do not lower the
# lowest held-out loss by at least the fraction NEGLIGIBLE. It also ends when the loss
# is below this fraction of the loss of decisions of 0. Smaller alphas would take more
# and more time and hardly change the loss.
PATIENCE = 2
NEGLIGIBLE = 1e-3


class TrainingPart:
    """Samples with weights, on which a loss is minimised alpha after alpha."""

    def __init__(self, features, targets, weights, loss):
        self._weights = weights[:, np.newaxis] / weights.sum()
        self._targets = targets
        self._loss = loss
        self.features = features.weighted(weights)
        self._products = Products(self.features)
        self.theta = self.features.xp.zeros((features.shape[1] + 1, targets.shape[1]))

    def minimize(self, alpha):
        """Continue at another alpha; return the decisions of all rows, (n, m)."""
        self.theta, decisions = minimize_loss(
            self._products, self._loss, self._targets, self._weights, alpha, self.theta
        )
        return decisions


@dataclass(frozen=True)
class FoldPath:
    """The predictions for held-out samples along a path of alphas.

    Attributes
    ----------
    alphas : ndarray of shape (A,)
        The alphas that were tried.
    accuracies : ndarray of shape (A,)
    held_out : array of shape (h,)
        The held-out rows of all splits.
    weights : array of shape (h,)
        Of these rows, of sum 1.
    decisions : list of array of shape (h, m)
        Their decisions, for each alpha.
    thetas : list of array of shape (d + 1, m)
        The solutions on the training part of the first split.
    """

    alphas: np.ndarray
    accuracies: np.ndarray
    held_out: np.ndarray
    weights: np.ndarray
    decisions: list
    thetas: list


def follow_path(features, labels, targets, weights, loss, alphas, splits):
    """Minimise the loss on every training part along the path of alphas.

    The arguments are attributes of ``ClassifierSamples``.

    Returns
    -------
    path : FoldPath
    """
    name, loss = loss, LOSSES[loss]
    stops = alphas is None
    alphas = GRIDS[name] if alphas is None else alphas
    xp = namespace(weights)
    problems = [
        TrainingPart(features, targets, training_weights(weights, train), loss)
        for train, _ in splits
    ]
    folds = [held_out for _, held_out in splits]
    held_out = xp.concatenate(folds)
    held_weights = weights[held_out] / weights[held_out].sum()

    def held_out_loss(decisions):
        return loss(decisions, targets[held_out], held_weights[:, np.newaxis])[0]

    nothing = held_out_loss(xp.zeros((len(held_out), targets.shape[1])))
    accuracies, losses, decisions, thetas = [], [], [], []
    for alpha in alphas:
        predicted = [
            problem.minimize(alpha)[fold]
            for problem, fold in zip(problems, folds, strict=True)
        ]
        decisions.append(xp.concatenate(predicted))
        thetas.append(problems[0].theta)
        correct = is_correct(decisions[-1], labels[held_out])
        accuracies.append(float(held_weights @ correct.astype(np.float64)))
        losses.append(held_out_loss(decisions[-1]))
        if stops and _is_at_end(losses, nothing):
            break
    return FoldPath(
        alphas[: len(losses)],
        np.array(accuracies),
        held_out,
        held_weights,
        decisions,
        thetas,
    )


def _is_at_end(losses, nothing):
    """Return whether the path should end, since smaller alphas would not help.

    Parameters
    ----------
    losses : list of float
        Held-out losses, in the order of the path.
    nothing : float
        The loss of decisions of 0.
    """
    least, waited = losses[0], 0
    for loss in losses[1:]:
        if loss < (1 - NEGLIGIBLE) * least:
            least, waited = loss, 0
        else:
            waited += 1
    return waited >= PATIENCE or losses[-1] < NEGLIGIBLE * nothing


class NewtonSolver:
    """Chooses alpha on held-out samples, then minimises the loss on all samples.

    Parameters
    ----------
    samples : ClassifierSamples
        With splits.
    """

    def __init__(self, samples):
        self._samples = samples
        values = samples.values
        ones = namespace(samples.weights).ones(len(values))
        self._original = StandardizedFeatures.from_values(values, ones)
        self._features, self._spectrum = self._original, None
        if values.shape[0] < values.shape[1]:
            # The solutions are in the span of the samples, which has fewer dimensions
            # than the features: it is enough to know coordinates in the span.
            spectrum = Spectrum.from_features(self._original)
            # Constant features have no coordinates.
            if spectrum.eigenvalues.size:
                self._spectrum = spectrum
                self._features = StandardizedFeatures.from_values(
                    spectrum.coordinates().astype(values.dtype),
                    ones,
                    spectrum.coordinate_errors(),
                )

    @cached_property
    def _folds(self):
        samples = self._samples
        return follow_path(
            self._features,
            samples.labels,
            samples.targets,
            samples.weights,
            samples.loss,
            samples.alphas,
            samples.splits,
        )

    def choose(self):
        """Return the AlphaChoice."""
        samples, folds = self._samples, self._folds
        scores = HeldOutScores.of_arrays(
            folds.alphas,
            folds.accuracies,
            lambda i: folds.decisions[i],
            samples.labels[folds.held_out],
            folds.weights,
            samples.units[folds.held_out],
        )
        best, factor = scores.choose()
        return AlphaChoice(
            alphas=folds.alphas,
            scores=scores.scores,
            best=best,
            scoring=scoring_of(samples.splits),
            n_scored=len(folds.held_out),
            factor=factor,
        )

    def solve(self, choice):
        """Return coef (m, d) and intercept (m,) of the alpha that was chosen."""
        samples, spectrum = self._samples, self._spectrum
        part = TrainingPart(
            self._features, samples.targets, samples.weights, LOSSES[samples.loss]
        )
        part.theta = self._folds.thetas[choice.best]
        part.minimize(choice.alphas[choice.best])
        coef, intercept = part.theta[:-1].T, part.theta[-1]
        if spectrum is None:
            return part.features.original_units(coef, intercept)
        coef, intercept = part.features.of_values(coef, intercept)
        coef = spectrum.expand(coef.T).T
        return self._original.original_units(coef, intercept)
