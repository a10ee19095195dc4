"""The array engine on an NVIDIA GPU: its memory, and copies beside its work."""

import os
from functools import cached_property
from importlib import import_module
from itertools import cycle
from math import prod

from sklearn_ckn._engine.array import ArrayEngine
from sklearn_ckn._engine.cuda_steps import CudaSteps
from sklearn_ckn._engine.prepared import forget_prepared

# Part of the free memory that a block of images may take while it is computed, and
# that features of a data set may take for good: heads need as much again.
BLOCK_SHARE = 1 / 4
RESIDENT_SHARE = 1 / 3

# Beyond this, more images at once make products no faster.
MAX_BLOCK_BYTES = 2**30


class _Slot:
    """A pinned buffer of the CPU, one of the GPU, and when they are free again."""

    def __init__(self, cupy):
        self._cupy = cupy
        self._pinned = None
        self._device = None
        self.copied = cupy.cuda.Event(disable_timing=True)
        self.used = cupy.cuda.Event(disable_timing=True)

    def pinned(self, shape, dtype):
        """Return the pinned buffer as an array; waits until the last copy is done."""
        self.copied.synchronize()
        n_bytes = prod(shape) * dtype.itemsize
        if self._pinned is None or self._pinned.nbytes < n_bytes:
            # CuPy keeps what was pinned, for requests of the very same size: with
            # powers of two there are few.
            size = 1 << max(n_bytes - 1, 0).bit_length()
            self._pinned = import_module("cupyx").empty_pinned(size, "u1")
        return self._pinned[:n_bytes].view(dtype).reshape(shape)

    def device(self, shape, dtype):
        """Return the buffer of the GPU as an array."""
        n_bytes = prod(shape) * dtype.itemsize
        if self._device is None or self._device.nbytes < n_bytes:
            self._device = self._cupy.empty(n_bytes, "u1")
            # The memory may be that of an array that queued work still reads.
            self.used.record(self._cupy.cuda.get_current_stream())
        return self._device[:n_bytes].view(dtype).reshape(shape)


class CUDAEngine(ArrayEngine):
    """The array engine with CuPy on the current device.

    Copies have streams of their own and two buffers each, used in turn: while the GPU
    computes one block, the next one arrives and the results of the last one leave. A
    buffer is written when an event says that whoever used it last is done.

    Parameters
    ----------
    cupy : module
    """

    tape_bytes = 2**31
    work_per_block = 2_000_000_000_000
    # Pinned memory is taken from the whole machine: four buffers of this size at most.
    transfer_bytes = 2**26

    def __init__(self, cupy):
        super().__init__(cupy, CudaSteps(cupy))
        self._pool = cupy.get_default_memory_pool()

    @cached_property
    def name(self):
        """The GPU and the libraries, on which the rounding of results depends."""
        device, runtime = self.xp.cuda.Device(), self.xp.cuda.runtime
        gpu = runtime.getDeviceProperties(device.id)["name"].decode()
        # CuPy's switch to products of factors that are rounded to ten bits.
        tf32 = " TF32" if os.environ.get("CUPY_TF32") == "1" else ""
        return (
            f"cuda {gpu} {device.compute_capability} cupy {self.xp.__version__} "
            f"runtime {runtime.runtimeGetVersion()}{tf32}"
        )

    @property
    def prepared_key(self):
        """The device, which the arrays of prepared networks belong to."""
        return self.name, self.xp.cuda.Device().id

    @cached_property
    def block_bytes(self):
        """Bytes that a block of images or points may take while it is computed."""
        return min(MAX_BLOCK_BYTES, int(BLOCK_SHARE * self._free_bytes()))

    def enough_images(self, image_bytes):
        """Return how many images of a block are enough for full speed."""
        return max(1, MAX_BLOCK_BYTES // image_bytes)

    def _free_bytes(self):
        """Return what can be allocated: of the device, or of CuPy's limit if any."""
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
        """Give back what CuPy keeps for later: of the device, and pinned memory."""
        forget_prepared(self)
        self._pool.free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def upload(self, blocks):
        """Yield NumPy arrays on the GPU, each copied while the last is worked on."""
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
        """Yield an array when it has arrived; then note when it has been used."""
        compute = self.xp.cuda.get_current_stream()
        compute.wait_event(slot.copied)
        yield array
        slot.used.record(compute)

    def download(self, blocks):
        """Yield arrays of the GPU as NumPy arrays, one block late.

        The work of the next block is so under way when the last one is waited for.
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
                # The block is held until it is copied: its memory may not be reused.
                pending = slot, pinned, block
            if pending is not None:
                yield _when_copied(*pending)
        finally:
            stream.synchronize()


def _when_copied(slot, pinned, _):
    """Return the pinned array of a download once its copy is done."""
    slot.copied.synchronize()
    return pinned
