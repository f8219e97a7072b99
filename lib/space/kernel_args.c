/* kernel_args.c: the arguments of a kernel spec (spec/kernel.md section 3), and their values at given sizes. */
#include "alloc.h"
#include "spec_read.h"

#include <float.h>
#include <string.h>

#define RANK_MAX 8u
#define ALIGN_MAX 4096

typedef struct dtype_info {
    const char *name;
    uint32_t bytes;
    bool is_float;
    double lowest, highest; /* what fits; integers beyond 2^53 are not exact in JSON and not offered */
} dtype_info;

static const dtype_info dtypes[HONE_DTYPE_COUNT] = {
    [HONE_F64] = {"f64", 8, true, -DBL_MAX, DBL_MAX},
    [HONE_F32] = {"f32", 4, true, -(double)FLT_MAX, (double)FLT_MAX},
    [HONE_F16] = {"f16", 2, true, -65504.0, 65504.0},
    [HONE_BF16] = {"bf16", 2, true, -3.3895313892515355e38, 3.3895313892515355e38},
    [HONE_I64] = {"i64", 8, false, -9007199254740992.0, 9007199254740992.0},
    [HONE_I32] = {"i32", 4, false, -2147483648.0, 2147483647.0},
    [HONE_I16] = {"i16", 2, false, -32768.0, 32767.0},
    [HONE_I8] = {"i8", 1, false, -128.0, 127.0},
    [HONE_U64] = {"u64", 8, false, 0.0, 9007199254740992.0},
    [HONE_U32] = {"u32", 4, false, 0.0, 4294967295.0},
    [HONE_U16] = {"u16", 2, false, 0.0, 65535.0},
    [HONE_U8] = {"u8", 1, false, 0.0, 255.0},
};

const char *hone__dtype_name(hone__dtype dtype) {
    return (uint32_t)dtype < HONE_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

uint32_t hone__dtype_bytes(hone__dtype dtype) {
    return (uint32_t)dtype < HONE_DTYPE_COUNT ? dtypes[dtype].bytes : 0;
}

/* ---- reading ---- */

/* A number that the argument's dtype can hold. */
static hone_status read_value(const hone__reader *reader, const cJSON *item, const hone__where *at, const hone__arg *arg, double *out) {
    const dtype_info *info = &dtypes[arg->dtype];
    HONE_TRY(hone__want_number(reader, item, at, -DBL_MAX, DBL_MAX, out));
    if (*out < info->lowest || *out > info->highest)
        return hone__mistake(reader, at, "%g does not fit dtype %s (%g..%g)", *out, info->name, info->lowest, info->highest);
    int64_t whole;
    if (!info->is_float && !hone__json_int(item, &whole))
        return hone__mistake(reader, at, "%g is not a whole number, as dtype %s needs", *out, info->name);
    return HONE_OK;
}

static hone_status read_fill_pair(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__arg *arg) {
    static const char *const what[] = {"[low, high]", "[mean, standard deviation]", "", "[start, step]"};
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2)
        return hone__mistake(reader, at, "must be two numbers, %s", what[arg->fill]);
    hone__where first = hone__where_element(at, 0);
    hone__where second = hone__where_element(at, 1);
    HONE_TRY(read_value(reader, item->child, &first, arg, &arg->fill_a));
    /* A step may count down whatever the dtype: iota wraps. */
    if (arg->fill == HONE_FILL_IOTA && !dtypes[arg->dtype].is_float) {
        int64_t step = 0;
        HONE_TRY(hone__want_integer(reader, item->child->next, &second, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &step));
        arg->fill_b = (double)step;
        return HONE_OK;
    }
    HONE_TRY(read_value(reader, item->child->next, &second, arg, &arg->fill_b));
    if (arg->fill == HONE_FILL_UNIFORM && arg->fill_a > arg->fill_b)
        return hone__mistake(reader, at, "low %g is above high %g", arg->fill_a, arg->fill_b);
    if (arg->fill == HONE_FILL_NORMAL && arg->fill_b < 0)
        return hone__mistake(reader, &second, "the standard deviation %g is negative", arg->fill_b);
    return HONE_OK;
}

