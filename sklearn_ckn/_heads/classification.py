"""Linear heads for classes: the choice of alpha and the fit with that alpha."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._heads.folds import complements, held_out_folds
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.held_out_losses import held_out_losses, sample_rows
from sklearn_ckn._heads.newton_path import NewtonSolver
from sklearn_ckn._heads.path import FittedHead, is_correct, one_vs_rest
from sklearn_ckn._heads.ridge_solver import RidgeSolver
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._input.labels import Labels

# With fewer values of features than this, one thread computes: several threads would
# wait for each other longer than the many small products take.
SMALL_VALUES = 2**22


@dataclass(frozen=True)
class ClassifierProblem:
    """Everything that a linear classifier is fitted to, except the features.

    Attributes
    ----------
    loss : {"ridge", "linear_svm", "logistic"}
    labels : Labels
        Of n samples.
    hold_out : HoldOut
        Of the same samples.
    alphas : ndarray of shape (A,) or None
        Positive, in descending order; None is the default grid of the loss.
    unit : float or None, default=None
        The scale of features that the alphas refer to. None is the scale of the
        features of the fit: the root mean square norm of the centred features.
    """

    loss: str
    labels: Labels
    hold_out: HoldOut
    alphas: np.ndarray | None
    unit: float | None = None

    def check(self):
        """Raise, before any long computation, if no sample can be held out.

        Raises
        ------
        ValueError
            See ``held_out_folds``.
        """
        units = self.hold_out.units
        holds_out = self.hold_out.groups is not None or self.loss != "ridge"
        # Not if all samples are equal: see ``ClassifierSamples.prepare``.
        if holds_out and units.max() > 0:
            held_out_folds(self.labels.positions, units)

    def fit(self, features, xp, above=-np.inf):
        """Choose alpha and fit.

        Parameters
        ----------
        features : array of shape (n, d), float32 or float64
            Finite. Not changed, and copied only if some rows are equal or have the
            weight 0. Of the namespace ``xp``, or NumPy's.
        xp : module
            The namespace to compute with, ``numpy`` or ``cupy``.
        above : float, default=-inf
            The fit is left out if the score of the alpha is not above this one.

        Returns
        -------
        fitted : FittedHead or None
            None if the fit is left out.

        Raises
        ------
        ValueError
            No sample can be held out, or a training part lacks a class; the weights
            of the head are beyond the range of float64.
        """
        return self._samples(features, xp).fit(above)

    def choose(self, features, xp):
        """Choose alpha without the final fit; see ``fit``.

        Returns
        -------
        choice : AlphaChoice
        """
        return self._samples(features, xp).choose()

    def sample_rows(self, n_samples, random_state):
        """Choose samples at random, at least one of every class."""
        positions = self.labels.positions
        return sample_rows(len(positions), n_samples, random_state, positions)

    def of_rows(self, images, rows):
        """Return the problem of some of the images, with the squared error.

        Parameters
        ----------
        images : Images
            The chosen ones.
        rows : ndarray or slice
            Their positions.
        """
        hold_out = self.hold_out.of_chosen(images, rows)
        return ClassifierProblem("ridge", self.labels[rows], hold_out, None)

    @property
    def reads_few_times(self):
        """Whether the fit reads the features as often as the choice of alpha needs."""
        return self.loss == "ridge"

    @property
    def can_hold_out(self):
        """Whether ``check`` raises no error."""
        try:
            self.check()
        except ValueError:
            return False
        return True

    @property
    def key(self):
        """What a fit depends on besides the features, for the keys of a cache."""
        return (
            self.loss,
            self.labels.positions,
            self.labels.weights,
            self.hold_out.units,
            self.hold_out.groups is None,
        )

    def held_out_losses(self, features, xp):
        """Return whether ridge heads that are fitted without a sample are wrong on it.

        Parameters
        ----------
        features, xp
            See ``fit``.

        Returns
        -------
        losses : ndarray of shape (m,), float64
            0 or 1, of the m distinct samples, in an order that does not depend on the
            features.
        weights : ndarray of shape (m,)
        units : ndarray of shape (m,)
        """
        samples = self._samples(features, xp)

        def losses_of(rows, predictions):
            labels = samples.labels[rows, np.newaxis]
            return (~is_correct(predictions, labels)).astype(np.float64)

        with samples._threads():
            losses = held_out_losses(
                StandardizedFeatures.from_values(samples.values, samples.weights),
                samples.targets,
                samples.weights,
                samples.units,
                samples.splits,
                losses_of,
            )
        return losses, to_numpy(samples.weights), to_numpy(samples.units)

    def _samples(self, features, xp):
        labels = self.labels
        samples = self.hold_out.merge(
            features, labels.positions, labels.weights, len(labels.classes)
        )
        return ClassifierSamples.prepare(
            samples.values,
            samples.answers,
            samples.weights,
            loss=self.loss,
            xp=xp,
            alphas=self._alphas_for(samples, xp),
            units=samples.units,
            splits=samples.splits,
        )

    def _alphas_for(self, samples, xp):
        """Return the alphas that refer to the scale of the features of the samples."""
        if self.unit is None:
            return self.alphas
        weights = xp.asarray(samples.weights)
        own = StandardizedFeatures.from_values(samples.values, weights)
        return self.alphas * (self.unit / own.original_scale) ** 2


@dataclass(frozen=True)
class ClassifierSamples:
    """Distinct samples that a linear classifier is fitted to.

    All arrays but the features are of the namespace that computes.

    Attributes
    ----------
    values : array of shape (n, d), float32 or float64
        Features, of the same namespace or NumPy's.
    labels : array of shape (n,)
        Positions of the classes.
    targets : array of shape (n, m)
        +1 and -1.
    weights : array of shape (n,), float64
        Of sum 1.
    loss : str
    alphas : ndarray of shape (A,) or None
    units : array of shape (n,)
        Samples with the same number, from 0, are held out together.
    splits : list of tuple of array, or None
        Training rows and held-out rows; None leaves out one unit after the other.
    """

    values: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    loss: str
    alphas: np.ndarray | None
    units: np.ndarray
    splits: list | None

    @classmethod
    def prepare(
        cls,
        features,
        labels,
        weights,
        *,
        loss,
        xp=np,
        alphas=None,
        units=None,
        splits=None,
    ):
        """Make targets and folds, and move all arrays but the features to ``xp``.

        Parameters
        ----------
        features : array of shape (n, d), float32 or float64
        labels : ndarray of shape (n,)
            Positions of the classes, of which there are two or more.
        weights : ndarray of shape (n,), float64
            Positive; only their ratios matter.
        loss : {"ridge", "linear_svm", "logistic"}
        xp : module, default=numpy
        alphas : ndarray of shape (A,) or None
        units : ndarray of shape (n,) or None, default=None
            With ``"ridge"`` and no splits, samples of one unit must have the same
            features. None makes every sample a unit.
        splits : list of tuple of ndarray, or None, default=None
            None leaves the choice to the loss: ``"ridge"`` leaves out one unit after
            the other, and the others use folds.
        """
        targets = one_vs_rest(labels, labels.max() + 1)
        weights = weights / weights.sum()
        units = np.arange(len(labels)) if units is None else units
        if splits is None and loss != "ridge":
            if units.max() == 0:
                # With equal features for all samples, a head learns only how frequent
                # the classes are, and no sample has to be held out.
                splits = [(np.arange(len(labels)),) * 2]
            else:
                splits = complements(held_out_folds(labels, units), len(labels))
        labels, targets, weights, units = map(
            xp.asarray, (labels, targets, weights, units)
        )
        if splits is not None:
            splits = [tuple(map(xp.asarray, split)) for split in splits]
        return cls(features, labels, targets, weights, loss, alphas, units, splits)

    def choose(self):
        """Return the AlphaChoice."""
        with self._threads():
            return self._solver().choose()

    def fit(self, above=-np.inf):
        """Return the FittedHead, or None if the score is not above a given one."""
        with self._threads():
            solver = self._solver()
            choice = solver.choose()
            if not choice.score > above:
                return None
            return FittedHead.from_choice(choice, *solver.solve(choice))

    def _threads(self):
        small = self.values.size < SMALL_VALUES
        return single_threaded_blas() if small else nullcontext()

    def _solver(self):
        return RidgeSolver(self) if self.loss == "ridge" else NewtonSolver(self)
