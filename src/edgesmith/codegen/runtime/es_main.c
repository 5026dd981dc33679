/* The command-line program around a generated model. */
#include <stdio.h>
#include <string.h>

#include "es_affinity.h"
#include "es_command.h"
#include "es_variant.h"

static const es_command COMMANDS[] = {
    {"--selftest", "", "run on recorded inputs and compare with the reference", 0, 1, es_command_selftest},
    {"--run", "INPUT... OUTPUT...", "compute outputs from inputs: files, or folders of files", 1, 1, es_command_run},
    {"--bench", "", "time whole runs; prints milliseconds", 0, 1, es_command_bench},
    {"--serve", "", "answer another program over standard input and output until the input ends", 0, 1, es_command_serve},
    {"--info", "", "inputs, outputs, memory and steps", 0, 0, es_command_info},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static int execute(const es_options *o) {
    es_session s;
    int status = o->affinity ? es_affinity_set(o->affinity) : 0;
    if (!status) status = es_variant_use(o->isa);
    if (status) return status;
    if (!o->command->needs_session) return o->command->function(NULL, o);
    status = es_session_open(&s, o->threads);
    if (status) return status;
    status = o->command->function(&s, o);
    es_session_close(&s);
    return status;
}

int main(int argc, char **argv) {
    es_options o;
    int status = 0;
    if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        es_options_help(argv[0], COMMANDS);
    } else {
        status = es_options_parse(&o, argc, argv, COMMANDS);
        if (!status) status = execute(&o);
    }
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "cannot write to standard output\n");
        return EXIT_FILE;
    }
    return status;
}
