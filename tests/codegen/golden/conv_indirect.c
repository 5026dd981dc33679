/* conv3x3_indirect_f32_relu_5x2, 4 tasks */
static void @NAME@_0_5(const float *x, const int32_t *table, const float *zeros, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    es_v c1_0 = bias0, c1_1 = bias1;
    es_v c2_0 = bias0, c2_1 = bias1;
    es_v c3_0 = bias0, c3_1 = bias1;
    es_v c4_0 = bias0, c4_1 = bias1;
    for (int32_t t = 0; t < 9; ++t, table += 5) {
        const float *const x0 = table[0] == INT32_MIN ? zeros : x + table[0];
        const float *const x1 = table[1] == INT32_MIN ? zeros : x + table[1];
        const float *const x2 = table[2] == INT32_MIN ? zeros : x + table[2];
        const float *const x3 = table[3] == INT32_MIN ? zeros : x + table[3];
        const float *const x4 = table[4] == INT32_MIN ? zeros : x + table[4];
        for (ptrdiff_t k = 0; k < 4; ++k, w += 16) {
            const es_v b0 = es_load(w + 0);
            const es_v b1 = es_load(w + 8);
            const es_v a0 = es_set1(x0[k]);
            c0_0 = es_fma(a0, b0, c0_0);
            c0_1 = es_fma(a0, b1, c0_1);
            const es_v a1 = es_set1(x1[k]);
            c1_0 = es_fma(a1, b0, c1_0);
            c1_1 = es_fma(a1, b1, c1_1);
            const es_v a2 = es_set1(x2[k]);
            c2_0 = es_fma(a2, b0, c2_0);
            c2_1 = es_fma(a2, b1, c2_1);
            const es_v a3 = es_set1(x3[k]);
            c3_0 = es_fma(a3, b0, c3_0);
            c3_1 = es_fma(a3, b1, c3_1);
            const es_v a4 = es_set1(x4[k]);
            c4_0 = es_fma(a4, b0, c4_0);
            c4_1 = es_fma(a4, b1, c4_1);
        }
    }
    es_store(y, es_max(es_set1(0.0f), c0_0));
    es_store(y + 8, es_max(es_set1(0.0f), c0_1));
    es_store(y + 20, es_max(es_set1(0.0f), c1_0));
    es_store(y + 28, es_max(es_set1(0.0f), c1_1));
    es_store(y + 40, es_max(es_set1(0.0f), c2_0));
    es_store(y + 48, es_max(es_set1(0.0f), c2_1));
    es_store(y + 60, es_max(es_set1(0.0f), c3_0));
    es_store(y + 68, es_max(es_set1(0.0f), c3_1));
    es_store(y + 80, es_max(es_set1(0.0f), c4_0));
    es_store(y + 88, es_max(es_set1(0.0f), c4_1));
}

static void @NAME@_1_5(const float *x, const int32_t *table, const float *zeros, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    es_v c3_0 = bias0;
    es_v c4_0 = bias0;
    for (int32_t t = 0; t < 9; ++t, table += 5) {
        const float *const x0 = table[0] == INT32_MIN ? zeros : x + table[0];
        const float *const x1 = table[1] == INT32_MIN ? zeros : x + table[1];
        const float *const x2 = table[2] == INT32_MIN ? zeros : x + table[2];
        const float *const x3 = table[3] == INT32_MIN ? zeros : x + table[3];
        const float *const x4 = table[4] == INT32_MIN ? zeros : x + table[4];
        for (ptrdiff_t k = 0; k < 4; ++k, w += 8) {
            const es_v b0 = es_load(w + 0);
            const es_v a0 = es_set1(x0[k]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x1[k]);
            c1_0 = es_fma(a1, b0, c1_0);
            const es_v a2 = es_set1(x2[k]);
            c2_0 = es_fma(a2, b0, c2_0);
            const es_v a3 = es_set1(x3[k]);
            c3_0 = es_fma(a3, b0, c3_0);
            const es_v a4 = es_set1(x4[k]);
            c4_0 = es_fma(a4, b0, c4_0);
        }
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
    es_store_n(y + 20, es_max(es_set1(0.0f), c1_0), 4);
    es_store_n(y + 40, es_max(es_set1(0.0f), c2_0), 4);
    es_store_n(y + 60, es_max(es_set1(0.0f), c3_0), 4);
    es_store_n(y + 80, es_max(es_set1(0.0f), c4_0), 4);
}

void @NAME@_prepare(void *const *p) {
    int32_t *const table = (int32_t *)p[5];
    for (int32_t pixel = 0; pixel < 25; ++pixel) {
        const int32_t tile = pixel / 5, row = pixel % 5;
        const int32_t rows = 5;
        int32_t *const entry = table + tile * 45 + row;
        for (int32_t i = 0; i < 3; ++i) {
            for (int32_t j = 0; j < 3; ++j) {
                const int32_t ih = pixel / 5 * 1 + i * 1 - 1;
                const int32_t iw = pixel % 5 * 1 + j * 1 - 1;
                const int inside = ih >= 0 && ih < 5 && iw >= 0 && iw < 5;
                entry[(i * 3 + j) * rows] = inside ? ih * 20 + iw * 4 : INT32_MIN;
            }
        }
    }
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    const float *const zeros = (const float *)p[4];
    const int32_t *const table = (const int32_t *)p[5];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) {
        const int32_t part = task % 2;
        enum { n = 0 };
        const int32_t panel = task / 2;
        enum { group = 0 };
        const float *const wp = weights + (ptrdiff_t)group * 864 + (ptrdiff_t)panel * 576;
        const float *const bp = bias + group * 24 + panel * 16;
        const int32_t channel = group * 20 + panel * 16;
        const float *const x = x0 + (ptrdiff_t)n * 100 + group * 4;
        const int32_t stop = (part + 1) * 5 / 2;
        for (int32_t tile = part * 5 / 2; tile < stop; ++tile) {
            ES_UNUSED const int32_t pixel = tile * 5;
            if (panel < 1) {
                @NAME@_0_5(x, table + tile * 45, zeros, wp, bp, y0 + channel + pixel * 20);
            }
            else {
                @NAME@_1_5(x, table + tile * 45, zeros, wp, bp, y0 + channel + pixel * 20);
            }
        }
    }
}
