"""Ctrl-C in the middle of long work."""

import _thread
import signal
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_ckn import CKNFeatures
from sklearn_ckn._engine import CPUEngine

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
