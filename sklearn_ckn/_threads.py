"""How many threads to use, and BLAS held to one inside our own threads."""

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
