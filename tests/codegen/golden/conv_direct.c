/* conv3x3_direct_f32_relu_2x2, 5 tasks */
static void @NAME@_0_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    es_v c1_0 = bias0, c1_1 = bias1;
    w += (ptrdiff_t)first * 240;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v b1 = es_load(w + 8);
            const es_v a1 = es_set1(x[at + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            c1_1 = es_fma(a1, b1, c1_1);
            w += 16;
        }
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v b1 = es_load(w + 8);
            const es_v a0 = es_set1(x[at + 5 + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            c0_1 = es_fma(a0, b1, c0_1);
            const es_v a1 = es_set1(x[at + 5 + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            c1_1 = es_fma(a1, b1, c1_1);
            w += 16;
        }
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v b1 = es_load(w + 8);
            const es_v a0 = es_set1(x[at + 10 + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            c0_1 = es_fma(a0, b1, c0_1);
            const es_v a1 = es_set1(x[at + 10 + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            c1_1 = es_fma(a1, b1, c1_1);
            w += 16;
        }
        at += 45;
    }
    es_store(y, es_max(es_set1(0.0f), c0_0));
    es_store(y + 8, es_max(es_set1(0.0f), c0_1));
    es_store(y + 20, es_max(es_set1(0.0f), c1_0));
    es_store(y + 28, es_max(es_set1(0.0f), c1_1));
}

static void @NAME@_0_1(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    es_v c1_0 = bias0, c1_1 = bias1;
    w += (ptrdiff_t)first * 240;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t k = 0; k < 15; ++k) {
            const es_v b0 = es_load(w);
            const es_v b1 = es_load(w + 8);
            const es_v a0 = es_set1(x[at + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            c0_1 = es_fma(a0, b1, c0_1);
            const es_v a1 = es_set1(x[at + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            c1_1 = es_fma(a1, b1, c1_1);
            w += 16;
        }
        at += 45;
    }
    es_store(y, es_max(es_set1(0.0f), c0_0));
    es_store(y + 8, es_max(es_set1(0.0f), c0_1));
    es_store(y + 20, es_max(es_set1(0.0f), c1_0));
    es_store(y + 28, es_max(es_set1(0.0f), c1_1));
}

static void @NAME@_0_2(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    const es_v bias1 = es_load(b + 8);
    es_v c0_0 = bias0, c0_1 = bias1;
    w += (ptrdiff_t)first * 240;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v b1 = es_load(w + 8);
            const es_v a0 = es_set1(x[at + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            c0_1 = es_fma(a0, b1, c0_1);
            w += 16;
        }
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v b1 = es_load(w + 8);
            const es_v a0 = es_set1(x[at + 5 + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            c0_1 = es_fma(a0, b1, c0_1);
            w += 16;
        }
        w += 80;
        at += 45;
    }
    es_store(y, es_max(es_set1(0.0f), c0_0));
    es_store(y + 8, es_max(es_set1(0.0f), c0_1));
}

static void @NAME@_1_0(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    w += (ptrdiff_t)first * 120;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v a1 = es_set1(x[at + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[at + 5 + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[at + 5 + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[at + 10 + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[at + 10 + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
        at += 45;
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
    es_store_n(y + 20, es_max(es_set1(0.0f), c1_0), 4);
}

static void @NAME@_1_1(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    es_v c1_0 = bias0;
    w += (ptrdiff_t)first * 120;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t k = 0; k < 15; ++k) {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[at + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            const es_v a1 = es_set1(x[at + k + 10]);
            c1_0 = es_fma(a1, b0, c1_0);
            w += 8;
        }
        at += 45;
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
    es_store_n(y + 20, es_max(es_set1(0.0f), c1_0), 4);
}

static void @NAME@_1_2(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y) {
    const es_v bias0 = es_load(b);
    es_v c0_0 = bias0;
    w += (ptrdiff_t)first * 120;
    at += (ptrdiff_t)first * 45;
    for (int32_t t = first; t < last; ++t) {
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[at + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            w += 8;
        }
        for (ptrdiff_t k = 0; k < 5; ++k) {
            const es_v b0 = es_load(w);
            const es_v a0 = es_set1(x[at + 5 + k]);
            c0_0 = es_fma(a0, b0, c0_0);
            w += 8;
        }
        w += 40;
        at += 45;
    }
    es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
}

void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch) {
    const float *const x0 = (const float *)p[0];
    float *const y0 = (float *)p[1];
    const float *const weights = (const float *)p[2];
    const float *const bias = (const float *)p[3];
    (void)scratch;
    for (int32_t task = begin; task < end; ++task) {
        const int32_t stop = (task + 1) * 1 < 5 ? (task + 1) * 1 : 5;
        for (int32_t panel = 0; panel < 2; ++panel) {
            for (int32_t row = task * 1; row < stop; ++row) {
                const int32_t n = row / 5, oh = row % 5;
                const int32_t group = 0, part = panel;
                const float *const wp = weights + (ptrdiff_t)group * 1080 + (ptrdiff_t)part * 720;
                const float *const bp = bias + group * 24 + part * 16;
                const int32_t channel = group * 20 + part * 16;
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
                    @NAME@_0_1(x0, at + 20, first, last, wp, bp, yp + 2 * 20);
                    @NAME@_0_2(x0, at + 40, first, last, wp, bp, yp + 4 * 20);
                }
                else {
                    @NAME@_1_0(x0, at + 0, first, last, wp, bp, yp + 0);
                    @NAME@_1_1(x0, at + 20, first, last, wp, bp, yp + 2 * 20);
                    @NAME@_1_2(x0, at + 40, first, last, wp, bp, yp + 4 * 20);
                }
            }
        }
    }
}
