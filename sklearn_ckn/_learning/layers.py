"""Unsupervised learning of a network, one layer after the other."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.memory_limits import is_out_of_memory, warn_of_the_cpu
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._learning.cache import ResilientMemory
from sklearn_ckn._learning.k_means import spherical_k_means
from sklearn_ckn._learning.patches import nystrom_residual, sample_patches, unit_patches
from sklearn_ckn._network.layer import Layer


@dataclass(frozen=True)
class LearningOptions:
    """Options for learning the anchors of the layers.

    Attributes
    ----------
    n_patches : int
        Number of patches sampled for each layer.
    max_iter : int
        Largest number of k-means iterations.
    tol : float
        Tolerance of k-means, see ``spherical_k_means``.
    memory : ResilientMemory
        Stores anchors and residuals of earlier fits.
    verbose : int
        1 prints a line for each layer, 2 also a line for each k-means iteration.
    """

    n_patches: int
    max_iter: int
    tol: float
    memory: ResilientMemory
    verbose: int


@dataclass(frozen=True)
class LearnedLayer:
    """A layer, with figures about its learning.

    Attributes
    ----------
    layer : Layer
    inertia : float
        Final inertia of k-means.
    n_iter : int
        Number of k-means iterations after the seeding.
    n_points : int
        Number of patches that were clustered.
    residual : float
        Result of ``nystrom_residual``.
    """

    layer: Layer
    inertia: float
    n_iter: int
    n_points: int
    residual: float


def learn_network(images, start, all_settings, options, random_state, engine, task):
    """Learn the layers of a network from the images of a data set.

    Parameters
    ----------
    images : Images
    start : Network
        Without layers: what is done to the images before the first layer.
    all_settings : list of LayerSettings
        Settings of each layer.
    options : LearningOptions
    random_state : RandomState
    engine : Engine
    task : Task
        Parent of the tasks that report the progress, one for each layer.

    Returns
    -------
    network : Network
        Without mirror images.
    learned : list of LearnedLayer

    Warns
    -----
    UserWarning
        There are fewer distinct patches than ``n_anchors``; or a layer is learned on
        the CPU because it does not fit into the memory of the GPU.
    """
    # For each layer, a seed for the sampling of patches and one for the clustering.
    # They are drawn in advance, so that they do not depend on the work of other layers.
    seeds = random_state.randint(np.iinfo(np.int32).max, size=(len(all_settings), 2))
    network = replace(start, center_images=all_settings[0].center_patches)
    learned = []
    for settings, layer_seeds in zip(all_settings, seeds.tolist(), strict=True):
        position = len(network.layers)
        with task.step(f"layer {position}", None) as step:
            learned.append(
                _learn_layer(
                    images, network, settings, options, layer_seeds, engine, step
                )
            )
            step.outcome = _describe(learned[-1])
        _warn_of_few_anchors(position, settings, learned[-1].layer)
        network = network.followed_by(learned[-1].layer)
    return network, learned


def _describe(learned):
    """Return what is printed of a LearnedLayer."""
    n_anchors, length = learned.layer.anchors.shape
    return (
        f"{n_anchors} anchors of {length} values from {learned.n_points} patches, "
        f"{learned.n_iter} k-means iterations, Nystroem residual {learned.residual:.4f}"
    )


def _warn_of_few_anchors(position, settings, layer):
    """Warn if a layer has fewer anchors than it should have."""
    n_anchors = len(layer.anchors)
    if n_anchors < settings.n_anchors:
        warn_user(
            f"Layer {position} has {n_anchors} distinct patches among those sampled, "
            f"fewer than n_anchors={settings.n_anchors}: it gets as many anchors as "
            "there are distinct patches."
        )


def _learn_layer(images, network, settings, options, seeds, engine, task):
    """Learn the layer after a network; on the CPU if GPU memory is too small."""
    arguments = network, settings, options, seeds
    try:
        return _learn_on(engine, images, *arguments, task)
    except Exception as error:
        if engine.xp is np or not is_out_of_memory(error):
            raise
        reason = str(error)
    engine.release_memory()
    warn_of_the_cpu("A layer is learned", reason)
    return _learn_on(CPUEngine(), images.to_numpy(), *arguments, task)


def _learn_on(engine, images, network, settings, options, seeds, task):
    """Learn the layer after a network with a given engine."""

    @cache
    def points():
        """Return the unit patches; they are sampled at the first call."""
        patches = sample_patches(
            engine.bind(network, images.dtype),
            images.array,
            settings,
            options.n_patches,
            np.random.RandomState(seeds[0]),
            task,
        )
        return unit_patches(
            patches,
            network.output_shape[2],
            settings.patch_size,
            settings.center_patches,
        )

    memory = options.memory
    key = memory.key(
        images,
        engine,
        network.whitening,
        network.differences,
        network.layers,
        settings.patch_size,
        settings.dilation,
        settings.padding,
        settings.center_patches,
        options.n_patches,
        seeds[0],
    )
    cluster = memory.cache(
        cluster_patches, ignore=["points", "engine", "verbose", "task"]
    )
    anchors, inertia, n_iter, n_points = cluster(
        key,
        settings.n_anchors,
        options.max_iter,
        options.tol,
        seeds[1],
        points,
        engine,
        options.verbose > 1,
        task,
    )
    # A copy: without it, a memory with memory-mapped files would make the model depend
    # on these files.
    anchors = engine.xp.array(anchors)
    layer = Layer.from_anchors(settings, anchors).to_namespace(np)
    measure = memory.cache(measure_residual, ignore=["points", "layer", "engine"])
    key = memory.key(images, engine, key, layer)
    residual = measure(key, points, layer, engine)
    return LearnedLayer(layer, inertia, n_iter, n_points, residual)


def cluster_patches(key, n_anchors, max_iter, tol, seed, points, engine, verbose, task):
    """Cluster the patches of a layer.

    The memory stores the result by the arguments from ``key`` to ``seed``.

    Returns
    -------
    anchors : ndarray of shape (p, patch length)
    inertia : float
    n_iter : int
    n_points : int
        Number of patches.
    """
    anchors, _, inertia, n_iter = spherical_k_means(
        points(),
        n_anchors,
        max_iter=max_iter,
        tol=tol,
        random_state=np.random.RandomState(seed),
        engine=engine,
        verbose=verbose,
        task=task,
    )
    # The memory stores NumPy arrays.
    return to_numpy(anchors), inertia, n_iter, len(points())


def measure_residual(key, points, layer, engine):
    """Compute the Nystroem residual of a layer; the memory stores it by ``key``."""
    return nystrom_residual(points(), layer, engine)
