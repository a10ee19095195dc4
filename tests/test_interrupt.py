"""Ctrl-C in the middle of long work."""

import _thread
import multiprocessing
import os
import signal
import sys
import threading
import warnings

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNFeatures, LinearPathClassifier
from sklearn_ckn._common import arrays as _arrays
from sklearn_ckn._common import background_calls as _background_calls
from sklearn_ckn._common import interrupts as _interrupts
from sklearn_ckn._common import lapack as _lapack
from sklearn_ckn._common.interrupts import interruptible
from sklearn_ckn._common.lapack import lower_syrk, potrf, syevd
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._engine.cpu import CPUEngine

# Work of minutes, so that a test in which the interrupt is lost does not pass by
# finishing first.
IMAGES = np.random.RandomState(0).randint(256, size=(30_000, 32, 32, 3)).astype("u1")


@pytest.fixture(autouse=True)
def python_handles_ctrl_c():
    # A process started in the background of a shell script ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def fitted():
    return CKNFeatures((128, 512), n_patches=2000, random_state=0).fit(IMAGES[:50])


def press_ctrl_c():
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def interrupt_during(work):
    """Send SIGINT, as Ctrl-C does, half a second into some work."""
    timer = threading.Timer(0.5, press_ctrl_c)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    timer.join()


@pytest.mark.parametrize("stage", ["transform", "fit"])
def test_an_interrupted_estimator_stays_as_it_was(fitted, stage, monkeypatch):
    expected = fitted.transform(IMAGES[:20])
    before = vars(fitted).copy()
    calls = []
    encode = CPUEngine.encode

    def record(self, images, layers):
        calls.append(len(images))
        return encode(self, images, layers)

    monkeypatch.setattr(CPUEngine, "encode", record)
    if stage == "transform":
        interrupt_during(lambda: fitted.transform(IMAGES))
    else:
        fitted.set_params(n_anchors=(256, 512), n_patches=400_000)
        interrupt_during(lambda: fitted.fit(IMAGES))
        fitted.set_params(n_anchors=(128, 512), n_patches=2000)
    assert sum(calls) < len(IMAGES) / 2
    assert vars(fitted) == before
    assert_array_equal(fitted.transform(IMAGES[:20]), expected)


def test_an_interrupt_in_the_clustering():
    points = np.random.RandomState(0).randn(200_000, 300).astype("f4")
    anchors = points[:4000]
    interrupt_during(lambda: CPUEngine().nearest_anchors(points, anchors))


class Endless:
    """Stands for a function of LAPACK that takes very long."""

    def __init__(self):
        self.began, self.may_end = threading.Event(), threading.Event()

    def __call__(self, *arguments, **options):
        self.began.set()
        assert self.may_end.wait(timeout=60)


@pytest.fixture
def endless():
    function = Endless()
    yield function
    function.may_end.set()
    _background_calls._await_calls()


def interrupt_once_begun(function, work):
    """Send SIGINT as soon as ``function`` is at work."""

    def press():
        assert function.began.wait(timeout=60)
        press_ctrl_c()

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    thread.join()


def test_a_long_call_is_left_at_once(endless):
    interrupt_once_begun(endless, interruptible(endless, np.inf))
    # The call has not come to its end: it runs on, alone.
    assert not endless.may_end.is_set()
    assert len(_background_calls._calls) == 1
    endless.may_end.set()
    _background_calls._await_calls()
    assert not _background_calls._calls


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
@pytest.mark.parametrize(("function", "cv"), [("syevd", None), ("potrf", 3)])
def test_a_head_is_left_during_its_decomposition(
    function, cv, shape, endless, monkeypatch
):
    rng = np.random.RandomState(0)
    X, y = rng.randn(*shape), rng.randint(2, size=shape[0])
    classifier = LinearPathClassifier(cv=cv).fit(X, y)
    before = vars(classifier).copy()
    monkeypatch.setattr(_interrupts, "LONG_WORK", 0)
    monkeypatch.setattr(_arrays, function, endless)
    interrupt_once_begun(endless, lambda: classifier.fit(X + 1, y))
    assert not endless.may_end.is_set()
    assert vars(classifier) == before
    assert single_threaded_blas._n_callers == 0


@pytest.mark.parametrize("head", ["ridge", "linear_svm"])
@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_long_calls_give_the_same(shape, head, monkeypatch):
    rng = np.random.RandomState(0)
    X, y = rng.randn(*shape), rng.randint(2, size=shape[0])
    expected = LinearPathClassifier(head).fit(X, y)
    starts = []
    start = _background_calls.BackgroundCall.start
    monkeypatch.setattr(_interrupts, "LONG_WORK", 0)
    monkeypatch.setattr(
        _background_calls.BackgroundCall,
        "start",
        lambda self: starts.append(self) or start(self),
    )
    classifier = LinearPathClassifier(head).fit(X, y)
    assert starts
    # The same operations in the same order, in memory that may be aligned otherwise.
    assert_allclose(classifier.coef_, expected.coef_, rtol=1e-9, atol=1e-12)
    assert classifier.alpha_ == expected.alpha_


