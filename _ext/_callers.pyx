# cython: language_level=3
"""Contexts that several callers may be inside at a time, counted without a miss.

Python runs signal handlers between two bytecodes, switches threads there, and forks
while it holds its own lock. The methods here run none of Python's code between reading
the state and changing it: they happen at once, and need no lock that an interrupt could
leave taken or a fork could copy. And a context ends with the object that stands for
it: an interrupt at the edge of a ``with`` statement, where ``__exit__`` is not called any
more, or not yet, drops that object from the stack.
"""

cimport cython
from cpython.pythread cimport PyThread_get_thread_ident

ctypedef unsigned long thread_id
ctypedef int (*limit_getter)() noexcept
ctypedef void (*limit_setter)(int) noexcept

cdef struct caller:
    thread_id thread
    bint is_inside
    caller* previous
    caller* next


cdef thread_id this_thread() noexcept:
    return <thread_id> PyThread_get_thread_ident()


@cython.no_gc
cdef class Callers:
    """Those who are inside a context now.

    Attributes
    ----------
    n_callers : int
    """

    cdef caller* first
    cdef readonly Py_ssize_t n_callers

    # What a context is there for, and the way back: for the process as a whole, and for
    # each thread. Nothing may have changed where the first two raise.
    cdef int begin(self) except -1:
        return 0

    cdef int begin_in_thread(self) except -1:
        return 0

    cdef void end(self) noexcept:
        pass

    cdef void end_in_thread(self, thread_id thread) noexcept:
        pass

    cdef bint has_caller_in(self, thread_id thread) noexcept:
        cdef caller* one = self.first
        while one != NULL and one.thread != thread:
            one = one.next
        return one != NULL

    cdef int come(self, caller* one) except -1:
        one.thread = this_thread()
        if not self.has_caller_in(one.thread):
            self.begin_in_thread()
        if self.first == NULL:
            try:
                self.begin()
            except:
                self.end_in_thread(one.thread)
                raise
        one.previous = NULL
        one.next = self.first
        if self.first != NULL:
            self.first.previous = one
        self.first = one
        self.n_callers += 1
        one.is_inside = True
        return 0

    cdef void leave(self, caller* one) noexcept:
        if not one.is_inside:
            return
        one.is_inside = False
        if one.previous == NULL:
            self.first = one.next
        else:
            one.previous.next = one.next
        if one.next != NULL:
            one.next.previous = one.previous
        self.n_callers -= 1
        if not self.has_caller_in(one.thread):
            self.end_in_thread(one.thread)
        if self.first == NULL:
            self.end()

    def forget_other_threads(self):
        """Let the callers of all other threads leave: a forked process has none."""
        cdef caller* one = self.first
        cdef caller* following
        while one != NULL:
            following = one.next
            if one.thread != this_thread():
                self.leave(one)
            one = following


@cython.no_gc
cdef class Library:
    """A library that has a limit to its threads.

    Parameters
    ----------
    getter, setter : int
        Addresses of its C functions ``int get(void)`` and ``void set(int)``.
    """

    cdef limit_getter getter
    cdef limit_setter setter

    def __cinit__(self, size_t getter, size_t setter):
        self.getter = <limit_getter> getter
        self.setter = <limit_setter> setter


cdef list get_limits(tuple libraries):
    cdef Library library
    return [library.getter() for library in libraries]


cdef void set_limits(tuple libraries, list limits) noexcept:
    cdef Library library
    cdef Py_ssize_t i
    for i in range(len(libraries)):
        library = <Library> libraries[i]
        if library.getter() != <int> limits[i]:
            library.setter(limits[i])


cdef void set_limits_to_one(tuple libraries) noexcept:
    cdef Library library
    for library in libraries:
        if library.getter() > 1:
            library.setter(1)


@cython.no_gc
cdef class SingleThreadCallers(Callers):
    """Callers that libraries serve with a single thread.

    Attributes
    ----------
    knows_libraries : bool
    limits : list of int or None
        What libraries with one limit for all threads had before; None while nobody is
        inside.
    """

    cdef tuple shared_libraries
    cdef tuple thread_libraries
    cdef readonly bint knows_libraries
    cdef readonly list limits
    cdef dict limits_of_threads

    def __cinit__(self):
        self.shared_libraries = self.thread_libraries = ()
        self.limits_of_threads = {}

    def set_libraries(self, tuple shared_libraries, tuple thread_libraries):
        """Say which libraries there are; what the first call says holds.

        Parameters
        ----------
        shared_libraries : tuple of Library
            Those with one limit for all threads.
        thread_libraries : tuple of Library
            Those that have a limit for each thread.
        """
        if not self.knows_libraries:
            self.shared_libraries = shared_libraries
            self.thread_libraries = thread_libraries
            self.knows_libraries = True

    cdef int begin(self) except -1:
        self.limits = get_limits(self.shared_libraries)
        set_limits_to_one(self.shared_libraries)
        return 0

    cdef int begin_in_thread(self) except -1:
        self.limits_of_threads[this_thread()] = get_limits(self.thread_libraries)
        set_limits_to_one(self.thread_libraries)
        return 0

    cdef void end(self) noexcept:
        set_limits(self.shared_libraries, self.limits)
        self.limits = None

    cdef void end_in_thread(self, thread_id thread) noexcept:
        limits = self.limits_of_threads.pop(thread)
        if thread == this_thread():
            set_limits(self.thread_libraries, limits)

    def get_thread_limits(self):
        """Return the limits that are the calling thread's own, a list of int."""
        return get_limits(self.thread_libraries)

    def set_thread_limits(self, list limits):
        """Give the calling thread the limits of another."""
        set_limits(self.thread_libraries, limits)


@cython.no_gc
cdef class Context:
    """What one caller is inside of, while it is inside.

    Parameters
    ----------
    callers : Callers
        Whom the caller joins.
    n_threads : int, default=1
        What the callers divide among them.
    """

    cdef Callers callers
    cdef caller place
    cdef int n_threads

    def __cinit__(self, Callers callers not None, int n_threads=1):
        self.callers = callers
        self.n_threads = n_threads

    def __enter__(self):
        """Return the caller's share of the threads, at least 1."""
        if self.place.is_inside:
            raise RuntimeError("the context has been entered already")
        self.callers.come(&self.place)
        return max(1, self.n_threads // self.callers.n_callers)

    def __exit__(self, kind, error, traceback):
        self.callers.leave(&self.place)

    def __dealloc__(self):
        if self.callers is not None:
            self.callers.leave(&self.place)
