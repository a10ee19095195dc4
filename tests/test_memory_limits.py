"""How much is computed at once, and what is done when memory runs out."""

import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_ckn import (
    CKNFeatures,
    PatchWhitening,
    SphericalKMeans,
    SupervisedCKNClassifier,
    _spherical_kmeans,
    ckn_kernel,
)
from sklearn_ckn._common.memory_limits import Budget, is_out_of_memory
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._displays import patches
from sklearn_ckn._engine import contract
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._input.images import Images
from sklearn_ckn._network import pair_kernel, patch_arrays
from sklearn_ckn._network import whitening as whitening_module
from sklearn_ckn._training.head import Head
from sklearn_ckn._training.objective import Objective

IMAGES = np.random.RandomState(0).randn(23, 7, 6, 2)
NETWORK = {"n_anchors": (4, 6), "n_patches": 200, "random_state": 0}


class Attempts:
    """Computes slices, and fails on those of more rows than fit."""

    def __init__(self, fits, error=MemoryError):
        self.fits = fits
        self.error = error
        self.sizes = []
        self.n_released = 0

    def one(self, rows):
        self.sizes.append(rows.stop - rows.start)
        if self.sizes[-1] > self.fits:
            raise self.error("cudaErrorMemoryAllocation: out of memory")
        return np.arange(rows.start, rows.stop)

    def many(self, slices):
        return map(self.one, slices)

    def release_memory(self):
        self.n_released += 1


def test_rows_that_fit():
    assert Budget(100).n_rows(7) == 14
    assert Budget(3).n_rows(7) == 1
    # Rows that take nothing, and a budget that is no integer.
    assert Budget(2.0**70).n_rows(0) == 2**70


@pytest.mark.parametrize("at_most", [None, 1, 4, 100])
@pytest.mark.parametrize("n_rows", [0, 1, 11])
def test_parts_are_all_rows_in_order(n_rows, at_most):
    attempts = Attempts(100)
    parts = list(
        Budget(70).in_parts(n_rows, 10, attempts.many, attempts, at_most=at_most)
    )
    assert all(size <= min(7, at_most or 7) for size in attempts.sizes)
    for rows, result in parts:
        assert_array_equal(result, np.arange(rows.start, rows.stop))
    found = np.concatenate([result for _, result in parts] or [np.arange(0)])
    assert_array_equal(found, np.arange(n_rows))
    assert attempts.n_released == 0


@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_half_as_many_whenever_memory_runs_out(error):
    attempts, budget = Attempts(3, error), Budget(1000)
    found = [result for _, result in budget.in_parts(11, 10, attempts.many, attempts)]
    assert_array_equal(np.concatenate(found), np.arange(11))
    assert attempts.sizes == [11, 6, 3, 3, 3, 2]
    assert attempts.n_released == 2
    # What did not fit once is not tried again.
    list(budget.in_parts(11, 10, attempts.many, attempts))
    assert attempts.sizes[6:] == [3, 3, 3, 2]


def test_results_that_were_given_are_not_computed_again():
    attempts = Attempts(100)
    parts = Budget(30).in_parts(9, 10, attempts.many, attempts)
    for rows, _ in parts:
        if rows.stop == 3:
            attempts.fits = 2
    assert attempts.sizes == [3, 3, 2, 2, 2]


def test_one_row_that_does_not_fit():
    attempts = Attempts(0, RuntimeError)
    with pytest.raises(MemoryError, match="out of memory"):
        list(Budget(30).in_parts(9, 10, attempts.many, attempts))
    assert attempts.sizes == [3, 2, 1]


