"""Controller of a training: start, epochs, early stopping, best epoch, final head."""

from dataclasses import replace
from functools import partial
from numbers import Real

import numpy as np
from sklearn.base import clone

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.memory_limits import fit_in_memory
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._heads.path import FittedHead
from sklearn_ckn._training.loop import TrainingLoop

# A network that is trained on labels also fits noise that a head on fixed features does
# not, and needs a larger alpha than the head of the start. With an alpha below the
# smallest, the head has its largest weights in directions in which the features hardly
# vary, and the first steps of the anchors fill these directions with noise.
ALPHA_FACTOR = 10
SMALLEST_ALPHA = 1e-5


def training_alpha(alpha, start_head):
    """Return the alpha of the objective.

    Parameters
    ----------
    alpha : float, "auto" or array-like of float
        Parameter of the estimator.
    start_head : LinearPathClassifier
        Fitted to the features of the network at the start.
    """
    if isinstance(alpha, Real):
        return float(alpha)
    return max(start_head.alpha_ * ALPHA_FACTOR, SMALLEST_ALPHA)


class Training:
    """Trains a network, keeps the best epoch and fits the heads.

    Parameters
    ----------
    data : TrainingSet
    options : TrainingOptions
    head : LinearPathClassifier
        Not fitted. Its alpha is a number, candidates or ``"auto"``.
    problem : ClassifierProblem
        Of the head on all images. If images are held out, they are its only split.
    engine : CPUEngine or ArrayEngine
    rng : RandomState

    Attributes
    ----------
    start, best : Epoch
        The first epoch, and the best one so far.
    failure : FloatingPointError or None
        The error that ended the training.
    """

    def __init__(self, data, options, head, problem, engine, rng):
        self._data = data
        self._options = options
        self._head = head
        if len(data.held_out):
            splits = [(data.train, data.held_out)]
            hold_out = replace(problem.hold_out, splits=splits)
            problem = replace(problem, hold_out=hold_out)
        self._problem = problem
        self._engine = engine
        self._loop = TrainingLoop(data, options, engine, rng)
        self._start_score = -np.inf
        self._n_waited = 0
        self.start = self.best = self.failure = self._last = None

    def begin(self, network, features, number, scale):
        """Fit the head of the objective to the features of the network at the start.

        See ``TrainingLoop.start``.
        """
        self.start = self._loop.start(network, features, number, scale)
        self.best = self._last = self.start

    def score_start(self, features):
        """Measure how accurate the head of the start is on the held-out images."""
        if len(self._data.held_out):
            self._start_score = self._on(features, self._problem.choose).score

    @property
    def state(self):
        """All that the rest of the training depends on, after its start.

        It is valid until the next epoch is computed.
        """
        best = None if self.best is self.start else self.best
        return self._loop.state, self._last, best, self._n_waited

    @state.setter
    def state(self, value):
        self._loop.state, self._last, best, self._n_waited = value
        self.best = best or self.start

    def run(self, task, result_of):
        """Train, and yield each epoch after it is finished.

        Parameters
        ----------
        task : Task
            Each epoch is a subtask, and callbacks may stop the training.
        result_of : callable
            Maps an epoch to the fitted attributes of an estimator that stops there.

        Yields
        ------
        epoch : Epoch
        """
        epochs = self._loop.epochs(self._last)
        seen = self._seen_images() if task.is_observed else {}
        while self._loop.n_left and not self._has_waited:
            with task.subtask("epoch") as step:
                try:
                    epoch = next(epochs)
                except FloatingPointError as error:
                    self.failure = error
                    return
                attributes = partial(result_of, epoch)
                step.result = {**seen, "reconstruction_attributes": attributes}
            self._last = epoch
            self._n_waited += 1
            if self._is_better(epoch):
                self.best, self._n_waited = epoch, 0
            yield epoch
            if step.was_stopped:
                return

    @property
    def _has_waited(self):
        """Whether the accuracy on the held-out images has not increased for long."""
        limit = self._options.n_iter_no_change
        if limit is None or len(self._data.held_out) == 0:
            return False
        return self._n_waited >= limit

    def _seen_images(self):
        """Return the training images and labels, for callbacks."""
        data = self._data
        images, classes = data.images, self._problem.labels.classes
        if len(data.held_out):
            images = images[namespace(images).asarray(data.train)]
        return {"X": images, "y": classes[data.labels[data.train]]}

    def _is_better(self, epoch):
        """Return whether an epoch is better than the best one so far."""
        if epoch.objective > self.start.objective:
            return False
        if np.isnan(epoch.validation_score):
            return epoch.objective < self.best.objective
        return epoch.validation_score > self.best.validation_score

    def fit_best_head(self):
        """Return the final head for the best epoch, or None if the start is kept.

        The start is also kept if the final head is not more accurate on the held-out
        images than the head of the start.
        """
        if self.best is self.start:
            return None
        fitted = self._fit_learned(
            [self._loop.encode(self.best.network)], self._start_score
        )
        if fitted is None:
            self.best = self.start
            return None
        return self._as_estimator(fitted)

    def fit_start_head(self, features):
        """Return a head for a network at the start that was trained on labels before.

        It replaces ``score_start``. One of the candidates for alpha is chosen by the
        held-out images. Without held-out images, or without candidates, it is the alpha
        of the training, converted to the scale of these features.
        """
        fitted = self._fit_learned(features)
        if len(self._data.held_out):
            self._start_score = fitted.score
        return self._as_estimator(fitted)

    def head_of(self, epoch):
        """Return a head with the coefficients and the score of an epoch."""
        coef, intercept = map(to_numpy, epoch.head.in_original_units())
        return self._as_estimator(
            FittedHead(
                alphas=np.array([self._options.alpha]),
                best=0,
                scores=np.array([epoch.validation_score]),
                scoring="held_out",
                n_scored=len(self._data.held_out),
                factor=1.0,
                coef=coef,
                intercept=intercept,
            )
        )

    def _fit_learned(self, features, above=-np.inf):
        """Return the FittedHead for a network that was trained on labels.

        None if its score is not above a given one.
        """
        problem = self._problem
        if isinstance(self._head.alpha, Real) or not len(self._data.held_out):
            alphas, scale = np.array([self._options.alpha]), self.start.head.scale
            problem = replace(problem, alphas=alphas, unit=scale)
        return self._on(features, partial(problem.fit, above=above))

    def _on(self, features, method):
        """Call a method of a ClassifierProblem with features, given in a list."""
        with single_threaded_blas():
            return fit_in_memory(method, features, self._engine)

    def _as_estimator(self, fitted):
        return clone(self._head)._set_fitted(fitted, self._problem.labels)
