/* kernel_read.c: a kernel spec (spec/kernel.md) from JSON, with the files that it names. */
#include "alloc.h"
#include "file.h"
#include "holds.h"
#include "spec_read.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_VERSION 1
#define WORDS_MAX 64u
#define WORD_BYTES_MAX 4096u

static const char *const languages[] = {"c", "cuda", "external"};

static hone_status copy(const hone__reader *reader, const char *text, char **out) {
    *out = hone__strdup(text);
    return *out != NULL ? HONE_OK : hone__mistake_nomem(reader);
}

/* ---- what it is ---- */

static hone_status read_names(const hone__reader *reader, const cJSON *spec) {
    hone_kernel *kernel = reader->kernel;
    const cJSON *item = NULL;
    int64_t version = 0;
    HONE_TRY(hone__want_required(reader, spec, NULL, "hone", &item));
    hone__where at = hone__where_member(NULL, "hone");
    HONE_TRY(hone__want_integer(reader, item, &at, 1, HONE_LIMIT_JSON_INT, &version));
    if (version != SPEC_VERSION)
        return hone__mistake(reader, &at, "this is spec version %lld; this build of Hone reads version %d", (long long)version,
                               SPEC_VERSION);
    HONE_TRY(hone__want_required(reader, spec, NULL, "name", &item));
    at = hone__where_member(NULL, "name");
    const char *text = NULL;
    HONE_TRY(hone__want_text(reader, item, &at, &text));
    if (!hone__is_identifier(text, HONE_LIMIT_NAME_BYTES, ".-"))
        return hone__mistake(reader, &at, "\"%s\" must be a letter or _ and then at most 63 letters, digits, '_', '.' and '-'",
                               hone__quote(text).text);
    HONE_TRY(copy(reader, text, &kernel->name));
    HONE_TRY(hone__want_required(reader, spec, NULL, "language", &item));
    at = hone__where_member(NULL, "language");
    uint32_t choice = 0;
    HONE_TRY(hone__want_choice(reader, item, &at, languages, 3, &choice));
    kernel->language = (hone__language)choice;
    item = cJSON_GetObjectItemCaseSensitive(spec, "description");
    at = hone__where_member(NULL, "description");
    if (item == NULL)
        return HONE_OK;
    if (!cJSON_IsString(item))
        return hone__mistake(reader, &at, "must be a string, not %s", hone__type_name(item));
    return copy(reader, item->valuestring, &kernel->description);
}

static hone_status read_entry(const hone__reader *reader, const cJSON *item, const hone__where *at, char **out) {
    const char *text = NULL;
    HONE_TRY(hone__want_text(reader, item, at, &text));
    if (!hone__is_identifier(text, 128, ""))
        return hone__mistake(reader, at, "\"%s\" is not a C identifier of at most 128 characters", hone__quote(text).text);
    return copy(reader, text, out);
}

static hone_status read_source(const hone__reader *reader, const cJSON *spec) {
    hone_kernel *kernel = reader->kernel;
    bool required = kernel->language != HONE_LANGUAGE_EXTERNAL;
    const cJSON *source = cJSON_GetObjectItemCaseSensitive(spec, "source");
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(spec, "entry");
    if (source == NULL && required)
        return hone__mistake(reader, NULL, "required member \"source\" is missing (language %s)", languages[kernel->language]);
    if (entry == NULL && required)
        return hone__mistake(reader, NULL, "required member \"entry\" is missing (the function to launch)");
    if (source != NULL) {
        hone__where at = hone__where_member(NULL, "source");
        const char *path = NULL;
        HONE_TRY(hone__want_text(reader, source, &at, &path));
        HONE_TRY(copy(reader, path, &kernel->source.path));
        HONE_TRY(hone__want_file(reader, &at, path, HONE_LIMIT_SOURCE_BYTES, &kernel->source.text, &kernel->source_path));
    } else {
        HONE_TRY(copy(reader, "", &kernel->source.path));
        HONE_TRY(copy(reader, "", &kernel->source.text));
    }
    if (entry == NULL)
        return copy(reader, "", &kernel->entry);
    hone__where at = hone__where_member(NULL, "entry");
    return read_entry(reader, entry, &at, &kernel->entry);
}

