/* Seconds that the stages of the work take, where somebody wants to know: with
 * seconds = NULL the clock is never read. */
#pragma once

#include <stddef.h>
#include <time.h>

static inline double ckn_now(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline double ckn_start(const double *seconds) {
    return seconds ? ckn_now() : 0;
}

/* Add the time since `start` to a stage; return the time now. */
static inline double ckn_stop(double *seconds, int stage, double start) {
    if (!seconds)
        return 0;
    double now = ckn_now();
    seconds[stage] += now - start;
    return now;
}
