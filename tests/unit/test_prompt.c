/* test_prompt.c: what the model is told: all sections, right facts, hand-computed effects, bounded, the same for the same input. */
#include "alloc.h"
#include "file.h"
#include "log.h"
#include "prompt.h"
#include "prompt_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char spec_text[] =
    "{\"hone\":1,\"name\":\"probe\",\"description\":\"y = alpha x, row by row\",\"language\":\"c\",\"source\":\"probe.c\",\"entry\":\"probe\","
    "\"dependencies\":[\"probe.h\"],\"options\":[\"-O2\",\"-DN=${N}\"],\"sizes\":{\"M\":64,\"N\":{\"default\":1000}},"
    "\"args\":[{\"name\":\"x\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[\"M\",\"N\"]},"
    "{\"name\":\"y\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[\"M\",\"N\",\"2\"],\"access\":\"out\"},"
    "{\"name\":\"n\",\"kind\":\"scalar\",\"dtype\":\"i32\",\"value\":\"N + 1\"},{\"name\":\"alpha\",\"kind\":\"scalar\",\"dtype\":\"f32\",\"value\":1.5}],"
    "\"params\":{\"T\":{\"kind\":\"pow2\",\"min\":1,\"max\":8,\"default\":2,\"description\":\"rows at once\"},\"V\":{\"kind\":\"bool\"},"
    "\"L\":{\"kind\":\"enum\",\"values\":[\"row\",\"col\",\"tile\"]},\"D\":{\"kind\":\"range\",\"min\":0,\"max\":99},"
    "\"U\":{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"pow2\",\"min\":1,\"max\":4}},\"P\":{\"kind\":\"permutation\",\"length\":3}},"
    "\"constraints\":[{\"expr\":\"T * U[0] <= 16\",\"why\":\"registers\"},\"V || T > 1\"],\"seeds\":[{\"T\":4}],"
    "\"flops\":\"2 * M * N\",\"bytes\":\"8 * M * N\"}";

typedef struct fixture {
    char folder[64];
    hone_kernel *kernel;
    hone__bound *bound;
    struct hone_device device;
    hone__prompt_input input;
} fixture;

static void write_file(const fixture *f, const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    assert_int_equal(hone__file_write(path, text, strlen(text), 0600, NULL), HONE_OK);
}

static void load(fixture *f, const char *spec) {
    hone_error err = {0};
    if (hone__kernel_read(&f->kernel, spec, strlen(spec), f->folder, "probe.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    int64_t sizes[HONE_SIZES_MAX] = {0};
    for (uint32_t i = 0; i < f->kernel->size_count; i++)
        sizes[i] = f->kernel->size[i].value;
    if (hone__bound_new(&f->bound, f->kernel->space, sizes, &err) != HONE_OK)
        fail_msg("%s", err.message);
    f->input = (hone__prompt_input){.kernel = f->kernel, .bound = f->bound, .device = &f->device, .configs_wanted = 12, .round = 2,
                                    .rounds_max = 4, .trials_left = 33};
}

static int open_fixture(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/hone-prompt-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    write_file(f, "probe.c", "#include \"probe.h\"\n/* ``` and \x1b[31m */\nvoid probe(void) {}\n");
    write_file(f, "probe.h", "int helper_of_the_kernel(void);\n");
    assert_int_equal(hone__json_parse(&f->device.identity, "{\"cores\":2,\"l2_kib\":1024}", 25, "test", NULL), HONE_OK);
    const char *more = "{\"host\":\"secret-host\",\"mhz\":2000,\"limits\":{\"regs\":32}}";
    assert_int_equal(hone__json_parse(&f->device.description, more, strlen(more), "test", NULL), HONE_OK);
    f->device.name = hone__strdup("Test CPU");
    f->device.kind = hone__strdup("cpu");
    f->device.peak_gbps = 1000;
    f->device.peak_gflops = 1000;
    load(f, spec_text);
    *state = f;
    return 0;
}

static void unload(fixture *f) {
    hone__bound_free(f->bound);
    hone_kernel_free(f->kernel);
}

static int close_fixture(void **state) {
    fixture *f = *state;
    unload(f);
    cJSON_Delete(f->device.identity);
    cJSON_Delete(f->device.description);
    hone__free(f->device.name);
    hone__free(f->device.kind);
    char path[128];
    const char *const name[] = {"probe.c", "probe.h"};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", f->folder, name[i]);
        (void)unlink(path);
    }
    (void)rmdir(f->folder);
    free(f);
    return 0;
}

typedef void writer(hone__buf *buf, const hone__prompt_input *input);

static char *written(writer *write, const hone__prompt_input *input) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_PROMPT_BYTES);
    write(&buf, input);
    assert_int_equal(buf.status, HONE_OK);
    return hone__buf_take(&buf);
}

