/* Kernel specs' params, default and constraints: what they make, and what every mistake says. */
#include "alloc.h"
#include "space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const size_names[] = {"M", "N"};

static hone_status parse(hone__space **out, const char *text, hone_error *err) {
    cJSON *json;
    *out = NULL;
    hone_status status = hone__json_parse(&json, text, strlen(text), "k.json", err);
    if (status != HONE_OK)
        return status;
    status = hone__space_parse(out, json, "k.json", size_names, 2, err);
    cJSON_Delete(json);
    return status;
}

static const char everything[] =
    "{\"params\": {\"R\": {\"kind\":\"range\",\"min\":-4,\"max\":9,\"step\":3,\"default\":2,\"description\":\"rows\",\"x-note\":1},"
    "\"P\": {\"kind\":\"pow2\",\"min\":4,\"max\":64}, \"E\": {\"kind\":\"enum\",\"values\":[3,1,2],\"default\":1},"
    "\"F\": {\"kind\":\"enum\",\"values\":[0.5,1,1e3]}, \"T\": {\"kind\":\"enum\",\"values\":[\"row\",\"col\"]},"
    "\"B\": {\"kind\":\"bool\",\"default\":true}, \"O\": {\"kind\":\"permutation\",\"length\":3,\"default\":[2,0,1]},"
    "\"L\": {\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"pow2\",\"min\":1,\"max\":8,\"default\":4}}, \"x-more\": 7,"
    "\"K\": {\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"bool\",\"default\":true},\"default\":[false,true]}},"
    "\"default\": {\"P\": 16, \"x-y\": 0},"
    "\"constraints\": [\"M % P == 0\", {\"expr\": \"T == 'col' || L[0] <= 4\", \"why\": \"registers\"}]}";

