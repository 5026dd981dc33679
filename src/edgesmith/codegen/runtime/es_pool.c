/* Each worker has a mailbox: the caller writes a range and raises `posted`; the worker runs it and raises `finished` to the same
 * number. Both sides poll for a bounded time and then sleep on a condition variable.
 *
 * No wake-up is lost, because the sleeper first announces itself and then looks at the number, the waker first changes the number
 * and then looks for a sleeper, and these four accesses are sequentially consistent: at least one of the two sees the other.
 * The waker signals under the mutex that the sleeper holds until it waits. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif

#include "es_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Two lines of 64 bytes, which some processors fetch together; others have lines of 128. */
#define LINE_BYTES 128
#define LINE_ALIGNED __attribute__((aligned(LINE_BYTES)))

/* How long a thread polls before it sleeps: longer than the gap between two steps of a network, shorter than a time slice. */
#ifndef ES_POOL_SPIN_NS
#define ES_POOL_SPIN_NS 100000
#endif
#define POLLS_PER_CLOCK_READ 32

/* After this part of it, the processor is offered to others between polls: where another program keeps a core busy, the thread
 * that is waited for may be queued behind the one that polls. */
#define YIELD_AFTER_NS 5000

/* Kernels keep tiles, not tensors, on the stack; some C libraries give new threads as little as 128 KiB. */
#define STACK_BYTES ((size_t)1 << 20)

typedef struct {
    LINE_ALIGNED pthread_mutex_t mutex;
    pthread_cond_t wake;
    int32_t asleep; /* atomic */
} sleeper;

typedef struct {
    /* Written by the caller. */
    LINE_ALIGNED uint32_t posted; /* atomic; publishes the fields below */
    int32_t begin, end;           /* an empty range asks the worker to leave */
    es_task task;
    void *arg;
    /* Written by the worker. */
    LINE_ALIGNED uint32_t finished; /* atomic */
    /* Read only once started. */
    LINE_ALIGNED struct es_pool *pool;
    pthread_t thread;
    int32_t index;
    sleeper sleep;
} mailbox;

struct es_pool {
    LINE_ALIGNED int32_t threads;
    int64_t spin_ns;
    LINE_ALIGNED int32_t busy; /* atomic */
    sleeper caller;
    mailbox boxes[]; /* [0] is the caller's and stays unused */
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Processors that this process may use; 0 when unknown. */
static int usable_processors(void) {
#if defined(__linux__) && defined(CPU_COUNT)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
#if defined(_WIN32)
    return pthread_num_processors_np();
#elif defined(_SC_NPROCESSORS_ONLN)
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
#else
    return 0;
#endif
}

/* Aligned to LINE_BYTES; the pointer to free stands just before it. */
static void *allocate(size_t bytes) {
    char *raw = malloc(bytes + LINE_BYTES + sizeof(void *));
    if (!raw) return NULL;
    const uintptr_t address = (uintptr_t)(raw + sizeof(void *) + LINE_BYTES - 1) & ~(uintptr_t)(LINE_BYTES - 1);
    char *aligned = raw + (address - (uintptr_t)raw);
    memcpy(aligned - sizeof(void *), &raw, sizeof raw);
    return aligned;
}

static void release(void *aligned) {
    void *raw;
    memcpy(&raw, (char *)aligned - sizeof(void *), sizeof raw);
    free(raw);
}

static int sleeper_create(sleeper *s) {
    s->asleep = 0;
    if (pthread_mutex_init(&s->mutex, NULL)) return ES_POOL_NO_MEMORY;
    if (pthread_cond_init(&s->wake, NULL)) {
        pthread_mutex_destroy(&s->mutex);
        return ES_POOL_NO_MEMORY;
    }
    return ES_POOL_OK;
}

static void sleeper_destroy(sleeper *s) {
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
}

/* Returns once `*number` is `value`; what was written before `publish` set it is then visible. */
static void wait_for(const uint32_t *number, uint32_t value, sleeper *s, int64_t spin_ns) {
    if (__atomic_load_n(number, __ATOMIC_ACQUIRE) == value) return;
    int64_t start = now_ns();
    for (int64_t elapsed = 0; elapsed < spin_ns; elapsed = now_ns() - start) {
        if (elapsed > YIELD_AFTER_NS) sched_yield();
        for (int i = 0; i < POLLS_PER_CLOCK_READ; i++) {
            relax();
            if (__atomic_load_n(number, __ATOMIC_ACQUIRE) == value) return;
        }
    }
    pthread_mutex_lock(&s->mutex);
    __atomic_store_n(&s->asleep, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(number, __ATOMIC_SEQ_CST) != value) pthread_cond_wait(&s->wake, &s->mutex);
    __atomic_store_n(&s->asleep, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&s->mutex);
}

static void publish(uint32_t *number, uint32_t value, sleeper *s) {
    __atomic_store_n(number, value, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->asleep, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&s->mutex);
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->mutex);
    }
}

