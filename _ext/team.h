/* Threads that share the items of a task. */
#pragma once

#include <stddef.h>

/* Works on items `first` to `last` - 1. No two calls at a time have the same `thread`,
 * which is at least 0 and less than the number of threads. */
typedef void (*ckn_task)(void *argument, ptrdiff_t first, ptrdiff_t last, int thread);

/* Calls the task until all items have been worked on, on at most n_threads threads, one
 * of which is the caller. A call gets up to `most` items, and fewer towards the end, so
 * that the threads end at about the same time. */
typedef void (*ckn_share_function)(ckn_task task, void *argument, ptrdiff_t n_items,
                                   ptrdiff_t most, int n_threads);

void ckn_share(ckn_task task, void *argument, ptrdiff_t n_items, ptrdiff_t most,
               int n_threads);

/* To be called first of all, and in a forked process, to which only the thread that
 * forked belongs. Returns -1 where there is no memory. */
int ckn_begin_team(void);
