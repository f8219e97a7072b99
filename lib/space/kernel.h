/* kernel.h: a kernel spec (spec/kernel.md) in memory, and a kernel resolved for one problem. */
#ifndef HONE_KERNEL_H
#define HONE_KERNEL_H

#include "space.h"

#include <stdatomic.h>

typedef enum hone__dtype {
    HONE_F64, HONE_F32, HONE_F16, HONE_BF16, HONE_I64, HONE_I32, HONE_I16, HONE_I8, HONE_U64, HONE_U32, HONE_U16, HONE_U8,
    HONE_DTYPE_COUNT
} hone__dtype;
const char *hone__dtype_name(hone__dtype dtype);
uint32_t hone__dtype_bytes(hone__dtype dtype);

typedef enum hone__size_role { HONE_ROLE_EXACT, HONE_ROLE_BUCKET, HONE_ROLE_IGNORE } hone__size_role;
typedef enum hone__size_near { HONE_NEAR_SNAP, HONE_NEAR_DIVIDES, HONE_NEAR_FIXED } hone__size_near;

typedef struct hone__size {
    char *name;
    int64_t value; /* default */
    int64_t min, max;
    hone__size_role role;
    hone__size_near near;
    int64_t *buckets; /* NULL: powers of two */
    uint32_t bucket_count;
} hone__size;

typedef enum hone__access { HONE_ACCESS_IN, HONE_ACCESS_OUT, HONE_ACCESS_INOUT } hone__access;
typedef enum hone__fill { HONE_FILL_UNIFORM, HONE_FILL_NORMAL, HONE_FILL_CONSTANT, HONE_FILL_IOTA } hone__fill;

typedef struct hone__arg {
    char *name;
    bool is_buffer;
    hone__dtype dtype;
    hone__expr *shape[8];
    uint32_t rank;
    hone__access access;
    hone__fill fill;
    double fill_a, fill_b;
    uint32_t align;
    hone__expr *value;     /* scalar by expression, or NULL */
    double number;         /* scalar by number */
} hone__arg;

typedef struct hone__file_text {
    char *path;            /* as the spec names it */
    char *text;
} hone__file_text;

/* Launch geometry (CUDA); NULL where absent. */
typedef struct hone__launch {
    hone__expr *grid[3], *block[3], *cluster[3], *shared_bytes;
    bool cooperative;
} hone__launch;

/* Which of a device's measured rates a kernel's operations are bounded by (spec/kernel.md, "precision"). */
typedef enum hone__precision { HONE_PRECISION_FP32, HONE_PRECISION_TF32, HONE_PRECISION_FP16, HONE_PRECISION_BF16 } hone__precision;

const char *hone__precision_name(hone__precision precision);

typedef enum hone__language { HONE_LANGUAGE_C, HONE_LANGUAGE_CUDA, HONE_LANGUAGE_EXTERNAL } hone__language;

struct hone_kernel {
    char *label;           /* for errors: the spec's path */
    char *base_dir;
    char *name;
    char *description;     /* or NULL */
    hone__language language;
    hone__file_text source; /* text "" when external names none */
    char *source_path;     /* resolved path, or NULL */
    char *entry;
    hone__file_text *dependency;
    uint32_t dependency_count;
    char **option;         /* templates */
    uint32_t option_count;
    hone__size *size;
    uint32_t size_count;
    hone__arg *arg;
    uint32_t arg_count;
    hone__space *space;
    hone__config *seed;
    uint32_t seed_count;
    hone__launch launch;
    bool has_reference;
    char *reference_source; /* resolved path; NULL: the kernel's own */
    char *reference_text;   /* its text; NULL: the kernel's own */
    char *reference_entry;  /* NULL when the reference is a config */
    hone__config reference_config;
    char **reference_option;
    uint32_t reference_option_count;
    hone__launch reference_launch; /* over sizes only */
    double rtol, atol;
    hone__expr *flops, *bytes; /* or NULL */
    hone__precision precision;
    double compile_s, run_s;
    uint64_t memory_bytes, output_bytes;
    char **evaluator;      /* words, resolved; NULL when the spec names none.  As written (for the key) they are in `spec` */
    uint32_t evaluator_count;
    cJSON *spec;           /* the parsed JSON, for printing */
    uint8_t id[16];        /* identity, set by key/ in hone_kernel_load: see key.h */
    atomic_int shares;     /* holders beside the first: hone_kernel_free frees for the last */
};

/* Hold a kernel beyond its owner's hone_kernel_free; the result is given up by hone_kernel_free, too. */
hone_kernel *hone__kernel_share(const hone_kernel *kernel);

/* Parse and read the files; does not compute `id` (key/ does).  hone_kernel_load and _parse in key/ call this. */
hone_status hone__kernel_read(hone_kernel **out, const char *json, size_t json_bytes, const char *base_dir, const char *label,
                              hone_error *err);

/* One size's value as the key sees it: exact, bucket bound, or 0 for ignore. */
int64_t hone__size_key_value(const hone__size *size, int64_t value);

/* flops and bytes of one run; 0 when not given or not computable. */
void hone__kernel_work(const hone_kernel *kernel, const int64_t *sizes, double *flops, double *bytes);

/* The body of the evaluator's `prepare` (spec/evaluator.md): everything resolved for these sizes, no expressions left, so that
 * an evaluator needs no expression reader.  Caller deletes. */
hone_status hone__kernel_prepare_json(const hone_kernel *kernel, const int64_t *sizes, uint64_t seed, cJSON **out, hone_error *err);
/* The body of `compile` for one config: {"config": {...}, "defines": ["BM=64", ...], "options": [...], "launch": {...}}. */
hone_status hone__kernel_compile_json(const hone_kernel *kernel, const int64_t *sizes, const hone__config *config, cJSON **out,
                                      hone_error *err);

#endif
