#define _GNU_SOURCE
#include "clock.h"

#include <sys/resource.h>
#include <time.h>

#define LINE_BYTES 64

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* How often the system has taken the processor from this thread; 0 where it does not tell. */
static long preemptions(void) {
#ifdef RUSAGE_THREAD
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) == 0) return usage.ru_nivcsw;
#endif
    return 0;
}

double trial_time(trial_function function, void *const *p, int32_t tasks, void *scratch, int32_t runs) {
    const double start = now_ns();
    for (int32_t i = 0; i < runs; ++i) function(p, 0, tasks, scratch);
    return (now_ns() - start) / runs;
}

API volatile unsigned trial_touched; /* keeps the reads alive */

static unsigned touch(const unsigned char *bytes, size_t count) {
    unsigned sum = 0;
    for (size_t i = 0; i < count; i += LINE_BYTES) sum += bytes[i];
    return sum;
}

double trial_time_in_network(trial_function function, void *const *p, int32_t tasks, void *scratch, const void *other,
                             size_t other_bytes, const void *const *inputs, const size_t *input_bytes, int32_t input_count,
                             int32_t attempts) {
    double taken = 0;
    for (int32_t k = 0; k < attempts; ++k) {
        unsigned sum = touch(other, other_bytes);
        for (int32_t i = 0; i < input_count; ++i) sum += touch(inputs[i], input_bytes[i]);
        trial_touched = sum;
        const long before = preemptions();
        const double start = now_ns();
        function(p, 0, tasks, scratch);
        taken = now_ns() - start;
        if (preemptions() == before) break;
    }
    return taken < 1 ? 1 : taken;
}
