/* The model as a program on an emulated board without an operating system: start-up, files and text by Arm semihosting.
 *
 *     --selftest                 run on the recorded inputs and compare
 *     --run INPUT... OUTPUT...   one inference on raw little-endian files
 *     --repeat N                 N inferences on zeros, for counting instructions
 *     --first N                  the first N steps of one
 *
 * Exit status: 0 success, 1 self-test failed, 2 usage, 3 file, 4 out of memory, 5 run failed. An argument's spaces are written
 * as the character 31, because words come separated by spaces.
 *
 * Sources: Arm, "Semihosting for AArch32 and AArch64"; ARMv7-M Architecture Reference Manual, B1.5 (exceptions), B3.2.20 (CPACR). */
#include "es_bare.h"
#include "es_selftest.h"
#include "model.h"
#include "selftest_data.h"

enum { EXIT_MISMATCH = 1, EXIT_USAGE = 2, EXIT_FILE = 3, EXIT_RESOURCES = 4, EXIT_MODEL = 5 };
enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE0 = 4, SYS_WRITE = 5, SYS_READ = 6, SYS_GET_CMDLINE = 0x15, SYS_EXIT = 0x20 };
enum { OPEN_READ = 1, OPEN_WRITE = 5, MAX_WORDS = 64, COMMAND_BYTES = 8192, STOPPED_BY_PROGRAM = 0x20026 };

/* Addresses that the linker script sets. */
extern uint32_t es_data_source[], es_data[], es_data_end[], es_bss_end[];
extern unsigned char es_heap[], es_heap_end[], es_stack[];

