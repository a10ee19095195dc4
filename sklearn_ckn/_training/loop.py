"""The training loop: epochs of optimizer steps, with a refit of the head after each."""

import time
from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._common.memory_limits import fit_in_memory
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._heads.path import is_correct
from sklearn_ckn._heads.refit import TRAINING_LOSSES, refit_head
from sklearn_ckn._input.dtypes import compute_dtype
from sklearn_ckn._training.augment import augment_images
from sklearn_ckn._training.head import Head
from sklearn_ckn._training.network import TrainedNetwork
from sklearn_ckn._training.objective import Objective
from sklearn_ckn._training.optimizer import SphereOptimizer, scheduled_rate, warm_up


@dataclass(frozen=True)
class Epoch:
    """The state after an epoch.

    Attributes
    ----------
    number : int
        0 is the start, before training.
    network : TrainedNetwork
    head : Head
        Refitted to the features of ``network``.
    objective : float
        On the training images, without augmentation.
    batch_loss : float
        Mean loss of the epoch's batches, each before its step; NaN for the start.
    validation_score : float
        Accuracy on the held-out images; NaN if there are none.
    learning_rate : float
        Of the last step; NaN for the start.
    seconds : float
    """

    number: int
    network: TrainedNetwork
    head: Head
    objective: float
    batch_loss: float
    validation_score: float
    learning_rate: float
    seconds: float


class TrainingLoop:
    """Trains a network epoch by epoch.

    Parameters
    ----------
    data : TrainingSet
    options : TrainingOptions
    engine : CPUEngine or ArrayEngine
    rng : RandomState
        For the order of the images and the augmentation.
    """

    def __init__(self, data, options, engine, rng):
        self._data = data
        self._options = options
        self._engine = engine
        self._rng = rng
        self._dtype = compute_dtype(data.images.dtype)
        xp = engine.xp
        self._targets, self._weights = map(xp.asarray, (data.targets, data.weights))
        self._objective = Objective(TRAINING_LOSSES[options.head], engine)
        self._optimizer = None
        self._n_done = 0

    @property
    def state(self):
        """All that the next epochs depend on besides the last epoch.

        It is valid until the next epoch is computed.
        """
        return self._n_done, self._optimizer, self._rng.get_state()

    @state.setter
    def state(self, value):
        self._n_done, self._optimizer, rng_state = value
        self._rng.set_state(rng_state)

    @property
    def n_left(self):
        """Number of epochs that are left."""
        return self._options.n_epochs - self._n_done

    def start(self, network, features, number=0, scale=None):
        """Fit the head to the features of a network and return the start as an Epoch.

        Parameters
        ----------
        network : TrainedNetwork
        features : list of one array
            See ``fit_in_memory``.
        number : int, default=0
        scale : float or None, default=None
            Scale of the features in the objective. None computes it from them.
        """
        began = time.perf_counter()
        head, objective, score = self._refit(features, scale, None)
        seconds = time.perf_counter() - began
        return Epoch(number, network, head, objective, np.nan, score, np.nan, seconds)

    def epochs(self, epoch):
        """Continue the training after ``epoch`` and yield each new epoch.

        Raises
        ------
        FloatingPointError
            A loss or a gradient is not finite.
        """
        network, head = epoch.network, epoch.head
        if self._optimizer is None:
            self._optimizer = SphereOptimizer(network, self._options.learn_beta)
        while self.n_left:
            began = time.perf_counter()
            losses = []
            for step in self._steps(network, head):
                value, network, head, rate = step
                losses.append(value)
            head, objective, score = self._refit(
                [self.encode(network)], head.scale, head.theta
            )
            epoch = Epoch(
                epoch.number + 1,
                network,
                head,
                objective,
                float(np.mean(losses)),
                score,
                rate,
                time.perf_counter() - began,
            )
            self._n_done += 1
            yield epoch

    def _steps(self, network, head):
        """Yield the loss, the new network, the new head and the rate of each step."""
        options, data, n_done = self._options, self._data, self._n_done
        order = self._rng.permutation(data.train)
        n_batches = max(1, round(len(order) / options.batch_size))
        batches = np.array_split(order, n_batches)
        for i, (rows, images) in enumerate(self._take(batches)):
            progress = (n_done + i / n_batches) / options.n_epochs
            rate = scheduled_rate(options.learning_rate, options.schedule, progress)
            rate *= warm_up(n_done * n_batches + i, options.n_epochs * n_batches)
            places = self._engine.xp.asarray(rows)
            weights = self._weights[places, np.newaxis] / len(rows)
            gradients = self._objective.gradients(
                network,
                head,
                augment_images(options.augment, images, self._rng),
                self._targets[places],
                weights,
            )
            if not gradients.are_finite:
                raise FloatingPointError("the loss of a batch or its gradient")
            network = self._optimizer.step(network, gradients, rate)
            head = gradients.response.moved_head(weights, options.alpha)
            yield gradients.value, network, head, rate

    def _take(self, batches):
        """Yield rows and images of batches, with the images on the engine's device.

        The next batch is copied to the device while the current one is processed.
        """
        images = self._data.images
        blocks = (images[namespace(images).asarray(rows)] for rows in batches)
        for rows, block in zip(batches, self._engine.upload(blocks), strict=True):
            yield rows, block.astype(self._dtype, copy=False)

    def encode(self, trained):
        """Return the features of all images, (n, d).

        They are on the engine's device if they fit into its memory.
        """
        encoder = self._engine.bind(trained.network, self._dtype)
        return encoder.resident_features(self._data.images)

    def _refit(self, features, scale, theta):
        """Return the refitted head, the objective and the accuracy on held-out images.

        Raises
        ------
        FloatingPointError
            The head or the objective is not finite.
        """
        data, options = self._data, self._options

        def fit(values, xp):
            targets, weights = map(xp.asarray, (data.targets, data.training_weights))
            with single_threaded_blas():
                return refit_head(
                    values,
                    targets,
                    weights,
                    head=options.head,
                    alpha=options.alpha,
                    scale=scale,
                    theta=None if theta is None else to_namespace(theta, xp),
                )

        theta, mean, scale, objective, decisions = fit_in_memory(
            fit, features, self._engine
        )
        xp = self._engine.xp
        head = Head(xp.asarray(theta), xp.asarray(mean), scale)
        if not (np.isfinite(objective) and bool(xp.isfinite(head.theta).all())):
            raise FloatingPointError("the training objective")
        score = np.nan
        if len(data.held_out):
            decisions = to_numpy(decisions)[data.held_out]
            correct = is_correct(decisions, data.labels[data.held_out])
            score = float(np.average(correct, weights=data.weights[data.held_out]))
        return head, float(objective), score
