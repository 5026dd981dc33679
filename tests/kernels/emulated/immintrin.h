/* AVX-512 on processors without it: the intrinsics of SIMDe, and what its releases lack or get wrong. */
#pragma once
#define SIMDE_ENABLE_NATIVE_ALIASES
#include_next <immintrin.h>
#include <simde/x86/avx512.h>
#include "amx.h"
#include <stdint.h>
#include <string.h>
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC 8
#endif

static inline __m512i emulated_madd_epi16(__m512i a, __m512i b) {
    int16_t x[32], y[32];
    int32_t z[16];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (int i = 0; i < 16; ++i) {
        z[i] = (int32_t)((uint32_t)(x[2 * i] * y[2 * i]) + (uint32_t)(x[2 * i + 1] * y[2 * i + 1]));
    }
    memcpy(&a, z, sizeof z);
    return a;
}

static inline __m512i emulated_widened(__m256i a, int with_sign) {
    uint8_t x[32];
    int16_t y[32];
    __m512i z;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 32; ++i) {
        y[i] = with_sign ? (int8_t)x[i] : x[i];
    }
    memcpy(&z, y, sizeof z);
    return z;
}

static inline __m512 emulated_maskz_loadu_ps(uint32_t mask, const float *p) {
    float x[16];
    __m512 z;
    for (int i = 0; i < 16; ++i) {
        x[i] = mask >> i & 1 ? p[i] : 0.0f;
    }
    memcpy(&z, x, sizeof z);
    return z;
}

#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) emulated_madd_epi16(a, b)
#undef _mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi16(a) emulated_widened(a, 0)
#undef _mm512_cvtepi8_epi16
#define _mm512_cvtepi8_epi16(a) emulated_widened(a, 1)
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps(mask, p) emulated_maskz_loadu_ps(mask, p)

static inline void emulated_mask_storeu_ps(float *p, uint32_t mask, __m512 a) {
    float x[16];
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; ++i) {
        if (mask >> i & 1) {
            p[i] = x[i];
        }
    }
}

#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps(p, mask, a) emulated_mask_storeu_ps(p, mask, a)

static inline __m512i emulated_cvtps_epi32(__m512 a) {
    __m256i half[2];
    __m512i z;
    float x[16];
    memcpy(x, &a, sizeof x);
    half[0] = _mm256_cvtps_epi32(_mm256_loadu_ps(x));
    half[1] = _mm256_cvtps_epi32(_mm256_loadu_ps(x + 8));
    memcpy(&z, half, sizeof z);
    return z;
}

static inline __m128i emulated_cvtusepi32_epi8(__m512i a) {
    uint32_t x[16];
    uint8_t y[16];
    __m128i z;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; ++i) {
        y[i] = x[i] > 255 ? 255 : (uint8_t)x[i];
    }
    memcpy(&z, y, sizeof z);
    return z;
}

#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32(a) emulated_cvtps_epi32(a)
#undef _mm512_cvtusepi32_epi8
#define _mm512_cvtusepi32_epi8(a) emulated_cvtusepi32_epi8(a)
