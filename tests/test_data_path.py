"""The way of the data through a fit: each step is taken once, and no copy is made."""

import gc
import pickle
import tracemalloc
from itertools import product
from threading import Thread

import joblib
import numpy as np
import pytest
from counting import count_calls
from numpy.testing import assert_array_equal
from plain_map import PLAIN
from sklearn import config_context

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._engine import prepared
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._input import images as _images

# Without the choice of a map, which has a network for each candidate.
NETWORK = {"n_anchors": (3, 4), "n_patches": 200, "random_state": 0, **PLAIN}
ESTIMATORS = [
    CKNFeatures(**NETWORK),
    CKNClassifier(**NETWORK),
    CKNRegressor(**NETWORK),
    SupervisedCKNClassifier(**NETWORK, n_epochs=2),
]
IMAGES = np.random.RandomState(0).rand(150, 8, 7, 2)
LABELS = np.arange(150) % 2

over_estimators = pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda each: type(each).__name__
)


def result(estimator, X):
    if hasattr(estimator, "transform"):
        return estimator.transform(X)
    return estimator.predict(X)


@over_estimators
def test_a_fit_validates_and_hashes_once_with_one_engine(
    estimator, monkeypatch, tmp_path
):
    validations = count_calls(monkeypatch, _images, "validate_rows")
    searches = count_calls(monkeypatch, _images, "first_copies")
    engines = count_calls(monkeypatch, CPUEngine, "__init__")
    hashes = count_calls(
        monkeypatch, joblib, "hash", lambda value, *_: isinstance(value, np.ndarray)
    )
    estimator = type(estimator)(**{**estimator.get_params(), "memory": tmp_path})
    estimator.fit(IMAGES, LABELS)
    assert len(validations) == len(engines) == len(hashes) == 1
    assert len(searches) == (not isinstance(estimator, CKNFeatures))
    result(estimator, IMAGES)
    assert len(validations) == len(engines) == 2
    assert len(hashes) == 1


@over_estimators
def test_every_network_is_prepared_once(estimator, monkeypatch):
    prepare = count_calls(monkeypatch, CPUEngine, "prepare")
    estimator.fit(IMAGES, LABELS)
    networks = [network for _, network, _ in prepare]
    assert len({id(network) for network in networks}) == len(networks)
    features = getattr(estimator, "features_", estimator)
    result(estimator, IMAGES)
    known = len(prepare)
    assert [network for _, network, _ in prepare].count(features._network) == 1
    for n_images in (1, 150, 3):
        result(estimator, IMAGES[:n_images])
    assert len(prepare) == known
    # Of another dtype, for which the layers are prepared once more.
    for _ in range(2):
        result(estimator, IMAGES.astype(np.float32))
    assert len(prepare) == known + 1


@over_estimators
def test_nothing_that_was_prepared_is_on_the_estimator(estimator):
    estimator.fit(IMAGES, LABELS)
    gc.collect()
    size = len(pickle.dumps(estimator))
    expected = result(estimator, IMAGES)
    assert len(pickle.dumps(estimator)) == size
    copied = pickle.loads(pickle.dumps(estimator))
    assert_array_equal(result(copied, IMAGES), expected)
    before = len(prepared._PREPARED)
    del copied
    gc.collect()
    assert len(prepared._PREPARED) == before - 1


def test_threads_share_what_was_prepared():
    features = CKNFeatures(**NETWORK).fit(IMAGES)
    expected = features.transform(IMAGES)
    fresh = pickle.loads(pickle.dumps(features))
    found = {}

    def work(i):
        found[i] = [fresh.transform(IMAGES[i:]) for _ in range(5)]

    threads = [Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, results in found.items():
        for each in results:
            assert_array_equal(each, expected[i:])


def largest_memory(function):
    """Return the most memory that a call takes beyond what there was, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("estimator", "dtype"),
    # A batch in training takes as much memory as these images in uint8.
    [*product(ESTIMATORS[:3], ["u1", "f8"]), (ESTIMATORS[3], "f8")],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_images_of_any_strides_are_not_copied(estimator, dtype, monkeypatch):
    rng = np.random.RandomState(0)
    stored = rng.randint(256, size=(600, 3, 60, 60)).astype(dtype)
    X = stored.transpose(0, 2, 3, 1)
    labels = np.arange(len(X)) % 2
    # One position a map, so that features are small beside images.
    parameters = {**estimator.get_params(), "subsampling": (8, 8), "n_patches": 50}
    if isinstance(estimator, SupervisedCKNClassifier):
        # A training keeps a batch of images, as much as its tape.
        parameters |= {"n_epochs": 1, "batch_size": 16}
        monkeypatch.setattr(CPUEngine, "tape_bytes", 2**20)
    estimator = type(estimator)(**parameters)
    # Blocks of images, in the dtype of the computation, are a megabyte.
    with config_context(working_memory=1):
        assert largest_memory(lambda: estimator.fit(X, labels)) < 0.9 * X.nbytes
        assert largest_memory(lambda: result(estimator, X)) < 0.9 * X.nbytes
        expected = result(estimator, X[:20])
        assert_array_equal(result(estimator, X[:20].copy()), expected)


def test_hashing_copies_images_of_any_strides_once(tmp_path):
    stored = np.random.RandomState(0).rand(1500, 3, 24, 24)
    X = stored.transpose(0, 2, 3, 1)
    features = CKNFeatures(
        4, subsampling=8, n_patches=50, random_state=0, memory=tmp_path
    )
    with config_context(working_memory=1):
        assert largest_memory(lambda: features.fit(X)) < 1.5 * X.nbytes
    # The same images in another order of memory are found.
    before = list(tmp_path.rglob("output.pkl"))
    again = CKNFeatures(**{**features.get_params()}).fit(X.copy())
    assert list(tmp_path.rglob("output.pkl")) == before
    assert_array_equal(again.anchors_[0], features.anchors_[0])