def test_long_calls_raise_what_the_function_raises():
    with pytest.raises(np.linalg.LinAlgError, match="not converge"):
        interruptible(fail, np.inf)()


def fail():
    raise np.linalg.LinAlgError("does not converge")


def test_long_calls_inherit_what_belongs_to_the_thread(monkeypatch):
    limits = []
    monkeypatch.setattr(single_threaded_blas, "get_thread_limits", lambda: [3])
    monkeypatch.setattr(single_threaded_blas, "set_thread_limits", limits.append)
    call = interruptible(np.multiply, np.inf)
    with np.errstate(over="ignore"):
        assert call(1e308, 1e308) == np.inf
    assert limits == [[3]]
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        call(1e308, 1e308)


def test_other_threads_call_themselves():
    threads = []

    def work():
        interruptible(lambda: threads.append(threading.current_thread()), np.inf)()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert threads == [thread]
    work()
    assert threads[1] is not threading.main_thread()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_waits_for_a_call_that_was_left(endless):
    interrupt_once_begun(endless, interruptible(endless, np.inf))
    release = threading.Timer(0.2, endless.may_end.set)
    release.start()
    process = multiprocessing.get_context("fork").Process(target=int)
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of any fork beside threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    assert endless.may_end.is_set()
    assert not _background_calls._calls
    process.join(timeout=60)
    assert process.exitcode == 0
    release.join()


@pytest.mark.parametrize("n", [2, 30, 200])
def test_decomposition_without_the_lock(n):
    # No BLAS in between: the matrix holds small integers.
    rows = np.random.RandomState(0).randint(-3, 4, size=(2 * n, n))
    matrix = np.asfortranarray((rows.T @ rows).astype(np.float64))
    eigenvalues, vectors = syevd(matrix.copy(order="F"))
    expected = scipy.linalg.eigvalsh(matrix)
    # Eigenvalues are off by a modest multiple of eps ||A||, whatever the algorithm; and
    # so are residuals and the departure from orthogonality.
    bound = 10 * n * np.finfo(np.float64).eps
    norm = expected[-1]
    assert_allclose(eigenvalues, expected, rtol=0, atol=bound * norm)
    assert np.abs(matrix @ vectors - vectors * eigenvalues).max() <= bound * norm
    assert np.abs(vectors.T @ vectors - np.eye(n)).max() <= bound


def test_decomposition_that_fails(monkeypatch):
    def report_failure(*arguments):
        # The last argument is LAPACK's "info".
        arguments[-1]._obj.value = 3

    monkeypatch.setattr(_lapack, "_function", lambda module, name: report_failure)
    with pytest.raises(np.linalg.LinAlgError, match=r"do not converge.* 3\)"):
        syevd(np.eye(4, order="F"))


@pytest.mark.parametrize("n", [1, 30, 200])
def test_cholesky_factor_without_the_lock(n):
    # Of L L^T for integers of which every sum is exact: the factor is L, up to rounding
    # that grows with the condition of L, which is small with such a diagonal.
    rng = np.random.RandomState(0)
    lower = np.tril(rng.randint(-1, 2, size=(n, n)), -1) + 2.0 * n * np.eye(n)
    matrix = np.asfortranarray(np.tril(lower @ lower.T))
    assert potrf(matrix) is matrix
    assert_allclose(np.tril(matrix), lower, atol=1e-13 * n)
    matrix[-1, -1] = -1
    with pytest.raises(np.linalg.LinAlgError, match=f"not positive definite.* {n}\\)"):
        potrf(np.asfortranarray(np.diag(matrix.diagonal())))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_without_the_lock(dtype):
    # Integers, whose sums are exact in either type.
    rows = np.random.RandomState(0).randint(-9, 10, size=(70, 30)).astype(dtype)
    out = np.full((30, 30), 5, dtype, order="F")
    assert lower_syrk(rows.T, out) is out
    assert_array_equal(np.tril(out), np.tril(rows.T @ rows))
    assert (np.triu(out, 1) == np.triu(np.full((30, 30), 5), 1)).all()


def test_other_threads_run_during_a_decomposition():
    # Half a second and more on any processor: long enough to see another thread's turn.
    matrix = np.asfortranarray(np.random.RandomState(0).randn(900, 900))
    turns, stop = [], threading.Event()

    def count():
        while not stop.wait(0.001):
            turns.append(None)

    thread = threading.Thread(target=count)
    thread.start()
    before = len(turns)
    syevd(matrix)
    n_turns = len(turns) - before
    stop.set()
    thread.join()
    assert n_turns > 1
