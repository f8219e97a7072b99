/* test_layer.c: packs under a cache: which layer answers and what the others said, near answers out of packs, configs outside the caller's space,
 * packs in memory, packs that need a signature, and packs that are damaged while they are in use. */
#include "holds.h"
#include "json.h"
#include "lookup.h"
#include "pack_fixture.h"
#include "sign.h"

static const char spec[] = "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"e\"],\"sizes\":{\"M\":{\"default\":1024,\"max\":1000000}},"
                           "\"params\":{\"T\":{\"kind\":\"pow2\",\"min\":1,\"max\":4096}},\"constraints\":[\"T <= M\"],\"default\":{\"T\":16}}";

typedef struct world {
    fixture *files;
    hone_kernel *kernel;
    hone_device *device;
} world;

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    hone_error err = {0};
    cJSON *json = NULL;
    static const char device[] = "{\"kind\":\"cpu\",\"name\":\"test\",\"identity\":{\"arch\":\"x86_64\",\"cores\":8}}";
    if (fixture_setup((void **)&w->files) != 0)
        return -1;
    assert_int_equal(hone_kernel_parse(&w->kernel, spec, strlen(spec), NULL, "k.json", &err), HONE_OK);
    assert_int_equal(hone__json_parse(&json, device, strlen(device), "device", NULL), HONE_OK);
    assert_int_equal(hone__device_from_hello(&w->device, json, NULL, NULL), HONE_OK);
    assert_int_equal(hone__key_identify_device(w->device), HONE_OK);
    cJSON_Delete(json);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    hone_kernel_free(w->kernel);
    hone_device_free(w->device);
    (void)fixture_teardown((void **)&w->files);
    free(w);
    return 0;
}

static hone_problem sized(const world *w, int64_t m) {
    hone_problem problem;
    hone_problem_init(w->kernel, &problem);
    problem.size[0] = m;
    return problem;
}

/* Texts are the caller's, and must live as long as the entry. */
static hone__entry entry_at(const world *w, int64_t m, char *config, double time_ns, char sizes[64]) {
    static char name[] = "k", device[] = "{\"kind\":\"cpu\",\"name\":\"test\",\"identity\":{\"arch\":\"x86_64\",\"cores\":8}}";
    hone_problem problem = sized(w, m);
    (void)snprintf(sizes, 64, "{\"M\":%lld}", (long long)m);
    hone__entry e = {.key = hone__key_make(w->kernel, w->device, problem.size), .kernel_name = name, .sizes = sizes, .device = device};
    e.best = (hone__ranked){.config = config, .time_ns = time_ns, .low_ns = time_ns, .high_ns = time_ns, .samples = 9};
    e.accuracy = HONE_ACCURACY_PASSED;
    e.effort = HONE_EFFORT_STANDARD;
    e.created_unix_s = 1790000000;
    return e;
}

static char *pack_of(const world *w, int64_t m, const char *config, double time_ns, const char *name, size_t *bytes) {
    char sizes[64], text[128], path[700];
    (void)snprintf(text, sizeof text, "%s", config);
    hone__entry e = entry_at(w, m, text, time_ns, sizes);
    char *pack = fixture_pack(&e, 1, bytes);
    (void)snprintf(path, sizeof path, "%s/%s", w->files->dir, name);
    write_bytes(path, pack, *bytes);
    return pack;
}

static void add_pack(const world *w, hone_cache *cache, int64_t m, const char *config, double time_ns, const char *name) {
    char path[700];
    size_t bytes;
    hone_error err = {0};
    hone_free(pack_of(w, m, config, time_ns, name, &bytes));
    (void)snprintf(path, sizeof path, "%s/%s", w->files->dir, name);
    hone_status status = hone_cache_add_pack(cache, path, NULL, &err);
    if (status != HONE_OK)
        print_error("%s\n", err.message);
    assert_int_equal(status, HONE_OK);
}

