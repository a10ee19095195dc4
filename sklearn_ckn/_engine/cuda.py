"""The GPU engine: memory limits, and data transfers that overlap with computations."""

import os
from functools import cached_property
from importlib import import_module
from itertools import cycle
from math import prod

from sklearn_ckn._engine.array import ArrayEngine
from sklearn_ckn._engine.cuda_steps import CudaSteps
from sklearn_ckn._engine.prepared import forget_prepared

# Shares of the free GPU memory: BLOCK_SHARE for the computation of a block of images,
# RESIDENT_SHARE for the features of a data set that stay on the GPU. The fit of a head
# needs about as much memory again as the features.
BLOCK_SHARE = 1 / 4
RESIDENT_SHARE = 1 / 3

# Larger blocks do not make the matrix products faster.
MAX_BLOCK_BYTES = 2**30


class _Slot:
    """A pinned host buffer, a GPU buffer, and the events after which they are free.

    ``copied`` is recorded when a copy between host and device has been queued, ``used``
    when the computation that reads or writes the GPU data has been queued.
    """

    def __init__(self, cupy):
        self._cupy = cupy
        self._pinned = None
        self._device = None
        self.copied = cupy.cuda.Event(disable_timing=True)
        self.used = cupy.cuda.Event(disable_timing=True)

    def pinned(self, shape, dtype):
        """Return the pinned buffer as an array, after the last copy has finished."""
        self.copied.synchronize()
        n_bytes = prod(shape) * dtype.itemsize
        if self._pinned is None or self._pinned.nbytes < n_bytes:
            # CuPy keeps pinned memory and reuses it for requests of exactly the same
            # size. With powers of two there are few different sizes.
            size = 1 << max(n_bytes - 1, 0).bit_length()
            self._pinned = import_module("cupyx").empty_pinned(size, "u1")
        return self._pinned[:n_bytes].view(dtype).reshape(shape)

    def device(self, shape, dtype):
        """Return the GPU buffer as an array."""
        n_bytes = prod(shape) * dtype.itemsize
        if self._device is None or self._device.nbytes < n_bytes:
            self._device = self._cupy.empty(n_bytes, "u1")
            # CuPy may reuse the memory of a freed array that queued work still reads.
            self.used.record(self._cupy.cuda.get_current_stream())
        return self._device[:n_bytes].view(dtype).reshape(shape)


class CUDAEngine(ArrayEngine):
    """The array engine with CuPy on the current device.

    Uploads and downloads each have a separate stream and two buffers, used in turn.
    While the GPU computes one block, the next block is uploaded and the results of the
    previous block are downloaded. A buffer is overwritten only after the event of its
    last use has occurred.

    Parameters
    ----------
    cupy : module
    """

    tape_bytes = 2**31
    work_per_block = 2_000_000_000_000
    # Pinned memory is not available to other programs: at most four buffers of this
    # size are allocated.
    transfer_bytes = 2**26

    def __init__(self, cupy):
        super().__init__(cupy, CudaSteps(cupy))
        self._pool = cupy.get_default_memory_pool()

    @cached_property
    def name(self):
        """GPU and library versions, on which the rounding of results depends."""
        device, runtime = self.xp.cuda.Device(), self.xp.cuda.runtime
        gpu = runtime.getDeviceProperties(device.id)["name"].decode()
        # With this CuPy setting, factors of matrix products are rounded to ten bits.
        tf32 = " TF32" if os.environ.get("CUPY_TF32") == "1" else ""
        return (
            f"cuda {gpu} {device.compute_capability} cupy {self.xp.__version__} "
            f"runtime {runtime.runtimeGetVersion()}{tf32}"
        )

    @property
    def prepared_key(self):
        """Name and device: the arrays of a prepared network belong to one device."""
        return self.name, self.xp.cuda.Device().id

    @cached_property
    def block_bytes(self):
        """Number of bytes that the computation of a block may take."""
        return min(MAX_BLOCK_BYTES, int(BLOCK_SHARE * self._free_bytes()))

    def enough_images(self, image_bytes):
        """Return the number of images of a block beyond which speed no longer grows."""
        return max(1, MAX_BLOCK_BYTES // image_bytes)

    def _free_bytes(self):
        """Return the bytes that can be allocated on the device, within CuPy's limit."""
        in_pool = self._pool.free_bytes()
        free = self.xp.cuda.runtime.memGetInfo()[0] + in_pool
        limit = self._pool.get_limit()
        if limit:
            free = min(free, limit - self._pool.used_bytes())
        return max(free, 0)

    def has_room_for(self, n_bytes):
        """Return whether an array of ``n_bytes`` may stay on the GPU."""
        return n_bytes <= RESIDENT_SHARE * self._free_bytes()

    def release_memory(self):
        """Release prepared networks, and the GPU and pinned memory that CuPy keeps."""
        forget_prepared(self)
        self._pool.free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def upload(self, blocks):
        """Yield NumPy arrays as GPU arrays; see ``Engine.upload``.

        Each array is copied while the GPU computes with the previous one.
        """
        cupy = self.xp
        stream = cupy.cuda.Stream(non_blocking=True)
        slots = cycle([_Slot(cupy), _Slot(cupy)])
        pending = None
        try:
            for block in blocks:
                if isinstance(block, cupy.ndarray):
                    yield block
                    continue
                slot = next(slots)
                pinned = slot.pinned(block.shape, block.dtype)
                pinned[...] = block
                array = slot.device(block.shape, block.dtype)
                stream.wait_event(slot.used)
                array.set(pinned, stream=stream)
                slot.copied.record(stream)
                if pending is not None:
                    yield from self._hand_over(*pending)
                pending = slot, array
            if pending is not None:
                yield from self._hand_over(*pending)
        finally:
            stream.synchronize()

    def _hand_over(self, slot, array):
        """Yield an array after its copy, and record the event of its last use."""
        compute = self.xp.cuda.get_current_stream()
        compute.wait_event(slot.copied)
        yield array
        slot.used.record(compute)

    def download(self, blocks):
        """Yield GPU arrays as NumPy arrays; see ``Engine.download``.

        Each array is yielded after the next block has been queued, so that the GPU
        computes while the host waits for the copy.
        """
        cupy = self.xp
        stream = cupy.cuda.Stream(non_blocking=True)
        slots = cycle([_Slot(cupy), _Slot(cupy)])
        pending = None
        try:
            for block in blocks:
                slot = next(slots)
                block = cupy.ascontiguousarray(block)
                pinned = slot.pinned(block.shape, block.dtype)
                slot.used.record(cupy.cuda.get_current_stream())
                stream.wait_event(slot.used)
                block.get(stream=stream, out=pinned, blocking=False)
                slot.copied.record(stream)
                if pending is not None:
                    yield _when_copied(*pending)
                # The reference keeps the block until it is copied: without it, its
                # memory could be reused.
                pending = slot, pinned, block
            if pending is not None:
                yield _when_copied(*pending)
        finally:
            stream.synchronize()


def _when_copied(slot, pinned, _):
    """Return the pinned array of a download once its copy is done."""
    slot.copied.synchronize()
    return pinned
