#ifndef ES_KERNELS_H
#define ES_KERNELS_H

#include <stdint.h>

void es_conv_portable_f32__c_golden_first_0(void *const *p, int32_t begin, int32_t end, void *scratch);
void es_add_portable_f32__c_golden_add_1(void *const *p, int32_t begin, int32_t end, void *scratch);
void es_clip_portable_f32__c_golden_clip_2(void *const *p, int32_t begin, int32_t end, void *scratch);
void es_identity_elements_f32__c_golden_y_copy_3(void *const *p, int32_t begin, int32_t end, void *scratch);

#endif
