"""Processes that time one engine each, on request, while the others sleep.

Libraries let idle threads spin for a while after their work, and some bind threads to
cores: in one process they spoil each other's times. Here each engine has a process of
its own, which prepares it and then waits for requests. One process is asked at a time,
in turn, so that the noise of a shared machine spreads over all of them.

An engine is an object that can be sent to a process. It has the attributes ``name``,
``requires`` (modules) and ``n_threads``, and the methods

- ``load()``, called first in the process;
- ``describe()``, which returns what it computes with;
- ``ways(sizes)``, which yields a ``Way`` for each way to do its work.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from math import ceil
from typing import NamedTuple

from _timing import LASTING, alternate, receive_answer, send_answer

# Variables that the libraries read when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

# Seconds before a turn: OpenBLAS lets the threads of the process before spin for 2^26
# cycles, the other libraries for less.
PAUSE = 0.05


class Way(NamedTuple):
    """One way of an engine to do its work.

    Attributes
    ----------
    label : str
        For instance the batch size.
    n_units : int
        Amount of work of a call: images, or operations.
    run : callable
        Does the work as many times as its argument says.
    maps : callable or None
        Returns the maps of the last call, an ndarray of shape (n, H', W', p).
    """

    label: str
    n_units: int
    run: Callable
    maps: Callable | None = None


class TimedEngine:
    """An engine in its process: what a ``Worker`` asks it for."""

    def __init__(self, engine):
        self.engine = engine

    def load(self):
        """Load the engine; return what it computes with."""
        self.engine.load()
        return self.engine.describe()

    def choose(self, sizes, repeats):
        """Time the ways for some sizes in turn and keep the fastest one.

        Returns
        -------
        seconds : dict of str to float
            Of a unit, for each way by its label.
        label : str
            Of the way that is kept.
        """
        ways = {way.label: way for way in self.engine.ways(sizes)}
        runs, counts = {}, {}
        for label, way in ways.items():
            counts[label] = calls_to_last(way.run)
            runs[label] = partial(way.run, counts[label])
        seconds = {
            label: value / (counts[label] * ways[label].n_units)
            for label, value in alternate(runs, repeats).items()
        }
        label = min(seconds, key=seconds.get)
        self.way, self.count = ways[label], counts[label]
        return seconds, label

    def maps(self, n_images):
        """Return the maps of the first images."""
        self.way.run(1)
        return self.way.maps()[:n_images]

    def seconds(self):
        """Return the seconds of a unit, from work that lasts."""
        # The caches hold what another process has left.
        self.way.run(1)
        start = time.perf_counter()
        self.way.run(self.count)
        elapsed = time.perf_counter() - start
        return elapsed / (self.count * self.way.n_units)

    def call_seconds(self):
        """Return the seconds of every call during work that lasts."""
        self.way.run(1)
        seconds = []
        # Until the time has passed: with a busy core a call can take much longer than
        # when calls were counted.
        first = start = time.perf_counter()
        while start < first + LASTING:
            self.way.run(1)
            end = time.perf_counter()
            seconds.append(end - start)
            start = end
        return seconds


def calls_to_last(run):
    """Return how many calls last for ``LASTING`` seconds, after some that do not count.

    The first calls compile, and find their memory.
    """
    run(2)
    start, n_calls = time.perf_counter(), 0
    while time.perf_counter() - start < LASTING / 4:
        run(1)
        n_calls += 1
    return ceil(LASTING * n_calls / (time.perf_counter() - start))


def _serve(connection, engine):
    """Answer requests until the other process closes the connection."""
    timed = TimedEngine(engine)
    send_answer(connection, timed.load)
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        send_answer(connection, getattr(timed, name), *arguments)


def limit_threads(n_threads):
    """Limit the threads of processes that start from now on."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))
    # Threads that wait in a loop would take the processor from the one they wait for
    # where other programs run too: PyTorch then takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextmanager
def _environment(variables):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Worker:
    """A process with a ``TimedEngine``, which sleeps unless it is asked.

    Parameters
    ----------
    engine : object
        See the top of this file.

    Attributes
    ----------
    name : str
    n_threads : int
        Of the engine.
    description : str
        What the engine computes with.
    """

    def __init__(self, engine):
        self.name, self.n_threads = engine.name, engine.n_threads
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, engine), daemon=True, name=engine.name
        )
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(engine.n_threads))):
            self._process.start()
        theirs.close()
        self.description = receive_answer(self._connection, self._process)

    def call(self, name, *arguments):
        """Call a method of the engine in its process and wait for the result."""
        # That a process has died is reported by what waits for its answer.
        with suppress(BrokenPipeError):
            self._connection.send((name, arguments))
        return receive_answer(self._connection, self._process)

    def close(self):
        """End the process."""
        self._connection.close()
        self._process.join(timeout=5)
        self._process.kill()
        self._process.join()


def missing_modules(engine):
    """Return the modules that an engine needs and this machine lacks."""
    return [name for name in engine.requires if find_spec(name) is None]


@contextmanager
def started(engines):
    """Start a process for each engine; end them all when the context ends.

    Parameters
    ----------
    engines : dict
        Each must have its modules.

    Yields
    ------
    workers : dict of Worker
        With the same keys.
    """
    with ExitStack() as stack:
        workers = {}
        for key, engine in engines.items():
            workers[key] = Worker(engine)
            stack.callback(workers[key].close)
        yield workers


def alternate_workers(workers, name, repeats):
    """Call a method of each worker in turn, many times; return lists of the results."""
    results = {key: [] for key in workers}
    for _ in range(repeats):
        for key, worker in workers.items():
            time.sleep(PAUSE)
            results[key].append(worker.call(name))
    return results


def median_seconds(workers, repeats):
    """Return the median of each worker's seconds of a unit."""
    results = alternate_workers(workers, "seconds", repeats)
    return {key: statistics.median(values) for key, values in results.items()}


def _spin(spinning):
    spinning.set()
    while True:
        pass


@contextmanager
def busy_cores(n_cores):
    """Keep as many cores busy by other processes."""
    context = multiprocessing.get_context("spawn")
    spinning = [context.Event() for _ in range(n_cores)]
    processes = [
        context.Process(target=_spin, args=(event,), daemon=True) for event in spinning
    ]
    for process in processes:
        process.start()
    try:
        for event in spinning:
            if not event.wait(60):
                raise RuntimeError("a process that keeps a core busy has not started")
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
