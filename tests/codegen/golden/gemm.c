/* gemm_gemm_f32_2x1, 2 tasks */
static void @NAME@_whole_0_2(const float *x, const float *w, const float *b, float *y, const float *ahead) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 7; ++k) {
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[7]);
                c1_0 = es_fma(a1, b0, c1_0);
            }
            xk += 1;
            w += 8;
        }
    }
    (void)ahead;
    es_store(y, c0_0);
    es_store(y + 9, c1_0);
}

static void @NAME@_whole_0_1(const float *x, const float *w, const float *b, float *y, const float *ahead) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 7; ++k) {
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
            }
            xk += 1;
            w += 8;
        }
    }
    (void)ahead;
    es_store(y, c0_0);
}

static void @NAME@_whole_1_2(const float *x, const float *w, const float *b, float *y, const float *ahead) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 7; ++k) {
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
                const es_v a1 = es_set1(xk[7]);
                c1_0 = es_fma(a1, b0, c1_0);
            }
            xk += 1;
            w += 8;
        }
    }
    (void)ahead;
    es_store_n(y, c0_0, 1);
    es_store_n(y + 9, c1_0, 1);
}

static void @NAME@_whole_1_1(const float *x, const float *w, const float *b, float *y, const float *ahead) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 7; ++k) {
            {
                const es_v b0 = es_load(w);
                const es_v a0 = es_set1(xk[0]);
                c0_0 = es_fma(a0, b0, c0_0);
            }
            xk += 1;
            w += 8;
        }
    }
    (void)ahead;
    es_store_n(y, c0_0, 1);
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    for (int32_t task = begin; task < end; ++task) {
        const int32_t block = task;
        enum { group = 0 };
        const int32_t first_tile = block * 1;
        const int32_t last_tile = first_tile + 1;
        const int32_t first_panel = group * 2;
        const int32_t last_panel = first_panel + 2;
        const float *const xs = x0 + 0;
        (void)scratch;
        const float *const xk = xs;
        for (int32_t panel = first_panel; panel < last_panel; ++panel) {
            const float *const wp = weights + (ptrdiff_t)panel * 56;
            const float *const bp = bias + panel * 8;
            const float *ahead = wp + (panel < 1 ? 56 : 0);
            if (panel < 1) {
                for (int32_t tile = first_tile; tile < last_tile; ++tile, ahead += 56) {
                    const int32_t row = tile * 2 - (tile > 1 ? tile - 1 : 0);
                    if (tile < 1) {
                        @NAME@_whole_0_2(xk + row * 7, wp, bp, y0 + row * 9 + (panel * 8), ahead);
                    }
                    else {
                        @NAME@_whole_0_1(xk + row * 7, wp, bp, y0 + row * 9 + (panel * 8), ahead);
                    }
                }
            }
            else {
                for (int32_t tile = first_tile; tile < last_tile; ++tile, ahead += 56) {
                    const int32_t row = tile * 2 - (tile > 1 ? tile - 1 : 0);
                    if (tile < 1) {
                        @NAME@_whole_1_2(xk + row * 7, wp, bp, y0 + row * 9 + (panel * 8), ahead);
                    }
                    else {
                        @NAME@_whole_1_1(xk + row * 7, wp, bp, y0 + row * 9 + (panel * 8), ahead);
                    }
                }
            }
        }
    }
}
