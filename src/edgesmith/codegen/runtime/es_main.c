/* The command-line program around a generated model: self-test, timing, description, and inference on raw files. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "es_selftest.h"
#include "es_session.h"
#include "model.h"
#include "selftest_data.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "raw tensor files and self-test data are little-endian"
#endif

static const char USAGE[] =
    "usage: %s --selftest [--threads N]\n"
    "       %s --bench [--runs N] [--warmup N] [--threads N]\n"
    "       %s --run INPUT... OUTPUT... [--threads N]\n"
    "       %s --info\n"
    "\n"
    "  --selftest   run on recorded inputs and compare with the reference\n"
    "  --bench      time whole runs; prints milliseconds\n"
    "  --run        one raw little-endian file per input and output, in the order of --info\n"
    "  --info       inputs, outputs, memory and steps\n"
    "  --threads N  workers, 1 by default\n"
    "  --runs N     timed runs, 100 by default\n"
    "  --warmup N   runs before the timed ones, 10 by default\n"
    "\n"
    "exit status: 0 success, 1 self-test failed, 2 usage, 3 file, 4 out of memory or threads, 5 run failed\n";

typedef struct {
    const char *command;
    int threads, runs, warmup;
    char **files;
    int file_count;
} options;

static int checked(int32_t status, const char *what) {
    if (status == ES_OK) return 0;
    fprintf(stderr, "%s failed with status %" PRId32 "\n", what, status);
    return EXIT_MODEL;
}

static int run(es_session *s) {
    return checked(ES_MODEL(run)(s->context, (const void *const *)s->inputs, s->outputs), "run");
}

static int fill_inputs(es_session *s) {
    for (int32_t i = 0; i < ES_MODEL(input_count)(); i++) {
        int status = checked(es_selftest_fill(ES_MODEL(input)(i), i, s->inputs[i]), "making the inputs");
        if (status) return status;
    }
    return 0;
}

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
        int failed = checked(es_selftest_compare(info, s->outputs[i], expected, &result), info->name);
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
    int status = checked(ES_MODEL(bind)(s->context, (const void *const *)s->inputs, again), "bind");
    if (!status) status = checked(ES_MODEL(run_steps)(s->context, 0, steps / 2), "run_steps");
    if (!status) status = checked(ES_MODEL(run_steps)(s->context, steps / 2, steps), "run_steps");
    for (int32_t i = 0; i < outputs && !status; i++) {
        const es_tensor_info *info = ES_MODEL(output)(i);
        if (!memcmp(s->outputs[i], again[i], info->bytes)) continue;
        fprintf(stderr, "output %s: a second run, in two parts, gave other bits\n", info->name);
        status = EXIT_MISMATCH;
    }
    es_buffers_free(again, outputs);
    return status;
}

static int command_selftest(es_session *s) {
    if (ES_MODEL(input_count)() != ES_SELFTEST_INPUTS || ES_MODEL(output_count)() != ES_SELFTEST_OUTPUTS) {
        fprintf(stderr, "selftest_data.h belongs to another model\n");
        return EXIT_MISMATCH;
    }
    int status = fill_inputs(s);
    if (!status) status = check_inputs(s);
    if (!status) status = run(s);
    if (!status) status = check_outputs(s);
    if (!status) status = check_steps(s);
    if (status != EXIT_RESOURCES) printf("selftest %s\n", status ? "FAILED" : "passed");
    return status;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int command_bench(es_session *s, const options *o) {
    size_t runs = (size_t)o->runs;
    double *times = calloc(runs, sizeof *times);
    if (!times) return EXIT_RESOURCES;
    int status = fill_inputs(s);
    for (int i = 0; i < o->warmup && !status; i++) status = run(s);
    for (size_t i = 0; i < runs && !status; i++) {
        double start = now_ms();
        status = run(s);
        times[i] = now_ms() - start;
    }
    if (!status) {
        qsort(times, runs, sizeof *times, by_value);
        printf("median_ms %.6f min_ms %.6f p95_ms %.6f runs %d threads %d\n", (times[(runs - 1) / 2] + times[runs / 2]) / 2,
               times[0], times[(runs * 95 + 99) / 100 - 1], o->runs, o->threads);
    }
    free(times);
    return status;
}

static int read_tensor(const char *path, const es_tensor_info *info, void *data) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return EXIT_FILE;
    }
    int complete = fread(data, 1, info->bytes, file) == info->bytes && fgetc(file) == EOF && !ferror(file);
    fclose(file);
    if (complete) return 0;
    fprintf(stderr, "%s: input %s needs exactly %zu bytes\n", path, info->name, info->bytes);
    return EXIT_FILE;
}

/* Under a temporary name first, so that a reader never sees half a tensor. */
static int write_tensor(const char *path, const es_tensor_info *info, const void *data) {
    static const char suffix[] = ".part";
    char *part = malloc(strlen(path) + sizeof suffix);
    if (!part) return EXIT_RESOURCES;
    strcat(strcpy(part, path), suffix);
    FILE *file = fopen(part, "wb");
    int written = file && fwrite(data, 1, info->bytes, file) == info->bytes;
    if (file && fclose(file)) written = 0;
    int failed = !written || rename(part, path);
    if (failed) {
        fprintf(stderr, "%s: cannot write output %s: %s\n", path, info->name, strerror(errno));
        if (file) remove(part);
    }
    free(part);
    return failed ? EXIT_FILE : 0;
}