static void assert_has(const char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        print_error("missing: %s\n---\n%s\n---\n", part, text);
        fail();
    }
}

static void assert_has_not(const char *text, const char *part) {
    if (strstr(text, part) != NULL) {
        print_error("should not be there: %s\n---\n%s\n---\n", part, text);
        fail();
    }
}

static void read_config(const fixture *f, const char *json, hone__config *out) {
    cJSON *item = NULL;
    hone_error err = {0};
    assert_int_equal(hone__json_parse(&item, json, strlen(json), "test", &err), HONE_OK);
    if (hone__config_read(f->kernel->space, item, false, out, NULL, &err) != HONE_OK)
        fail_msg("%s: %s", json, err.message);
    assert_true(hone__bound_valid(f->bound, out, NULL));
    cJSON_Delete(item);
}

/* ---- the first message ---- */

/* The counts: T = 1 needs V, which leaves 7 pairs of T and V; T * U[0] <= 16 takes T = 8, U[0] = 4 from two: (7 * 3 - 2) * 3 * 3 * 100 * 6. */
static void test_prompt__initial_states_the_facts(void **state) {
    fixture *f = *state;
    hone__neighbour neighbour = {.where = "M=128 on this device", .speedup = 2.345};
    read_config(f, "{\"T\":8}", &neighbour.config);
    f->input.neighbour = &neighbour;
    f->input.neighbour_count = 1;
    char *text = written(hone__prompt_initial, &f->input);
    static const char *const part[] = {
        "## Kernel\n", "Name: probe.", "Entry: probe.", "y = alpha x, row by row", "M=64, N=1000", "Compile options: -O2 -DN=${N}",
        "## Source\nprobe.c:\n````\n#include \"probe.h\"\n/* ``` and ?[31m */\n", "int helper_of_the_kernel(void);",
        "- x: in buffer of f32, shape [M = 64, N = 1000], strides [1000, 1] elements, 250 KiB, aligned to 64 bytes\n",
        "- y: out buffer of f32, shape [M = 64, N = 1000, 2], strides [2000, 2, 1] elements, 500 KiB",
        "- n: scalar i32 = N + 1 = 1001\n", "- alpha: scalar f32 = 1.5\n", "together 750 KiB", "- device: Test CPU (cpu)\n", "- cores: 2\n",
        "- l2_kib: 1024\n", "- mhz: 2000\n", "- limits: {\"regs\":32}\n", "1000 GB/s", "1000 GFLOP/s", "- a kernel runs on one core",
        "- work of one run: 128000 floating-point operations\n", "- least traffic of one run: 500 KiB\n", "0.25 operations a byte",
        "balances at 1\n", "- time at full memory bandwidth: 0.000512 ms\n", "- time at full arithmetic rate: 0.000128 ms\n",
        "the limit is memory traffic", "- T: powers of two 1, 2, 4, 8 (4 values); default 2 -- rows at once\n",
        "- V: bool: false, true; default false\n", "- L: one of \"row\", \"col\", \"tile\" (3 values); default \"row\"\n",
        "- D: range 0, 1, ... 99 (100 values, step 1); default 0\n",
        "- U: list of exactly 2, each powers of two 1, 2, 4 (3 values); default [1,1]\n", "- P: permutation of 0..2; default [0,1,2]\n",
        "- T * U[0] <= 16 -- registers\n", "- V || T > 1\n", "Of 129600 combinations 102600 are valid", "Default config (whole): {\"T\":2,\"V\":false,",
        "Author's seed: {\"T\":4}\n", "Best for M=128 on this device (2.35 times as fast as the default there): {\"T\":8}\n",
        "V (false, true); L (\"row\", \"col\", \"tile\")", "Their 6 combinations fit into one batch", "up to 12 configs",
    };
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
        assert_has(text, part[i]);
    assert_has_not(text, "secret-host");
    assert_has_not(text, "\x1b");
    hone__free(text);
}

