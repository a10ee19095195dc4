"""Timing shared by the benchmarks."""

import multiprocessing
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
