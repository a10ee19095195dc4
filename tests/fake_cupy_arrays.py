"""Arrays of the stand-in for CuPy: on a GPU, in memory that is counted.

As those of CuPy they do not mix with arrays of NumPy, do not turn into them by
themselves, and are used on the GPU that holds them alone.
"""

import sys

import numpy as np


class Device:
    """A GPU by its number; the current one without a number."""

    current = 0
    compute_capability = "90"

    def __init__(self, device=None):
        self.id = Device.current if device is None else device
        self._before = []

    def __enter__(self):
        self._before.append(Device.current)
        Device.current = self.id

    def __exit__(self, *error):
        Device.current = self._before.pop()


class Clock:
    """Counts the operations on arrays, which the default stream does at once."""

    now = 0


class Memory:
    """What an array and its views hold: when it was used last, and how many bytes."""

    limit = sys.maxsize
    in_use = 0
    peak = 0

    def __init__(self, n_bytes):
        self.n_bytes = 0
        if Memory.in_use + n_bytes > Memory.limit:
            raise OutOfMemoryError(f"Out of memory allocating {n_bytes} bytes")
        self.n_bytes = n_bytes
        Memory.in_use += n_bytes
        Memory.peak = max(Memory.peak, Memory.in_use)
        self.last_used = Clock.now
        self.device = Device()

    def use(self):
        """Note an operation; raise as CuPy does if it is one of another GPU."""
        if self.device.id != Device.current:
            raise ValueError(
                "Array device must be same as the current device: array device = "
                f"{self.device.id} while current = {Device.current}"
            )
        Clock.now += 1
        self.last_used = Clock.now

    def __del__(self):
        Memory.in_use -= self.n_bytes


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """An array of the stand-in; ``_host`` is what it holds."""

    __array_priority__ = 100

    def __init__(self, host, memory=None):
        self._host = host
        # Shared by all views.
        self._memory = Memory(host.nbytes) if memory is None else memory

    @property
    def device(self):
        return self._memory.device

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        if out:
            kwargs["out"] = tuple(unwrap(each) for each in out)
        result = getattr(ufunc, method)(*map(unwrap, inputs), **kwargs)
        return out[0] if out else wrap(result)

    def __array_function__(self, function, kinds, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} got an array of CuPy.")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return lambda *args, **kwargs: self._view(
                value(*map(unwrap, args), **{k: unwrap(v) for k, v in kwargs.items()})
            )
        return self._view(value) if isinstance(value, np.ndarray) else value

    def _view(self, value):
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        shares = isinstance(value, np.ndarray) and np.may_share_memory(
            value, self._host
        )
        if not shares:
            # Computed, unlike a view, which needs no GPU.
            self._memory.use()
        return ndarray(np.asarray(value), self._memory if shares else None)

    def __getitem__(self, index):
        return self._view(np.asarray(self._host[unwrap(index)]))

    def __setitem__(self, index, value):
        self._memory.use()
        self._host[unwrap(index)] = unwrap(value)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self._host)

    def __float__(self):
        return float(self._host)

    def __int__(self):
        return int(self._host)

    def __index__(self):
        return self._host.__index__()

    def get(self, stream=None, out=None, blocking=True):
        """Copy to the CPU."""
        Clock.now += 1
        if out is None:
            return self._host.copy()
        assert isinstance(out, np.ndarray)
        assert out.dtype == self.dtype
        assert out.shape == self.shape
        stream.read(self, out)
        return out

    def set(self, array, stream):
        """Copy from the CPU."""
        assert array.dtype == self.dtype
        assert array.shape == self.shape
        stream.write(self, array)


def unwrap(value):
    """Return what an argument holds, and count its use."""
    if isinstance(value, ndarray):
        value._memory.use()
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrap, value))
    return value


def wrap(value):
    """Return results as arrays of the stand-in."""
    if isinstance(value, (tuple, list)):
        return tuple(map(wrap, value))
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    return value
