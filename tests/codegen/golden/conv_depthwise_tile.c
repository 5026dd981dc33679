/* conv3x3_depthwise_f32_relu_2x2, 2 tasks */
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
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x1_1 = es_load(x + at + 60);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load(x + at + 72);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x1_3 = es_load(x + at + 84);
        c1_1 = es_fma(x1_3, w2, c1_1);
        c0_1 = es_fma(x1_3, w5, c0_1);
        const es_v x2_1 = es_load(x + at + 108);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load(x + at + 120);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        const es_v x2_3 = es_load(x + at + 132);
        c1_1 = es_fma(x2_3, w5, c1_1);
        c0_1 = es_fma(x2_3, w8, c0_1);
        const es_v x3_1 = es_load(x + at + 156);
        c1_1 = es_fma(x3_1, w6, c1_1);
        c1_0 = es_fma(x3_1, w7, c1_0);
        const es_v x3_2 = es_load(x + at + 168);
        c1_1 = es_fma(x3_2, w7, c1_1);
        c1_0 = es_fma(x3_2, w8, c1_0);
        const es_v x3_3 = es_load(x + at + 180);
        c1_1 = es_fma(x3_3, w8, c1_1);
        es_store(y, es_max(es_set1(0.0f), c0_0));
        es_store(y + 12, es_max(es_set1(0.0f), c0_1));
        es_store(y + 48, es_max(es_set1(0.0f), c1_0));
        es_store(y + 60, es_max(es_set1(0.0f), c1_1));
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_0_0_tail(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x1_1 = es_load_n(x + at + 60, 4);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load_n(x + at + 72, 4);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x1_3 = es_load_n(x + at + 84, 4);
        c1_1 = es_fma(x1_3, w2, c1_1);
        c0_1 = es_fma(x1_3, w5, c0_1);
        const es_v x2_1 = es_load_n(x + at + 108, 4);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load_n(x + at + 120, 4);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        const es_v x2_3 = es_load_n(x + at + 132, 4);
        c1_1 = es_fma(x2_3, w5, c1_1);
        c0_1 = es_fma(x2_3, w8, c0_1);
        const es_v x3_1 = es_load_n(x + at + 156, 4);
        c1_1 = es_fma(x3_1, w6, c1_1);
        c1_0 = es_fma(x3_1, w7, c1_0);
        const es_v x3_2 = es_load_n(x + at + 168, 4);
        c1_1 = es_fma(x3_2, w7, c1_1);
        c1_0 = es_fma(x3_2, w8, c1_0);
        const es_v x3_3 = es_load_n(x + at + 180, 4);
        c1_1 = es_fma(x3_3, w8, c1_1);
        es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
        es_store_n(y + 12, es_max(es_set1(0.0f), c0_1), 4);
        es_store_n(y + 48, es_max(es_set1(0.0f), c1_0), 4);
        es_store_n(y + 60, es_max(es_set1(0.0f), c1_1), 4);
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_0_1(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x1_0 = es_load(x + at + 48);
        c1_0 = es_fma(x1_0, w0, c1_0);
        c0_0 = es_fma(x1_0, w3, c0_0);
        const es_v x1_1 = es_load(x + at + 60);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load(x + at + 72);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x2_0 = es_load(x + at + 96);
        c1_0 = es_fma(x2_0, w3, c1_0);
        c0_0 = es_fma(x2_0, w6, c0_0);
        const es_v x2_1 = es_load(x + at + 108);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load(x + at + 120);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        const es_v x3_0 = es_load(x + at + 144);
        c1_0 = es_fma(x3_0, w6, c1_0);
        const es_v x3_1 = es_load(x + at + 156);
        c1_1 = es_fma(x3_1, w6, c1_1);
        c1_0 = es_fma(x3_1, w7, c1_0);
        const es_v x3_2 = es_load(x + at + 168);
        c1_1 = es_fma(x3_2, w7, c1_1);
        c1_0 = es_fma(x3_2, w8, c1_0);
        es_store(y, es_max(es_set1(0.0f), c0_0));
        es_store(y + 12, es_max(es_set1(0.0f), c0_1));
        es_store(y + 48, es_max(es_set1(0.0f), c1_0));
        es_store(y + 60, es_max(es_set1(0.0f), c1_1));
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_0_1_tail(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x1_0 = es_load_n(x + at + 48, 4);
        c1_0 = es_fma(x1_0, w0, c1_0);
        c0_0 = es_fma(x1_0, w3, c0_0);
        const es_v x1_1 = es_load_n(x + at + 60, 4);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load_n(x + at + 72, 4);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x2_0 = es_load_n(x + at + 96, 4);
        c1_0 = es_fma(x2_0, w3, c1_0);
        c0_0 = es_fma(x2_0, w6, c0_0);
        const es_v x2_1 = es_load_n(x + at + 108, 4);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load_n(x + at + 120, 4);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        const es_v x3_0 = es_load_n(x + at + 144, 4);
        c1_0 = es_fma(x3_0, w6, c1_0);
        const es_v x3_1 = es_load_n(x + at + 156, 4);
        c1_1 = es_fma(x3_1, w6, c1_1);
        c1_0 = es_fma(x3_1, w7, c1_0);
        const es_v x3_2 = es_load_n(x + at + 168, 4);
        c1_1 = es_fma(x3_2, w7, c1_1);
        c1_0 = es_fma(x3_2, w8, c1_0);
        es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
        es_store_n(y + 12, es_max(es_set1(0.0f), c0_1), 4);
        es_store_n(y + 48, es_max(es_set1(0.0f), c1_0), 4);
        es_store_n(y + 60, es_max(es_set1(0.0f), c1_1), 4);
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_1_0(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x0_1 = es_load(x + at + 12);
        c0_1 = es_fma(x0_1, w0, c0_1);
        c0_0 = es_fma(x0_1, w1, c0_0);
        const es_v x0_2 = es_load(x + at + 24);
        c0_1 = es_fma(x0_2, w1, c0_1);
        c0_0 = es_fma(x0_2, w2, c0_0);
        const es_v x0_3 = es_load(x + at + 36);
        c0_1 = es_fma(x0_3, w2, c0_1);
        const es_v x1_1 = es_load(x + at + 60);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load(x + at + 72);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x1_3 = es_load(x + at + 84);
        c1_1 = es_fma(x1_3, w2, c1_1);
        c0_1 = es_fma(x1_3, w5, c0_1);
        const es_v x2_1 = es_load(x + at + 108);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load(x + at + 120);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        const es_v x2_3 = es_load(x + at + 132);
        c1_1 = es_fma(x2_3, w5, c1_1);
        c0_1 = es_fma(x2_3, w8, c0_1);
        es_store(y, es_max(es_set1(0.0f), c0_0));
        es_store(y + 12, es_max(es_set1(0.0f), c0_1));
        es_store(y + 48, es_max(es_set1(0.0f), c1_0));
        es_store(y + 60, es_max(es_set1(0.0f), c1_1));
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_1_0_tail(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x0_1 = es_load_n(x + at + 12, 4);
        c0_1 = es_fma(x0_1, w0, c0_1);
        c0_0 = es_fma(x0_1, w1, c0_0);
        const es_v x0_2 = es_load_n(x + at + 24, 4);
        c0_1 = es_fma(x0_2, w1, c0_1);
        c0_0 = es_fma(x0_2, w2, c0_0);
        const es_v x0_3 = es_load_n(x + at + 36, 4);
        c0_1 = es_fma(x0_3, w2, c0_1);
        const es_v x1_1 = es_load_n(x + at + 60, 4);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load_n(x + at + 72, 4);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x1_3 = es_load_n(x + at + 84, 4);
        c1_1 = es_fma(x1_3, w2, c1_1);
        c0_1 = es_fma(x1_3, w5, c0_1);
        const es_v x2_1 = es_load_n(x + at + 108, 4);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load_n(x + at + 120, 4);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        const es_v x2_3 = es_load_n(x + at + 132, 4);
        c1_1 = es_fma(x2_3, w5, c1_1);
        c0_1 = es_fma(x2_3, w8, c0_1);
        es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
        es_store_n(y + 12, es_max(es_set1(0.0f), c0_1), 4);
        es_store_n(y + 48, es_max(es_set1(0.0f), c1_0), 4);
        es_store_n(y + 60, es_max(es_set1(0.0f), c1_1), 4);
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_1_1(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x0_0 = es_load(x + at + 0);
        c0_0 = es_fma(x0_0, w0, c0_0);
        const es_v x0_1 = es_load(x + at + 12);
        c0_1 = es_fma(x0_1, w0, c0_1);
        c0_0 = es_fma(x0_1, w1, c0_0);
        const es_v x0_2 = es_load(x + at + 24);
        c0_1 = es_fma(x0_2, w1, c0_1);
        c0_0 = es_fma(x0_2, w2, c0_0);
        const es_v x1_0 = es_load(x + at + 48);
        c1_0 = es_fma(x1_0, w0, c1_0);
        c0_0 = es_fma(x1_0, w3, c0_0);
        const es_v x1_1 = es_load(x + at + 60);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load(x + at + 72);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x2_0 = es_load(x + at + 96);
        c1_0 = es_fma(x2_0, w3, c1_0);
        c0_0 = es_fma(x2_0, w6, c0_0);
        const es_v x2_1 = es_load(x + at + 108);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load(x + at + 120);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        es_store(y, es_max(es_set1(0.0f), c0_0));
        es_store(y + 12, es_max(es_set1(0.0f), c0_1));
        es_store(y + 48, es_max(es_set1(0.0f), c1_0));
        es_store(y + 60, es_max(es_set1(0.0f), c1_1));
        at += 8;
        w += 72;
        y += 8;
    }
    (void)x, (void)at, (void)w;
}

static void @NAME@_1_1_tail(const float *x, ptrdiff_t at, int32_t vectors, const float *w, const float *b, float *y) {
    const float *const end = b + (ptrdiff_t)vectors * 8;
    for (; b < end; b += 8) {
        const es_v start = es_load(b);
        es_v c0_0 = start, c0_1 = start;
        es_v c1_0 = start, c1_1 = start;
        const es_v w0 = es_load(w + 0);
        const es_v w1 = es_load(w + 8);
        const es_v w2 = es_load(w + 16);
        const es_v w3 = es_load(w + 24);
        const es_v w4 = es_load(w + 32);
        const es_v w5 = es_load(w + 40);
        const es_v w6 = es_load(w + 48);
        const es_v w7 = es_load(w + 56);
        const es_v w8 = es_load(w + 64);
        const es_v x0_0 = es_load_n(x + at + 0, 4);
        c0_0 = es_fma(x0_0, w0, c0_0);
        const es_v x0_1 = es_load_n(x + at + 12, 4);
        c0_1 = es_fma(x0_1, w0, c0_1);
        c0_0 = es_fma(x0_1, w1, c0_0);
        const es_v x0_2 = es_load_n(x + at + 24, 4);
        c0_1 = es_fma(x0_2, w1, c0_1);
        c0_0 = es_fma(x0_2, w2, c0_0);
        const es_v x1_0 = es_load_n(x + at + 48, 4);
        c1_0 = es_fma(x1_0, w0, c1_0);
        c0_0 = es_fma(x1_0, w3, c0_0);
        const es_v x1_1 = es_load_n(x + at + 60, 4);
        c1_1 = es_fma(x1_1, w0, c1_1);
        c1_0 = es_fma(x1_1, w1, c1_0);
        c0_1 = es_fma(x1_1, w3, c0_1);
        c0_0 = es_fma(x1_1, w4, c0_0);
        const es_v x1_2 = es_load_n(x + at + 72, 4);
        c1_1 = es_fma(x1_2, w1, c1_1);
        c1_0 = es_fma(x1_2, w2, c1_0);
        c0_1 = es_fma(x1_2, w4, c0_1);
        c0_0 = es_fma(x1_2, w5, c0_0);
        const es_v x2_0 = es_load_n(x + at + 96, 4);
        c1_0 = es_fma(x2_0, w3, c1_0);
        c0_0 = es_fma(x2_0, w6, c0_0);
        const es_v x2_1 = es_load_n(x + at + 108, 4);
        c1_1 = es_fma(x2_1, w3, c1_1);
        c1_0 = es_fma(x2_1, w4, c1_0);
        c0_1 = es_fma(x2_1, w6, c0_1);
        c0_0 = es_fma(x2_1, w7, c0_0);
        const es_v x2_2 = es_load_n(x + at + 120, 4);
        c1_1 = es_fma(x2_2, w4, c1_1);
        c1_0 = es_fma(x2_2, w5, c1_0);
        c0_1 = es_fma(x2_2, w7, c0_1);
        c0_0 = es_fma(x2_2, w8, c0_0);
        es_store_n(y, es_max(es_set1(0.0f), c0_0), 4);
        es_store_n(y + 12, es_max(es_set1(0.0f), c0_1), 4);
        es_store_n(y + 48, es_max(es_set1(0.0f), c1_0), 4);
        es_store_n(y + 60, es_max(es_set1(0.0f), c1_1), 4);
        at += 8;
        w += 72;
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
        const int32_t part = task;
        enum { n = 0 };
        const int32_t start = part * 2 / 2;
        const int32_t stop = (part + 1) * 2 / 2;
        const int32_t channel = block * 8;
        const float *const wp = weights + (ptrdiff_t)channel * 9;
        const float *const bp = bias + channel;
        const int32_t first0 = start > 0 ? start : 0;
        const int32_t last0 = stop < 1 ? stop : 1;
        for (int32_t tile = first0; tile < last0; ++tile) {
            const int32_t oh = 0 + (tile - 0) * 2;
            const ptrdiff_t at = (ptrdiff_t)n * 192 + (ptrdiff_t)(oh * 1 - 1) * 48 - 12 + channel;
            float *const yp = y0 + channel + oh * 48;
            for (int32_t ow = 0; ow < 2; ow += 2) {
                @NAME@_0_0(x0, at + (ptrdiff_t)ow * 12, 1, wp, bp, yp + ow * 12);
                @NAME@_0_0_tail(x0, at + (ptrdiff_t)ow * 12 + 8, 1, wp + 72, bp + 8, yp + 8 + ow * 12);
            }
            for (int32_t ow = 2; ow < 4; ow += 2) {
                @NAME@_0_1(x0, at + (ptrdiff_t)ow * 12, 1, wp, bp, yp + ow * 12);
                @NAME@_0_1_tail(x0, at + (ptrdiff_t)ow * 12 + 8, 1, wp + 72, bp + 8, yp + 8 + ow * 12);
            }
        }
        const int32_t first1 = start > 1 ? start : 1;
        const int32_t last1 = stop < 2 ? stop : 2;
        for (int32_t tile = first1; tile < last1; ++tile) {
            const int32_t oh = 2 + (tile - 1) * 2;
            const ptrdiff_t at = (ptrdiff_t)n * 192 + (ptrdiff_t)(oh * 1 - 1) * 48 - 12 + channel;
            float *const yp = y0 + channel + oh * 48;
            for (int32_t ow = 0; ow < 2; ow += 2) {
                @NAME@_1_0(x0, at + (ptrdiff_t)ow * 12, 1, wp, bp, yp + ow * 12);
                @NAME@_1_0_tail(x0, at + (ptrdiff_t)ow * 12 + 8, 1, wp + 72, bp + 8, yp + 8 + ow * 12);
            }
            for (int32_t ow = 2; ow < 4; ow += 2) {
                @NAME@_1_1(x0, at + (ptrdiff_t)ow * 12, 1, wp, bp, yp + ow * 12);
                @NAME@_1_1_tail(x0, at + (ptrdiff_t)ow * 12 + 8, 1, wp + 72, bp + 8, yp + 8 + ow * 12);
            }
        }
    }
}
