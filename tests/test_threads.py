"""Threads: how many, BLAS held to one and let go again, calls at the same time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_ckn import CKNFeatures
from sklearn_ckn._threads import SingleThreadedBLAS, n_threads


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
