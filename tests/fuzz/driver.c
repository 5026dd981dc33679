/* Runs a model on its self-test inputs in buffers of exactly the declared sizes that are aligned to nothing but their
 * elements, and prints a checksum of each output. Usage: driver THREADS */
#include <stdio.h>
#include <stdlib.h>

#include "es_pool.h"
#include "es_selftest.h"
#include "model.h"

enum { SHIFT = 8 }; /* the largest element */

static void *exact(size_t bytes) {
    unsigned char *memory = malloc(bytes + SHIFT);
    if (!memory) abort();
    return memory + SHIFT;
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    const int32_t inputs = ES_MODEL(input_count)(), outputs = ES_MODEL(output_count)();
    const void **x = calloc((size_t)inputs + 1, sizeof *x);
    void **y = calloc((size_t)outputs + 1, sizeof *y), *memory = NULL;
    const size_t bytes = ES_MODEL(context_bytes)(threads);
    es_pool *pool = NULL;
    if (es_pool_create(&pool, threads) || posix_memalign(&memory, ES_ALIGNMENT, bytes)) abort();
    for (int32_t i = 0; i < inputs; ++i) {
        void *data = exact(ES_MODEL(input)(i)->bytes);
        if (es_selftest_fill(ES_MODEL(input)(i), i, data)) abort();
        x[i] = data;
    }
    for (int32_t i = 0; i < outputs; ++i) y[i] = exact(ES_MODEL(output)(i)->bytes);
    es_context *context = ES_MODEL(init)(memory, bytes, threads, threads > 1 ? es_pool_parallel_for : NULL, pool);
    ES_MODEL(prepare)(context);
    if (ES_MODEL(run)(context, x, y)) abort();
    for (int32_t i = 0; i < outputs; ++i) {
        printf("%016llx\n", (unsigned long long)es_selftest_checksum(y[i], ES_MODEL(output)(i)->bytes));
        free((unsigned char *)y[i] - SHIFT);
    }
    for (int32_t i = 0; i < inputs; ++i) free((unsigned char *)(size_t)x[i] - SHIFT);
    es_pool_destroy(pool);
    free(memory);
    free((void *)x);
    free(y);
    return 0;
}
