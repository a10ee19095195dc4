"""Calls of BLAS and LAPACK in threads of their own."""

import os
import threading
from functools import partial

import numpy as np

from sklearn_ckn._common.threads import shared_threads, single_threaded_blas

_calls: set["BackgroundCall"] = set()


class BackgroundCall(threading.Thread):
    """A call in a thread that has the limits and settings of the one that creates it.

    Parameters
    ----------
    call : callable
        Without arguments. It calls functions of BLAS or LAPACK that release Python's
        lock, see ``lapack``.

    Attributes
    ----------
    ended : threading.Event
    result : object
        What the call returned.
    error : BaseException or None
        What it raised.
    """

    # Not a daemon thread: at the end of the process, libraries that are unloaded during
    # a call would crash.
    def __init__(self, call):
        super().__init__(name="sklearn_ckn call")
        self._call = call
        # A new thread does not inherit these.
        self._limits = single_threaded_blas.get_thread_limits()
        self._error_handling = np.geterr()
        self.ended = threading.Event()
        self.result = None
        self.error = None

    def run(self):
        """Make the call and keep its result or error."""
        # Not in the main thread, where an interrupt could come between this and start.
        _calls.add(self)
        try:
            single_threaded_blas.set_thread_limits(self._limits)
            with np.errstate(**self._error_handling):
                self.result = self._call()
        except BaseException as error:
            self.error = error
        finally:
            del self._call
            _calls.discard(self)
            self.ended.set()


def each_in_threads(function, items):
    """Return ``[function(item) for item in items]``, computed by all threads.

    Parameters
    ----------
    function : callable
        Calls functions of LAPACK that release Python's lock. Its result does not depend
        on the thread that calls it.
    items : list

    Returns
    -------
    results : list
    """

    def compute(own):
        return [function(item) for item in own]

    with shared_threads() as n_workers:
        n_workers = min(n_workers, len(items))
        calls = []
        try:
            for i in range(1, n_workers):
                call = BackgroundCall(partial(compute, items[i::n_workers]))
                call.start()
                calls.append(call)
        except RuntimeError:
            # The system has no more threads, or the process is about to end.
            n_workers = 1
        results = [None] * len(items)
        try:
            results[::n_workers] = compute(items[::n_workers])
        finally:
            for call in calls:
                call.ended.wait()
        for i, call in enumerate(calls, 1):
            if call.error is not None:
                raise call.error
            if n_workers > 1:
                results[i::n_workers] = call.result
        return results


def _await_calls():
    for call in tuple(_calls):
        call.ended.wait()


# A fork stops the threads of OpenBLAS; it would wait for ever for threads at work.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_await_calls, after_in_child=_calls.clear)