/* Look up and check tier, value of T, and that the layer's name ends so. */
static cJSON *look(const world *w, const hone_cache *cache, int64_t m, hone_match match, int64_t value, const char *layer) {
    hone_answer *answer = NULL;
    hone_error err = {0};
    hone_problem problem = sized(w, m);
    char *text = NULL;
    cJSON *json = NULL;
    assert_int_equal(hone_lookup(&answer, cache, w->kernel, w->device, &problem, &err), HONE_OK);
    assert_int_equal(hone_answer_match(answer), match);
    assert_int_equal(hone_config_int(hone_answer_config(answer), 0), value);
    assert_int_equal(hone_answer_json(answer, &text, &err), HONE_OK);
    assert_int_equal(hone__json_parse(&json, text, strlen(text), "answer", NULL), HONE_OK);
    const char *from = hone__json_string(json, "layer");
    assert_non_null(strstr(from, layer));
    hone_free(text);
    hone_answer_free(answer);
    return json;
}

static const char *note(const cJSON *answer, int layer, bool answered) {
    const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(answer, "layers"), layer);
    assert_non_null(item);
    assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(item, "answered")), answered);
    return hone__json_string(item, "reason");
}

static void test_best_layer_answers(void **state) {
    const world *w = *state;
    hone_cache *cache = open_cache(w->files->path);
    char sizes[64], config[] = "{\"T\":32}";
    hone__entry own = entry_at(w, 1000, config, 5000, sizes);
    assert_int_equal(hone__cache_put(cache, &own, false, NULL), HONE_OK);
    add_pack(w, cache, 1000, "{\"T\":64}", 4000, "better.hpk");
    add_pack(w, cache, 1000, "{\"T\":128}", 6000, "worse.hpk");
    add_pack(w, cache, 77, "{\"T\":8}", 1000, "other.hpk");
    cJSON *answer = look(w, cache, 1000, HONE_MATCH_EXACT, 64, "better.hpk");
    assert_non_null(strstr(note(answer, 0, false), "worse evidence"));
    assert_string_equal(note(answer, 1, true), "");
    assert_non_null(strstr(note(answer, 2, false), "worse evidence"));
    assert_non_null(strstr(note(answer, 3, false), "no entry"));
    cJSON_Delete(answer);
    cJSON_Delete(look(w, cache, 77, HONE_MATCH_EXACT, 8, "other.hpk"));
    cJSON_Delete(look(w, cache, 1500, HONE_MATCH_NEAR_SHAPE, 64, "better.hpk")); /* the nearest size, of it the best evidence */
    char *text = NULL;
    hone_problem problem = sized(w, 1000);
    assert_int_equal(hone_explain(&text, cache, w->kernel, w->device, &problem, NULL), HONE_OK);
    assert_non_null(strstr(text, "other.hpk"));
    assert_non_null(strstr(text, "worse.hpk"));
    hone_free(text);
    hone_cache_close(cache);
}

static void test_configs_outside_the_space(void **state) {
    const world *w = *state;
    hone_cache *cache = NULL;
    assert_int_equal(hone_cache_new(&cache, NULL), HONE_OK);
    add_pack(w, cache, 1000, "{\"T\":3}", 1, "outside.hpk");
    add_pack(w, cache, 1000, "{\"X\":\"rm -rf\"}", 2, "unknown.hpk");
    add_pack(w, cache, 1000, "{\"T\":2048}", 3, "constraint.hpk");
    cJSON *answer = look(w, cache, 1000, HONE_MATCH_DEFAULT, 16, "author");
    assert_non_null(strstr(note(answer, 0, false), "not in this space"));
    assert_non_null(strstr(note(answer, 1, false), "not in this space"));
    assert_non_null(strstr(note(answer, 2, false), "not valid for these sizes"));
    cJSON_Delete(answer);
    add_pack(w, cache, 1000, "{\"T\":8}", 9000, "good.hpk");
    cJSON_Delete(look(w, cache, 1000, HONE_MATCH_EXACT, 8, "good.hpk"));
    hone_cache_close(cache);
}

