"""What a fit can look up instead of computing it again."""

import os
from functools import cached_property

import joblib
import numpy as np
from sklearn.utils.validation import check_memory

from sklearn_ckn._arrays import to_numpy
from sklearn_ckn._version import __version__


def resolve_memory(memory, random_state):
    """Return the joblib.Memory of a parameter ``memory``.

    Without a seed nothing is looked up: no two fits have a step in common.

    Parameters
    ----------
    memory : str, path, joblib.Memory or None
    random_state : int, RandomState or None

    Returns
    -------
    memory : joblib.Memory
        One without a location computes everything.
    """
    if isinstance(memory, os.PathLike):
        memory = os.fspath(memory)
    checked = check_memory(memory)
    return joblib.Memory(location=None) if random_state is None else checked


def is_enabled(memory):
    """Return whether a joblib.Memory, or an object like it, looks anything up."""
    return getattr(memory, "location", "elsewhere") is not None


class DataKey:
    """Names the images, the engine and the release that a result depends on.

    Parameters
    ----------
    images : array of shape (n, H, W, C)
    dtype : dtype
        In which they are computed.
    engine : CPUEngine or ArrayEngine
        Engines differ in rounding, and so in what they compute.
    memory : joblib.Memory or an object like it
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
