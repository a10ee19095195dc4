"""The fit of SupervisedCKNClassifier: start, training and final head."""

from copy import copy
from dataclasses import fields, replace
from functools import partial
from numbers import Real

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ckn._common.arrays import to_namespace, to_numpy
from sklearn_ckn._common.dask_arrays import is_dask
from sklearn_ckn._common.free_memory import free_memory_bytes
from sklearn_ckn._common.lazy_array import LazyArray
from sklearn_ckn._common.parameters import finite_number
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._heads.alphas import resolve_alphas
from sklearn_ckn._learning.cache import resolve_memory
from sklearn_ckn._learning.training_features import features_step
from sklearn_ckn._training.checkpoints import Checkpoints
from sklearn_ckn._training.controller import Training, training_alpha
from sklearn_ckn._training.data import TrainingOptions, TrainingSet
from sklearn_ckn._training.history import describe, extended
from sklearn_ckn._training.network import TrainedNetwork
from sklearn_ckn._training.split import split_rows
from sklearn_ckn._training.warm_start import EarlierFit


def fit_supervised(model, X, y, sample_weight, groups, task):
    """Set the fitted attributes of a SupervisedCKNClassifier.

    Parameters
    ----------
    model : SupervisedCKNClassifier
    X, y, sample_weight, groups
        Arguments of its ``fit``.
    task : Task
        The start, each epoch and the fit of the head are subtasks of it.

    Returns
    -------
    failure : FloatingPointError or None
        The error that ended the training. The attributes are set nevertheless.
    """
    if is_dask(X):
        raise ValueError(
            "SupervisedCKNClassifier trains on one machine: pass X.compute(), or store "
            "X, for example by X.to_zarr(path), and pass zarr.open(path)."
        )
    alphas = resolve_alphas(model.alpha)
    earlier = EarlierFit.of(model) if model.warm_start else None
    engine = get_engine(model.device, X)
    random_state = check_random_state(model.random_state)
    images, problem, origin = model._read_input(X, y, sample_weight, groups, alphas)
    start_head = None
    if earlier is None:
        features = model._learn_features(images, problem, engine, task)
        start_head = model._fit_head(problem, features, engine, task)
    else:
        earlier.check_same_problem(model, images)
        with features_step(task, images, model.features_._network) as step:
            encoder = model.features_._encoder(images, engine)
            features = [encoder.features(images.array, task=step)]
    rows = _choose_held_out(model, problem, origin, earlier, random_state)
    n_given, positions = origin
    model._split_of = n_given, positions[rows[1]]
    if earlier is None or isinstance(model.alpha, Real):
        model.training_alpha_ = training_alpha(model.alpha, start_head)
    network = model.features_._network
    options = _training_options(model)
    checkpoints = Checkpoints(
        resolve_memory(model.memory, model.random_state),
        images,
        engine,
        options,
        *(network, problem.labels, rows, earlier, random_state.get_state()),
    )
    training = Training(
        _training_set(_whitened(images, network, engine), problem.labels, rows, engine),
        options,
        model._new_head(),
        problem,
        engine,
        random_state,
    )
    # Whitened once and not in every epoch.
    network = TrainedNetwork.from_network(replace(network, whitening=None), engine.xp)
    if earlier is None:
        model.history_ = {}
        with task.step("start of the training"):
            training.begin(network, features, 0, None)
            training.score_start(features)
        _record(model, training.start)
    else:
        with task.step("start of the training"):
            training.begin(network, features, earlier.epoch, earlier.feature_scale)
            # This network was trained on the labels: its head is chosen accordingly.
            start_head = training.fit_start_head(features)
    model._feature_scale = training.start.head.scale
    # Wide features take more memory than the whole training.
    del features
    model.n_iter_ = 0
    if (state := checkpoints.latest()) is not None:
        training.state, model.history_, model.n_iter_ = state
        if model.verbose:
            print(
                f"[SupervisedCKNClassifier] goes on after epoch {model.n_iter_}",
                flush=True,
            )
    for epoch in training.run(task, partial(_attributes, model, training)):
        _record(model, epoch)
        model.n_iter_ = epoch.number - training.start.number
        state = training.state, model.history_, model.n_iter_
        checkpoints.save(model.n_iter_, state)
    with task.step("head of the best epoch"):
        head = training.fit_best_head()
    model.head_ = start_head if head is None else head
    model.best_epoch_ = training.best.number
    if head is not None:
        model.features_ = _with_network(model.features_, training.best.network)
    return training.failure


def _choose_held_out(model, problem, origin, earlier, random_state):
    """Return the training rows and the held-out rows."""
    labels, units = problem.labels.positions, problem.hold_out.units
    if not model.early_stopping:
        return np.arange(len(labels)), np.arange(0)
    # All other images were training images of the earlier fit.
    rows = None if earlier is None else earlier.same_split(origin, labels, units)
    fraction = model.validation_fraction
    return rows or split_rows(labels, fraction, random_state, units)


def _whitened(images, network, engine):
    """Return the images with the whitening of the network.

    They are whitened again in every batch if they are read from a file, or if they
    would take more than half of the memory that is free.
    """
    array = images.array
    if network.whitening is None:
        return array
    encoder = engine.bind(network.first(0), images.dtype)
    n_bytes = array.size * images.dtype.itemsize
    if isinstance(array, LazyArray) or n_bytes > free_memory_bytes() // 2:
        return LazyArray(WhitenedImages(encoder, array))
    return encoder.maps(array)


class WhitenedImages:
    """Images that are whitened when they are read: a source of a LazyArray.

    Parameters
    ----------
    encoder : Encoder
        Of a network that only whitens.
    images : array of shape (n, H, W, C), or LazyArray
    """

    def __init__(self, encoder, images):
        self._encoder = encoder
        self._images = images
        self.shape, self.dtype = images.shape, np.dtype(encoder.dtype)

    def __getitem__(self, rows):
        """Return whitened images by a slice."""
        return to_numpy(self._encoder.maps(self._images[rows]))


def _training_set(array, labels, rows, engine):
    """Return the TrainingSet, with images on the engine's device if they fit."""
    if not isinstance(array, LazyArray) and engine.has_room_for(array.nbytes):
        # Copied once, because every epoch reads them in another order.
        array = to_namespace(array, engine.xp)
    return TrainingSet.from_labels(array, labels, rows)


def _training_options(model):
    """Return the TrainingOptions from the parameters of the model."""
    options = {
        field.name: getattr(model, field.name) for field in fields(TrainingOptions)
    }
    options["alpha"] = model.training_alpha_
    options["learning_rate"] = finite_number("learning_rate", model.learning_rate)
    return TrainingOptions(**options)


def _attributes(model, training, epoch):
    """Return the fitted attributes of a training that stops after ``epoch``."""
    return {
        "features_": _with_network(model.features_, epoch.network),
        "head_": training.head_of(epoch),
        "best_epoch_": epoch.number,
        "n_iter_": epoch.number - training.start.number,
    }


def _with_network(features, trained):
    """Return a copy of a fitted CKNFeatures with a trained network."""
    # A copy: if the fit fails later, the estimator keeps its earlier network.
    changed = copy(features)
    dtype = features._network.layers[0].anchors.dtype
    whitening = features._network.whitening
    changed._network = replace(trained.stored(dtype), whitening=whitening)
    return changed


def _record(model, epoch):
    """Add an epoch to the history and print its line."""
    model.history_ = extended(model.history_, epoch, model.learn_beta)
    if model.verbose:
        print(f"[SupervisedCKNClassifier] {describe(epoch)}", flush=True)