static hone_status read_fill(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__arg *arg) {
    static const char *const kinds[] = {"uniform", "normal", "constant", "iota"};
    bool is_float = dtypes[arg->dtype].is_float;
    arg->fill = HONE_FILL_UNIFORM;
    arg->fill_a = is_float ? -1 : 0;
    arg->fill_b = is_float ? 1 : 100;
    if (item == NULL)
        return HONE_OK;
    if (arg->access == HONE_ACCESS_OUT)
        return hone__mistake(reader, at, "an \"out\" buffer is not filled; use \"access\": \"inout\", or leave \"fill\" out");
    HONE_TRY(hone__want_object(reader, item, at));
    HONE_TRY(hone__want_members(reader, item, at, kinds, 4));
    const cJSON *chosen = NULL;
    for (uint32_t i = 0; i < 4; i++) {
        const cJSON *member = cJSON_GetObjectItemCaseSensitive(item, kinds[i]);
        if (member == NULL)
            continue;
        if (chosen != NULL)
            return hone__mistake(reader, at, "give one of uniform, normal, constant, iota, not several");
        chosen = member;
        arg->fill = (hone__fill)i;
    }
    if (chosen == NULL)
        return hone__mistake(reader, at, "give one of uniform, normal, constant, iota, e.g. {\"uniform\": [-1, 1]}");
    hone__where where = hone__where_member(at, chosen->string);
    if (arg->fill == HONE_FILL_NORMAL && !is_float)
        return hone__mistake(reader, &where, "normal is for floating-point dtypes; dtype %s takes uniform, constant or iota",
                               dtypes[arg->dtype].name);
    if (arg->fill != HONE_FILL_CONSTANT)
        return read_fill_pair(reader, chosen, &where, arg);
    arg->fill_b = 0;
    return read_value(reader, chosen, &where, arg, &arg->fill_a);
}

static hone_status read_shape(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__arg *arg) {
    HONE_TRY(hone__want_array(reader, item, at, 1, RANK_MAX));
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        hone__where where = hone__where_element(at, arg->rank);
        HONE_TRY(hone__want_expr(reader, child, &where, false, &arg->shape[arg->rank++]));
    }
    return HONE_OK;
}

static hone_status read_buffer(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__arg *arg) {
    static const char *const members[] = {"name", "kind", "dtype", "shape", "access", "fill", "align", "description"};
    static const char *const accesses[] = {"in", "out", "inout"};
    HONE_TRY(hone__want_members(reader, item, at, members, 8));
    const cJSON *shape = NULL;
    HONE_TRY(hone__want_required(reader, item, at, "shape", &shape));
    hone__where where = hone__where_member(at, "shape");
    HONE_TRY(read_shape(reader, shape, &where, arg));
    const cJSON *access = cJSON_GetObjectItemCaseSensitive(item, "access");
    if (access != NULL) {
        uint32_t choice = 0;
        where = hone__where_member(at, "access");
        HONE_TRY(hone__want_choice(reader, access, &where, accesses, 3, &choice));
        arg->access = (hone__access)choice;
    }
    arg->align = 64;
    const cJSON *align = cJSON_GetObjectItemCaseSensitive(item, "align");
    if (align != NULL) {
        int64_t value = 0;
        where = hone__where_member(at, "align");
        HONE_TRY(hone__want_integer(reader, align, &where, 1, ALIGN_MAX, &value));
        if ((value & (value - 1)) != 0)
            return hone__mistake(reader, &where, "%lld is not a power of two", (long long)value);
        arg->align = (uint32_t)value;
    }
    where = hone__where_member(at, "fill");
    return read_fill(reader, cJSON_GetObjectItemCaseSensitive(item, "fill"), &where, arg);
}

static hone_status read_scalar(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__arg *arg) {
    static const char *const members[] = {"name", "kind", "dtype", "value", "description"};
    HONE_TRY(hone__want_members(reader, item, at, members, 5));
    const cJSON *value = NULL;
    HONE_TRY(hone__want_required(reader, item, at, "value", &value));
    hone__where where = hone__where_member(at, "value");
    if (cJSON_IsNumber(value))
        return read_value(reader, value, &where, arg, &arg->number);
    return hone__want_expr(reader, value, &where, false, &arg->value);
}

static hone_status read_arg(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__arg *arg) {
    static const char *const kinds[] = {"buffer", "scalar"};
    const char *names[HONE_DTYPE_COUNT];
    for (uint32_t i = 0; i < HONE_DTYPE_COUNT; i++)
        names[i] = dtypes[i].name;
    HONE_TRY(hone__want_object(reader, item, at));
    const cJSON *name = NULL, *kind = NULL, *dtype = NULL;
    HONE_TRY(hone__want_required(reader, item, at, "name", &name));
    HONE_TRY(hone__want_required(reader, item, at, "kind", &kind));
    HONE_TRY(hone__want_required(reader, item, at, "dtype", &dtype));
    hone__where where = hone__where_member(at, "name");
    const char *text = NULL;
    HONE_TRY(hone__want_text(reader, name, &where, &text));
    if (!hone__is_identifier(text, HONE_LIMIT_NAME_BYTES, ""))
        return hone__mistake(reader, &where, "\"%s\" is not a C identifier of at most %u characters", hone__quote(text).text,
                               HONE_LIMIT_NAME_BYTES);
    for (const hone__arg *other = reader->kernel->arg; other < arg; other++) {
        if (strcmp(other->name, text) == 0)
            return hone__mistake(reader, &where, "another argument is named \"%s\" already", text);
    }
    arg->name = hone__strdup(text);
    if (arg->name == NULL)
        return hone__mistake_nomem(reader);
    uint32_t choice = 0;
    where = hone__where_member(at, "dtype");
    HONE_TRY(hone__want_choice(reader, dtype, &where, names, HONE_DTYPE_COUNT, &choice));
    arg->dtype = (hone__dtype)choice;
    where = hone__where_member(at, "kind");
    HONE_TRY(hone__want_choice(reader, kind, &where, kinds, 2, &choice));
    arg->is_buffer = choice == 0;
    return arg->is_buffer ? read_buffer(reader, item, at, arg) : read_scalar(reader, item, at, arg);
}

