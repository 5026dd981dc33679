#include "model.h"

#define ROWS 6
#define COLUMNS 4

struct es_context {
    es_parallel_for parallel_for;
    void *pool;
    float factor; /* a prepared weight */
    const float *x;
    const int32_t *b;
    float *y;
    int64_t *top;
};

static const int64_t x_shape[] = {2, 3, 4}, b_shape[] = {4};
static const es_tensor_info inputs_info[] = {{"x", ES_F32, 3, x_shape, 96}, {"b", ES_I32, 1, b_shape, 16}};
static const es_tensor_info outputs_info[] = {{"y", ES_F32, 3, x_shape, 96}, {"top", ES_I64, 0, NULL, 8}};
static const es_step_info steps_info[] = {{"/scale/Mul, /Add", "affine", ROWS, ROWS * COLUMNS, 208},
                                          {"/ArgMax", "argmax", 1, 0, 104}};

static const int64_t x_strides[] = {12, 4, 1}, b_strides[] = {1};
static const int64_t columns_shape[] = {COLUMNS, ROWS}, columns_strides[] = {1, COLUMNS}, last_strides[] = {-1};
static const es_value_info values_info[] = {
    {"x", ES_F32, 3, x_shape, x_strides, ES_SPACE_INPUT, 0},
    {"b", ES_I32, 1, b_shape, b_strides, ES_SPACE_INPUT + 16, 0},
    {"y", ES_F32, 3, x_shape, x_strides, ES_SPACE_OUTPUT, 0},
    {"top", ES_I64, 0, NULL, NULL, ES_SPACE_OUTPUT + 16, 0},
    {"columns", ES_F32, 2, columns_shape, columns_strides, ES_SPACE_OUTPUT, 0},
    {"last", ES_F32, 1, b_shape, last_strides, ES_SPACE_OUTPUT, 12},
};

static void affine(void *arg, int32_t worker, int32_t begin, int32_t end) {
    es_context *c = arg;
    (void)worker;
    for (int32_t row = begin; row < end; row++) {
        for (int32_t i = 0; i < COLUMNS; i++) {
            c->y[row * COLUMNS + i] = c->factor * c->x[row * COLUMNS + i] + (float)c->b[i];
        }
    }
}

static void argmax(void *arg, int32_t worker, int32_t begin, int32_t end) {
    es_context *c = arg;
    (void)worker;
    (void)begin;
    (void)end;
    *c->top = 0;
    for (int64_t i = 1; i < ROWS * COLUMNS; i++) {
        if (c->y[i] > c->y[*c->top]) *c->top = i;
    }
}

int32_t ES_MODEL(abi_version)(void) { return ES_ABI_VERSION; }
const char *ES_MODEL(version)(void) { return "0.test"; }
int32_t ES_MODEL(input_count)(void) { return 2; }
const es_tensor_info *ES_MODEL(input)(int32_t i) { return 0 <= i && i < 2 ? &inputs_info[i] : NULL; }
int32_t ES_MODEL(output_count)(void) { return 2; }
const es_tensor_info *ES_MODEL(output)(int32_t i) { return 0 <= i && i < 2 ? &outputs_info[i] : NULL; }
int32_t ES_MODEL(step_count)(void) { return 2; }
const es_step_info *ES_MODEL(step)(int32_t i) { return 0 <= i && i < 2 ? &steps_info[i] : NULL; }
size_t ES_MODEL(context_bytes)(int32_t workers) { return sizeof(es_context) + (size_t)workers * ES_ALIGNMENT; }

es_context *ES_MODEL(init)(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool) {
    if (!memory || (uintptr_t)memory % ES_ALIGNMENT || workers < 1 || bytes < ES_MODEL(context_bytes)(workers)) return NULL;
    es_context *c = memory;
    c->parallel_for = parallel_for;
    c->pool = pool;
    return c;
}

void ES_MODEL(prepare)(es_context *c) { c->factor = 2; }

int32_t ES_MODEL(bind)(es_context *c, const void *const *inputs, void *const *outputs) {
    if (!c || !inputs || !outputs) return ES_BAD_ARGUMENT;
    c->x = inputs[0];
    c->b = inputs[1];
    c->y = outputs[0];
    c->top = outputs[1];
    return ES_OK;
}

int32_t ES_MODEL(run_steps)(es_context *c, int32_t begin, int32_t end) {
    static const es_task tasks[] = {affine, argmax};
    if (!c || begin < 0 || begin > end || end > 2) return ES_BAD_ARGUMENT;
    for (int32_t i = begin; i < end; i++) {
        if (c->parallel_for) {
            c->parallel_for(c->pool, tasks[i], c, steps_info[i].tasks);
        } else {
            tasks[i](c, 0, 0, steps_info[i].tasks);
        }
    }
    return ES_OK;
}

int32_t ES_MODEL(run)(es_context *c, const void *const *inputs, void *const *outputs) {
    int32_t status = ES_MODEL(bind)(c, inputs, outputs);
    return status == ES_OK ? ES_MODEL(run_steps)(c, 0, 2) : status;
}

int32_t ES_MODEL(value_count)(void) { return sizeof values_info / sizeof values_info[0]; }
const es_value_info *ES_MODEL(value)(int32_t i) { return 0 <= i && i < ES_MODEL(value_count)() ? &values_info[i] : NULL; }
void *ES_MODEL(arena)(es_context *c) { return c; }
