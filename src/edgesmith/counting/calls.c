/* Calls functions on memory that a file describes, and writes to another file what the memory then holds.
 *
 * Both are sequences of 64-bit words and of bytes, padded to whole words. A call is:
 *   function, ranges, blocks, blocks to write back, pointers, pointers known to prepare, bytes of scratch memory,
 *   for each range begin and end; for each block its bytes and its address modulo 64; for each pointer its block and
 *   the offset in it; the contents of the blocks.
 * Of the pointers the last ones are those that prepare knows; it sees NULL in place of the others.
 *
 * Where a counting plugin listens, call i is region i + 1, without its prepare. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "functions.h"

enum { ALIGNMENT = 64, MARK = -2000000 };

static int64_t word(FILE *file) {
    int64_t value;
    if (fread(&value, sizeof value, 1, file) != 1) exit(3);
    return value;
}

static int64_t *words(FILE *file, int64_t count) {
    int64_t *values = calloc((size_t)count + 1, sizeof *values);
    for (int64_t i = 0; i < count; ++i) values[i] = word(file);
    return values;
}

/* The memory that `raw` then points to begins at the address modulo 64. */
static char *allocate(size_t bytes, size_t modulo, char **raw) {
    *raw = calloc(bytes + 2 * ALIGNMENT, 1);
    if (!*raw) exit(4);
    const size_t over = ((uintptr_t)*raw + ALIGNMENT - modulo) % ALIGNMENT;
    return *raw + (ALIGNMENT - over) % ALIGNMENT;
}

static void call(FILE *in, FILE *out, int number) {
    enum { FUNCTION, RANGES, BLOCKS, WRITTEN, POINTERS, PREPARED, SCRATCH, HEAD };
    int64_t *head = words(in, HEAD), *ranges = words(in, 2 * head[RANGES]), *blocks = words(in, 2 * head[BLOCKS]);
    int64_t *pointers = words(in, 2 * head[POINTERS]);
    char **at = calloc((size_t)head[BLOCKS] + 1, sizeof *at), **raw = calloc((size_t)head[BLOCKS] + 1, sizeof *raw);
    for (int64_t i = 0; i < head[BLOCKS]; ++i) {
        const size_t bytes = (size_t)blocks[2 * i], padding = (8 - bytes % 8) % 8;
        char ignored[8];
        at[i] = allocate(bytes, (size_t)blocks[2 * i + 1], &raw[i]);
        if (fread(at[i], 1, bytes, in) != bytes || fread(ignored, 1, padding, in) != padding) exit(3);
    }
    void **p = calloc((size_t)head[POINTERS] + 1, sizeof *p);
    char *scratch_raw, *const scratch = allocate((size_t)head[SCRATCH], 0, &scratch_raw);
    const int64_t first_known = head[POINTERS] - head[PREPARED];
    for (int64_t i = first_known; i < head[POINTERS]; ++i) p[i] = at[pointers[2 * i]] + pointers[2 * i + 1];
    if (functions[head[FUNCTION]].prepare) functions[head[FUNCTION]].prepare(p);
    for (int64_t i = 0; i < first_known; ++i) p[i] = at[pointers[2 * i]] + pointers[2 * i + 1];
    (void)close(MARK - 1 - number);
    for (int64_t i = 0; i < head[RANGES]; ++i) {
        functions[head[FUNCTION]].run(p, (int32_t)ranges[2 * i], (int32_t)ranges[2 * i + 1], scratch);
    }
    (void)close(MARK);
    for (int64_t i = 0; i < head[WRITTEN]; ++i) fwrite(at[i], 1, (size_t)blocks[2 * i], out);
    for (int64_t i = 0; i < head[BLOCKS]; ++i) free(raw[i]);
    free(scratch_raw);
    free(head), free(ranges), free(blocks), free(pointers), free(at), free(raw), free(p);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (!in || !out) return 3;
    const int64_t calls = word(in);
    for (int64_t i = 0; i < calls; ++i) {
        printf("%lld\n", (long long)i);
        fflush(stdout);
        call(in, out, (int)i);
    }
    return fclose(in) || fclose(out);
}