hone_status hone__read_args(const hone__reader *reader, const cJSON *args) {
    hone_kernel *kernel = reader->kernel;
    hone__where at = hone__where_member(NULL, "args");
    if (args == NULL) {
        if (kernel->language == HONE_LANGUAGE_EXTERNAL)
            return HONE_OK;
        return hone__mistake(reader, NULL, "required member \"args\" is missing (the entry's arguments in call order)");
    }
    HONE_TRY(hone__want_array(reader, args, &at, 0, HONE_LIMIT_ARGS));
    kernel->arg = hone__alloc_array((size_t)cJSON_GetArraySize(args), sizeof *kernel->arg);
    if (kernel->arg == NULL)
        return hone__mistake_nomem(reader);
    bool written = false;
    for (const cJSON *item = args->child; item != NULL; item = item->next) {
        hone__where where = hone__where_element(&at, kernel->arg_count);
        hone__arg *arg = &kernel->arg[kernel->arg_count++];
        HONE_TRY(read_arg(reader, item, &where, arg));
        written = written || (arg->is_buffer && arg->access != HONE_ACCESS_IN);
    }
    if (!written && kernel->language != HONE_LANGUAGE_EXTERNAL)
        return hone__mistake(reader, &at, "no buffer has \"access\": \"out\" or \"inout\", so the kernel computes nothing");
    return HONE_OK;
}

/* ---- values at given sizes ---- */

hone_status hone__arg_dimension(const hone__arg *arg, uint32_t dimension, const int64_t *values, int64_t *out, hone_error *err) {
    const char *why = NULL;
    const hone__expr *expr = arg->shape[dimension];
    if (!hone__expr_eval(expr, values, out, &why))
        return hone__fail(err, HONE_E_EXPR, "spec", "argument %s: shape[%u] = %s: %s at these sizes", arg->name, dimension,
                          hone__quote(hone__expr_text(expr)).text, why != NULL ? why : "error");
    if (*out < 1)
        return hone__fail(err, HONE_E_EXPR, "spec", "argument %s: shape[%u] = %s is %lld at these sizes; a dimension is at least 1",
                          arg->name, dimension, hone__quote(hone__expr_text(expr)).text, (long long)*out);
    return HONE_OK;
}

hone_status hone__arg_scalar(const hone__arg *arg, const int64_t *values, double *out, hone_error *err) {
    const dtype_info *info = &dtypes[arg->dtype];
    *out = arg->number;
    if (arg->value == NULL)
        return HONE_OK;
    const char *why = NULL;
    int64_t result = 0;
    hone__quoted text = hone__quote(hone__expr_text(arg->value));
    if (!hone__expr_eval(arg->value, values, &result, &why))
        return hone__fail(err, HONE_E_EXPR, "spec", "argument %s: value = %s: %s at these sizes", arg->name, text.text,
                          why != NULL ? why : "error");
    *out = (double)result;
    if (result > HONE_LIMIT_JSON_INT || result < -HONE_LIMIT_JSON_INT || *out < info->lowest || *out > info->highest)
        return hone__fail(err, HONE_E_EXPR, "spec", "argument %s: value = %s is %lld at these sizes, which does not fit dtype %s",
                          arg->name, text.text, (long long)result, info->name);
    return HONE_OK;
}

hone_status hone__arg_bytes(const hone__arg *arg, const int64_t *sizes, uint64_t *bytes, hone_error *err) {
    *bytes = 0;
    double scalar = 0;
    if (!arg->is_buffer)
        return hone__arg_scalar(arg, sizes, &scalar, err);
    uint64_t product = hone__dtype_bytes(arg->dtype);
    for (uint32_t d = 0; d < arg->rank; d++) {
        int64_t dimension = 0;
        HONE_TRY(hone__arg_dimension(arg, d, sizes, &dimension, err));
        if (__builtin_mul_overflow(product, (uint64_t)dimension, &product))
            product = UINT64_MAX;
    }
    *bytes = product;
    return HONE_OK;
}

hone_status hone__kernel_buffers(const hone_kernel *kernel, const int64_t *sizes, uint64_t *bytes, hone_error *err) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < kernel->arg_count; i++) {
        uint64_t own = 0;
        HONE_TRY(hone__arg_bytes(&kernel->arg[i], sizes, &own, err));
        if (__builtin_add_overflow(total, own, &total) || total > kernel->memory_bytes)
            return hone__fail(err, HONE_E_LIMIT, "spec",
                              "the buffers up to argument %s need more than the %llu bytes of limits.memory_bytes at these sizes; "
                              "raise it, or choose smaller sizes",
                              kernel->arg[i].name, (unsigned long long)kernel->memory_bytes);
    }
    *bytes = total;
    return HONE_OK;
}