static void test_packs_only(void **state) {
    const world *w = *state;
    hone_cache *cache = NULL;
    size_t bytes;
    assert_int_equal(hone_cache_new(&cache, NULL), HONE_OK);
    assert_string_equal(hone_cache_path(cache), "");
    cJSON_Delete(look(w, cache, 1000, HONE_MATCH_DEFAULT, 16, "author"));
    char *pack = pack_of(w, 1000, "{\"T\":256}", 100, "p.hpk", &bytes);
    assert_int_equal(hone_cache_add_pack_memory(cache, "linked in", pack, bytes, NULL, NULL), HONE_OK);
    assert_int_equal(hone_cache_add_pack_memory(cache, "cut", pack, bytes - 1, NULL, NULL), HONE_E_CORRUPT);
    cJSON_Delete(look(w, cache, 1000, HONE_MATCH_EXACT, 256, "linked in"));
    char sizes[64], config[] = "{\"T\":32}";
    hone__entry e = entry_at(w, 1000, config, 50, sizes);
    assert_int_equal(hone__cache_put(cache, &e, false, NULL), HONE_E_PERM);
    hone_cache_close(cache);
    hone_free(pack);
}

static void test_explain__lists_other_versions_of_packs(void **state) {
    const world *w = *state;
    hone_cache *cache = NULL;
    hone_problem problem = sized(w, 1000);
    char sizes[64], config[] = "{\"T\":32}", path[700], hex[33], *text = NULL;
    hone__entry e = entry_at(w, 1000, config, 50, sizes);
    size_t bytes;
    memset(e.key.kernel, 0xab, sizeof e.key.kernel);
    hone__hash_hex(e.key.kernel, hex);
    char *pack = fixture_pack(&e, 1, &bytes);
    (void)snprintf(path, sizeof path, "%s/version.hpk", w->files->dir);
    write_bytes(path, pack, bytes);
    hone_free(pack);
    assert_int_equal(hone_cache_new(&cache, NULL), HONE_OK);
    assert_int_equal(hone_cache_add_pack(cache, path, NULL, NULL), HONE_OK);
    assert_int_equal(hone_explain(&text, cache, w->kernel, w->device, &problem, NULL), HONE_OK);
    cJSON *json = NULL;
    assert_int_equal(hone__json_parse(&json, text, strlen(text), "explain", NULL), HONE_OK);
    const cJSON *others = cJSON_GetObjectItemCaseSensitive(json, "other_versions");
    assert_int_equal(cJSON_GetArraySize(others), 1);
    assert_string_equal(hone__json_string(cJSON_GetArrayItem(others, 0), "kernel_id"), hex);
    cJSON_Delete(json);
    hone_free(text);
    hone_cache_close(cache);
}

static void test_a_pack_is_cut_while_in_use(void **state) {
    const world *w = *state;
    hone_cache *cache = NULL;
    char path[700];
    assert_int_equal(hone_cache_new(&cache, NULL), HONE_OK);
    add_pack(w, cache, 1000, "{\"T\":64}", 100, "cut.hpk");
    (void)snprintf(path, sizeof path, "%s/cut.hpk", w->files->dir);
    assert_int_equal(truncate(path, 300), 0);
    cJSON *answer = look(w, cache, 1000, HONE_MATCH_DEFAULT, 16, "author");
    assert_non_null(strstr(note(answer, 0, false), "damaged"));
    cJSON_Delete(answer);
    hone_cache_close(cache);
}

