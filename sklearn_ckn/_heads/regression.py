"""Ridge regression on real targets: the choice of alpha and the noise variance."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.folds import scoring_of
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.held_out_losses import held_out_losses, sample_rows
from sklearn_ckn._heads.left_out import LeftOut, scored_rows
from sklearn_ckn._heads.path import AlphaChoice, FittedHead, training_weights
from sklearn_ckn._heads.posterior import Posterior
from sklearn_ckn._heads.ridge import RidgePath
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
        errors, variation, noise = _ridge_errors(
            features, targets, weights, alphas, splits
        )
        choice = _choose_by_errors(errors, variation, alphas, splits)
        path = RidgePath.from_features(features, targets, choice.chosen)
        return _fitted_regressor(path, 0, choice, noise[choice.best], centred)
    path = RidgePath.from_features(features, targets, alphas, units)
    left_out = LeftOut(path)

    def statistic(rows, predictions):
        squares = (targets[rows, np.newaxis] - predictions) ** 2
        return (weights[rows, np.newaxis, np.newaxis] * squares).sum(axis=0)

    errors, rows = left_out.summarize(statistic), left_out.rows
    variation = weights[rows] @ targets[rows] ** 2
    choice = _choose_by_errors(errors, variation, alphas, None, left_out.n_rows)
    leverages = left_out.leverages[:, choice.best]
    noise = path.noise_variance(left_out.of(choice.best), leverages, rows)
    return _fitted_regressor(path, choice.best, choice, noise, centred)


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


def _choose_by_errors(errors, variation, alphas, splits, n_scored=None):
    """Return the AlphaChoice by sums of squares (A, m) and (m,) of scored samples.

    ``n_scored`` is their number; None stands for the held-out rows of the splits.
    """
    xp = namespace(errors)
    # A constant target is predicted exactly, by its mean, with any alpha.
    scores = 1 - (errors / xp.where(variation > 0, variation, np.inf)).mean(axis=1)
    scores = to_numpy(scores)
    return AlphaChoice(
        alphas=alphas,
        scores=scores,
        best=int(scores.argmax()),
        scoring=scoring_of(splits),
        n_scored=n_scored or sum(len(held_out) for _, held_out in splits),
    )


def _ridge_errors(features, targets, weights, alphas, splits):
    """Predict the held-out rows of splits.

    Returns
    -------
    errors : array of shape (A, m)
        Weighted sums of squares.
    variation : array of shape (m,)
        The same sums for predictions by the mean of all targets, which is 0.
    noise : array of shape (A, m)
        Variance of the targets around the regression function. The expected square of
        an error is this variance times a factor from the weight of the sample and the
        uncertainty of the solution; the squares are divided by it and averaged.
    """
    errors = variation = noise = 0
    for train, held_out in splits:
        training = training_weights(weights, train)
        path = RidgePath.from_features(features.weighted(training), targets, alphas)
        own, rows = targets[held_out], weights[held_out, np.newaxis]
        variation = variation + (rows * own**2).sum(axis=0)
        squares = (own[:, np.newaxis] - path.predict(held_out)) ** 2
        squares *= rows[:, :, np.newaxis]
        errors = errors + squares.sum(axis=0)
        growth = 1 + rows / training.sum() * (1 + path.spreads(held_out))
        noise = noise + (squares / growth[:, :, np.newaxis]).sum(axis=0)
    return errors, variation, noise / sum(len(rows) for _, rows in splits)
