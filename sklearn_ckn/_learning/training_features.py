"""Where the features of the training images are kept while a head is fitted to them."""

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.utils._param_validation import StrOptions

from sklearn_ckn._common.arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._common.dask_arrays import DaskImages
from sklearn_ckn._common.free_memory import free_memory_bytes
from sklearn_ckn._common.lazy_array import LazyArray
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._heads.summed import FeatureSource

STREAMING_CONSTRAINT = ["boolean", StrOptions({"auto"})]


@contextmanager
def features_step(task, images, network):
    """Begin the step of a fit that maps the training images, and yield it.

    Parameters
    ----------
    task : Task
        Of the fit.
    images : Images
    network : Network

    Yields
    ------
    step : Task
        Its outcome is the shape of the features.
    """
    with task.step("features of the training images", None) as step:
        step.outcome = f"{len(images)} x {network.n_features}"
        yield step


class EncodedImages(FeatureSource):
    """The features of images, computed when they are read.

    Parameters
    ----------
    encoder : Encoder
    images : array of shape (n_images, H, W, C), or LazyArray
    positions : ndarray of shape (n,), intp, or None, default=None
        Ascending positions of the images that are rows of the source; None takes all.
    """

    def __init__(self, encoder, images, positions=None):
        if positions is not None and isinstance(images, LazyArray):
            images, positions = images.take(positions), None
        self._encoder = encoder
        self._images = images
        self._positions = positions
        n = len(images) if positions is None else len(positions)
        self.shape = n, encoder.network.n_features
        self.dtype = np.dtype(encoder.dtype)

    def __getitem__(self, rows):
        """Return the features of some rows, of the namespace of the engine."""
        images = self._images
        if self._positions is not None:
            rows = self._positions[rows]
        if not isinstance(rows, slice):
            rows = to_namespace(rows, namespace(images))
        return self._encoder.features(images[rows])

    def take(self, positions):
        """Return a source of the rows at ascending positions."""
        if self._positions is not None:
            positions = self._positions[positions]
        return EncodedImages(self._encoder, self._images, positions)

    def reduce(self, function, combine, arrays, *arguments):
        """Return a function of the features; the blocks of a Dask array are parts."""
        if not isinstance(self._images, DaskImages):
            return function(self, *arrays, *arguments)
        return self._images.reduce_blocks(
            _of_encoded_block,
            combine,
            arrays,
            function,
            self._encoder.network,
            self.dtype,
            *arguments,
        )


def _of_encoded_block(block, start, arrays, function, network, dtype, *arguments):
    """Return a function of the features of a block of images, computed by a CPU."""
    source = EncodedImages(CPUEngine().bind(network, dtype), block)
    return function(source, *arrays, *arguments)


@dataclass(frozen=True)
class FeatureStorage:
    """How the features of the training images are given to the head.

    Attributes
    ----------
    streaming : bool or "auto"
        Whether they are computed again when they are read. ``"auto"``: if they would
        take more than half of the memory that is free, and those of a Dask array
        always, if the head reads them few times. They are held in memory in any
        case if there are more features than images: the matrices of the head would be
        larger.
    memory : ResilientMemory
    """

    streaming: object
    memory: object

    def features(self, encoder, images, problem, task):
        """Return the features of images, in one of three forms.

        Parameters
        ----------
        encoder : Encoder
        images : Images
        problem : ClassifierProblem or RegressionProblem
            A head that reads the features many times gets them in a memory-mapped
            temporary file in the folder of the memory.
        task : Task
            Parent of the tasks that report the progress, one for each block of images.

        Returns
        -------
        features : array of shape (n, d), or FeatureSource

        Raises
        ------
        ValueError
            The head reads them many times, and there is no folder.
        """
        if not self._streams(encoder, images, problem):
            return features_in_memory(encoder, images, self.memory, task)
        if problem.reads_few_times:
            return EncodedImages(encoder, images.array)
        return self._written(encoder, images, task)

    def _streams(self, encoder, images, problem):
        """Return whether the features are not held in memory."""
        n, d = len(images), encoder.network.n_features
        if self.streaming is False or n <= d:
            return False
        if isinstance(images.array, DaskImages) and problem.reads_few_times:
            return True
        n_bytes = n * d * np.dtype(encoder.dtype).itemsize
        free = None if self.streaming is True else free_memory_bytes()
        if free is not None and n_bytes <= free // 2:
            return False
        if problem.reads_few_times or self._folder is not None:
            return True
        if free is not None and n_bytes <= free:
            return False
        raise ValueError(
            f"The head {problem.loss!r} reads the features many times, and those of "
            f"{n} images take {n_bytes / 2**20:.0f} MiB. Pass memory=folder and an "
            "integer random_state: the features are then kept in that folder while the "
            'head is fitted. Or use head="ridge", or streaming=False if they fit into '
            "memory."
        )

    @property
    def _folder(self):
        """The folder of the memory, or None if it has none."""
        location = self.memory.location
        return location if location is not None and os.path.isdir(location) else None

    def _written(self, encoder, images, task):
        """Return the features in a memory-mapped file without a name."""
        with tempfile.TemporaryFile(dir=self._folder, prefix="features-") as file:
            # Not through the map: a full disk must be an error that can be caught.
            for _, block in task.each("block", encoder.feature_blocks(images.array)):
                file.write(np.ascontiguousarray(to_numpy(block)).data)
            file.flush()
            shape = len(images), encoder.network.n_features
            return np.asarray(
                np.memmap(file, dtype=encoder.dtype, mode="r", shape=shape)
            )


def encode_training_images(key, encoder, images, task):
    """Compute the features of the images of a fit; stored in the memory by ``key``."""
    return encoder.features(images.array, np, task)


def features_in_memory(encoder, images, memory, task):
    """Return the features of the images of a fit, from the memory if it has them.

    They are arrays on the engine's device if there is room for them there, otherwise
    NumPy arrays.

    Parameters
    ----------
    encoder : Encoder
    images : Images
    memory : ResilientMemory
    task : Task
        Parent of the tasks that report the progress, one for each block of images.

    Returns
    -------
    features : array of shape (n, n_features)
    """
    if not memory.is_enabled:
        return encoder.resident_features(images.array, task)
    key = memory.key(images, encoder.engine, encoder.network.key)
    look_up = memory.cache_features(
        encode_training_images,
        ["encoder", "images", "task"],
        len(images) * encoder.network.n_features * encoder.dtype.itemsize,
    )
    features = look_up(key, encoder, images, task)
    return to_namespace(features, encoder.residence(len(images)))
