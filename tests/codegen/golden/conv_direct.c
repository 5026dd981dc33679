/* conv3x3_direct_f32_relu_5x2, 6 tasks */
static void @NAME@_0_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    es_v c1_0 = bias0, c1_1 = bias1;
    es_v c2_0 = bias0, c2_1 = bias1;
    es_v c3_0 = bias0, c3_1 = bias1;
    es_v c4_0 = bias0, c4_1 = bias1;
    w += (ptrdiff_t)first * 240;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t c = 0; c < 5; ++c) {
            ES_IN_ORDER;
            {
                const float *xk = x + at + c;
                {
                    const es_v b0 = es_load(w);
                    const es_v b1 = es_load(w + 8);
                    const es_v a1 = es_set1(xk[10]);
                    c1_0 = es_fma(a1, b0, c1_0);
                    c1_1 = es_fma(a1, b1, c1_1);
                    const es_v a2 = es_set1(xk[20]);
                    c2_0 = es_fma(a2, b0, c2_0);
                    c2_1 = es_fma(a2, b1, c2_1);
                    const es_v a3 = es_set1(xk[30]);
                    c3_0 = es_fma(a3, b0, c3_0);
                    c3_1 = es_fma(a3, b1, c3_1);
                    const es_v a4 = es_set1(xk[40]);
                    c4_0 = es_fma(a4, b0, c4_0);
                    c4_1 = es_fma(a4, b1, c4_1);
                }
                w += 16;
            }
            ES_IN_ORDER;
            {
                const float *xk = x + at + 5 + c;
                {
                    const es_v b0 = es_load(w);
                    const es_v b1 = es_load(w + 8);
                    const es_v a0 = es_set1(xk[0]);
                    c0_0 = es_fma(a0, b0, c0_0);
                    c0_1 = es_fma(a0, b1, c0_1);
                    const es_v a1 = es_set1(xk[10]);
                    c1_0 = es_fma(a1, b0, c1_0);
                    c1_1 = es_fma(a1, b1, c1_1);
                    const es_v a2 = es_set1(xk[20]);
                    c2_0 = es_fma(a2, b0, c2_0);
                    c2_1 = es_fma(a2, b1, c2_1);
                    const es_v a3 = es_set1(xk[30]);
                    c3_0 = es_fma(a3, b0, c3_0);
                    c3_1 = es_fma(a3, b1, c3_1);
                    const es_v a4 = es_set1(xk[40]);
                    c4_0 = es_fma(a4, b0, c4_0);
                    c4_1 = es_fma(a4, b1, c4_1);
                }
                w += 16;
            }
            ES_IN_ORDER;
            {
                const float *xk = x + at + 10 + c;
                {
                    const es_v b0 = es_load(w);
                    const es_v b1 = es_load(w + 8);
                    const es_v a0 = es_set1(xk[0]);
                    c0_0 = es_fma(a0, b0, c0_0);
                    c0_1 = es_fma(a0, b1, c0_1);
                    const es_v a1 = es_set1(xk[10]);
                    c1_0 = es_fma(a1, b0, c1_0);
                    c1_1 = es_fma(a1, b1, c1_1);
                    const es_v a2 = es_set1(xk[20]);
                    c2_0 = es_fma(a2, b0, c2_0);
                    c2_1 = es_fma(a2, b1, c2_1);
                    const es_v a3 = es_set1(xk[30]);
                    c3_0 = es_fma(a3, b0, c3_0);
                    c3_1 = es_fma(a3, b1, c3_1);
                }
                w += 16;
            }
        }
        at += 45;
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

static void @NAME@_1_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    es_v c3_0 = bias0;
    es_v c4_0 = bias0;
    w += (ptrdiff_t)first * 120;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t c = 0; c < 5; ++c) {
            ES_IN_ORDER;
            {
                const float *xk = x + at + c;
                {
                    const es_v b0 = es_load(w);
                    const es_v a1 = es_set1(xk[10]);
                    c1_0 = es_fma(a1, b0, c1_0);
                    const es_v a2 = es_set1(xk[20]);
                    c2_0 = es_fma(a2, b0, c2_0);
                    const es_v a3 = es_set1(xk[30]);
                    c3_0 = es_fma(a3, b0, c3_0);
                    const es_v a4 = es_set1(xk[40]);
                    c4_0 = es_fma(a4, b0, c4_0);
                }
                w += 8;
            }
            ES_IN_ORDER;
            {
                const float *xk = x + at + 5 + c;
                {
                    const es_v b0 = es_load(w);
                    const es_v a0 = es_set1(xk[0]);
                    c0_0 = es_fma(a0, b0, c0_0);
                    const es_v a1 = es_set1(xk[10]);
                    c1_0 = es_fma(a1, b0, c1_0);
                    const es_v a2 = es_set1(xk[20]);
                    c2_0 = es_fma(a2, b0, c2_0);
                    const es_v a3 = es_set1(xk[30]);
                    c3_0 = es_fma(a3, b0, c3_0);
                    const es_v a4 = es_set1(xk[40]);
                    c4_0 = es_fma(a4, b0, c4_0);
                }
                w += 8;
            }
            ES_IN_ORDER;
            {
                const float *xk = x + at + 10 + c;
                {
                    const es_v b0 = es_load(w);
                    const es_v a0 = es_set1(xk[0]);
                    c0_0 = es_fma(a0, b0, c0_0);
                    const es_v a1 = es_set1(xk[10]);
                    c1_0 = es_fma(a1, b0, c1_0);
                    const es_v a2 = es_set1(xk[20]);
                    c2_0 = es_fma(a2, b0, c2_0);
                    const es_v a3 = es_set1(xk[30]);
                    c3_0 = es_fma(a3, b0, c3_0);
                }
                w += 8;
            }
        }
        at += 45;
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
    es_store_n(y + 20, es_max(es_set1(0.0f), c1_0), 4);
    es_store_n(y + 40, es_max(es_set1(0.0f), c2_0), 4);
    es_store_n(y + 60, es_max(es_set1(0.0f), c3_0), 4);
    es_store_n(y + 80, es_max(es_set1(0.0f), c4_0), 4);
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) {
        const int32_t panel = task % 2;
        const int32_t block = task / 2;
        const int32_t start = block * 2;
        const int32_t stop = start + 2 < 5 ? start + 2 : 5;
        const int32_t group = 0, part = panel;
        const float *const bp = bias + group * 24 + part * 16;
        const int32_t channel = group * 20 + part * 16;
        {
            enum { pass = 0 };
            const float *const wp = weights + (ptrdiff_t)group * 1080 + (ptrdiff_t)part * 720;
            for (int32_t row = start; row < stop; ++row) {
                const int32_t n = row / 5, oh = row % 5;
                const int32_t top = oh * 2 - 1;
                const int32_t above = top < 0 ? (-top + 0) / 1 : 0;
                const int32_t below = 8 - top;
                const int32_t first = above < 3 ? above : 3;
                int32_t last = below < 0 ? 0 : below / 1 + 1;
                last = last < 3 ? last : 3;
                if (last < first) { last = first; }
                float *const yp = y0 + channel + oh * 100;
                const ptrdiff_t at = (ptrdiff_t)n * 405 + (ptrdiff_t)top * 45 + (ptrdiff_t)group * 5 - 5;
                if (part < 1) {
                    @NAME@_0_0(x0, at + 0, first, last, wp, bp, yp + 0);
                }
                else {
                    @NAME@_1_0(x0, at + 0, first, last, wp, bp, yp + 0);
                }
            }
        }
    }
}
