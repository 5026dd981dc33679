/* conv1x1_grouped_f32_relu_2x2, 1 tasks */
static void @NAME@_0_0(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v x0_0 = es_load(x + at + 0);
        const es_v x0_0_0 = ES_SHUFFLE(x0_0, x0_0, 0, 0, 0, 0, 4, 4, 4, 4);
        c0_0 = es_fma(x0_0_0, w0, c0_0);
        const es_v x0_0_1 = ES_SHUFFLE(x0_0, x0_0, 1, 1, 1, 1, 5, 5, 5, 5);
        c0_0 = es_fma(x0_0_1, w1, c0_0);
        const es_v x0_0_2 = ES_SHUFFLE(x0_0, x0_0, 2, 2, 2, 2, 6, 6, 6, 6);
        c0_0 = es_fma(x0_0_2, w2, c0_0);
        const es_v x0_0_3 = ES_SHUFFLE(x0_0, x0_0, 3, 3, 3, 3, 7, 7, 7, 7);
        c0_0 = es_fma(x0_0_3, w3, c0_0);
        const es_v x0_2 = es_load(x + at + 16);
        const es_v x0_2_0 = ES_SHUFFLE(x0_2, x0_2, 0, 0, 0, 0, 4, 4, 4, 4);
        c0_1 = es_fma(x0_2_0, w0, c0_1);
        const es_v x0_2_1 = ES_SHUFFLE(x0_2, x0_2, 1, 1, 1, 1, 5, 5, 5, 5);
        c0_1 = es_fma(x0_2_1, w1, c0_1);
        const es_v x0_2_2 = ES_SHUFFLE(x0_2, x0_2, 2, 2, 2, 2, 6, 6, 6, 6);
        c0_1 = es_fma(x0_2_2, w2, c0_1);
        const es_v x0_2_3 = ES_SHUFFLE(x0_2, x0_2, 3, 3, 3, 3, 7, 7, 7, 7);
        c0_1 = es_fma(x0_2_3, w3, c0_1);
        const es_v x2_0 = es_load(x + at + 64);
        const es_v x2_0_0 = ES_SHUFFLE(x2_0, x2_0, 0, 0, 0, 0, 4, 4, 4, 4);
        c1_0 = es_fma(x2_0_0, w0, c1_0);
        const es_v x2_0_1 = ES_SHUFFLE(x2_0, x2_0, 1, 1, 1, 1, 5, 5, 5, 5);
        c1_0 = es_fma(x2_0_1, w1, c1_0);
        const es_v x2_0_2 = ES_SHUFFLE(x2_0, x2_0, 2, 2, 2, 2, 6, 6, 6, 6);
        c1_0 = es_fma(x2_0_2, w2, c1_0);
        const es_v x2_0_3 = ES_SHUFFLE(x2_0, x2_0, 3, 3, 3, 3, 7, 7, 7, 7);
        c1_0 = es_fma(x2_0_3, w3, c1_0);
        const es_v x2_2 = es_load(x + at + 80);
        const es_v x2_2_0 = ES_SHUFFLE(x2_2, x2_2, 0, 0, 0, 0, 4, 4, 4, 4);
        c1_1 = es_fma(x2_2_0, w0, c1_1);
        const es_v x2_2_1 = ES_SHUFFLE(x2_2, x2_2, 1, 1, 1, 1, 5, 5, 5, 5);
        c1_1 = es_fma(x2_2_1, w1, c1_1);
        const es_v x2_2_2 = ES_SHUFFLE(x2_2, x2_2, 2, 2, 2, 2, 6, 6, 6, 6);
        c1_1 = es_fma(x2_2_2, w2, c1_1);
        const es_v x2_2_3 = ES_SHUFFLE(x2_2, x2_2, 3, 3, 3, 3, 7, 7, 7, 7);
        c1_1 = es_fma(x2_2_3, w3, c1_1);
        es_store(y, es_max(es_set1(0.0f), c0_0));
        es_store(y + 8, es_max(es_set1(0.0f), c0_1));
        es_store(y + 16, es_max(es_set1(0.0f), c1_0));
        es_store(y + 24, es_max(es_set1(0.0f), c1_1));
        at += 8;
        w += 32;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) {
        enum { block = 0 };
        enum { part = 0 };
        enum { n = 0 };
        const int32_t start = part * 1 / 1;
        const int32_t stop = (part + 1) * 1 / 1;
        const int32_t channel = block * 8;
        const float *const wp = weights + (ptrdiff_t)channel * 4;
        const float *const bp = bias + channel;
        const int32_t first0 = start > 0 ? start : 0;
        const int32_t last0 = stop < 1 ? stop : 1;
        for (int32_t tile = first0; tile < last0; ++tile) {
            const int32_t oh = 0 + (tile - 0) * 2;
            const ptrdiff_t at = (ptrdiff_t)n * 128 + (ptrdiff_t)(oh * 2 - 0) * 32 - 0 + channel;
            float *const yp = y0 + channel + oh * 16;
            for (int32_t ow = 0; ow < 2; ow += 2) {
                @NAME@_0_0(x0, at + (ptrdiff_t)ow * 16, 1, wp, bp, yp + ow * 8);
            }
        }
    }
}
