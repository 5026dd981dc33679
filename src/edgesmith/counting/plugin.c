/* A plugin of QEMU that counts how often each translated block runs and, when told of caches, which lines they miss.
 *
 * The declarations are those of QEMU's plugin interface, version 1 (docs/devel/tcg-plugins.rst of QEMU); its header is in no
 * Debian package. Arguments:
 *
 *   out=FILE     where the counts go
 *   mark=NUMBER  the system call that ends a region: of `close`
 *   l1=BYTES:WAYS, l2=BYTES:WAYS
 *                data caches of LINE_BYTES a line that replace the line used longest ago; both, or none. They are empty when a
 *                region begins. A line that a store misses is fetched.
 *
 * The program marks regions: closing the file descriptor MARK - n, which does not exist, ends the region before it and begins
 * region n. Region 0 begins with the program. What the file says, one record a line, numbers other than counts in hexadecimal:
 *
 *   b ADDRESS INSTRUCTIONS BYTES   the next block, numbered from 0: address of its first instruction, their number, their bytes
 *   c REGION BLOCK COUNT           runs of a block within a region, decimal
 *   m REGION L1 L2                 lines that missed the first and the second cache, decimal
 *
 * Threads are counted together, without care for two that run a block at the same time. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct qemu_info_t qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*block_callback)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*syscall_callback)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t);
typedef void (*exit_callback)(qemu_plugin_id_t, void *);
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };
typedef void (*memory_callback)(unsigned, uint32_t, uint64_t, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, block_callback);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_callback);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, exit_callback, void *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, memory_callback, enum qemu_plugin_cb_flags,
                                      enum qemu_plugin_mem_rw, void *);
unsigned qemu_plugin_mem_size_shift(uint32_t info);

#define EXPORT __attribute__((visibility("default")))
enum { MARK = -2000000, REGIONS = 1000000, CHUNK = 4096, LINE_BYTES = 64 };

EXPORT int qemu_plugin_version = 1;

typedef struct chunk {
    uint64_t counts[CHUNK];
    struct chunk *next;
} chunk;

/* Lines of a set stand side by side, the one used last first; a line is its address over LINE_BYTES plus 1, and 0 is none. */
typedef struct {
    uint64_t *lines;
    size_t sets, ways;
    uint64_t misses;
} cache;

static cache l1, l2;
static FILE *out;
static int64_t mark_call = -1;
static int32_t region;
static chunk *first, *last;
static size_t blocks;

static uint64_t *next_counter(void) {
    if (blocks % CHUNK == 0) {
        chunk *const more = calloc(1, sizeof *more);
        if (!more) {
            fputs("counting plugin: out of memory\n", stderr);
            exit(1);
        }
        if (last) last->next = more;
        if (!first) first = more;
        last = more;
    }
    return &last->counts[blocks++ % CHUNK];
}

static int has_missed(cache *c, uint64_t line) {
    uint64_t *const set = c->lines + line % c->sets * c->ways;
    const uint64_t wanted = line + 1;
    uint64_t before = wanted;
    for (size_t i = 0; i < c->ways; i++) {
        const uint64_t here = set[i];
        set[i] = before;
        if (here == wanted) return 0;
        before = here;
    }
    c->misses++;
    return 1;
}

static void accessed(unsigned cpu, uint32_t info, uint64_t address, void *unused) {
    const uint64_t last = (address + ((uint64_t)1 << qemu_plugin_mem_size_shift(info)) - 1) / LINE_BYTES;
    (void)cpu, (void)unused;
    for (uint64_t line = address / LINE_BYTES; line <= last; line++) {
        if (has_missed(&l1, line)) (void)has_missed(&l2, line);
    }
}

static void clear(cache *c) {
    c->misses = 0;
    if (c->lines) memset(c->lines, 0, c->sets * c->ways * sizeof *c->lines);
}

static int make(cache *c, const char *text) {
    char *end;
    const unsigned long bytes = strtoul(text, &end, 10);
    c->ways = *end == ':' ? strtoul(end + 1, NULL, 10) : 0;
    c->sets = c->ways ? bytes / LINE_BYTES / c->ways : 0;
    c->lines = c->sets ? calloc(c->sets * c->ways, sizeof *c->lines) : NULL;
    return c->lines != NULL;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    const size_t count = qemu_plugin_tb_n_insns(block);
    (void)id;
    fprintf(out, "b %" PRIx64 " %zx ", qemu_plugin_tb_vaddr(block), count);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *const instruction = qemu_plugin_tb_get_insn(block, i);
        const unsigned char *const bytes = qemu_plugin_insn_data(instruction);
        for (size_t k = 0; k < qemu_plugin_insn_size(instruction); k++) fprintf(out, "%02x", bytes[k]);
        if (l1.lines) {
            qemu_plugin_register_vcpu_mem_cb(instruction, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
        }
    }
    fputc('\n', out);
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, next_counter(), 1);
}

static void end_region(int32_t next) {
    size_t number = 0;
    for (chunk *c = first; c; c = c->next) {
        for (size_t i = 0; i < CHUNK && number < blocks; i++, number++) {
            if (c->counts[i]) fprintf(out, "c %" PRId32 " %zu %" PRIu64 "\n", region, number, c->counts[i]);
            c->counts[i] = 0;
        }
    }
    if (l1.lines) fprintf(out, "m %" PRId32 " %" PRIu64 " %" PRIu64 "\n", region, l1.misses, l2.misses);
    clear(&l1);
    clear(&l2);
    region = next;
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    const int32_t descriptor = (int32_t)(uint32_t)a1;
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == mark_call && descriptor <= MARK && descriptor > MARK - REGIONS) end_region(MARK - descriptor);
}

static void finished(qemu_plugin_id_t id, void *unused) {
    (void)id, (void)unused;
    end_region(0);
    fputs("end\n", out);
    if (fclose(out)) fputs("counting plugin: cannot write the counts\n", stderr);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    const char *path = "";
    int made = 1;
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4)) path = argv[i] + 4;
        if (!strncmp(argv[i], "mark=", 5)) mark_call = atoll(argv[i] + 5);
        if (!strncmp(argv[i], "l1=", 3)) made &= make(&l1, argv[i] + 3);
        if (!strncmp(argv[i], "l2=", 3)) made &= make(&l2, argv[i] + 3);
    }
    if (!made || !l1.lines != !l2.lines) {
        fputs("counting plugin: l1 and l2 are BYTES:WAYS, together\n", stderr);
        return 1;
    }
    out = fopen(path, "w");
    if (!out) {
        fprintf(stderr, "counting plugin: cannot write %s\n", path);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    if (mark_call >= 0) qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