def test_other_errors_pass():
    def fail(slices):
        raise RuntimeError("cudaErrorIllegalAddress")

    with pytest.raises(RuntimeError, match="IllegalAddress"):
        list(Budget(30).in_parts(9, 10, fail, Attempts(0)))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("Unable to allocate 1 TiB"), True),
        (RuntimeError("cudaErrorMemoryAllocation: out of memory"), True),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUSOLVER_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"), False),
        (ValueError("cudaErrorMemoryAllocation: out of memory"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error, expected):
    assert is_out_of_memory(error) == expected


class Array:
    """Something that weak references can point to."""


def test_memory_is_gone_before_the_next_try():
    # While an exception is handled its traceback holds the arrays of the failed try.
    attempts = Attempts(100)
    references, alive = [], []

    def compute(slices):
        for rows in slices:
            array = Array()
            references.append(weakref.ref(array))
            if rows.stop - rows.start > 1:
                raise MemoryError
            yield array

    attempts.release_memory = lambda: alive.extend(each() for each in references)
    assert len(list(Budget(2).in_parts(2, 1, compute, attempts))) == 2
    assert alive == [None]


def fails_above(method, n_rows, sizes):
    """Return a method whose first argument may have so many rows."""

    def limited(self, rows, *args, **kwargs):
        sizes.append(len(rows))
        if len(rows) > n_rows:
            raise MemoryError("Unable to allocate")
        return method(self, rows, *args, **kwargs)

    return limited


@pytest.mark.parametrize("flip_average", [False, True])
def test_the_cpu_encodes_fewer_images_at_once(flip_average, monkeypatch):
    features = CKNFeatures(**NETWORK, flip_average=flip_average)
    expected = features.fit_transform(IMAGES)
    anchors = features.anchors_
    sizes = []
    monkeypatch.setattr(CPUEngine, "encode", fails_above(CPUEngine.encode, 5, sizes))
    # The residual of a layer is measured on images that are made for it, eight at most.
    monkeypatch.setattr("sklearn_ckn._learning.patches.IMAGES_PER_CALL", 4)
    assert_array_equal(features.fit_transform(IMAGES), expected)
    for left, right in zip(features.anchors_, anchors, strict=True):
        assert_array_equal(left, right)
    assert {23, 12, 6, 3} <= set(sizes)


def test_the_cpu_trains_on_fewer_images_at_once(monkeypatch):
    labels = np.arange(len(IMAGES)) % 2
    model = SupervisedCKNClassifier(
        **NETWORK, n_epochs=2, alpha=1e-2, early_stopping=False
    )
    expected = model.fit(IMAGES, labels).history_["objective"]
    sizes = []
    monkeypatch.setattr(
        CPUEngine,
        "encode_with_tape",
        fails_above(CPUEngine.encode_with_tape, 5, sizes),
    )
    # Parts only change the order in which gradients are added.
    assert_allclose(model.fit(IMAGES, labels).history_["objective"], expected, 1e-9)
    assert sizes[:4] == [23, 12, 6, 3]
    assert max(sizes[3:]) == 3


def test_blocks_follow_the_working_memory_of_scikit_learn(monkeypatch):
    sizes = []
    monkeypatch.setattr(CPUEngine, "encode", fails_above(CPUEngine.encode, 100, sizes))
    features = CKNFeatures(**NETWORK).fit(IMAGES)
    expected = features.transform(IMAGES)
    # In float64: the images twice, and the maps before and after a layer.
    image_bytes = 8 * (84 + max(84 + 4 * 3 * 4, 4 * 3 * 4 + 2 * 1 * 6))
    sizes.clear()
    with config_context(working_memory=5 * image_bytes / 2**20):
        assert_array_equal(features.transform(IMAGES), expected)
    assert max(sizes) == 5


@pytest.mark.parametrize("n_threads", [1, 2, 16, 64])
@pytest.mark.parametrize("image_bytes", [2**10, 2**19, 2**22, 2**24, 2**28])
def test_threads_do_not_make_blocks_of_large_images_larger(
    n_threads, image_bytes, monkeypatch
):
    monkeypatch.setattr(contract, "n_threads", lambda: n_threads)
    n_images = CPUEngine().enough_images(image_bytes)
    # An image for each thread, and no more than 128 MiB, or 8 MiB a thread, of others.
    assert n_images >= n_threads
    assert n_images <= max(n_threads, max(2**27, n_threads * 2**23) // image_bytes)
    # Threads have 16 small images each.
    if image_bytes <= 2**19:
        assert n_images >= 16 * n_threads


def limited(function, largest, sizes):
    """Return a function of arrays that fails if the first has too many rows."""

    def compute(array, *args):
        sizes.append(len(array))
        if len(array) > largest:
            raise MemoryError
        return function(array, *args)

    return compute


def test_whitening_is_computed_in_smaller_parts(monkeypatch):
    whitening = PatchWhitening().fit(IMAGES)
    expected = whitening.transform(IMAGES)
    sizes = []
    gather = limited(patch_arrays.gather_patches, 3, sizes)
    for module in (patch_arrays, whitening_module):
        monkeypatch.setattr(module, "gather_patches", gather)
    # Sums over images, in their order whatever the parts.
    again = PatchWhitening().fit(IMAGES)
    assert_array_equal(again.whitening_, whitening.whitening_)
    assert sizes[:4] == [23, 12, 6, 3]
    sizes.clear()
    assert_array_equal(again.transform(IMAGES), expected)
    assert sizes[:4] == [23, 12, 6, 3]


def test_nearest_centers_are_found_in_smaller_parts(monkeypatch):
    X = IMAGES.reshape(23, -1)
    model = SphericalKMeans(3, random_state=0).fit(X)
    expected = model.predict(X), model.transform(X), model.score(X)
    sizes = []
    monkeypatch.setattr(
        _spherical_kmeans, "unit_rows", limited(_spherical_kmeans.unit_rows, 4, sizes)
    )
    # Of BLAS, whose roundings depend on how many rows it takes: of sums of 84
    # products of numbers below 1.
    for actual, value in zip(
        (model.predict(X), model.transform(X), model.score(X)), expected, strict=True
    ):
        assert_allclose(actual, value, rtol=0, atol=84 * 23 * np.finfo(float).eps)
    assert sizes.count(23) == sizes.count(12) == sizes.count(6) == 3
    assert set(sizes) == {23, 12, 6, 3, 2}
    sizes.clear()
    monkeypatch.setattr(
        _spherical_kmeans, "unit_rows", limited(unit_rows, len(X), sizes)
    )
    # Rows as they come, scaled and of norm 1; three labels and similarities.
    with config_context(working_memory=8 * 8 * (3 * 84 + 2 * 3) / 2**20):
        assert_array_equal(model.predict(X), expected[0])
    assert sizes == [8, 8, 7]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_pairs_of_images_are_compared_in_smaller_parts(n_jobs, monkeypatch):
    expected = ckn_kernel(IMAGES)
    sizes = []
    compare = pair_kernel._map_products
    monkeypatch.setattr(pair_kernel, "_map_products", limited(compare, 5, sizes))
    assert_array_equal(ckn_kernel(IMAGES, n_jobs=n_jobs), expected)
    assert max(sizes) > 5


def test_closest_patches_are_found_in_smaller_parts(monkeypatch):
    network = CKNFeatures(**NETWORK).fit(IMAGES)._network
    images = Images(IMAGES, float(abs(IMAGES).max()))
    expected = patches.closest_positions(network, images)
    sizes = []
    monkeypatch.setattr(patches, "unfold", limited(patches.unfold, 4, sizes))
    actual = patches.closest_positions(network, images)
    assert sizes[:4] == [23, 12, 6, 3]
    for left, right in zip(actual, expected, strict=True):
        assert_array_equal(left, right)


def test_a_batch_in_parts_is_the_batch():
    # With both directions in parts, and in one part, to rounding.
    from sklearn_ckn._heads.refit import TRAINING_LOSSES
    from sklearn_ckn._training.network import TrainedNetwork

    network = TrainedNetwork.from_network(CKNFeatures(**NETWORK).fit(IMAGES)._network)
    rng = np.random.RandomState(0)
    n_features = CKNFeatures(**NETWORK).fit_transform(IMAGES).shape[1]
    head = Head(rng.randn(n_features + 1, 1), rng.randn(n_features), 1.0)
    targets = rng.choice([-1.0, 1.0], size=(len(IMAGES), 1))
    weights = np.full((len(IMAGES), 1), 1 / len(IMAGES))
    gradients = []
    for tape_bytes in (2**27, 1):
        engine = OracleEngine()
        engine.tape_bytes = tape_bytes
        objective = Objective(TRAINING_LOSSES["ridge"], engine)
        gradients.append(objective.gradients(network, head, IMAGES, targets, weights))
    whole, parts = gradients
    assert_allclose(parts.value, whole.value)
    assert_allclose(
        parts.response.decision_gradients, whole.response.decision_gradients, atol=1e-12
    )
    for left, right in zip(parts.anchors, whole.anchors, strict=True):
        assert_allclose(left, right, atol=1e-12 * np.abs(right).max())
