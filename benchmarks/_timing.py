"""Timing shared by the benchmarks."""

import multiprocessing
import os
import platform
import resource
import statistics
import threading
import time
import traceback
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

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


def repeat(function, count):
    """Call a function a number of times."""
    for _ in range(count):
        function()


def alternate_lasting(functions, repeats, synchronize=nothing):
    """Time functions in turn, each called until it lasts; return seconds of a call.

    A device is waited for after the last call of a turn only, as one would who has many
    batches.
    """
    alternate(functions, 1, synchronize)
    seconds = alternate(functions, 1, synchronize)
    counts = {name: ceil(LASTING / value) for name, value in seconds.items()}

    lasting = {
        name: partial(repeat, function, counts[name])
        for name, function in functions.items()
    }
    seconds = alternate(lasting, repeats, synchronize)
    return {name: value / counts[name] for name, value in seconds.items()}


def timed_test(model, X, y, X_test, y_test):
    """Fit and test a classifier; return its accuracy, the sizes and the seconds."""
    start = time.perf_counter()
    model.fit(X, y)
    fitted = time.perf_counter()
    predicted = model.predict(X_test)
    end = time.perf_counter()
    return {
        "accuracy": float(np.mean(predicted == y_test)),
        "n_train": len(y),
        "n_test": len(y_test),
        "fit_seconds": fitted - start,
        "predict_seconds": end - fitted,
    }


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


def send_answer(connection, function, *arguments):
    """Call a function and send what it returns, or the text of its error."""
    try:
        answer = True, function(*arguments)
    except Exception:
        answer = False, traceback.format_exc()
    connection.send(answer)


def receive_answer(connection, process):
    """Return what a process has sent by ``send_answer``.

    Raises
    ------
    RuntimeError
        The function failed, or the process has died; its end of the connection must be
        closed in this process.
    """
    try:
        succeeded, answer = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        raise RuntimeError(
            f"the process ended with exit code {process.exitcode} before it answered"
        ) from None
    if not succeeded:
        raise RuntimeError(f"the process failed:\n{answer}")
    return answer


def _end_with_parent():
    """End this process when the one that started it has ended or was killed."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _measure(prepare, function):
    _end_with_parent()
    arguments = prepare()
    before = peak_memory()
    start = time.perf_counter()
    try:
        result = function(*arguments)
    except MemoryError as error:
        result = f"MemoryError: {error}"
    seconds = time.perf_counter() - start
    return result, seconds, before, peak_memory()


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

    Raises
    ------
    RuntimeError
        The process failed or died.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=send_answer, args=(sender, _measure, prepare, function)
    )
    process.start()
    # The process holds the only end to write to: when it dies, the pipe ends.
    sender.close()
    try:
        if not receiver.poll(limit):
            return None, limit, float("nan"), float("nan")
        return receive_answer(receiver, process)
    finally:
        process.terminate()
        process.join()
