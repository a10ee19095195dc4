"""Equal rows, and what is held out together."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_ckn._common import cache_blocks
from sklearn_ckn._heads.folds import (
    MAX_FOR_ALL_FOLDS,
    group_folds,
    held_out_folds,
    most_frequent_labels,
)
from sklearn_ckn._heads.samples import Samples
from sklearn_ckn._input import copies as _copies
from sklearn_ckn._input.copies import first_copies, merge_copies, row_digests


def slow_first_copies(rows):
    """Compare all pairs."""
    rows = rows.reshape(len(rows), -1)
    return np.array([np.flatnonzero((rows == row).all(axis=1))[0] for row in rows])


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
@pytest.mark.parametrize("shape", [(1,), (5,), (40,), (4, 3, 2)])
def test_first_copies_are_those_of_all_pairs(dtype, shape, monkeypatch):
    monkeypatch.setattr(cache_blocks, "CACHE_BLOCK_VALUES", 50)
    rng = np.random.RandomState(0)
    distinct = rng.randint(4, size=(30, *shape)).astype(dtype)
    # Rows that differ in a single value, wherever it is.
    distinct[::3] = distinct[0]
    flat = distinct.reshape(30, -1)
    flat[::3, rng.randint(flat.shape[1], size=10)] += 1
    rows = distinct[rng.randint(30, size=100)]
    assert_array_equal(first_copies(rows), slow_first_copies(rows))


def test_minus_zero_is_zero():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]])
    assert_array_equal(first_copies(rows), [0, 0, 2])
    digests = list(row_digests(rows, np.arange(3)))
    assert digests[0] == digests[1] != digests[2]


def test_rows_of_small_integers_are_told_apart_by_few_values():
    # Digests of all values are for rows that agree in a few: none of these do.
    rows = np.random.RandomState(0).randint(256, size=(2000, 100)).astype(np.uint8)
    assert len(_copies._alike(rows)) == 0


def test_merge():
    first = np.array([0, 1, 0, 3, 1, 0])
    kept, weights = merge_copies(first, np.array([0, 1, 2, 0, 4, 8.0]))
    # Row 0 has no weight: its next copy stands for it.
    assert_array_equal(kept, [2, 1])
    assert_array_equal(weights, [10, 5])


def test_samples():
    values = np.array([[1.0], [2], [1], [1], [2], [3]])
    labels = np.array([0, 1, 0, 1, 1, 0])
    samples = Samples.merge(values, labels, np.ones(6))
    assert_array_equal(samples.values, [[1], [2], [1], [3]])
    assert_array_equal(samples.answers, [0, 1, 1, 0])
    assert_array_equal(samples.weights, [2, 2, 1, 1])
    # The features are held out together, whatever the label.
    assert_array_equal(samples.units, [0, 1, 0, 2])
    # Equal rows of two groups, and of two parts of a split, are two samples.
    groups = np.array([0, 0, 1, 1, 0, 1])
    samples = Samples.merge(values, labels, np.ones(6), groups=groups)
    assert_array_equal(samples.weights, [1, 2, 1, 1, 1])
    assert_array_equal(samples.units, [0, 0, 1, 1, 1])
    splits = [(np.arange(3), np.arange(3, 6))]
    samples = Samples.merge(values, labels, np.ones(6), splits=splits)
    assert_array_equal(samples.weights, [2, 1, 1, 1, 1])
    assert_array_equal(samples.splits[0][0], [0, 1])
    assert_array_equal(samples.splits[0][1], [2, 3, 4])
    # No copy where nothing is merged.
    assert Samples.merge(values[:2], labels[:2], np.ones(2)).values.base is values
    targets = np.array([[1.0, 2], [1, 2], [1, 3], [1, 3], [1, 2], [0, 0]])
    samples = Samples.merge(values, targets, np.arange(6.0))
    assert_array_equal(samples.answers, targets[[1, 2, 5]])
    assert_array_equal(samples.weights * 5, [5, 5, 5])


def test_folds_of_single_samples_are_those_without_units():
    labels = np.random.RandomState(0).randint(4, size=101)
    for left, right in zip(
        held_out_folds(labels), held_out_folds(labels, np.arange(101)), strict=True
    ):
        assert_array_equal(left, right)


@pytest.mark.parametrize("n_units", [5, 12, 60])
def test_folds_of_units(n_units):
    rng = np.random.RandomState(n_units)
    units = np.r_[np.arange(n_units), rng.randint(n_units, size=200)]
    labels = rng.randint(3, size=len(units))
    folds = held_out_folds(labels, units)
    assert 2 <= len(folds) <= 5
    held_out = np.concatenate(folds)
    assert len(np.unique(held_out)) == len(held_out)
    for fold in folds:
        rest = np.delete(np.arange(len(units)), fold)
        assert not set(units[fold]) & set(units[rest])
        assert set(labels[rest]) == {0, 1, 2}


def test_a_class_of_one_unit_is_not_held_out():
    units = np.array([0, 0, 1, 1, 2, 2, 3])
    labels = np.array([0, 1, 0, 1, 0, 2, 1])
    # Unit 2 alone has class 2.
    held_out = np.concatenate(held_out_folds(labels, units))
    assert_array_equal(np.sort(held_out), [0, 1, 2, 3, 6])
    with pytest.raises(ValueError, match="no class of two samples, or groups"):
        held_out_folds(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))


def test_units_count_as_their_most_frequent_class():
    labels = np.array([0, 1, 1, 2, 0, 0])
    assert_array_equal(
        most_frequent_labels(labels, np.array([0, 0, 0, 1, 1, 1])), [1, 0]
    )


def test_many_units_take_one_fold():
    units = np.arange(2 * MAX_FOR_ALL_FOLDS) // 2
    labels = units % 2
    # Twice as many samples as units.
    assert len(held_out_folds(labels, units)) == 5
    units = np.arange(2 * MAX_FOR_ALL_FOLDS)
    assert len(held_out_folds(units % 2, units)) == 1
    assert len(group_folds(units)) == 1


def test_group_folds():
    units = np.array([0, 0, 0, 1, 2, 2, 1])
    folds = group_folds(units)
    assert len(folds) == 3
    assert_array_equal(np.sort(np.concatenate(folds)), np.arange(7))
    with pytest.raises(ValueError, match="one group"):
        group_folds(np.zeros(5, dtype=int))
