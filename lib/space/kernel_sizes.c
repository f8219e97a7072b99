/* kernel_sizes.c: the sizes of a kernel spec (spec/kernel.md section 2) and what the key sees of them. */
#include "alloc.h"
#include "spec_read.h"

#include <string.h>

#define BUCKETS_MAX 256u

static const char *const role_names[] = {"exact", "bucket", "ignore"};
static const char *const near_names[] = {"snap", "divides", "fixed"};
/* Words that an expression would not read as a name. */
static const char *const reserved[] = {"true", "false", "min", "max", "ceil_div", "is_pow2", "abs"};

static hone_status read_buckets(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__size *size) {
    if (cJSON_IsString(item) && strcmp(item->valuestring, "pow2") == 0)
        return HONE_OK;
    if (!cJSON_IsArray(item))
        return hone__mistake(reader, at, "must be \"pow2\" or an ascending list of whole numbers, e.g. [128, 512, 2048]");
    HONE_TRY(hone__want_array(reader, item, at, 1, BUCKETS_MAX));
    size->buckets = hone__alloc_array((size_t)cJSON_GetArraySize(item), sizeof *size->buckets);
    if (size->buckets == NULL)
        return hone__mistake_nomem(reader);
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        hone__where where = hone__where_element(at, size->bucket_count);
        int64_t value = 0;
        HONE_TRY(hone__want_integer(reader, child, &where, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &value));
        if (size->bucket_count > 0 && value <= size->buckets[size->bucket_count - 1])
            return hone__mistake(reader, &where, "%lld does not come after %lld; list buckets in ascending order, each once",
                                   (long long)value, (long long)size->buckets[size->bucket_count - 1]);
        size->buckets[size->bucket_count++] = value;
    }
    return HONE_OK;
}

static hone_status read_roles(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__size *size) {
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(item, "role");
    const cJSON *near = cJSON_GetObjectItemCaseSensitive(item, "near");
    const cJSON *buckets = cJSON_GetObjectItemCaseSensitive(item, "buckets");
    uint32_t choice = 0;
    if (role != NULL) {
        hone__where where = hone__where_member(at, "role");
        HONE_TRY(hone__want_choice(reader, role, &where, role_names, 3, &choice));
        size->role = (hone__size_role)choice;
    }
    if (near != NULL) {
        hone__where where = hone__where_member(at, "near");
        HONE_TRY(hone__want_choice(reader, near, &where, near_names, 3, &choice));
        size->near = (hone__size_near)choice;
    }
    if (buckets != NULL) {
        hone__where where = hone__where_member(at, "buckets");
        if (size->role != HONE_ROLE_BUCKET)
            return hone__mistake(reader, &where, "buckets are for \"role\": \"bucket\"; this size has role \"%s\"",
                                   role_names[size->role]);
        HONE_TRY(read_buckets(reader, buckets, &where, size));
    }
    return HONE_OK;
}

static hone_status read_bounds(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__size *size) {
    static const char *const members[] = {"default", "min", "max", "role", "near", "buckets", "description"};
    HONE_TRY(hone__want_members(reader, item, at, members, 7));
    const cJSON *value = NULL;
    HONE_TRY(hone__want_required(reader, item, at, "default", &value));
    const cJSON *min = cJSON_GetObjectItemCaseSensitive(item, "min");
    const cJSON *max = cJSON_GetObjectItemCaseSensitive(item, "max");
    hone__where where = hone__where_member(at, "min");
    if (min != NULL)
        HONE_TRY(hone__want_integer(reader, min, &where, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &size->min));
    where = hone__where_member(at, "max");
    if (max != NULL)
        HONE_TRY(hone__want_integer(reader, max, &where, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &size->max));
    if (size->min > size->max)
        return hone__mistake(reader, &where, "max %lld is below min %lld", (long long)size->max, (long long)size->min);
    where = hone__where_member(at, "default");
    HONE_TRY(hone__want_integer(reader, value, &where, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &size->value));
    return HONE_OK;
}

static hone_status read_size(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__size *size) {
    if (!hone__is_identifier(item->string, 32, ""))
        return hone__mistake(reader, at, "a size's name must be a letter or _ and then at most 31 letters, digits and _");
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(item->string, reserved[i]) == 0)
            return hone__mistake(reader, at, "\"%s\" is a word of the expression language; choose another name", reserved[i]);
    }
    size->name = hone__strdup(item->string);
    if (size->name == NULL)
        return hone__mistake_nomem(reader);
    size->min = 1;
    size->max = HONE_LIMIT_JSON_INT;
    hone__where where = *at;
    if (cJSON_IsObject(item)) {
        HONE_TRY(read_bounds(reader, item, at, size));
        HONE_TRY(read_roles(reader, item, at, size));
        where = hone__where_member(at, "default");
    } else if (cJSON_IsNumber(item)) {
        HONE_TRY(hone__want_integer(reader, item, at, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &size->value));
    } else {
        return hone__mistake(reader, at, "must be a whole number or an object like {\"default\": 1024}, not %s", hone__type_name(item));
    }
    if (size->value < size->min || size->value > size->max)
        return hone__mistake(reader, &where, "the default %lld is outside %lld..%lld; change it, or state \"min\" and \"max\"",
                               (long long)size->value, (long long)size->min, (long long)size->max);
    return HONE_OK;
}

hone_status hone__read_sizes(const hone__reader *reader, const cJSON *sizes) {
    hone_kernel *kernel = reader->kernel;
    hone__where at = hone__where_member(NULL, "sizes");
    if (sizes == NULL)
        return HONE_OK;
    HONE_TRY(hone__want_object(reader, sizes, &at));
    uint32_t count = 0;
    for (const cJSON *item = sizes->child; item != NULL; item = item->next)
        count += strncmp(item->string, "x-", 2) != 0;
    if (count > HONE_SIZES_MAX)
        return hone__mistake(reader, &at, "has %u sizes; at most %u are allowed", count, HONE_SIZES_MAX);
    kernel->size = hone__alloc_array(count, sizeof *kernel->size);
    if (kernel->size == NULL)
        return hone__mistake_nomem(reader);
    for (const cJSON *item = sizes->child; item != NULL; item = item->next) {
        hone__where where = hone__where_member(&at, item->string);
        if (strncmp(item->string, "x-", 2) == 0)
            continue;
        HONE_TRY(read_size(reader, item, &where, &kernel->size[kernel->size_count++]));
    }
    return HONE_OK;
}

int64_t hone__size_key_value(const hone__size *size, int64_t value) {
    if (size->role == HONE_ROLE_IGNORE)
        return 0;
    if (size->role == HONE_ROLE_EXACT)
        return value;
    for (uint32_t i = 0; i < size->bucket_count; i++) {
        if (value <= size->buckets[i])
            return size->buckets[i];
    }
    if (size->bucket_count > 0)
        return value;
    int64_t bucket = 1;
    while (bucket < value && bucket < HONE_LIMIT_JSON_INT)
        bucket *= 2;
    return bucket < value ? value : bucket;
}
