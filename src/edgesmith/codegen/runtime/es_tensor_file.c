/* The .npy format, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: the bytes \x93NUMPY, two of version,
 * the header's length (two bytes in version 1, four in 2 and 3), a Python dictionary with descr, fortran_order and shape, and the
 * elements. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* lstat */
#endif

#include "es_tensor_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(_WIN32)
#include <windows.h>
#define lstat stat
#endif

#include "es_npy.h"
#include "es_session.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "raw tensor files and self-test data are little-endian"
#endif

static const struct {
    int32_t dtype;
    const char *name, *descr;
} TYPES[] = {
    {ES_F32, "f32", "<f4"}, {ES_U8, "u8", "|u1"},    {ES_I8, "i8", "|i1"},   {ES_U16, "u16", "<u2"}, {ES_I16, "i16", "<i2"},
    {ES_I32, "i32", "<i4"}, {ES_I64, "i64", "<i8"},  {ES_BOOL, "bool", "|b1"}, {ES_F16, "f16", "<f2"}, {ES_F64, "f64", "<f8"},
    {ES_U32, "u32", "<u4"}, {ES_U64, "u64", "<u8"},  {ES_BF16, "bf16", "<V2"},
};

static size_t type_index(int32_t dtype) {
    size_t i = 0;
    while (i < sizeof TYPES / sizeof TYPES[0] && TYPES[i].dtype != dtype) i++;
    return i;
}

const char *es_type_name(int32_t dtype) {
    const size_t i = type_index(dtype);
    return i < sizeof TYPES / sizeof TYPES[0] ? TYPES[i].name : "?";
}

static const char *type_descr(int32_t dtype) {
    const size_t i = type_index(dtype);
    return i < sizeof TYPES / sizeof TYPES[0] ? TYPES[i].descr : "?";
}

/* Extents between two words; what does not fit ends in "...". */
static const char *extents(char *text, const char *open, const char *close, int32_t rank, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, ES_SHAPE_CHARS, "%s", open);
    for (int32_t d = 0; d < rank && used < ES_SHAPE_CHARS - 32; d++) {
        used += (size_t)snprintf(text + used, ES_SHAPE_CHARS - used, "%s%" PRId64, d ? ", " : "", shape[d]);
        if (d + 1 < rank && used >= ES_SHAPE_CHARS - 32) used += (size_t)snprintf(text + used, ES_SHAPE_CHARS - used, ", ...");
    }
    snprintf(text + used, ES_SHAPE_CHARS - used, "%s", close);
    return text;
}

const char *es_shape_text(char *text, int32_t rank, const int64_t *shape) { return extents(text, "[", "]", rank, shape); }

static int is_npy(const char *path) {
    const size_t length = strlen(path);
    return length > 4 && !strcmp(path + length - 4, ".npy");
}

static int same_shape(const es_npy_header *h, int32_t rank, const int64_t *shape) {
    if (h->rank != rank) return 0;
    for (int32_t d = 0; d < rank; d++) {
        if (h->shape[d] != shape[d]) return 0;
    }
    return 1;
}

/* Types of one byte have no order; numpy marks them by '|', some writers by '<'. */
static int same_type(const char *descr, const char *wanted) {
    return !strcmp(descr, wanted) || (*wanted == '|' && *descr == '<' && !strcmp(descr + 1, wanted + 1)) ||
           (!strcmp(wanted, "<V2") && !strcmp(descr, "|V2"));
}

/* Whether the elements after a header are this tensor's, in this order. */
static int accepted(const char *path, const es_npy_header *h, const es_tensor_info *info) {
    char wanted[ES_SHAPE_CHARS], found[ES_SHAPE_CHARS];
    const int32_t rank = info->rank;
    const int unbatched = rank > 0 && info->shape[0] == 1 && same_shape(h, rank - 1, info->shape + 1);
    if (!same_type(h->descr, type_descr(info->dtype))) {
        fprintf(stderr, "%s: input %s takes %s, the file holds '%s'; save x.astype('%s')\n", path, info->name,
                es_type_name(info->dtype), h->descr, type_descr(info->dtype));
        return 0;
    }
    if (!same_shape(h, rank, info->shape) && !unbatched) {
        fprintf(stderr, "%s: input %s has the shape %s, the file holds %s\n", path, info->name,
                es_shape_text(wanted, rank, info->shape), es_shape_text(found, h->rank, h->shape));
        return 0;
    }
    if (h->fortran_order && h->rank > 1) {
        fprintf(stderr, "%s: the elements are in Fortran order; save numpy.ascontiguousarray(x)\n", path);
        return 0;
    }
    return 1;
}

static int read_header(FILE *file, const char *path, const es_tensor_info *info) {
    es_npy_header h;
    const char *why = es_npy_read(file, &h);
    if (why) fprintf(stderr, "%s: %s\n", path, why);
    return why || !accepted(path, &h, info) ? EXIT_FILE : 0;
}

int es_tensor_read(const char *path, const es_tensor_info *info, void *data) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: input %s cannot be read: %s\n", path, info->name, strerror(errno));
        return EXIT_FILE;
    }
    int status = is_npy(path) ? read_header(file, path, info) : 0;
    if (!status && (fread(data, 1, info->bytes, file) != info->bytes || fgetc(file) != EOF || ferror(file))) {
        fprintf(stderr, "%s: input %s needs exactly %zu bytes of elements%s\n", path, info->name, info->bytes,
                is_npy(path) ? " after the header" : "");
        status = EXIT_FILE;
    }
    fclose(file);
    return status;
}

static int write_header(FILE *file, const es_tensor_info *info) {
    char shape[ES_SHAPE_CHARS];
    extents(shape, "(", info->rank == 1 ? ",)" : ")", info->rank, info->shape);
    return es_npy_write(file, type_descr(info->dtype), shape);
}

/* Whether all of it arrived; closes the file. */
static int write_to(FILE *file, int npy, const es_tensor_info *info, const void *data) {
    const int written = (!npy || write_header(file, info)) && fwrite(data, 1, info->bytes, file) == info->bytes;
    return !fclose(file) && written;
}

/* Gives one file the name of another, which goes. */
static int replace(const char *from, const char *to) {
#if defined(_WIN32)
    if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING)) return 1;
    errno = EACCES;
    return 0;
#else
    return !rename(from, to);
#endif
}

static int write_directly(const char *path, const es_tensor_info *info, const void *data) {
    FILE *file = fopen(path, "wb");
    return file && write_to(file, is_npy(path), info, data);
}

static int write_whole(const char *path, const es_tensor_info *info, const void *data) {
    static const char suffix[] = ".part";
    char *part = malloc(strlen(path) + sizeof suffix);
    if (!part) return 0;
    strcat(strcpy(part, path), suffix);
    FILE *file = fopen(part, "wb");
    const int written = file && write_to(file, is_npy(path), info, data) && replace(part, path), why = errno;
    if (file && !written) remove(part);
    free(part);
    errno = why;
    return written;
}

int es_tensor_write(const char *path, const es_tensor_info *info, const void *data) {
    struct stat found;
    const int direct = !lstat(path, &found) && !S_ISREG(found.st_mode);
    if (direct ? write_directly(path, info, data) : write_whole(path, info, data)) return 0;
    const int why = errno;
    fprintf(stderr, "%s: cannot write output %s: %s\n", path, info->name, strerror(why));
    return why == ENOMEM ? EXIT_RESOURCES : EXIT_FILE;
}
