/* Scratch memory handed out piece by piece. With start = NULL nothing is handed out
 * and `used` ends as the size that is needed: one function so says what a computation
 * needs and takes it. */
#pragma once

#include <stddef.h>

typedef struct {
    char *start;
    size_t used;
} ckn_arena;

/* Room for count items of size bytes, on a cache line of its own. */
static inline void *ckn_take(ckn_arena *arena, ptrdiff_t count, size_t size) {
    void *place = arena->start ? arena->start + arena->used : NULL;
    arena->used += ((size_t)count * size + 63) / 64 * 64;
    return place;
}

/* The arena of a thread's scratch, which has 64 bytes more than asked for. */
static inline ckn_arena ckn_open_arena(void *scratch) {
    ckn_arena arena = {scratch, 0};
    if (scratch)
        arena.used = (64 - (size_t)scratch % 64) % 64;
    return arena;
}
