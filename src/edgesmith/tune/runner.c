/* Trials as a service, on a device: they are loaded with their operands, and run in turn. docs/serving.md specifies it.
 *
 * A trial that does not come to an end within the time that the request allows ends the program, by SIGALRM. */
#define _GNU_SOURCE /* sysconf(_SC_PHYS_PAGES) */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "es_affinity.h"
#include "es_frame.h"
#include "trials.h"

enum { LOAD = 1, TURN = 2, CLEAR = 3 };
enum { ZEROS = 0, FLOATS = 1, GIVEN = 2 };
enum { IDLE_SECONDS = 1800 };
enum { ALIGNMENT = 64, MOST_LOADED = 4096, MOST_BLOCKS = 4096, ATTEMPTS = 4 };
enum { EXIT_MALFORMED = 2, EXIT_OUTPUT = 3, EXIT_MEMORY = 4 };

typedef struct {
    uint32_t trial, tasks, seconds, block_count, pointer_count, fixed_count;
    uint64_t scratch_bytes, other_bytes;
} head;

typedef struct {
    uint64_t bytes;
    uint32_t content, is_input;
} block;

typedef struct {
    uint64_t offset;
    uint32_t block, unused;
} pointer;

/* A trial with its operands in memory. */
typedef struct {
    trial_function run;
    int32_t tasks, input_count;
    uint32_t block_count;
    size_t other_bytes, held_bytes;
    void *scratch, **blocks, **pointers;
    const void **inputs;
    size_t *input_bytes;
} loaded;

static es_channel channel;
static loaded trials[MOST_LOADED];
static uint32_t trial_count;
static void *other;
static size_t other_bytes;
static uint64_t held_bytes; /* by all that is loaded */

static int malformed(const char *what) {
    if (feof(channel.in)) return EXIT_OUTPUT;
    return es_refuse(&channel, EXIT_MALFORMED, "request %u: %s", (unsigned)channel.kind, what);
}

static int no_memory(uint64_t bytes) {
    return es_refuse(&channel, EXIT_MEMORY, "no memory for %" PRIu64 " bytes", bytes);
}

static int sent(void) { return es_send(&channel) ? 0 : EXIT_OUTPUT; }

/* NULL when the machine has less beside what is held. */
static void *memory(uint64_t bytes) {
    void *made = NULL;
    const uint64_t most = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (bytes > most || held_bytes > most - bytes || bytes > SIZE_MAX / 2) return NULL;
    if (posix_memalign(&made, ALIGNMENT, bytes ? (size_t)bytes : 1)) return NULL;
    held_bytes += bytes;
    return made;
}

static void release(loaded *t) {
    held_bytes -= t->held_bytes;
    for (uint32_t i = 0; t->blocks && i < t->block_count; i++) free(t->blocks[i]);
    free(t->blocks);
    free(t->pointers);
    free(t->inputs);
    free(t->input_bytes);
    free(t->scratch);
    *t = (loaded){0};
}

/* Numbers of both signs from 0.5 to 1: a kernel takes as long with them as with any. */
static void fill_with_floats(uint32_t *words, size_t count) {
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        words[i] = UINT32_C(0x3f000000) | (state & UINT32_C(0x807fffff));
    }
}

static int fill(void *data, const block *b) {
    if (b->content == GIVEN) return es_take(&channel, data, (size_t)b->bytes);
    memset(data, 0, (size_t)b->bytes);
    if (b->content == FLOATS) fill_with_floats(data, (size_t)b->bytes / sizeof(uint32_t));
    return 1;
}

static int load_blocks(loaded *t, const block *blocks, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (blocks[i].content == GIVEN && blocks[i].bytes > channel.left) return malformed("its content ends too early");
        t->blocks[i] = memory(blocks[i].bytes);
        if (!t->blocks[i]) return no_memory(blocks[i].bytes);
        t->held_bytes += (size_t)blocks[i].bytes;
        if (!fill(t->blocks[i], &blocks[i])) return malformed("its content ends too early");
        if (blocks[i].is_input) {
            t->inputs[t->input_count] = t->blocks[i];
            t->input_bytes[t->input_count++] = (size_t)blocks[i].bytes;
        }
    }
    return 0;
}

static int set_pointers(loaded *t, const pointer *pointers, const block *blocks, const head *h) {
    for (uint32_t i = 0; i < h->pointer_count; i++) {
        const pointer *p = &pointers[i];
        if (p->block >= h->block_count || p->offset > blocks[p->block].bytes) return malformed("a pointer leads outside");
        t->pointers[i] = (unsigned char *)t->blocks[p->block] + p->offset;
    }
    return 0;
}

static int reserve_other(uint64_t bytes) {
    if (bytes <= other_bytes) return 0;
    free(other);
    held_bytes -= other_bytes;
    other_bytes = 0;
    other = memory(bytes);
    if (!other) return no_memory(bytes);
    memset(other, 1, (size_t)bytes);
    other_bytes = (size_t)bytes;
    return 0;
}