static void test_prompt__system_holds_the_contract(void **state) {
    (void)state;
    const char *text = hone__prompt_system();
    assert_has(text, "performance engineer");
    assert_has(text, "{\"thought\": \"one or two sentences\", \"configs\": [{...}, {...}]}");
    assert_has(text, "differs from the default");
}

static void test_prompt__source_is_cut_in_the_middle(void **state) {
    (void)state;
    hone__buf source;
    hone__buf_init(&source, 1 << 20);
    for (int i = 0; i < 6000; i++)
        hone__buf_printf(&source, "int line_%04d;\n", i);
    hone__buf out;
    hone__buf_init(&out, 1 << 20);
    hone__text_source(&out, source.data, 30000); /* 15 bytes a line: 1333 lines from the top, 666 from the end */
    assert_has(out.data, "```\nint line_0000;\n");
    assert_has(out.data, "int line_1332;\n[... 4001 lines (60015 bytes) of this file are left out here ...]\nint line_5334;\n");
    assert_has(out.data, "int line_5999;\n```\n");
    assert_true(out.length < 30200);
    hone__buf_clear(&out);
    hone__text_source(&out, "one\ntwo", 100);
    assert_string_equal(out.data, "```\none\ntwo\n```\n");
    hone__buf_free(&out);
    hone__buf_free(&source);
}

/* ---- refinement ---- */

static const struct {
    const char *config;
    double ns;
    const char *reason;
} story[] = {
    {"{}", 2000, ""},
    {"{\"T\":4}", 1000, ""},
    {"{\"T\":8}", 4000, ""},
    {"{\"T\":4,\"V\":true}", 1500, ""},
    {"{\"V\":true}", 3000, ""},
    {"{\"T\":8,\"V\":true}", 0, "frame of 1024 bytes is too big"},
    {"{\"T\":8,\"L\":\"col\"}", 0, "frame of 22 bytes is too big\x1b[0m"},
};

enum { STORY = sizeof story / sizeof story[0] };

typedef struct telling {
    hone__config config[STORY];
    hone__measurement result[STORY];
    hone__shown_trial trial[STORY];
} telling;

static void tell_story(fixture *f, telling *told) {
    *told = (telling){.config = {{{0}}}};
    for (uint32_t i = 0; i < STORY; i++) {
        read_config(f, story[i].config, &told->config[i]);
        hone__measurement *result = &told->result[i];
        result->outcome = story[i].ns > 0 ? HONE_OUTCOME_OK : HONE_OUTCOME_COMPILE_ERROR;
        result->median_ns = story[i].ns;
        result->low_ns = story[i].ns * 0.98;
        result->high_ns = story[i].ns * 1.02;
        (void)snprintf(result->reason, sizeof result->reason, "%s", i == 6 ? "frame of 22 bytes is too big" : story[i].reason);
        told->trial[i] = (hone__shown_trial){&told->config[i], i == 0 ? "default" : i < 4 ? "model:1" : "model:2", result};
    }
    (void)snprintf(told->result[1].resources, sizeof told->result[1].resources, "registers=64");
    f->input.trial = told->trial;
    f->input.trial_count = STORY;
}