static void test_signatures(void **state) {
    const world *w = *state;
    hone_cache *cache = NULL;
    hone_error err = {0};
    char pack[700], other[700], secret[700], trust[700], secret2[700], trust2[700], signature[720];
    size_t bytes;
    const char *dir = w->files->dir;
    (void)snprintf(pack, sizeof pack, "%s/p.hpk", dir);
    (void)snprintf(other, sizeof other, "%s/q.hpk", dir);
    (void)snprintf(secret, sizeof secret, "%s/a.key", dir);
    (void)snprintf(trust, sizeof trust, "%s/a.pub", dir);
    (void)snprintf(secret2, sizeof secret2, "%s/b.key", dir);
    (void)snprintf(trust2, sizeof trust2, "%s/b.pub", dir);
    (void)snprintf(signature, sizeof signature, "%s.sig", pack);
    assert_int_equal(hone_key_generate(secret, trust, "build farm", &err), HONE_OK);
    assert_int_equal(hone_key_generate(secret, trust2, NULL, &err), HONE_E_EXISTS);
    assert_int_equal(hone_key_generate(secret2, trust2, NULL, &err), HONE_OK);
    assert_int_equal(hone_key_generate(other, signature, "two\nlines", &err), HONE_E_ARG);
    char *in_memory = pack_of(w, 1000, "{\"T\":64}", 100, "p.hpk", &bytes);
    hone_free(pack_of(w, 1000, "{\"T\":32}", 90, "q.hpk", &(size_t){0}));
    hone_pack_options need = HONE_PACK_OPTIONS_INIT;
    need.require_signature = 1;
    assert_int_equal(hone_cache_new(&cache, NULL), HONE_OK);
    assert_int_equal(hone_cache_add_pack(cache, pack, &need, &err), HONE_E_ARG); /* nobody is trusted */
    need.trust = trust;
    assert_int_equal(hone_cache_add_pack(cache, pack, &need, &err), HONE_E_UNSAFE);
    assert_non_null(strstr(err.message, "not signed"));

    assert_int_equal(hone_sign(pack, secret, NULL, 0, &err), HONE_OK);
    assert_int_equal(hone_sign(pack, secret, NULL, 0, &err), HONE_E_EXISTS);
    char *signer = NULL;
    assert_int_equal(hone_signature_check(&signer, pack, NULL, trust, &err), HONE_OK);
    assert_non_null(strstr(signer, "build farm"));
    hone_free(signer);
    assert_int_equal(hone_signature_check(NULL, pack, NULL, trust2, &err), HONE_E_UNSAFE);
    assert_int_equal(hone_signature_check(NULL, other, signature, trust, &err), HONE_E_UNSAFE); /* another file under this signature */
    assert_int_equal(hone_signature_check(NULL, pack, trust, trust, &err), HONE_E_CORRUPT);
    need.memory_bytes_max = bytes - 1;
    assert_int_equal(hone_cache_add_pack(cache, pack, &need, &err), HONE_E_LIMIT);
    need.memory_bytes_max = 0;
    assert_int_equal(hone_cache_add_pack(cache, pack, &need, &err), HONE_OK);
    assert_int_equal(truncate(pack, 10), 0); /* what was verified is what is used */
    cJSON_Delete(look(w, cache, 1000, HONE_MATCH_EXACT, 64, "p.hpk"));
    assert_int_equal(hone_cache_add_pack_memory(cache, "in memory", in_memory, bytes, &need, &err), HONE_E_ARG);
    need.signature = signature;
    assert_int_equal(hone_cache_add_pack_memory(cache, "in memory", in_memory, bytes, &need, &err), HONE_OK);
    in_memory[bytes - 1] = (char)(in_memory[bytes - 1] ^ 1);
    assert_int_equal(hone_cache_add_pack_memory(cache, "in memory", in_memory, bytes, &need, &err), HONE_E_UNSAFE);
    assert_int_equal(chmod(secret, 0644), 0);
    assert_int_equal(hone_sign(pack, secret, NULL, 1, &err), HONE_E_UNSAFE); /* the key is open to others */
    hone_cache_close(cache);
    hone_free(in_memory);
}

