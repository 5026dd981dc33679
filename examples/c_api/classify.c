/* Classifies one picture with a compiled model, in plain C.
 *
 *     ./classify seven.pgm
 *
 * The model's functions start with its name (here `digits_`); the types are in es_abi.h, which digits.h includes. All memory
 * is the caller's: the context, the input and the output. Nothing is allocated while the model runs. */
#include <stdio.h>
#include <stdlib.h>

#include "digits.h"

enum { SIDE = 8, CLASSES = 10 };

/* An 8x8 picture as text PGM ("P2"); grey values become 0 to 1. Returns 0 on success. */
static int read_picture(const char *path, float *pixels) {
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return 1;
    }
    int width = 0, height = 0, top = 0, value = 0;
    int ok = fscanf(file, "P2 %d %d %d", &width, &height, &top) == 3 && width == SIDE && height == SIDE && top > 0;
    for (int i = 0; ok && i < SIDE * SIDE; ++i) {
        ok = fscanf(file, "%d", &value) == 1;
        pixels[i] = (float)value / (float)top;
    }
    fclose(file);
    if (!ok) fprintf(stderr, "%s: not a text PGM of %dx%d pixels\n", path, SIDE, SIDE);
    return !ok;
}

static void describe(const char *what, const es_tensor_info *tensor) {
    printf("%s %s:", what, tensor->name);
    for (int32_t d = 0; d < tensor->rank; ++d) printf(" %lld", (long long)tensor->shape[d]);
    printf(" (%zu bytes)\n", tensor->bytes);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s PICTURE.pgm\n", argv[0]);
        return 2;
    }
    if (digits_abi_version() != ES_ABI_VERSION) {
        fprintf(stderr, "the library has ABI version %d, this program was built for %d\n", (int)digits_abi_version(),
                ES_ABI_VERSION);
        return 1;
    }
    describe("input", digits_input(0));
    describe("output", digits_output(0));

    float picture[SIDE * SIDE], scores[CLASSES];
    if (digits_input(0)->bytes != sizeof picture || digits_output(0)->bytes != sizeof scores) {
        fprintf(stderr, "the library holds another model\n");
        return 1;
    }
    if (read_picture(argv[1], picture)) return 1;

    /* One context for each thread that runs the model at the same time. Its memory could as well be a static array. */
    const int32_t workers = 1;
    const size_t bytes = digits_context_bytes(workers);
    void *memory = aligned_alloc(ES_ALIGNMENT, (bytes + ES_ALIGNMENT - 1) / ES_ALIGNMENT * ES_ALIGNMENT);
    es_context *context = digits_init(memory, bytes, workers, NULL, NULL); /* no parallel_for: everything in this thread */
    if (!context) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    digits_prepare(context);
    printf("context: %zu bytes, %d steps\n", bytes, (int)digits_step_count());

    const void *inputs[] = {picture};
    void *outputs[] = {scores};
    if (digits_run(context, inputs, outputs) != ES_OK) {
        fprintf(stderr, "the model did not run\n");
        free(memory);
        return 1;
    }

    int best = 0;
    for (int i = 0; i < CLASSES; ++i) {
        printf("%d: %8.4f\n", i, (double)scores[i]);
        if (scores[i] > scores[best]) best = i;
    }
    printf("digit: %d\n", best);
    free(memory);
    return 0;
}
