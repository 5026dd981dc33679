/* Self-test data: pseudo-random inputs that need no storage, and the comparison with recorded outputs.
 *
 * Element k of input i comes from the 64-bit word z = splitmix64(i * 2^48 + k), where
 *
 *   splitmix64(n): z = (n + 1) * 0x9E3779B97F4A7C15;
 *                  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
 *                  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
 *                  z ^ (z >> 31)                                (all modulo 2^64)
 *
 * f16, bf16, f32, f64   the top p = 11, 8, 24, 53 bits m of z as (m - 2^(p-1)) / 2^(p-1): uniform in [-1, 1), exact in the type
 * i8, u8                the top 8 bits: the whole range of the type
 * bool                  the top bit
 * other integers        the top 3 bits: 0 to 7
 *
 * The generator is Vigna's splitmix64, https://prng.di.unimi.it/splitmix64.c, entered at an arbitrary position. */
#ifndef ES_SELFTEST_H
#define ES_SELFTEST_H

#include "es_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Samples of one output: `count` elements at the flat positions `index` (all of them, in order, when `index` is null). */
typedef struct {
    int64_t elements; /* of the whole output */
    int32_t count;
    const int64_t *index;
    const double *real;     /* expected values of a floating-point output, otherwise null */
    const int64_t *integer; /* expected values of an integer output, otherwise null; u64 as its bits */
    double tolerance;       /* largest absolute difference allowed; NaN matches NaN, an infinity only itself */
} es_selftest_output;

/* Outcome of comparing one output. */
typedef struct {
    int32_t wrong;     /* samples outside the tolerance */
    double worst;      /* largest absolute difference; infinite when NaN or infinity stands in one place only */
    int64_t worst_at;  /* flat position of it; -1 when every sample is exactly as expected */
} es_selftest_result;

/* Bytes of one element; 0 for an unknown element type. */
size_t es_element_bytes(int32_t dtype);

/* Fills `data` (`info->bytes` bytes) with the self-test values of input number `i`; ES_BAD_ARGUMENT for an unknown type. */
int32_t es_selftest_fill(const es_tensor_info *info, int32_t i, void *data);

/* Order-dependent sum of the bytes of a tensor: the sum over k of splitmix64(256 * k + byte k), modulo 2^64. */
uint64_t es_selftest_checksum(const void *data, size_t bytes);

/* Compares an output with its samples; ES_BAD_ARGUMENT when type or size do not fit the samples. */
int32_t es_selftest_compare(const es_tensor_info *info, const void *data, const es_selftest_output *expected,
                            es_selftest_result *result);

#ifdef __cplusplus
}
#endif

#endif