static void test_prompt__refine_computes_state_effects_and_gaps(void **state) {
    fixture *f = *state;
    telling told;
    tell_story(f, &told);
    char config[] = "{\"T\":3}", reason[] = "T: 3 is no power of two";
    hone__rejection rejection = {config, reason};
    f->input.rejection = &rejection;
    f->input.rejection_count = 1;
    char *text = written(hone__prompt_refine, &f->input);
    static const char *const part[] = {
        "- round 2 of 4; measurements: 7 done, 33 left\n", "- best: 0.001 ms (measurement 2 of 7, proposed by model:1)\n",
        "- default: 0.002 ms; the best is 2 times as fast\n", "128 GFLOP/s, 512 GB/s", "51.2 % of the roofline (0.000512 ms, set by memory traffic)\n",
        "- 5 timed (0 of them abandoned early as clearly slower), 2 failed\n",
        "default 1, best 0.002 ms; model:1 3, best 0.001 ms; model:2 3 (2 failed), best 0.003 ms\n", "- noise: typically +-2 %",
        "- A, time x1: {\"T\":4,\"V\":false,\"L\":\"row\",\"D\":0,\"U\":[1,1],\"P\":[0,1,2]}\n", "- C, time x2: {\"T\":2,",
        "- x1 | 0.001 ms +-2% | {\"T\":4} | registers=64\n- x1.5 | 0.0015 ms +-2% | {\"T\":4,\"V\":true}\n- x2 | 0.002 ms +-2% | {}\n",
        "- 2 x compile_error: frame of 1024 bytes is too big\n  e.g. {\"T\":8,\"V\":true} {\"T\":8,\"L\":\"col\"}\n  all have T=8 (so have 1 of 5 timed)\n",
        "- {\"T\":3}: T: 3 is no power of two\n",
        "- T | 2: n=2 best 2 median 2.5 | 4: n=2 best 1 median 1.25 | 8: n=1 best 4 median 4, 2 failed\n",
        "- V | false: n=3 best 1 median 2, 1 failed | true: n=2 best 1.5 median 2.25, 1 failed\n",
        "- L | \"row\": n=5 best 1 median 2, 1 failed | \"col\": all 1 failed\n",
        "- T 2 -> 4: time x0.5 (2 pairs, x0.5 to x0.5)\n", "- T 2 -> 8: time x2 (1 pair)\n", "- T 4 -> 8: time x4 (1 pair)\n",
        "- V false -> true: time x1.5 (2 pairs, x1.5 to x1.5)\n",
        "two-valued parameters, at its best\n- V=false: 4 tried, best x1: {\"T\":4}\n- V=true: 3 tried, best x1.5: {\"T\":4,\"V\":true}\n",
        "valid and not measured\n- L: \"col\", \"tile\"\n- D: 1, 2\n- U[0]: 2, 4\n- U[1]: 2, 4\n- P: [0,2,1], [1,0,2], [1,2,0], [2,0,1], [2,1,0]\n",
        "## Values never tried\n- T: 1\n- L: \"tile\"*\n- D: 1 of 100 values tried; the widest untried stretch is 1 to 99\n- U[0]: 2*, 4*\n- U[1]: 2*, 4*\n",
        "- P: [0,2,1]*, [1,0,2]*, [1,2,0]*, [2,0,1]*, [2,1,0]*\n",
        "## Combinations never tried\n- V=false with L=\"tile\"\n- V=true with L=\"col\"\n- V=true with L=\"tile\"\n",
        "Which assumption behind the configs so far do these results refute", "at least 3 of the next configs",
        "Nearly all measured configs share: L=\"row\" (6 of 7), D=0 (7 of 7), U[0]=1 (7 of 7)", "The last batch brought no gain",
        "up to 12 NEW configs",
    };
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
        assert_has(text, part[i]);
    char *again = written(hone__prompt_refine, &f->input);
    assert_string_equal(text, again);
    hone__free(again);
    hone__free(text);
}

