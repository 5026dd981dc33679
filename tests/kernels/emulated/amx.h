/* AMX on processors without it: tiles in plain C. What a processor would answer with an exception traps.
 *
 * With EMULATED_DENIAL the system denies the tiles to the process. */
#pragma once
#include <cpuid.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    int32_t rows, row_bytes;
    uint8_t bytes[16][64];
} emulated_tile;

static _Thread_local emulated_tile emulated_tiles[8];
static _Thread_local int32_t emulated_configured;
static int32_t emulated_grant;

static inline void emulated_need(int32_t condition) {
    if (!condition) __builtin_trap();
}

static inline emulated_tile *emulated_at(int32_t tile) {
    emulated_need(emulated_configured && tile >= 0 && tile < 8 && emulated_tiles[tile].rows > 0);
    return &emulated_tiles[tile];
}

/* CPUID of a processor with AMX. */
static inline int emulated_cpuid(unsigned leaf, unsigned *d) {
    emulated_need(leaf == 7);
    *d = 1u << 22 | 1u << 24 | 1u << 25;
    return 1;
}

static inline long emulated_syscall(long number, long request, long component) {
    emulated_need(number == 158 && request == 0x1023 && component == 18);
#if defined(EMULATED_DENIAL)
    return -1;
#else
    emulated_grant = 1;
    return 0;
#endif
}

static inline void emulated_loadconfig(const void *p) {
    uint8_t c[64];
    memcpy(c, p, sizeof c);
    emulated_need(emulated_grant && c[0] == 1);
    for (int i = 1; i < 16; ++i) emulated_need(c[i] == 0);
    memset(emulated_tiles, 0, sizeof emulated_tiles);
    for (int i = 0; i < 8; ++i) {
        emulated_tiles[i].row_bytes = c[16 + 2 * i] | c[17 + 2 * i] << 8;
        emulated_tiles[i].rows = c[48 + i];
        emulated_need(emulated_tiles[i].row_bytes <= 64 && emulated_tiles[i].rows <= 16);
        emulated_need(!emulated_tiles[i].rows == !emulated_tiles[i].row_bytes);
    }
    emulated_configured = 1;
}

static inline void emulated_release(void) {
    emulated_need(emulated_grant);
    emulated_configured = 0;
}

static inline void emulated_zero(int32_t tile) {
    emulated_tile *const t = emulated_at(tile);
    memset(t->bytes, 0, sizeof t->bytes);
}

static inline void emulated_loadd(int32_t tile, const void *p, long stride) {
    emulated_tile *const t = emulated_at(tile);
    memset(t->bytes, 0, sizeof t->bytes);
    for (int32_t i = 0; i < t->rows; ++i) memcpy(t->bytes[i], (const uint8_t *)p + i * stride, (size_t)t->row_bytes);
}

static inline void emulated_stored(int32_t tile, void *p, long stride) {
    emulated_tile *const t = emulated_at(tile);
    for (int32_t i = 0; i < t->rows; ++i) memcpy((uint8_t *)p + i * stride, t->bytes[i], (size_t)t->row_bytes);
}

static inline void emulated_check(const emulated_tile *c, const emulated_tile *a, const emulated_tile *b) {
    emulated_need(c != a && c != b && a != b && c->row_bytes % 4 == 0 && a->row_bytes % 4 == 0);
    emulated_need(c->rows == a->rows && c->row_bytes == b->row_bytes && a->row_bytes / 4 == b->rows);
}

static inline void emulated_dpbusd(int32_t sums, int32_t x, int32_t y) {
    emulated_tile *const c = emulated_at(sums), *const a = emulated_at(x), *const b = emulated_at(y);
    emulated_check(c, a, b);
    for (int32_t m = 0; m < c->rows; ++m) {
        for (int32_t n = 0; n < c->row_bytes / 4; ++n) {
            uint32_t sum;
            memcpy(&sum, &c->bytes[m][4 * n], 4);
            for (int32_t k = 0; k < a->row_bytes; ++k) {
                sum += (uint32_t)((int32_t)a->bytes[m][k] * (int8_t)b->bytes[k / 4][4 * n + k % 4]);
            }
            memcpy(&c->bytes[m][4 * n], &sum, 4);
        }
    }
}

static inline float emulated_flushed(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (!(bits & 0x7f800000u)) bits &= 0x80000000u;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float emulated_bf16(const uint8_t *p) {
    const uint32_t bits = ((uint32_t)p[0] | (uint32_t)p[1] << 8) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return emulated_flushed(x);
}

static inline void emulated_dpbf16ps(int32_t sums, int32_t x, int32_t y) {
    emulated_tile *const c = emulated_at(sums), *const a = emulated_at(x), *const b = emulated_at(y);
    emulated_check(c, a, b);
    for (int32_t m = 0; m < c->rows; ++m) {
        for (int32_t n = 0; n < c->row_bytes / 4; ++n) {
            float parts[2] = {0.0f, 0.0f}, sum;
            for (int32_t k = 0; k < a->row_bytes / 2; ++k) {
                const float element = emulated_bf16(&a->bytes[m][2 * k]);
                const float weight = emulated_bf16(&b->bytes[k / 2][4 * n + 2 * (k % 2)]);
                parts[k % 2] = emulated_flushed(fmaf(element, weight, parts[k % 2]));
            }
            memcpy(&sum, &c->bytes[m][4 * n], 4);
            sum = emulated_flushed(emulated_flushed(sum) + emulated_flushed(parts[0] + parts[1]));
            memcpy(&c->bytes[m][4 * n], &sum, 4);
        }
    }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#undef _tile_dpbf16ps
#define _tile_loadconfig(p) emulated_loadconfig(p)
#define _tile_release() emulated_release()
#define _tile_zero(t) emulated_zero(t)
#define _tile_loadd(t, p, stride) emulated_loadd(t, p, stride)
#define _tile_stored(t, p, stride) emulated_stored(t, p, stride)
#define _tile_dpbusd(c, a, b) emulated_dpbusd(c, a, b)
#define _tile_dpbf16ps(c, a, b) emulated_dpbf16ps(c, a, b)
#define __get_cpuid_count(leaf, subleaf, a, b, c, d) emulated_cpuid(leaf, d)
#define syscall(number, request, component) emulated_syscall(number, request, component)