static void test_space__reads_every_kind(void **state) {
    (void)state;
    hone__space *space;
    hone_error err = {0};
    size_t live = hone__alloc_live();
    if (parse(&space, everything, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(space->param_count, 9);
    assert_int_equal(space->slot_count, 13);
    static const uint32_t counts[] = {5, 5, 3, 3, 2, 2, 3, 4, 2};
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(space->param[i].domain.count, counts[i]);
    assert_int_equal(hone__domain_int(&space->param[0].domain, 4), 8);
    assert_int_equal(hone__domain_int(&space->param[1].domain, 4), 64);
    assert_int_equal(hone__domain_int(&space->param[2].domain, 0), 3);
    assert_true(hone__domain_number(&space->param[3].domain, 2) > 999);
    assert_int_equal(space->param[3].domain.type, HONE_SYMBOL_NUMBER);
    assert_string_equal(hone__domain_string(&space->param[4].domain, 1), "col");
    assert_null(hone__domain_string(&space->param[0].domain, 1));
    assert_string_equal(hone__space_string(space, hone__domain_int(&space->param[4].domain, 1)), "col");
    assert_null(hone__space_string(space, 99));
    assert_string_equal(space->param[0].description, "rows");
    assert_int_equal(hone__space_param_of_slot(space, 7), 6);
    assert_string_equal(space->constraint[1].why, "registers");
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__config_print(&buf, space, &space->base);
    assert_string_equal(buf.data, "{\"R\":2,\"P\":16,\"E\":1,\"F\":0.5,\"T\":\"row\",\"B\":true,\"O\":[2,0,1],\"L\":[4,4],\"K\":[false,true]}");
    hone__buf_free(&buf);
    assert_true(hone__space_raw_count(space) > 5 * 5 * 3 * 3 * 2 * 2 * 6 * 16 * 4 - 0.5);
    assert_true(hone__space_raw_count(space) < 5 * 5 * 3 * 3 * 2 * 2 * 6 * 16 * 4 + 0.5);
    int64_t values[HONE_SIZES_MAX + HONE_LIMIT_SLOTS];
    const int64_t sizes[] = {128, 1};
    hone__space_values(space, sizes, &space->base, values);
    static const int64_t wanted[] = {128, 1, 2, 16, 1};
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(values[i], wanted[i]);
    assert_int_equal(hone__space_symbols(space, false)->count, 2);
    assert_int_equal(hone__space_symbols(space, true)->count, 11);
    hone__space_free(space);
    assert_int_equal(hone__alloc_live(), live);
}

/* The body of one parameter P, and what the error must contain. */
static const struct mistake {
    const char *text, *message;
} param_mistakes[] = {
    {"5", "k.json: /params/P: must be an object"},
    {"{}", "/params/P/kind: missing"},
    {"{\"kind\":\"rang\"}", "/params/P/kind: unknown kind \"rang\", did you mean range"},
    {"{\"kind\":\"range\",\"min\":1}", "/params/P: \"max\" is missing"},
    {"{\"kind\":\"range\",\"min\":1,\"max\":2,\"stepp\":1}", "/params/P/stepp: a parameter of kind range has no such member; it has: kind min max step"},
    {"{\"kind\":\"bool\",\"a b\":1}", "/params/P/a b: a parameter of kind bool"},
    {"{\"kind\":\"bool\",\"a/~b\":1}", "/params/P/a~1~0b: "},
    {"{\"kind\":\"range\",\"min\":5,\"max\":2}", "/params/P/min: min 5 is above max 2"},
    {"{\"kind\":\"range\",\"min\":1.5,\"max\":2}", "/params/P/min: must be an integer"},
    {"{\"kind\":\"range\",\"min\":1,\"max\":2,\"step\":0}", "/params/P/step: step 0 must be at least 1"},
    {"{\"kind\":\"range\",\"min\":0,\"max\":4294967295}", "/params/P: the range has 4294967296 values"},
    {"{\"kind\":\"range\",\"min\":0,\"max\":9,\"default\":10}", "/params/P/default: 10 is not in the range 0..9 step 1; nearest 9"},
    {"{\"kind\":\"range\",\"min\":0,\"max\":9,\"description\":1}", "/params/P/description: must be a string"},
    {"{\"kind\":\"pow2\",\"min\":3,\"max\":8}", "/params/P/min: 3 is not a power of two; near ones are 2 and 4"},
    {"{\"kind\":\"pow2\",\"min\":1,\"max\":0}", "/params/P/max: 0 is not a power of two"},
    {"{\"kind\":\"pow2\",\"min\":16,\"max\":8}", "/params/P/min: min 16 is above max 8"},
    {"{\"kind\":\"pow2\",\"min\":1,\"max\":8,\"default\":3}", "/params/P/default: 3 is not in the powers of two 1..8; nearest 2 or 4"},
    {"{\"kind\":\"enum\"}", "/params/P: \"values\" is missing"},
    {"{\"kind\":\"enum\",\"values\":[]}", "/params/P/values: must be a list of 1 to 4096"},
    {"{\"kind\":\"enum\",\"values\":[1,\"a\"]}", "/params/P/values/1: numbers and strings cannot be mixed"},
    {"{\"kind\":\"enum\",\"values\":[1,true]}", "/params/P/values/1: must be a number or a string"},
    {"{\"kind\":\"enum\",\"values\":[1,2,1.0]}", "/params/P/values: 1 is there twice (/0 and /2)"},
    {"{\"kind\":\"enum\",\"values\":[0.5,2,0.5]}", "/params/P/values: 0.5 is there twice"},
    {"{\"kind\":\"enum\",\"values\":[\"a\",\"a\"]}", "/params/P/values: \"a\" is there twice (/0 and /1)"},
    {"{\"kind\":\"enum\",\"values\":[\"a b\"]}", "/params/P/values/0: a string value is 1 to 64 of"},
    {"{\"kind\":\"enum\",\"values\":[\"\"]}", "/params/P/values/0: a string value"},
    {"{\"kind\":\"enum\",\"values\":[\"row\",\"col\"],\"default\":\"cow\"}", "/params/P/default: \"cow\" is not one of the values \"row\", \"col\"; nearest"},
    {"{\"kind\":\"bool\",\"default\":1}", "/params/P/default: 1 is neither true nor false"},
    {"{\"kind\":\"permutation\",\"length\":17}", "/params/P/length: length 17 must be 1 to 16"},
    {"{\"kind\":\"permutation\"}", "\"length\" is missing"},
    {"{\"kind\":\"permutation\",\"length\":3,\"default\":[0,1,1]}", "/params/P/default: 1 is given twice"},
    {"{\"kind\":\"list\",\"length\":2}", "/params/P: \"of\" is missing"},
    {"{\"kind\":\"list\",\"length\":65,\"of\":{\"kind\":\"bool\"}}", "/params/P/length: length 65 must be 1 to 64"},
    {"{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"list\",\"length\":2}}", "/params/P/of: a list holds range, pow2, enum or bool"},
    {"{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"pow2\",\"min\":1,\"max\":5}}", "/params/P/of/max: 5 is not a power of two"},
    {"{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"bool\",\"default\":3}}", "/params/P/of/default: 3 is neither"},
    {"{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"bool\"},\"default\":[true]}", "/params/P/default: 1 value was given, but it is a list of 2"},
};

static const struct mistake spec_mistakes[] = {
    {"{}", "k.json: /params: missing or not an object"},
    {"{\"params\":{}}", "/params: there is nothing to tune"},
    {"{\"params\":{\"M\":{\"kind\":\"bool\"}}}", "/params/M: \"M\" is also the name of a size"},
    {"{\"params\":{\"abs\":{\"kind\":\"bool\"}}}", "/params/abs: \"abs\" is a word of the expression language"},
    {"{\"params\":{\"1a\":{\"kind\":\"bool\"}}}", "/params/1a: a parameter's name is"},
    {"{\"params\":{\"abcdefghijabcdefghijabcdefghijabc\":{\"kind\":\"bool\"}}}", "a parameter's name is"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"default\":[]}", "/default: must be an object"},
    {"{\"params\":{\"AB\":{\"kind\":\"bool\"}},\"default\":{\"Ab\":true}}", "/default/Ab: there is no such parameter; did you mean AB"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"default\":{\"A\":2}}", "/default/A: 2 is neither"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":{}}", "/constraints: must be a list"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[\"A\",5]}", "/constraints/1: must be an expression"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[\"A\",\"A +\"]}", "/constraints/1: at byte 3: expected a number"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[{\"expr\":\"A ==\"}]}", "/constraints/0/expr: at byte 4: "},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[{\"why\":\"x\"}]}", "/constraints/0: \"expr\" is missing"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[{\"expr\":\"A\",\"because\":\"x\"}]}", "/constraints/0/because: unknown member"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[{\"expr\":\"A\",\"why\":3}]}", "/constraints/0/why: must be a string"},
    {"{\"params\":{\"A\":{\"kind\":\"enum\",\"values\":[\"a\"]}},\"constraints\":[\"A\"]}", "/constraints/0: a constraint is true or false"},
    {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[\"B > 1\"]}", "/constraints/0: at byte 0: unknown name 'B'"},
};

static void expect_mistake(const char *text, const char *message) {
    hone__space *space;
    hone_error err = {0};
    size_t live = hone__alloc_live();
    hone_status status = parse(&space, text, &err);
    if (status != HONE_E_SPEC || strstr(err.message, message) == NULL)
        fail_msg("%s: status %d, \"%s\" lacks \"%s\"", text, status, err.message, message);
    assert_null(space);
    assert_int_equal(strncmp(err.message, "k.json: /", 9), 0);
    assert_int_equal(hone__alloc_live(), live);
}

static void test_space__names_every_mistake(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof param_mistakes / sizeof param_mistakes[0]; i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "{\"params\":{\"P\":%s}}", param_mistakes[i].text);
        expect_mistake(text, param_mistakes[i].message);
    }
    for (size_t i = 0; i < sizeof spec_mistakes / sizeof spec_mistakes[0]; i++)
        expect_mistake(spec_mistakes[i].text, spec_mistakes[i].message);
}

/* `count` parameters of this body. */
static void many_params(hone__buf *buf, uint32_t count, const char *body) {
    hone__buf_text(buf, "{\"params\":{");
    for (uint32_t i = 0; i < count; i++)
        hone__buf_printf(buf, "%s\"p%u\":%s", i == 0 ? "" : ",", i, body);
    hone__buf_text(buf, "}");
}

static hone_status parse_limit(const char *body, uint32_t params, uint32_t constraints) {
    hone__buf buf;
    hone__buf_init(&buf, 1 << 20);
    many_params(&buf, params, body);
    hone__buf_text(&buf, ",\"constraints\":[");
    for (uint32_t i = 0; i < constraints; i++)
        hone__buf_text(&buf, i == 0 ? "\"1\"" : ",\"1\"");
    hone__buf_text(&buf, "]}");
    hone__space *space;
    hone_status status = parse(&space, buf.data, NULL);
    hone__space_free(space);
    hone__buf_free(&buf);
    return status;
}

static void test_space__keeps_limits(void **state) {
    (void)state;
    static const char boolean[] = "{\"kind\":\"bool\"}";
    static const char list[] = "{\"kind\":\"list\",\"length\":64,\"of\":{\"kind\":\"bool\"}}";
    assert_int_equal(parse_limit(boolean, HONE_LIMIT_PARAMS, 0), HONE_OK);
    assert_int_equal(parse_limit(boolean, HONE_LIMIT_PARAMS + 1, 0), HONE_E_SPEC);
    assert_int_equal(parse_limit(list, 2, 0), HONE_OK);
    assert_int_equal(parse_limit(list, 3, 0), HONE_E_SPEC);
    assert_int_equal(parse_limit(boolean, 1, HONE_LIMIT_CONSTRAINTS), HONE_OK);
    assert_int_equal(parse_limit(boolean, 1, HONE_LIMIT_CONSTRAINTS + 1), HONE_E_SPEC);
    for (uint32_t extra = 0; extra < 2; extra++) {
        hone__buf buf;
        hone__buf_init(&buf, 1 << 20);
        hone__buf_text(&buf, "{\"params\":{\"E\":{\"kind\":\"enum\",\"values\":[0");
        for (uint32_t i = 1; i < HONE_LIMIT_ENUM + extra; i++)
            hone__buf_printf(&buf, ",%u", i);
        hone__buf_text(&buf, "]}}}");
        hone__space *space;
        assert_int_equal(parse(&space, buf.data, NULL), extra == 0 ? HONE_OK : HONE_E_SPEC);
        hone__space_free(space);
        hone__buf_free(&buf);
    }
    hone__space *space;
    assert_int_equal(parse(&space, "{\"params\":{\"R\":{\"kind\":\"range\",\"min\":1,\"max\":4294967295}}}", NULL), HONE_OK);
    assert_int_equal(space->param[0].domain.count, UINT32_MAX);
    assert_int_equal(hone__domain_int(&space->param[0].domain, UINT32_MAX - 1), 4294967295);
    hone__space_free(space);
}

static void test_space__survives_failing_allocation(void **state) {
    (void)state;
    size_t live = hone__alloc_live();
    bool finished = false;
    cJSON *json;
    assert_int_equal(hone__json_parse(&json, everything, strlen(everything), "k.json", NULL), HONE_OK);
    for (size_t nth = 1; !finished && nth < 1000; nth++) {
        hone__space *space;
        hone_error err = {0};
        hone__alloc_fail_at(nth, 0);
        hone_status status = hone__space_parse(&space, json, "k.json", size_names, 2, &err);
        hone__alloc_fail_at(0, 0);
        finished = status == HONE_OK;
        if (!finished && (status != HONE_E_NOMEM || space != NULL))
            fail_msg("allocation %zu: status %d %s", nth, status, err.message);
        hone__space_free(space);
    }
    assert_true(finished);
    cJSON_Delete(json);
    assert_int_equal(hone__alloc_live(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_space__reads_every_kind),
        cmocka_unit_test(test_space__names_every_mistake),
        cmocka_unit_test(test_space__keeps_limits),
        cmocka_unit_test(test_space__survives_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
