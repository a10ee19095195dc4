"""Sums over a binary tree of positions do not depend on where they are cut."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_ckn._common.tree_sum import TreeSum


def summed(terms, start=0):
    total = TreeSum()
    for position, term in enumerate(terms, start):
        total.add(position, term)
    return total


@given(
    st.integers(1, 70),
    st.lists(st.integers(0, 70), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_same_bits_wherever_the_terms_are_cut(n, cuts, random):
    # Terms of very different sizes, whose sums are rounded.
    terms = np.exp(10 * np.random.RandomState(n).randn(n, 2))
    ends = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [summed(terms[start:stop], start) for start, stop in pairwise(ends)]
    random.shuffle(parts)
    merged = TreeSum()
    for part in parts:
        merged.merge(part)
    whole = summed(terms)
    assert_array_equal(merged.total, whole.total)
    # Each addition is rounded by half a unit; there are at most eight levels and sums.
    np.testing.assert_allclose(whole.total, terms.sum(axis=0), rtol=16 * 2.0**-52)


def test_a_few_sums_are_kept():
    total = summed(np.ones(1000))
    assert sorted(level for level, _ in total.nodes) == [3, 5, 6, 7, 8, 9]
    assert total.total == 1000


def test_no_term():
    assert TreeSum().total == 0
