"""Sums whose bits do not depend on how the sequence of the terms is cut into parts."""


class TreeSum:
    """A sum over a binary tree of the positions of the terms.

    Positions 2 k and 2 k + 1 are added first, then the sums of neighbouring pairs, and
    so on. A part of the sequence knows some of the sums of this tree, and two parts
    together know more, with the same bits as if there had been one part.

    Attributes
    ----------
    nodes : dict of tuple of int to array
        By (level, index): the sum over the positions from index 2^level to
        (index + 1) 2^level - 1. Sums that are part of a larger one are not kept.
    """

    def __init__(self):
        self.nodes = {}

    def add(self, position, term):
        """Add the term at a position; positions may come in any order."""
        self._insert(0, position, term)

    def merge(self, other):
        """Add the terms of another TreeSum, of other positions."""
        for (level, index), total in other.nodes.items():
            self._insert(level, index, total)

    def _insert(self, level, index, total):
        while (other := self.nodes.pop((level, index ^ 1), None)) is not None:
            # Floating-point addition is commutative.
            total = total + other
            level, index = level + 1, index // 2
        self.nodes[level, index] = total

    @property
    def total(self):
        """The sum of all terms; 0 if there are none."""
        ordered = sorted(self.nodes.items(), key=lambda item: -item[0][0])
        total = 0
        for _, term in ordered:
            total = total + term
        return total
