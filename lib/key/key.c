/* key.c: canonical bytes of kernel, problem and device, and the key made of them.  spec/key.md is normative; a change here that
 * changes any byte is a new version of that page, with new tags. */
#include "key.h"

#include <string.h>

#define KERNEL_BYTES_MAX (512u << 20) /* the source and 64 dependencies of 4 MiB each fit */
#define DEVICE_BYTES_MAX (256u << 10)
/* The tag, the count, and for each size its name, role and value. */
#define PROBLEM_BYTES_MAX (4u + 16u + 4u + HONE_SIZES_MAX * (4u + 32u + 1u + 8u))

#define TAG_KERNEL "hone.kernel.1"
#define TAG_PROBLEM "hone.problem.1"
#define TAG_DEVICE "hone.device.1"
#define TAG_KEY "hone.key.1"

static void put_text(hone__buf *buf, const char *text) {
    size_t length = strlen(text);
    hone__buf_u32(buf, (uint32_t)length);
    hone__buf_bytes(buf, text, length);
}

/* Two's complement, as spec/key.md says. */
static void put_i64(hone__buf *buf, int64_t value) {
    hone__buf_u64(buf, (uint64_t)value);
}

static void put_f64(hone__buf *buf, double value) {
    uint64_t bits;
    value += 0.0; /* -0 is 0 */
    memcpy(&bits, &value, sizeof bits);
    hone__buf_u64(buf, bits);
}

static void put_expr(hone__buf *buf, const hone__expr *expr) {
    put_text(buf, expr != NULL ? hone__expr_text(expr) : "");
}

/* A file's text with CRLF and lone CR as LF, so that a checkout on another system is the same kernel. */
static void put_lines(hone__buf *buf, const char *text) {
    size_t length = 0;
    for (const char *c = text; *c != '\0'; c++)
        length += !(c[0] == '\r' && c[1] == '\n');
    hone__buf_u32(buf, (uint32_t)length);
    for (const char *c = text; *c != '\0';) {
        size_t plain = strcspn(c, "\r");
        hone__buf_bytes(buf, c, plain);
        c += plain;
        if (*c == '\r') {
            hone__buf_char(buf, '\n');
            c += c[1] == '\n' ? 2 : 1;
        }
    }
}

/* ---- kernel ---- */

static void put_sizes(hone__buf *buf, const hone_kernel *kernel, const uint32_t *order) {
    hone__buf_u32(buf, kernel->size_count);
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        const hone__size *size = &kernel->size[order[i]];
        put_text(buf, size->name);
        hone__buf_u8(buf, (uint8_t)size->role);
        hone__buf_u32(buf, size->bucket_count);
        for (uint32_t k = 0; k < size->bucket_count; k++)
            put_i64(buf, size->buckets[k]);
    }
}

static void put_args(hone__buf *buf, const hone_kernel *kernel) {
    hone__buf_u32(buf, kernel->arg_count);
    for (uint32_t i = 0; i < kernel->arg_count; i++) {
        const hone__arg *arg = &kernel->arg[i];
        put_text(buf, arg->name);
        put_text(buf, hone__dtype_name(arg->dtype));
        hone__buf_u8(buf, arg->is_buffer ? 0 : 1);
        if (!arg->is_buffer) {
            put_expr(buf, arg->value);
            put_f64(buf, arg->value != NULL ? 0 : arg->number);
            continue;
        }
        hone__buf_u32(buf, arg->rank);
        for (uint32_t d = 0; d < arg->rank; d++)
            put_expr(buf, arg->shape[d]);
        hone__buf_u8(buf, (uint8_t)arg->access);
        hone__buf_u32(buf, arg->align);
        bool filled = arg->access != HONE_ACCESS_OUT;
        hone__buf_u8(buf, filled ? (uint8_t)arg->fill : 255);
        put_f64(buf, filled ? arg->fill_a : 0);
        put_f64(buf, filled ? arg->fill_b : 0);
    }
}