static hone_status read_dependencies(const hone__reader *reader, const cJSON *list) {
    hone_kernel *kernel = reader->kernel;
    if (list == NULL)
        return HONE_OK;
    hone__where at = hone__where_member(NULL, "dependencies");
    HONE_TRY(hone__want_array(reader, list, &at, 0, HONE_LIMIT_DEPENDENCIES));
    kernel->dependency = hone__alloc_array((size_t)cJSON_GetArraySize(list), sizeof *kernel->dependency);
    if (kernel->dependency == NULL)
        return hone__mistake_nomem(reader);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        hone__where where = hone__where_element(&at, kernel->dependency_count);
        hone__file_text *file = &kernel->dependency[kernel->dependency_count++];
        const char *path = NULL;
        HONE_TRY(hone__want_text(reader, item, &where, &path));
        HONE_TRY(copy(reader, path, &file->path));
        HONE_TRY(hone__want_file(reader, &where, path, HONE_LIMIT_DEPENDENCY_BYTES, &file->text, NULL));
    }
    return HONE_OK;
}

/* ---- configs ---- */

static hone_status read_config(const hone__reader *reader, const cJSON *item, const hone__where *at, hone__config *out) {
    HONE_TRY(hone__want_object(reader, item, at));
    hone_error inner = {0};
    hone_status status = hone__config_read(reader->kernel->space, item, false, out, NULL, &inner);
    if (status == HONE_OK)
        return HONE_OK;
    if (status == HONE_E_NOMEM)
        return hone__mistake_nomem(reader);
    /* "NAME: what is wrong": the name belongs into the pointer. */
    for (const cJSON *member = item->child; member != NULL; member = member->next) {
        size_t length = strlen(member->string);
        if (strncmp(inner.message, member->string, length) == 0 && strncmp(inner.message + length, ": ", 2) == 0) {
            hone__where where = hone__where_member(at, member->string);
            return hone__mistake(reader, &where, "%.340s", inner.message + length + 2);
        }
    }
    return hone__mistake(reader, at, "%.340s", inner.message);
}

static hone_status check_holds(const hone__reader *reader, const hone__where *at, const char *what, const hone__config *config) {
    int64_t sizes[HONE_SIZES_MAX] = {0};
    for (uint32_t i = 0; i < reader->kernel->size_count; i++)
        sizes[i] = reader->kernel->size[i].value;
    hone__buf why;
    hone__buf_init(&why, 1024);
    hone_status status = HONE_OK;
    if (!hone__space_holds(reader->kernel->space, sizes, config, &why))
        status = hone__mistake(reader, at, "the %s is not valid at the default sizes: %.260s; change it or the constraint", what,
                                 why.length > 0 ? why.data : "a constraint does not hold");
    hone__buf_free(&why);
    return status;
}

static hone_status read_seeds(const hone__reader *reader, const cJSON *list) {
    hone_kernel *kernel = reader->kernel;
    if (list == NULL)
        return HONE_OK;
    hone__where at = hone__where_member(NULL, "seeds");
    HONE_TRY(hone__want_array(reader, list, &at, 0, HONE_LIMIT_SEEDS));
    kernel->seed = hone__alloc_array((size_t)cJSON_GetArraySize(list), sizeof *kernel->seed);
    if (kernel->seed == NULL)
        return hone__mistake_nomem(reader);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        hone__where where = hone__where_element(&at, kernel->seed_count);
        HONE_TRY(read_config(reader, item, &where, &kernel->seed[kernel->seed_count]));
        kernel->seed_count++;
    }
    return HONE_OK;
}

static hone_status read_space(const hone__reader *reader, const cJSON *spec) {
    hone_kernel *kernel = reader->kernel;
    const char *names[HONE_SIZES_MAX];
    for (uint32_t i = 0; i < kernel->size_count; i++)
        names[i] = kernel->size[i].name;
    HONE_TRY(hone__space_parse(&kernel->space, spec, kernel->label, names, kernel->size_count, reader->err));
    bool named = cJSON_GetObjectItemCaseSensitive(spec, "default") != NULL;
    hone__where at = hone__where_member(NULL, named ? "default" : "params");
    return check_holds(reader, &at, "default config", &kernel->space->base);
}

/* ---- reference ---- */

