#include "es_clock.h"

#include <stdio.h>
#include <stdlib.h>

#include "es_command.h"

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int es_command_bench(es_session *s, const es_options *o) {
    size_t runs = (size_t)o->runs;
    double *times = calloc(runs, sizeof *times);
    if (!times) {
        fprintf(stderr, "--runs %d: out of memory\n", o->runs);
        return EXIT_RESOURCES;
    }
    int status = es_session_fill(s);
    for (int i = 0; i < o->warmup && !status; i++) status = es_session_run(s);
    for (size_t i = 0; i < runs && !status; i++) {
        int64_t start = es_now_ns();
        status = es_session_run(s);
        times[i] = (double)(es_now_ns() - start) * 1e-6;
    }
    if (!status) {
        qsort(times, runs, sizeof *times, by_value);
        printf("median_ms %.6f min_ms %.6f p95_ms %.6f runs %d threads %d\n", (times[(runs - 1) / 2] + times[runs / 2]) / 2,
               times[0], times[(runs * 95 + 99) / 100 - 1], o->runs, o->threads);
    }
    free(times);
    return status;
}
