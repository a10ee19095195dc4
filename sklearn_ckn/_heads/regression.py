"""Ridge regression on real targets: the choice of alpha and the noise variance."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.folds import scoring_of
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.held_out_losses import held_out_losses, sample_rows
from sklearn_ckn._heads.left_out import scored_rows
from sklearn_ckn._heads.path import AlphaChoice, FittedHead
from sklearn_ckn._heads.posterior import Posterior
from sklearn_ckn._heads.regression_solver import RegressionSolver
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._heads.summed import standardize_features
from sklearn_ckn._heads.targets import CentredTargets


@dataclass(frozen=True)
class RegressionProblem:
    """Everything that a ridge regression is fitted to, except the features.

    Attributes
    ----------
    targets : ndarray of shape (n, m), float32 or float64
    weights : ndarray of shape (n,), float64
        0 leaves a sample out.
    hold_out : HoldOut
    alphas : ndarray of shape (A,) or None
        Positive, from the largest; None is a grid.
    """

    targets: np.ndarray
    weights: np.ndarray
    hold_out: HoldOut
    alphas: np.ndarray | None

    def fit(self, features, xp):
        """Choose alpha and fit.

        Parameters
        ----------
        features : array of shape (n, d), float32 or float64
            Finite. Of the namespace ``xp``, or NumPy's.
        xp : module
            The namespace to compute with, ``numpy`` or ``cupy``.

        Returns
        -------
        fitted : FittedHead
        posterior : Posterior

        Raises
        ------
        ValueError
            No sample can be held out; the weights are beyond the range of float64.
        """
        samples = self.hold_out.merge(features, self.targets, self.weights)
        return fit_ridge_regressor(
            samples.values,
            samples.answers,
            self.alphas,
            xp=xp,
            weights=samples.weights,
            units=samples.units,
            splits=samples.splits,
        )

    def sample_rows(self, n_samples, random_state):
        """Choose samples at random."""
        return sample_rows(len(self.targets), n_samples, random_state)

    def of_rows(self, images, rows):
        """Return the problem of some of the images; see ``ClassifierProblem``."""
        hold_out = self.hold_out.of_chosen(images, rows)
        return RegressionProblem(self.targets[rows], self.weights[rows], hold_out, None)

    @property
    def reads_few_times(self):
        """See ``ClassifierProblem``: always for ridge."""
        return True

    @property
    def can_hold_out(self):
        """Whether samples can be held out."""
        return self.hold_out.units.max() > 0

    @property
    def key(self):
        """What a fit depends on besides the features, for the keys of a cache."""
        hold_out = self.hold_out
        return self.targets, self.weights, hold_out.units, hold_out.groups is None

    def held_out_losses(self, features, xp):
        """Return squared errors of ridge heads that are fitted without the sample.

        Parameters
        ----------
        features, xp
            See ``fit``.

        Returns
        -------
        losses : ndarray of shape (m,), float64
            Squared errors over the variance of the target, averaged over the targets;
            of the m distinct samples, in an order that does not depend on the features.
        weights : ndarray of shape (m,)
        units : ndarray of shape (m,)
        """
        samples = self.hold_out.merge(features, self.targets, self.weights)
        weights = xp.asarray(samples.weights / samples.weights.mean())
        targets = CentredTargets.from_values(xp.asarray(samples.answers), weights)
        targets = targets.values
        variances = weights @ targets**2 / len(targets)
        variances = xp.where(variances > 0, variances, np.inf)

        def losses_of(rows, predictions):
            squares = (targets[rows, np.newaxis] - predictions) ** 2
            return (squares / variances).mean(axis=-1)

        losses = held_out_losses(
            StandardizedFeatures.from_values(samples.values, weights),
            targets,
            weights,
            xp.asarray(samples.units),
            samples.splits,
            losses_of,
        )
        return losses, samples.weights, samples.units


def fit_ridge_regressor(
    values, targets, alphas=None, *, xp=np, weights=None, units=None, splits=None
):
    """Fit a ridge regression on real targets.

    Parameters
    ----------
    values : array of shape (n, d), float32 or float64
        Of the namespace ``xp``, or NumPy's.
    targets : ndarray of shape (n, m), float32 or float64
    alphas : ndarray of shape (A,) or None
    xp : module, default=numpy
        The namespace to compute with, ``numpy`` or ``cupy``.
    weights, units, splits
        See ``ClassifierSamples``; without weights, all samples have the same weight.

    Returns
    -------
    fitted : FittedHead
        The scores are R2 on samples that were left out, averaged over the targets.
    posterior : Posterior

    Raises
    ------
    ValueError
        The weights are beyond the range of float64.
    """
    n = len(values)
    weights = np.ones(n) if weights is None else weights / weights.mean()
    units = np.arange(n) if units is None else units
    targets, weights, units = map(xp.asarray, (targets, weights, units))
    centred = CentredTargets.from_values(targets, weights)
    targets = centred.values
    features = standardize_features(values, targets, weights, splits)
    alphas = GRIDS["ridge"] if alphas is None else alphas
    if splits is not None:
        splits = [tuple(map(xp.asarray, split)) for split in splits]
        splits = [(train, scored_rows(held_out)) for train, held_out in splits]
    solver = RegressionSolver(features, targets, weights, units, splits)
    errors, best, path = solver.choose(alphas)
    choice = AlphaChoice(
        alphas=to_numpy(errors.alphas),
        scores=errors.scores,
        best=best,
        scoring=scoring_of(splits),
        n_scored=errors.n_scored,
    )
    index = best if len(path.alphas) > 1 else 0
    return _fitted_regressor(path, index, choice, errors.noise_of(best), centred)


def _fitted_regressor(path, index, choice, noise, targets):
    """Return the solution of a path at one of its alphas, as FittedHead and Posterior.

    The targets of the path, and their noise variance, are those of the values of
    ``targets``.
    """
    coef, intercept = path.features.original_units(
        path.solve(index), path.intercept + targets.mean, targets.exponents
    )
    fitted = FittedHead.from_choice(choice, coef, intercept)
    posterior = Posterior.from_path(path, index, noise)
    return fitted, replace(posterior, target_exponents=to_numpy(targets.exponents))
