#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "es_command.h"
#include "es_tensor_file.h"
#include "model.h"

static const char OPTIONS[] =
    "options:\n"
    "  --threads N      workers that share a run, 1 by default; results are the same bits for any number\n"
    "  --affinity SET   run on big or little cores, or on processors such as 0-3,6\n"
    "  --isa NAME       of a program for several instruction sets, run this variant; by default the best\n"
    "  --runs N         timed runs, 100 by default\n"
    "  --warmup N       runs before the timed ones, 10 by default\n"
    "\n"
    "exit status: 0 success, 1 self-test failed, 2 usage, 3 file, 4 out of memory or threads, 5 run failed\n";

static void print_shape(const es_tensor_info *info) {
    char shape[ES_SHAPE_CHARS];
    printf("%s %s %s", info->name, es_type_name(info->dtype), es_shape_text(shape, info->rank, info->shape));
}

/* What files to prepare for this very model. */
static void print_files(const char *program) {
    const int32_t inputs = ES_MODEL(input_count)(), outputs = ES_MODEL(output_count)();
    printf("tensors are files: .npy as numpy.save writes it, or the bare elements, little-endian, in any other file.\n");
    printf("This model turns ");
    for (int32_t i = 0; i < inputs; i++) {
        if (i) printf(", ");
        print_shape(ES_MODEL(input)(i));
    }
    printf(" into ");
    for (int32_t i = 0; i < outputs; i++) {
        if (i) printf(", ");
        print_shape(ES_MODEL(output)(i));
    }
    printf(":\n\n  %s --run", program);
    for (int32_t i = 0; i < inputs; i++) printf(" in%d.npy", (int)i);
    for (int32_t i = 0; i < outputs; i++) printf(" out%d.npy", (int)i);
    printf("\n  %s --run", program);
    for (int32_t i = 0; i < inputs; i++) printf(" in%d/", (int)i);
    for (int32_t i = 0; i < outputs; i++) printf(" out%d/", (int)i);
    printf("      every file of the folder%s\n\n", inputs > 1 ? "s, by its name" : "");
}

void es_options_help(const char *program, const es_command *commands) {
    printf("usage:");
    for (const es_command *c = commands; c->name; c++) {
        printf("%s %s %s%s%s [OPTION...]\n", c == commands ? "" : "      ", program, c->name, *c->arguments ? " " : "",
               c->arguments);
    }
    printf("\ncommands:\n");
    for (const es_command *c = commands; c->name; c++) printf("  %-15s  %s\n", c->name, c->help);
    printf("\n");
    print_files(program);
    fputs(OPTIONS, stdout);
}

/* Reads the value of a numeric option; returns 0 when it is not an integer from `low` to `high`. */
static int parse_int(const char *option, const char *text, int low, int high, int *value) {
    char *end;
    errno = 0;
    const long number = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || errno || number < low || number > high) {
        fprintf(stderr, "%s takes a number from %d to %d, not %s\n", option, low, high, text ? text : "nothing");
        return 0;
    }
    *value = (int)number;
    return 1;
}

/* 1: read, together with its value; 0: no option of this name; -1: its value makes no sense. */
static int parse_option(es_options *o, const char *word, const char *value) {
    if (!strcmp(word, "--threads")) return parse_int(word, value, 1, ES_POOL_MAX_THREADS, &o->threads) ? 1 : -1;
    if (!strcmp(word, "--runs")) return parse_int(word, value, 1, INT_MAX / 100, &o->runs) ? 1 : -1;
    if (!strcmp(word, "--warmup")) return parse_int(word, value, 0, INT_MAX, &o->warmup) ? 1 : -1;
    if (!strcmp(word, "--isa")) {
        o->isa = value;
        if (value) return 1;
        fprintf(stderr, "--isa takes the name of a variant; --info shows which one is in use\n");
        return -1;
    }
    if (strcmp(word, "--affinity")) return 0;
    o->affinity = value;
    if (value) return 1;
    fprintf(stderr, "--affinity takes big, little, or processors such as 0-3,6\n");
    return -1;
}

static const es_command *find(const es_command *commands, const char *word) {
    while (commands->name && strcmp(commands->name, word)) commands++;
    return commands->name ? commands : NULL;
}

static int misused(const char *program, const char *word, const char *why) {
    fprintf(stderr, "%s: %s; see %s --help\n", word, why, program);
    return EXIT_USAGE;
}

int es_options_parse(es_options *o, int argc, char **argv, const es_command *commands) {
    *o = (es_options){argc > 0 ? argv[0] : "model", NULL, 1, 100, 10, NULL, NULL, argv, 0};
    for (int i = 1; i < argc; i++) {
        const int option = parse_option(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        const es_command *command = find(commands, argv[i]);
        if (option < 0) return EXIT_USAGE;
        if (option) {
            i++;
        } else if (command) {
            if (o->command) return misused(o->program, argv[i], "only one command at a time");
            o->command = command;
        } else if (!strncmp(argv[i], "--", 2)) {
            return misused(o->program, argv[i], "neither a command nor an option");
        } else if (!o->command || !o->command->takes_files) {
            return misused(o->program, argv[i], "files come after --run only");
        } else {
            argv[o->file_count++] = argv[i];
        }
    }
    if (o->command) return 0;
    fprintf(stderr, "which command? Try %s --selftest, or %s --help\n", o->program, o->program);
    return EXIT_USAGE;
}
