/* The pool of systems without threads: its only worker is the caller. */
#include "es_pool.h"

#include <stdlib.h>

struct es_pool {
    int threads;
};

int es_pool_create(es_pool **out, int threads) {
    if (!out) return ES_POOL_BAD_ARGUMENT;
    *out = NULL;
    if (threads < 1 || threads > ES_POOL_MAX_THREADS) return ES_POOL_BAD_ARGUMENT;
    if (threads > 1) return ES_POOL_NO_THREAD;
    *out = malloc(sizeof **out);
    if (!*out) return ES_POOL_NO_MEMORY;
    (*out)->threads = 1;
    return ES_POOL_OK;
}

void es_pool_destroy(es_pool *pool) { free(pool); }

int es_pool_threads(const es_pool *pool) { return pool->threads; }

void es_pool_parallel_for(void *pool, es_task task, void *arg, int32_t count) {
    (void)pool;
    if (count > 0) task(arg, 0, 0, count);
}
