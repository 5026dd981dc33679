/* Writes the self-test values of one input to standard output, or prints a file's checksum: fill DTYPE INDEX COUNT | fill FILE */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "es_selftest.h"

static int print_checksum(const char *path) {
    static unsigned char data[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) return 1;
    size_t bytes = fread(data, 1, sizeof data, file);
    fclose(file);
    printf("%" PRIu64, es_selftest_checksum(data, bytes));
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2) return print_checksum(argv[1]);
    int64_t count = atoll(argv[3]);
    es_tensor_info info = {"x", atoi(argv[1]), 1, &count, 0};
    info.bytes = (size_t)count * es_element_bytes(info.dtype);
    void *data = malloc(info.bytes + 1);
    if (!data || es_selftest_fill(&info, atoi(argv[2]), data) != ES_OK) return 1;
    fwrite(data, 1, info.bytes, stdout);
    free(data);
    return 0;
}