static int command_run(es_session *s, const options *o) {
    int32_t inputs = ES_MODEL(input_count)(), outputs = ES_MODEL(output_count)();
    if (o->file_count != inputs + outputs) {
        fprintf(stderr, "--run needs %" PRId32 " input and %" PRId32 " output files, in the order of --info\n", inputs, outputs);
        return EXIT_USAGE;
    }
    int status = 0;
    for (int32_t i = 0; i < inputs && !status; i++) status = read_tensor(o->files[i], ES_MODEL(input)(i), s->inputs[i]);
    if (!status) status = run(s);
    for (int32_t i = 0; i < outputs && !status; i++) {
        status = write_tensor(o->files[inputs + i], ES_MODEL(output)(i), s->outputs[i]);
    }
    return status;
}

static void print_tensor(const char *role, const es_tensor_info *info) {
    static const char *const names[] = {"?",  "f32",  "u8",  "i8",  "u16", "i16", "i32", "i64", "?",
                                        "bool", "f16", "f64", "u32", "u64", "?",   "?",   "bf16"};
    int known = info->dtype >= 0 && (size_t)info->dtype < sizeof names / sizeof names[0];
    printf("%-7s %s: %s [", role, info->name, known ? names[info->dtype] : "?");
    for (int32_t d = 0; d < info->rank; d++) printf("%s%" PRId64, d ? ", " : "", info->shape[d]);
    printf("], %zu bytes\n", info->bytes);
}

static int command_info(const options *o) {
    printf("edgesmith %s, abi %" PRId32 "\n", ES_MODEL(version)(), ES_MODEL(abi_version)());
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

/* Reads the value of a numeric option; returns 0 when it is not an integer from `low` to `high`. */
static int parse_int(const char *text, int low, int high, int *value) {
    char *end;
    errno = 0;
    long number = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || errno || number < low || number > high) return 0;
    *value = (int)number;
    return 1;
}

static int is_command(const char *text) {
    return !strcmp(text, "--selftest") || !strcmp(text, "--bench") || !strcmp(text, "--run") || !strcmp(text, "--info");
}

/* Returns 0 when the command line makes no sense. Files are gathered at the start of argv. */
static int parse(int argc, char **argv, options *o) {
    *o = (options){NULL, 1, 100, 10, argv, 0};
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (is_command(word) && !o->command) {
            o->command = word;
        } else if (!strcmp(word, "--threads") && parse_int(value, 1, ES_POOL_MAX_THREADS, &o->threads)) {
            i++;
        } else if (!strcmp(word, "--runs") && parse_int(value, 1, INT_MAX / 100, &o->runs)) {
            i++;
        } else if (!strcmp(word, "--warmup") && parse_int(value, 0, INT_MAX, &o->warmup)) {
            i++;
        } else if (o->command && !strcmp(o->command, "--run") && strncmp(word, "--", 2)) {
            argv[o->file_count++] = word;
        } else {
            fprintf(stderr, "unexpected or incomplete: %s\n", word);
            return 0;
        }
    }
    return o->command != NULL;
}

int main(int argc, char **argv) {
    const char *program = argc > 0 ? argv[0] : "model";
    options o;
    es_session s;
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        printf(USAGE, program, program, program, program);
        return 0;
    }
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, USAGE, program, program, program, program);
        return EXIT_USAGE;
    }
    if (!strcmp(o.command, "--info")) return command_info(&o);
    int status = es_session_open(&s, o.threads);
    if (status) return status;
    if (!strcmp(o.command, "--selftest")) {
        status = command_selftest(&s);
    } else if (!strcmp(o.command, "--bench")) {
        status = command_bench(&s, &o);
    } else {
        status = command_run(&s, &o);
    }
    es_session_close(&s);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "cannot write to standard output\n");
        return EXIT_FILE;
    }
    return status;
}
