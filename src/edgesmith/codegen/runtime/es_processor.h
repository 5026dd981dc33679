/* What the processor that runs this has, and what its system lets programs use of it. Each question is 0 or 1. */
#ifndef ES_PROCESSOR_H
#define ES_PROCESSOR_H

#include <stdint.h>

#if defined(__x86_64__)

#include <cpuid.h>

enum { ES_EAX, ES_EBX, ES_ECX, ES_EDX };

/* A bit of CPUID, subleaf 0. */
static inline int es_cpuid(unsigned leaf, int reg, int bit) {
    unsigned r[4];
    return __get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]) ? (int)(r[reg] >> bit & 1) : 0;
}

/* Whether the system saves all of these states (bits of XCR0) when it changes between programs: 0x6 the registers ymm,
 * 0xe6 zmm and masks, 0x60000 tiles. */
static inline int es_saves(unsigned states) {
    unsigned low, high;
    if (!es_cpuid(1, ES_ECX, 27)) return 0; /* OSXSAVE: XGETBV exists */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & states) == states;
}

#elif defined(__APPLE__)

#include <stddef.h>
#include <sys/sysctl.h>

/* `hw.optional.arm.<name>`, as Apple's documentation of sysctlbyname lists them. */
static inline int es_sysctl(const char *name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value != 0;
}

#define es_auxiliary(vector, bit, apple) es_sysctl("hw.optional.arm." apple)

#elif defined(__linux__)

#include <sys/auxv.h>

/* A bit of AT_HWCAP (16) or AT_HWCAP2 (26), by which the kernel tells what the processor has; `apple` is its name on macOS. */
#define es_auxiliary(vector, bit, apple) ((int)(getauxval(vector) >> (bit) & 1))

#if defined(__riscv)

/* Bytes of a vector register, 0 without V 1.0. The kernel names the letter V in AT_HWCAP, some also for drafts of it; vsetvli
 * (here e8, m1, ta, ma) then counts 0 elements: a draft knows no such type. No instruction of V is known to the compiler here. */
static inline unsigned long es_vector_bytes(void) {
    unsigned long elements;
    if (!(getauxval(16) >> ('V' - 'A') & 1)) return 0;
    __asm__ volatile(".insn i 0x57, 7, %0, x0, 0xc0" : "=r"(elements));
    return elements;
}

#endif

#else

#define es_auxiliary(vector, bit, apple) 0

#endif

#endif
