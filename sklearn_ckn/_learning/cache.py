"""A cache of what fits have computed: anchors of layers and features of images."""

import os
from inspect import signature

import joblib
import numpy as np
from sklearn.utils.validation import check_memory

from sklearn_ckn._common.arrays import to_namespace
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._learning.checked_store import BACKEND_NAME
from sklearn_ckn._version import __version__


def resolve_memory(memory, random_state):
    """Return what the parameter ``memory`` stands for.

    Without a seed nothing is looked up: no two fits have a step in common.

    Parameters
    ----------
    memory : str, path, joblib.Memory or None
    random_state : int, RandomState or None

    Returns
    -------
    memory : ResilientMemory
        One without a location computes everything.

    Warns
    -----
    UserWarning
        There can be no such folder.
    """
    if isinstance(memory, os.PathLike):
        memory = os.fspath(memory)
    try:
        memory = check_memory(memory)
        if random_state is None:
            memory = None
        elif type(memory) is joblib.Memory and memory.backend == "local":
            memory = _with_checksums(memory)
    except OSError as error:
        warn_user(
            f"The memory {memory!r} cannot be used ({error}): nothing is looked up."
        )
        memory = None
    return ResilientMemory(memory)


def _with_checksums(memory):
    """Return a joblib.Memory of the same folder and options that keeps checksums."""
    return joblib.Memory(
        memory.location,
        backend=BACKEND_NAME,
        mmap_mode=memory.mmap_mode,
        compress=memory.compress,
        verbose=memory._verbose,
        backend_options=memory.backend_options,
    )


class ResilientMemory:
    """A joblib.Memory that a fit goes on without, with a warning, where it fails.

    As on a full disk, or in a folder that nobody may write to.

    Parameters
    ----------
    memory : joblib.Memory, an object like it, or None
        None computes everything.
    """

    def __init__(self, memory):
        self._memory = memory

    @property
    def location(self):
        """Where entries are kept; None if nowhere."""
        if self._memory is None:
            return None
        return getattr(self._memory, "location", "elsewhere")

    @property
    def is_enabled(self):
        """Whether anything is looked up."""
        return self.location is not None

    def key(self, images, engine, *parts):
        """Return a string that names a result of a fit; empty if nothing is looked up.

        Parameters
        ----------
        images : Images
        engine : Engine
            Engines differ in rounding, and in what they compute therefore.
        *parts
            What else the result depends on.
        """
        if not self.is_enabled:
            return ""
        computation = str(images.dtype), engine.name, __version__
        return joblib.hash((images.digest, computation, parts))

    def cache(self, function, ignore):
        """Return a function that looks up what ``function`` returned before.

        Parameters
        ----------
        function : callable
            Of a module; it takes positional arguments.
        ignore : list of str
            The arguments that the result does not depend on.
        """
        if not self.is_enabled:
            return function

        def look_up(*arguments):
            bound = signature(function).bind(*arguments).arguments
            relevant = {name: bound[name] for name in bound if name not in ignore}
            computation = _Computation(function, arguments)
            return self._look_up(function.__name__, joblib.hash(relevant), computation)

        return look_up

    def _look_up(self, *arguments):
        *_, computation = arguments
        try:
            remembered = self._memory.cache(compute_entry, ignore=["computation"])
            result = remembered(*arguments)
        except Exception as error:
            if computation.has_failed:
                raise
            warn_user(
                f"The memory {self.location} fails, and the fit goes on without it "
                f"({type(error).__name__}: {error}). If it goes on to fail, empty it."
            )
            result = computation()
        return result


class _Computation:
    """A call that is made when it is first asked for, and once."""

    def __init__(self, function, arguments):
        self._function = function
        self._arguments = arguments
        self.is_done = False
        self.has_failed = False
        self.result = None

    def __call__(self):
        if not self.is_done:
            self.has_failed = True
            self.result = self._function(*self._arguments)
            self.has_failed = False
            self.is_done = True
        return self.result


def compute_entry(name, key, computation):
    """Compute what a memory looks up by a name and a key."""
    return computation()


def encode_training_images(key, encoder, images, task):
    """Compute the features of the images of a fit; looked up by ``key``."""
    return encoder.features(images.array, np, task)


def training_features(encoder, images, memory, task):
    """Return the features of the images of a fit, from memory if it has them.

    They are where the engine computes, if there is room for them.

    Parameters
    ----------
    encoder : Encoder
    images : Images
    memory : ResilientMemory
    task : Task
        Each block of images is a subtask of it.

    Returns
    -------
    features : array of shape (n, n_features)
    """
    if not memory.is_enabled:
        return encoder.resident_features(images.array, task)
    network, engine = encoder.network, encoder.engine
    key = memory.key(images, engine, network.layers, network.flip_average)
    look_up = memory.cache(encode_training_images, ignore=["encoder", "images", "task"])
    features = look_up(key, encoder, images, task)
    return to_namespace(features, encoder.residence(len(images)))
