/* A header is the bytes \x93NUMPY, two of version, the length of the text (two bytes in version 1, four in 2 and 3), and the text:
 * a Python dictionary with the keys descr, fortran_order and shape in any order, padded with spaces. */
#include "es_npy.h"

#include <stdlib.h>
#include <string.h>

static const char MAGIC[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, VERSION_BYTES = 2, MAX_TEXT_BYTES = 65535, BLOCK = 64 };

static const char NO_NPY[] = "is no .npy file; give bare elements another file name";
static const char DAMAGED[] = "the .npy header is damaged";
static const char STRUCTURED[] = "the .npy file holds records, not numbers of one type";

static const char *skip_spaces(const char *at) { return at + strspn(at, " \t\n"); }

/* Steps over `word` and the spaces around it; NULL where something else stands. */
static const char *expect(const char *at, const char *word) {
    at = skip_spaces(at);
    return strncmp(at, word, strlen(word)) ? NULL : skip_spaces(at + strlen(word));
}

/* A quoted string without escapes into `text`; NULL where there is none, or a longer one. */
static const char *parse_string(const char *at, char *text, size_t capacity) {
    const char quote = *at;
    if (quote != '\'' && quote != '"') return NULL;
    const char *end = strchr(++at, quote);
    if (!end || (size_t)(end - at) >= capacity || memchr(at, '\\', (size_t)(end - at))) return NULL;
    memcpy(text, at, (size_t)(end - at));
    text[end - at] = 0;
    return end + 1;
}

static const char *parse_bool(const char *at, int *value) {
    *value = *at == 'T';
    return expect(at, *value ? "True" : "False");
}

/* A tuple of extents, such as "(2, 3)", "(4,)" or "()". */
static const char *parse_shape(const char *at, es_npy_header *h) {
    at = expect(at, "(");
    for (h->rank = 0; at && *at != ')';) {
        char *end;
        if (*at < '0' || *at > '9' || h->rank == ES_NPY_MAX_RANK) return NULL;
        h->shape[h->rank++] = strtoll(at, &end, 10);
        at = skip_spaces(end);
        if (*at != ')') at = expect(at, ",");
    }
    return at ? at + 1 : NULL;
}

/* The dictionary that ends the string `text`. */
static const char *parse(const char *text, es_npy_header *h) {
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    int found = 0;
    const char *at = expect(text, "{");
    while (at && *at != '}') {
        char key[16];
        at = parse_string(at, key, sizeof key);
        if (at) at = expect(at, ":");
        if (!at) return DAMAGED;
        if (!strcmp(key, "descr") && *at == '[') return STRUCTURED;
        if (!strcmp(key, "descr")) {
            found |= DESCR;
            at = parse_string(at, h->descr, sizeof h->descr);
        } else if (!strcmp(key, "fortran_order")) {
            found |= ORDER;
            at = parse_bool(at, &h->fortran_order);
        } else if (!strcmp(key, "shape")) {
            found |= SHAPE;
            at = parse_shape(at, h);
        } else {
            return DAMAGED;
        }
        if (at && *(at = skip_spaces(at)) != '}') at = expect(at, ",");
    }
    return at && found == (DESCR | ORDER | SHAPE) && !*skip_spaces(at + 1) ? NULL : DAMAGED;
}

const char *es_npy_read(FILE *file, es_npy_header *header) {
    unsigned char start[MAGIC_BYTES + VERSION_BYTES], count[4] = {0};
    if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, MAGIC, MAGIC_BYTES)) return NO_NPY;
    const int version = start[MAGIC_BYTES];
    if (version < 1 || version > 3) return "is of a version of .npy that is unknown here";
    const size_t count_bytes = version == 1 ? 2 : 4;
    if (fread(count, 1, count_bytes, file) != count_bytes) return DAMAGED;
    const uint32_t bytes = count[0] | (uint32_t)count[1] << 8 | (uint32_t)count[2] << 16 | (uint32_t)count[3] << 24;
    if (bytes > MAX_TEXT_BYTES) return "the .npy header is longer than that of any array";
    char *text = malloc((size_t)bytes + 1);
    if (!text) return "no memory for the .npy header";
    const size_t got = fread(text, 1, bytes, file);
    text[got] = 0;
    /* A zero byte would hide what follows it. */
    const char *why = got == bytes && strlen(text) == bytes ? parse(text, header) : DAMAGED;
    free(text);
    return why;
}

int es_npy_write(FILE *file, const char *descr, const char *shape) {
    static const char form[] = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }";
    const size_t before = MAGIC_BYTES + VERSION_BYTES + 2;
    const size_t text = (size_t)snprintf(NULL, 0, form, descr, shape);
    /* The elements start at a multiple of 64 bytes; a line break ends the text. */
    const size_t bytes = (before + text + 1 + BLOCK - 1) / BLOCK * BLOCK - before;
    fwrite(MAGIC, 1, MAGIC_BYTES, file);
    const unsigned char rest[] = {1, 0, (unsigned char)(bytes & 255), (unsigned char)(bytes >> 8)};
    fwrite(rest, 1, sizeof rest, file);
    fprintf(file, form, descr, shape);
    for (size_t i = text + 1; i < bytes; i++) fputc(' ', file);
    fputc('\n', file);
    return !ferror(file);
}