static hone_status read_reference(const hone__reader *reader, const cJSON *item) {
    static const char *const members[] = {"source", "entry", "options", "config", "launch"};
    hone_kernel *kernel = reader->kernel;
    if (item == NULL)
        return HONE_OK;
    hone__where at = hone__where_member(NULL, "reference");
    HONE_TRY(hone__want_object(reader, item, &at));
    HONE_TRY(hone__want_members(reader, item, &at, members, 5));
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(item, "config");
    const cJSON *source = cJSON_GetObjectItemCaseSensitive(item, "source");
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(item, "entry");
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(item, "options");
    const cJSON *launch = cJSON_GetObjectItemCaseSensitive(item, "launch");
    kernel->has_reference = true;
    if (config != NULL) {
        if (source != NULL || entry != NULL || options != NULL || launch != NULL)
            return hone__mistake(reader, &at, "give either \"config\", or \"entry\" with \"source\", \"options\" and \"launch\", not both");
        hone__where where = hone__where_member(&at, "config");
        HONE_TRY(read_config(reader, config, &where, &kernel->reference_config));
        return check_holds(reader, &where, "reference config", &kernel->reference_config);
    }
    if (entry == NULL)
        return hone__mistake(reader, &at, "required member \"entry\" is missing (or give \"config\")");
    hone__where where = hone__where_member(&at, "entry");
    HONE_TRY(read_entry(reader, entry, &where, &kernel->reference_entry));
    where = hone__where_member(&at, "options");
    HONE_TRY(hone__read_options(reader, options, &where, false, &kernel->reference_option, &kernel->reference_option_count));
    HONE_TRY(hone__read_launch(reader, launch, &at, false, &kernel->reference_launch));
    if (source == NULL && kernel->source_path == NULL)
        return hone__mistake(reader, &at, "the kernel has no source, so the reference must name one: add \"source\"");
    if (source == NULL)
        return HONE_OK;
    const char *path = NULL;
    where = hone__where_member(&at, "source");
    HONE_TRY(hone__want_text(reader, source, &where, &path));
    return hone__want_file(reader, &where, path, HONE_LIMIT_SOURCE_BYTES, &kernel->reference_text, &kernel->reference_source);
}

/* ---- numbers ---- */

static hone_status read_tolerance(const hone__reader *reader, const cJSON *item) {
    static const char *const members[] = {"rtol", "atol"};
    hone_kernel *kernel = reader->kernel;
    kernel->rtol = 1e-4;
    kernel->atol = 1e-5;
    if (item == NULL)
        return HONE_OK;
    hone__where at = hone__where_member(NULL, "tolerance");
    HONE_TRY(hone__want_object(reader, item, &at));
    HONE_TRY(hone__want_members(reader, item, &at, members, 2));
    const cJSON *rtol = cJSON_GetObjectItemCaseSensitive(item, "rtol");
    const cJSON *atol = cJSON_GetObjectItemCaseSensitive(item, "atol");
    hone__where where = hone__where_member(&at, "rtol");
    if (rtol != NULL)
        HONE_TRY(hone__want_number(reader, rtol, &where, 0, DBL_MAX, &kernel->rtol));
    where = hone__where_member(&at, "atol");
    if (atol != NULL)
        HONE_TRY(hone__want_number(reader, atol, &where, 0, DBL_MAX, &kernel->atol));
    return HONE_OK;
}

static hone_status read_limits(const hone__reader *reader, const cJSON *item) {
    static const char *const members[] = {"compile_s", "run_s", "memory_bytes", "output_bytes"};
    hone_kernel *kernel = reader->kernel;
    kernel->compile_s = 30;
    kernel->run_s = 10;
    int64_t bytes[2] = {4LL << 30, 1LL << 20};
    double *const seconds[2] = {&kernel->compile_s, &kernel->run_s};
    hone__where at = hone__where_member(NULL, "limits");
    if (item != NULL) {
        HONE_TRY(hone__want_object(reader, item, &at));
        HONE_TRY(hone__want_members(reader, item, &at, members, 4));
    }
    for (uint32_t i = 0; i < 4 && item != NULL; i++) {
        const cJSON *member = cJSON_GetObjectItemCaseSensitive(item, members[i]);
        hone__where where = hone__where_member(&at, members[i]);
        if (member == NULL)
            continue;
        if (i < 2)
            HONE_TRY(hone__want_number(reader, member, &where, 0.001, 86400, seconds[i]));
        else
            HONE_TRY(hone__want_integer(reader, member, &where, 1024, HONE_LIMIT_JSON_INT, &bytes[i - 2]));
    }
    kernel->memory_bytes = (uint64_t)bytes[0];
    kernel->output_bytes = (uint64_t)bytes[1];
    return HONE_OK;
}

/* An expression over sizes that must be computable and not negative at the default sizes. */
static hone_status read_work(const hone__reader *reader, const cJSON *spec, const char *name, hone__expr **out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(spec, name);
    if (item == NULL)
        return HONE_OK;
    hone__where at = hone__where_member(NULL, name);
    HONE_TRY(hone__want_expr(reader, item, &at, false, out));
    int64_t sizes[HONE_SIZES_MAX] = {0};
    for (uint32_t i = 0; i < reader->kernel->size_count; i++)
        sizes[i] = reader->kernel->size[i].value;
    int64_t result = 0;
    const char *why = NULL;
    if (!hone__expr_eval(*out, sizes, &result, &why))
        return hone__mistake(reader, &at, "cannot be evaluated at the default sizes: %s", why != NULL ? why : "error");
    if (result < 0)
        return hone__mistake(reader, &at, "is %lld at the default sizes; work is not negative", (long long)result);
    return HONE_OK;
}

