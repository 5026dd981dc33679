/* Inference on files: one for each input and output, or folders of them, where the files of one name belong together. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* dirent, stat */
#endif

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(_WIN32)
#include <direct.h>
#define make_folder(path) _mkdir(path)
#else
#define make_folder(path) mkdir(path, 0777)
#endif

#include "es_command.h"
#include "es_tensor_file.h"
#include "model.h"

static int is_folder(const char *path) {
    struct stat found;
    return !stat(path, &found) && S_ISDIR(found.st_mode);
}

static int failed(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    return EXIT_FILE;
}

static int same(const char *path, const char *other) {
    struct stat a, b;
    return !strcmp(path, other) ||
           (!stat(path, &a) && !stat(other, &b) && a.st_ino && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
}

/* Whether an output is an input, or an output before it, which it would replace. Pipes and devices take any number. */
static int check_output(char *const *paths, int which) {
    struct stat found;
    if (!stat(paths[which], &found) && !S_ISREG(found.st_mode)) return 0;
    for (int i = 0; i < which; i++) {
        if (same(paths[which], paths[i])) return failed(paths[which], "is given twice; results need a file of their own");
    }
    return 0;
}

/* One inference; `paths` are those of the inputs and of the outputs. */
static int run_files(es_session *s, char *const *paths) {
    int32_t inputs = ES_MODEL(input_count)(), outputs = ES_MODEL(output_count)();
    int status = 0;
    for (int32_t i = 0; i < outputs && !status; i++) status = check_output(paths, inputs + i);
    for (int32_t i = 0; i < inputs && !status; i++) status = es_tensor_read(paths[i], ES_MODEL(input)(i), s->inputs[i]);
    if (!status) status = es_session_run(s);
    for (int32_t i = 0; i < outputs && !status; i++) {
        /* Again: two names of one file are known as such when it is there. */
        status = check_output(paths, inputs + i);
        if (!status) status = es_tensor_write(paths[inputs + i], ES_MODEL(output)(i), s->outputs[i]);
    }
    return status;
}

/* "folder/name"; NULL: out of memory. */
static char *join(const char *folder, const char *name) {
    const size_t length = strlen(folder);
    const char *separator = length && folder[length - 1] == '/' ? "" : "/";
    const size_t bytes = length + strlen(separator) + strlen(name) + 1;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s%s%s", folder, separator, name);
    return path;
}

/* Names of files in a folder. */
typedef struct {
    char **names;
    size_t count, capacity;
} listing;

static void release(listing *list) {
    for (size_t i = 0; i < list->count; i++) free(list->names[i]);
    free(list->names);
}

static int append(listing *list, const char *name) {
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **names = realloc(list->names, capacity * sizeof *names);
        if (!names) return 0;
        list->names = names;
        list->capacity = capacity;
    }
    char *copy = malloc(strlen(name) + 1);
    if (!copy) return 0;
    list->names[list->count++] = strcpy(copy, name);
    return 1;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The files of a folder in the order of their names, without those that begin with a dot and without folders. */
static int list_files(const char *folder, listing *list) {
    DIR *stream = opendir(folder);
    if (!stream) return failed(folder, strerror(errno));
    int status = 0;
    for (struct dirent *entry; !status && (entry = readdir(stream));) {
        if (*entry->d_name == '.') continue;
        char *path = join(folder, entry->d_name);
        if (!path || (!is_folder(path) && !append(list, entry->d_name))) status = EXIT_RESOURCES;
        free(path);
    }
    closedir(stream);
    if (status) fprintf(stderr, "%s: out of memory\n", folder);
    if (!status && !list->count) status = failed(folder, "holds no files");
    if (list->count) qsort(list->names, list->count, sizeof *list->names, by_name);
    return status;
}

/* The outputs' folders, made where they are missing; none is an input's, whose files it would replace. */
static int prepare_folders(char *const *folders, int inputs, int count) {
    for (int i = inputs; i < count; i++) {
        if (make_folder(folders[i]) && !is_folder(folders[i])) return failed(folders[i], strerror(errno));
        for (int k = 0; k < i; k++) {
            if (same(folders[i], folders[k])) return failed(folders[i], "is given twice; results need a folder of their own");
        }
    }
    return 0;
}

/* One inference on the files of one name in all folders. */
static int run_name(es_session *s, char *const *folders, int count, const char *name) {
    char **paths = calloc((size_t)count, sizeof *paths);
    int status = paths ? 0 : EXIT_RESOURCES;
    for (int i = 0; i < count && !status; i++) {
        paths[i] = join(folders[i], name);
        if (!paths[i]) status = EXIT_RESOURCES;
    }
    if (status) {
        fprintf(stderr, "%s: out of memory\n", name);
    } else {
        status = run_files(s, paths);
    }
    for (int i = 0; paths && i < count; i++) free(paths[i]);
    free(paths);
    return status;
}

static int run_folders(es_session *s, char *const *folders, int inputs, int count) {
    listing list = {NULL, 0, 0};
    int status = 0;
    for (int i = 0; i < inputs && !status; i++) {
        if (!is_folder(folders[i])) status = failed(folders[i], "is no folder, and the first input is one");
    }
    if (!status) status = list_files(folders[0], &list);
    if (!status) status = prepare_folders(folders, inputs, count);
    size_t done = 0;
    for (; done < list.count && !status; done += !status) status = run_name(s, folders, count, list.names[done]);
    if (status && done) fprintf(stderr, "%zu of %zu files were done before\n", done, list.count);
    release(&list);
    return status;
}

int es_command_run(es_session *s, const es_options *o) {
    int32_t inputs = ES_MODEL(input_count)(), outputs = ES_MODEL(output_count)();
    if (o->file_count != inputs + outputs) {
        fprintf(stderr, "--run needs %" PRId32 " input and %" PRId32 " output files or folders, in the order of --info\n", inputs,
                outputs);
        return EXIT_USAGE;
    }
    if (inputs > 0 && is_folder(o->files[0])) return run_folders(s, o->files, inputs, inputs + outputs);
    return run_files(s, o->files);
}
