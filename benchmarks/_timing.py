"""Timing shared by the benchmarks."""

import resource
import statistics
import time


def alternate(functions, repeats):
    """Time functions in turn and return each one's median seconds.

    Alternating spreads the noise of a shared machine over all of them.
    """
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory():
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
