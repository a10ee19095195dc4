"""Base class of the engines: limits of memory, transfers between host and device."""

import sys
from functools import cached_property

import numpy as np
from sklearn import get_config

from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._common.threads import n_threads

# Memory of a block on the CPU: larger ones are no faster, if every thread has some
# images.
BLOCK_BYTES = 2**27
IMAGES_PER_THREAD = 16


class LastLayers:
    """What was made of layers last: a data set comes in many blocks."""

    def __init__(self):
        self._last = None

    def get(self, key, layers, make):
        """Return what ``make()`` returned for this key and these very layers."""
        if self._last is not None:
            last_key, last_layers, made = self._last
            if (
                key == last_key
                and len(layers) == len(last_layers)
                and all(a is b for a, b in zip(layers, last_layers, strict=True))
            ):
                return made
        made = make()
        self._last = key, list(layers), made
        return made

    def forget(self):
        """Let go of what was made."""
        self._last = None


class Engine:
    """Base of the engines, for those whose arrays are in the memory of the CPU.

    What is computed together is bounded by these numbers, see ``Budget``.

    Attributes
    ----------
    xp : module
        Namespace of the arrays that the operations return, ``numpy`` or ``cupy``.
    name : str
        Identifies the implementation and the processor: part of the keys of cached
        results, since implementations differ in rounding.
    work_per_block : int
        Multiply-adds of a block of images: some tenths of a second, since callbacks are
        told of the progress between blocks.
    transfer_bytes : int
        Of a block of images, or of its maps, on its way between host and device.
    tape_bytes : int
        Bytes that the forward pass of a batch may keep; a larger batch goes through in
        parts. A constant, since the parts decide the order of sums.
    """

    xp = np
    work_per_block = 40_000_000_000
    transfer_bytes = sys.maxsize
    tape_bytes = 2**27

    @property
    def block_bytes(self):
        """Bytes that a block of images or points may take while it is computed.

        On the CPU they are scikit-learn's ``working_memory``.
        """
        return int(get_config()["working_memory"] * 2**20)

    def enough_images(self, image_bytes):
        """Return how many images of a block are enough for full speed."""
        return max(BLOCK_BYTES // image_bytes, IMAGES_PER_THREAD * n_threads())

    @cached_property
    def tape_budget(self):
        """``tape_bytes`` as a Budget, which lasts as long as the engine."""
        return Budget(self.tape_bytes)

    def upload(self, blocks):
        """Yield NumPy arrays, or arrays of the namespace, as the latter.

        An array is valid until the next one is asked for.
        """
        return iter(blocks)

    def download(self, blocks):
        """Yield arrays of the namespace as NumPy arrays, valid until the next one."""
        return iter(blocks)

    def has_room_for(self, n_bytes):
        """Return whether an array of ``n_bytes`` may stay where the engine computes."""
        return True

    def release_memory(self):
        """Give back what is kept for later; called after a MemoryError."""