static void test_prompt__abandoned_configs_are_rough_and_never_best(void **state) {
    fixture *f = *state;
    telling told;
    tell_story(f, &told);
    told.result[1].outcome = HONE_OUTCOME_SLOW; /* the fastest, were it not abandoned */
    char *text = written(hone__prompt_refine, &f->input);
    assert_has(text, "- best: 0.0015 ms (measurement 4 of 7");
    assert_has(text, "(1 of them abandoned early");
    assert_has(text, "- x0.6667 | 0.001 ms +-2% (abandoned early) | {\"T\":4} | registers=64\n");
    assert_has(text, "- A, time x1: {\"T\":4,\"V\":true,");
    assert_has(text, "- T 2 -> 8: time x2 (1 pair)\n- T 4 -> 8: time x4 (1 pair, rough: with one abandoned early)\n");
    hone__free(text);
}

static void test_prompt__refine_without_any_success(void **state) {
    fixture *f = *state;
    telling told;
    tell_story(f, &told);
    f->input.trial = &told.trial[5];
    f->input.trial_count = 2;
    f->input.trials_left = 5;
    char *text = written(hone__prompt_refine, &f->input);
    assert_has(text, "no config was measured to the end");
    assert_has(text, "Nothing works yet");
    assert_has(text, "last batch");
    assert_has_not(text, "## Anchors");
    hone__free(text);
    f->input.trial_count = 0;
    text = written(hone__prompt_refine, &f->input);
    assert_has(text, "0 done");
    hone__free(text);
}

static void test_prompt__patterns_of_the_top(void **state) {
    fixture *f = *state;
    enum { COUNT = 16 };
    static hone__config config[COUNT];
    static hone__measurement result[COUNT];
    hone__shown_trial trial[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        char json[96];
        (void)snprintf(json, sizeof json, "{\"D\":%u,\"V\":%s,\"L\":\"%s\",\"P\":%s}", (unsigned)i, i < 4 || i == 9 ? "true" : "false",
                       i % 2 == 0 ? "row" : "col", i < 8 ? "[1,2,0]" : i < 15 ? "[2,1,0]" : "[0,2,1]");
        read_config(f, json, &config[i]);
        result[i] = (hone__measurement){.outcome = HONE_OUTCOME_OK, .median_ns = 1000 + 100.0 * i};
        trial[i] = (hone__shown_trial){&config[i], "random", &result[i]};
    }
    f->input.trial = trial;
    f->input.trial_count = COUNT;
    char *text = written(hone__prompt_refine, &f->input);
    assert_has(text, "- V=true: 4 of the best 4, 1 of the other 12\n");
    assert_has_not(text, "L=\"row\": 2 of the best 4");
    assert_has(text, "- D | 0: n=1 best 1 median 1 | 1: n=1"); /* 16 distinct values in 12 stretches */
    assert_has(text, "| 14..15: n=2 best 2.4 median 2.45\n");
    assert_has(text, "- P | [0,2,1]: n=1 best 2.5 median 2.5 | [1,2,0]: n=8 best 1 median 1.35 | [2,1,0]: n=7 best 1.8 median 2.1\n");
    assert_has(text, "- P: [0,1,2]*, [1,0,2]*, [2,0,1]*\n");
    hone__free(text);
}

/* ---- repair, schema, bounds ---- */

