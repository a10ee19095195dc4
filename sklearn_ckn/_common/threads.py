"""The number of threads, and BLAS limited to one thread inside our own threads."""

import ctypes
import os
from functools import cache
from itertools import product

import joblib
from threadpoolctl import ThreadpoolController

from sklearn_ckn._ext._callers import (
    Callers,
    Context,
    Library,
    SingleThreadCallers,
)
from sklearn_ckn._ext._openmp import max_threads
from sklearn_ckn._ext._team import begin as begin_team

# Number of values, of images or anchors, from which on several threads are faster.
MIN_SHARED_VALUES = 2**18

_count_cpus = cache(joblib.cpu_count)


def n_threads():
    """Return the number of threads that a call may use now.

    It follows ``OMP_NUM_THREADS``, threadpoolctl, the CPU affinity and the limits of
    containers.
    """
    return min(max_threads(), _count_cpus())


def workers_for(n_values, n_workers):
    """Return how many of some threads to use for quick work on values: one, or all.

    With few values, starting several threads takes longer than the work.
    """
    return n_workers if n_values >= MIN_SHARED_VALUES else 1


def _after_fork_in_child(function):
    # Windows has no fork.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


# The threads of the kernels belong to the process before.
_after_fork_in_child(begin_team)


class SharedThreads:
    """Gives the number of threads to use: ``with shared_threads() as n_workers``.

    Python threads that are inside the context at the same time share the threads, so
    that no more threads run than there are processors. A forked process starts threads
    of its own.
    """

    def __init__(self):
        self._callers = Callers()
        _after_fork_in_child(self._callers.forget_other_threads)

    def __call__(self):
        """Return a context, to be entered once, that gives the number of threads."""
        return Context(self._callers, n_threads())

    @property
    def _n_callers(self):
        return self._callers.n_callers


shared_threads = SharedThreads()


class SingleThreadedBLAS:
    """Limits BLAS to one thread: ``with single_threaded_blas()``.

    Most libraries have one limit for the whole process. Two threads that set and
    restore it at overlapping times would restore each other's limit. Callers are
    therefore counted: the first one sets the limit and the last one restores it. Limits
    are read and set by functions of the libraries, since threadpoolctl does not change
    OpenBLAS while another thread is inside a limit of threadpoolctl.

    A forked process counts only the callers in the thread that forked; if there are
    none, it has the limits from before.
    """

    def __init__(self):
        self._callers = SingleThreadCallers()
        _after_fork_in_child(self._callers.forget_other_threads)

    def __call__(self):
        """Return a context, to be entered once."""
        return Context(self._known_callers())

    def get_thread_limits(self):
        """Return the limits that apply to the calling thread only, a list of int."""
        return self._known_callers().get_thread_limits()

    def set_thread_limits(self, limits):
        """Set the limits that apply to the calling thread only."""
        self._known_callers().set_thread_limits(limits)

    def _known_callers(self):
        if not self._callers.knows_libraries:
            # Searching the libraries of the process takes milliseconds.
            self._callers.set_libraries(*_find_libraries())
        return self._callers

    @property
    def _n_callers(self):
        return self._callers.n_callers

    @property
    def _limit(self):
        return self._callers.limits


single_threaded_blas = SingleThreadedBLAS()

# Functions that get and set the limit, by threadpoolctl's name of the library. In
# OpenBLAS their names depend on how it was built.
_LIMIT_FUNCTIONS = {
    "openblas": [
        tuple(f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set"))
        for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64"))
    ],
    "mkl": [("MKL_Get_Max_Threads", "MKL_Set_Num_Threads_Local")],
    "blis": [("bli_thread_get_num_threads", "bli_thread_set_num_threads")],
    "flexiblas": [("flexiblas_get_num_threads", "flexiblas_set_num_threads")],
    "openmp": [("omp_get_max_threads", "omp_set_num_threads")],
}


def _find_libraries():
    """Return the BLAS libraries with one limit per process, and with one per thread."""
    shared, per_thread = [], []
    for controller in ThreadpoolController().select(user_api="blas").lib_controllers:
        interface = controller.internal_api
        if interface == "openblas" and controller.threading_layer == "openmp":
            interface = "openmp"
        # Loaded already; threadpoolctl before 3.2 does not show its own handle.
        library = ctypes.CDLL(controller.filepath)
        for names in _LIMIT_FUNCTIONS.get(interface, []):
            functions = [getattr(library, name, None) for name in names]
            if all(functions):
                places = per_thread if interface in ("mkl", "openmp") else shared
                places.append(Library(*map(_address, functions)))
                break
    return tuple(shared), tuple(per_thread)


def _address(function):
    return ctypes.cast(function, ctypes.c_void_p).value
