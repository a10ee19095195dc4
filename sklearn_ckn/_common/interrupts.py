"""Long calls of BLAS and LAPACK that Ctrl-C can interrupt."""

import os
import threading
from functools import partial

import numpy as np

from sklearn_ckn._common.threads import single_threaded_blas

# A call is long from this number of multiply-adds on: some hundredths of a second on
# one core, compared to which starting a thread takes no time.
LONG_WORK = 2**31

# Seconds between two checks for signals on systems where signals do not interrupt
# waiting, such as Windows.
POLL_SECONDS = 0.1

_calls: set["_Call"] = set()


def interruptible(function, work):
    """Return a function that Ctrl-C can interrupt if its calls take long.

    Python handles signals only in the main thread, and only after a compiled function
    has returned; a decomposition takes seconds. The call is therefore made in another
    thread, and KeyboardInterrupt ends the waiting for it at once. The call itself
    cannot be stopped: it runs to its end and keeps its arrays until then, and its
    result is not used. No other code may use the arrays that it writes to.

    Parameters
    ----------
    function : callable
        A function of BLAS or LAPACK that releases Python's lock, see ``lapack``. Its
        result does not depend on the thread that calls it.
    work : float
        Number of multiply-adds of the call.

    Returns
    -------
    function : callable
    """
    is_main = threading.current_thread() is threading.main_thread()
    is_long = is_main and work >= LONG_WORK
    return partial(_call_in_thread, function) if is_long else function


class _Call(threading.Thread):
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


def _call_in_thread(function, *arguments, **options):
    call = _Call(partial(function, *arguments, **options))
    try:
        call.start()
    except RuntimeError:
        # The system has no more threads, or the process is about to end.
        return function(*arguments, **options)
    while not call.ended.wait(POLL_SECONDS):
        pass
    if call.error is None:
        return call.result
    try:
        raise call.error
    finally:
        # The traceback of the error refers to this frame, which would keep the arrays.
        del call


def _await_calls():
    for call in tuple(_calls):
        call.ended.wait()


# A fork stops the threads of OpenBLAS; it would wait for ever for threads at work.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_await_calls, after_in_child=_calls.clear)
