/* test_kernel.c: the kernel spec reader: every class of mistake is refused with file, pointer and way out; good specs resolve to
 * the messages that evaluators get. */
#include "alloc.h"
#include "file.h"
#include "holds.h"
#include "kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static const char base_spec[] =
    "{\"hone\":1,\"name\":\"gemm\",\"language\":\"c\",\"source\":\"k.c\",\"entry\":\"gemm\",\"dependencies\":[\"dep.h\"],"
    "\"options\":[\"-O3\",\"-DM=${M}\",\"-DT=${BM / 2}\",\"-f${MODE}\",\"-Wl,$$x\"],"
    "\"sizes\":{\"M\":{\"default\":64,\"min\":1,\"max\":4096},\"N\":32,"
    "\"B\":{\"default\":5,\"role\":\"bucket\",\"buckets\":[4,8,16]}},"
    "\"args\":[{\"name\":\"a\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[\"M\",\"N + 1\"],\"fill\":{\"normal\":[0,2]}},"
    "{\"name\":\"c\",\"kind\":\"buffer\",\"dtype\":\"i32\",\"shape\":[\"M\"],\"access\":\"inout\",\"align\":128},"
    "{\"name\":\"m\",\"kind\":\"scalar\",\"dtype\":\"i64\",\"value\":\"M * 2\"},"
    "{\"name\":\"x\",\"kind\":\"scalar\",\"dtype\":\"f32\",\"value\":1.5}],"
    "\"params\":{\"BM\":{\"kind\":\"range\",\"min\":16,\"max\":64,\"step\":16},\"MR\":{\"kind\":\"pow2\",\"min\":1,\"max\":8},"
    "\"MODE\":{\"kind\":\"enum\",\"values\":[\"fast\",\"safe\"]},\"L\":{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"bool\"}},"
    "\"ALPHA\":{\"kind\":\"enum\",\"values\":[0.5,1.5]}},"
    "\"constraints\":[\"BM % MR == 0\",{\"expr\":\"BM <= M\",\"why\":\"the tile must fit\"}],"
    "\"default\":{\"BM\":32,\"MR\":4},\"seeds\":[{\"BM\":48}],"
    "\"reference\":{\"source\":\"ref.c\",\"entry\":\"gemm_ref\",\"options\":[\"-DN=${N}\"]},"
    "\"tolerance\":{\"rtol\":0.001,\"atol\":0},\"flops\":\"2 * M * N\",\"bytes\":\"4 * M * N\","
    "\"limits\":{\"compile_s\":5,\"run_s\":2,\"memory_bytes\":1048576,\"output_bytes\":4096},\"x-own\":7,\"$schema\":\"s\"}";

static void put_file(const char *name, const char *text, size_t bytes) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(hone__file_write(path, text, bytes, 0600, NULL), HONE_OK);
}

static int setup(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hone-test-kernel-XXXXXX");
    assert_non_null(mkdtemp(folder));
    put_file("k.c", "void gemm(void) {}\n", 19);
    put_file("ref.c", "void gemm_ref(void) {}\n", 23);
    put_file("dep.h", "#define X 1\n", 12);
    put_file("nul.c", "a\0b", 3);
    put_file("latin.c", "/* \xe9 */", 7);
    return 0;
}

