/* near.c: how far one problem or device is from another, and when that is too far (spec/kernel.md section 2, spec/json.md). */
#include "lookup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SNAP_LOG2_MAX 3.0     /* a factor of 8 */
#define DIVIDES_LOG2_MAX 1.0  /* a factor of 2 */
#define SHAPE_DISTANCE_MAX 6.0
#define DEVICE_DISTANCE_MAX 8.0
#define DIVIDES_MODULUS 128
#define ROUNDING 1e-9

/* ---- sizes ---- */

static int64_t gcd(int64_t a, int64_t b) {
    a = a < 0 ? -a : a;
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static double log2_ratio(int64_t a, int64_t b) {
    return fabs(log2((double)a / (double)b));
}

static bool near_size(const hone__size *size, int64_t here, int64_t there, double *distance, hone__buf *why) {
    *distance = 0;
    if (here == there || size->role == HONE_ROLE_IGNORE)
        return true;
    if (size->near == HONE_NEAR_FIXED) {
        hone__buf_printf(why, "size %s is fixed: %lld here, %lld there", size->name, (long long)here, (long long)there);
        return false;
    }
    if (here < 1 || there < 1) {
        hone__buf_printf(why, "size %s has no ratio: %lld here, %lld there", size->name, (long long)here, (long long)there);
        return false;
    }
    bool divides = size->near == HONE_NEAR_DIVIDES;
    *distance = log2_ratio(here, there);
    if (*distance > (divides ? DIVIDES_LOG2_MAX : SNAP_LOG2_MAX) + ROUNDING) {
        hone__buf_printf(why, "size %s is too far: %lld here, %lld there (at most a factor of %d)", size->name, (long long)here,
                         (long long)there, divides ? 2 : 8);
        return false;
    }
    if (divides && gcd(here, DIVIDES_MODULUS) != gcd(there, DIVIDES_MODULUS)) {
        hone__buf_printf(why, "size %s divides differently: %lld here, %lld there", size->name, (long long)here, (long long)there);
        return false;
    }
    return true;
}

static bool near_sizes(const hone_kernel *kernel, const int64_t *here, const cJSON *there, double *distance, hone__buf *why) {
    *distance = 0;
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        const hone__size *size = &kernel->size[i];
        int64_t value = 0;
        double apart = 0;
        if (!hone__json_int(cJSON_GetObjectItemCaseSensitive(there, size->name), &value)) {
            hone__buf_printf(why, "the entry does not say its size %s", size->name);
            return false;
        }
        if (!near_size(size, here[i], value, &apart, why))
            return false;
        *distance += apart;
    }
    if (*distance > SHAPE_DISTANCE_MAX + ROUNDING) {
        hone__buf_printf(why, "the sizes are too far apart together: distance %.3g, at most %g", *distance, SHAPE_DISTANCE_MAX);
        return false;
    }
    return true;
}

bool hone__near_shape(const hone_kernel *kernel, const int64_t *here, const char *there, double *distance, hone__buf *why) {
    cJSON *sizes = NULL;
    if (hone__json_parse(&sizes, there, strlen(there), "entry", NULL) != HONE_OK) {
        hone__buf_text(why, "the entry's sizes cannot be read");
        return false;
    }
    bool near = near_sizes(kernel, here, sizes, distance, why);
    cJSON_Delete(sizes);
    return near;
}

/* ---- devices ---- */

/* Vector instruction sets: code for one is not good code for another. */
static const char *const isa_features[] = {"avx2", "avx512f", "amx_tile", "asimd", "neon", "sve", "sve2", "sme"};

static bool has_word(const char *list, const char *word, size_t length) {
    for (const char *c = list; *c != '\0';) {
        size_t count = strcspn(c, " ");
        if (count == length && memcmp(c, word, length) == 0)
            return true;
        c += count + (c[count] == ' ');
    }
    return false;
}

/* How many words of `a` are not in `b`. */
static double missing_words(const char *a, const char *b) {
    double count = 0;
    for (const char *c = a; *c != '\0';) {
        size_t length = strcspn(c, " ");
        count += length > 0 && !has_word(b, c, length);
        c += length + (c[length] == ' ');
    }
    return count;
}

static bool near_features(const char *here, const char *there, double *distance, hone__buf *why) {
    for (size_t i = 0; i < sizeof isa_features / sizeof isa_features[0]; i++) {
        size_t length = strlen(isa_features[i]);
        bool have = has_word(here, isa_features[i], length);
        if (have == has_word(there, isa_features[i], length))
            continue;
        hone__buf_printf(why, "another instruction set: %s is %s here only", isa_features[i], have ? "available" : "missing");
        return false;
    }
    *distance += 0.25 * (missing_words(here, there) + missing_words(there, here));
    return true;
}

/* Amounts are compared by ratio; what only names something by equality. */
static bool is_amount(const char *name) {
    static const char *const endings[] = {"_kib", "_mib", "_gib", "_bytes", "_count", "cores", "nodes", "multiprocessors"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t ending = strlen(endings[i]);
        if (length >= ending && strcmp(name + length - ending, endings[i]) == 0)
            return true;
    }
    return false;
}

