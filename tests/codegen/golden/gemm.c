/* gemm_gemm_f32_2x1, 2 tasks */
static void @NAME@_0_2(const float *x, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    for (ptrdiff_t k = 0; k < 6; k += 2) {
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[k]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[k + 7]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[(k + 1)]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[(k + 1) + 7]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
    }
    {
        const es_v b0 = es_load(w);
        const es_v a0 = es_set1(x[6]);
        c0_0 = es_fma(a0, b0, c0_0);
        const es_v a1 = es_set1(x[6 + 7]);
        c1_0 = es_fma(a1, b0, c1_0);
        w += 8;
    }
    es_store(y, c0_0);
    es_store(y + 9, c1_0);
}

static void @NAME@_0_1(const float *x, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    for (ptrdiff_t k = 0; k < 6; k += 2) {
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[k]);
            c0_0 = es_fma(a0, b0, c0_0);
            w += 8;
        }
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[(k + 1)]);
            c0_0 = es_fma(a0, b0, c0_0);
            w += 8;
        }
    }
    {
        const es_v b0 = es_load(w);
        const es_v a0 = es_set1(x[6]);
        c0_0 = es_fma(a0, b0, c0_0);
        w += 8;
    }
    es_store(y, c0_0);
}

static void @NAME@_1_2(const float *x, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    for (ptrdiff_t k = 0; k < 6; k += 2) {
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[k]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[k + 7]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[(k + 1)]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[(k + 1) + 7]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
    }
    {
        const es_v b0 = es_load(w);
        const es_v a0 = es_set1(x[6]);
        c0_0 = es_fma(a0, b0, c0_0);
        const es_v a1 = es_set1(x[6 + 7]);
        c1_0 = es_fma(a1, b0, c1_0);
        w += 8;
    }
    es_store_n(y, c0_0, 1);
    es_store_n(y + 9, c1_0, 1);
}

static void @NAME@_1_1(const float *x, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    for (ptrdiff_t k = 0; k < 6; k += 2) {
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[k]);
            c0_0 = es_fma(a0, b0, c0_0);
            w += 8;
        }
        {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[(k + 1)]);
            c0_0 = es_fma(a0, b0, c0_0);
            w += 8;
        }
    }
    {
        const es_v b0 = es_load(w);
        const es_v a0 = es_set1(x[6]);
        c0_0 = es_fma(a0, b0, c0_0);
        w += 8;
    }
    es_store_n(y, c0_0, 1);
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) {
        const int32_t first = task * 2;
        const int32_t last = first + 2 < 3 ? first + 2 : 3;
        for (int32_t panel = 0; panel < 2; ++panel) {
            const float *const wp = weights + (ptrdiff_t)panel * 56;
            const float *const bp = bias + panel * 8;
            if (panel < 1) {
                int32_t row = first;
                for (; row + 2 <= last; row += 2) {
                    @NAME@_0_2(x0 + row * 7, wp, bp, y0 + row * 9 + (panel * 8));
                }
                if (row < last) {
                    @NAME@_0_1(x0 + row * 7, wp, bp, y0 + row * 9 + (panel * 8));
                }
            }
            else {
                int32_t row = first;
                for (; row + 2 <= last; row += 2) {
                    @NAME@_1_2(x0 + row * 7, wp, bp, y0 + row * 9 + (panel * 8));
                }
                if (row < last) {
                    @NAME@_1_1(x0 + row * 7, wp, bp, y0 + row * 9 + (panel * 8));
                }
            }
        }
    }
}