static int teardown(void **state) {
    static const char *const names[] = {"k.c", "ref.c", "dep.h", "nul.c", "latin.c", "big.c"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    return 0;
}

static hone_status read_text(hone_kernel **out, const char *text, hone_error *err) {
    return hone__kernel_read(out, text, strlen(text), folder, "kernels/gemm.json", err);
}

/* Replace (or with NULL remove) what `path` names. */
static char *changed(const char *path, const char *value) {
    cJSON *spec = cJSON_Parse(base_spec);
    assert_non_null(spec);
    cJSON *parent = spec;
    char name[64];
    for (;;) {
        path++;
        size_t length = strcspn(path, "/");
        assert_true(length < sizeof name);
        memcpy(name, path, length);
        name[length] = '\0';
        path += length;
        if (*path == '\0')
            break;
        parent = cJSON_IsArray(parent) ? cJSON_GetArrayItem(parent, atoi(name)) : cJSON_GetObjectItemCaseSensitive(parent, name);
        assert_non_null(parent);
    }
    cJSON *item = value != NULL ? cJSON_Parse(value) : NULL;
    assert_true(value == NULL || item != NULL);
    if (cJSON_IsArray(parent)) {
        if (atoi(name) < cJSON_GetArraySize(parent))
            assert_true(cJSON_ReplaceItemInArray(parent, atoi(name), item));
        else
            assert_true(cJSON_AddItemToArray(parent, item));
    } else {
        cJSON_DeleteItemFromObjectCaseSensitive(parent, name);
        if (item != NULL)
            assert_true(cJSON_AddItemToObject(parent, name, item));
    }
    char *text = cJSON_PrintUnformatted(spec);
    cJSON_Delete(spec);
    return text;
}

typedef struct mistake {
    const char *path;
    const char *value;   /* NULL: removed */
    const char *pointer; /* in the message */
    const char *words;   /* in the message */
} mistake;

static const mistake mistakes[] = {
    {"/souce", "1", "/souce", "did you mean \"source\""},
    {"/qwertyuiop", "1", "/qwertyuiop", "known here: hone, name"},
    {"/hone", NULL, "(top level)", "\"hone\" is missing"},
    {"/hone", "2", "/hone", "reads version 1"},
    {"/hone", "\"1\"", "/hone", "not a string"},
    {"/name", NULL, "(top level)", "\"name\" is missing"},
    {"/name", "\"9a\"", "/name", "must be a letter"},
    {"/name", "\"\"", "/name", "must not be empty"},
    {"/name", "\"a b\"", "/name", "must be a letter"},
    {"/name", "\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg\"", "/name", "63"},
    {"/description", "4", "/description", "must be a string"},
    {"/language", "\"fortran\"", "/language", "not one of c, cuda, external"},
    {"/language", NULL, "(top level)", "\"language\" is missing"},
    {"/source", NULL, "(top level)", "\"source\" is missing"},
    {"/source", "\"none.c\"", "/source", "none.c: No such file or directory; paths are relative"},
    {"/source", "\".\"", "/source", "not a regular file"},
    {"/source", "\"nul.c\"", "/source", "NUL byte at offset 1"},
    {"/source", "\"latin.c\"", "/source", "not UTF-8 at offset 3"},
    {"/source", "7", "/source", "must be a string"},
    {"/entry", NULL, "(top level)", "\"entry\" is missing"},
    {"/entry", "\"a-b\"", "/entry", "not a C identifier"},
    {"/entry", "\"int\"", "/entry", "a word of the language"},
    {"/dependencies/0", "\"no.h\"", "/dependencies/0", "no.h"},
    {"/dependencies", "{}", "/dependencies", "must be an array"},
    {"/options/1", "\"-DM=${K}\"", "/options/1", "K"},
    {"/options/1", "\"-DM=$M\"", "/options/1", "$$ (a dollar sign)"},
    {"/options/1", "\"-DM=${M\"", "/options/1", "$$"},
    {"/options/1", "\"\"", "/options/1", "must not be empty"},
    {"/options/1", "3", "/options/1", "must be a string"},
    {"/sizes", "[]", "/sizes", "must be an object"},
    {"/sizes/M/default", NULL, "/sizes/M", "\"default\" is missing"},
    {"/sizes/M/default", "5000", "/sizes/M/default", "5000 is outside 1..4096"},
    {"/sizes/M/default", "1.5", "/sizes/M/default", "whole number"},
    {"/sizes/M/max", "0", "/sizes/M/max", "max 0 is below min 1"},
    {"/sizes/M/max", "1e300", "/sizes/M/max", "2^53"},
    {"/sizes/M/roll", "1", "/sizes/M/roll", "\"role\""},
    {"/sizes/M/role", "\"exakt\"", "/sizes/M/role", "not one of exact, bucket, ignore"},
    {"/sizes/M/near", "\"far\"", "/sizes/M/near", "snap, divides, fixed"},
    {"/sizes/M/buckets", "[1]", "/sizes/M/buckets", "\"role\": \"bucket\""},
    {"/sizes/B/buckets", "[8,4]", "/sizes/B/buckets/1", "ascending"},
    {"/sizes/B/buckets", "[8,8]", "/sizes/B/buckets/1", "ascending"},
    {"/sizes/B/buckets", "\"pow3\"", "/sizes/B/buckets", "pow2"},
    {"/sizes/B/buckets", "[]", "/sizes/B/buckets", "at least 1"},
    {"/sizes/N", "0", "/sizes/N", "state \"min\""},
    {"/sizes/N", "\"32\"", "/sizes/N", "not a string"},
    {"/sizes/max", "1", "/sizes/max", "word of the expression language"},
    {"/sizes/a-b", "1", "/sizes/a-b", "letters, digits and _"},
    {"/sizes/a~1b", "1", "/sizes/a~01b", "letters"},
    {"/sizes/BM", "1", "/params/BM", "size"},
    {"/args", NULL, "(top level)", "\"args\" is missing"},
    {"/args", "[]", "/args", "computes nothing"},
    {"/args/0", "3", "/args/0", "must be an object"},
    {"/args/0/name", NULL, "/args/0", "\"name\" is missing"},
    {"/args/0/name", "\"1a\"", "/args/0/name", "C identifier"},
    {"/args/1/name", "\"a\"", "/args/1/name", "named \"a\" already"},
    {"/args/0/kind", "\"tensor\"", "/args/0/kind", "buffer, scalar"},
    {"/args/0/dtype", "\"float\"", "/args/0/dtype", "f64, f32, f16, bf16"},
    {"/args/0/shape", NULL, "/args/0", "\"shape\" is missing"},
    {"/args/0/shape", "[]", "/args/0/shape", "at least 1"},
    {"/args/0/shape/0", "\"M +\"", "/args/0/shape/0", "byte"},
    {"/args/0/shape/0", "\"BM\"", "/args/0/shape/0", "over sizes only"},
    {"/args/0/shape/0", "\"M - 64\"", "/args/0", "a dimension is at least 1"},
    {"/args/0/shape/0", "\"1 / (M - 64)\"", "/args/0", "shape[0]"},
    {"/args/0/shape/0", "\"M * 100000\"", "/args", "1048576 bytes of limits.memory_bytes"},
    {"/args/0/shape", "[\"M\",2147483648,2147483648,2147483648]", "/args", "limits.memory_bytes"},
    {"/args/0/shape/0", "true", "/args/0/shape/0", "must be an expression"},
    {"/args/0/acces", "\"in\"", "/args/0/acces", "\"access\""},
    {"/args/0/access", "\"write\"", "/args/0/access", "in, out, inout"},
    {"/args/0/align", "48", "/args/0/align", "power of two"},
    {"/args/0/align", "8192", "/args/0/align", "1..4096"},
    {"/args/0/fill", "{}", "/args/0/fill", "uniform, normal, constant, iota"},
    {"/args/0/fill", "{\"uniform\":[0,1],\"constant\":1}", "/args/0/fill", "not several"},
    {"/args/0/fill", "{\"uniform\":[2,1]}", "/args/0/fill/uniform", "low 2 is above high 1"},
    {"/args/0/fill", "{\"uniform\":[1]}", "/args/0/fill/uniform", "two numbers"},
    {"/args/0/fill", "{\"normal\":[0,-1]}", "/args/0/fill/normal/1", "negative"},
    {"/args/0/fill", "{\"constant\":1e39}", "/args/0/fill/constant", "does not fit dtype f32"},
    {"/args/1/fill", "{\"normal\":[0,1]}", "/args/1/fill/normal", "floating-point"},
    {"/args/1/fill", "{\"uniform\":[0,0.5]}", "/args/1/fill/uniform/1", "whole number"},
    {"/args/1/fill", "{\"constant\":3000000000}", "/args/1/fill/constant", "i32"},
    {"/args/2/value", NULL, "/args/2", "\"value\" is missing"},
    {"/args/2/value", "\"Q\"", "/args/2/value", "Q"},
    {"/args/2/value", "1.5", "/args/2/value", "whole number"},
    {"/args/2/value", "\"1 << 60\"", "/args/2", "does not fit dtype i64"},
    {"/args/2/shape", "[1]", "/args/2/shape", "unknown member"},
    {"/args/0/shape", "\"M\"", "/args/0/shape", "must be an array, not a string; write [\"M\"]"},
    {"/args/0/shape", "4", "/args/0/shape", "must be an array, not a number; write [...]"},
    {"/params", NULL, "/params", "params"},
    {"/params/BM/stepp", "1", "/params/BM/stepp", "step"},
    {"/params/gemm", "{\"kind\":\"bool\"}", "/params/gemm", "entry's name"},
    {"/params/int", "{\"kind\":\"bool\"}", "/params/int", "word of the language"},
    {"/params/L_1", "{\"kind\":\"bool\"}", "/params/L_1", "two parameters give the macro L_1"},
    {"/params/L_LEN", "{\"kind\":\"bool\"}", "/params/L_LEN", "L_LEN"},
    {"/constraints/0", "\"BM % KR == 0\"", "/constraints/0", "KR"},
    {"/default/BN", "1", "/default/BN", "no such parameter"},
    {"/default/MR", "3", "/default/MR", "3"},
    {"/constraints/0", "\"BM == 48\"", "/default", "BM == 48 does not hold: BM=32"},
    {"/sizes/M/default", "16", "/default", "BM <= M does not hold: M=16, BM=32 (the tile must fit)"},
    {"/seeds", "{}", "/seeds", "must be an array"},
    {"/seeds/0", "{\"BN\":1}", "/seeds/0/BN", "no such parameter; did you mean BM?"},
    {"/seeds/0", "{\"BM\":17}", "/seeds/0/BM", "17"},
    {"/seeds/0", "5", "/seeds/0", "must be an object"},
    {"/launch", "{\"grid\":[1],\"block\":[1]}", "/launch", "language c"},
    {"/reference", "[]", "/reference", "must be an object"},
    {"/reference/source", "\"no.c\"", "/reference/source", "no.c"},
    {"/reference/entry", NULL, "/reference", "\"entry\" is missing"},
    {"/reference/entry", "\"a b\"", "/reference/entry", "C identifier"},
    {"/reference/config", "{}", "/reference", "not both"},
    {"/reference/options", "[\"-D${BM}\"]", "/reference/options/0", "over sizes only"},
    {"/reference", "{\"config\":{\"Z\":1}}", "/reference/config", "Z"},
    {"/reference", "{\"config\":{\"BM\":48,\"MR\":8,\"Z\":1}}", "/reference/config", "Z"},
    {"/tolerance/rtol", "-1", "/tolerance/rtol", "-1 is below 0"},
    {"/tolerance/atol", "\"0\"", "/tolerance/atol", "must be a number"},
    {"/tolerance/tol", "1", "/tolerance/tol", "rtol"},
    {"/flops", "\"2 * K\"", "/flops", "K"},
    {"/flops", "\"0 - M\"", "/flops", "not negative"},
    {"/bytes", "\"M / (N - 32)\"", "/bytes", "default sizes"},
    {"/limits/compile_s", "0", "/limits/compile_s", "below"},
    {"/limits/memory_bytes", "1.5", "/limits/memory_bytes", "whole number"},
    {"/limits/cpu", "1", "/limits/cpu", "unknown member"},
    {"/evaluator", "[]", "/evaluator", "at least 1"},
    {"/evaluator", "[\"\"]", "/evaluator/0", "must be a word"},
    {"/evaluator", "[\"a\",1]", "/evaluator/1", "must be a word"},
};

static void test_kernel__refuses_each_mistake(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        const mistake *m = &mistakes[i];
        char *text = changed(m->path, m->value);
        hone_kernel *kernel = (hone_kernel *)&folder; /* must become NULL */
        hone_error err = {0};
        hone_status status = read_text(&kernel, text, &err);
        char pointer[96];
        (void)snprintf(pointer, sizeof pointer, "kernels/gemm.json: %s", m->pointer);
        if (status != HONE_E_SPEC || strstr(err.message, pointer) == NULL || strstr(err.message, m->words) == NULL)
            fail_msg("%s = %s: %s: %s", m->path, m->value != NULL ? m->value : "(removed)", hone_status_name(status), err.message);
        assert_null(kernel);
        cJSON_free(text);
    }
}

