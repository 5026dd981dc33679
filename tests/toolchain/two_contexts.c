/* Two threads, each with a context and a pool of two workers, run one model at once; every run must give the same bytes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "es_pool.h"
#include "es_selftest.h"
#include "model.h"

enum { THREADS = 2, WORKERS = 2, RUNS = 10, MAX_TENSORS = 8 };

typedef struct {
    void *inputs[MAX_TENSORS], *outputs[MAX_TENSORS];
    int failed;
} work;

static void *aligned(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, ES_ALIGNMENT, bytes ? bytes : 1)) abort();
    memset(memory, 0, bytes);
    return memory;
}

static void *run(void *argument) {
    work *const w = argument;
    es_pool *pool;
    if (es_pool_create(&pool, WORKERS)) abort();
    const size_t bytes = ES_MODEL(context_bytes)(WORKERS);
    void *const memory = aligned(bytes);
    es_context *const context = ES_MODEL(init)(memory, bytes, WORKERS, es_pool_parallel_for, pool);
    if (!context) abort();
    ES_MODEL(prepare)(context);
    void *first[MAX_TENSORS] = {NULL};
    for (int k = 0; k < RUNS; ++k) {
        if (ES_MODEL(run)(context, (const void *const *)w->inputs, w->outputs) != ES_OK) w->failed = 1;
        for (int32_t i = 0; i < ES_MODEL(output_count)(); ++i) {
            const size_t n = ES_MODEL(output)(i)->bytes;
            if (k == 0) memcpy(first[i] = aligned(n), w->outputs[i], n);
            if (memcmp(first[i], w->outputs[i], n)) w->failed = 1;
        }
    }
    for (int i = 0; i < MAX_TENSORS; ++i) free(first[i]);
    free(memory);
    es_pool_destroy(pool);
    return NULL;
}

int main(void) {
    work all[THREADS];
    pthread_t threads[THREADS];
    memset(all, 0, sizeof all);
    for (int t = 0; t < THREADS; ++t) {
        for (int32_t i = 0; i < ES_MODEL(input_count)(); ++i) {
            const es_tensor_info *const info = ES_MODEL(input)(i);
            all[t].inputs[i] = t ? all[0].inputs[i] : aligned(info->bytes); /* inputs are shared: they are only read */
            if (t == 0 && es_selftest_fill(info, i, all[t].inputs[i]) != ES_OK) return 2;
        }
        for (int32_t i = 0; i < ES_MODEL(output_count)(); ++i) all[t].outputs[i] = aligned(ES_MODEL(output)(i)->bytes);
    }
    for (int t = 0; t < THREADS; ++t) {
        if (pthread_create(&threads[t], NULL, run, &all[t])) return 2;
    }
    int failed = 0;
    for (int t = 0; t < THREADS; ++t) {
        pthread_join(threads[t], NULL);
        failed |= all[t].failed;
    }
    for (int32_t i = 0; i < ES_MODEL(output_count)(); ++i) {
        failed |= memcmp(all[0].outputs[i], all[1].outputs[i], ES_MODEL(output)(i)->bytes) != 0;
    }
    for (int t = 0; t < THREADS; ++t) {
        for (int i = 0; i < MAX_TENSORS; ++i) {
            if (t == 0) free(all[t].inputs[i]);
            free(all[t].outputs[i]);
        }
    }
    puts(failed ? "FAILED" : "passed");
    return failed;
}
