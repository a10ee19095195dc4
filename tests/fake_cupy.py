"""A stand-in for CuPy that is as strict as CuPy, on the CPU.

Its arrays do not mix with NumPy's and do not turn into them by themselves; new arrays
hold rubbish; kernels are the CUDA source itself, run by ``cuda_on_cpu``. Copies on a
stream of their own happen as late as events and synchronisation allow, and one that
does not wait for the work before it is an error. Where the real CuPy is installed,
calls must also fit the signatures of its functions. Memory is counted, and runs out
above ``Memory.limit``; failures of decompositions are as silent as cuSOLVER's.
"""

import inspect
import sys
import types
from contextlib import contextmanager
from numbers import Number

import numpy as np
import scipy.linalg
import scipy.special
from cuda_on_cpu import Kernel, kernel_parameters, load

try:
    import cupy as real_cupy
    import cupyx.scipy.special as real_special
except ImportError:
    real_cupy = real_special = None

# What CuPy makes of arrays of NumPy, too.
FROM_NUMPY = {"asarray", "array", "ascontiguousarray"}

# Arrays that are not written yet hold this.
RUBBISH = {"f": np.nan, "i": -(2**20), "u": 201, "b": True}


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
        return ndarray(np.asarray(value), self._memory if shares else None)

    def __getitem__(self, index):
        return self._view(np.asarray(self._host[unwrap(index)]))

    def __setitem__(self, index, value):
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
        Clock.now += 1
        value._memory.last_used = Clock.now
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


def check_signature(real, name, args, kwargs):
    """Raise unless the real CuPy has the function and takes these arguments."""
    if real is None:
        return
    function = getattr(real, name)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    signature.bind(*args, **kwargs)


class Namespace(types.ModuleType):
    """A module of functions of NumPy or SciPy on arrays of the stand-in."""

    def __init__(self, name, functions, real=None):
        super().__init__(name)
        self.__dict__["_functions"] = functions
        self.__dict__["_real"] = real

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        function = getattr(self._functions, name)

        def call(*args, **kwargs):
            check_signature(self._real, name, args, kwargs)
            if name in FROM_NUMPY and isinstance(args[0], (np.ndarray, Number, list)):
                return ndarray(np.array(args[0], *args[1:], **kwargs))
            kwargs = {key: unwrap(value) for key, value in kwargs.items()}
            kwargs.pop("blocking", None)
            result = function(*map(unwrap, args), **kwargs)
            if name in FROM_NUMPY and result is args[0]._host:
                return args[0]
            return wrap(result)

        return call


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


class Linalg(Namespace):
    """Decompositions, which return rubbish where NumPy's would raise."""

    is_raising = False

    def __getattr__(self, name):
        function = super().__getattr__(name)

        def call(matrix, *args, **kwargs):
            try:
                return function(matrix, *args, **kwargs)
            except np.linalg.LinAlgError:
                if Linalg.is_raising:
                    raise
                rubbish = ndarray(np.full(matrix.shape, 1e-3))
                return (rubbish[0], rubbish) if name == "eigh" else rubbish

        return call

    @staticmethod
    @contextmanager
    def errstate(*, linalg):
        before, Linalg.is_raising = Linalg.is_raising, linalg == "raise"
        try:
            yield
        finally:
            Linalg.is_raising = before


class Event:
    """The work that a stream had been given when the event was recorded."""

    def __init__(self, disable_timing=False):
        self._stream, self._position, self._clock = None, 0, 0

    def record(self, stream):
        self._stream = stream
        self._position = len(stream.work) if isinstance(stream, Stream) else 0
        Clock.now += 1
        self._clock = Clock.now

    def run(self):
        """Do the work, for another stream that waits: the CPU does not."""
        if isinstance(self._stream, Stream):
            self._stream.run(self._position)

    def synchronize(self):
        if isinstance(self._stream, Stream):
            self._stream.run(self._position)
            self._stream.check_sources(self._position)


class CurrentStream:
    """The default stream, which does everything at once."""

    def wait_event(self, event):
        event.run()


class Stream:
    """A stream of copies, each done as late as possible."""

    def __init__(self, non_blocking=False):
        self.work = []
        self._n_done = 0
        self._seen = 0
        # Arrays of the CPU that copies may still be reading, and what they held.
        self._sources = []

    def wait_event(self, event):
        event.run()
        self._seen = max(self._seen, event._clock)

    def _check(self, array):
        is_waited_for = array._memory.last_used <= self._seen
        assert is_waited_for, "a copy does not wait for work before it"

    def read(self, array, out):
        self._check(array)
        # later work may reuse the memory only if the array is not kept
        self.work.append(lambda: out.__setitem__(..., array._host))

    def write(self, array, source):
        self._check(array)
        self.work.append(lambda: array._host.__setitem__(..., source))
        self._sources.append((len(self.work), source, source.copy()))

    def check_sources(self, position):
        """Raise if what is copied was changed before the CPU knew of the end."""
        for end, source, held in self._sources:
            if end <= position:
                np.testing.assert_array_equal(source, held)
        self._sources = [each for each in self._sources if each[0] > position]

    def run(self, position):
        for i in range(self._n_done, position):
            self.work[i]()
            # What is done holds no array.
            self.work[i] = None
        self._n_done = max(self._n_done, position)

    def synchronize(self):
        self.run(len(self.work))
        self.check_sources(len(self.work))


