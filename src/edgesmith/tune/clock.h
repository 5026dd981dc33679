/* Times of trials, taken next to the kernel function so that nothing comes between. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define API __attribute__((visibility("default")))

typedef void (*trial_function)(void *const *p, int32_t begin, int32_t end, void *scratch);

/* Nanoseconds of one of `runs` runs, one after the other. */
API double trial_time(trial_function function, void *const *p, int32_t tasks, void *scratch, int32_t runs);

/* Nanoseconds of one run in the state of the caches that it meets inside a network: `other` is read first, then the inputs.
 * A run during which something else got the processor does not count and is repeated, at most `attempts` times in all. */
API double trial_time_in_network(trial_function function, void *const *p, int32_t tasks, void *scratch, const void *other,
                                 size_t other_bytes, const void *const *inputs, const size_t *input_bytes,
                                 int32_t input_count, int32_t attempts);

#endif
