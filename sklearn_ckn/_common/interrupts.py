"""Ctrl-C during long calls of BLAS and LAPACK."""

import os
import threading
from functools import partial

import numpy as np

from sklearn_ckn._common.threads import single_threaded_blas

# Multiply-adds from which a call is long: some hundredths of a second on one core,
# beside which a thread costs nothing.
LONG_WORK = 2**31

# Seconds between two looks at signals where waiting itself is not interrupted, as on
# Windows.
POLL_SECONDS = 0.1

_calls: set["_Call"] = set()


def interruptible(function, work):
    """Return a function that Ctrl-C can leave at any time, if it has long to do.

    Python handles signals in the main thread alone, and not before a compiled function
    returns; a decomposition takes seconds. Another thread therefore makes the call,
    and KeyboardInterrupt ends the waiting for it at once. The call itself cannot be
    stopped: it runs to its end, holds its arrays until then, and nobody sees its
    result. It must own what it writes to.

    Parameters
    ----------
    function : callable
        Of BLAS or LAPACK, called without Python's lock: see ``_lapack``. Which thread
        calls it makes no difference.
    work : float
        Multiply-adds that it takes.

    Returns
    -------
    function : callable
    """
    is_main = threading.current_thread() is threading.main_thread()
    is_long = is_main and work >= LONG_WORK
    return partial(_call_in_thread, function) if is_long else function


class _Call(threading.Thread):
    # No daemon: at the end of the process, libraries that are torn down beside a
    # call that runs would crash.
    def __init__(self, call):
        super().__init__(name="sklearn_ckn call")
        self._call = call
        # What a new thread does not inherit.
        self._limits = single_threaded_blas.get_thread_limits()
        self._error_handling = np.geterr()
        self.ended = threading.Event()
        self.result = None
        self.error = None

    def run(self):
        # Not by the main thread, which an interrupt could keep from starting this one.
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
        # There may be no more threads, or the process be about to end.
        return function(*arguments, **options)
    while not call.ended.wait(POLL_SECONDS):
        pass
    if call.error is None:
        return call.result
    try:
        raise call.error
    finally:
        # The error's traceback holds this frame, and so would hold the arrays.
        del call


def _await_calls():
    for call in tuple(_calls):
        call.ended.wait()


# A fork stops the threads of OpenBLAS, and would wait for ever for those at work.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_await_calls, after_in_child=_calls.clear)
