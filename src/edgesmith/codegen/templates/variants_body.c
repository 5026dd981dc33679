
struct es_context {
    const variant *variant; /* whose own context follows at the next multiple of ES_ALIGNMENT */
};

static const variant *chosen; /* atomic; NULL until somebody asks */

/* The best variant that this processor runs. Where it runs none, the last one describes the model, and nothing runs. */
static const variant *best(void) {
    for (int32_t i = 0; i < VARIANTS; ++i) {
        if (variants[i].runs_here()) return &variants[i];
    }
    return &variants[VARIANTS - 1];
}

/* Threads that ask at the same time find the same; a choice made meanwhile by use_variant stays. */
static const variant *current(void) {
    const variant *found = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);
    if (found) return found;
    const variant *const mine = best();
    return __atomic_compare_exchange_n(&chosen, &found, mine, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ? mine : found;
}

static int same(const char *a, const char *b) {
    while (*a && *a == *b) ++a, ++b;
    return *a == *b;
}

int32_t @NAME@_variant_count(void) { return VARIANTS; }

const char *@NAME@_variant(int32_t i) { return i >= 0 && i < VARIANTS ? variants[i].name : NULL; }

const char *@NAME@_variant_in_use(void) {
    const variant *const v = current();
    return v->runs_here() ? v->name : NULL;
}

int32_t @NAME@_use_variant(const char *name) {
    if (!name) {
        __atomic_store_n(&chosen, best(), __ATOMIC_RELEASE);
        return ES_OK;
    }
    for (int32_t i = 0; i < VARIANTS; ++i) {
        if (!same(name, variants[i].name)) continue;
        if (!variants[i].runs_here()) return ES_UNAVAILABLE;
        __atomic_store_n(&chosen, &variants[i], __ATOMIC_RELEASE);
        return ES_OK;
    }
    return ES_BAD_ARGUMENT;
}

static es_context *inner(es_context *context) { return (es_context *)(void *)((unsigned char *)context + ES_ALIGNMENT); }

size_t @NAME@_context_bytes(int32_t workers) { return ES_ALIGNMENT + current()->context_bytes(workers); }

es_context *@NAME@_init(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool) {
    const variant *const v = current();
    if (!memory || bytes < ES_ALIGNMENT || !v->runs_here()) return NULL;
    es_context *const context = memory;
    if (!v->init(inner(context), bytes - ES_ALIGNMENT, workers, parallel_for, pool)) return NULL;
    context->variant = v;
    return context;
}

void @NAME@_prepare(es_context *context) {
    if (context) context->variant->prepare(inner(context));
}

int32_t @NAME@_bind(es_context *context, const void *const *input_data, void *const *output_data) {
    return context ? context->variant->bind(inner(context), input_data, output_data) : ES_BAD_ARGUMENT;
}

int32_t @NAME@_run(es_context *context, const void *const *input_data, void *const *output_data) {
    return context ? context->variant->run(inner(context), input_data, output_data) : ES_BAD_ARGUMENT;
}

int32_t @NAME@_run_steps(es_context *context, int32_t begin, int32_t end) {
    return context ? context->variant->run_steps(inner(context), begin, end) : ES_BAD_ARGUMENT;
}

void *@NAME@_arena(es_context *context) { return context ? context->variant->arena(inner(context)) : NULL; }

int32_t @NAME@_abi_version(void) { return ES_ABI_VERSION; }

const char *@NAME@_version(void) { return @VERSION@; }

int32_t @NAME@_input_count(void) { return current()->input_count(); }

const es_tensor_info *@NAME@_input(int32_t i) { return current()->input(i); }

int32_t @NAME@_output_count(void) { return current()->output_count(); }

const es_tensor_info *@NAME@_output(int32_t i) { return current()->output(i); }

int32_t @NAME@_step_count(void) { return current()->step_count(); }

const es_step_info *@NAME@_step(int32_t i) { return current()->step(i); }

int32_t @NAME@_value_count(void) { return current()->value_count(); }

const es_value_info *@NAME@_value(int32_t i) { return current()->value(i); }