static void test_prompt__repair_has_an_example_that_is_valid(void **state) {
    fixture *f = *state;
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_PROMPT_BYTES);
    hone__prompt_repair(&buf, &f->input, "there is no JSON\x1b[1m object in the reply");
    assert_has(buf.data, "there is no JSON?[1m object in the reply");
    assert_true(buf.length < 2000);
    const char *example = strstr(buf.data, "{\"thought\"");
    assert_non_null(example);
    hone__parsed_reply parsed;
    assert_int_equal(hone__reply_parse(&parsed, example, strlen(example), f->bound, 8, NULL), HONE_OK);
    assert_int_equal(parsed.count, 2);
    assert_int_equal(parsed.rejection_count, 0);
    hone__parsed_reply_clear(&parsed);
    hone__buf_free(&buf);
}

static void test_prompt__schema_describes_the_space(void **state) {
    fixture *f = *state;
    cJSON *schema = hone__prompt_schema(f->kernel->space);
    assert_non_null(schema);
    char *text = hone__json_text(schema);
    static const char *const part[] = {
        "\"T\":{\"description\":\"rows at once\",\"type\":\"integer\",\"enum\":[1,2,4,8]}", "\"V\":{\"type\":\"boolean\"}",
        "\"L\":{\"type\":\"string\",\"enum\":[\"row\",\"col\",\"tile\"]}", "\"D\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":99}",
        "\"U\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"enum\":[1,2,4]},\"minItems\":2,\"maxItems\":2}",
        "\"P\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":2},\"uniqueItems\":true,\"minItems\":3,\"maxItems\":3}",
        "\"required\":[\"thought\",\"configs\"]", "\"additionalProperties\":false",
    };
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
        assert_has(text, part[i]);
    hone__free(text);
    cJSON_Delete(schema);
}

/* 64 parameters with long descriptions, a source and a header of a megabyte, 1000 trials: still within the limit, with marks. */
static void test_prompt__bounded_whatever_the_input(void **state) {
    fixture *f = *state;
    hone__buf big;
    hone__buf_init(&big, 4 << 20);
    while (big.length < 1000000)
        hone__buf_printf(&big, "int line_%zu;%s\n", big.length, big.length % 3 == 0 ? "" : " /* a long comment after it */");
    write_file(f, "probe.c", big.data);
    write_file(f, "probe.h", big.data);
    hone__buf_clear(&big);
    hone__buf_text(&big, "{\"hone\":1,\"name\":\"big\",\"language\":\"c\",\"source\":\"probe.c\",\"entry\":\"probe\",\"dependencies\":[\"probe.h\"],"
                         "\"args\":[{\"name\":\"y\",\"kind\":\"buffer\",\"dtype\":\"i32\",\"shape\":[\"3\"],\"access\":\"out\"}],\"params\":{");
    for (int i = 0; i < 64; i++) {
        hone__buf_printf(&big, "%s\"P%d\":{\"kind\":\"enum\",\"values\":[", i > 0 ? "," : "", i);
        for (int j = 0; j < 90; j++)
            hone__buf_printf(&big, "%s\"a_rather_long_value_%d\"", j > 0 ? "," : "", j);
        hone__buf_text(&big, "],\"description\":\"");
        for (int j = 0; j < 40; j++)
            hone__buf_text(&big, "says a lot ");
        hone__buf_text(&big, "\"}");
    }
    hone__buf_text(&big, "}}");
    unload(f);
    load(f, big.data);
    char *text = written(hone__prompt_initial, &f->input);
    assert_true(strlen(text) <= HONE_LIMIT_PROMPT_BYTES);
    assert_has(text, "left out to keep the prompt short");
    assert_has(text, "## Task\n");
    hone__free(text);
    enum { COUNT = 1000 };
    hone__config *config = calloc(COUNT, sizeof *config);
    hone__measurement *result = calloc(COUNT, sizeof *result);
    hone__shown_trial *trial = calloc(COUNT, sizeof *trial);
    assert_true(config != NULL && result != NULL && trial != NULL);
    hone__rng rng;
    hone__rng_seed(&rng, 5);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_true(hone__bound_sample(f->bound, &rng, &config[i]));
        result[i].outcome = i % 3 == 0 ? HONE_OUTCOME_CRASH : HONE_OUTCOME_OK;
        result[i].median_ns = i % 3 == 0 ? 0 : 1000 + (double)hone__rng_below(&rng, 100000);
        memset(result[i].reason, 'a' + (int)(i % 26), sizeof result[i].reason - 1);
        trial[i] = (hone__shown_trial){&config[i], "random", &result[i]};
    }
    f->input.trial = trial;
    f->input.trial_count = COUNT;
    text = written(hone__prompt_refine, &f->input);
    assert_true(strlen(text) <= HONE_LIMIT_PROMPT_BYTES);
    assert_has(text, "left out to keep the prompt short");
    assert_has(text, "## Question\n");
    assert_has(text, "## Task\n");
    hone__free(text);
    free(config);
    free(result);
    free(trial);
    hone__buf_free(&big);
}

