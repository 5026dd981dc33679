/* The model as a service: another program loads inputs, runs steps, looks at values and takes times. */
#include "es_clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "es_build.h"
#include "es_command.h"
#include "es_frame.h"
#include "es_selftest.h"
#include "es_variant.h"
#include "model.h"

enum { DESCRIBE = 1, WRITE_INPUT, READ_OUTPUT, RUN, READ_VALUE, WRITE_VALUE, CHECKSUM, TIME, THREADS, BYE };

enum { MAX_RANK = 64, CHUNK_BYTES = 1 << 16, MOST_TIMES = 1 << 20 };

typedef struct {
    es_channel channel;
    es_session *session;
    int threads;
    int ended;
    unsigned char chunk[CHUNK_BYTES];
} service;

static int malformed(service *s, const char *what) {
    if (feof(s->channel.in)) return EXIT_FILE;
    return es_refuse(&s->channel, EXIT_USAGE, "request %u: %s", (unsigned)s->channel.kind, what);
}

static int failed(service *s, int32_t status) {
    return es_refuse(&s->channel, EXIT_MODEL, "the model returned status %" PRId32, status);
}

static int sent(service *s) { return es_send(&s->channel) ? 0 : EXIT_FILE; }

static int done(service *s) {
    es_answer(&s->channel, 0);
    return sent(s);
}

/* The numbers at the beginning of a request; `bytes` must follow them. Gives 0 when it is another size. */
static int numbers(service *s, uint32_t *values, size_t count, uint64_t bytes) {
    return s->channel.left == count * sizeof *values + bytes && es_take(&s->channel, values, count * sizeof *values);
}

/* A number below `count` in front of a request, whatever follows; gives 0 when there is none. */
static int position(service *s, int32_t count, int32_t *i) {
    uint32_t given;
    if (!es_take(&s->channel, &given, sizeof given) || given >= (uint32_t)count) return 0;
    *i = (int32_t)given;
    return 1;
}

/* Writes the description, or, without a channel, counts its bytes. */
typedef struct {
    es_channel *channel;
    size_t bytes;
} description;

static void put(description *d, const void *data, size_t bytes) {
    d->bytes += bytes;
    if (d->channel) es_put(d->channel, data, bytes);
}

static void put_u32(description *d, uint32_t value) { put(d, &value, sizeof value); }
static void put_i64(description *d, int64_t value) { put(d, &value, sizeof value); }

static void put_text(description *d, const char *text) {
    const size_t bytes = strlen(text);
    put_u32(d, (uint32_t)bytes);
    put(d, text, bytes);
}

static void put_type(description *d, const char *name, int32_t dtype, int32_t rank, const int64_t *shape) {
    put_text(d, name);
    put_u32(d, (uint32_t)dtype);
    put_u32(d, (uint32_t)rank);
    for (int32_t i = 0; i < rank; i++) put_i64(d, shape[i]);
}

static void put_tensors(description *d, int32_t count, const es_tensor_info *(*info)(int32_t)) {
    put_u32(d, (uint32_t)count);
    for (int32_t i = 0; i < count; i++) put_type(d, info(i)->name, info(i)->dtype, info(i)->rank, info(i)->shape);
}

static void put_description(description *d, const service *s) {
    put_u32(d, (uint32_t)ES_MODEL(abi_version)());
    put_u32(d, (uint32_t)s->threads);
    put_text(d, ES_MODEL(version)());
    put_text(d, ES_BUILD);
    put_text(d, es_variant_name() ? es_variant_name() : "");
    put_tensors(d, ES_MODEL(input_count)(), ES_MODEL(input));
    put_tensors(d, ES_MODEL(output_count)(), ES_MODEL(output));
    put_u32(d, (uint32_t)ES_MODEL(value_count)());
    for (int32_t i = 0; i < ES_MODEL(value_count)(); i++) {
        const es_value_info *v = ES_MODEL(value)(i);
        put_type(d, v->name, v->dtype, v->rank, v->shape);
    }
    put_u32(d, (uint32_t)ES_MODEL(step_count)());
    for (int32_t i = 0; i < ES_MODEL(step_count)(); i++) {
        const es_step_info *step = ES_MODEL(step)(i);
        put_text(d, step->name);
        put_text(d, step->kernel);
        put_u32(d, (uint32_t)step->tasks);
        put_i64(d, step->macs);
        put_i64(d, step->bytes);
    }
}

static int describe(service *s) {
    if (s->channel.left) return malformed(s, "has a content");
    description d = {NULL, 0};
    put_description(&d, s);
    es_answer(&s->channel, d.bytes);
    d.channel = &s->channel;
    put_description(&d, s);
    return sent(s);
}