/* Export, import and merge through the public interface; filters, dry runs, and that nothing is overwritten. */
static void test_exchange(void **state) {
    const world *w = *state;
    char out[700], back[700], merged[700];
    char *report = NULL;
    hone_error err = {0};
    (void)snprintf(out, sizeof out, "%s/out.hpk", w->files->dir);
    (void)snprintf(back, sizeof back, "%s/back.hpk", w->files->dir);
    (void)snprintf(merged, sizeof merged, "%s/merged.hpk", w->files->dir);
    hone_cache *cache = open_cache(w->files->path);
    for (uint32_t i = 0; i < 2000; i++)
        put_time(cache, i, 1000 + i);
    hone_exchange_options o = HONE_EXCHANGE_OPTIONS_INIT;
    o.dry_run = 1;
    assert_int_equal(hone_export(&report, cache, out, &o, &err), HONE_OK);
    assert_non_null(strstr(report, "\"imported\":2000"));
    hone_free(report);
    assert_int_equal(count_files(w->files->dir, "out.hpk"), 0);
    o.dry_run = 0;
    assert_int_equal(hone_export(NULL, cache, out, &o, &err), HONE_OK);
    assert_int_equal(hone_export(NULL, cache, out, &o, &err), HONE_E_EXISTS);
    char path2[700];
    (void)snprintf(path2, sizeof path2, "%s/second.hone", w->files->dir);
    hone_cache *second = open_cache(path2);
    put_time(second, 5, 10);      /* better than the pack's */
    put_time(second, 6, 1000000); /* worse */
    assert_int_equal(hone_import(&report, second, out, NULL, &err), HONE_OK);
    assert_non_null(strstr(report, "\"imported\":1999,\"kept\":1,\"same\":0,\"conflicting\":2,\"rejected\":0"));
    hone_free(report);
    assert_true(get_time(second, 5) == 10 && get_time(second, 6) == 1006 && get_time(second, 1999) == 2999);
    assert_int_equal(hone_import(&report, second, out, NULL, &err), HONE_OK);
    assert_non_null(strstr(report, "\"imported\":0,\"kept\":1,\"same\":1999"));
    hone_free(report);
    hone_filter filter = HONE_FILTER_INIT;
    filter.effort_min = 3;
    o.filter = &filter;
    assert_int_equal(hone_export(&report, cache, back, &o, &err), HONE_OK);
    assert_non_null(strstr(report, "\"filtered\":2000"));
    hone_free(report);
    o.filter = NULL;
    hone_cache_close(cache);
    hone_cache_close(second);
    const char *in[] = {out, path2, w->files->path};
    assert_int_equal(hone_merge(&report, merged, in, 3, &o, &err), HONE_OK);
    assert_non_null(strstr(report, "\"entries\":2000"));
    hone_free(report);
    hone__pack *pack = NULL;
    hone__key key = make_key(1, 1, 5);
    hone__entry entry;
    assert_int_equal(hone__pack_open(&pack, merged, NULL, &err), HONE_OK);
    assert_int_equal(hone__pack_get(pack, &key, &entry, &err), HONE_OK);
    assert_true(entry.best.time_ns == 10);
    hone__entry_clear(&entry);
    hone__pack_close(pack);
}

/* What a pack knows exactly is not tuned: the evaluator, which does not exist, is not even started. */
static void test_a_packs_answer_is_not_tuned(void **state) {
    const world *w = *state;
    hone_cache *cache = open_cache(w->files->path);
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    hone_problem problem = sized(w, 1000);
    char *json = NULL;
    options.evaluator = "/no/such/evaluator";
    options.search = "random";
    add_pack(w, cache, 1000, "{\"T\":4096}", 3000, "invalid_here.hpk"); /* the better evidence, but T <= M does not hold */
    assert_int_equal(hone_tune(&json, cache, w->kernel, w->device, &problem, &options, NULL), HONE_E_EVALUATOR);
    add_pack(w, cache, 1000, "{\"T\":64}", 4000, "tuned.hpk");
    assert_int_equal(hone_tune(&json, cache, w->kernel, w->device, &problem, &options, NULL), HONE_OK);
    assert_non_null(strstr(json, "\"tuned\":false"));
    assert_non_null(strstr(json, "\"config\":{\"T\":64}"));
    hone_free(json);
    options.trials_max = 500; /* more effort than the pack's */
    assert_int_equal(hone_tune(&json, cache, w->kernel, w->device, &problem, &options, NULL), HONE_E_EVALUATOR);
    hone_cache_close(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_best_layer_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_configs_outside_the_space, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packs_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_explain__lists_other_versions_of_packs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pack_is_cut_while_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signatures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exchange, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_packs_answer_is_not_tuned, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