/* `prepare` knows only what stays the same from run to run. */
static int prepare(const loaded *t, const head *h) {
    if (!trial_entries[h->trial].prepare) return 0;
    void **fixed = calloc((size_t)h->pointer_count + 1, sizeof *fixed);
    if (!fixed) return no_memory(h->pointer_count);
    const uint32_t first = h->pointer_count - h->fixed_count;
    for (uint32_t i = first; i < h->pointer_count; i++) fixed[i] = t->pointers[i];
    alarm(h->seconds);
    trial_entries[h->trial].prepare(fixed);
    alarm(0);
    free(fixed);
    return 0;
}

static int fill_trial(loaded *t, const head *h, block *blocks, pointer *pointers) {
    if (!es_take(&channel, blocks, h->block_count * sizeof *blocks)) return malformed("too short");
    if (!es_take(&channel, pointers, h->pointer_count * sizeof *pointers)) return malformed("too short");
    t->blocks = calloc((size_t)h->block_count + 1, sizeof *t->blocks);
    t->pointers = calloc((size_t)h->pointer_count + 1, sizeof *t->pointers);
    t->inputs = calloc((size_t)h->block_count + 1, sizeof *t->inputs);
    t->input_bytes = calloc((size_t)h->block_count + 1, sizeof *t->input_bytes);
    t->scratch = memory(h->scratch_bytes);
    if (!t->blocks || !t->pointers || !t->inputs || !t->input_bytes || !t->scratch) return no_memory(h->scratch_bytes);
    t->held_bytes = (size_t)h->scratch_bytes;
    memset(t->scratch, 0, (size_t)h->scratch_bytes);
    t->block_count = h->block_count;
    int status = load_blocks(t, blocks, h->block_count);
    if (!status && channel.left) status = malformed("too long");
    if (!status) status = set_pointers(t, pointers, blocks, h);
    if (!status) status = reserve_other(h->other_bytes);
    if (!status) status = prepare(t, h);
    return status;
}

static int load(void) {
    head h;
    if (!es_take(&channel, &h, sizeof h)) return malformed("too short");
    if (h.trial >= trial_entry_count || trial_count == MOST_LOADED) return malformed("no such trial");
    if (h.block_count > MOST_BLOCKS || h.pointer_count > MOST_BLOCKS || h.fixed_count > h.pointer_count || h.tasks > INT32_MAX) {
        return malformed("too many operands");
    }
    loaded *t = &trials[trial_count++];
    *t = (loaded){.run = trial_entries[h.trial].run, .tasks = (int32_t)h.tasks, .other_bytes = (size_t)h.other_bytes};
    block *blocks = calloc((size_t)h.block_count + 1, sizeof *blocks);
    pointer *pointers = calloc((size_t)h.pointer_count + 1, sizeof *pointers);
    int status = blocks && pointers ? fill_trial(t, &h, blocks, pointers) : no_memory(h.pointer_count);
    free(blocks);
    free(pointers);
    if (status) return status;
    const uint32_t number = trial_count - 1;
    es_answer(&channel, sizeof number);
    es_put(&channel, &number, sizeof number);
    return sent();
}

static double time_once(const loaded *t) {
    return trial_time_in_network(t->run, t->pointers, t->tasks, t->scratch, other, t->other_bytes, t->inputs, t->input_bytes,
                                 t->input_count, ATTEMPTS);
}

static int turn(void) {
    static uint32_t numbers[MOST_LOADED];
    static double times[MOST_LOADED];
    uint32_t seconds;
    if (!es_take(&channel, &seconds, sizeof seconds)) return malformed("too short");
    const size_t count = (size_t)(channel.left / sizeof *numbers);
    if (count > MOST_LOADED || !es_take(&channel, numbers, count * sizeof *numbers) || channel.left) return malformed("its size");
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] >= trial_count) return malformed("no such trial is loaded");
        alarm(seconds);
        times[i] = time_once(&trials[numbers[i]]);
        alarm(0);
    }
    es_answer(&channel, count * sizeof *times);
    es_put(&channel, times, count * sizeof *times);
    return sent();
}

static int clear(void) {
    if (channel.left) return malformed("has a content");
    for (uint32_t i = 0; i < trial_count; i++) release(&trials[i]);
    trial_count = 0;
    es_answer(&channel, 0);
    return sent();
}

static int answer(void) {
    switch (channel.kind) {
    case LOAD: return load();
    case TURN: return turn();
    case CLEAR: return clear();
    default: return malformed("unknown");
    }
}

/* Waits for a request, but not for ever: a connection can be gone without a sign. */
static int next_request(void) {
    alarm(IDLE_SECONDS);
    const int next = es_channel_next(&channel);
    alarm(0);
    return next;
}

int main(int argc, char **argv) {
    /* Where the system does not let it choose, it runs anywhere. */
    if (argc > 1) (void)es_affinity_set(argv[1]);
    int status = es_channel_open(&channel, ES_SERVICE_TRIALS) ? 0 : EXIT_OUTPUT;
    while (!status) {
        const int next = next_request();
        if (next == ES_NO_MORE) break;
        status = next == ES_REQUEST ? answer() : EXIT_OUTPUT;
    }
    for (uint32_t i = 0; i < trial_count; i++) release(&trials[i]);
    free(other);
    return status;
}