static int write_input(service *s) {
    int32_t i;
    if (!position(s, ES_MODEL(input_count)(), &i)) return malformed(s, "no such input");
    const size_t bytes = ES_MODEL(input)(i)->bytes;
    if (s->channel.left != bytes) return malformed(s, "another size than the input's");
    if (!es_take(&s->channel, s->session->inputs[i], bytes)) return EXIT_FILE;
    return done(s);
}

static int read_output(service *s) {
    int32_t i;
    if (!position(s, ES_MODEL(output_count)(), &i) || s->channel.left) return malformed(s, "no such output");
    const size_t bytes = ES_MODEL(output)(i)->bytes;
    es_answer(&s->channel, bytes);
    es_put(&s->channel, s->session->outputs[i], bytes);
    return sent(s);
}

static int run(service *s) {
    uint32_t range[2];
    const uint32_t steps = (uint32_t)ES_MODEL(step_count)();
    if (!numbers(s, range, 2, 0) || range[0] > range[1] || range[1] > steps) return malformed(s, "no such steps");
    const int64_t start = es_now_ns();
    const int32_t status = ES_MODEL(run_steps)(s->session->context, (int32_t)range[0], (int32_t)range[1]);
    const int64_t taken = es_now_ns() - start;
    if (status != ES_OK) return failed(s, status);
    es_answer(&s->channel, sizeof taken);
    es_put(&s->channel, &taken, sizeof taken);
    return sent(s);
}

/* Goes through the elements of a value in the order of its dimensions, the last one fastest. */
typedef struct {
    const es_value_info *info;
    unsigned char *at;
    size_t item, left; /* bytes of an element, and elements to come */
    int64_t index[MAX_RANK];
} cursor;

static unsigned char *value_address(const es_session *s, const es_value_info *v) {
    unsigned char *base = ES_MODEL(arena)(s->context);
    if (v->space % 16 == ES_SPACE_INPUT) base = s->inputs[v->space / 16];
    if (v->space % 16 == ES_SPACE_OUTPUT) base = s->outputs[v->space / 16];
    return base + v->offset;
}

/* Gives 0 when the value has more dimensions than anybody needs. */
static int cursor_open(cursor *c, const es_session *s, const es_value_info *v) {
    if (v->rank > MAX_RANK) return 0;
    *c = (cursor){v, value_address(s, v), es_element_bytes(v->dtype), 1, {0}};
    for (int32_t d = 0; d < v->rank; d++) c->left *= (size_t)v->shape[d];
    return c->item > 0;
}

static size_t cursor_bytes(const cursor *c) { return c->left * c->item; }

static void cursor_advance(cursor *c) {
    c->left--;
    for (int32_t d = c->info->rank - 1; d >= 0 && c->left; d--) {
        const int64_t step = c->info->strides[d] * (int64_t)c->item;
        c->at += step;
        if (++c->index[d] < c->info->shape[d]) return;
        c->at -= step * c->info->shape[d];
        c->index[d] = 0;
    }
}

static void copy_element(unsigned char *to, const unsigned char *from, size_t bytes) {
    switch (bytes) {
    case 1: *to = *from; break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    default: memcpy(to, from, bytes); break;
    }
}

/* Copies the next elements between the value and the chunk; gives their bytes. */
static size_t move_chunk(service *s, cursor *c, int into_value) {
    size_t bytes = 0;
    for (; c->left && bytes + c->item <= CHUNK_BYTES; bytes += c->item) {
        if (into_value) {
            copy_element(c->at, s->chunk + bytes, c->item);
        } else {
            copy_element(s->chunk + bytes, c->at, c->item);
        }
        cursor_advance(c);
    }
    return bytes;
}

static int open_value(service *s, cursor *c) {
    int32_t i;
    return position(s, ES_MODEL(value_count)(), &i) && cursor_open(c, s->session, ES_MODEL(value)(i));
}

static int read_value(service *s) {
    cursor c;
    if (!open_value(s, &c) || s->channel.left) return malformed(s, "no such value");
    es_answer(&s->channel, cursor_bytes(&c));
    while (c.left) es_put(&s->channel, s->chunk, move_chunk(s, &c, 0));
    return sent(s);
}

static int write_value(service *s) {
    cursor c;
    if (!open_value(s, &c)) return malformed(s, "no such value");
    if (s->channel.left != cursor_bytes(&c)) return malformed(s, "another size than the value's");
    while (c.left) {
        const size_t most = CHUNK_BYTES / c.item * c.item, rest = cursor_bytes(&c);
        if (!es_take(&s->channel, s->chunk, rest < most ? rest : most)) return EXIT_FILE;
        (void)move_chunk(s, &c, 1);
    }
    return done(s);
}

