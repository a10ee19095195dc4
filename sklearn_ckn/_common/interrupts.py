"""Long calls of BLAS and LAPACK that Ctrl-C can interrupt."""

import threading
from functools import partial

from sklearn_ckn._common.background_calls import BackgroundCall

# A call is long from this number of multiply-adds on: some hundredths of a second on
# one core, compared to which starting a thread takes no time.
LONG_WORK = 2**31

# Seconds between two checks for signals on systems where signals do not interrupt
# waiting, such as Windows.
POLL_SECONDS = 0.1


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


def _call_in_thread(function, *arguments, **options):
    call = BackgroundCall(partial(function, *arguments, **options))
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