static void test_kernel__language_rules(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *pointer, *words;
    } cases[] = {
        {"\"language\":\"c\"", "\"language\":\"cuda\"", "(top level)", "\"launch\" is missing"},
        {"\"language\":\"c\"", "\"language\":\"cuda\",\"launch\":{\"block\":[1]}", "/launch", "\"grid\" is missing"},
        {"\"language\":\"c\"", "\"language\":\"cuda\",\"launch\":{\"grid\":[1,1,1,1],\"block\":[1]}", "/launch/grid", "at most 3"},
        {"\"language\":\"c\"", "\"language\":\"cuda\",\"launch\":{\"grid\":[\"ceil_div(M, Q)\"],\"block\":[1]}", "/launch/grid/0", "Q"},
        {"\"language\":\"c\"", "\"language\":\"cuda\",\"launch\":{\"grid\":[1],\"block\":[1]}", "/reference", "\"launch\" is missing"},
        {"\"language\":\"c\"", "\"language\":\"c\",\"precision\":\"fp8\"", "/precision", "fp32, tf32, fp16, bf16"},
        {"\"language\":\"c\"", "\"language\":\"external\"", "(top level)", "\"evaluator\" is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[8192];
        const char *at = strstr(base_spec, cases[i].from);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - base_spec), base_spec, cases[i].to, at + strlen(cases[i].from));
        hone_kernel *kernel = NULL;
        hone_error err = {0};
        assert_int_equal(read_text(&kernel, text, &err), HONE_E_SPEC);
        if (strstr(err.message, cases[i].pointer) == NULL || strstr(err.message, cases[i].words) == NULL)
            fail_msg("case %zu: %s", i, err.message);
    }
}

