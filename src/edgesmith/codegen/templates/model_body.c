
struct es_context {
    unsigned char *arena, *prepared, *scratch;
    int32_t workers, ready, bound;
    es_parallel_for parallel_for;
    void *pool;
    const void *inputs[INPUTS > 0 ? INPUTS : 1];
    void *outputs[OUTPUTS > 0 ? OUTPUTS : 1];
};

static size_t rounded(size_t bytes) { return (bytes + (ES_ALIGNMENT - 1)) / ES_ALIGNMENT * ES_ALIGNMENT; }

int32_t @NAME@_abi_version(void) { return ES_ABI_VERSION; }

const char *@NAME@_version(void) { return @VERSION@; }

int32_t @NAME@_input_count(void) { return INPUTS; }

const es_tensor_info *@NAME@_input(int32_t i) { return i >= 0 && i < INPUTS ? &inputs[i] : NULL; }

int32_t @NAME@_output_count(void) { return OUTPUTS; }

const es_tensor_info *@NAME@_output(int32_t i) { return i >= 0 && i < OUTPUTS ? &outputs[i] : NULL; }

int32_t @NAME@_step_count(void) { return STEPS; }

const es_step_info *@NAME@_step(int32_t i) { return i >= 0 && i < STEPS ? &step_infos[i] : NULL; }

int32_t @NAME@_value_count(void) { return (int32_t)(sizeof values / sizeof values[0]); }

const es_value_info *@NAME@_value(int32_t i) { return i >= 0 && i < @NAME@_value_count() ? &values[i] : NULL; }

void *@NAME@_arena(es_context *context) { return context ? context->arena : NULL; }

size_t @NAME@_context_bytes(int32_t workers) {
    const size_t count = workers > 0 ? (size_t)workers : 1;
    return rounded(sizeof(es_context)) + rounded(ARENA_BYTES) + rounded(PREPARED_BYTES) + count * rounded(SCRATCH_BYTES);
}

es_context *@NAME@_init(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool) {
    if (!memory || (uintptr_t)memory % ES_ALIGNMENT || workers < 1 || bytes < @NAME@_context_bytes(workers)) return NULL;
    es_context *const context = memory;
    unsigned char *at = (unsigned char *)memory + rounded(sizeof *context);
    context->arena = at;
    context->prepared = at += rounded(ARENA_BYTES);
    context->scratch = at + rounded(PREPARED_BYTES);
    context->workers = workers;
    context->ready = context->bound = 0;
    for (int32_t i = 0; i < INPUTS; ++i) context->inputs[i] = NULL;
    for (int32_t i = 0; i < OUTPUTS; ++i) context->outputs[i] = NULL;
    context->parallel_for = parallel_for;
    context->pool = pool;
    return context;
}

int32_t @NAME@_bind(es_context *context, const void *const *input_data, void *const *output_data) {
    if (!context || (INPUTS > 0 && !input_data) || (OUTPUTS > 0 && !output_data)) return ES_BAD_ARGUMENT;
    for (int32_t i = 0; i < INPUTS; ++i) {
        if (!input_data[i]) return ES_BAD_ARGUMENT;
        context->inputs[i] = input_data[i];
    }
    for (int32_t i = 0; i < OUTPUTS; ++i) {
        if (!output_data[i]) return ES_BAD_ARGUMENT;
        context->outputs[i] = output_data[i];
    }
    context->bound = 1;
    return ES_OK;
}

typedef struct {
    const step *step;
    void *pointers[MAX_OPERANDS];
    unsigned char *scratch;
    int32_t parts;
} call;

/* The first task of a part. Parts follow one another and have about the same share of the step's cost, which depends on
 * their number alone. */
static int32_t first_task(const step *s, int32_t part, int32_t parts) {
    if (!s->costs) return (int32_t)((int64_t)s->tasks * part / parts);
    const int64_t goal = (int64_t)s->costs[s->tasks] * part / parts;
    int32_t low = 0, high = s->tasks;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (s->costs[middle] < goal) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && goal - s->costs[low - 1] < s->costs[low] - goal ? low - 1 : low;
}

static void run_parts(void *arg, int32_t worker, int32_t begin, int32_t end) {
    const call *const c = arg;
    const int32_t first = first_task(c->step, begin, c->parts), last = first_task(c->step, end, c->parts);
    if (first == last) return;
    c->step->function(c->pointers, first, last, c->scratch + (size_t)worker * rounded(SCRATCH_BYTES));
}

static void *address(const es_context *context, const operand *o) {
    const unsigned char *base = NULL;
    switch (o->space % 16) {
    case 0: base = context->arena; break;
    case 1: base = @WEIGHTS@; break;
    case 2: base = context->prepared; break;
    case 3: base = context->inputs[o->space / 16]; break;
    default: base = context->outputs[o->space / 16]; break;
    }
    /* Kernels only read inputs and weights, so dropping const here is harmless. */
    return base ? (void *)(uintptr_t)(base + o->offset) : NULL;
}

static void addresses(const es_context *context, const step *s, void **pointers) {
    for (int32_t k = 0; k < s->operand_count; ++k) pointers[k] = address(context, &operands[s->first_operand + k]);
}

void @NAME@_prepare(es_context *context) {
    if (!context) return;
    EXPAND_WEIGHTS(@WEIGHTS@, context->prepared);
    for (int32_t i = 0; i < STEPS; ++i) {
        if (!steps[i].prepare) continue;
        void *pointers[MAX_OPERANDS];
        addresses(context, &steps[i], pointers);
        steps[i].prepare(pointers);
    }
    context->ready = 1;
}

int32_t @NAME@_run_steps(es_context *context, int32_t begin, int32_t end) {
    if (!context || begin < 0 || end < begin || end > STEPS) return ES_BAD_ARGUMENT;
    if (!context->ready || !context->bound) return ES_NOT_READY;
    for (int32_t i = begin; i < end; ++i) {
        const step *const s = &steps[i];
        call c;
        c.step = s;
        c.scratch = context->scratch;
        c.parts = !context->parallel_for ? 1 : context->workers < s->workers ? context->workers : s->workers;
        addresses(context, s, c.pointers);
        if (c.parts > 1) {
            context->parallel_for(context->pool, run_parts, &c, c.parts);
        } else {
            run_parts(&c, 0, 0, 1);
        }
    }
    return ES_OK;
}

int32_t @NAME@_run(es_context *context, const void *const *input_data, void *const *output_data) {
    const int32_t status = @NAME@_bind(context, input_data, output_data);
    return status == ES_OK ? @NAME@_run_steps(context, 0, STEPS) : status;
}
