# Threads that share the items of a task, see team.h.

cdef extern from "team.h" nogil:
    ctypedef void (*ckn_task)(void*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
    ctypedef void (*ckn_share_function)(
        ckn_task, void*, Py_ssize_t, Py_ssize_t, int
    ) noexcept nogil
    void ckn_share(ckn_task, void*, Py_ssize_t, Py_ssize_t, int)
    int ckn_begin_team()