static void test_kernel__refuses_what_is_not_json(void **state) {
    (void)state;
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    assert_int_equal(read_text(&kernel, "{\"hone\":1,", &err), HONE_E_JSON);
    assert_non_null(strstr(err.message, "kernels/gemm.json"));
    assert_int_equal(read_text(&kernel, "{\"hone\":1,\"hone\":1}", &err), HONE_E_JSON);
    assert_non_null(strstr(err.message, "twice"));
    assert_int_equal(read_text(&kernel, "{\"name\":\"\xff\"}", &err), HONE_E_JSON);
    assert_non_null(strstr(err.message, "UTF-8 at byte 9"));
    /* cJSON ends a text at \u0000, so half a constraint would count. */
    assert_int_equal(read_text(&kernel, "{\"constraints\":[\"BM > 1\\u0000 && BM < 9\"]}", &err), HONE_E_JSON);
    assert_non_null(strstr(err.message, "u0000"));
    assert_int_equal(read_text(&kernel, "[]", &err), HONE_E_SPEC);
    assert_int_equal(read_text(&kernel, "", &err), HONE_E_JSON);
    char *big = hone__alloc((1u << 20) + 2);
    memset(big, ' ', (1u << 20) + 1);
    assert_int_equal(read_text(&kernel, big, &err), HONE_E_LIMIT);
    hone__free(big);
}

