#include "es_selftest.h"

#if __STDC_HOSTED__
#include <math.h>
#include <string.h>
#else
#include "es_bare.h"
#endif

#define INPUT_SHIFT 48

static uint64_t splitmix64(uint64_t n) {
    uint64_t z = (n + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The top `bits` bits of z, centred and scaled to [-1, 1). */
static double uniform(uint64_t z, int bits) {
    int64_t half = (int64_t)1 << (bits - 1);
    return (double)((int64_t)(z >> (64 - bits)) - half) / (double)half;
}

static uint32_t f32_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* binary16 bits of a value that is 0 or a normal number in binary16 and needs no rounding. */
static uint16_t f16_bits(float value) {
    uint32_t bits = f32_bits(value);
    uint32_t sign = bits >> 16 & 0x8000, exponent = bits >> 23 & 0xFF, fraction = bits >> 13 & 0x3FF;
    return (uint16_t)(exponent ? sign | (exponent - 127 + 15) << 10 | fraction : sign);
}

static double f16_value(uint16_t bits) {
    int exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
    double value;
    if (exponent == 31) {
        value = fraction ? (double)NAN : (double)INFINITY;
    } else {
        int64_t scaled = exponent ? (int64_t)(fraction + 1024) << (exponent - 1) : fraction;
        value = (double)scaled / (1 << 24);
    }
    return bits & 0x8000 ? -value : value;
}

size_t es_element_bytes(int32_t dtype) {
    switch (dtype) {
        case ES_U8:
        case ES_I8:
        case ES_BOOL: return 1;
        case ES_U16:
        case ES_I16:
        case ES_F16:
        case ES_BF16: return 2;
        case ES_F32:
        case ES_I32:
        case ES_U32: return 4;
        case ES_F64:
        case ES_I64:
        case ES_U64: return 8;
        default: return 0;
    }
}

int32_t es_selftest_fill(const es_tensor_info *info, int32_t i, void *data) {
    size_t size = es_element_bytes(info->dtype);
    if (!size) return ES_BAD_ARGUMENT;
    unsigned char *element = data;
    for (size_t k = 0; k < info->bytes / size; k++, element += size) {
        uint64_t z = splitmix64(((uint64_t)i << INPUT_SHIFT) + k);
        union {
            uint16_t u16;
            uint64_t integer;
            float f32;
            double f64;
        } value;
        switch (info->dtype) {
            case ES_F32: value.f32 = (float)uniform(z, 24); break;
            case ES_F64: value.f64 = uniform(z, 53); break;
            case ES_F16: value.u16 = f16_bits((float)uniform(z, 11)); break;
            case ES_BF16: value.u16 = (uint16_t)(f32_bits((float)uniform(z, 8)) >> 16); break;
            case ES_I8:
            case ES_U8: value.integer = z >> 56; break;
            case ES_BOOL: value.integer = z >> 63; break;
            default: value.integer = z >> 61; break;
        }
        memcpy(element, &value, size);
    }
    return ES_OK;
}

uint64_t es_selftest_checksum(const void *data, size_t bytes) {
    const unsigned char *byte = data;
    uint64_t sum = 0;
    for (size_t k = 0; k < bytes; k++) sum += splitmix64((uint64_t)k << 8 | byte[k]);
    return sum;
}

static double real_at(const void *data, int32_t dtype, int64_t k) {
    switch (dtype) {
        case ES_F32: return (double)((const float *)data)[k];
        case ES_F64: return ((const double *)data)[k];
        case ES_F16: return f16_value(((const uint16_t *)data)[k]);
        default: {
            uint32_t bits = (uint32_t)((const uint16_t *)data)[k] << 16;
            float value;
            memcpy(&value, &bits, sizeof value);
            return (double)value;
        }
    }
}

static int64_t integer_at(const void *data, int32_t dtype, int64_t k) {
    switch (dtype) {
        case ES_I8: return ((const int8_t *)data)[k];
        case ES_U8:
        case ES_BOOL: return ((const uint8_t *)data)[k];
        case ES_I16: return ((const int16_t *)data)[k];
        case ES_U16: return ((const uint16_t *)data)[k];
        case ES_I32: return ((const int32_t *)data)[k];
        case ES_U32: return ((const uint32_t *)data)[k];
        default: return ((const int64_t *)data)[k];
    }
}

static double real_difference(double actual, double expected) {
    if (actual == expected || (isnan(actual) && isnan(expected))) return 0;
    double difference = fabs(actual - expected);
    return isnan(difference) ? (double)INFINITY : difference;
}

static double integer_difference(int64_t actual, int64_t expected) {
    if (actual == expected) return 0;
    return (double)(actual > expected ? (uint64_t)actual - (uint64_t)expected : (uint64_t)expected - (uint64_t)actual);
}

int32_t es_selftest_compare(const es_tensor_info *info, const void *data, const es_selftest_output *expected,
                            es_selftest_result *result) {
    int is_real = info->dtype == ES_F32 || info->dtype == ES_F64 || info->dtype == ES_F16 || info->dtype == ES_BF16;
    size_t size = es_element_bytes(info->dtype);
    *result = (es_selftest_result){0, 0, -1};
    if (!size || info->bytes / size != (uint64_t)expected->elements) return ES_BAD_ARGUMENT;
    if (expected->count && (is_real ? !expected->real : !expected->integer)) return ES_BAD_ARGUMENT;
    for (int32_t sample = 0; sample < expected->count; sample++) {
        int64_t k = expected->index ? expected->index[sample] : sample;
        if (k < 0 || k >= expected->elements) return ES_BAD_ARGUMENT;
        double difference = is_real ? real_difference(real_at(data, info->dtype, k), expected->real[sample])
                                    : integer_difference(integer_at(data, info->dtype, k), expected->integer[sample]);
        if (difference > result->worst) {
            result->worst = difference;
            result->worst_at = k;
        }
        result->wrong += difference > expected->tolerance;
    }
    return ES_OK;
}