static void test_prompt__secrets_do_not_leave(void **state) {
    fixture *f = *state;
    telling told;
    tell_story(f, &told);
    (void)snprintf(told.result[5].reason, sizeof told.result[5].reason, "token sk-abcdefghijklmnopqrstuvwxyz0123 refused");
    hone__secret_add("hunter2hunter2");
    (void)snprintf(told.result[6].reason, sizeof told.result[6].reason, "login hunter2hunter2");
    char *text = written(hone__prompt_refine, &f->input);
    assert_has_not(text, "abcdefghijklmnop");
    assert_has_not(text, "hunter2");
    hone__secret_forget_all();
    hone__free(text);
}

static void test_prompt__no_memory_sticks_and_nothing_leaks(void **state) {
    fixture *f = *state;
    telling told;
    tell_story(f, &told);
    size_t live = hone__alloc_live();
    for (size_t nth = 1; nth < 60; nth++) {
        hone__buf buf;
        hone__buf_init(&buf, HONE_LIMIT_PROMPT_BYTES);
        hone__alloc_fail_at(nth, 1);
        if (nth % 2 == 0)
            hone__prompt_refine(&buf, &f->input);
        else
            hone__prompt_initial(&buf, &f->input);
        hone__alloc_fail_at(0, 0);
        assert_true(buf.status == HONE_E_NOMEM || buf.length > 500);
        hone__buf_free(&buf);
        hone__alloc_fail_at(nth, 0);
        cJSON_Delete(hone__prompt_schema(f->kernel->space));
        hone__alloc_fail_at(0, 0);
        assert_int_equal(hone__alloc_live(), live);
    }
}

static void test_prompt__numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        int digits;
        const char *text;
    } number[] = {{0, 4, "0"}, {1, 4, "1"}, {-2.5, 4, "-2.5"}, {1234.5678, 4, "1235"}, {123456, 4, "123500"}, {0.00012345, 4, "0.0001234"},
                  {0.999996, 3, "1"}, {1e-7, 3, "1e-7"}, {6.02e23, 3, "6.02e23"}, {1e300 * 1e300, 3, "unknown"}, {99.95, 3, "100"}, {1000, 15, "1000"}};
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++) {
        hone__buf buf;
        hone__buf_init(&buf, 100);
        hone__text_number(&buf, number[i].value, number[i].digits);
        if (i == 5)
            assert_true(strcmp(buf.data, "0.0001234") == 0 || strcmp(buf.data, "0.0001235") == 0); /* a tie in decimal, not in binary */
        else
            assert_string_equal(buf.data, number[i].text);
        hone__buf_free(&buf);
    }
}

