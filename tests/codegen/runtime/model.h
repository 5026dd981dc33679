/* A hand-made model for testing the runtime: y = 2 x + b with f32 x [2, 3, 4] and i32 b [4]; top = index of the largest y.
 * Its values are inputs and outputs, and views of y: "columns" [4, 6], its columns, and "last" [4], its first row backwards. */
#ifndef MODEL_H
#define MODEL_H

#include "es_abi.h"

#define ES_MODEL(name) fake_##name

int32_t ES_MODEL(abi_version)(void);
const char *ES_MODEL(version)(void);
int32_t ES_MODEL(input_count)(void);
const es_tensor_info *ES_MODEL(input)(int32_t i);
int32_t ES_MODEL(output_count)(void);
const es_tensor_info *ES_MODEL(output)(int32_t i);
int32_t ES_MODEL(step_count)(void);
const es_step_info *ES_MODEL(step)(int32_t i);
size_t ES_MODEL(context_bytes)(int32_t workers);
es_context *ES_MODEL(init)(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool);
void ES_MODEL(prepare)(es_context *context);
int32_t ES_MODEL(run)(es_context *context, const void *const *inputs, void *const *outputs);
int32_t ES_MODEL(bind)(es_context *context, const void *const *inputs, void *const *outputs);
int32_t ES_MODEL(run_steps)(es_context *context, int32_t begin, int32_t end);
int32_t ES_MODEL(value_count)(void);
const es_value_info *ES_MODEL(value)(int32_t i);
void *ES_MODEL(arena)(es_context *context);

#endif
