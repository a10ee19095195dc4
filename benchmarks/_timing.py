"""Timing shared by the benchmarks."""

import multiprocessing
import platform
import resource
import statistics
import time
from functools import partial
from math import ceil
from pathlib import Path

# Seconds that what is timed should last: a first call after others finds neither its
# memory nor its data in place.
LASTING = 0.2


def nothing():
    """Wait for nothing: what runs on the CPU is done when it returns."""


def alternate(functions, repeats, synchronize=nothing):
    """Time functions in turn and return each one's median seconds.

    Alternating spreads the noise of a shared machine over all of them.

    Parameters
    ----------
    functions : dict of callable
    repeats : int
    synchronize : callable
        Waits for a device; called on both sides of a function, so that its time is
        that of its own work and of all of it.

    Returns
    -------
    seconds : dict of float
    """
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            synchronize()
            start = time.perf_counter()
            function()
            synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def alternate_lasting(functions, repeats, synchronize=nothing):
    """Time functions in turn, each called until it lasts; return seconds of a call.

    A device is waited for after the last call of a turn only, as one would who has many
    batches.
    """
    alternate(functions, 1, synchronize)
    seconds = alternate(functions, 1, synchronize)
    counts = {name: ceil(LASTING / value) for name, value in seconds.items()}

    def repeat(function, count):
        for _ in range(count):
            function()

    lasting = {
        name: partial(repeat, function, counts[name])
        for name, function in functions.items()
    }
    seconds = alternate(lasting, repeats, synchronize)
    return {name: value / counts[name] for name, value in seconds.items()}


def processor_name():
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(line.split(": ")[1] for line in lines if line.startswith("model name"))


def peak_memory():
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _call(connection, prepare, function):
    arguments = prepare()
    before = peak_memory()
    start = time.perf_counter()
    try:
        result = function(*arguments)
    except MemoryError as error:
        result = f"MemoryError: {error}"
    seconds = time.perf_counter() - start
    connection.send((result, seconds, before, peak_memory()))


def in_process(prepare, function, limit=None):
    """Call a function in a process of its own, for its time and memory.

    Parameters
    ----------
    prepare : callable
        Makes the arguments, which are not part of the time.
    function : callable
    limit : float or None
        Seconds after which the process is stopped.

    Returns
    -------
    result : object or None
        What the function returned, or a MemoryError's text; None if it was stopped.
    seconds : float
    before, peak : float
        Largest resident memory in MB, before the function and in all.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, prepare, function))
    process.start()
    if receiver.poll(limit):
        answer = receiver.recv()
    else:
        answer = None, limit, float("nan"), float("nan")
    process.terminate()
    process.join()
    return answer
