#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE /* madvise */
#endif

#include "es_session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "es_selftest.h"
#include "model.h"

/* Aligned and zeroed; the pointer to free stands just before it. */
static void *allocate(size_t bytes) {
    if (bytes > SIZE_MAX - ES_ALIGNMENT - sizeof(void *)) return NULL;
    char *raw = calloc(bytes + ES_ALIGNMENT + sizeof(void *), 1);
    if (!raw) return NULL;
    uintptr_t address = (uintptr_t)(raw + sizeof(void *) + ES_ALIGNMENT - 1) & ~(uintptr_t)(ES_ALIGNMENT - 1);
    char *aligned = raw + (address - (uintptr_t)raw);
    memcpy(aligned - sizeof(void *), &raw, sizeof raw);
    return aligned;
}

/* Large pages spare the processor translations of addresses; the system is free to refuse. */
static void ask_for_large_pages(void *memory, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)memory + page - 1) / page * page, stop = ((uintptr_t)memory + bytes) / page * page;
    if (stop > first) (void)madvise((void *)first, stop - first, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)bytes;
#endif
}

static void release(void *aligned) {
    if (!aligned) return;
    void *raw;
    memcpy(&raw, (char *)aligned - sizeof(void *), sizeof raw);
    free(raw);
}

void es_buffers_free(void **buffers, int32_t count) {
    for (int32_t i = 0; buffers && i < count; i++) release(buffers[i]);
    free(buffers);
}

void **es_buffers_make(int32_t count, const es_tensor_info *(*info)(int32_t)) {
    void **buffers = calloc((size_t)count + 1, sizeof *buffers);
    for (int32_t i = 0; buffers && i < count; i++) {
        buffers[i] = allocate(info(i)->bytes);
        if (!buffers[i]) {
            es_buffers_free(buffers, i);
            return NULL;
        }
    }
    return buffers;
}

void es_session_close(es_session *s) {
    es_pool_destroy(s->pool);
    release(s->memory);
    es_buffers_free(s->inputs, ES_MODEL(input_count)());
    es_buffers_free(s->outputs, ES_MODEL(output_count)());
}

int es_session_open(es_session *s, int threads) {
    *s = (es_session){0};
    if (es_pool_create(&s->pool, threads) != ES_POOL_OK) {
        fprintf(stderr, "cannot start %d threads\n", threads);
        return EXIT_RESOURCES;
    }
    size_t bytes = ES_MODEL(context_bytes)(threads);
    s->memory = allocate(bytes);
    s->inputs = es_buffers_make(ES_MODEL(input_count)(), ES_MODEL(input));
    s->outputs = es_buffers_make(ES_MODEL(output_count)(), ES_MODEL(output));
    if (!s->memory || !s->inputs || !s->outputs) {
        fprintf(stderr, "cannot allocate %zu bytes for the context and its inputs and outputs\n", bytes);
        es_session_close(s);
        return EXIT_RESOURCES;
    }
    ask_for_large_pages(s->memory, bytes);
    s->context = ES_MODEL(init)(s->memory, bytes, threads, es_pool_parallel_for, s->pool);
    if (!s->context) {
        fprintf(stderr, "the model refused its context memory\n");
        es_session_close(s);
        return EXIT_MODEL;
    }
    ES_MODEL(prepare)(s->context);
    return 0;
}

int es_checked(int32_t status, const char *what) {
    if (status == ES_OK) return 0;
    fprintf(stderr, "%s failed with status %" PRId32 "\n", what, status);
    return EXIT_MODEL;
}

int es_session_fill(es_session *s) {
    for (int32_t i = 0; i < ES_MODEL(input_count)(); i++) {
        int status = es_checked(es_selftest_fill(ES_MODEL(input)(i), i, s->inputs[i]), "making the inputs");
        if (status) return status;
    }
    return 0;
}

int es_session_run(es_session *s) {
    return es_checked(ES_MODEL(run)(s->context, (const void *const *)s->inputs, s->outputs), "run");
}
