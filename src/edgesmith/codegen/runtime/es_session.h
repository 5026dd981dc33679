/* A context of the model with dense buffers for every input and output, for the programs around it. */
#ifndef ES_SESSION_H
#define ES_SESSION_H

#include "es_pool.h"

/* Exit statuses of the programs. */
enum { EXIT_MISMATCH = 1, EXIT_USAGE = 2, EXIT_FILE = 3, EXIT_RESOURCES = 4, EXIT_MODEL = 5 };

typedef struct {
    es_pool *pool;
    void *memory;
    es_context *context;
    void **inputs, **outputs;
} es_session;

/* Gives 0, or an exit status after saying why on standard error; then there is nothing to close. */
int es_session_open(es_session *s, int threads);

void es_session_close(es_session *s);

/* Makes the self-test's inputs. Gives 0, or an exit status after saying why on standard error; so does the next one. */
int es_session_fill(es_session *s);

/* One inference from `inputs` to `outputs`. */
int es_session_run(es_session *s);

/* 0 for ES_OK; for another status EXIT_MODEL, after saying on standard error what failed. */
int es_checked(int32_t status, const char *what);

/* Zeroed buffers of `count` tensors, aligned to ES_ALIGNMENT; NULL: out of memory. */
void **es_buffers_make(int32_t count, const es_tensor_info *(*info)(int32_t));

void es_buffers_free(void **buffers, int32_t count);

#endif