/* 80,000 members: the quadratic look for duplicates took a minute. */
static void test_kernel__wide_objects(void **state) {
    (void)state;
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_SPEC_BYTES);
    hone__buf_text(&text, "{\"x-wide\":{");
    for (uint32_t i = 0; i < 80000; i++)
        hone__buf_printf(&text, "\"k%u\":1,", i);
    size_t length = text.length;
    for (int twice = 0; twice < 2; twice++) {
        text.length = length;
        hone__buf_text(&text, twice ? "\"k777\":1}}" : "\"last\":1}}");
        hone_kernel *kernel = NULL;
        hone_error err = {0};
        assert_int_equal(read_text(&kernel, text.data, &err), twice ? HONE_E_JSON : HONE_E_SPEC);
        assert_non_null(strstr(err.message, twice ? "\"k777\" is given twice" : "\"hone\" is missing"));
    }
    hone__buf_free(&text);
}

static void test_kernel__source_limit(void **state) {
    (void)state;
    char *big = hone__alloc(HONE_LIMIT_SOURCE_BYTES + 1);
    memset(big, '\n', HONE_LIMIT_SOURCE_BYTES + 1);
    char *text = changed("/source", "\"big.c\"");
    for (int over = -1; over <= 1; over++) {
        put_file("big.c", big, (size_t)((int)HONE_LIMIT_SOURCE_BYTES + over));
        hone_kernel *kernel = NULL;
        hone_error err = {0};
        hone_status status = read_text(&kernel, text, &err);
        assert_int_equal(status, over > 0 ? HONE_E_SPEC : HONE_OK);
        if (over > 0) {
            assert_non_null(strstr(err.message, "/source: "));
            assert_non_null(strstr(err.message, "1048576"));
        }
        hone_kernel_free(kernel);
    }
    cJSON_free(text);
    hone__free(big);
}

