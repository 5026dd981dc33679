#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_setaffinity */
#endif

#include "es_affinity.h"

#include <stdio.h>

#include "es_session.h"

#if defined(__linux__)
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Where the system describes its processors. */
#ifndef ES_PROCESSORS
#define ES_PROCESSORS "/sys/devices/system/cpu"
#endif

/* The first number in a file about a processor; -1: there is none. */
static long read_number(int cpu, const char *file) {
    char path[sizeof ES_PROCESSORS + 64];
    snprintf(path, sizeof path, "%s/cpu%d/%s", ES_PROCESSORS, cpu, file);
    FILE *stream = fopen(path, "r");
    long value = -1;
    if (!stream) return -1;
    if (fscanf(stream, "%ld", &value) != 1) value = -1;
    fclose(stream);
    return value;
}

/* How fast a processor is, in a unit that is the same for all of them; -1: the system does not say. */
static long speed(int cpu) {
    const long capacity = read_number(cpu, "cpu_capacity");
    return capacity > 0 ? capacity : read_number(cpu, "cpufreq/cpuinfo_max_freq");
}

/* The processors of `usable` that are as fast as the fastest, or as slow as the slowest. */
static int choose(int fastest, const cpu_set_t *usable, cpu_set_t *chosen) {
    long least = -1, most = -1;
    CPU_ZERO(chosen);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, usable)) continue;
        const long value = speed(cpu);
        if (value < 0) {
            fprintf(stderr, "--affinity: the system does not say how fast processor %d is; name processors, such as 0-3\n", cpu);
            return EXIT_RESOURCES;
        }
        if (least < 0 || value < least) least = value;
        if (value > most) most = value;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, usable) && speed(cpu) == (fastest ? most : least)) CPU_SET(cpu, chosen);
    }
    if (least == most) fprintf(stderr, "--affinity: the processors are all alike, so any is used\n");
    return 0;
}

/* A list such as 0-3,6; returns 0 where something else stands. */
static int parse_list(const char *text, cpu_set_t *set) {
    CPU_ZERO(set);
    for (const char *at = text;; at++) {
        char *end;
        if (*at < '0' || *at > '9') return 0;
        const long first = strtol(at, &end, 10);
        long last = first;
        if (*end == '-') {
            at = end + 1;
            if (*at < '0' || *at > '9') return 0;
            last = strtol(at, &end, 10);
        }
        if (first > last || last >= CPU_SETSIZE) return 0;
        for (long cpu = first; cpu <= last; cpu++) CPU_SET((size_t)cpu, set);
        if (!*end) return 1;
        if (*end != ',') return 0;
        at = end;
    }
}

int es_affinity_set(const char *text) {
    cpu_set_t usable, chosen;
    int status = 0;
    if (sched_getaffinity(0, sizeof usable, &usable)) {
        fprintf(stderr, "--affinity: %s\n", strerror(errno));
        return EXIT_RESOURCES;
    }
    if (!strcmp(text, "big") || !strcmp(text, "little")) {
        status = choose(*text == 'b', &usable, &chosen);
    } else if (!parse_list(text, &chosen)) {
        fprintf(stderr, "--affinity takes big, little, or processors such as 0-3,6, not %s\n", text);
        return EXIT_USAGE;
    }
    if (!status && sched_setaffinity(0, sizeof chosen, &chosen)) {
        fprintf(stderr, "--affinity %s: %s (this process may use %d processors)\n", text, strerror(errno), CPU_COUNT(&usable));
        status = EXIT_RESOURCES;
    }
    return status;
}

#else

int es_affinity_set(const char *text) {
    fprintf(stderr, "--affinity %s: this system does not let programs choose their processors\n", text);
    return EXIT_RESOURCES;
}

#endif
