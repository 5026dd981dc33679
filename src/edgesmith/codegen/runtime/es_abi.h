/* Edgesmith run ABI: the types that every generated model shares.
 *
 * A model is a table of steps over a context. All state (arena, prepared weights, carried state) lives in the context, whose
 * memory the caller provides, so any number of contexts of one model run at the same time. The constant weights are read-only.
 *
 * With the model's prefix P (such as `mobilenet_v2_`):
 *
 *   int32_t               Pabi_version(void);                ES_ABI_VERSION at the time of generation
 *   const char           *Pversion(void);                    Edgesmith's version
 *   int32_t               Pinput_count(void);
 *   const es_tensor_info *Pinput(int32_t i);                 NULL when i is out of range; likewise for outputs and steps
 *   int32_t               Poutput_count(void);
 *   const es_tensor_info *Poutput(int32_t i);
 *   int32_t               Pstep_count(void);
 *   const es_step_info   *Pstep(int32_t i);
 *   size_t                Pcontext_bytes(int32_t workers);   memory for one context
 *   es_context           *Pinit(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool);
 *   void                  Pprepare(es_context *);            builds prepared weights; once, before the first run
 *   int32_t               Prun(es_context *, const void *const *inputs, void *const *outputs);
 *   int32_t               Pbind(es_context *, const void *const *inputs, void *const *outputs);
 *   int32_t               Prun_steps(es_context *, int32_t begin, int32_t end);
 *   int32_t               Pvalue_count(void);
 *   const es_value_info  *Pvalue(int32_t i);                 values between steps
 *   void                 *Parena(es_context *);              base of ES_SPACE_ARENA
 *
 * Programs that were compiled for several instruction sets (`edgesmith compile --isa`) also have
 *
 *   int32_t               Pvariant_count(void);
 *   const char           *Pvariant(int32_t i);               names, best first; NULL when i is out of range
 *   const char           *Pvariant_in_use(void);             NULL when the processor runs none
 *   int32_t               Puse_variant(const char *name);    NULL: the best that the processor runs
 *
 * The first call of any function chooses the best variant that the processor and its system run; any number of threads may
 * make it. `context_bytes`, `init` and the tables of steps and values follow the choice; a context stays with the variant that
 * was chosen when it was made. `init` gives NULL where the processor runs no variant.
 *
 * `run` is `bind` followed by `run_steps(0, step_count())`. Steps run in ascending order; a step reads what earlier steps wrote.
 * Inputs are only read. Tensors are dense, in the model's own (ONNX) order of dimensions. One context belongs to one thread at
 * a time. Results are bit-identical for every number of workers. */
#ifndef ES_ABI_H
#define ES_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ES_ABI_VERSION 1

/* Marks the functions that a shared library exports. */
#if !defined(ES_API)
#if defined(_WIN32)
#define ES_API __declspec(dllexport)
#elif defined(__GNUC__)
#define ES_API __attribute__((visibility("default")))
#else
#define ES_API
#endif
#endif

/* Alignment, in bytes, of the memory given to `init`. */
#define ES_ALIGNMENT 64

/* Status codes of `run`, `bind`, `run_steps` and `use_variant`. */
enum {
    ES_OK = 0,
    ES_BAD_ARGUMENT = 1, /* a null pointer, a step range outside 0..step_count, or no variant of that name */
    ES_NOT_READY = 2,    /* run before prepare, or run_steps before bind */
    ES_UNAVAILABLE = 3   /* the processor, or its system, does not run the variant */
};

/* Element types: the numbers of ONNX TensorProto.DataType. */
enum {
    ES_F32 = 1,
    ES_U8 = 2,
    ES_I8 = 3,
    ES_U16 = 4,
    ES_I16 = 5,
    ES_I32 = 6,
    ES_I64 = 7,
    ES_BOOL = 9,  /* one byte, 0 or 1 */
    ES_F16 = 10,  /* IEEE 754 binary16 bits in a uint16_t */
    ES_F64 = 11,
    ES_U32 = 12,
    ES_U64 = 13,
    ES_BF16 = 16  /* upper half of a binary32 in a uint16_t */
};

/* One input or output of the model. */
typedef struct {
    const char *name;     /* as in the ONNX model */
    int32_t dtype;        /* ES_F32, ... */
    int32_t rank;
    const int64_t *shape; /* `rank` extents; may be null when rank is 0 */
    size_t bytes;         /* size of the dense tensor */
} es_tensor_info;

/* One step of the program. */
typedef struct {
    const char *name;   /* the ONNX nodes that it computes */
    const char *kernel; /* the algorithm and schedule */
    int32_t tasks;      /* independent tasks, which the workers share; 1 when the step is not parallel */
    int64_t macs;       /* multiply-accumulates */
    int64_t bytes;      /* bytes of the operands read and written, weights included */
} es_step_info;

/* One value that a step reads or writes, so that tools can look at it, or replace it, between steps. Element (i0, i1, ...) lies
 * at the address plus (i0 * strides[0] + i1 * strides[1] + ...) elements; `space` and `offset` (bytes) give the address. */
typedef struct {
    const char *name; /* as in the ONNX model where it exists there */
    int32_t dtype;
    int32_t rank;
    const int64_t *shape, *strides;
    int32_t space;    /* ES_SPACE_ARENA; ES_SPACE_INPUT + 16 i: input i; ES_SPACE_OUTPUT + 16 i: output i */
    size_t offset;
} es_value_info;

enum { ES_SPACE_ARENA = 0, ES_SPACE_INPUT = 3, ES_SPACE_OUTPUT = 4 };

/* Runs tasks `begin` (inclusive) to `end` (exclusive) of a step. No two concurrent calls share a `worker`, and `worker` is
 * below the number of workers given to `init`: it selects the part of the workspace that the call may use. */
typedef void (*es_task)(void *arg, int32_t worker, int32_t begin, int32_t end);

/* Calls `task` on disjoint ranges that cover [0, count), and returns when all have finished. */
typedef void (*es_parallel_for)(void *pool, es_task task, void *arg, int32_t count);

/* State of one instance of a model; its layout is private to the model.
 *
 * `init` places it in memory of at least `context_bytes(workers)` bytes aligned to ES_ALIGNMENT, which stays the caller's: there
 * is nothing to destroy. It gives NULL when the memory is too small or misaligned or when workers < 1. A NULL `parallel_for`
 * runs every step in the calling thread. */
typedef struct es_context es_context;

#ifdef __cplusplus
}
#endif

#endif