static hone_kernel *good(const char *text) {
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    if (read_text(&kernel, text, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return kernel;
}

static void test_kernel__reads_everything(void **state) {
    (void)state;
    hone_kernel *kernel = good(base_spec);
    assert_string_equal(hone_kernel_name(kernel), "gemm");
    assert_string_equal(hone_kernel_language(kernel), "c");
    assert_int_equal(hone_kernel_size_count(kernel), 3);
    assert_string_equal(hone_kernel_size_name(kernel, 1), "N");
    assert_null(hone_kernel_size_name(kernel, 3));
    assert_int_equal(hone_kernel_param_count(kernel), 5);
    assert_string_equal(hone_kernel_param_name(kernel, 4), "ALPHA");
    assert_int_equal(hone_kernel_param_index(kernel, "MODE"), 2);
    assert_true(hone_kernel_param_index(kernel, "mode") == UINT32_MAX);
    assert_string_equal(kernel->source.text, "void gemm(void) {}\n");
    assert_string_equal(kernel->reference_text, "void gemm_ref(void) {}\n");
    assert_int_equal(kernel->dependency_count, 1);
    assert_int_equal(kernel->arg[0].fill, HONE_FILL_NORMAL);
    assert_int_equal(kernel->arg[1].align, 128);
    assert_int_equal(kernel->seed_count, 1);
    assert_true(kernel->compile_s > 4.9 && kernel->compile_s < 5.1);
    assert_int_equal(kernel->memory_bytes, 1048576);
    double flops = 0, bytes = 0;
    int64_t sizes[] = {64, 32, 5};
    hone__kernel_work(kernel, sizes, &flops, &bytes);
    assert_true(flops > 4095.5 && flops < 4096.5);
    hone_kernel_free(kernel);
}

static void test_kernel__problem(void **state) {
    (void)state;
    hone_kernel *kernel = good(base_spec);
    hone_problem problem;
    hone_error err = {0};
    hone_problem_init(kernel, &problem);
    assert_int_equal(problem.count, 3);
    assert_int_equal(problem.size[0], 64);
    assert_int_equal(hone_problem_set(kernel, &problem, "M", 4096, &err), HONE_OK);
    assert_int_equal(problem.size[0], 4096);
    assert_int_equal(hone_problem_set(kernel, &problem, "M", 4097, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "4097 is outside 1..4096"));
    assert_int_equal(hone_problem_set(kernel, &problem, "K", 1, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "M, N, B"));
    assert_int_equal(problem.size[0], 4096);
    hone_kernel_free(kernel);
}

static void test_kernel__size_roles(void **state) {
    (void)state;
    int64_t list[] = {4, 8, 16};
    hone__size bucket = {.role = HONE_ROLE_BUCKET, .buckets = list, .bucket_count = 3};
    static const int64_t pairs[][2] = {{-1, 4}, {4, 4}, {5, 8}, {16, 16}, {17, 17}};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(hone__size_key_value(&bucket, pairs[i][0]), pairs[i][1]);
    hone__size pow2 = {.role = HONE_ROLE_BUCKET};
    static const int64_t powers[][2] = {{-3, 1}, {0, 1}, {1, 1}, {2, 2}, {3, 4}, {1025, 2048}, {9007199254740992, 9007199254740992}};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(hone__size_key_value(&pow2, powers[i][0]), powers[i][1]);
    assert_int_equal(hone__size_key_value(&(hone__size){.role = HONE_ROLE_EXACT}, 77), 77);
    assert_int_equal(hone__size_key_value(&(hone__size){.role = HONE_ROLE_IGNORE}, 77), 0);
}

static char *item_text(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    assert_non_null(item);
    return hone__json_text(item);
}

static void assert_item(const cJSON *object, const char *name, const char *expected) {
    char *text = item_text(object, name);
    assert_string_equal(text, expected);
    hone__free(text);
}

static void test_kernel__prepare_body(void **state) {
    (void)state;
    hone_kernel *kernel = good(base_spec);
    int64_t sizes[] = {128, 32, 5};
    cJSON *body = NULL;
    hone_error err = {0};
    assert_int_equal(hone__kernel_prepare_json(kernel, sizes, 42, &body, &err), HONE_OK);
    assert_item(body, "sizes", "{\"M\":128,\"N\":32,\"B\":5}");
    assert_item(body, "args",
                "[{\"name\":\"a\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[128,33],\"access\":\"in\","
                "\"fill\":{\"kind\":\"normal\",\"a\":0,\"b\":2},\"align\":64},"
                "{\"name\":\"c\",\"kind\":\"buffer\",\"dtype\":\"i32\",\"shape\":[128],\"access\":\"inout\","
                "\"fill\":{\"kind\":\"uniform\",\"a\":0,\"b\":100},\"align\":128},"
                "{\"name\":\"m\",\"kind\":\"scalar\",\"dtype\":\"i64\",\"value\":256},"
                "{\"name\":\"x\",\"kind\":\"scalar\",\"dtype\":\"f32\",\"value\":1.5}]");
    assert_item(body, "tolerance", "{\"rtol\":0.001,\"atol\":0}");
    assert_item(body, "limits", "{\"compile_s\":5,\"run_s\":2,\"memory_bytes\":1048576,\"output_bytes\":4096}");
    assert_item(body, "seed", "42");
    assert_item(body, "flops", "8192");
    assert_item(body, "bytes", "16384");
    const cJSON *part = cJSON_GetObjectItemCaseSensitive(body, "kernel");
    assert_string_equal(hone__json_string(part, "source"), "void gemm(void) {}\n");
    char *real = realpath(folder, NULL);
    assert_string_equal(hone__json_string(part, "include_dir"), real);
    free(real);
    assert_int_equal(hone__json_string(part, "source_path")[0], '/');
    part = cJSON_GetObjectItemCaseSensitive(body, "reference");
    assert_item(part, "options", "[\"-DN=32\"]");
    assert_item(part, "entry", "\"gemm_ref\"");
    assert_string_equal(hone__json_string(part, "source"), "void gemm_ref(void) {}\n");
    cJSON_Delete(body);
    /* Sizes that the buffers' limit does not allow. */
    sizes[0] = 4096 * 4096;
    assert_int_equal(hone__kernel_prepare_json(kernel, sizes, 1, &body, &err), HONE_E_LIMIT);
    assert_null(body);
    hone_kernel_free(kernel);
}

static void test_kernel__compile_body(void **state) {
    (void)state;
    hone_kernel *kernel = good(base_spec);
    int64_t sizes[] = {128, 32, 5};
    cJSON *body = NULL;
    hone_error err = {0};
    hone__config config = kernel->space->base;
    config.slot[2] = 1;
    assert_int_equal(hone__kernel_compile_json(kernel, sizes, &config, &body, &err), HONE_OK);
    char *text = hone__json_text(body);
    assert_string_equal(text, "{\"config\":{\"BM\":32,\"MR\":4,\"MODE\":\"safe\",\"L\":[false,false],\"ALPHA\":0.5},"
                              "\"defines\":[\"BM=32\",\"MR=4\",\"MODE=safe\",\"L_0=0\",\"L_1=0\",\"L_LEN=2\",\"ALPHA=0.5\"],"
                              "\"options\":[\"-O3\",\"-DM=128\",\"-DT=16\",\"-fsafe\",\"-Wl,$x\"],\"launch\":null}");
    hone__free(text);
    cJSON_Delete(body);
    hone_kernel_free(kernel);
}

static void test_kernel__cuda_launch_and_config_reference(void **state) {
    (void)state;
    char *text = changed("/reference", "{\"config\":{\"BM\":16,\"MR\":1}}");
    cJSON *spec = cJSON_Parse(text);
    cJSON_free(text);
    cJSON_ReplaceItemInObjectCaseSensitive(spec, "language", cJSON_CreateString("cuda"));
    cJSON_AddItemToObject(spec, "launch",
                          cJSON_Parse("{\"grid\":[\"ceil_div(M, BM)\",2],\"block\":[\"32 * MR\"],\"shared_bytes\":\"BM * 4\",\"cooperative\":true}"));
    text = cJSON_PrintUnformatted(spec);
    cJSON_Delete(spec);
    hone_kernel *kernel = good(text);
    cJSON_free(text);
    int64_t sizes[] = {100, 32, 5};
    cJSON *body = NULL;
    hone_error err = {0};
    assert_int_equal(hone__kernel_compile_json(kernel, sizes, &kernel->space->base, &body, &err), HONE_OK);
    assert_item(body, "launch", "{\"grid\":[4,2],\"block\":[128],\"cluster\":[],\"shared_bytes\":128,\"cooperative\":true}");
    cJSON_Delete(body);
    assert_int_equal(hone__kernel_prepare_json(kernel, sizes, 1, &body, &err), HONE_OK);
    const cJSON *reference = cJSON_GetObjectItemCaseSensitive(body, "reference");
    const cJSON *compile = cJSON_GetObjectItemCaseSensitive(reference, "compile");
    assert_item(compile, "config", "{\"BM\":16,\"MR\":1,\"MODE\":\"fast\",\"L\":[false,false],\"ALPHA\":0.5}");
    cJSON_Delete(body);
    /* The reference's tile does not fit this problem. */
    sizes[0] = 8;
    assert_int_equal(hone__kernel_prepare_json(kernel, sizes, 1, &body, &err), HONE_E_CONFIG);
    assert_non_null(strstr(err.message, "BM <= M does not hold: M=8, BM=16"));
    hone_kernel_free(kernel);
}

static char *cuda_spec(const char *grid, const char *reference) {
    char *text = changed("/reference", reference);
    cJSON *spec = cJSON_Parse(text);
    cJSON_free(text);
    cJSON_ReplaceItemInObjectCaseSensitive(spec, "language", cJSON_CreateString("cuda"));
    cJSON *launch = cJSON_AddObjectToObject(spec, "launch");
    cJSON_AddItemToObject(launch, "grid", cJSON_Parse(grid));
    cJSON_AddItemToObject(launch, "block", cJSON_Parse("[128]"));
    cJSON_AddStringToObject(spec, "precision", "bf16");
    text = cJSON_PrintUnformatted(spec);
    cJSON_Delete(spec);
    return text;
}

static void test_kernel__cuda_reference_has_a_launch_of_its_own(void **state) {
    (void)state;
    static const char good_reference[] = "{\"entry\":\"plain\",\"launch\":{\"grid\":[\"ceil_div(M, 32)\"],\"block\":[32,4]}}";
    static const struct {
        const char *grid, *reference, *words;
    } bad[] = {
        {"[\"BM - 32\"]", good_reference, "/launch: launch grid[0]"},
        {"[1]", "{\"entry\":\"plain\",\"launch\":{\"grid\":[\"BM\"],\"block\":[1]}}", "/reference/launch/grid/0"},
        {"[1]", "{\"entry\":\"plain\",\"launch\":{\"grid\":[\"M - 100\"],\"block\":[1]}}", "/reference: launch grid[0]"},
        {"[1]", "{\"config\":{},\"launch\":{\"grid\":[1],\"block\":[1]}}", "not both"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hone_error err = {0};
        hone_kernel *kernel = NULL;
        char *text = cuda_spec(bad[i].grid, bad[i].reference);
        assert_int_equal(read_text(&kernel, text, &err), HONE_E_SPEC);
        if (strstr(err.message, bad[i].words) == NULL)
            fail_msg("case %zu: %s", i, err.message);
        cJSON_free(text);
    }
    char *text = cuda_spec("[1]", good_reference);
    hone_kernel *kernel = good(text);
    cJSON_free(text);
    assert_int_equal(kernel->precision, HONE_PRECISION_BF16);
    int64_t sizes[] = {100, 32, 5};
    cJSON *body = NULL;
    hone_error err = {0};
    assert_int_equal(hone__kernel_prepare_json(kernel, sizes, 1, &body, &err), HONE_OK);
    assert_item(cJSON_GetObjectItemCaseSensitive(body, "reference"), "launch",
                "{\"grid\":[4],\"block\":[32,4],\"cluster\":[],\"shared_bytes\":0}");
    cJSON_Delete(body);
    hone_kernel_free(kernel);
}

static void test_kernel__external_is_short(void **state) {
    (void)state;
    hone_kernel *kernel = good("{\"hone\":1,\"name\":\"t\",\"language\":\"external\",\"evaluator\":[\"python3\",\"./eval.py\",\"../x\",\"-v\"],"
                               "\"params\":{\"B\":{\"kind\":\"bool\"}}}");
    char wanted[200];
    char *real = realpath(folder, NULL);
    (void)snprintf(wanted, sizeof wanted, "%s/./eval.py", real);
    free(real);
    assert_int_equal(kernel->evaluator_count, 4);
    assert_null(kernel->evaluator[4]);
    assert_string_equal(kernel->evaluator[0], "python3");
    assert_string_equal(kernel->evaluator[1], wanted);
    assert_string_equal(kernel->evaluator[3], "-v");
    cJSON *body = NULL;
    hone_error err = {0};
    assert_int_equal(hone__kernel_prepare_json(kernel, NULL, 1, &body, &err), HONE_OK);
    assert_item(body, "reference", "null");
    assert_item(body, "args", "[]");
    cJSON_Delete(body);
    hone_kernel_free(kernel);
}

/* Each allocation fails once: no crash, no leak, HONE_E_NOMEM or success. */
static void test_kernel__survives_failed_allocations(void **state) {
    (void)state;
    hone_kernel *kernel = good(base_spec);
    hone_kernel_free(kernel);
    size_t before = hone__alloc_live();
    for (size_t nth = 1; nth < 2000; nth++) {
        hone_error err = {0};
        hone__alloc_fail_at(nth, 0);
        hone_status status = read_text(&kernel, base_spec, &err);
        cJSON *body = NULL;
        int64_t sizes[] = {128, 32, 5};
        if (status == HONE_OK)
            status = hone__kernel_prepare_json(kernel, sizes, 1, &body, &err);
        cJSON_Delete(body);
        body = NULL;
        if (status == HONE_OK)
            status = hone__kernel_compile_json(kernel, sizes, &kernel->space->base, &body, &err);
        bool done = status == HONE_OK;
        hone__alloc_fail_at(0, 0);
        cJSON_Delete(body);
        hone_kernel_free(kernel);
        kernel = NULL;
        assert_int_equal(hone__alloc_live(), before);
        if (!done && status != HONE_E_NOMEM && status != HONE_E_JSON)
            fail_msg("allocation %zu: %s: %s", nth, hone_status_name(status), err.message);
        if (done && nth > 1000)
            break;
    }
}

static void test_kernel__shipped_specs_are_good(void **state) {
    (void)state;
    static const char *const names[] = {"sgemm", "conv2d", "rmsnorm", "stencil3d"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/tests/kernels/%s.json", HONE_SOURCE_DIR, names[i]);
        char *text = NULL;
        size_t bytes = 0;
        hone_error err = {0};
        assert_int_equal(hone__file_read(path, HONE_LIMIT_SPEC_BYTES, &text, &bytes, &err), HONE_OK);
        char *dir = hone__path_dir(path);
        hone_kernel *kernel = NULL;
        if (hone__kernel_read(&kernel, text, bytes, dir, path, &err) != HONE_OK)
            fail_msg("%s", err.message);
        hone_kernel_free(kernel);
        hone__free(dir);
        hone__free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel__refuses_each_mistake),
        cmocka_unit_test(test_kernel__language_rules),
        cmocka_unit_test(test_kernel__refuses_what_is_not_json),
        cmocka_unit_test(test_kernel__wide_objects),
        cmocka_unit_test(test_kernel__source_limit),
        cmocka_unit_test(test_kernel__reads_everything),
        cmocka_unit_test(test_kernel__problem),
        cmocka_unit_test(test_kernel__size_roles),
        cmocka_unit_test(test_kernel__prepare_body),
        cmocka_unit_test(test_kernel__compile_body),
        cmocka_unit_test(test_kernel__cuda_launch_and_config_reference),
        cmocka_unit_test(test_kernel__cuda_reference_has_a_launch_of_its_own),
        cmocka_unit_test(test_kernel__external_is_short),
        cmocka_unit_test(test_kernel__survives_failed_allocations),
        cmocka_unit_test(test_kernel__shipped_specs_are_good),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