static double member_distance(const cJSON *here, const cJSON *there) {
    if (here == NULL || there == NULL)
        return 1;
    if (cJSON_Compare(here, there, 1))
        return 0;
    bool amounts = is_amount(here->string) && cJSON_IsNumber(here) && cJSON_IsNumber(there);
    if (!amounts || here->valuedouble <= 0 || there->valuedouble <= 0)
        return 1;
    double apart = fabs(log2(here->valuedouble / there->valuedouble));
    return apart < 4 ? apart : 4;
}

static bool same_text(const cJSON *here, const cJSON *there, const char *name) {
    const char *a = hone__json_string(here, name);
    const char *b = hone__json_string(there, name);
    return (a == NULL && b == NULL) || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool near_identity(const cJSON *here, const cJSON *there, double *distance, hone__buf *why) {
    if (!same_text(here, there, "arch")) {
        const char *a = hone__json_string(here, "arch");
        const char *b = hone__json_string(there, "arch");
        hone__buf_printf(why, "another architecture: %.40s here, %.40s there", a != NULL ? a : "none", b != NULL ? b : "none");
        return false;
    }
    const char *a = hone__json_string(here, "features");
    const char *b = hone__json_string(there, "features");
    bool features = a != NULL && b != NULL;
    if (features && !near_features(a, b, distance, why))
        return false;
    for (const cJSON *item = here->child; item != NULL; item = item->next) {
        if (!features || strcmp(item->string, "features") != 0)
            *distance += member_distance(item, cJSON_GetObjectItemCaseSensitive(there, item->string));
    }
    for (const cJSON *item = there->child; item != NULL; item = item->next)
        *distance += cJSON_GetObjectItemCaseSensitive(here, item->string) == NULL ? 1 : 0;
    if (*distance > DEVICE_DISTANCE_MAX + ROUNDING) {
        hone__buf_printf(why, "the devices are too far apart: distance %.3g, at most %g", *distance, DEVICE_DISTANCE_MAX);
        return false;
    }
    return true;
}

bool hone__near_device(const hone_device *here, const char *there, double *distance, hone__buf *why) {
    *distance = 0;
    cJSON *device = NULL;
    (void)hone__json_parse(&device, there, strlen(there), "entry", NULL);
    const char *kind = hone__json_string(device, "kind");
    const cJSON *identity = cJSON_GetObjectItemCaseSensitive(device, "identity");
    bool near = false;
    if (kind == NULL || !cJSON_IsObject(identity))
        hone__buf_text(why, "the entry does not say its device");
    else if (strcmp(kind, here->kind) != 0)
        hone__buf_printf(why, "another kind of device: %.32s here, %.32s there", here->kind, kind);
    else
        near = near_identity(here->identity, identity, distance, why);
    cJSON_Delete(device);
    return near;
}

/* ---- differences, for explain ---- */

static bool add_difference(cJSON *list, const char *prefix, const char *name, const cJSON *here, const cJSON *there) {
    char field[160];
    (void)snprintf(field, sizeof field, "%s.%.120s", prefix, name);
    cJSON *item = cJSON_CreateObject();
    cJSON *a = here != NULL ? cJSON_Duplicate(here, 1) : cJSON_CreateNull();
    cJSON *b = there != NULL ? cJSON_Duplicate(there, 1) : cJSON_CreateNull();
    bool ok = item != NULL && cJSON_AddStringToObject(item, "field", field) != NULL;
    if (ok && a != NULL && cJSON_AddItemToObject(item, "here", a))
        a = NULL;
    if (ok && b != NULL && cJSON_AddItemToObject(item, "there", b))
        b = NULL;
    ok = ok && a == NULL && b == NULL && cJSON_AddItemToArray(list, item);
    if (!ok) {
        cJSON_Delete(a);
        cJSON_Delete(b);
        cJSON_Delete(item);
    }
    return ok;
}

static void compare_objects(cJSON *list, const char *prefix, const cJSON *here, const cJSON *there) {
    const cJSON *item;
    cJSON_ArrayForEach(item, here) {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(there, item->string);
        if (other == NULL || !cJSON_Compare(item, other, 1))
            (void)add_difference(list, prefix, item->string, item, other);
    }
    cJSON_ArrayForEach(item, there) {
        if (cJSON_GetObjectItemCaseSensitive(here, item->string) == NULL)
            (void)add_difference(list, prefix, item->string, NULL, item);
    }
}

cJSON *hone__differences(const hone__query *query, const hone__entry *entry) {
    cJSON *list = cJSON_CreateArray();
    cJSON *sizes = NULL, *device = NULL, *here = cJSON_CreateObject();
    (void)hone__json_parse(&sizes, entry->sizes, strlen(entry->sizes), "entry", NULL);
    (void)hone__json_parse(&device, entry->device, strlen(entry->device), "entry", NULL);
    for (uint32_t i = 0; here != NULL && i < query->kernel->size_count; i++)
        (void)cJSON_AddNumberToObject(here, query->kernel->size[i].name, (double)query->problem.size[i]);
    if (list != NULL && sizes != NULL && memcmp(entry->key.problem, query->key.problem, 16) != 0)
        compare_objects(list, "sizes", here, sizes);
    if (list != NULL && device != NULL && memcmp(entry->key.device, query->key.device, 16) != 0)
        compare_objects(list, "device", query->device->identity, cJSON_GetObjectItemCaseSensitive(device, "identity"));
    cJSON_Delete(here);
    cJSON_Delete(sizes);
    cJSON_Delete(device);
    return list;
}
