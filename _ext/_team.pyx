# cython: language_level=3
"""Threads that all compiled modules share."""

from cpython.pycapsule cimport PyCapsule_New
from team cimport ckn_begin_team, ckn_share


def begin():
    """Begin without threads: they start when they are needed.

    In a forked process, to which no other thread of the process before belongs, this
    forgets them.

    Raises
    ------
    MemoryError
    """
    if ckn_begin_team() != 0:
        raise MemoryError("no memory for a lock")


begin()

# A capsule, since modules that are compiled apart share nothing but Python's objects.
share = PyCapsule_New(<void*> ckn_share, "sklearn_ckn._ext._team.share", NULL)
