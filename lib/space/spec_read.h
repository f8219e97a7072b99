/* spec_read.h: what the files of the kernel spec reader share: errors that name file, JSON pointer and way out, and members
 * read with their types and ranges.  Only kernel*.c include it. */
#ifndef HONE_SPEC_READ_H
#define HONE_SPEC_READ_H

#include "kernel.h"
#include "utf8.h"

#define HONE_POINTER_BYTES 160u /* longest JSON pointer in a message; longer ones end in "..." */

typedef struct hone__reader {
    const char *label;
    const char *base_dir;
    hone_error *err;
    hone_kernel *kernel; /* what is being filled */
} hone__reader;

typedef struct hone__where {
    char text[HONE_POINTER_BYTES];
} hone__where;

/* The pointer of a member or an element of `parent` (RFC 6901 escapes). */
hone__where hone__where_member(const hone__where *parent, const char *name);
hone__where hone__where_element(const hone__where *parent, uint32_t index);

/* "LABEL: POINTER: what; way out" as HONE_E_SPEC. */
__attribute__((format(printf, 3, 4))) hone_status hone__mistake(const hone__reader *reader, const hone__where *at,
                                                                  const char *format, ...);
hone_status hone__mistake_nomem(const hone__reader *reader);
/* Text of a spec for a message: at most 48 bytes, control characters as '?'. */
typedef struct hone__quoted {
    char text[64];
} hone__quoted;
hone__quoted hone__quote(const char *text);
/* What a JSON value is, for messages: "a string", "an object", ... */
const char *hone__type_name(const cJSON *item);

/* Refuse members that are not in `known`, but for x-...; the closest known name is proposed. */
hone_status hone__want_members(const hone__reader *reader, const cJSON *object, const hone__where *at, const char *const *known,
                               uint32_t known_count);
hone_status hone__want_object(const hone__reader *reader, const cJSON *item, const hone__where *at);
/* An array of at most `max` items; NULL item is fine (count 0). */
hone_status hone__want_array(const hone__reader *reader, const cJSON *item, const hone__where *at, uint32_t min, uint32_t max);
hone_status hone__want_required(const hone__reader *reader, const cJSON *object, const hone__where *at, const char *name,
                                const cJSON **out);
/* A non-empty string. */
hone_status hone__want_text(const hone__reader *reader, const cJSON *item, const hone__where *at, const char **out);
/* A whole number within min..max. */
hone_status hone__want_integer(const hone__reader *reader, const cJSON *item, const hone__where *at, int64_t min, int64_t max,
                               int64_t *out);
/* A finite number within min..max. */
hone_status hone__want_number(const hone__reader *reader, const cJSON *item, const hone__where *at, double min, double max,
                              double *out);
/* One of `names`, its index. */
hone_status hone__want_choice(const hone__reader *reader, const cJSON *item, const hone__where *at, const char *const *names,
                              uint32_t count, uint32_t *out);
/* An identifier: letter or underscore, then letters, digits, underscores and the characters of `more`. */
bool hone__is_identifier(const char *text, size_t max, const char *more);
/* An expression: a string, or a JSON integer as a constant. */
hone_status hone__want_expr(const hone__reader *reader, const cJSON *item, const hone__where *at, bool with_params,
                            hone__expr **out);
/* A file named by the spec: its text, whole, UTF-8 without NUL. */
hone_status hone__want_file(const hone__reader *reader, const hone__where *at, const char *path, size_t max, char **text,
                            char **resolved);

/* ---- parts (kernel_sizes.c, kernel_args.c, kernel_launch.c, kernel_macros.c) ---- */
hone_status hone__read_sizes(const hone__reader *reader, const cJSON *sizes);
hone_status hone__read_args(const hone__reader *reader, const cJSON *args);
/* `parent` NULL: the kernel's own; else the reference's, over sizes only. */
hone_status hone__read_launch(const hone__reader *reader, const cJSON *launch, const hone__where *parent, bool with_params,
                              hone__launch *out);
/* The parameters' macros do not collide with each other, the entry or the language. */
hone_status hone__check_macros(const hone__reader *reader);
/* Option templates over sizes, or sizes and parameters; checked, not resolved. */
hone_status hone__read_options(const hone__reader *reader, const cJSON *options, const hone__where *at, bool with_params,
                               char ***out, uint32_t *count);
/* A template resolved for these values.  HONE_E_EXPR, HONE_E_LIMIT. */
hone_status hone__option_resolve(const hone__space *space, const char *option, bool with_params, const int64_t *values,
                                 hone__buf *out, hone_error *err);

/* All buffers' bytes at these sizes; HONE_E_EXPR with the argument's name, HONE_E_LIMIT beyond memory_bytes. */
hone_status hone__kernel_buffers(const hone_kernel *kernel, const int64_t *sizes, uint64_t *bytes, hone_error *err);
/* One argument's dimension, or its scalar value, at these values. */
hone_status hone__arg_dimension(const hone__arg *arg, uint32_t dimension, const int64_t *values, int64_t *out, hone_error *err);
hone_status hone__arg_scalar(const hone__arg *arg, const int64_t *values, double *out, hone_error *err);
/* Bytes of a buffer at these sizes; 0 for a scalar, whose value is checked. */
hone_status hone__arg_bytes(const hone__arg *arg, const int64_t *sizes, uint64_t *bytes, hone_error *err);
/* The three of grid, block or cluster, and shared memory, at these values. */
typedef struct hone__geometry {
    int64_t grid[3], block[3], cluster[3];
    uint32_t grid_rank, block_rank, cluster_rank;
    int64_t shared_bytes;
} hone__geometry;
hone_status hone__launch_geometry(const hone__launch *launch, const int64_t *values, hone__geometry *out, hone_error *err);

#endif
