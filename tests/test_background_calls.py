"""Calls of LAPACK in several threads."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_ckn._common import background_calls as _background_calls
from sklearn_ckn._common.arrays import eigh_each
from sklearn_ckn._common.background_calls import BackgroundCall, each_in_threads


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr("sklearn_ckn._common.threads.n_threads", lambda: 2)


def kernel_matrices(*sizes):
    factors = [np.random.RandomState(0).randn(size, size + 3) for size in sizes]
    return [factor @ factor.T / factor.shape[1] for factor in factors]


def test_results_are_in_the_order_of_the_items(two_threads):
    names = []

    def square(number):
        names.append(threading.current_thread().name)
        return number**2

    assert each_in_threads(square, list(range(5))) == [0, 1, 4, 9, 16]
    assert names.count("sklearn_ckn call") == 2
    assert not _background_calls._calls


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_in_a_thread_is_raised(two_threads, place):
    def divide(number):
        return 1 / number

    items = [1.0, 1.0]
    items[place] = 0
    with pytest.raises(ZeroDivisionError):
        each_in_threads(divide, items)
    assert not _background_calls._calls


def test_without_more_threads_the_caller_computes_all(two_threads, monkeypatch):
    def fail(call):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(BackgroundCall, "start", fail)
    assert each_in_threads(abs, [-1, -2, -3]) == [1, 2, 3]


# The second sizes are too small for several threads.
@pytest.mark.parametrize("sizes", [(130, 130, 40), (8, 5), (3,)])
def test_decompositions_of_several_matrices(two_threads, sizes):
    matrices = kernel_matrices(*sizes)
    for matrix, (values, vectors) in zip(matrices, eigh_each(matrices), strict=True):
        # LAPACK is backward stable: the error is some eps times the norm and the size.
        tolerance = 10 * len(matrix) * np.finfo(np.float64).eps * np.abs(values).max()
        assert_allclose((vectors * values) @ vectors.T, matrix, rtol=0, atol=tolerance)
        assert (np.diff(values) >= 0).all()


def test_a_matrix_that_is_not_finite(two_threads):
    (matrix,) = kernel_matrices(4)
    matrix[1, 0] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="NaN or infinity"):
        eigh_each([matrix])
