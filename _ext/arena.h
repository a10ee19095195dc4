/* Hands out pieces of a thread's working memory ("scratch"). With start = NULL nothing
 * is handed out, and `used` becomes the size that is needed: the same function computes
 * the size and takes the memory.
 *
 * Under AddressSanitizer a fence follows every piece, so that an access beyond its end
 * is found although all pieces are of one allocation. */
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

/* Take memory for `count` items of `size` bytes; it starts on a cache line of its
 * own. */
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

/* The arena of a thread's scratch, which must be 64 bytes larger than what is taken. */
static inline ckn_arena ckn_open_arena(void *scratch) {
    ckn_arena arena = {scratch, 0};
    if (scratch)
        arena.used = (64 - (size_t)scratch % 64) % 64;
    return arena;
}
