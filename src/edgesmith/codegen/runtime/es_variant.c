#include "es_variant.h"

#include <stdio.h>

#include "es_session.h"
#include "model.h"

#if defined(ES_HAS_VARIANTS)

static void print_variants(void) {
    for (int32_t i = 0; i < ES_MODEL(variant_count)(); i++) fprintf(stderr, "%s%s", i ? ", " : "", ES_MODEL(variant)(i));
    fputs("\n", stderr);
}

int es_variant_use(const char *name) {
    const int32_t status = ES_MODEL(use_variant)(name);
    if (status == ES_OK && ES_MODEL(variant_in_use)()) return 0;
    if (status == ES_BAD_ARGUMENT) {
        fprintf(stderr, "--isa %s: this program has the variants ", name);
        print_variants();
        return EXIT_USAGE;
    }
    if (name) {
        fprintf(stderr, "--isa %s: this processor, or its system, does not run it\n", name);
    } else {
        fprintf(stderr, "this processor, or its system, runs none of the variants ");
        print_variants();
    }
    return EXIT_MODEL;
}

const char *es_variant_name(void) { return ES_MODEL(variant_in_use)(); }

#else

int es_variant_use(const char *name) {
    if (!name) return 0;
    fprintf(stderr, "--isa %s: this program was compiled for one instruction set\n", name);
    return EXIT_USAGE;
}

const char *es_variant_name(void) { return NULL; }

#endif
