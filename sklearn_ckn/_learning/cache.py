"""What a fit can look up instead of computing it again."""

import os
import warnings
from functools import cached_property
from inspect import signature

import joblib
import numpy as np
from sklearn.utils.validation import check_memory

from sklearn_ckn._common.arrays import to_numpy
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
        _warn(f"The memory {memory!r} cannot be used ({error}): nothing is looked up.")
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


def is_enabled(memory):
    """Return whether a ResilientMemory looks anything up."""
    return memory.location is not None


def _warn(message):
    warnings.warn(message, UserWarning, stacklevel=3)


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

    def cache(self, function, ignore):
        """Return a function that looks up what ``function`` returned before.

        Parameters
        ----------
        function : callable
            Of a module; it takes positional arguments.
        ignore : list of str
            The arguments that the result does not depend on.
        """
        if self.location is None:
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
            _warn(
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


class DataKey:
    """Names the images, the engine and the release that a result depends on.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    dtype : dtype
        In which they are computed.
    engine : CPUEngine or ArrayEngine
        Engines differ in rounding, and so in what they compute.
    memory : ResilientMemory
        Without a location nothing is looked up, and there are no keys to compute.
    """

    def __init__(self, images, dtype, engine, memory):
        self._images = images
        self._computation = (str(dtype), engine.name, __version__)
        self._enabled = is_enabled(memory)

    @cached_property
    def _data(self):
        return joblib.hash(to_numpy(self._images))

    def __call__(self, *parts):
        """Return a key for a result that depends on ``parts`` too, a short string."""
        if not self._enabled:
            return ""
        return joblib.hash((self._data, *self._computation, *parts))


def encode_training_images(key, encode, images, engine, task):
    """Compute the features of the images of a fit; looked up by ``key``."""
    return encode(images, engine, np, task)
