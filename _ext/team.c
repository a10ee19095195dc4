/* Threads that share the items of a task, by Python's portable threads and locks, which
 * work without the interpreter.
 *
 * Threads take a few items at a time, so that one that is slow does less, and one that
 * has not begun when all items are taken is not waited for: this matters where other
 * processes use some of the processors. Threads that wait sleep. Those of GCC's OpenMP
 * would keep a processor busy for some milliseconds first, which the system could give
 * to a thread of the same task that waits for one. */

#include <Python.h>
#include <pythread.h>

#include "team.h"

typedef struct {
    ckn_task task;
    void *argument;
    ptrdiff_t n_items, most, next; /* next: the first item that no thread has taken */
    int n_threads;
    int n_helping;            /* helpers that have begun and not ended */
    int n_users;              /* the caller, and helpers that were called */
    PyThread_type_lock ended; /* released by the last helper if the caller waits */
} shared_task;

/* A thread that helps one caller after another. */
typedef struct helper {
    PyThread_type_lock called; /* released to wake it up */
    shared_task *shared;
    int thread;          /* its number among those of the task */
    struct helper *next; /* in the list of idle helpers */
} helper;

/* Guards all of these. It is held for some instructions only. */
static PyThread_type_lock guard;
static helper *idle;

static void lock(void) { PyThread_acquire_lock(guard, WAIT_LOCK); }
static void unlock(void) { PyThread_release_lock(guard); }

/* Work on items until all are taken. */
static void work(shared_task *shared, int thread) {
    for (;;) {
        lock();
        const ptrdiff_t first = shared->next;
        ptrdiff_t n = (shared->n_items - first) / (2 * shared->n_threads);
        n = n < 1 ? 1 : n > shared->most ? shared->most : n;
        shared->next += n;
        unlock();
        if (first >= shared->n_items)
            return;
        shared->task(shared->argument, first, first + n, thread);
    }
}

/* With the lock. */
static void leave(shared_task *shared) {
    if (--shared->n_users == 0)
        PyMem_RawFree(shared);
}

static void help(void *argument) {
    helper *self = argument;
    for (;;) {
        PyThread_acquire_lock(self->called, WAIT_LOCK);
        lock();
        shared_task *shared = self->shared;
        shared->n_helping++;
        unlock();
        work(shared, self->thread);
        lock();
        if (--shared->n_helping == 0 && shared->ended)
            PyThread_release_lock(shared->ended);
        leave(shared);
        self->next = idle;
        idle = self;
        unlock();
    }
}

/* Return an idle helper or a new one, or NULL where the system has no more threads or
 * memory. With the lock. */
static helper *take_helper(void) {
    helper *one = idle;
    if (one) {
        idle = one->next;
        return one;
    }
    one = PyMem_RawMalloc(sizeof *one);
    if (!one)
        return NULL;
    one->called = PyThread_allocate_lock();
    if (one->called) {
        PyThread_acquire_lock(one->called, WAIT_LOCK);
        if (PyThread_start_new_thread(help, one) != PYTHREAD_INVALID_THREAD_ID)
            return one;
        PyThread_free_lock(one->called);
    }
    PyMem_RawFree(one);
    return NULL;
}

/* Wait until no helper works on the task any more. All items are taken: a helper that
 * begins later finds nothing to do. */
static void wait_for_helpers(shared_task *shared) {
    lock();
    if (shared->n_helping > 0 && (shared->ended = PyThread_allocate_lock())) {
        PyThread_acquire_lock(shared->ended, WAIT_LOCK);
        unlock();
        PyThread_acquire_lock(shared->ended, WAIT_LOCK);
        lock();
        PyThread_release_lock(shared->ended);
        PyThread_free_lock(shared->ended);
        shared->ended = NULL;
    }
    while (shared->n_helping > 0) {
        /* There is no memory for a lock. */
        unlock();
        lock();
    }
    leave(shared);
    unlock();
}

void ckn_share(ckn_task task, void *argument, ptrdiff_t n_items, ptrdiff_t most,
               int n_threads) {
    shared_task *shared = NULL;
    if (n_threads > n_items)
        n_threads = (int)n_items;
    if (n_threads > 1)
        shared = PyMem_RawMalloc(sizeof *shared);
    if (!shared) {
        for (ptrdiff_t first = 0; first < n_items; first += most)
            task(argument, first, n_items - first < most ? n_items : first + most, 0);
        return;
    }
    *shared = (shared_task){task, argument, n_items, most, 0, n_threads, 0, 1, NULL};
    lock();
    for (int thread = 1; thread < n_threads; thread++) {
        helper *one = take_helper();
        if (!one)
            break;
        one->shared = shared;
        one->thread = thread;
        shared->n_users++;
        PyThread_release_lock(one->called);
    }
    unlock();
    work(shared, 0);
    wait_for_helpers(shared);
}

int ckn_begin_team(void) {
    guard = PyThread_allocate_lock();
    idle = NULL;
    return guard ? 0 : -1;
}
