"""How many threads to use, and BLAS held to one inside our own threads."""

import os
from functools import cache, cached_property
from threading import Lock

import joblib
from threadpoolctl import ThreadpoolController

from sklearn_ckn._ext._openmp import max_threads

_count_cpus = cache(joblib.cpu_count)


def n_threads():
    """Return the number of OpenMP threads that a call may use now.

    Follows ``OMP_NUM_THREADS``, threadpoolctl, CPU affinity and container quotas.
    """
    return min(max_threads(), _count_cpus())


class SharedThreads:
    """Context that says how many threads to use, shared by all callers of the process.

    Python threads that call at the same time divide the threads among them, so that
    no more run than processors are there. A process forked from one that had several
    threads of OpenMP has none of them, and GCC's run-time library would wait for
    them: it gets a single one.
    """

    def __init__(self):
        self._reset()
        self._used_several = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset_in_child)

    def _reset(self):
        self._lock = Lock()
        self._n_callers = 0
        self._is_forked = False

    def _reset_in_child(self):
        self._reset()
        self._is_forked = self._used_several

    def __enter__(self):
        with self._lock:
            self._n_callers += 1
            if self._is_forked:
                return 1
            share = max(1, n_threads() // self._n_callers)
            self._used_several |= share > 1
            return share

    def __exit__(self, *exception):
        with self._lock:
            self._n_callers -= 1


shared_threads = SharedThreads()


class SingleThreadedBLAS:
    """Context in which BLAS uses one thread, shared by all callers of the process.

    A limit of threadpoolctl holds for the whole process and restores what it
    found. Two threads that overlap would so restore each other's limit; counting
    the callers sets it with the first and lifts it with the last.
    """

    def __init__(self):
        self._lock = Lock()
        self._n_callers = 0
        self._limit = None

    @cached_property
    def _controller(self):
        # Looks through the libraries of the process, which takes milliseconds.
        return ThreadpoolController()

    def __enter__(self):
        with self._lock:
            if self._n_callers == 0:
                self._limit = self._controller.limit(limits=1, user_api="blas")
                self._limit.__enter__()
            self._n_callers += 1

    def __exit__(self, *exception):
        with self._lock:
            self._n_callers -= 1
            if self._n_callers == 0:
                self._limit.__exit__(*exception)
                self._limit = None


single_threaded_blas = SingleThreadedBLAS()
