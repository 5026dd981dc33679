#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "es_command.h"
#include "es_selftest.h"
#include "es_variant.h"
#include "model.h"
#include "selftest_data.h"

static int check_inputs(const es_session *s) {
    int status = 0;
    for (int32_t i = 0; i < ES_MODEL(input_count)(); i++) {
        const es_tensor_info *info = ES_MODEL(input)(i);
        if (es_selftest_checksum(s->inputs[i], info->bytes) == es_selftest_input_checksums[i]) continue;
        fprintf(stderr, "input %s: the generated values are not those that the reference saw\n", info->name);
        status = EXIT_MISMATCH;
    }
    return status;
}

static int check_outputs(const es_session *s) {
    int status = 0;
    for (int32_t i = 0; i < ES_MODEL(output_count)(); i++) {
        const es_tensor_info *info = ES_MODEL(output)(i);
        const es_selftest_output *expected = &es_selftest_outputs[i];
        es_selftest_result result;
        int failed = es_checked(es_selftest_compare(info, s->outputs[i], expected, &result), info->name);
        if (failed) return failed;
        printf("output %s: %s, %" PRId32 " of %" PRId32 " samples wrong, largest error %.3g", info->name,
               result.wrong ? "FAIL" : "ok", result.wrong, expected->count, result.worst);
        if (result.worst_at >= 0) printf(" at %" PRId64, result.worst_at);
        printf(" (tolerance %.3g)\n", expected->tolerance);
        if (result.wrong) status = EXIT_MISMATCH;
    }
    return status;
}

/* The same steps in two parts, into fresh outputs, must give the same bytes. */
static int check_steps(es_session *s) {
    int32_t steps = ES_MODEL(step_count)(), outputs = ES_MODEL(output_count)();
    void **again = es_buffers_make(outputs, ES_MODEL(output));
    if (!again) return EXIT_RESOURCES;
    int status = es_checked(ES_MODEL(bind)(s->context, (const void *const *)s->inputs, again), "bind");
    if (!status) status = es_checked(ES_MODEL(run_steps)(s->context, 0, steps / 2), "run_steps");
    if (!status) status = es_checked(ES_MODEL(run_steps)(s->context, steps / 2, steps), "run_steps");
    for (int32_t i = 0; i < outputs && !status; i++) {
        const es_tensor_info *info = ES_MODEL(output)(i);
        if (!memcmp(s->outputs[i], again[i], info->bytes)) continue;
        fprintf(stderr, "output %s: a second run, in two parts, gave other bits\n", info->name);
        status = EXIT_MISMATCH;
    }
    es_buffers_free(again, outputs);
    return status;
}

int es_command_selftest(es_session *s, const es_options *o) {
    (void)o;
    if (ES_MODEL(input_count)() != ES_SELFTEST_INPUTS || ES_MODEL(output_count)() != ES_SELFTEST_OUTPUTS) {
        fprintf(stderr, "selftest_data.h belongs to another model\n");
        return EXIT_MISMATCH;
    }
    if (es_variant_name()) printf("variant %s\n", es_variant_name());
    int status = es_session_fill(s);
    if (!status) status = check_inputs(s);
    if (!status) status = es_session_run(s);
    if (!status) status = check_outputs(s);
    if (!status) status = check_steps(s);
    if (status != EXIT_RESOURCES) printf("selftest %s\n", status ? "FAILED" : "passed");
    return status;
}