static void put_domain(hone__buf *buf, const hone__domain *domain) {
    hone__buf_u8(buf, (uint8_t)domain->kind);
    hone__buf_u32(buf, domain->count);
    switch (domain->kind) {
    case HONE_KIND_RANGE:
        put_i64(buf, domain->min);
        put_i64(buf, domain->step);
        break;
    case HONE_KIND_POW2:
        put_i64(buf, domain->min);
        break;
    case HONE_KIND_ENUM:
        hone__buf_u8(buf, (uint8_t)domain->type);
        for (uint32_t i = 0; i < domain->count; i++) {
            if (domain->type == HONE_SYMBOL_STRING)
                put_text(buf, hone__domain_string(domain, i));
            else if (domain->type == HONE_SYMBOL_INT)
                put_i64(buf, hone__domain_int(domain, i));
            else
                put_f64(buf, hone__domain_number(domain, i));
        }
        break;
    case HONE_KIND_BOOL:
    case HONE_KIND_PERMUTATION:
    case HONE_KIND_LIST:
        break; /* the kind and the count say it all; a list's domain is of another kind */
    }
}

static void put_params(hone__buf *buf, const hone__space *space, const uint32_t *order) {
    hone__buf_u32(buf, space->param_count);
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[order[i]];
        put_text(buf, param->name);
        hone__buf_u8(buf, (uint8_t)param->kind);
        hone__buf_u32(buf, param->slot_count);
        put_domain(buf, &param->domain);
    }
    hone__buf_u32(buf, space->constraint_count);
    for (uint32_t i = 0; i < space->constraint_count; i++)
        put_expr(buf, space->constraint[i].expr);
}

static void put_extents(hone__buf *buf, hone__expr *const expr[3]) {
    uint8_t rank = 0;
    while (rank < 3 && expr[rank] != NULL)
        rank++;
    hone__buf_u8(buf, rank);
    for (uint8_t i = 0; i < rank; i++)
        put_expr(buf, expr[i]);
}

/* The evaluator's command as written, because where the spec lies does not matter. */
static void put_evaluator(hone__buf *buf, const hone_kernel *kernel) {
    bool counts = kernel->language == HONE_LANGUAGE_EXTERNAL;
    hone__buf_u32(buf, counts ? kernel->evaluator_count : 0);
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(kernel->spec, "evaluator");
    for (const cJSON *word = counts ? words->child : NULL; word != NULL; word = word->next)
        put_text(buf, word->valuestring);
}

/* Indices of names in the order of their bytes (insertion sort: at most 64 of them). */
static void order_names(uint32_t *order, uint32_t count, const char *(*name)(const void *of, uint32_t index), const void *of) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        while (at > 0 && strcmp(name(of, order[at - 1]), name(of, i)) > 0) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

static const char *size_name(const void *kernel, uint32_t index) {
    return ((const hone_kernel *)kernel)->size[index].name;
}

static const char *param_name(const void *space, uint32_t index) {
    return ((const hone__space *)space)->param[index].name;
}

void hone__key_kernel_bytes(hone__buf *buf, const hone_kernel *kernel) {
    uint32_t sizes[HONE_SIZES_MAX], params[HONE_LIMIT_PARAMS];
    order_names(sizes, kernel->size_count, size_name, kernel);
    order_names(params, kernel->space->param_count, param_name, kernel->space);
    put_text(buf, TAG_KERNEL);
    put_text(buf, kernel->name);
    put_text(buf, hone_kernel_language(kernel));
    put_lines(buf, kernel->source.text);
    put_text(buf, kernel->entry);
    hone__buf_u32(buf, kernel->option_count);
    for (uint32_t i = 0; i < kernel->option_count; i++)
        put_text(buf, kernel->option[i]);
    hone__buf_u32(buf, kernel->dependency_count);
    for (uint32_t i = 0; i < kernel->dependency_count; i++)
        put_lines(buf, kernel->dependency[i].text);
    put_sizes(buf, kernel, sizes);
    put_args(buf, kernel);
    put_params(buf, kernel->space, params);
    put_extents(buf, kernel->launch.grid);
    put_extents(buf, kernel->launch.block);
    put_extents(buf, kernel->launch.cluster);
    put_expr(buf, kernel->launch.shared_bytes);
    put_evaluator(buf, kernel);
    if (kernel->launch.cooperative)
        put_text(buf, "cooperative");
}

/* ---- problem ---- */

/* On the stack, because a look-up must be able to make a key without the heap. */
typedef struct fixed {
    uint8_t byte[PROBLEM_BYTES_MAX];
    size_t length;
} fixed;

static void fixed_le(fixed *out, uint64_t value, size_t count) {
    for (size_t i = 0; i < count; i++)
        out->byte[out->length++] = (uint8_t)(value >> (8 * i));
}

