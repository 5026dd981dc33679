/* Peak rates of one core: fused multiply-adds in registers, and reads of a working set. */
#include <stddef.h>
#include <stdint.h>

#ifndef VECTOR_BYTES
#define VECTOR_BYTES 16
#endif

typedef float vector __attribute__((vector_size(VECTOR_BYTES), aligned(VECTOR_BYTES)));

/* Enough chains to cover the latency (4 to 5 cycles) of two multiply-adds a cycle, few enough for 16 registers. */
enum { CHAINS = 12, LANES = VECTOR_BYTES / 4 };

/* Runs `rounds` times 8 * CHAINS vector multiply-adds; returns the number of operations (a multiply-add counts two). */
__attribute__((visibility("default"))) double peak_fma(int64_t rounds, float factor, float *sink) {
    vector sums[CHAINS];
    const vector f = (vector){0} + factor, a = (vector){0} + 1e-3f;
    for (int i = 0; i < CHAINS; ++i) sums[i] = (vector){0} + (float)i;
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
        for (int k = 0; k < 8; ++k) {
#pragma GCC unroll 12
            for (int i = 0; i < CHAINS; ++i) sums[i] = sums[i] * f + a;
        }
    }
    vector total = {0};
    for (int i = 0; i < CHAINS; ++i) total += sums[i];
    for (int i = 0; i < LANES; ++i) *sink += total[i];
    return (double)rounds * 8 * CHAINS * LANES * 2;
}

/* Reads `bytes` (a multiple of 8 vectors) `rounds` times. */
__attribute__((visibility("default"))) void peak_read(const void *data, size_t bytes, int64_t rounds, float *sink) {
    vector sums[8] = {{0}};
    const size_t count = bytes / sizeof(vector) / 8 * 8;
    for (int64_t round = 0; round < rounds; ++round) {
        const vector *p = data;
        __asm__ volatile("" : "+r"(p) : : "memory");
        for (size_t i = 0; i < count; i += 8) {
#pragma GCC unroll 8
            for (int k = 0; k < 8; ++k) sums[k] += p[i + (size_t)k];
        }
    }
    for (int k = 0; k < 8; ++k) {
        for (int i = 0; i < LANES; ++i) *sink += sums[k][i];
    }
}
