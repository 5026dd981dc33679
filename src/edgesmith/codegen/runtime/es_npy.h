/* Headers of .npy files, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. */
#ifndef ES_NPY_H
#define ES_NPY_H

#include <stdint.h>
#include <stdio.h>

enum { ES_NPY_MAX_RANK = 64, ES_NPY_DESCR_CHARS = 32 };

typedef struct {
    char descr[ES_NPY_DESCR_CHARS]; /* the element type, such as "<f4" */
    int fortran_order;
    int32_t rank;
    int64_t shape[ES_NPY_MAX_RANK];
} es_npy_header;

/* Reads up to the first element. Gives NULL, or what is wrong with the header. */
const char *es_npy_read(FILE *file, es_npy_header *header);

/* Writes a header of version 1; `shape` is a Python tuple. Gives 0 when the file refuses. */
int es_npy_write(FILE *file, const char *descr, const char *shape);

#endif
