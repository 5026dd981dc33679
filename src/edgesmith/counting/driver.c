/* Runs a model once to warm up, once as a whole (region 1) and once step by step (regions 2, 3, ...), for the counting
 * plugin. Compiled with MODEL: the model's prefix. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "es_selftest.h"
#include "model.h"

enum { MARK = -2000000, WHOLE = 1, FIRST_STEP = 2 };

static void region(int number) { (void)close(MARK - number); }

static void *memory(size_t bytes) {
    void *const found = aligned_alloc(ES_ALIGNMENT, (bytes + ES_ALIGNMENT) / ES_ALIGNMENT * ES_ALIGNMENT);
    if (!found) {
        fprintf(stderr, "cannot allocate %zu bytes\n", bytes);
        exit(2);
    }
    return found;
}

static void check(int32_t status, const char *what) {
    if (status == ES_OK) return;
    fprintf(stderr, "%s failed with status %d\n", what, (int)status);
    exit(1);
}

int main(void) {
    const int32_t in = ES_MODEL(input_count)(), out = ES_MODEL(output_count)(), steps = ES_MODEL(step_count)();
    void **const inputs = memory(((size_t)in + 1) * sizeof *inputs), **const outputs = memory(((size_t)out + 1) * sizeof *outputs);
    for (int32_t i = 0; i < in; i++) {
        inputs[i] = memory(ES_MODEL(input)(i)->bytes);
        check(es_selftest_fill(ES_MODEL(input)(i), i, inputs[i]), "making the inputs");
    }
    for (int32_t i = 0; i < out; i++) outputs[i] = memory(ES_MODEL(output)(i)->bytes);
    const size_t bytes = ES_MODEL(context_bytes)(1);
    es_context *const context = ES_MODEL(init)(memory(bytes), bytes, 1, NULL, NULL);
    ES_MODEL(prepare)(context);
    const void *const *const given = (const void *const *)inputs;
    check(ES_MODEL(run)(context, given, outputs), "run");
    region(WHOLE);
    check(ES_MODEL(run)(context, given, outputs), "run");
    region(0);
    check(ES_MODEL(bind)(context, given, outputs), "bind");
    for (int32_t i = 0; i < steps; i++) {
        region(FIRST_STEP + i);
        check(ES_MODEL(run_steps)(context, i, i + 1), "run_steps");
    }
    region(0);
    return 0;
}
