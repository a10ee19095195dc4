/* Scratch memory handed out piece by piece. With start = NULL nothing is handed out
 * and `used` ends as the size that is needed: one function so says what a computation
 * needs and takes it.
 *
 * Under AddressSanitizer a fence follows every piece, so that a step over its end is
 * found although the memory is all of one allocation. */
#pragma once

#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define CKN_FENCE 128
#else
#define CKN_FENCE 0
#endif

typedef struct {
    char *start;
    size_t used;
} ckn_arena;

/* Room for count items of size bytes, on a cache line of its own. */
static inline void *ckn_take(ckn_arena *arena, ptrdiff_t count, size_t size) {
    const size_t length = (size_t)count * size;
    char *place = arena->start ? arena->start + arena->used : NULL;
    arena->used += (length + 63) / 64 * 64 + CKN_FENCE;
#ifdef __SANITIZE_ADDRESS__
    if (place) {
        ASAN_UNPOISON_MEMORY_REGION(place, length);
        char *end = place + length;
        ASAN_POISON_MEMORY_REGION(end, arena->start + arena->used - end);
    }
#endif
    return place;
}

/* The arena of a thread's scratch, which has 64 bytes more than asked for. */
static inline ckn_arena ckn_open_arena(void *scratch) {
    ckn_arena arena = {scratch, 0};
    if (scratch)
        arena.used = (64 - (size_t)scratch % 64) % 64;
    return arena;
}
