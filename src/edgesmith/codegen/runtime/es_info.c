#include <inttypes.h>
#include <stdio.h>

#include "es_command.h"
#include "es_tensor_file.h"
#include "es_variant.h"
#include "model.h"

static void print_tensor(const char *role, const es_tensor_info *info) {
    char shape[ES_SHAPE_CHARS];
    printf("%-7s %s: %s %s, %zu bytes\n", role, info->name, es_type_name(info->dtype),
           es_shape_text(shape, info->rank, info->shape), info->bytes);
}

int es_command_info(es_session *s, const es_options *o) {
    (void)s;
    printf("edgesmith %s, abi %" PRId32 "\n", ES_MODEL(version)(), ES_MODEL(abi_version)());
    if (es_variant_name()) printf("variant %s\n", es_variant_name());
    for (int32_t i = 0; i < ES_MODEL(input_count)(); i++) print_tensor("input", ES_MODEL(input)(i));
    for (int32_t i = 0; i < ES_MODEL(output_count)(); i++) print_tensor("output", ES_MODEL(output)(i));
    printf("context %zu bytes for %d worker(s)\n", ES_MODEL(context_bytes)(o->threads), o->threads);
    printf("%5s %6s %14s %14s  %s\n", "step", "tasks", "macs", "bytes", "kernel: name");
    for (int32_t i = 0; i < ES_MODEL(step_count)(); i++) {
        const es_step_info *step = ES_MODEL(step)(i);
        printf("%5" PRId32 " %6" PRId32 " %14" PRId64 " %14" PRId64 "  %s: %s\n", i, step->tasks, step->macs, step->bytes,
               step->kernel, step->name);
    }
    return 0;
}
