/* Time that only goes forward, in nanoseconds. Include it before any other header, or define _POSIX_C_SOURCE. */
#ifndef ES_CLOCK_H
#define ES_CLOCK_H

#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif

#include <stdint.h>
#include <time.h>

static inline int64_t es_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
