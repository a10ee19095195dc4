"""Fits on a cluster whose workers are killed, and fits that are interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from plain_map import PLAIN
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sklearn_ckn import CKNClassifier, CKNFeatures

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
joblib = pytest.importorskip("joblib")

DIGITS = load_digits()
IMAGES, LABELS = DIGITS.images[:400], DIGITS.target[:400]
CHUNK = 50

#: What clusters and closed processes may warn of at any time.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def mapped(function, images=IMAGES, **options):
    """Return chunks that a function passes through; nothing is tried here."""
    return chunked(images).map_blocks(function, meta=images[:0], **options)


def make(kind=CKNClassifier, **parameters):
    return kind((6, 8), n_patches=2000, random_state=0, **PLAIN | parameters)


def chunked(array):
    return da.from_array(array, chunks=(CHUNK, *(-1,) * (array.ndim - 1)))


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


def killed_at(block, folder, moment):
    """Kill the worker that reads a block for the first time at a moment."""
    marker = Path(folder) / f"killed-{moment}"
    read = Path(folder) / f"read-{os.getpid()}-{time.time_ns()}"
    if block[0, 0, 0] == -1 and block[0, 0, 1] == -1:
        read.touch()
        n_read = len(list(Path(folder).glob("read-*")))
        if n_read > moment and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return block


def marked_images():
    """Images of which one block can be recognised, by its first two pixels."""
    images = IMAGES.copy()
    images[3 * CHUNK, 0, :2] = -1
    return images


# The images are checked, compared, sampled for each layer, encoded and left out.
@pytest.mark.parametrize("moment", [0, 1, 2, 4])
def test_a_worker_is_killed_in_a_fit(moment, client, tmp_path):
    images = marked_images()
    expected = make().fit(chunked(images), LABELS)
    X = mapped(killed_at, images, folder=str(tmp_path), moment=moment)
    model = make().fit(X, LABELS)
    assert (tmp_path / f"killed-{moment}").exists()
    assert_array_equal(model.coef_, expected.coef_)
    assert model.temperature_ == expected.temperature_


def test_a_worker_is_killed_in_transform(client, tmp_path):
    images = marked_images()
    model = make(CKNFeatures).fit(images)
    X = mapped(killed_at, images, folder=str(tmp_path), moment=0)
    assert_array_equal(model.transform(X).compute(), model.transform(images))
    assert (tmp_path / "killed-0").exists()


def test_any_number_of_workers_gives_the_same_bits(client):
    expected = make().fit(chunked(IMAGES), LABELS)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as other,
        distributed.Client(other),
    ):
        model = make().fit(chunked(IMAGES), LABELS)
    assert_array_equal(model.coef_, expected.coef_)
    with dask.config.set(scheduler="threads"):
        model = make().fit(chunked(IMAGES), LABELS)
    assert_array_equal(model.coef_, expected.coef_)


def test_processes():
    with dask.config.set(scheduler="processes", num_workers=2):
        features = make(CKNFeatures).fit(chunked(IMAGES))
        result = features.transform(chunked(IMAGES)).compute()
    assert_array_equal(result, make(CKNFeatures).fit_transform(IMAGES))


def test_searches_on_a_cluster(client):
    search = GridSearchCV(make(), {"beta": [1.0, 2.8]}, cv=2)
    expected = clone(search).fit(IMAGES, LABELS)
    # The fits to a Dask array wait in tasks for other tasks.
    for X in (IMAGES, chunked(IMAGES)):
        with joblib.parallel_config(backend="dask"):
            search.fit(X, LABELS)
        assert search.best_params_ == expected.best_params_
        # Float64 features: sums of other blocks hardly change a prediction.
        assert search.best_score_ == pytest.approx(expected.best_score_, abs=0.01)


def hungry(block):
    """Take more memory than a worker has."""
    taken = [np.ones(2**24) for _ in range(16)]
    time.sleep(20)
    return block + 0 * len(taken)


def test_workers_without_memory():
    X = mapped(hungry)
    model = make().fit(IMAGES, LABELS)
    before = model.coef_
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            memory_limit="600MB",
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster),
        pytest.raises(RuntimeError, match="smaller chunks, or use workers with more"),
    ):
        model.fit(X, LABELS)
    assert_array_equal(model.coef_, before)


# Lines are written by one call each: several threads write.
INTERRUPTED = """
import os, signal, time
from test_dask_faults import IMAGES, LABELS, make, mapped

# A job in the background of a shell is started with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def slow(block):
    os.write(1, b"reading\\n")
    time.sleep(60)
    return block

model = make().fit(IMAGES, LABELS)
before = dict(vars(model))
try:
    model.fit(mapped(slow), LABELS)
except KeyboardInterrupt:
    kept = vars(model).keys() == before.keys() and all(
        value is before[name] for name, value in vars(model).items()
    )
    os.write(1, b"kept\\n" if kept else b"changed\\n")
    # Threads of Dask still sleep.
    os._exit(0)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_client_is_interrupted():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        alarm = threading.Timer(60, process.kill)
        alarm.start()
        while "reading" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        alarm.cancel()
    assert "kept" in rest.split()