/* ---- evaluator ---- */

static hone_status read_evaluator(const hone__reader *reader, const cJSON *list) {
    hone_kernel *kernel = reader->kernel;
    if (list == NULL) {
        if (kernel->language != HONE_LANGUAGE_EXTERNAL)
            return HONE_OK;
        return hone__mistake(reader, NULL, "required member \"evaluator\" is missing (language external needs its command line)");
    }
    hone__where at = hone__where_member(NULL, "evaluator");
    HONE_TRY(hone__want_array(reader, list, &at, 1, WORDS_MAX));
    kernel->evaluator = hone__alloc_array((size_t)cJSON_GetArraySize(list) + 1, sizeof *kernel->evaluator);
    if (kernel->evaluator == NULL)
        return hone__mistake_nomem(reader);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        hone__where where = hone__where_element(&at, kernel->evaluator_count);
        if (!cJSON_IsString(item) || (kernel->evaluator_count == 0 && item->valuestring[0] == '\0'))
            return hone__mistake(reader, &where, "must be a word of the command line (a string), not %s", hone__type_name(item));
        if (strlen(item->valuestring) > WORD_BYTES_MAX)
            return hone__mistake(reader, &where, "is longer than %u bytes", WORD_BYTES_MAX);
        bool relative = strncmp(item->valuestring, "./", 2) == 0 || strncmp(item->valuestring, "../", 3) == 0;
        char *word = hone__path_join(relative ? reader->base_dir : NULL, item->valuestring);
        if (word == NULL)
            return hone__mistake_nomem(reader);
        kernel->evaluator[kernel->evaluator_count++] = word;
    }
    return HONE_OK;
}

static const char *const precisions[] = {"fp32", "tf32", "fp16", "bf16"};

const char *hone__precision_name(hone__precision precision) {
    return precisions[precision];
}

static hone_status read_precision(const hone__reader *reader, const cJSON *item) {
    hone__where at = hone__where_member(NULL, "precision");
    uint32_t choice = HONE_PRECISION_FP32;
    if (item != NULL)
        HONE_TRY(hone__want_choice(reader, item, &at, precisions, 4, &choice));
    reader->kernel->precision = (hone__precision)choice;
    return HONE_OK;
}

/* ---- the whole ---- */

/* What can only be said when everything is read: arguments, options and launch at the default sizes and config. */
static hone_status check_defaults(const hone__reader *reader) {
    hone_kernel *kernel = reader->kernel;
    int64_t sizes[HONE_SIZES_MAX] = {0};
    int64_t values[HONE_SIZES_MAX + HONE_LIMIT_SLOTS] = {0};
    for (uint32_t i = 0; i < kernel->size_count; i++)
        sizes[i] = kernel->size[i].value;
    hone__space_values(kernel->space, sizes, &kernel->space->base, values);
    hone_error inner = {0};
    uint64_t bytes = 0;
    hone_status status = hone__kernel_buffers(kernel, sizes, &bytes, &inner);
    hone__where at = hone__where_member(NULL, "args");
    for (uint32_t i = 0; i < kernel->arg_count && status == HONE_E_EXPR; i++) {
        if (hone__arg_bytes(&kernel->arg[i], sizes, &bytes, NULL) == HONE_OK)
            continue;
        at = hone__where_element(&at, i); /* the first one that cannot be evaluated is the one that the message is about */
        break;
    }
    if (status == HONE_OK) {
        hone__geometry geometry;
        status = hone__launch_geometry(&kernel->launch, values, &geometry, &inner);
        at = hone__where_member(NULL, "launch");
        if (status == HONE_OK) {
            status = hone__launch_geometry(&kernel->reference_launch, sizes, &geometry, &inner);
            at = hone__where_member(NULL, "reference");
        }
    }
    return status == HONE_OK ? HONE_OK : hone__mistake(reader, &at, "%.300s (default sizes)", inner.message);
}

