/* Threads that all make the first call of a model at once, one of them choosing a variant: every thread gets a context of a
 * variant that the processor runs, and the same variants give the same bytes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { THREADS = 8, MAX_BYTES = 1 << 20, OUTPUTS = 2, MAX_OUTPUT_BYTES = 256 };

static pthread_barrier_t barrier;
static unsigned char input[MAX_BYTES] __attribute__((aligned(64)));

typedef struct {
    int number;
    const char *chosen;
    unsigned char outputs[OUTPUTS][MAX_OUTPUT_BYTES] __attribute__((aligned(64)));
} worker;

static void *first(void *argument) {
    worker *const w = argument;
    pthread_barrier_wait(&barrier);
    if (w->number == 0 && ES_MODEL(use_variant)("sse2") != ES_OK) abort();
    w->chosen = ES_MODEL(variant_in_use)();
    return NULL;
}

static void *later(void *argument) {
    worker *const w = argument;
    void *memory = NULL;
    const size_t bytes = ES_MODEL(context_bytes)(1);
    if (posix_memalign(&memory, ES_ALIGNMENT, bytes)) abort();
    es_context *const context = ES_MODEL(init)(memory, bytes, 1, NULL, NULL);
    if (!context) abort();
    pthread_barrier_wait(&barrier);
    /* A context stays with its variant, whatever is chosen meanwhile. */
    if (w->number == 0 && ES_MODEL(use_variant)(NULL) != ES_OK) abort();
    ES_MODEL(prepare)(context);
    const void *const inputs[] = {input};
    void *const outputs[OUTPUTS] = {w->outputs[0], w->outputs[1]};
    if (ES_MODEL(run)(context, inputs, outputs) != ES_OK) abort();
    free(memory);
    return NULL;
}

static void all(worker *workers, void *(*function)(void *)) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; ++i) {
        workers[i].number = i;
        if (pthread_create(&threads[i], NULL, function, &workers[i])) abort();
    }
    for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
}

int main(void) {
    static worker workers[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    all(workers, first);
    for (int i = 0; i < THREADS; ++i) {
        if (!workers[i].chosen) return 1;
    }
    if (strcmp(ES_MODEL(variant_in_use)(), "sse2")) return 2; /* the choice outlasts the first calls of the others */
    if (ES_MODEL(input_count)() != 1 || ES_MODEL(input)(0)->bytes > MAX_BYTES || ES_MODEL(output_count)() != OUTPUTS) return 3;
    for (int i = 0; i < OUTPUTS; ++i) {
        if (ES_MODEL(output)(i)->bytes > MAX_OUTPUT_BYTES) return 3;
    }
    for (size_t i = 0; i < ES_MODEL(input)(0)->bytes / 4; ++i) ((float *)(void *)input)[i] = (float)(i % 7) - 3.0f;
    all(workers, later);
    for (int i = 1; i < THREADS; ++i) {
        if (memcmp(workers[0].outputs, workers[i].outputs, sizeof workers[0].outputs)) return 4;
    }
    if (ES_MODEL(use_variant)("none") != ES_BAD_ARGUMENT) return 5;
    if (ES_MODEL(variant)(-1) || ES_MODEL(variant)(ES_MODEL(variant_count)())) return 6;
    printf("%s\n", ES_MODEL(variant_in_use)());
    return 0;
}