static void fixed_text(fixed *out, const char *text) {
    size_t length = strlen(text);
    fixed_le(out, length, 4);
    memcpy(out->byte + out->length, text, length);
    out->length += length;
}

static void problem_bytes(fixed *out, const hone_kernel *kernel, const int64_t *sizes) {
    uint32_t order[HONE_SIZES_MAX], count = 0;
    order_names(order, kernel->size_count, size_name, kernel);
    for (uint32_t i = 0; i < kernel->size_count; i++)
        count += kernel->size[i].role != HONE_ROLE_IGNORE;
    out->length = 0;
    fixed_text(out, TAG_PROBLEM);
    fixed_le(out, count, 4);
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        const hone__size *size = &kernel->size[order[i]];
        if (size->role == HONE_ROLE_IGNORE)
            continue;
        fixed_text(out, size->name);
        fixed_le(out, (uint64_t)size->role, 1);
        fixed_le(out, (uint64_t)hone__size_key_value(size, sizes[order[i]]), 8);
    }
}

void hone__key_problem_bytes(hone__buf *buf, const hone_kernel *kernel, const int64_t *sizes) {
    fixed bytes;
    problem_bytes(&bytes, kernel, sizes);
    hone__buf_bytes(buf, bytes.byte, bytes.length);
}

/* ---- device ---- */

static void put_scalar(hone__buf *buf, const cJSON *item) {
    int64_t whole;
    if (cJSON_IsString(item)) {
        hone__buf_u8(buf, 3);
        put_text(buf, item->valuestring);
    } else if (hone__json_int(item, &whole)) {
        hone__buf_u8(buf, 1);
        put_i64(buf, whole);
    } else if (cJSON_IsNumber(item)) {
        hone__buf_u8(buf, 2);
        put_f64(buf, item->valuedouble);
    } else {
        hone__buf_u8(buf, 0);
        hone__buf_u8(buf, cJSON_IsTrue(item) ? 1 : 0);
    }
}

/* The identity's members are sorted already (device.h). */
void hone__key_device_bytes(hone__buf *buf, const hone_device *device) {
    uint32_t count = 0;
    for (const cJSON *item = device->identity->child; item != NULL; item = item->next)
        count++;
    put_text(buf, TAG_DEVICE);
    put_text(buf, device->kind);
    hone__buf_u32(buf, count);
    for (const cJSON *item = device->identity->child; item != NULL; item = item->next) {
        put_text(buf, item->string);
        put_scalar(buf, item);
    }
}

/* ---- hashes ---- */

static hone_status hash_into(uint8_t id[16], hone__buf *buf) {
    hone_status status = buf->status;
    if (status == HONE_OK) {
        hone__hash hash = hone__hash_bytes(buf->data, buf->length);
        memcpy(id, hash.byte, sizeof hash.byte);
    }
    hone__buf_free(buf);
    return status;
}

hone_status hone__key_identify_kernel(hone_kernel *kernel) {
    hone__buf buf;
    hone__buf_init(&buf, KERNEL_BYTES_MAX);
    hone__key_kernel_bytes(&buf, kernel);
    return hash_into(kernel->id, &buf);
}

hone_status hone__key_identify_device(hone_device *device) {
    hone__buf buf;
    hone__buf_init(&buf, DEVICE_BYTES_MAX);
    hone__key_device_bytes(&buf, device);
    return hash_into(device->id, &buf);
}

hone__key hone__key_make(const hone_kernel *kernel, const hone_device *device, const int64_t *sizes) {
    hone__key key;
    fixed bytes;
    problem_bytes(&bytes, kernel, sizes);
    hone__hash problem = hone__hash_bytes(bytes.byte, bytes.length);
    memcpy(key.kernel, kernel->id, sizeof key.kernel);
    memcpy(key.device, device->id, sizeof key.device);
    memcpy(key.problem, problem.byte, sizeof key.problem);
    bytes.length = 0;
    fixed_text(&bytes, TAG_KEY);
    memcpy(bytes.byte + bytes.length, key.kernel, 16);
    memcpy(bytes.byte + bytes.length + 16, key.device, 16);
    memcpy(bytes.byte + bytes.length + 32, key.problem, 16);
    hone__hash whole = hone__hash_bytes(bytes.byte, bytes.length + 48);
    memcpy(key.key, whole.byte, sizeof key.key);
    return key;
}
