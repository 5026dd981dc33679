/* Tensors in files: NumPy's .npy format where the name ends so, bare little-endian elements elsewhere. */
#ifndef ES_TENSOR_FILE_H
#define ES_TENSOR_FILE_H

#include "es_abi.h"

/* Enough for the text of any shape with an element. */
#define ES_SHAPE_CHARS 512

/* "f32", "bool", ...; "?" for an unknown type. */
const char *es_type_name(int32_t dtype);

/* "[1, 3, 224, 224]" in `text` of ES_SHAPE_CHARS, which it returns. */
const char *es_shape_text(char *text, int32_t rank, const int64_t *shape);

/* Reads the file that holds exactly this tensor into `data`; a .npy file may lack the leading axis of a batch of one. Gives 0,
 * or an exit status after saying on standard error what is wrong with the file. */
int es_tensor_read(const char *path, const es_tensor_info *info, void *data);

/* Writes the tensor under a temporary name first, so that a reader never sees half of it; a pipe, a device and what a symbolic
 * link leads to are written to as they are, because a file in their place would be another thing. */
int es_tensor_write(const char *path, const es_tensor_info *info, const void *data);

#endif
