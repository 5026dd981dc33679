/* The commands of the program and the options that they share. A command is a function in a file of its own and a row of the
 * table in es_main.c. */
#ifndef ES_COMMAND_H
#define ES_COMMAND_H

#include "es_session.h"

struct es_options;

/* Gives an exit status. `s` is open, with threads and affinity as the options say; NULL for a command that asks for none. */
typedef int es_command_function(es_session *s, const struct es_options *o);

typedef struct {
    const char *name;      /* with its dashes */
    const char *arguments; /* for the usage line, such as "[--runs N]" */
    const char *help;      /* lines of the list of commands, without the name */
    int takes_files;
    int needs_session;
    es_command_function *function;
} es_command;

typedef struct es_options {
    const char *program;
    const es_command *command;
    int threads, runs, warmup;
    const char *affinity; /* NULL: any processor */
    const char *isa;      /* NULL: the best variant */
    char **files;
    int file_count;
} es_options;

/* Reads the command line; files are gathered at the start of argv. Gives 0, or EXIT_USAGE after saying why on standard error.
 * `commands` ends with a row without a name. */
int es_options_parse(es_options *o, int argc, char **argv, const es_command *commands);

/* Explains commands and options on standard output. */
void es_options_help(const char *program, const es_command *commands);

es_command_function es_command_selftest, es_command_bench, es_command_run, es_command_info, es_command_serve;

#endif
