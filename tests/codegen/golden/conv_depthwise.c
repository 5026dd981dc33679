/* conv3x3_depthwise_f32_relu_3x1, 12 tasks */
static void @NAME@_0_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    w += (ptrdiff_t)first * 24;
    at += (ptrdiff_t)first * 72;
    for (int32_t t = first; t < last; ++t) {
        const es_v w0_0 = es_load(w + 0);
        const es_v w1_0 = es_load(w + 8);
        const es_v w2_0 = es_load(w + 16);
        const es_v x1_0 = es_load(x + at + 12);
        c1_0 = es_fma(x1_0, w0_0, c1_0);
        c0_0 = es_fma(x1_0, w1_0, c0_0);
        const es_v x2_0 = es_load(x + at + 24);
        c2_0 = es_fma(x2_0, w0_0, c2_0);
        c1_0 = es_fma(x2_0, w1_0, c1_0);
        c0_0 = es_fma(x2_0, w2_0, c0_0);
        const es_v x3_0 = es_load(x + at + 36);
        c2_0 = es_fma(x3_0, w1_0, c2_0);
        c1_0 = es_fma(x3_0, w2_0, c1_0);
        const es_v x4_0 = es_load(x + at + 48);
        c2_0 = es_fma(x4_0, w2_0, c2_0);
        w += 24;
        at += 72;
    }
    es_store(y, es_max(es_set1(0.0f), c0_0));
    es_store(y + 12, es_max(es_set1(0.0f), c1_0));
    es_store(y + 24, es_max(es_set1(0.0f), c2_0));
}

static void @NAME@_0_1(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    w += (ptrdiff_t)first * 24;
    at += (ptrdiff_t)first * 72;
    for (int32_t t = first; t < last; ++t) {
        const es_v w0_0 = es_load(w + 0);
        const es_v w1_0 = es_load(w + 8);
        const es_v w2_0 = es_load(w + 16);
        const es_v x0_0 = es_load(x + at + 0);
        c0_0 = es_fma(x0_0, w0_0, c0_0);
        const es_v x1_0 = es_load(x + at + 12);
        c1_0 = es_fma(x1_0, w0_0, c1_0);
        c0_0 = es_fma(x1_0, w1_0, c0_0);
        const es_v x2_0 = es_load(x + at + 24);
        c2_0 = es_fma(x2_0, w0_0, c2_0);
        c1_0 = es_fma(x2_0, w1_0, c1_0);
        c0_0 = es_fma(x2_0, w2_0, c0_0);
        const es_v x3_0 = es_load(x + at + 36);
        c2_0 = es_fma(x3_0, w1_0, c2_0);
        c1_0 = es_fma(x3_0, w2_0, c1_0);
        w += 24;
        at += 72;
    }
    es_store(y, es_max(es_set1(0.0f), c0_0));
    es_store(y + 12, es_max(es_set1(0.0f), c1_0));
    es_store(y + 24, es_max(es_set1(0.0f), c2_0));
}

static void @NAME@_1_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    w += (ptrdiff_t)first * 24;
    at += (ptrdiff_t)first * 72;
    for (int32_t t = first; t < last; ++t) {
        const es_v w0_0 = es_load(w + 0);
        const es_v w1_0 = es_load(w + 8);
        const es_v w2_0 = es_load(w + 16);
        const es_v x1_0 = es_load_n(x + at + 12, 4);
        c1_0 = es_fma(x1_0, w0_0, c1_0);
        c0_0 = es_fma(x1_0, w1_0, c0_0);
        const es_v x2_0 = es_load_n(x + at + 24, 4);
        c2_0 = es_fma(x2_0, w0_0, c2_0);
        c1_0 = es_fma(x2_0, w1_0, c1_0);
        c0_0 = es_fma(x2_0, w2_0, c0_0);
        const es_v x3_0 = es_load_n(x + at + 36, 4);
        c2_0 = es_fma(x3_0, w1_0, c2_0);
        c1_0 = es_fma(x3_0, w2_0, c1_0);
        const es_v x4_0 = es_load_n(x + at + 48, 4);
        c2_0 = es_fma(x4_0, w2_0, c2_0);
        w += 24;
        at += 72;
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
    es_store_n(y + 12, es_max(es_set1(0.0f), c1_0), 4);
    es_store_n(y + 24, es_max(es_set1(0.0f), c2_0), 4);
}

static void @NAME@_1_1(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    w += (ptrdiff_t)first * 24;
    at += (ptrdiff_t)first * 72;
    for (int32_t t = first; t < last; ++t) {
        const es_v w0_0 = es_load(w + 0);
        const es_v w1_0 = es_load(w + 8);
        const es_v w2_0 = es_load(w + 16);
        const es_v x0_0 = es_load_n(x + at + 0, 4);
        c0_0 = es_fma(x0_0, w0_0, c0_0);
        const es_v x1_0 = es_load_n(x + at + 12, 4);
        c1_0 = es_fma(x1_0, w0_0, c1_0);
        c0_0 = es_fma(x1_0, w1_0, c0_0);
        const es_v x2_0 = es_load_n(x + at + 24, 4);
        c2_0 = es_fma(x2_0, w0_0, c2_0);
        c1_0 = es_fma(x2_0, w1_0, c1_0);
        c0_0 = es_fma(x2_0, w2_0, c0_0);
        const es_v x3_0 = es_load_n(x + at + 36, 4);
        c2_0 = es_fma(x3_0, w1_0, c2_0);
        c1_0 = es_fma(x3_0, w2_0, c1_0);
        w += 24;
        at += 72;
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
    es_store_n(y + 12, es_max(es_set1(0.0f), c1_0), 4);
    es_store_n(y + 24, es_max(es_set1(0.0f), c2_0), 4);
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) {
        const int32_t n = task / 12;
        const int32_t block = task / 6 % 2, part = task % 6;
        const int32_t channel = block * 8;
        const float *const wp = weights + (ptrdiff_t)block * 72;
        const float *const bp = bias + channel;
        const int32_t stop = (part + 1) * 1 < 6 ? (part + 1) * 1 : 6;
        for (int32_t oh = part * 1; oh < stop; ++oh) {
            const int32_t top = oh * 1 - 1;
            const int32_t above = top < 0 ? (-top + 0) / 1 : 0;
            const int32_t below = 5 - top;
            const int32_t first = above < 3 ? above : 3;
            int32_t last = below < 0 ? 0 : below / 1 + 1;
            last = last < 3 ? last : 3;
            if (last < first) { last = first; }
            float *const yp = y0 + channel + oh * 72;
            const ptrdiff_t at = (ptrdiff_t)n * 432 + (ptrdiff_t)top * 72 + channel - 12;
            if (block < 1) {
                @NAME@_0_0(x0, at + 0, first, last, wp, bp, yp + 0);
                @NAME@_0_1(x0, at + 36, first, last, wp, bp, yp + 3 * 12);
            }
            else {
                @NAME@_1_0(x0, at + 0, first, last, wp, bp, yp + 0);
                @NAME@_1_1(x0, at + 36, first, last, wp, bp, yp + 3 * 12);
            }
        }
    }
}