class RawModule:
    """CUDA source, compiled for the CPU."""

    def __init__(self, *, code, options):
        check_signature(real_cupy, "RawModule", (), {"code": code, "options": options})
        self._parameters = kernel_parameters(code)
        self._options = tuple(each for each in options if each.startswith("-"))
        self._library = load(code, self._options)

    def get_function(self, name):
        kernel = Kernel(self._library, name, self._parameters[name], self._options)

        def launch(grid, block, arguments):
            kernel.run(grid, block, [unwrap(each) for each in arguments])

        return launch


class Pool:
    """CuPy's memory pool, of a size that tests choose, or that of pinned memory."""

    def __init__(self, limit=0):
        self.limit = limit
        self.n_freed = 0

    def free_bytes(self):
        return 0

    def used_bytes(self):
        return 0

    def get_limit(self):
        return self.limit

    def free_all_blocks(self):
        self.n_freed += 1


def empty(shape, dtype=float, order="C"):
    """Return an array of rubbish."""
    dtype = np.dtype(dtype)
    return ndarray(np.full(shape, RUBBISH[dtype.kind], dtype, order=order))


def einsum(subscripts, *operands, dtype=None):
    """Sum as CuPy does, which turns the operands into arrays of the dtype."""
    operands = [each if dtype is None else each.astype(dtype) for each in operands]
    return wrap(np.einsum(subscripts, *map(unwrap, operands)))


def solve_triangular(matrix, right, trans=0, lower=False):
    """Solve as CuPy does."""
    return wrap(
        scipy.linalg.solve_triangular(
            unwrap(matrix), unwrap(right), trans=trans, lower=lower
        )
    )


def make_cupy(
    *, n_devices=1, free_bytes=2**33, limit=0, missing=(), pinned_bytes=sys.maxsize
):
    """Return modules by their names, to be put into ``sys.modules``.

    Parameters
    ----------
    n_devices : int or str
        Devices, or the error that counting them raises.
    free_bytes : int
        Memory of the device that is free.
    limit : int
        Of the memory pool; 0 is none.
    missing : tuple of str
        Libraries of CUDA that are not found.
    pinned_bytes : int
        The largest array in pinned memory.
    """

    def count():
        if isinstance(n_devices, str):
            raise CUDARuntimeError(n_devices)
        return n_devices

    def empty_pinned(shape, dtype):
        array = np.full(shape, RUBBISH[np.dtype(dtype).kind], dtype)
        if array.nbytes > pinned_bytes:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        return array

    cupy = Namespace("cupy", np, real_cupy)
    cupy.__version__ = "14.2.0"
    cupy.ndarray = ndarray
    cupy.empty = empty
    cupy.einsum = einsum
    cupy.RawModule = RawModule
    pool, pinned_pool = Pool(limit), Pool()
    cupy.get_default_memory_pool = lambda: pool
    cupy.get_default_pinned_memory_pool = lambda: pinned_pool
    cupy.linalg = Linalg("cupy.linalg", np.linalg, real_cupy and real_cupy.linalg)
    runtime = types.SimpleNamespace(
        getDeviceCount=count,
        CUDARuntimeError=CUDARuntimeError,
        memGetInfo=lambda: (free_bytes, 2 * free_bytes),
        getDeviceProperties=lambda device: {"name": b"Stand-in"},
        runtimeGetVersion=lambda: 13000,
    )
    current = CurrentStream()

    class CUDA(types.ModuleType):
        def __getattr__(self, name):
            if name in missing:
                raise ImportError(f"Failure finding lib{name}.so")
            if name in ("cublas", "cusolver"):
                return types.SimpleNamespace()
            raise AttributeError(name)

    cupy.cuda = CUDA("cupy.cuda")
    cupy.cuda.runtime = runtime
    cupy.cuda.Device = Device
    cupy.cuda.Event = Event
    cupy.cuda.Stream = Stream
    cupy.cuda.get_current_stream = lambda: current
    cupyx = types.ModuleType("cupyx")
    cupyx.empty_pinned = empty_pinned
    cupyx.errstate = Linalg.errstate
    special = Namespace("cupyx.scipy.special", scipy.special, real_special)
    linalg = types.ModuleType("cupyx.scipy.linalg")
    linalg.solve_triangular = solve_triangular
    return {
        "cupy": cupy,
        "cupyx": cupyx,
        "cupyx.scipy": types.ModuleType("cupyx.scipy"),
        "cupyx.scipy.special": special,
        "cupyx.scipy.linalg": linalg,
    }


def install(monkeypatch, **options):
    """Put the stand-in where ``import cupy`` finds it, and return it."""
    modules = make_cupy(**options)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules["cupy"]
