/* test_reply_property.c: random valid configs, written down the way models do (fences, prose, other quotes, stray commas, comments, one a line, whole or
 * sparse), are all found again, in order; with broken ones mixed in, exactly the good ones are. */
#include "alloc.h"
#include "prompt.h"
#include "unit/reply_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS = 400, CONFIGS_MAX = 24 };

static uint64_t seed_of_run(void) {
    const char *text = getenv("HONE_TEST_SEED");
    return text == NULL || *text == '\0' ? 20261123u : strtoull(text, NULL, 0);
}

static bool chance(hone__rng *rng, uint64_t one_in) {
    return hone__rng_below(rng, one_in) == 0;
}

/* One config's JSON with slips that lose nothing. */
static void write_config(hone__buf *buf, hone__rng *rng, const hone__space *space, const hone__config *config) {
    hone__buf plain;
    hone__buf_init(&plain, 4096);
    if (chance(rng, 3))
        hone__config_print(&plain, space, config);
    else
        hone__config_print_sparse(&plain, space, config);
    bool single = chance(rng, 4), comments = chance(rng, 4), python = chance(rng, 4), wrap = chance(rng, 6);
    hone__buf_text(buf, wrap ? "{\"config\": " : "");
    for (size_t i = 0; i < plain.length; i++) {
        char c = plain.data[i];
        if (c == '"') {
            hone__buf_char(buf, single ? '\'' : '"');
        } else if (python && strncmp(plain.data + i, "true", 4) == 0) {
            hone__buf_text(buf, "True");
            i += 3;
        } else if (python && strncmp(plain.data + i, "false", 5) == 0) {
            hone__buf_text(buf, "False");
            i += 4;
        } else if (c == ',' && comments && chance(rng, 3)) {
            hone__buf_text(buf, ", /* it's \"}\" here */ ");
        } else if (c == '}' && chance(rng, 3) && plain.length > 2) {
            hone__buf_text(buf, ",}");
        } else if ((c == ':' || c == ',') && chance(rng, 3)) {
            hone__buf_char(buf, c);
            hone__buf_text(buf, "\n   ");
        } else {
            hone__buf_char(buf, c);
        }
    }
    hone__buf_text(buf, wrap ? ", \"why\": \"it's {a} guess\"}" : "");
    hone__buf_free(&plain);
}

static const char *const broken[] = {"{\"BM\": 48000}", "{\"layout\": \"zz\"}", "{\"unroll\": [1]}", "{\"nothing\": 1}", "{\"order\": [1, 1, 1]}", "\"text\"", "7"};

typedef struct written {
    hone__buf text;
    hone__config config[CONFIGS_MAX];
    uint32_t count, broken;
} written;

static bool is_new(const written *reply, const hone__config *config) {
    for (uint32_t i = 0; i < reply->count; i++) {
        if (hone__config_equal(&reply->config[i], config))
            return false;
    }
    return true;
}

static void write_reply(written *reply, hone__rng *rng, const reply_space *space) {
    *reply = (written){.count = 0};
    hone__buf_init(&reply->text, 1 << 20);
    bool lines = chance(rng, 4), bare = chance(rng, 3), fence = chance(rng, 2);
    if (chance(rng, 2))
        hone__buf_text(&reply->text, "Here's what I think {it is a guess}: (1) don't worry.\n");
    hone__buf_text(&reply->text, fence ? "```json\n" : "");
    hone__buf_text(&reply->text, lines ? "" : bare ? "[" : "{\"thought\": \"a 'quoted' {thing} [x]\", \"configs\": [");
    uint32_t wanted = 1 + (uint32_t)hone__rng_below(rng, CONFIGS_MAX);
    for (uint32_t i = 0; i < wanted; i++) {
        hone__config config;
        assert_true(hone__bound_sample(space->bound, rng, &config));
        if (hone__config_equal(&config, &space->space->base))
            continue; /* written sparse it would be {}, which counts only in a list */
        write_config(&reply->text, rng, space->space, &config);
        if (is_new(reply, &config))
            reply->config[reply->count++] = config;
        hone__buf_text(&reply->text, lines ? "\n" : chance(rng, 6) ? " " : ",\n");
        if (!lines && chance(rng, 5)) {
            hone__buf_text(&reply->text, broken[hone__rng_below(rng, sizeof broken / sizeof broken[0])]);
            hone__buf_char(&reply->text, ',');
            reply->broken++;
        }
    }
    static const char *const end[] = {"]}", "]", "", "]}}", "] }\n"};
    hone__buf_text(&reply->text, lines ? "" : bare ? "]" : end[hone__rng_below(rng, sizeof end / sizeof end[0])]);
    hone__buf_text(&reply->text, fence ? "\n```\n" : "");
    assert_int_equal(reply->text.status, HONE_OK);
}

static void test_reply_property__all_good_configs_are_found(void **state) {
    (void)state;
    reply_space space;
    assert_int_equal(reply_space_open(&space), 0);
    uint64_t seed = seed_of_run();
    print_message("seed %llu (HONE_TEST_SEED)\n", (unsigned long long)seed);
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    uint32_t total = 0;
    for (int round = 0; round < ROUNDS; round++) {
        written reply;
        write_reply(&reply, &rng, &space);
        hone__parsed_reply parsed;
        assert_int_equal(hone__reply_parse(&parsed, reply.text.data, reply.text.length, space.bound, CONFIGS_MAX, NULL), HONE_OK);
        bool same = parsed.count == reply.count;
        for (uint32_t i = 0; same && i < reply.count; i++)
            same = hone__config_equal(&parsed.config[i], &reply.config[i]);
        if (!same) {
            print_error("round %d: wrote %u configs, %u broken; found %u\n%s\n", round, (unsigned)reply.count, (unsigned)reply.broken,
                        (unsigned)parsed.count, reply.text.data);
            for (uint32_t i = 0; i < parsed.rejection_count; i++)
                print_error("rejected %s: %s\n", parsed.rejection[i].config, parsed.rejection[i].reason);
        }
        assert_true(same);
        total += parsed.count;
        hone__parsed_reply_clear(&parsed);
        hone__buf_free(&reply.text);
    }
    assert_true(total > ROUNDS);
    reply_space_close(&space);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reply_property__all_good_configs_are_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
