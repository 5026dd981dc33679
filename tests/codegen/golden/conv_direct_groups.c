/* conv3x3_direct_f32_3x1, 6 tasks */
static void @NAME@_0_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    w += (ptrdiff_t)first * 72;
    at += (ptrdiff_t)first * 30;
    for (int32_t t = first; t < last; ++t) {
        ES_IN_ORDER;
        {
            const float *xk = x + at;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 6;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 12;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 1;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 6 + 1;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 12 + 1;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 2;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 6 + 2;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        ES_IN_ORDER;
        {
            const float *xk = x + at + 12 + 2;
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[6]);
                c1_0 = es_fma(a1, b0, c1_0);
                const es_v a2 = es_set1(xk[12]);
                c2_0 = es_fma(a2, b0, c2_0);
            }
            w += 8;
        }
        at += 30;
    }
    es_store_n(y, c0_0, 4);
    es_store_n(y + 8, c1_0, 4);
    es_store_n(y + 16, c2_0, 4);
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
        const int32_t stop = start + 2 < 6 ? start + 2 : 6;
        const int32_t group = panel / 1, part = panel % 1;
        const float *const bp = bias + group * 8 + part * 8;
        const int32_t channel = group * 4 + part * 8;
        {
            enum { pass = 0 };
            const float *const wp = weights + (ptrdiff_t)group * 216 + (ptrdiff_t)part * 216;
            for (int32_t row = start; row < stop; ++row) {
                const int32_t n = row / 3, oh = row % 3;
                const int32_t top = oh * 1 - 0;
                const int32_t above = top < 0 ? (-top + 0) / 1 : 0;
                const int32_t below = 4 - top;
                const int32_t first = above < 3 ? above : 3;
                int32_t last = below < 0 ? 0 : below / 1 + 1;
                last = last < 3 ? last : 3;
                if (last < first) { last = first; }
                float *const yp = y0 + n * 72 + channel + oh * 24;
                const ptrdiff_t at = (ptrdiff_t)n * 150 + (ptrdiff_t)top * 30 + (ptrdiff_t)group * 3 - 0;
                @NAME@_0_0(x0, at + 0, first, last, wp, bp, yp + 0);
            }
        }
    }
}
