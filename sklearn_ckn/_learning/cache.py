"""Cache of results of earlier fits: anchors of layers, features, states of training."""

import os
import pickle
from functools import partial
from inspect import signature

import joblib
from sklearn.utils.validation import check_memory

from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._learning.checked_store import BACKEND_NAME
from sklearn_ckn._version import __version__

#: Bytes that the features in a folder may take; the oldest are then removed. Layers are
#: small and kept. The features of five folds of 2,500 images, of 2,304 numbers each in
#: float32, fit.
FEATURE_BYTES = 2**27


def warn_without_seed(memory, random_state):
    """Warn if the memory of an estimator is of no use, because it has no seed."""
    if memory is not None and random_state is None:
        warn_user(
            "memory keeps nothing while random_state is None, since no two fits then "
            "are the same: pass an integer as random_state."
        )


def resolve_memory(memory, random_state):
    """Convert the parameter ``memory`` of an estimator to a ResilientMemory.

    With ``random_state=None`` the cache is not used, because two fits never compute the
    same step.

    Parameters
    ----------
    memory : str, path, joblib.Memory or None
    random_state : int, RandomState or None

    Returns
    -------
    memory : ResilientMemory
        Without a location, it computes everything.

    Warns
    -----
    UserWarning
        The folder cannot be created.
    """
    if isinstance(memory, os.PathLike):
        memory = os.fspath(memory)
    # Users of a joblib.Memory may call its reduce_size themselves.
    feature_bytes = FEATURE_BYTES if isinstance(memory, str) else None
    try:
        memory = check_memory(memory)
        if random_state is None:
            memory = None
        elif type(memory) is joblib.Memory and memory.backend == "local":
            memory = _with_checksums(memory)
    except OSError as error:
        warn_user(
            f"The memory {memory!r} cannot be used ({error}): the fit does without it."
        )
        memory = None
    return ResilientMemory(memory, feature_bytes)


def _with_checksums(memory):
    """Return a joblib.Memory with the same folder and options, and with checksums."""
    return joblib.Memory(
        memory.location,
        backend=BACKEND_NAME,
        mmap_mode=memory.mmap_mode,
        compress=memory.compress,
        verbose=memory._verbose,
        backend_options=memory.backend_options,
    )


class ResilientMemory:
    """A joblib.Memory whose failures do not stop a fit.

    If it fails, for example because the disk is full or the folder cannot be written,
    a warning is raised and the result is computed.

    Parameters
    ----------
    memory : joblib.Memory, an object like it, or None
        None computes everything.
    feature_bytes : int or None, default=None
        Bytes that features may take; None is no limit. A memory with a limit is a
        joblib.Memory.
    """

    def __init__(self, memory, feature_bytes=None):
        self._memory = memory
        self._feature_bytes = feature_bytes

    @property
    def location(self):
        """Location of the entries; None if nothing is stored."""
        if self._memory is None:
            return None
        return getattr(self._memory, "location", "elsewhere")

    @property
    def is_enabled(self):
        """Whether results are stored and looked up."""
        return self.location is not None

    def key(self, images, engine, *parts):
        """Return the key of a result that is computed from images.

        It is a hash of the images, the dtype of the computation, the name of the
        engine, the version of the package and ``parts``. It is empty if the cache is
        not used.

        Parameters
        ----------
        images : Images
        engine : Engine
            Part of the key, because engines differ in rounding.
        *parts
            Everything else that the result depends on.

        Returns
        -------
        key : str
        """
        if not self.is_enabled:
            return ""
        computation = str(images.dtype), engine.name, __version__
        return joblib.hash((images.digest, computation, parts))

    def cache(self, function, ignore):
        """Return a version of a function that looks up earlier results.

        Parameters
        ----------
        function : callable
            A function of a module, called with positional arguments.
        ignore : list of str
            Names of the arguments that the result does not depend on.

        Returns
        -------
        look_up : callable
        """
        if not self.is_enabled:
            return function

        def look_up(*arguments):
            bound = signature(function).bind(*arguments).arguments
            relevant = {name: bound[name] for name in bound if name not in ignore}
            computation = _Computation(function, arguments)
            return self._look_up(function.__name__, joblib.hash(relevant), computation)

        return look_up

    def cache_features(self, function, ignore, n_bytes):
        """Return ``cache`` of a function whose results are features of ``n_bytes``.

        If they are limited, they are stored in a folder of their own, within that of
        the memory. Those that were not used for the longest time are removed, and those
        beyond the limit are not stored at all.
        """
        limit = self._feature_bytes
        if limit is None or not self.is_enabled:
            return self.cache(function, ignore)
        if n_bytes > limit:
            return function

        def look_up(*arguments):
            try:
                memory = joblib.Memory(
                    self._memory.store_backend.location,
                    backend=BACKEND_NAME,
                    verbose=0,
                )
            except OSError as error:
                self.warn_of(error)
                return function(*arguments)
            features = ResilientMemory(memory).cache(function, ignore)(*arguments)
            try:
                memory.reduce_size(bytes_limit=limit)
            except OSError as error:
                self.warn_of(error)
            return features

        return look_up

    def _look_up(self, *arguments):
        *_, computation = arguments
        try:
            result = self.entries(*arguments)
        except Exception as error:
            if computation.has_failed:
                raise
            self.warn_of(error)
            result = computation()
        return result

    @property
    def entries(self):
        """``compute_entry`` with the memory: looks its result up or computes it."""
        return self._memory.cache(compute_entry, ignore=["computation"])

    @property
    def is_searchable(self):
        """Whether it can be asked if a result is stored."""
        return self.is_enabled and hasattr(self.entries, "check_call_in_cache")

    def warn_of(self, error):
        """Warn that the memory fails."""
        warn_user(
            f"The memory {self.location} fails, and the fit continues without it "
            f"({type(error).__name__}: {error}). If this happens again, empty it."
        )


class _Computation:
    """A function call that is carried out at first use, and not repeated."""

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
    """Compute a result; the memory stores it by ``name`` and ``key``."""
    return computation()


class StoredResults:
    """Numbered results of a long computation, of which any may be missing.

    They are stored as bytes, so that those that are read share no memory with a file.

    Parameters
    ----------
    memory : ResilientMemory
        Searchable.
    name : str
        Of the results.
    key : str
        See ``ResilientMemory.key``.
    """

    def __init__(self, memory, name, key):
        self._memory = memory
        self._name = name
        self._key = key

    def load(self, number):
        """Return a result, or None if it is not stored."""
        try:
            entries, arguments = self._entry(number, _fail)
            if entries.check_call_in_cache(*arguments):
                return pickle.loads(entries(*arguments))
        except Exception as error:
            self._memory.warn_of(error)
        return None

    def store(self, number, result):
        """Store a result."""
        try:
            entries, arguments = self._entry(number, partial(pickle.dumps, result))
            entries(*arguments)
        except Exception as error:
            self._memory.warn_of(error)

    def remove(self, number):
        """Remove a result; without effect if it is not stored."""
        try:
            entries, arguments = self._entry(number, _fail)
            if entries.check_call_in_cache(*arguments):
                entries.call_and_shelve(*arguments).clear()
        except Exception as error:
            self._memory.warn_of(error)

    def _entry(self, number, computation):
        """Return the function and the arguments that look up or compute a result."""
        arguments = self._name, f"{self._key}-{number}", computation
        return self._memory.entries, arguments


def _fail():
    raise LookupError("the entry has been removed")
