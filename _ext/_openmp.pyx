# cython: language_level=3
"""What OpenMP allows this process."""

cdef extern from "openmp_shim.h":
    int omp_get_max_threads()


def max_threads():
    """Return the number of threads an OpenMP region may use now (int, at least 1).

    Follows ``OMP_NUM_THREADS`` and the limits set through threadpoolctl.
    """
    return omp_get_max_threads()
