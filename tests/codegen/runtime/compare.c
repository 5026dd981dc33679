/* Compares the tensor on standard input with output NUMBER of selftest_data.h: compare NUMBER DTYPE BYTES */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "selftest_data.h"

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    es_tensor_info info = {"y", atoi(argv[2]), 0, NULL, (size_t)atoll(argv[3])};
    void *data = calloc(info.bytes + 1, 1);
    if (!data || fread(data, 1, info.bytes, stdin) != info.bytes) return 3;
    es_selftest_result result;
    int32_t status = es_selftest_compare(&info, data, &es_selftest_outputs[atoi(argv[1])], &result);
    free(data);
    printf("%" PRId32 " %" PRId32 " %.17g %" PRId64 " %" PRIu64, status, result.wrong, result.worst, result.worst_at,
           es_selftest_input_checksums[0]);
    return 0;
}