static hone_status read_spec(const hone__reader *reader, const cJSON *spec) {
    static const char *const members[] = {"hone",      "name",   "description", "language",  "source",    "dependencies", "entry",
                                          "options",   "sizes",  "args",        "params",    "constraints", "launch",     "default",
                                          "seeds",     "reference", "tolerance", "flops",    "bytes",     "limits",       "evaluator",
                                          "precision", "$schema"};
    hone_kernel *kernel = reader->kernel;
    HONE_TRY(hone__want_object(reader, spec, NULL));
    HONE_TRY(hone__want_members(reader, spec, NULL, members, sizeof members / sizeof members[0]));
    HONE_TRY(read_names(reader, spec));
    HONE_TRY(read_source(reader, spec));
    HONE_TRY(read_dependencies(reader, cJSON_GetObjectItemCaseSensitive(spec, "dependencies")));
    HONE_TRY(hone__read_sizes(reader, cJSON_GetObjectItemCaseSensitive(spec, "sizes")));
    HONE_TRY(read_space(reader, spec));
    HONE_TRY(hone__check_macros(reader));
    hone__where at = hone__where_member(NULL, "options");
    HONE_TRY(hone__read_options(reader, cJSON_GetObjectItemCaseSensitive(spec, "options"), &at, true, &kernel->option,
                                &kernel->option_count));
    HONE_TRY(hone__read_args(reader, cJSON_GetObjectItemCaseSensitive(spec, "args")));
    HONE_TRY(hone__read_launch(reader, cJSON_GetObjectItemCaseSensitive(spec, "launch"), NULL, true, &kernel->launch));
    HONE_TRY(read_seeds(reader, cJSON_GetObjectItemCaseSensitive(spec, "seeds")));
    HONE_TRY(read_reference(reader, cJSON_GetObjectItemCaseSensitive(spec, "reference")));
    HONE_TRY(read_tolerance(reader, cJSON_GetObjectItemCaseSensitive(spec, "tolerance")));
    HONE_TRY(read_limits(reader, cJSON_GetObjectItemCaseSensitive(spec, "limits")));
    HONE_TRY(read_work(reader, spec, "flops", &kernel->flops));
    HONE_TRY(read_work(reader, spec, "bytes", &kernel->bytes));
    HONE_TRY(read_precision(reader, cJSON_GetObjectItemCaseSensitive(spec, "precision")));
    HONE_TRY(read_evaluator(reader, cJSON_GetObjectItemCaseSensitive(spec, "evaluator")));
    return check_defaults(reader);
}

/* Absolute, because evaluators run in other folders than we do. */
static char *absolute(const char *base_dir) {
    const char *wanted = base_dir != NULL && base_dir[0] != '\0' ? base_dir : ".";
    char *resolved = realpath(wanted, NULL);
    char *folder = hone__strdup(resolved != NULL ? resolved : wanted);
    free(resolved); /* the C library's memory, not ours */
    return folder;
}

hone_status hone__kernel_read(hone_kernel **out, const char *json, size_t json_bytes, const char *base_dir, const char *label,
                              hone_error *err) {
    *out = NULL;
    if (label == NULL)
        label = "(spec)";
    if (json_bytes > HONE_LIMIT_SPEC_BYTES)
        return hone__fail(err, HONE_E_LIMIT, "spec", "%s: has %zu bytes; a spec has at most %u", label, json_bytes,
                          HONE_LIMIT_SPEC_BYTES);
    size_t bad = hone__utf8_span(json, json_bytes);
    if (bad < json_bytes)
        return hone__fail(err, HONE_E_JSON, "spec", "%s: not UTF-8 at byte %zu; convert it (iconv -t UTF-8)", label, bad);
    size_t nul = hone__json_nul_value(json, json_bytes);
    if (nul < json_bytes)
        return hone__fail(err, HONE_E_JSON, "spec", "%s: the string at byte %zu holds \\u0000, which no text of a spec may", label, nul);
    hone_kernel *kernel = hone__alloc(sizeof *kernel);
    hone__reader reader = {.label = label, .err = err, .kernel = kernel};
    if (kernel == NULL)
        return hone__mistake_nomem(&reader);
    kernel->label = hone__strdup(label);
    kernel->base_dir = absolute(base_dir);
    reader.base_dir = kernel->base_dir;
    hone_status status = HONE_OK;
    if (kernel->label == NULL || kernel->base_dir == NULL)
        status = hone__mistake_nomem(&reader);
    if (status == HONE_OK)
        status = hone__json_parse(&kernel->spec, json, json_bytes, label, err);
    if (status == HONE_OK)
        status = read_spec(&reader, kernel->spec);
    if (status != HONE_OK) {
        hone_kernel_free(kernel);
        return status;
    }
    *out = kernel;
    return HONE_OK;
}