static uintptr_t semihosting(uintptr_t operation, const void *parameter) {
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameter;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print(const char *text) { semihosting(SYS_WRITE0, text); }

static void print_number(uint64_t number) {
    char text[21];
    char *at = text + 20;
    *at = 0;
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    print(at);
}

__attribute__((noreturn)) static void leave(int status) {
    const uintptr_t block[2] = {STOPPED_BY_PROGRAM, (uintptr_t)status};
    semihosting(SYS_EXIT, block);
    for (;;) continue;
}

static size_t length(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

/* Moves a file's bytes to `data`, or from there; 0 when it has just so many. */
static int transfer(const char *path, void *data, size_t bytes, uintptr_t mode) {
    const uintptr_t open[3] = {(uintptr_t)path, mode, length(path)};
    const intptr_t file = (intptr_t)semihosting(SYS_OPEN, open);
    const uintptr_t block[3] = {(uintptr_t)file, (uintptr_t)data, bytes}, handle[1] = {(uintptr_t)file};
    int status = EXIT_FILE;
    if (file >= 0) {
        const int wrong = semihosting(mode == OPEN_READ ? SYS_READ : SYS_WRITE, block) != 0;
        status = semihosting(SYS_CLOSE, handle) || wrong ? EXIT_FILE : 0;
    }
    if (status) {
        print(path);
        print(": cannot be transferred\n");
    }
    return status;
}

static unsigned char *heap = es_heap;

static void *allocate(size_t bytes) {
    const uintptr_t at = ((uintptr_t)heap + ES_ALIGNMENT - 1) / ES_ALIGNMENT * ES_ALIGNMENT;
    if (at > (uintptr_t)es_heap_end || bytes > (uintptr_t)es_heap_end - at) {
        print("out of memory\n");
        leave(EXIT_RESOURCES);
    }
    heap = (unsigned char *)at + bytes;
    return (void *)at;
}

static void **buffers(int32_t count, const es_tensor_info *(*info)(int32_t)) {
    void **found = allocate((size_t)(count + 1) * sizeof *found);
    for (int32_t i = 0; i < count; i++) found[i] = allocate(info(i)->bytes);
    return found;
}

static int run(es_context *context, void **inputs, void **outputs) {
    const int32_t status = ES_MODEL(run)(context, (const void *const *)inputs, outputs);
    if (status == ES_OK) return 0;
    print("run failed\n");
    return EXIT_MODEL;
}

static int selftest(es_context *context, void **inputs, void **outputs) {
    for (int32_t i = 0; i < ES_SELFTEST_INPUTS; i++) {
        const es_tensor_info *info = ES_MODEL(input)(i);
        if (es_selftest_fill(info, i, inputs[i]) != ES_OK ||
            es_selftest_checksum(inputs[i], info->bytes) != es_selftest_input_checksums[i]) {
            print("the inputs differ from the recorded ones\n");
            return EXIT_MISMATCH;
        }
    }
    int status = run(context, inputs, outputs);
    for (int32_t i = 0; i < ES_SELFTEST_OUTPUTS && status != EXIT_MODEL; i++) {
        const es_tensor_info *info = ES_MODEL(output)(i);
        es_selftest_result result;
        const int failed = es_selftest_compare(info, outputs[i], &es_selftest_outputs[i], &result) != ES_OK;
        print(info->name);
        print(": ");
        print_number((uint64_t)result.wrong);
        print(" of ");
        print_number((uint64_t)es_selftest_outputs[i].count);
        print(" samples are outside the tolerance\n");
        if (failed || result.wrong) status = EXIT_MISMATCH;
    }
    print(status ? "selftest FAILED\n" : "selftest passed\n");
    return status;
}

static int run_files(es_context *context, void **inputs, void **outputs, char **files) {
    int status = 0;
    for (int32_t i = 0; i < ES_MODEL(input_count)() && !status; i++)
        status = transfer(*files++, inputs[i], ES_MODEL(input)(i)->bytes, OPEN_READ);
    if (!status) status = run(context, inputs, outputs);
    for (int32_t i = 0; i < ES_MODEL(output_count)() && !status; i++)
        status = transfer(*files++, outputs[i], ES_MODEL(output)(i)->bytes, OPEN_WRITE);
    return status;
}

static int32_t number(const char *text) {
    int32_t found = 0;
    for (; *text >= '0' && *text <= '9' && found < 100000; text++) found = 10 * found + (*text - '0');
    return found;
}

static void clear(void **inputs) {
    for (int32_t i = 0; i < ES_MODEL(input_count)(); i++) memset(inputs[i], 0, ES_MODEL(input)(i)->bytes);
}

static int repeat(es_context *context, void **inputs, void **outputs, int32_t count) {
    int status = 0;
    clear(inputs);
    for (; count > 0 && !status; count--) status = run(context, inputs, outputs);
    return status;
}

static int run_first(es_context *context, void **inputs, void **outputs, int32_t steps) {
    clear(inputs);
    if (ES_MODEL(bind)(context, (const void *const *)inputs, outputs) != ES_OK) return EXIT_MODEL;
    return ES_MODEL(run_steps)(context, 0, steps) == ES_OK ? 0 : EXIT_MODEL;
}

/* The words behind the program's name. */
static int words(char *text, char **found) {
    int count = -1;
    for (char *at = text; *at && count < MAX_WORDS; count++) {
        if (count >= 0) found[count] = at;
        for (; *at && *at != ' '; at++)
            if (*at == 31) *at = ' ';
        if (*at) *at++ = 0;
    }
    return count;
}

static int run_program(void) {
    static char command[COMMAND_BYTES], *word[MAX_WORDS];
    const uintptr_t block[2] = {(uintptr_t)command, sizeof command};
    const int count = semihosting(SYS_GET_CMDLINE, block) ? 0 : words(command, word);
    const int is_selftest = count == 1 && same(word[0], "--selftest");
    const int is_repeat = count == 2 && same(word[0], "--repeat"), is_first = count == 2 && same(word[0], "--first");
    const int is_run =
        count == 1 + ES_MODEL(input_count)() + ES_MODEL(output_count)() && same(word[0], "--run");
    if (!is_selftest && !is_repeat && !is_first && !is_run) {
        print("usage: --selftest | --run INPUT... OUTPUT... | --repeat RUNS | --first STEPS\n");
        return EXIT_USAGE;
    }
    const size_t bytes = ES_MODEL(context_bytes)(1);
    es_context *context = ES_MODEL(init)(allocate(bytes), bytes, 1, NULL, NULL);
    if (!context) return EXIT_MODEL;
    ES_MODEL(prepare)(context);
    void **inputs = buffers(ES_MODEL(input_count)(), ES_MODEL(input));
    void **outputs = buffers(ES_MODEL(output_count)(), ES_MODEL(output));
    if (is_repeat) return repeat(context, inputs, outputs, number(word[1]));
    if (is_first) return run_first(context, inputs, outputs, number(word[1]));
    return is_run ? run_files(context, inputs, outputs, word + 1) : selftest(context, inputs, outputs);
}

__attribute__((noreturn)) static void fault(void) {
    print("the processor faulted\n");
    leave(EXIT_MODEL);
}

__attribute__((noreturn)) static void start(void) {
    const uint32_t *source = es_data_source;
    for (uint32_t *at = es_data; at < es_data_end; at++) *at = *source++;
    for (volatile uint32_t *at = es_data_end; at < es_bss_end; at++) *at = 0;
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* CPACR: full access to the FPU */
    __asm__ volatile("dsb\n\tisb" : : : "memory");
#endif
    leave(run_program());
}

typedef union {
    unsigned char *stack;
    void (*handler)(void);
} vector;

__attribute__((used, section(".vectors"))) static const vector vectors[16] = {
    {.stack = es_stack}, {.handler = start}, {.handler = fault}, {.handler = fault}, {.handler = fault},
    {.handler = fault},  {.handler = fault}, {.handler = fault},
};
