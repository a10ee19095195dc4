"""How one layer learns its anchors from images, or from what was learned before."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._common.memory_limits import is_out_of_memory, warn_of_the_cpu
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._learning.cache import DataKey
from sklearn_ckn._learning.k_means import spherical_k_means
from sklearn_ckn._learning.patches import nystrom_residual, sample_patches, unit_patches
from sklearn_ckn._network.layer import Layer


class LayerPatches:
    """The unit patches that a layer learns from, sampled when they are first asked for.

    Parameters
    ----------
    sampling : dict
        The arguments of ``sample_patches``, but for ``random_state`` and ``task``.
    seed : int
    task : Task
        Of which each block of images is a part.
    """

    def __init__(self, sampling, seed, task):
        self._sampling = sampling
        self._seed = seed
        self._task = task

    @cached_property
    def points(self):
        """Unit patches, (n, k * k * C)."""
        patches = sample_patches(
            **self._sampling,
            random_state=np.random.RandomState(self._seed),
            task=self._task,
        )
        return unit_patches(patches, self._sampling["settings"].patch_size)


def cluster_patches(
    key, n_anchors, max_iter, tol, seed, patches, engine, verbose, task
):
    """Cluster a layer's patches; looked up by the arguments up to ``seed``.

    Returns
    -------
    anchors : ndarray of shape (p, k * k * C)
    inertia : float
    n_iter : int
    n_points : int
        Number of patches.
    """
    # NumPy arrays, which a memory keeps and a model holds.
    anchors, _, inertia, n_iter = spherical_k_means(
        patches.points,
        n_anchors,
        max_iter=max_iter,
        tol=tol,
        random_state=np.random.RandomState(seed),
        engine=engine,
        verbose=verbose,
        task=task,
    )
    return to_numpy(anchors), inertia, n_iter, len(patches.points)


def measure_residual(key, patches, layer, engine):
    """Measure a layer's Nystroem residual; looked up by ``key``."""
    return nystrom_residual(patches.points, layer, engine)


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


@dataclass(frozen=True)
class LayerLearner:
    """Learns the layers of a network on the same images.

    Attributes
    ----------
    images : array of shape (n, H, W, C)
    dtype : dtype
    n_patches, max_iter, tol
        See ``CKNFeatures``.
    engine : CPUEngine or ArrayEngine
    memory : joblib.Memory
    verbose : bool
        Whether to print a line per k-means iteration.
    """

    images: np.ndarray
    dtype: np.dtype
    n_patches: int
    max_iter: int
    tol: float
    engine: object
    memory: object
    verbose: bool

    @cached_property
    def _data_key(self):
        return DataKey(self.images, self.dtype, self.engine, self.memory)

    def __call__(self, settings, layers, seeds, task):
        """Learn one layer.

        Parameters
        ----------
        settings : LayerSettings
        layers : list of Layer
            The earlier layers.
        seeds : tuple of int
            For the sampling and for the clustering.
        task : Task
            Of which blocks of images and k-means iterations are parts.

        Returns
        -------
        learned : LearnedLayer

        Warns
        -----
        UserWarning
            The CPU learns the layer, for which the memory of the GPU is too small.
        """
        try:
            return self._learn(settings, layers, seeds, task)
        except Exception as error:
            if self.engine.xp is np or not is_out_of_memory(error):
                raise
            reason = str(error)
        self.engine.release_memory()
        warn_of_the_cpu("A layer is learned", reason, stacklevel=6)
        on_cpu = replace(self, images=to_numpy(self.images), engine=CPUEngine())
        return on_cpu._learn(settings, layers, seeds, task)

    def _learn(self, settings, layers, seeds, task):
        """Do the work of ``__call__`` on the engine."""
        sampling = {
            "images": self.images,
            "layers": [layer.astype(self.dtype) for layer in layers],
            "settings": settings,
            "n_patches": self.n_patches,
            "engine": self.engine,
            "dtype": self.dtype,
        }
        patches = LayerPatches(sampling, seeds[0], task)
        key = self._data_key(
            layers, settings.patch_size, settings.padding, self.n_patches, seeds[0]
        )
        cluster = self.memory.cache(
            cluster_patches, ignore=["patches", "engine", "verbose", "task"]
        )
        anchors, inertia, n_iter, n_points = cluster(
            key,
            settings.n_anchors,
            self.max_iter,
            self.tol,
            seeds[1],
            patches,
            self.engine,
            self.verbose,
            task,
        )
        # A copy: a memory that maps files would tie the model to them.
        anchors = self.engine.xp.array(anchors)
        layer = Layer.from_anchors(settings, anchors).to_namespace(np)
        measure = self.memory.cache(
            measure_residual, ignore=["patches", "layer", "engine"]
        )
        residual = measure(self._data_key(key, layer), patches, layer, self.engine)
        return LearnedLayer(layer, inertia, n_iter, n_points, residual)
