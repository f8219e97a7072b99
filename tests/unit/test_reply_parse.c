/* test_reply_parse.c: what is salvaged from nasty replies, and that nothing invalid ever is (spec/prompt.md section 4). */
#include "alloc.h"
#include "prompt.h"
#include "reply_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static reply_space fixture;

static int open_fixture(void **state) {
    (void)state;
    return reply_space_open(&fixture);
}

static int close_fixture(void **state) {
    (void)state;
    reply_space_close(&fixture);
    return 0;
}

typedef struct reply_case {
    const char *name;
    const char *reply;
    const char *configs;      /* sparse, joined by spaces */
    uint32_t rejections;
    const char *reason;       /* part of some rejection, or of the problem; NULL: not looked at */
} reply_case;

static const reply_case cases[] = {
    {"whole", "{\"thought\":\"t\",\"configs\":[{\"BM\":128},{\"vec\":true}]}", "{\"BM\":128} {\"vec\":true}", 0, NULL},
    {"fenced", "```json\n{\"configs\":[{\"BM\":128}]}\n```", "{\"BM\":128}", 0, NULL},
    {"bare fence and prose", "Sure! Here's what I'd try:\n```\n[{\"BM\":32}]\n```\nHope it's good.", "{\"BM\":32}", 0, NULL},
    {"prose with braces", "The set {1, 2} of {tiles} matters. {\"configs\":[{\"BM\":32}]}", "{\"BM\":32}", 0, NULL},
    {"prose with unclosed brace", "I mean { hmm {\"configs\":[{\"BM\":32}]}", "{\"BM\":32}", 0, NULL},
    {"code before", "for (int i = 0; i < n; i++) { a[i] = b[i]; }\n{\"configs\":[{\"BN\":32}]}", "{\"BN\":32}", 0, NULL},
    {"bare list", "[{\"BM\":32},{\"BM\":128}]", "{\"BM\":32} {\"BM\":128}", 0, NULL},
    {"json lines", "{\"BM\":32}\n{\"BM\":128}\n{\"BN\":32}\n", "{\"BM\":32} {\"BM\":128} {\"BN\":32}", 0, NULL},
    {"truncated in second", "{\"configs\":[{\"BM\":128},{\"BM\":3", "{\"BM\":128}", 1, "incomplete"},
    {"truncated after comma", "{\"configs\":[{\"BM\":128},", "{\"BM\":128}", 0, NULL},
    {"truncated in thought", "{\"thought\":\"try {\\\"BM\\\":32} and", "", 0, "before the first config"},
    {"truncated fence", "```json\n{\"configs\":[{\"BM\":128},{\"BN\":32}\n```\n", "{\"BM\":128} {\"BN\":32}", 0, NULL},
    {"single quotes", "{'configs':[{'BM':32,'layout':'nt'}]}", "{\"BM\":32,\"layout\":\"nt\"}", 0, NULL},
    {"typographic quotes", "{\xe2\x80\x9c" "configs\xe2\x80\x9d:[{\xe2\x80\x9c" "BM\xe2\x80\x9d:32}]}", "{\"BM\":32}", 0, NULL},
    {"trailing commas", "{\"configs\":[{\"BM\":32,},{\"BN\":32},],}", "{\"BM\":32} {\"BN\":32}", 0, NULL},
    {"missing comma", "{\"configs\":[{\"BM\":32 \"BN\":32} {\"BN\":128}]}", "{\"BM\":32,\"BN\":32} {\"BN\":128}", 0, NULL},
    {"comments", "{\"configs\":[ // first, don't worry\n{\"BM\":32 /* small */},\n# second\n{\"BN\":32}]}", "{\"BM\":32} {\"BN\":32}", 0, NULL},
    {"python constants", "{'configs':[{'vec':True,'BM':32},{'vec':False,'BN':32}]}", "{\"BM\":32,\"vec\":true} {\"BN\":32}", 0, NULL},
    {"python tuple", "configs = [{'unroll': (2, 4)}]", "{\"unroll\":[2,4]}", 0, NULL},
    {"null value", "{\"configs\":[{\"BM\":null},{\"BN\":32}]}", "{\"BN\":32}", 1, "BM"},
    {"nan", "{\"configs\":[{\"BM\":NaN},{\"MR\":Infinity},{\"MR\":1e999},{\"BN\":32}]}", "{\"BN\":32}", 3, "MR"},
    {"bare names", "{configs:[{BM:32,layout:tt}]}", "{\"BM\":32,\"layout\":\"tt\"}", 0, NULL},
    {"equals signs", "[{BM=32, MR=2}]", "{\"BM\":32,\"MR\":2}", 0, NULL},
    {"number as string", "{\"configs\":[{\"BM\":\"128\"}]}", "{\"BM\":128}", 1, "mended"},
    {"float for integer", "{\"configs\":[{\"BM\":128.0},{\"MR\":2.0}]}", "{\"BM\":128} {\"MR\":2}", 0, NULL},
    {"number in list", "{\"configs\":[{\"BM\":[128]}]}", "{\"BM\":128}", 1, "mended"},
    {"zero for bool", "{\"configs\":[{\"vec\":1}]}", "{\"vec\":true}", 1, "mended"},
    {"scalar for list", "{\"configs\":[{\"unroll\":4}]}", "{\"unroll\":[4,4]}", 1, "mended"},
    {"letter case", "{\"configs\":[{\"bm\":32,\"LAYOUT\":\"NT\"}]}", "{\"BM\":32,\"layout\":\"nt\"}", 1, "mended"},
    {"unknown key", "{\"configs\":[{\"BM\":32,\"warps\":4}]}", "{\"BM\":32}", 1, "warps"},
    {"only unknown keys", "{\"configs\":[{\"warps\":4},{\"BM\":32}]}", "{\"BM\":32}", 1, "no parameter"},
    {"short list", "{\"configs\":[{\"unroll\":[1,2,4]},{\"BM\":32}]}", "{\"BM\":32}", 1, "unroll"},
    {"no permutation", "{\"configs\":[{\"order\":[0,0,1]},{\"order\":[2,1,0]}]}", "{\"order\":[2,1,0]}", 1, "order"},
    {"out of range", "{\"configs\":[{\"BM\":512},{\"BM\":32}]}", "{\"BM\":32}", 1, "512"},
    {"two constraints broken", "{\"configs\":[{\"BM\":256,\"BN\":256,\"MR\":7,\"vec\":true},{\"BM\":32}]}", "{\"BM\":32}", 1, "BM % MR == 0"},
    {"nested config", "{\"configs\":[{\"config\":{\"BM\":32},\"why\":\"small\"},{\"name\":\"b\",\"params\":{\"BM\":128}}]}",
     "{\"BM\":32} {\"BM\":128}", 0, NULL},
    {"configs deep inside", "{\"answer\":{\"data\":[{\"configs\":[{\"BM\":32}]}]}}", "{\"BM\":32}", 0, NULL},
    {"configs as object", "{\"configs\":{\"a\":{\"BM\":32},\"b\":{\"BM\":128}}}", "{\"BM\":32} {\"BM\":128}", 0, NULL},
    {"one config, no list", "{\"configs\":{\"BM\":32}}", "{\"BM\":32}", 0, NULL},
    {"configs as text", "{\"configs\":\"[{\\\"BM\\\":32}]\"}", "{\"BM\":32}", 0, NULL},
    {"config as text", "{\"configs\":[\"{\\\"BM\\\":32}\",\"BM=128\"]}", "{\"BM\":32}", 1, "not an object"},
    {"list in list", "[[{\"BM\":32}],[{\"BN\":32}]]", "{\"BM\":32} {\"BN\":32}", 0, NULL},
    {"duplicates", "[{\"BM\":32},{\"BM\":32},{\"BM\":32,\"BN\":64}]", "{\"BM\":32}", 0, NULL},
    {"default", "{\"configs\":[{}]}", "{}", 0, NULL},
    {"empty object in prose", "int a[] = {}; I would rather not.", "", 0, "no configs"},
    {"same member twice", "[{\"BM\":32,\"BM\":128},{\"BN\":32,\"BN\":32}]", "{\"BN\":32}", 1, "twice"},
    {"one bracket forgotten", "{\"configs\":[{\"BM\":32},{\"BM\":128]}", "{\"BM\":32} {\"BM\":128}", 0, NULL},
    {"one bracket too many", "{\"configs\":[{\"BM\":32}},{\"BM\":128}]}", "{\"BM\":32} {\"BM\":128}", 0, NULL},
    {"expression", "{\"configs\":[{\"BM\":64*2},{\"BN\":32}]}", "{\"BN\":32}", 1, "incomplete"},
    {"two blocks", "```json\n{\"configs\":[{\"BM\":32}]}\n```\nand\n```json\n{\"configs\":[{\"BM\":128}]}\n```", "{\"BM\":32} {\"BM\":128}", 0, NULL},
    {"thinking aloud", "<think>maybe {\"BM\":16}?</think>{\"configs\":[{\"BM\":32}]}", "{\"BM\":32}", 0, NULL},
    {"thinking cut", "<think>maybe {\"configs\":[{\"BM\":16}]}", "", 0, "no JSON"},
    {"escapes", "{\"configs\":[{\"\\u0042M\":32,\"layout\":\"n\\u0074\"}]}", "{\"BM\":32,\"layout\":\"nt\"}", 0, NULL},
    {"terminal escape", "{\"configs\":[{\"layout\":\"\x1b[31m\x07nt\"},{\"BM\":32}]}", "{\"BM\":32}", 1, "layout"},
    {"empty", "", "", 0, "empty"},
    {"refusal", "I'm sorry, I can't help with that.", "", 0, "no JSON"},
    {"error page", "<html><body>502 Bad Gateway</body></html>", "", 0, "no JSON"},
    {"other json", "{\"error\":{\"code\":429,\"message\":\"slow down\"}}", "", 0, "no configs"},
    {"empty list", "{\"thought\":\"nothing\",\"configs\":[]}", "", 0, "no configs"},
    {"numbers", "[1,2,3]", "", 0, "no configs"},
    {"only brackets", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{{{{{{", "", 0, NULL},
    {"mismatched", "]}]}{]}[}", "", 0, NULL},
};

static char *joined(const hone__parsed_reply *parsed) {
    hone__buf buf;
    hone__buf_init(&buf, 1 << 20);
    for (uint32_t i = 0; i < parsed->count; i++) {
        hone__buf_text(&buf, i > 0 ? " " : "");
        hone__config_print_sparse(&buf, fixture.space, &parsed->config[i]);
    }
    return hone__buf_take(&buf);
}

static void assert_sound(const hone__parsed_reply *parsed) {
    for (uint32_t i = 0; i < parsed->count; i++) {
        assert_true(hone__bound_valid(fixture.bound, &parsed->config[i], NULL));
        for (uint32_t j = 0; j < i; j++)
            assert_false(hone__config_equal(&parsed->config[i], &parsed->config[j]));
    }
    for (uint32_t i = 0; i < parsed->rejection_count; i++) {
        assert_true(strlen(parsed->rejection[i].config) <= 160);
        assert_true(parsed->rejection[i].reason[0] != '\0');
        for (const char *c = parsed->rejection[i].config; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
        for (const char *c = parsed->rejection[i].reason; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    assert_non_null(parsed->thought);
    assert_true(strlen(parsed->thought) <= 500);
    if (parsed->count == 0)
        assert_true(parsed->problem[0] != '\0');
}

static void parse(hone__parsed_reply *parsed, const char *text, size_t bytes, uint32_t max) {
    hone_error err = {0};
    assert_int_equal(hone__reply_parse(parsed, text, bytes, fixture.bound, max, &err), HONE_OK);
    assert_sound(parsed);
}

static bool says(const hone__parsed_reply *parsed, const char *part) {
    bool found = strstr(parsed->problem, part) != NULL;
    for (uint32_t i = 0; i < parsed->rejection_count; i++)
        found = found || strstr(parsed->rejection[i].reason, part) != NULL;
    return found;
}

static void test_reply_parse__salvages_nasty_replies(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone__parsed_reply parsed;
        parse(&parsed, cases[i].reply, strlen(cases[i].reply), 64);
        char *have = joined(&parsed);
        if (strcmp(have, cases[i].configs) != 0 || parsed.rejection_count != cases[i].rejections ||
            (cases[i].reason != NULL && !says(&parsed, cases[i].reason))) {
            print_error("case \"%s\": got configs %s; problem: %s\n", cases[i].name, have, parsed.problem);
            for (uint32_t j = 0; j < parsed.rejection_count; j++)
                print_error("  rejected %s: %s\n", parsed.rejection[j].config, parsed.rejection[j].reason);
            print_error("  wanted %s, %u rejections, \"%s\"\n", cases[i].configs, (unsigned)cases[i].rejections,
                        cases[i].reason == NULL ? "" : cases[i].reason);
            fail();
        }
        hone__free(have);
        hone__parsed_reply_clear(&parsed);
    }
}

/* Whatever is cut off, what is left gives configs of the whole reply only, in their order. */
static void check_truncations(const char *name, const char *text) {
    hone__parsed_reply whole;
    parse(&whole, text, strlen(text), 64);
    for (size_t bytes = 0; bytes < strlen(text); bytes++) {
        hone__parsed_reply part;
        char *copy = malloc(bytes + 1); /* of exactly that size, for the sanitizer */
        assert_non_null(copy);
        memcpy(copy, text, bytes);
        parse(&part, copy, bytes, 64);
        uint32_t at = 0;
        for (uint32_t i = 0; i < part.count; i++) {
            while (at < whole.count && !hone__config_equal(&whole.config[at], &part.config[i]))
                at++;
            if (at == whole.count)
                print_error("case \"%s\" cut at %zu gives a config that the whole does not have\n", name, bytes);
            assert_true(at < whole.count);
        }
        free(copy);
        hone__parsed_reply_clear(&part);
    }
    hone__parsed_reply_clear(&whole);
}

static void test_reply_parse__truncation_gives_a_subset(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_truncations(cases[i].name, cases[i].reply);
    check_truncations("long", "Let me think about it (see {\"BM\": 16}).\n```json\n{\"thought\": \"BM matters {\\\"BM\\\": 8}\", \"configs\": [\n"
                              "  {\"BM\": 128, \"sub\": {\"BM\": 32}, \"unroll\": [1, 2]},\n  {\"vec\": true, \"BM\": 256},\n"
                              "  {\"notes\": {\"BN\": 16}, \"BN\": 32},\n  {\"order\": [2, 0, 1], \"MR\": 2}\n]}\n```\nDone {\"BN\": 128}.");
}

static void test_reply_parse__one_changed_parameter_mends_a_constraint(void **state) {
    (void)state;
    const char *reply = "{\"configs\":[{\"BM\":128,\"MR\":3}]}"; /* 128 % 3; MR=2 or 4 would do */
    hone__parsed_reply parsed;
    parse(&parsed, reply, strlen(reply), 8);
    assert_int_equal(parsed.count, 1);
    assert_int_equal(parsed.rejection_count, 1);
    assert_non_null(strstr(parsed.rejection[0].reason, "repaired: MR changed from 3 to "));
    assert_non_null(strstr(parsed.rejection[0].reason, "BM % MR == 0"));
    assert_int_equal(hone__domain_int(&fixture.space->param[0].domain, parsed.config[0].slot[0]), 128);
    hone__parsed_reply_clear(&parsed);
}

static void test_reply_parse__at_most_max(void **state) {
    (void)state;
    const char *reply = "[{\"BM\":16},{\"BM\":32},{\"BM\":32},{\"BM\":128},{\"BM\":256}]";
    hone__parsed_reply parsed;
    parse(&parsed, reply, strlen(reply), 2);
    assert_int_equal(parsed.count, 2);
    assert_true(says(&parsed, "more configs"));
    hone__parsed_reply_clear(&parsed);
}

static void test_reply_parse__thought_is_bounded_and_clean(void **state) {
    (void)state;
    hone__buf buf;
    hone__buf_init(&buf, 1 << 20);
    hone__buf_text(&buf, "{\"reasoning\":\"other\",\"thought\":\"");
    for (int i = 0; i < 300; i++)
        hone__buf_text(&buf, "\xc3\xa4\x1b[2J");
    hone__buf_text(&buf, "\",\"configs\":[{\"BM\":32}]}");
    hone__parsed_reply parsed;
    parse(&parsed, buf.data, buf.length, 8);
    assert_true(strncmp(parsed.thought, "\xc3\xa4?[2J", 6) == 0);
    assert_null(strchr(parsed.thought, 0x1b));
    assert_int_equal(parsed.count, 1);
    hone__parsed_reply_clear(&parsed);
    hone__buf_free(&buf);
}

static void test_reply_parse__rejections_are_bounded(void **state) {
    (void)state;
    hone__buf buf;
    hone__buf_init(&buf, 1 << 20);
    hone__buf_text(&buf, "[");
    for (int i = 0; i < 300; i++)
        hone__buf_printf(&buf, "{\"BM\":%d},", 1000 + i);
    hone__buf_text(&buf, "]");
    hone__parsed_reply parsed;
    parse(&parsed, buf.data, buf.length, 8);
    assert_int_equal(parsed.count, 0);
    assert_int_equal(parsed.rejection_count, 65);
    assert_string_equal(parsed.rejection[64].reason, "and 236 more like these");
    hone__parsed_reply_clear(&parsed);
    hone__buf_free(&buf);
}

/* Looking for the parameter that a strange name may have meant is slow: it is not done without end. */
static void test_reply_parse__strange_names_are_bounded(void **state) {
    (void)state;
    hone__buf buf;
    hone__buf_init(&buf, 4 << 20);
    hone__buf_text(&buf, "[");
    for (int i = 0; i < 500; i++) {
        hone__buf_text(&buf, "{\"BM\":32");
        for (int j = 0; j < 200; j++)
            hone__buf_printf(&buf, ",\"stranger_%d\":1", j);
        hone__buf_text(&buf, "},");
    }
    hone__buf_text(&buf, "{\"BN\":32}]");
    hone__parsed_reply parsed;
    parse(&parsed, buf.data, buf.length, 8);
    assert_int_equal(parsed.count, 1);
    assert_true(says(&parsed, "too many members"));
    hone__parsed_reply_clear(&parsed);
    hone__buf_free(&buf);
}

/* Replies that would cost a naive reader quadratic time, a deep stack or gigabytes. */
static void test_reply_parse__hostile_bulk(void **state) {
    (void)state;
    static const char *const unit[] = {"{", "[", "[[", "{\"a\":", "[/*", "{\"", "{'", "[1,", "{\"BM\":32},", "[{\"BM\":1},", "\\\"{", "<think>", "{}", "[{"};
    size_t bytes = 1 << 20;
    char *text = malloc(bytes);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++) {
        size_t length = strlen(unit[i]);
        for (size_t j = 0; j < bytes; j++)
            text[j] = unit[i][j % length];
        hone__parsed_reply parsed;
        parse(&parsed, text, bytes, 16);
        assert_true(parsed.count <= 16);
        hone__parsed_reply_clear(&parsed);
    }
    free(text);
}

static void test_reply_parse__no_memory_is_told_and_nothing_leaks(void **state) {
    (void)state;
    const char *reply = "{\"thought\":\"x\",\"configs\":[{\"BM\":128,\"MR\":3},{\"BM\":\"32\",\"w\":1},{\"BM\":999},{\"BN\":32}]}";
    size_t live = hone__alloc_live();
    bool done = false;
    for (size_t nth = 1; nth < 2000 && !done; nth++) {
        hone__parsed_reply parsed;
        hone__alloc_fail_at(nth, 1);
        hone_status status = hone__reply_parse(&parsed, reply, strlen(reply), fixture.bound, 8, NULL);
        hone__alloc_fail_at(0, 0);
        assert_true(status == HONE_OK || status == HONE_E_NOMEM);
        if (status == HONE_OK) {
            assert_sound(&parsed);
            done = parsed.count == 3 && parsed.rejection_count == 3;
        }
        hone__parsed_reply_clear(&parsed);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply_parse__salvages_nasty_replies),
        cmocka_unit_test(test_reply_parse__truncation_gives_a_subset),
        cmocka_unit_test(test_reply_parse__one_changed_parameter_mends_a_constraint),
        cmocka_unit_test(test_reply_parse__at_most_max),
        cmocka_unit_test(test_reply_parse__thought_is_bounded_and_clean),
        cmocka_unit_test(test_reply_parse__rejections_are_bounded),
        cmocka_unit_test(test_reply_parse__strange_names_are_bounded),
        cmocka_unit_test(test_reply_parse__hostile_bulk),
        cmocka_unit_test(test_reply_parse__no_memory_is_told_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
