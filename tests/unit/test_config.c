/* Configs as JSON: reading, what refusals say, repairs with their notes, macros and the public view. */
#include "alloc.h"
#include "space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char spec[] =
    "{\"params\": {\"BM\": {\"kind\":\"range\",\"min\":16,\"max\":256,\"step\":16}, \"W\": {\"kind\":\"pow2\",\"min\":1,\"max\":32},"
    "\"E\": {\"kind\":\"enum\",\"values\":[3,1,20]}, \"F\": {\"kind\":\"enum\",\"values\":[0.5,1,0.1]},"
    "\"order\": {\"kind\":\"enum\",\"values\":[\"row\",\"Col\",\"128\"]}, \"U\": {\"kind\":\"bool\"},"
    "\"P\": {\"kind\":\"permutation\",\"length\":3}, \"L\": {\"kind\":\"list\",\"length\":3,\"of\":{\"kind\":\"pow2\",\"min\":1,\"max\":8}},"
    "\"K\": {\"kind\":\"list\",\"length\":1,\"of\":{\"kind\":\"bool\"}}, \"S\": {\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"enum\",\"values\":[\"a\",\"b\"]}}}}";

static hone__space *space;

static int set_up(void **state) {
    (void)state;
    cJSON *json;
    if (hone__json_parse(&json, spec, strlen(spec), "k.json", NULL) != HONE_OK)
        return -1;
    hone_status status = hone__space_parse(&space, json, "k.json", NULL, 0, NULL);
    cJSON_Delete(json);
    return status == HONE_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    hone__space_free(space);
    return 0;
}

static hone_status read_text(const char *text, bool repair, hone__config *out, hone__buf *notes, hone_error *err) {
    cJSON *json;
    if (hone__json_parse(&json, text, strlen(text), "config", NULL) != HONE_OK)
        fail_msg("not JSON: %s", text);
    hone_status status = hone__config_read(space, json, repair, out, notes, err);
    cJSON_Delete(json);
    return status;
}

static void expect_sparse(const hone__config *config, const char *wanted, const char *text) {
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__config_print_sparse(&buf, space, config);
    if (strcmp(buf.data, wanted) != 0)
        fail_msg("%s gave %s, not %s", text, buf.data, wanted);
    hone__buf_free(&buf);
}

static const struct {
    const char *text, *sparse;
} good[] = {
    {"{}", "{}"},
    {"{\"BM\":32}", "{\"BM\":32}"},
    {"{\"BM\":32.0,\"W\":1}", "{\"BM\":32}"},
    {"{\"U\":true,\"P\":[2,1,0],\"E\":20}", "{\"E\":20,\"U\":true,\"P\":[2,1,0]}"},
    {"{\"F\":0.1,\"order\":\"Col\",\"L\":[8,1,2],\"K\":[true],\"S\":[\"b\",\"a\"]}",
     "{\"F\":0.1,\"order\":\"Col\",\"L\":[8,1,2],\"K\":[true],\"S\":[\"b\",\"a\"]}"},
};

