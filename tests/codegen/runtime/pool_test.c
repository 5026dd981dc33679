/* Exercises es_pool; exits with the line number of the first failed check. Compiled with -Wl,--wrap=pthread_create. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "es_pool.h"

#define MAX_COUNT 1000
#define CHECK(condition)                                              \
    do {                                                              \
        if (!(condition)) {                                           \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);   \
            exit(1);                                                  \
        }                                                             \
    } while (0)

static int thread_starts_left = -1; /* negative: no limit */

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg) {
    if (thread_starts_left == 0) return 11;
    if (thread_starts_left > 0) thread_starts_left--;
    return __real_pthread_create(thread, attributes, start, arg);
}

/* Plain (not atomic) memory, so that a missing happens-before edge is a race that TSan reports. */
typedef struct {
    int32_t visits[MAX_COUNT];
    int32_t owner[MAX_COUNT];
    int32_t calls[ES_POOL_MAX_THREADS];
    int32_t workers;
} record;

static void visit(void *arg, int32_t worker, int32_t begin, int32_t end) {
    record *r = arg;
    CHECK(0 <= worker && worker < r->workers);
    CHECK(begin < end);
    r->calls[worker]++;
    for (int32_t i = begin; i < end; i++) {
        r->visits[i]++;
        r->owner[i] = worker;
    }
}

static void check_partition(es_pool *pool, int32_t count) {
    static record r;
    r = (record){.workers = es_pool_threads(pool)};
    es_pool_parallel_for(pool, visit, &r, count);
    int32_t used = count < r.workers ? count : r.workers, share[ES_POOL_MAX_THREADS] = {0};
    for (int32_t i = 0; i < MAX_COUNT; i++) {
        CHECK(r.visits[i] == (i < count));
        if (i >= count) continue;
        CHECK(i == 0 ? r.owner[0] == 0 : r.owner[i] == r.owner[i - 1] || r.owner[i] == r.owner[i - 1] + 1);
        share[r.owner[i]]++;
    }
    for (int32_t w = 0; w < r.workers; w++) {
        CHECK(r.calls[w] == (w < used));
        if (w < used) CHECK(share[w] == count / used || share[w] == count / used + 1);
    }
}

static void pause_ns(long ns) {
    struct timespec t = {0, ns};
    nanosleep(&t, NULL);
}

static void check_workers(int threads, int rounds) {
    static const int32_t counts[] = {0, 1, 2, 3, 7, 64, MAX_COUNT, -5};
    es_pool *pool;
    CHECK(es_pool_create(&pool, threads) == ES_POOL_OK);
    CHECK(es_pool_threads(pool) == threads);
    for (int round = 0; round < rounds; round++) check_partition(pool, counts[round % 8]);
    for (int round = 0; round < 20; round++) { /* everybody is asleep by now */
        pause_ns(300000);
        check_partition(pool, 1 + round);
    }
    es_pool_destroy(pool);
}

/* The sum of a long chain of loops, each of which reads what the one before wrote. */
static void accumulate(void *arg, int32_t worker, int32_t begin, int32_t end) {
    int64_t *cells = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) cells[i] = cells[(i + 1) % 64 + (i < 64 ? 64 : 0)] + i;
}

static void reverse_copy(void *arg, int32_t worker, int32_t begin, int32_t end) {
    int64_t *cells = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) cells[127 - i] = cells[i];
}

static int64_t chain(es_pool *pool) {
    int64_t cells[128] = {0};
    for (int round = 0; round < 500; round++) {
        es_pool_parallel_for(pool, accumulate, cells, 64);
        es_pool_parallel_for(pool, reverse_copy, cells, 64);
    }
    return cells[5] + cells[77];
}

static void *chain_in_thread(void *pool) {
    static int64_t results[2];
    static int next = 0;
    int64_t *result = &results[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % 2];
    *result = chain(pool);
    return result;
}

static void check_shared_pool(void) {
    es_pool *alone, *pool;
    pthread_t threads[2];
    CHECK(es_pool_create(&alone, 1) == ES_POOL_OK && es_pool_create(&pool, 3) == ES_POOL_OK);
    int64_t expected = chain(alone);
    CHECK(expected != 0 && chain(pool) == expected);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, chain_in_thread, pool) == 0);
    for (int i = 0; i < 2; i++) {
        void *result;
        pthread_join(threads[i], &result);
        CHECK(*(int64_t *)result == expected);
    }
    es_pool_destroy(pool);
    es_pool_destroy(alone);
}

typedef struct {
    es_pool *pool;
    record inner[3];
} nest;

static void nested(void *arg, int32_t worker, int32_t begin, int32_t end) {
    nest *n = arg;
    (void)worker;
    for (int32_t i = begin; i < end; i++) es_pool_parallel_for(n->pool, visit, &n->inner[i], 10);
}

static void check_nested(void) {
    static nest n;
    CHECK(es_pool_create(&n.pool, 3) == ES_POOL_OK);
    for (int i = 0; i < 3; i++) n.inner[i].workers = 1;
    es_pool_parallel_for(n.pool, nested, &n, 3);
    for (int i = 0; i < 3; i++) CHECK(n.inner[i].calls[0] == 1 && n.inner[i].visits[9] == 1 && n.inner[i].visits[10] == 0);
    es_pool_destroy(n.pool);
}

static int threads_of_process(void) {
    DIR *folder = opendir("/proc/self/task");
    if (!folder) return -1;
    int entries = 0;
    while (readdir(folder)) entries++;
    closedir(folder);
    return entries - 2;
}

static void check_thread_count(void) {
    es_pool *pool;
    int before = threads_of_process();
    CHECK(es_pool_create(&pool, 1) == ES_POOL_OK && threads_of_process() == before);
    es_pool_destroy(pool);
    CHECK(es_pool_create(&pool, 4) == ES_POOL_OK);
    CHECK(before < 0 || threads_of_process() == before + 3);
    es_pool_destroy(pool);
}

static void check_errors(void) {
    es_pool *pool = (es_pool *)&pool;
    CHECK(es_pool_create(NULL, 2) == ES_POOL_BAD_ARGUMENT);
    CHECK(es_pool_create(&pool, 0) == ES_POOL_BAD_ARGUMENT && !pool);
    CHECK(es_pool_create(&pool, ES_POOL_MAX_THREADS + 1) == ES_POOL_BAD_ARGUMENT && !pool);
    es_pool_destroy(NULL);
    thread_starts_left = 2;
    CHECK(es_pool_create(&pool, 5) == ES_POOL_NO_THREAD && !pool);
    thread_starts_left = -1;
}

int main(void) {
    check_errors();
    check_thread_count();
    for (int threads = 1; threads <= 5; threads++) check_workers(threads, 800);
    check_shared_pool();
    check_nested();
    puts("ok");
    return 0;
}
