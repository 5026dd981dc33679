/* What generated code takes from <math.h> and <string.h>, for processors without a C library. Compilers call memcpy and memset
 * by themselves too: these two functions must exist. */
#ifndef ES_BARE_H
#define ES_BARE_H

#include <stddef.h>
#include <stdint.h>

#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(a) __builtin_isnan(a)
#define fabsf __builtin_fabsf
#define fabs __builtin_fabs
#define copysignf __builtin_copysignf
#define copysign __builtin_copysign
#define rintf es_bare_rintf
#define rint es_bare_rint
#define floorf es_bare_floorf
#define floor es_bare_floor
#define ceilf es_bare_ceilf
#define ceil es_bare_ceil
#define sqrtf es_bare_sqrtf
#define sqrt es_bare_sqrt

/* Adding 2^(p-1), where p is the precision, leaves no bits for a fraction. */
__attribute__((unused)) static inline float es_bare_rintf(float a) {
    if (!(fabsf(a) < 8388608.0f)) return a;
    const float large = copysignf(8388608.0f, a);
    return copysignf((a + large) - large, a);
}

__attribute__((unused)) static inline double es_bare_rint(double a) {
    if (!(fabs(a) < 4503599627370496.0)) return a;
    const double large = copysign(4503599627370496.0, a);
    return copysign((a + large) - large, a);
}

__attribute__((unused)) static inline float es_bare_floorf(float a) {
    const float near = rintf(a);
    return near > a ? near - 1.0f : near;
}

__attribute__((unused)) static inline double es_bare_floor(double a) {
    const double near = rint(a);
    return near > a ? near - 1.0 : near;
}

__attribute__((unused)) static inline float es_bare_ceilf(float a) { return -floorf(-a); }

__attribute__((unused)) static inline double es_bare_ceil(double a) { return -floor(-a); }

/* The root of a * 2^52, where 2^52 <= a < 2^54, digit by digit and rounded by one digit more and what remains. */
__attribute__((unused)) static inline uint64_t es_bare_root(uint64_t a) {
    uint64_t root = 0, rest = 0;
    for (int digit = 53; digit >= 0; --digit) {
        const uint64_t trial = root << 2 | 1;
        rest = rest << 2 | (2 * digit >= 54 ? a >> (2 * digit - 54) & 3 : 0);
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1;
        }
    }
    return (root + (root & 1 && (rest || root & 2))) >> 1;
}

__attribute__((unused)) static inline double es_bare_sqrt(double a) {
    if (!(a > 0.0) || a == (double)INFINITY) return a < 0.0 ? (double)NAN : a;
    int scale = 0;
    for (; a < 2.2250738585072014e-308; a *= 18014398509481984.0) scale += 54;
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    const int exponent = (int)(bits >> 52) - 1023 - scale;
    const uint64_t one = UINT64_C(1) << 52, significand = (bits & (one - 1)) | one;
    const int odd = exponent & 1;
    bits = (uint64_t)((exponent - odd) / 2 + 1023) << 52;
    bits += es_bare_root(significand << odd) - one;
    memcpy(&a, &bits, sizeof a);
    return a;
}

#if defined(__ARM_FP)
__attribute__((unused)) static inline float es_bare_sqrtf(float a) { return __builtin_sqrtf(a); }
#else
/* The root in double precision has more than twice the digits of a float, so rounding it again changes nothing. */
__attribute__((unused)) static inline float es_bare_sqrtf(float a) { return (float)sqrt((double)a); }
#endif

#endif
