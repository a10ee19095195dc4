"""A stand-in for CuPy that is as strict as CuPy, on the CPU.

Its arrays do not mix with NumPy's and do not turn into them by themselves; those of one
GPU are not used while another is current; new arrays hold rubbish; kernels are the CUDA
source itself, run by ``cuda_on_cpu``. Copies on a stream of their own happen as late as
events and synchronisation allow, and one that does not wait for the work before it is
an error. Where the real CuPy is installed, calls must also fit the signatures of its
functions. Memory is counted, and runs out above ``Memory.limit``; failures of
decompositions are as silent as cuSOLVER's.
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
from fake_cupy_arrays import (
    CUDARuntimeError,
    Device,
    Memory,
    OutOfMemoryError,
    ndarray,
    unwrap,
    wrap,
)
from fake_cupy_streams import CurrentStream, Event, Stream

try:
    import cupy as real_cupy
    import cupyx.scipy.special as real_special
except ImportError:
    real_cupy = real_special = None

# What CuPy makes of arrays of NumPy, too.
FROM_NUMPY = {"asarray", "array", "ascontiguousarray"}

# Arrays that are not written yet hold this.
RUBBISH = {"f": np.nan, "i": -(2**20), "u": 201, "b": True}


__all__ = ["Memory", "OutOfMemoryError", "install", "make_cupy", "ndarray"]


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
