# The function that divides work among threads, for the modules that include this file.

from cpython.pycapsule cimport PyCapsule_Import
from team cimport ckn_share_function

cdef ckn_share_function share = <ckn_share_function> PyCapsule_Import(
    "sklearn_ckn._ext._team.share", 0
)