/* Refused as it stands, with this message; with repair it becomes `sparse` (NULL: refused as well), with this note. */
static const struct {
    const char *text, *message, *sparse, *note;
} slips[] = {
    {"{\"BM\":\"64\"}", "BM: \"64\" is not in the range 16..256 step 16", "{\"BM\":64}", "BM: \"64\" read as 64\n"},
    {"{\"BM\":\" 64.0 \"}", "is not in the range", "{\"BM\":64}", "read as 64\n"},
    {"{\"BM\":[64]}", "BM: [64] is not in the range", "{\"BM\":64}", "BM: [64] read as 64\n"},
    {"{\"BM\":[\"64\"]}", "is not in the range", "{\"BM\":64}", "read as 64\n"},
    {"{\"BM\":70}", "BM: 70 is not in the range 16..256 step 16; nearest 64 or 80", "{\"BM\":64}", "70 is not in the range 16..256 step 16; took the nearest, 64\n"},
    {"{\"BM\":72.5}", "72.5 is not in", "{\"BM\":80}", "took the nearest, 80\n"},
    {"{\"BM\":72}", "nearest 64 or 80", "{\"BM\":64}", "took the nearest, 64\n"},
    {"{\"BM\":\"70\"}", "is not in", "{\"BM\":64}", "took the nearest, 64\n"},
    {"{\"BM\":257}", "BM: 257 is not in the range 16..256 step 16; nearest 256", NULL, NULL},
    {"{\"BM\":-1}", "nearest 16", NULL, NULL},
    {"{\"BM\":\"0x40\"}", "is not in", NULL, NULL},
    {"{\"BM\":\"nan\"}", "is not in", NULL, NULL},
    {"{\"BM\":1e300}", "1e+300 is not in", NULL, NULL},
    {"{\"BM\":null}", "BM: null is not in", NULL, NULL},
    {"{\"BM\":[32,64]}", "BM: [32,64] is not in", NULL, NULL},
    {"{\"BM\":{}}", "BM: {} is not in", NULL, NULL},
    {"{\"W\":3}", "W: 3 is not in the powers of two 1..32; nearest 2 or 4", "{\"W\":2}", "nearest, 2\n"},
    {"{\"W\":7}", "nearest 4 or 8", "{\"W\":8}", "nearest, 8\n"},
    {"{\"W\":0}", "nearest 1", NULL, NULL},
    {"{\"E\":2}", "E: 2 is not in the values 3, 1, 20; nearest 1 or 3", "{\"E\":1}", "nearest, 1\n"},
    {"{\"E\":21}", "nearest 20", NULL, NULL},
    {"{\"F\":0.6}", "F: 0.6 is not in the values 0.5, 1, 0.1; nearest 0.5 or 1", "{}", "nearest, 0.5\n"},
    {"{\"order\":\"ROW\"}", "order: \"ROW\" is not one of the values \"row\", \"Col\", \"128\"; nearest \"row\"", "{}", "\"ROW\" read as \"row\"\n"},
    {"{\"order\":\" col \"}", "is not one of", "{\"order\":\"Col\"}", "read as \"Col\"\n"},
    {"{\"order\":128}", "order: 128 is not one of", "{\"order\":\"128\"}", "128 read as \"128\"\n"},
    {"{\"order\":[\"Col\"]}", "is not one of", "{\"order\":\"Col\"}", "read as"},
    {"{\"order\":\"diag\"}", "is not one of", NULL, NULL},
    {"{\"order\":true}", "is not one of", NULL, NULL},
    {"{\"U\":1}", "U: 1 is neither true nor false", "{\"U\":true}", "U: 1 read as true\n"},
    {"{\"U\":0}", "neither", "{}", "U: 0 read as false\n"},
    {"{\"U\":\"True\"}", "neither", "{\"U\":true}", "read as true\n"},
    {"{\"U\":2}", "neither", NULL, NULL},
    {"{\"U\":\"maybe\"}", "neither", NULL, NULL},
    {"{\"P\":[0,1]}", "P: 2 values were given, but it is an order of 3", NULL, NULL},
    {"{\"P\":[0,1,1]}", "P: 1 is given twice; an order has each of 0..2 once", NULL, NULL},
    {"{\"P\":[1,2,3]}", "P: element 2: 3 is not in 0..2; nearest 2", NULL, NULL},
    {"{\"P\":0}", "P: 0 is not an order of 3 values", NULL, NULL},
    {"{\"L\":4}", "L: 4 is not a list of 3 values", "{\"L\":[4,4,4]}", "L: 4 repeated for the list of 3\n"},
    {"{\"L\":\"4\"}", "is not a list of 3", "{\"L\":[4,4,4]}", "repeated for the list of 3; \"4\" read as 4\n"},
    {"{\"L\":[1,\"2\",3]}", "L: element 1: \"2\" is not in", "{\"L\":[1,2,2]}", "L: element 1: \"2\" read as 2; element 2: 3 is not in"},
    {"{\"L\":[1,2]}", "L: 2 values were given, but it is a list of 3", NULL, NULL},
    {"{\"L\":[1,2,4,8]}", "L: 4 values were given", NULL, NULL},
    {"{\"L\":[1,2,99]}", "L: element 2: 99 is not in the powers of two 1..8; nearest 8", NULL, NULL},
    {"{\"L\":99}", "is not a list", NULL, NULL},
    {"{\"K\":1}", "is not a list of 1 value", "{\"K\":[true]}", "repeated"},
    {"{\"S\":\"B\"}", "is not a list of 2", "{\"S\":[\"b\",\"b\"]}", "repeated"},
    {"{\"bm\":32}", "bm: there is no such parameter; did you mean BM?", "{\"BM\":32}", "bm: taken for BM\n"},
    {"{\" BM \":32}", "there is no such parameter", "{\"BM\":32}", "taken for BM\n"},
    {"{\"BM\":32,\"bm\":64}", "bm: there is no such", "{\"BM\":32}", "bm: there is no such parameter; did you mean BM; dropped\n"},
    {"{\"bm\":64,\"Bm\":32}", "there is no such", "{\"BM\":64}", "Bm: there is no such parameter"},
    {"{\"zzzzzz\":1,\"W\":4}", "zzzzzz: there is no such parameter; the parameters are BM, W, E, F, order, U, P, L, K, S", "{\"W\":4}", "zzzzzz: there is no such parameter; dropped\n"},
    {"{\"a\\nb\xc3\xa9\":1}", "a?b??: there is no such", "{}", "a?b??: there is no such parameter; dropped\n"},
    {"[]", "a config is an object of parameter names and values, not []", NULL, NULL},
    {"3", "a config is an object", NULL, NULL},
};

