#ifndef GOLDEN_H
#define GOLDEN_H

#include "es_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

ES_API int32_t golden_abi_version(void);
ES_API const char *golden_version(void);
ES_API int32_t golden_input_count(void);
ES_API const es_tensor_info *golden_input(int32_t i);
ES_API int32_t golden_output_count(void);
ES_API const es_tensor_info *golden_output(int32_t i);
ES_API int32_t golden_step_count(void);
ES_API const es_step_info *golden_step(int32_t i);
ES_API size_t golden_context_bytes(int32_t workers);
ES_API es_context *golden_init(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool);
ES_API void golden_prepare(es_context *context);
ES_API int32_t golden_bind(es_context *context, const void *const *inputs, void *const *outputs);
ES_API int32_t golden_run(es_context *context, const void *const *inputs, void *const *outputs);
ES_API int32_t golden_run_steps(es_context *context, int32_t begin, int32_t end);
ES_API int32_t golden_value_count(void);
ES_API const es_value_info *golden_value(int32_t i);
ES_API void *golden_arena(es_context *context);

#ifdef __cplusplus
}
#endif

#endif