static void test_prompt__clean_text(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t max;
        const char *out;
    } text[] = {{"plain", 10, "plain"}, {"a\nb\tc\rd", 10, "a b cd"}, {"\x1b[31mred\x07", 20, "?[31mred?"}, {"0123456789", 10, "0123456789"},
                {"01234567890", 10, "0123456..."}, {"\xc3\xa4\xc3", 10, "\xc3\xa4?"}, {"\xc2\x9b" "31m", 10, "??31m"}, {"\xe2\x80\xae" "evil", 10, "???evil"},
                {"\xed\xa0\x80", 10, "???"}, {"\xf0\x9f\x98\x80", 10, "\xf0\x9f\x98\x80"}, {"\xc0\xaf", 10, "??"}, {"", 5, ""}};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        hone__buf buf;
        hone__buf_init(&buf, 100);
        hone__text_clean(&buf, text[i].in, text[i].max, true);
        hone__buf_text(&buf, "");
        assert_string_equal(buf.data, text[i].out);
        hone__buf_free(&buf);
    }
}

/* A batch that cannot hold all combinations of few values holds those of two. */
static void test_prompt__combinations_of_two_values(void **state) {
    static const char mixed[] =
        "{\"hone\":1,\"name\":\"mixed\",\"language\":\"external\",\"evaluator\":[\"none\"],\"params\":{"
        "\"A\":{\"kind\":\"bool\",\"default\":false},\"B\":{\"kind\":\"enum\",\"values\":[1,2,4,8],\"default\":1},"
        "\"C\":{\"kind\":\"enum\",\"values\":[0,1],\"default\":1}}}";
    fixture *f = *state;
    unload(f);
    load(f, mixed);
    char *text = written(hone__prompt_initial, &f->input);
    assert_has(text, "measured together: A (false, true); C (0, 1). Their 4 combinations fit into one batch");
    hone__free(text);
    f->input.configs_wanted = 3;
    text = written(hone__prompt_initial, &f->input);
    assert_has_not(text, "combinations fit into one batch");
    hone__free(text);
}

/* What was never met is not counted. */
static void test_prompt__rare_configs(void **state) {
    static const char rare[] =
        "{\"hone\":1,\"name\":\"rare\",\"language\":\"external\",\"evaluator\":[\"none\"],\"params\":{"
        "\"A\":{\"kind\":\"range\",\"min\":1,\"max\":1000,\"default\":443},\"B\":{\"kind\":\"range\",\"min\":1,\"max\":1000,\"default\":92},"
        "\"C\":{\"kind\":\"range\",\"min\":1,\"max\":1000,\"default\":65},\"D\":{\"kind\":\"range\",\"min\":1,\"max\":1000,\"default\":898},"
        "\"E\":{\"kind\":\"range\",\"min\":1,\"max\":1000,\"default\":609}},"
        "\"constraints\":[\"(A * B + C * D + E) % 9973 == 5\",\"(A * 3 + B * 5 + C * 7 + D * 11 + E * 13) % 10007 == 25\"]}";
    fixture *f = *state;
    unload(f);
    load(f, rare);
    char *text = written(hone__prompt_initial, &f->input);
    assert_has(text, "Of 1e15 combinations hardly any is valid for these sizes");
    assert_has(text, "- Very few combinations are valid");
    hone__free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_prompt__initial_states_the_facts, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__combinations_of_two_values, open_fixture, close_fixture),
        cmocka_unit_test(test_prompt__system_holds_the_contract),
        cmocka_unit_test_setup_teardown(test_prompt__source_is_cut_in_the_middle, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__refine_computes_state_effects_and_gaps, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__abandoned_configs_are_rough_and_never_best, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__refine_without_any_success, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__patterns_of_the_top, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__repair_has_an_example_that_is_valid, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__schema_describes_the_space, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__bounded_whatever_the_input, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__secrets_do_not_leave, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_prompt__no_memory_sticks_and_nothing_leaks, open_fixture, close_fixture),
        cmocka_unit_test(test_prompt__numbers),
        cmocka_unit_test(test_prompt__clean_text),
        cmocka_unit_test_setup_teardown(test_prompt__rare_configs, open_fixture, close_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