static void *worker_main(void *argument) {
    mailbox *box = argument;
    es_pool *pool = box->pool;
    for (uint32_t next = 1;; next++) {
        wait_for(&box->posted, next, &box->sleep, pool->spin_ns);
        if (box->begin == box->end) return NULL;
        box->task(box->arg, box->index, box->begin, box->end);
        publish(&box->finished, next, &pool->caller);
    }
}

static void post(mailbox *box, es_task task, void *arg, int32_t begin, int32_t end) {
    box->task = task;
    box->arg = arg;
    box->begin = begin;
    box->end = end;
    publish(&box->posted, box->posted + 1, &box->sleep);
}

static int start_worker(es_pool *pool, int32_t index, const pthread_attr_t *attributes) {
    mailbox *box = &pool->boxes[index];
    box->pool = pool;
    box->index = index;
    box->posted = box->finished = 0;
    if (sleeper_create(&box->sleep)) return ES_POOL_NO_MEMORY;
    if (pthread_create(&box->thread, attributes, worker_main, box)) {
        sleeper_destroy(&box->sleep);
        return ES_POOL_NO_THREAD;
    }
    pool->threads = index + 1;
    return ES_POOL_OK;
}

int es_pool_create(es_pool **out, int threads) {
    if (!out) return ES_POOL_BAD_ARGUMENT;
    *out = NULL;
    if (threads < 1 || threads > ES_POOL_MAX_THREADS) return ES_POOL_BAD_ARGUMENT;
    es_pool *pool = allocate(sizeof(es_pool) + (size_t)threads * sizeof(mailbox));
    if (!pool) return ES_POOL_NO_MEMORY;
    pool->threads = 1;
    pool->busy = 0;
    pool->spin_ns = threads <= usable_processors() ? ES_POOL_SPIN_NS : 0;
    if (sleeper_create(&pool->caller)) {
        release(pool);
        return ES_POOL_NO_MEMORY;
    }
    int status = ES_POOL_OK;
    if (threads > 1) {
        pthread_attr_t attributes;
        if (pthread_attr_init(&attributes)) {
            status = ES_POOL_NO_MEMORY;
        } else {
            pthread_attr_setstacksize(&attributes, STACK_BYTES);
            for (int32_t i = 1; i < threads && status == ES_POOL_OK; i++) status = start_worker(pool, i, &attributes);
            pthread_attr_destroy(&attributes);
        }
    }
    if (status != ES_POOL_OK) {
        es_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return ES_POOL_OK;
}

void es_pool_destroy(es_pool *pool) {
    if (!pool) return;
    for (int32_t i = 1; i < pool->threads; i++) post(&pool->boxes[i], NULL, NULL, 0, 0);
    for (int32_t i = 1; i < pool->threads; i++) {
        pthread_join(pool->boxes[i].thread, NULL);
        sleeper_destroy(&pool->boxes[i].sleep);
    }
    sleeper_destroy(&pool->caller);
    release(pool);
}

int es_pool_threads(const es_pool *pool) { return pool->threads; }

void es_pool_parallel_for(void *opaque, es_task task, void *arg, int32_t count) {
    es_pool *pool = opaque;
    int32_t parts = count < pool->threads ? count : pool->threads;
    if (count < 1) return;
    if (parts == 1 || __atomic_exchange_n(&pool->busy, 1, __ATOMIC_ACQUIRE)) {
        task(arg, 0, 0, count);
        return;
    }
    for (int32_t i = 1; i < parts; i++) {
        post(&pool->boxes[i], task, arg, (int32_t)((int64_t)count * i / parts), (int32_t)((int64_t)count * (i + 1) / parts));
    }
    task(arg, 0, 0, (int32_t)((int64_t)count / parts));
    for (int32_t i = 1; i < parts; i++) {
        mailbox *box = &pool->boxes[i];
        wait_for(&box->finished, box->posted, &pool->caller, pool->spin_ns);
    }
    __atomic_store_n(&pool->busy, 0, __ATOMIC_RELEASE);
}
