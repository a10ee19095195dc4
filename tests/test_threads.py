"""Threads: how many, BLAS held to one and let go again, calls at the same time."""

import multiprocessing
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_ckn import CKNFeatures
from sklearn_ckn._threads import SharedThreads, SingleThreadedBLAS, n_threads


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
        limit.__enter__()
        limit.__enter__()
        assert set(blas_threads()) == {1}
        limit.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        limit.__exit__(None, None, None)
        assert blas_threads() == before


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
        with shared as first, shared as second:
            assert first == all_threads
            assert second == max(1, all_threads // 2)
        with shared as third:
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
