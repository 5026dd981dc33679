/* conv_gemm_f32_add_clip_5x2, 2 tasks */
static void @NAME@_whole_0_5(const float *x, const float *w, const float *b, float *y, const float *x1, const float *ahead) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    es_v c1_0 = bias0, c1_1 = bias1;
    es_v c2_0 = bias0, c2_1 = bias1;
    es_v c3_0 = bias0, c3_1 = bias1;
    es_v c4_0 = bias0, c4_1 = bias1;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 5; ++k) {
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
            {
                const es_v b0 = es_load(w + 16);
                const es_v b1 = es_load(w + 24);
                const es_v a0 = es_set1(xk[1]);
                c0_0 = es_fma(a0, b0, c0_0);
                c0_1 = es_fma(a0, b1, c0_1);
                const es_v a1 = es_set1(xk[11]);
                c1_0 = es_fma(a1, b0, c1_0);
                c1_1 = es_fma(a1, b1, c1_1);
                const es_v a2 = es_set1(xk[21]);
                c2_0 = es_fma(a2, b0, c2_0);
                c2_1 = es_fma(a2, b1, c2_1);
                const es_v a3 = es_set1(xk[31]);
                c3_0 = es_fma(a3, b0, c3_0);
                c3_1 = es_fma(a3, b1, c3_1);
                const es_v a4 = es_set1(xk[41]);
                c4_0 = es_fma(a4, b0, c4_0);
                c4_1 = es_fma(a4, b1, c4_1);
            }
            xk += 2;
            w += 32;
        }
    }
    (void)ahead;
    es_store(y, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c0_0 + es_load(x1)))));
    es_store(y + 8, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c0_1 + es_load(x1 + 8)))));
    es_store(y + 20, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c1_0 + es_load(x1 + 20)))));
    es_store(y + 28, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c1_1 + es_load(x1 + 28)))));
    es_store(y + 40, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c2_0 + es_load(x1 + 40)))));
    es_store(y + 48, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c2_1 + es_load(x1 + 48)))));
    es_store(y + 60, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c3_0 + es_load(x1 + 60)))));
    es_store(y + 68, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c3_1 + es_load(x1 + 68)))));
    es_store(y + 80, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c4_0 + es_load(x1 + 80)))));
    es_store(y + 88, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c4_1 + es_load(x1 + 88)))));
}

static void @NAME@_whole_0_4(const float *x, const float *w, const float *b, float *y, const float *x1, const float *ahead) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    es_v c1_0 = bias0, c1_1 = bias1;
    es_v c2_0 = bias0, c2_1 = bias1;
    es_v c3_0 = bias0, c3_1 = bias1;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 5; ++k) {
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
            {
                const es_v b0 = es_load(w + 16);
                const es_v b1 = es_load(w + 24);
                const es_v a0 = es_set1(xk[1]);
                c0_0 = es_fma(a0, b0, c0_0);
                c0_1 = es_fma(a0, b1, c0_1);
                const es_v a1 = es_set1(xk[11]);
                c1_0 = es_fma(a1, b0, c1_0);
                c1_1 = es_fma(a1, b1, c1_1);
                const es_v a2 = es_set1(xk[21]);
                c2_0 = es_fma(a2, b0, c2_0);
                c2_1 = es_fma(a2, b1, c2_1);
                const es_v a3 = es_set1(xk[31]);
                c3_0 = es_fma(a3, b0, c3_0);
                c3_1 = es_fma(a3, b1, c3_1);
            }
            xk += 2;
            w += 32;
        }
    }
    (void)ahead;
    es_store(y, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c0_0 + es_load(x1)))));
    es_store(y + 8, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c0_1 + es_load(x1 + 8)))));
    es_store(y + 20, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c1_0 + es_load(x1 + 20)))));
    es_store(y + 28, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c1_1 + es_load(x1 + 28)))));
    es_store(y + 40, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c2_0 + es_load(x1 + 40)))));
    es_store(y + 48, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c2_1 + es_load(x1 + 48)))));
    es_store(y + 60, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c3_0 + es_load(x1 + 60)))));
    es_store(y + 68, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c3_1 + es_load(x1 + 68)))));
}

static void @NAME@_whole_1_5(const float *x, const float *w, const float *b, float *y, const float *x1, const float *ahead) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    es_v c3_0 = bias0;
    es_v c4_0 = bias0;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 10; ++k) {
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
            xk += 1;
            w += 8;
        }
    }
    (void)ahead;
    es_store_n(y, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c0_0 + es_load_n(x1, 4)))), 4);
    es_store_n(y + 20, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c1_0 + es_load_n(x1 + 20, 4)))), 4);
    es_store_n(y + 40, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c2_0 + es_load_n(x1 + 40, 4)))), 4);
    es_store_n(y + 60, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c3_0 + es_load_n(x1 + 60, 4)))), 4);
    es_store_n(y + 80, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c4_0 + es_load_n(x1 + 80, 4)))), 4);
}

static void @NAME@_whole_1_4(const float *x, const float *w, const float *b, float *y, const float *x1, const float *ahead) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    es_v c2_0 = bias0;
    es_v c3_0 = bias0;
    {
        const float *xk = x;
        for (ptrdiff_t k = 0; k < 10; ++k) {
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
            xk += 1;
            w += 8;
        }
    }
    (void)ahead;
    es_store_n(y, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c0_0 + es_load_n(x1, 4)))), 4);
    es_store_n(y + 20, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c1_0 + es_load_n(x1 + 20, 4)))), 4);
    es_store_n(y + 40, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c2_0 + es_load_n(x1 + 40, 4)))), 4);
    es_store_n(y + 60, es_min(es_set1(6.0f), es_max(es_set1(0.0f), (c3_0 + es_load_n(x1 + 60, 4)))), 4);
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    const float *const x1 = (const float *)p[1];
    float *const y0 = (float *)p[2];
    const float *const weights = (const float *)p[3];
    const float *const bias = (const float *)p[4];
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
            const float *const wp = weights + (ptrdiff_t)panel * 160;
            const float *const bp = bias + panel * 16;
            const float *ahead = wp + (panel < 1 ? 160 : 0);
            if (panel < 1) {
                for (int32_t tile = first_tile; tile < last_tile; ++tile, ahead += 160) {
                    const int32_t row = tile * 5 - (tile > 1 ? tile - 1 : 0);
                    if (tile < 1) {
                        @NAME@_whole_0_5(xk + row * 10, wp, bp, y0 + row * 20 + (panel * 16), x1 + row * 20 + (panel * 16), ahead);
                    }
                    else {
                        @NAME@_whole_0_4(xk + row * 10, wp, bp, y0 + row * 20 + (panel * 16), x1 + row * 20 + (panel * 16), ahead);
                    }
                }
            }
            else {
                for (int32_t tile = first_tile; tile < last_tile; ++tile, ahead += 80) {
                    const int32_t row = tile * 5 - (tile > 1 ? tile - 1 : 0);
                    if (tile < 1) {
                        @NAME@_whole_1_5(xk + row * 10, wp, bp, y0 + row * 20 + (panel * 16), x1 + row * 20 + (panel * 16), ahead);
                    }
                    else {
                        @NAME@_whole_1_4(xk + row * 10, wp, bp, y0 + row * 20 + (panel * 16), x1 + row * 20 + (panel * 16), ahead);
                    }
                }
            }
        }
    }
}