/* CRC-32 of IEEE 802.3, as in zlib, of further bytes. */
static uint32_t crc32_of(uint32_t crc, const unsigned char *data, size_t bytes) {
    static uint32_t table[256];
    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? UINT32_C(0xedb88320) : 0);
            table[i] = value;
        }
    }
    for (size_t i = 0; i < bytes; i++) crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
    return crc;
}

static int checksum(service *s) {
    cursor c;
    if (!open_value(s, &c) || s->channel.left) return malformed(s, "no such value");
    uint32_t crc = UINT32_MAX;
    while (c.left) {
        const size_t bytes = move_chunk(s, &c, 0);
        crc = crc32_of(crc, s->chunk, bytes);
    }
    crc = ~crc;
    es_answer(&s->channel, sizeof crc);
    es_put(&s->channel, &crc, sizeof crc);
    return sent(s);
}

/* Times of a repetition: every step, the run as a whole, and a call that runs nothing. */
static int32_t time_once(es_context *context, int32_t steps, int64_t *times) {
    for (int32_t i = 0; i < steps + 2; i++) {
        const int32_t begin = i < steps ? i : 0, end = i < steps ? i + 1 : i == steps ? steps : 0;
        const int64_t start = es_now_ns();
        const int32_t status = ES_MODEL(run_steps)(context, begin, end);
        times[i] = es_now_ns() - start;
        if (status != ES_OK) return status;
    }
    return ES_OK;
}

/* Step after step, so that each finds the caches as in a whole run; once without counting. */
static int time_steps(service *s) {
    uint32_t repetitions;
    const int32_t steps = ES_MODEL(step_count)();
    const size_t columns = (size_t)steps + 2;
    if (!numbers(s, &repetitions, 1, 0) || !repetitions || repetitions > MOST_TIMES / columns) {
        return malformed(s, "no such number of repetitions");
    }
    const size_t count = repetitions * columns;
    int64_t *times = calloc(count, sizeof *times);
    if (!times) return es_refuse(&s->channel, EXIT_RESOURCES, "no memory for %zu times", count);
    int32_t status = time_once(s->session->context, steps, times);
    for (size_t i = 0; i < repetitions && status == ES_OK; i++) {
        status = time_once(s->session->context, steps, times + i * columns);
    }
    if (status == ES_OK) {
        es_answer(&s->channel, count * sizeof *times);
        es_put(&s->channel, times, count * sizeof *times);
    }
    free(times);
    return status == ES_OK ? sent(s) : failed(s, status);
}

static int bind(service *s) {
    const es_session *e = s->session;
    const int32_t status = ES_MODEL(bind)(e->context, (const void *const *)e->inputs, e->outputs);
    return status == ES_OK ? 0 : failed(s, status);
}

/* A fresh context: its inputs and values are 0. */
static int set_threads(service *s) {
    uint32_t threads;
    if (!numbers(s, &threads, 1, 0) || threads < 1 || threads > ES_POOL_MAX_THREADS) {
        return malformed(s, "no such number of threads");
    }
    es_session_close(s->session);
    const int status = es_session_open(s->session, (int)threads);
    if (status) {
        *s->session = (es_session){0};
        return es_refuse(&s->channel, status, "cannot run with %u threads", (unsigned)threads);
    }
    s->threads = (int)threads;
    const int failure = bind(s);
    return failure ? failure : done(s);
}

static int bye(service *s) {
    if (s->channel.left) return malformed(s, "has a content");
    s->ended = 1;
    return done(s);
}

static int answer(service *s) {
    static int (*const answers[])(service *) = {
        NULL,         [DESCRIBE] = describe,       [WRITE_INPUT] = write_input, [READ_OUTPUT] = read_output,
        [RUN] = run,  [READ_VALUE] = read_value,   [WRITE_VALUE] = write_value, [CHECKSUM] = checksum,
        [TIME] = time_steps, [THREADS] = set_threads, [BYE] = bye,
    };
    const uint16_t kind = s->channel.kind;
    if (kind == 0 || kind >= sizeof answers / sizeof answers[0]) return malformed(s, "unknown");
    return answers[kind](s);
}

int es_command_serve(es_session *session, const es_options *o) {
    service s = {.session = session, .threads = o->threads};
    if (!es_channel_open(&s.channel, ES_SERVICE_MODEL)) return EXIT_FILE;
    int status = bind(&s);
    while (!status && !s.ended) {
        const int next = es_channel_next(&s.channel);
        if (next == ES_NO_MORE) break;
        status = next == ES_REQUEST ? answer(&s) : EXIT_FILE;
    }
    return status;
}