static void test_config__reads_what_is_right(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        hone__config config;
        hone_error err = {0};
        if (read_text(good[i].text, false, &config, NULL, &err) != HONE_OK)
            fail_msg("%s: %s", good[i].text, err.message);
        expect_sparse(&config, good[i].sparse, good[i].text);
    }
}

static void test_config__says_what_is_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof slips / sizeof slips[0]; i++) {
        hone__config config = {{77}};
        hone_error err = {0};
        hone_status status = read_text(slips[i].text, false, &config, NULL, &err);
        if (status != HONE_E_CONFIG || strstr(err.message, slips[i].message) == NULL)
            fail_msg("%s: status %d, \"%s\" lacks \"%s\"", slips[i].text, status, err.message, slips[i].message);
        assert_int_equal(config.slot[0], 77);
    }
}

static void test_config__repairs_slips_with_notes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof slips / sizeof slips[0]; i++) {
        hone__config config;
        hone__buf notes;
        hone__buf_init(&notes, 4096);
        hone__buf_text(&notes, "");
        hone_status status = read_text(slips[i].text, true, &config, &notes, NULL);
        if (status != (slips[i].sparse == NULL ? HONE_E_CONFIG : HONE_OK))
            fail_msg("%s: status %d", slips[i].text, status);
        if (slips[i].sparse != NULL) {
            expect_sparse(&config, slips[i].sparse, slips[i].text);
            if (strstr(notes.data, slips[i].note) == NULL)
                fail_msg("%s: note \"%s\" lacks \"%s\"", slips[i].text, notes.data, slips[i].note);
            assert_int_equal(notes.data[notes.length - 1], '\n');
        }
        hone__buf_free(&notes);
    }
}

static void collect(void *user, const char *definition) {
    hone__buf_printf(user, "%s;", definition);
}

static void test_config__makes_macros(void **state) {
    (void)state;
    hone__config config;
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    assert_int_equal(read_text("{\"U\":true,\"order\":\"Col\",\"P\":[1,2,0]}", false, &config, NULL, NULL), HONE_OK);
    hone__config_macros(space, &config, collect, &buf);
    assert_string_equal(buf.data, "BM=16;W=1;E=3;F=0.5;order=Col;U=1;P_0=1;P_1=2;P_2=0;P_LEN=3;L_0=1;L_1=1;L_2=1;L_LEN=3;K_0=0;K_LEN=1;"
                                  "S_0=a;S_1=a;S_LEN=2;");
    hone__buf_free(&buf);
}

static void test_config__public_view(void **state) {
    (void)state;
    hone_config config = {.space = space};
    assert_int_equal(read_text("{\"BM\":48,\"U\":true,\"order\":\"Col\",\"P\":[1,2,0],\"F\":1}", false, &config.values, NULL, NULL), HONE_OK);
    assert_int_equal(hone_config_int(&config, 0), 48);
    assert_int_equal(hone_config_int(&config, 5), 1);
    assert_int_equal(hone_config_int(&config, 4), 0);
    assert_int_equal(hone_config_int(&config, 99), 0);
    assert_int_equal(hone_config_int(&config, 6), 1);
    assert_int_equal(hone_config_element(&config, 6, 1), 2);
    assert_int_equal(hone_config_element(&config, 6, 3), 0);
    assert_string_equal(hone_config_string(&config, 4), "Col");
    assert_null(hone_config_string(&config, 0));
    assert_null(hone_config_string(&config, 99));
    assert_true(hone_config_number(&config, 3) > 0.99 && hone_config_number(&config, 3) < 1.01);
    assert_true(hone_config_number(&config, 0) > 47.9);
    assert_int_equal(hone_config_int(NULL, 0), 0);
    char *text;
    hone_error err = {0};
    assert_int_equal(hone_config_json(&config, &text, &err), HONE_OK);
    assert_string_equal(text, "{\"BM\":48,\"W\":1,\"E\":3,\"F\":1,\"order\":\"Col\",\"U\":true,\"P\":[1,2,0],\"L\":[1,1,1],\"K\":[false],\"S\":[\"a\",\"a\"]}");
    hone_free(text);
    assert_int_equal(hone_config_json(NULL, &text, &err), HONE_E_ARG);
    hone__alloc_fail_at(1, 0);
    assert_int_equal(hone_config_json(&config, &text, &err), HONE_E_NOMEM);
    hone__alloc_fail_at(0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__reads_what_is_right),      cmocka_unit_test(test_config__says_what_is_wrong),
        cmocka_unit_test(test_config__repairs_slips_with_notes), cmocka_unit_test(test_config__makes_macros),
        cmocka_unit_test(test_config__public_view),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
