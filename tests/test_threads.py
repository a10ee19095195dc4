"""Threads: how many, BLAS held to one and let go again, calls at the same time."""

import ctypes
import multiprocessing
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from on_engines import encode
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_ckn import CKNFeatures, PatchWhitening
from sklearn_ckn._common.arrays import eigh
from sklearn_ckn._common.threads import (
    SharedThreads,
    SingleThreadedBLAS,
    n_threads,
    shared_threads,
    single_threaded_blas,
)
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._ext import _callers


def blas_threads():
    return [
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def test_limits_are_followed():
    assert n_threads() >= 1
    with threadpool_limits(limits=1, user_api="openmp"):
        assert n_threads() == 1


def test_overlapping_callers_leave_blas_as_it_was():
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        assert 2 in before
        limit = SingleThreadedBLAS()
        # Two callers that do not end in the opposite order of their beginning.
        first, second = limit(), limit()
        first.__enter__()
        second.__enter__()
        assert set(blas_threads()) == {1}
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before


def test_callers_in_other_threads_than_the_one_that_set_a_limit():
    def measure():
        with single_threaded_blas():
            return set(blas_threads())

    # threadpoolctl 3.7 and newer lets no other thread change a limit that is set.
    with (
        threadpool_limits(limits=2, user_api="blas"),
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        before = blas_threads()
        assert pool.submit(measure).result() == {1}
        assert blas_threads() == before


def test_a_context_is_entered_once():
    context = single_threaded_blas()
    with context, pytest.raises(RuntimeError, match="entered already"), context:
        pass
    assert single_threaded_blas._n_callers == 0


GETTER = ctypes.CFUNCTYPE(ctypes.c_int)
SETTER = ctypes.CFUNCTYPE(None, ctypes.c_int)


class FakeLibrary:
    """A library with a limit in ``limits.value``, for all threads or for each."""

    def __init__(self, limits):
        self.limits = limits
        # Kept, since the addresses alone do not keep them.
        self._functions = GETTER(self._get), SETTER(self._set)
        self.library = _callers.Library(
            *(ctypes.cast(each, ctypes.c_void_p).value for each in self._functions)
        )

    def _get(self):
        return getattr(self.limits, "value", 4)

    def _set(self, limit):
        self.limits.value = limit


class SharedLimit:
    value = 4


@pytest.mark.parametrize("per_thread", [False, True])
def test_threads_that_overlap(per_thread):
    fake = FakeLibrary(threading.local() if per_thread else SharedLimit())
    callers = _callers.SingleThreadCallers()
    libraries = (fake.library,)
    callers.set_libraries(*([(), libraries] if per_thread else [libraries, ()]))
    outer, inner, other = (_callers.Context(callers) for _ in range(3))

    def run(function):
        # A thread of its own for each call would forget the limits of the thread.
        return pool.submit(function).result()

    with ThreadPoolExecutor(max_workers=1) as pool:
        outer.__enter__()
        assert fake._get() == 1
        assert run(fake._get) == (4 if per_thread else 1)
        run(other.__enter__)
        inner.__enter__()
        assert run(fake._get) == 1
        outer.__exit__(None, None, None)
        inner.__exit__(None, None, None)
        assert fake._get() == (4 if per_thread else 1)
        assert run(fake._get) == 1
        run(lambda: other.__exit__(None, None, None))
        assert fake._get() == run(fake._get) == 4


def test_contexts_that_nobody_leaves_end_with_their_object():
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        contexts = [single_threaded_blas(), shared_threads()]
        for context in contexts:
            context.__enter__()
        assert set(blas_threads()) == {1}
        contexts.clear()
        # The loop's own name for the last of them.
        del context
        assert blas_threads() == before
    assert single_threaded_blas._n_callers == shared_threads._n_callers == 0


def test_transform_from_several_python_threads():
    images = np.random.RandomState(0).randn(60, 12, 12, 2)
    features = CKNFeatures((10, 20), random_state=0).fit(images)
    expected = features.transform(images)
    with (
        threadpool_limits(limits=2, user_api="blas"),
        ThreadPoolExecutor(max_workers=4) as pool,
    ):
        before = blas_threads()
        results = list(pool.map(lambda _: features.transform(images), range(20)))
        assert blas_threads() == before
    for result in results:
        assert_array_equal(result, expected)


def test_callers_share_the_threads():
    shared = SharedThreads()
    with threadpool_limits(limits=4, user_api="openmp"):
        all_threads = n_threads()
        with shared() as first, shared() as second:
            assert first == all_threads
            assert second == max(1, all_threads // 2)
        with shared() as third:
            assert third == all_threads


def transform(features, images):
    return features.transform(images)


@pytest.mark.parametrize("method", ["fork", "loky"])
def test_workers_give_the_same_bits(method):
    if method not in (*multiprocessing.get_all_start_methods(), "loky"):
        pytest.skip(f"this platform has no {method}")
    images = np.random.RandomState(0).randn(40, 16, 16, 3)
    features = CKNFeatures((10, 20), random_state=0).fit(images)
    # With the threads of this process running: a forked one has none of them.
    expected = features.transform(images)
    if method == "loky":
        results = Parallel(n_jobs=2)(
            delayed(transform)(features, images) for _ in range(2)
        )
    else:
        with warnings.catch_warnings():
            # Python 3.12 and newer warn of any fork beside threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                work = pool.starmap_async(transform, [(features, images)] * 2)
                results = work.get(timeout=60)
    for result in results:
        assert_array_equal(result, expected)


class Interrupter:
    """Raises KeyboardInterrupt at the n-th step of Python in some files.

    Parameters
    ----------
    n : int
    event : {"opcode", "line"}
        What a step is.
    files : str
        Part of the names of the files.
    """

    def __init__(self, n, event, files):
        self._n_left = n
        self._event = event
        self._files = files
        self.has_raised = False

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *exception):
        sys.settrace(self._before)

    def _trace(self, frame, event, argument):
        if self._files not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = self._event == "opcode"
        if not self.has_raised and event in (self._event, "call", "return"):
            if self._n_left == 0:
                self.has_raised = True
                raise KeyboardInterrupt
            self._n_left -= 1
        return self._trace


def interrupt_everywhere(work, event, files):
    """Interrupt some work at each of its steps in turn; return their number."""
    n = 0
    while True:
        interrupter = Interrupter(n, event, files)
        try:
            with interrupter:
                work()
        except KeyboardInterrupt:
            pass
        assert single_threaded_blas._n_callers == shared_threads._n_callers == 0
        assert single_threaded_blas._limit is None
        if not interrupter.has_raised:
            return n
        n += 1


def inside_contexts():
    for _ in range(2):
        with single_threaded_blas(), shared_threads() as n_workers:
            assert n_workers >= 1
            with single_threaded_blas():
                continue
    try:
        with single_threaded_blas():
            raise ValueError
    except ValueError:
        with shared_threads():
            return


def test_an_interrupt_at_any_bytecode_leaves_no_context_open():
    inside_contexts()
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        n_steps = interrupt_everywhere(inside_contexts, "opcode", "thread")
        assert blas_threads() == before
    # This file and sklearn_ckn/_threads.py.
    assert n_steps > 150


def test_an_interrupt_at_any_line_of_an_encoding_leaves_no_context_open():
    images = np.random.RandomState(0).rand(2, 6, 6, 1)
    layers = CKNFeatures(4, n_patches=50, random_state=0).fit(images)._network.layers
    engine = CPUEngine()
    expected = encode(engine, images, layers)

    def work():
        encode(engine, images, layers)
        with single_threaded_blas():
            eigh(np.eye(3))

    work()
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        n_steps = interrupt_everywhere(work, "line", "sklearn_ckn")
        assert blas_threads() == before
    assert n_steps > 50
    assert_array_equal(encode(engine, images, layers), expected)


@contextmanager
def busy_thread(work):
    """Repeat some work in another thread."""
    begun, stop = threading.Event(), threading.Event()

    def repeat():
        while not stop.is_set():
            work()
            begun.set()

    thread = threading.Thread(target=repeat)
    thread.start()
    begun.wait(timeout=60)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def in_forked_process(function, timeout=60):
    """Return whether a function is true in a fork of this very thread."""

    def report(connection):
        connection.send(bool(function()))

    # The method "fork" starts the child from this thread's stack.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of any fork beside threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = context.Process(target=report, args=(sender,))
        process.start()
    try:
        assert receiver.poll(timeout), "the forked process does not answer"
        return receiver.recv()
    finally:
        process.kill()
        process.join()


needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this platform has no fork"
)


def n_tasks():
    return len(os.listdir("/proc/self/task"))


@needs_fork
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts by /proc")
def test_threads_are_kept_and_a_forked_process_starts_its_own():
    images = np.random.RandomState(0).rand(40, 8, 8)
    features = CKNFeatures(8, n_patches=50, random_state=0).fit(images)
    expected = features.transform(images)
    before = n_tasks()
    for _ in range(10):
        features.transform(images)
    assert n_tasks() == before

    def starts_threads():
        is_alone = n_tasks() == 1
        result = features.transform(images)
        return (
            is_alone
            and n_tasks() == min(n_threads(), len(images))
            and np.array_equal(result, expected)
        )

    assert in_forked_process(starts_threads)


@needs_fork
def test_forks_beside_a_thread_inside_the_contexts():
    images = np.random.RandomState(0).rand(4, 8, 8)
    whitening = PatchWhitening(patch_size=3).fit(images)
    expected = whitening.transform(images)

    def is_as_it_was():
        # Of the limits that the user has set, and of callers, whose threads are gone.
        limits, n_callers = blas_threads(), single_threaded_blas._n_callers
        result = whitening.transform(images)
        return (
            limits == before == blas_threads()
            and n_callers == shared_threads._n_callers == 0
            and np.array_equal(result, expected)
        )

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        with busy_thread(lambda: whitening.transform(images)):
            assert all(in_forked_process(is_as_it_was) for _ in range(10))


@needs_fork
def test_a_fork_while_another_thread_is_inside():
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with single_threaded_blas(), shared_threads():
            entered.set()
            leave.wait(timeout=60)

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        thread = threading.Thread(target=stay)
        thread.start()
        assert entered.wait(timeout=60)
        assert set(blas_threads()) == {1}
        try:
            assert in_forked_process(lambda: blas_threads() == before)
            # The parent's thread is still there.
            assert set(blas_threads()) == {1}
        finally:
            leave.set()
            thread.join()
        assert blas_threads() == before


@needs_fork
def test_a_fork_inside_the_context_stays_inside():
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        context = single_threaded_blas()

        def is_inside():
            limits = set(blas_threads())
            with single_threaded_blas():
                pass
            inside = limits == set(blas_threads()) == {1}
            context.__exit__(None, None, None)
            return inside and blas_threads() == before

        with context:
            assert in_forked_process(is_inside)
            assert set(blas_threads()) == {1}
        assert blas_threads() == before
