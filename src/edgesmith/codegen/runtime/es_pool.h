/* A small thread pool: a fixed number of workers, static partition, no allocation while running. */
#ifndef ES_POOL_H
#define ES_POOL_H

#include "es_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct es_pool es_pool;

enum {
    ES_POOL_OK = 0,
    ES_POOL_BAD_ARGUMENT = 1, /* null `out`, or threads outside 1..ES_POOL_MAX_THREADS */
    ES_POOL_NO_MEMORY = 2,
    ES_POOL_NO_THREAD = 3     /* the system refused to start a thread */
};

#define ES_POOL_MAX_THREADS 1024

/* Makes a pool of `threads` workers: the calling thread is one, so `threads - 1` are started and none for 1.
 * On failure `*out` is NULL, and nothing is left behind. */
ES_API int es_pool_create(es_pool **out, int threads);

/* Stops and joins the workers. NULL is allowed. No loop may be running. */
ES_API void es_pool_destroy(es_pool *pool);

/* Number of workers, the caller included: what a model's `init` takes as `workers`. */
ES_API int es_pool_threads(const es_pool *pool);

/* An `es_parallel_for`; `pool` is an `es_pool`. Splits [0, count) into one contiguous range per worker, as even as possible; the
 * caller runs the first as worker 0, and workers without a part are left alone. A call made while the pool is busy, from another
 * thread or from inside a task, runs the whole range in the calling thread as worker 0 of that call, so that contexts in several
 * threads may share a pool.
 *
 * Threads do not survive fork(): a child process must make its own pool. */
ES_API void es_pool_parallel_for(void *pool, es_task task, void *arg, int32_t count);

#ifdef __cplusplus
}
#endif

#endif
