"""Learning of a network without labels, one layer after the other."""

from dataclasses import dataclass
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
from sklearn_ckn._network.network import Network


@dataclass(frozen=True)
class LearningOptions:
    """How the anchors of a layer are learned.

    Attributes
    ----------
    n_patches : int
    max_iter : int
        Of k-means.
    tol : float
        Of k-means.
    memory : ResilientMemory
        Where anchors are looked up.
    verbose : int
        1 prints a line per layer, 2 one per k-means iteration too.
    """

    n_patches: int
    max_iter: int
    tol: float
    memory: ResilientMemory
    verbose: int


@dataclass(frozen=True)
class LearnedLayer:
    """A layer and how its clustering went.

    Attributes
    ----------
    layer : Layer
    inertia : float
    n_iter : int
        Iterations after the seeding.
    n_points : int
        Number of patches.
    residual : float
        See ``nystrom_residual``.
    """

    layer: Layer
    inertia: float
    n_iter: int
    n_points: int
    residual: float


def learn_network(images, all_settings, options, random_state, engine, task):
    """Learn the layers of a network from the images of a data set.

    Parameters
    ----------
    images : Images
    all_settings : list of LayerSettings
        Of each layer.
    options : LearningOptions
    random_state : RandomState
    engine : Engine
    task : Task
        Each layer is a subtask of it.

    Returns
    -------
    network : Network
        Without flips.
    learned : list of LearnedLayer

    Warns
    -----
    UserWarning
        There are fewer distinct patches than anchors were asked for; the CPU learns a
        layer, for which the memory of the GPU is too small.
    """
    # For the sampling of patches and for the clustering, drawn for all layers at once:
    # no layer's seeds depend on what others do.
    seeds = random_state.randint(np.iinfo(np.int32).max, size=(len(all_settings), 2))
    network = Network((), images.shape)
    learned = []
    for settings, layer_seeds in zip(all_settings, seeds.tolist(), strict=True):
        with task.subtask("layer", None) as step:
            learned.append(
                _learn_layer(
                    images, network, settings, options, layer_seeds, engine, step
                )
            )
        _report(len(network.layers), settings, learned[-1], options.verbose)
        network = network.followed_by(learned[-1].layer)
    return network, learned


def _report(position, settings, learned, verbose):
    """Warn of missing anchors and print the line of a layer."""
    n_anchors, length = learned.layer.anchors.shape
    if n_anchors < settings.n_anchors:
        warn_user(
            f"Layer {position} has {n_anchors} distinct patches among those sampled, "
            f"fewer than the n_anchors={settings.n_anchors} asked for: it gets as many "
            "anchors as patches."
        )
    if verbose:
        print(
            f"[CKNFeatures] layer {position}: {n_anchors} anchors of {length} values "
            f"from {learned.n_points} patches, {learned.n_iter} k-means iterations, "
            f"Nystroem residual {learned.residual:.4f}"
        )


def _learn_layer(images, network, settings, options, seeds, engine, task):
    """Learn the layer after a network, on the CPU if the GPU's memory is too small."""
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
    """Learn the layer after a network with one engine."""

    @cache
    def points():
        """Return the unit patches, sampled when they are first needed."""
        patches = sample_patches(
            engine.bind(network, images.dtype),
            images.array,
            settings,
            options.n_patches,
            np.random.RandomState(seeds[0]),
            task,
        )
        return unit_patches(patches, network.output_shape[2], settings.patch_size)

    memory = options.memory
    key = memory.key(
        images,
        engine,
        network.layers,
        settings.patch_size,
        settings.padding,
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
    # A copy: a memory that maps files would tie the model to them.
    anchors = engine.xp.array(anchors)
    layer = Layer.from_anchors(settings, anchors).to_namespace(np)
    measure = memory.cache(measure_residual, ignore=["points", "layer", "engine"])
    key = memory.key(images, engine, key, layer)
    residual = measure(key, points, layer, engine)
    return LearnedLayer(layer, inertia, n_iter, n_points, residual)


def cluster_patches(key, n_anchors, max_iter, tol, seed, points, engine, verbose, task):
    """Cluster a layer's patches; looked up by the arguments up to ``seed``.

    Returns
    -------
    anchors : ndarray of shape (p, patch length)
    inertia : float
    n_iter : int
    n_points : int
        Number of patches.
    """
    # NumPy arrays, which a memory keeps and a model holds.
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
    return to_numpy(anchors), inertia, n_iter, len(points())


def measure_residual(key, points, layer, engine):
    """Measure a layer's Nystroem residual; looked up by ``key``."""
    return nystrom_residual(points(), layer, engine)
