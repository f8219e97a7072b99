/* test_base.c: the ground floor: buffers, JSON, files, text hygiene, random numbers, child processes. */
#include "alloc.h"
#include "buf.h"
#include "clock.h"
#include "file.h"
#include "hash.h"
#include "json.h"
#include "limit.h"
#include "log.h"
#include "process.h"
#include "rng.h"
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- alloc and buf ---- */

static void test_alloc__counts_and_fails_on_request(void **state) {
    (void)state;
    size_t live = hone__alloc_live();
    char *a = hone__alloc(3), *b = hone__strndup("abcdef", 3), *c = hone__realloc(NULL, 8);
    assert_string_equal(b, "abc");
    assert_true(a[0] == 0 && a[2] == 0);
    assert_int_equal(hone__alloc_live(), live + 3);
    hone__free(a);
    hone__free(b);
    hone__free(c);
    hone__free(NULL);
    assert_int_equal(hone__alloc_live(), live);
    assert_null(hone__alloc_array(SIZE_MAX / 2, 4));
    assert_null(hone__strdup(NULL));
    hone__alloc_fail_at(2, 0);
    a = hone__alloc(1);
    b = hone__alloc(1);
    c = hone__alloc(1);
    assert_true(a != NULL && b == NULL && c != NULL);
    hone__free(a);
    hone__free(c);
    hone__alloc_fail_at(1, 1);
    assert_null(hone__alloc(1));
    assert_null(hone__alloc(1));
    hone__alloc_fail_at(0, 0);
}

static void test_buf__holds_its_maximum_exactly(void **state) {
    (void)state;
    for (size_t max = 0; max < 600; max += max < 4 ? 1 : 149) {
        for (size_t count = max > 0 ? max - 1 : 0; count <= max + 1; count++) {
            hone__buf buf;
            hone__buf_init(&buf, max);
            for (size_t i = 0; i < count; i++)
                hone__buf_char(&buf, 'x');
            assert_int_equal(buf.status, count <= max ? HONE_OK : HONE_E_LIMIT);
            assert_int_equal(buf.length, count <= max ? count : max);
            hone__buf_text(&buf, count > max ? "" : "y"); /* what failed once stays failed */
            hone__buf_printf(&buf, "%s", "");
            assert_int_equal(buf.status, count < max ? HONE_OK : HONE_E_LIMIT);
            char *text = hone__buf_take(&buf);
            assert_true((text != NULL) == (count < max));
            hone__free(text);
            assert_null(buf.data);
            hone__buf_free(&buf);
        }
    }
    hone__buf endless;
    hone__buf_init(&endless, SIZE_MAX);
    hone__buf_text(&endless, "a");
    hone__buf_bytes(&endless, "b", SIZE_MAX - 8); /* must be refused before anything is copied */
    assert_int_equal(endless.status, HONE_E_LIMIT);
    hone__buf_clear(&endless);
    hone__buf_printf(&endless, "%d-%s", 7, "seven");
    assert_string_equal(endless.data, "7-seven");
    hone__alloc_fail_at(1, 1);
    for (int i = 0; i < 400; i++)
        hone__buf_char(&endless, 'x');
    hone__alloc_fail_at(0, 0);
    assert_int_equal(endless.status, HONE_E_NOMEM);
    hone__buf_free(&endless);
}

static void test_buf__little_endian_and_json(void **state) {
    (void)state;
    hone__buf buf;
    hone__buf_init(&buf, 1000);
    hone__buf_u8(&buf, 0x01);
    hone__buf_u16(&buf, 0x0203);
    hone__buf_u32(&buf, 0x04050607u);
    hone__buf_u64(&buf, 0x08090a0b0c0d0e0fu);
    assert_memory_equal(buf.data, "\x01\x03\x02\x07\x06\x05\x04\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08", 15);
    hone__buf_clear(&buf);
    hone__buf_json_string(&buf, "a\"b\\c\nd\re\tf\x1b\x7f\xc3\xa4");
    assert_string_equal(buf.data, "\"a\\\"b\\\\c\\nd\\re\\tf\\u001b\\u007f\xc3\xa4\"");
    hone__buf_clear(&buf);
    const double value[] = {0.1, 1e300, -2.5, 1.0 / 3.0, 5e-324, 123456789.125, 1e300 * 1e300, 0};
    for (size_t i = 0; i < sizeof value / sizeof value[0]; i++) {
        hone__buf_json_double(&buf, value[i]);
        hone__buf_char(&buf, ' ');
    }
    assert_string_equal(buf.data, "0.1 1e+300 -2.5 0.3333333333333333 4.94066e-324 123456789.125 null 0 ");
    hone__buf_free(&buf);
}

/* The shortest of at least six digits, found by trying them one after the other. */
static void shortest(double value, char text[40]) {
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, 40, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof value) == 0)
            return;
    }
}

static void test_buf__json_double_is_the_shortest(void **state) {
    (void)state;
    static const double given[] = {0.0, -0.0, 1.0, 1e6, 1234567.0, 1e15, 1e22, 0.1, 0.1 + 0.2, 5e-324, 2.5e-310, 2.2250738585072014e-308,
                                   1.7976931348623157e308, 9007199254740993.0, 123456789012345.0, 1e-7, 100000.0};
    hone__rng rng;
    hone__buf buf;
    hone__rng_seed(&rng, 11);
    hone__buf_init(&buf, 64);
    for (unsigned i = 0; i < 40000; i++) {
        char text[40];
        uint64_t bits = hone__rng_next(&rng);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (i < sizeof given / sizeof given[0])
            value = given[i];
        else if (i % 8 == 1) /* few digits */
            value = (double)hone__rng_below(&rng, 100000000) / (i % 3 == 0 ? 1000 : 1048576);
        else if (i % 8 == 2) /* below DBL_MIN */
            value = (double)hone__rng_below(&rng, 1000000) * 5e-324;
        else if (i % 8 == 3) /* halfway between two decimals of 17 digits, and between fewer */
            value = (double)(bits >> 46 | 1) / (i % 3 == 0 ? 262144 : 16384);
        else if (i % 8 == 4) /* a power of two or ten, and the doubles around it */
            value = (1 + 2.220446049250313e-16 * ((double)(bits % 5) - 2)) *
                    (i % 3 == 0 ? pow(10, (double)(bits / 5 % 30) - 12) : ldexp(1, (int)(bits / 5 % 100) - 40));
        else if (i % 8 > 4) /* as times, rates and fractions are */
            value = ldexp((double)(bits >> 11) * (bits % 2 == 0 ? 1 : -1), -(int)(bits / 2 % 100));
        if (value - value != 0)
            continue; /* NaN and infinities are null */
        shortest(value, text);
        hone__buf_clear(&buf);
        hone__buf_json_double(&buf, value);
        assert_string_equal(buf.data, text);
    }
    hone__buf_free(&buf);
}

/* A host program may have set any locale; JSON keeps its point. */
static void test_buf__json_double_in_any_locale(void **state) {
    (void)state;
    static const char *const name[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ru_RU.UTF-8", "C"};
    hone__buf buf;
    hone__buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        if (setlocale(LC_NUMERIC, name[i]) == NULL)
            continue;
        hone__buf_clear(&buf);
        hone__buf_json_double(&buf, 1234.5);
        assert_string_equal(buf.data, "1234.5");
    }
    (void)setlocale(LC_NUMERIC, "C");
    hone__buf_free(&buf);
}

/* ---- json ---- */

static hone_status parse(const char *text, size_t bytes, hone_error *err) {
    char *copy = malloc(bytes == 0 ? 1 : bytes); /* no NUL behind it */
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    cJSON *item = NULL;
    hone_status status = hone__json_parse(&item, copy, bytes, "x.json", err);
    assert_true((item != NULL) == (status == HONE_OK));
    cJSON_Delete(item);
    free(copy);
    return status;
}

static void test_json__refuses_what_cjson_lets_pass(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {{"{\"a\":1} x", "text after"},   {"{\"a\":1}{", "text after"},     {"{\"a\":1,\"b\":{\"c\":1,\"c\":2}}", "\"c\" is given twice"},
               {"", "not valid JSON"},          {"{\"1\":1,", "not valid JSON"},  {"\n\n{\"a\" 1}", "line 3"},
               {"{\"a\\u0000b\":1}", "u0000"},  {"[1,]", "not valid"},            {"{'a':1}", "not valid"},
               {"nul", "not valid"},            {"\"abc", "not valid"},           {"{\"a\":\"\",\"a\\u0000b\" :1}", "u0000"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hone_error err = {0};
        assert_int_equal(parse(bad[i].text, strlen(bad[i].text), &err), HONE_E_JSON);
        if (strstr(err.message, bad[i].part) == NULL || strncmp(err.message, "x.json: ", 8) != 0)
            fail_msg("%s: %s", bad[i].text, err.message);
    }
    assert_int_equal(parse("0\0", 2, NULL), HONE_E_JSON);
    static const char *const good[] = {"0", " {\"a\":[]} \r\n\t", "[\"\\\\u0000\"]", "[\"a\\u0000\"]", "{\"a\":\"x\\u0000y\"}", "{\"a\":{\"a\":{\"a\":1}}}", "\"\\u00e4\""};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(parse(good[i], strlen(good[i]), NULL), HONE_OK);
}

/* People write specs by hand: the error says where, and which slip it is. */
static void test_json__mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"{\"a\":1,}", "line 1, column 8: the comma before this '}' is one too many"},
        {"[1,2,]", "column 6: a value is missing here, or the comma"},
        {"{\n \"a\": 1\n \"b\": 2}", "line 3, column 2: a comma is missing"},
        {"{\"a\" 1}", "column 6: a ':' is missing"},
        {"{a:1}", "column 2: expected a member's name in double quotes"},
        {"{\"a\":'x'}", "column 6: strings stand in double quotes"},
        {"{\"a\":NaN}", "NaN and Infinity"},
        {"{\"a\":-Infinity}", "NaN and Infinity"},
        {"{\"a\":True}", "small letters"},
        {"{\"a\":.5}", "no JSON number"},
        {"{\"a\":1_000}", "no JSON number"},
        {"{\"a\":0x10}", "no JSON number"},
        {"{\"a\":\"b}", "column 6: a string that never ends"},
        {"{\"a\":\"\\q\"}", "column 8: a backslash"},
        {"{\"a\":[1,2}", "this '}' closes an array"},
        {"{\"a\":{\"b\":1]", "this ']' closes an object"},
        {"{\"a\":", "it ends here"},
        {"{\"a\":[{},{}]", "a closing bracket is missing"},
        {"// x\n{}", "no comments"},
        {"{\"a\":1 # x\n}", "no comments"},
        {"{\"a\":1,,\"b\":2}", "column 8"},
        {"{\"a\":{\"b\":[0,{\"c\":1,\"c\":2}]}}", "x.json: /a/b/1: member \"c\" is given twice; remove one"},
        {"{\"c\":1,\"c\":2}", "x.json: (top level): member"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hone_error err = {0};
        assert_int_equal(parse(bad[i].text, strlen(bad[i].text), &err), HONE_E_JSON);
        if (strstr(err.message, bad[i].part) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", bad[i].text, err.message, bad[i].part);
    }
    /* Wherever text is cut, the scan stays inside it and says something. */
    const char *whole = "{\"a\":[1,-2.5e3,true,null,\"x\\n\"],\"b\":{\"c\":{}}}";
    for (size_t bytes = 1; bytes < strlen(whole); bytes++) {
        hone_error err = {0};
        assert_int_equal(parse(whole, bytes, &err), HONE_E_JSON);
        assert_non_null(strstr(err.message, "not valid JSON at line 1, column "));
    }
}

static void test_json__finds_nul_in_values(void **state) {
    (void)state;
    const char *text = "{\"a\":\"\\\\u0000\",\"b\":\"x\\u0000\"}";
    assert_int_equal(hone__json_nul_value(text, strlen(text)), strlen("{\"a\":\"\\\\u0000\",\"b\":"));
    assert_int_equal(hone__json_nul_value("{}", 2), 2);
    assert_int_equal(hone__json_nul_value("\"a", 2), 2);
}

static void test_json__depth_at_the_limit(void **state) {
    (void)state;
    for (int depth = HONE_LIMIT_JSON_DEPTH - 1; depth <= HONE_LIMIT_JSON_DEPTH + 1; depth++) {
        char text[2 * HONE_LIMIT_JSON_DEPTH + 8];
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(parse(text, 2 * (size_t)depth, NULL), depth <= HONE_LIMIT_JSON_DEPTH ? HONE_OK : HONE_E_JSON);
    }
    char deep[100000]; /* would overflow the stack of a recursive reader */
    memset(deep, '[', sizeof deep);
    assert_int_equal(parse(deep, sizeof deep, NULL), HONE_E_JSON);
    assert_int_equal(parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", 46, NULL), HONE_OK);
}

static void test_json__many_members_in_bounded_time(void **state) {
    (void)state;
    hone__buf buf;
    hone__buf_init(&buf, 8 << 20);
    hone__buf_char(&buf, '{');
    for (int i = 0; i < 200000; i++)
        hone__buf_printf(&buf, "%s\"m%d\":0", i > 0 ? "," : "", i);
    hone__buf_text(&buf, ",\"m77777\":1}");
    hone_error err = {0};
    assert_int_equal(parse(buf.data, buf.length, &err), HONE_E_JSON); /* comparing each with each would run into ctest's limit */
    assert_non_null(strstr(err.message, "\"m77777\" is given twice"));
    hone__buf_free(&buf);
}

static void test_json__whole_numbers_exactly(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool whole;
        int64_t value;
    } number[] = {{"9007199254740992", true, 9007199254740992}, {"9007199254740994", false, 0}, {"-9007199254740992", true, -9007199254740992},
                  {"1.5", false, 0}, {"3.0", true, 3}, {"1e3", true, 1000}, {"1e400", false, 0}, {"-0", true, 0}, {"true", false, 0}, {"\"1\"", false, 0}};
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++) {
        cJSON *item = NULL;
        assert_int_equal(hone__json_parse(&item, number[i].text, strlen(number[i].text), "n", NULL), HONE_OK);
        int64_t value = 0;
        assert_int_equal(hone__json_int(item, &value), number[i].whole);
        assert_int_equal(value, number[i].value);
        cJSON_Delete(item);
    }
}

static void test_json__prints_what_it_read(void **state) {
    (void)state;
    const char *text = "{\"b\":[1,-2.5,true,false,null,\"x\\ny\",{}],\"a\":9007199254740992,\"c\":1e-7}";
    cJSON *item = NULL;
    assert_int_equal(hone__json_parse(&item, text, strlen(text), "n", NULL), HONE_OK);
    char *printed = hone__json_text(item);
    assert_string_equal(printed, "{\"b\":[1,-2.5,true,false,null,\"x\\ny\",{}],\"a\":9007199254740992,\"c\":1e-07}");
    hone__free(printed);
    assert_null(hone__json_string(item, "a"));
    assert_true(hone__json_number(item, "zz", 4) > 3.9);
    cJSON_Delete(item);
}

/* The scan agrees with the tree on whatever its pieces make. */
static void test_json__text_is_known_when_printed(void **state) {
    (void)state;
    static const char *const piece[] = {"{",   "}",  "[",   "]",    "\"a\":", "\"b\":",  "\"x\\n\"",  "64", ",",     "1e-07",           "0.1", "-0", "1.0", "0", "-7",
                                        "01",  "true", "null", "\"\"", "false",  "\"\\u0001\"", "\"\\/\"", " ",  "\"\x01\"", "9007199254740993", "{}",  "[]", "\xc3\xa9", "\"\\", "\"\\u007F\""};
    static const char *const whole[] = {"{\"a\":1,\"b\":[1,2,{}],\"c\":\"\\u0001\"}", "{\"a\":1,\"a\":1}", "999999999999999", "9007199254740992", "9007199254740993", "[]", "[[]]", "-1", "\"a\"", "[1,]"};
    hone__rng rng;
    unsigned yes = 0;
    hone__rng_seed(&rng, 12);
    for (unsigned i = 0; i < 60000; i++) {
        char text[120] = "";
        size_t length = 0, count = (size_t)hone__rng_below(&rng, 9);
        for (size_t n = 0; n < count; n++)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s", piece[hone__rng_below(&rng, sizeof piece / sizeof piece[0])]);
        if (i < sizeof whole / sizeof whole[0])
            length = (size_t)snprintf(text, sizeof text, "%s", whole[i]);
        cJSON *item = NULL;
        char *printed = NULL;
        if (hone__json_parse(&item, text, length, "n", NULL) == HONE_OK)
            printed = hone__json_text(item);
        bool same = printed != NULL && strcmp(printed, text) == 0;
        if (hone__json_is_printed(text) != same)
            fail_msg("%s: %d", text, same);
        yes += same;
        hone__free(printed);
        cJSON_Delete(item);
    }
    assert_true(yes > 500);
}

static void test_json__no_memory_leaks_nothing(void **state) {
    (void)state;
    const char *text = "{\"b\":[1,2,{\"x\":\"y\"}],\"a\":{\"c\":1,\"d\":2}}";
    size_t live = hone__alloc_live();
    bool done = false;
    for (size_t nth = 1; nth < 100 && !done; nth++) {
        cJSON *item = NULL;
        hone__alloc_fail_at(nth, 0);
        done = hone__json_parse(&item, text, strlen(text), "n", NULL) == HONE_OK;
        hone__alloc_fail_at(0, 0);
        cJSON_Delete(item);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_true(done);
}

/* ---- status, log, trial ---- */

static void test_status__messages_are_clean_lines(void **state) {
    (void)state;
    hone_error err = {0};
    assert_int_equal(hone__fail(&err, HONE_E_IO, "a_very_long_subsystem_name", "a\nb\x1b[0m %s", "c"), HONE_E_IO);
    assert_string_equal(err.message, "a b [0m c");
    assert_int_equal(strlen(err.subsystem), sizeof err.subsystem - 1);
    (void)hone__fail(&err, HONE_E_IO, "x", "again: %s", err.message); /* quoting the old one */
    assert_string_equal(err.message, "again: a b [0m c");
    char text[600];
    memset(text, 'a', sizeof text);
    for (size_t shift = 0; shift < 4; shift++) { /* cut at every place of a character of four bytes */
        memset(text, 'a', sizeof text - 1);
        memcpy(text + 508 + shift, "\xf0\x9f\x98\x80", 4);
        text[sizeof text - 1] = '\0';
        (void)hone__fail_os(&err, HONE_E_IO, "x", 5, "%s", text);
        size_t length = strlen(err.message);
        assert_true(length <= 511 && length >= 508);
        assert_true(shift == 0 ? length == 508 : err.message[length - 1] == 'a');
        assert_int_equal(err.os_code, 5);
    }
    assert_int_equal(hone__fail(NULL, HONE_E_BUG, "x", "y"), HONE_E_BUG);
    assert_int_equal(hone__status_of_errno(ENOENT), HONE_E_NOTFOUND);
    assert_int_equal(hone__status_of_errno(ENOSPC), HONE_E_NOSPACE);
    assert_int_equal(hone__status_of_errno(EROFS), HONE_E_PERM);
    assert_int_equal(hone__status_of_errno(EPIPE), HONE_E_IO);
    assert_string_equal(hone_status_name(HONE_E_NOMODEL), "E_NOMODEL");
    assert_string_equal(hone_status_text((hone_status)-12345), "unknown status");
    for (int i = 0; i < HONE_OUTCOME_COUNT; i++)
        assert_int_equal(hone__outcome_from_name(hone__outcome_name((hone__outcome)i)), i);
    assert_int_equal(hone__outcome_from_name("nonsense"), HONE_OUTCOME_COUNT);
}

static char logged[2048];

static void keep_log(hone_log_level level, const char *subsystem, const char *message, void *user) {
    (void)snprintf(logged, sizeof logged, "%d %s %s %s", (int)level, subsystem, message, (const char *)user);
}

static void test_log__redacts(void **state) {
    (void)state;
    char text[200];
    hone__secret_add("short");
    hone__secret_add("correct-horse");
    hone__secret_add("correct-horse");
    (void)snprintf(text, sizeof text, "a correct-horse, correct-horsecorrect-horse; short");
    hone__redact(text);
    assert_string_equal(text, "a *************, **************************; short");
    (void)snprintf(text, sizeof text, "cut here: correct-h");
    hone__redact(text);
    assert_string_equal(text, "cut here: *********");
    (void)snprintf(text, sizeof text, "key sk-abcdEFGH12345678 task-force-of-many-words sk-short");
    hone__redact(text);
    assert_string_equal(text, "key ******************* task-force-of-many-words sk-short");
    static char user[] = "u";
    hone_set_log(keep_log, HONE_LOG_INFO, user);
    hone__log(HONE_LOG_DEBUG, "x", "not wanted");
    assert_string_equal(logged, "");
    hone__log(HONE_LOG_WARN, "net", "sent %s\n\x1b[1m", "correct-horse");
    assert_string_equal(logged, "2 net sent *************  [1m u");
    char *big = malloc(5000);
    assert_non_null(big);
    memset(big, 'k', 4999);
    big[4999] = '\0';
    hone__secret_add(big); /* longer than is kept: what follows its beginning goes too */
    char *line = malloc(6000);
    assert_non_null(line);
    (void)snprintf(line, 6000, "<%s>", big);
    hone__redact(line);
    assert_null(strchr(line, 'k'));
    assert_true(line[0] == '<' && line[5000] == '>');
    free(big);
    free(line);
    hone__secret_forget_all();
    (void)snprintf(text, sizeof text, "correct-horse");
    hone__redact(text);
    assert_string_equal(text, "correct-horse");
    hone_set_log(NULL, HONE_LOG_ERROR, NULL);
}

/* ---- hash, rng, clock ---- */

static void test_hash__known_vectors(void **state) {
    (void)state;
    char hex[33];
    hone__hash hash = hone__hash_bytes("", 0); /* XXH3-128, seed 0, of nothing */
    hone__hash_hex(hash.byte, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    hone__hash other = hone__hash_bytes("a", 1);
    assert_memory_not_equal(&hash, &other, sizeof hash);
}

static void test_rng__reference_vectors(void **state) {
    (void)state;
    hone__rng rng = {{1, 2, 3, 4}}; /* the published first outputs of xoshiro256** from this state */
    static const uint64_t wanted[] = {11520u, 0u, 1509978240u, 1215971899390074240u, 1216172134540287360u, 607988272756665600u};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_true(hone__rng_next(&rng) == wanted[i]);
    hone__rng_seed(&rng, 0); /* splitmix64 from 0 */
    assert_true(rng.state[0] == 0xe220a8397b1dcdafu && rng.state[1] == 0x6e789e6aa1b965f4u);
    uint32_t count[3] = {0};
    for (int i = 0; i < 30000; i++) {
        count[hone__rng_below(&rng, 3)]++;
        double unit = hone__rng_unit(&rng);
        assert_true(unit >= 0 && unit < 1);
    }
    for (int i = 0; i < 3; i++)
        assert_true(count[i] > 9500 && count[i] < 10500);
    assert_int_equal(hone__rng_below(&rng, 1), 0);
    assert_true(hone__rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void test_clock__goes_forward(void **state) {
    (void)state;
    uint64_t start = hone__clock_ns();
    hone__sleep_ms(2);
    assert_true(hone__clock_ns() - start >= 2000000u);
    assert_true(hone__clock_unix_s() > 1700000000);
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hone-base-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "-rf");
    const char *const argv[] = {"rm", command, folder, NULL};
    hone__process process;
    if (hone__process_start(&process, argv, NULL, NULL, NULL) != HONE_OK)
        return -1;
    while (!hone__process_ended(&process, NULL))
        hone__sleep_ms(1);
    hone__process_kill(&process);
    return 0;
}

static char *in_folder(const char *name) {
    return hone__path_join(folder, name);
}

static void test_file__read_is_bounded(void **state) {
    (void)state;
    char *path = in_folder("f"), *text = NULL;
    size_t bytes = 99;
    hone_error err = {0};
    assert_int_equal(hone__file_write(path, "0123456789", 10, 0600, &err), HONE_OK);
    assert_int_equal(hone__file_read(path, 9, &text, &bytes, &err), HONE_E_LIMIT);
    assert_null(text);
    for (size_t max = 10; max <= 11; max++) {
        assert_int_equal(hone__file_read(path, max, &text, &bytes, &err), HONE_OK);
        assert_string_equal(text, "0123456789");
        assert_int_equal(bytes, 10);
        hone__free(text);
    }
    assert_int_equal(hone__file_read(folder, 100, &text, NULL, &err), HONE_E_IO);
    char *missing = in_folder("none/x");
    assert_int_equal(hone__file_read(missing, 100, &text, NULL, &err), HONE_E_NOTFOUND);
    assert_non_null(strstr(err.message, missing));
    hone__free(missing);
    char *fifo = in_folder("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(hone__file_read(fifo, 100, &text, NULL, &err), HONE_E_IO); /* and does not hang */
    hone__free(fifo);
    hone__free(path);
}

static void test_file__write_is_atomic(void **state) {
    (void)state;
    char *path = in_folder("g"), *text = NULL;
    assert_int_equal(hone__file_write(path, "old", 3, 0640, NULL), HONE_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777 & ~0640u, 0);
    /* A write that cannot finish leaves the old text and no temporary file. */
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 4, .rlim_max = old.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    hone_error err = {0};
    hone_status status = hone__file_write(path, "a longer text", 13, 0640, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, HONE_E_IO);
    assert_int_equal(hone__file_read(path, 100, &text, NULL, NULL), HONE_OK);
    assert_string_equal(text, "old");
    hone__free(text);
    char *missing = in_folder("none/x");
    assert_int_equal(hone__file_write(missing, "", 0, 0600, &err), HONE_E_NOTFOUND);
    hone__free(missing);
    assert_int_equal(hone__file_write(path, "", 0, 0600, &err), HONE_OK);
    assert_int_equal(hone__file_read(path, 100, &text, NULL, NULL), HONE_OK);
    assert_string_equal(text, "");
    hone__free(text);
    hone__free(path);
}

static void test_file__paths(void **state) {
    (void)state;
    static const struct {
        const char *base, *relative, *joined;
    } join[] = {{"/a", "b", "/a/b"}, {NULL, "b", "b"}, {"", "b", "b"}, {"/a", "/b", "/b"}, {"a", "../b", "a/../b"}};
    for (size_t i = 0; i < sizeof join / sizeof join[0]; i++) {
        char *joined = hone__path_join(join[i].base, join[i].relative);
        assert_string_equal(joined, join[i].joined);
        hone__free(joined);
    }
    static const char *const dir[][2] = {{"/a/b", "/a"}, {"/a", "/"}, {"a", "."}, {"a/b/", "a/b"}, {"", "."}};
    for (size_t i = 0; i < sizeof dir / sizeof dir[0]; i++) {
        char *part = hone__path_dir(dir[i][0]);
        assert_string_equal(part, dir[i][1]);
        hone__free(part);
    }
}

static void test_file__mkdir_all(void **state) {
    (void)state;
    char *path = in_folder("x/y//z/"), *file = in_folder("file"), *below = in_folder("file/z");
    hone_error err = {0};
    assert_int_equal(hone__mkdir_all(path, &err), HONE_OK);
    assert_int_equal(hone__mkdir_all(path, &err), HONE_OK);
    assert_int_equal(access(path, W_OK), 0);
    assert_int_equal(hone__file_write(file, "", 0, 0600, NULL), HONE_OK);
    assert_true(hone__mkdir_all(file, &err) != HONE_OK); /* a file is in the way */
    assert_non_null(strstr(err.message, "in the way"));
    assert_true(hone__mkdir_all(below, &err) != HONE_OK);
    assert_true(hone__mkdir_all("", &err) != HONE_OK);
    assert_int_equal(hone__mkdir_all("/", &err), HONE_OK);
    hone__free(path);
    hone__free(file);
    hone__free(below);
}

/* ---- processes ---- */

static void test_words__split_as_a_shell_would(void **state) {
    (void)state;
    static const struct {
        const char *line, *words;
    } split[] = {{"", "NULL"}, {"  \t\n", "NULL"}, {"a", "[a]"}, {" a  b\tc\n", "[a][b][c]"}, {"a 'b c' \"d e\"", "[a][b c][d e]"}, {"a\\ b", "[a b]"},
                 {"''", "[]"}, {"a'b'\"c\"d", "[abcd]"}, {"'a\\b'", "[a\\b]"}, {"\"a\\\"b\\n\"", "[a\"b\\n]"}, {"a\\", "[a\\]"}, {"'a", "NULL"},
                 {"\"a\\\"", "NULL"}, {"$HOME *", "[$HOME][*]"}, {"'' ''", "[][]"}};
    for (size_t i = 0; i < sizeof split / sizeof split[0]; i++) {
        char text[200] = "";
        char **words = NULL;
        hone_status status = hone__words_split(&words, split[i].line);
        assert_int_equal(status, words == NULL ? HONE_E_ARG : HONE_OK);
        if (words == NULL)
            (void)snprintf(text, sizeof text, "NULL");
        for (size_t j = 0; words != NULL && words[j] != NULL; j++)
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "[%s]", words[j]);
        if (strcmp(text, split[i].words) != 0)
            fail_msg("%s: got %s, wanted %s", split[i].line, text, split[i].words);
        hone__free(words);
    }
}

/* Read all of a non-blocking pipe until its end. */
static void read_all(int fd, char *text, size_t bytes) {
    size_t have = 0;
    for (int i = 0; i < 20000 && have + 1 < bytes; i++) {
        ssize_t got = read(fd, text + have, bytes - 1 - have);
        if (got == 0)
            break;
        if (got > 0)
            have += (size_t)got;
        else
            hone__sleep_ms(1);
    }
    text[have] = '\0';
}

static int run(const char *script, const hone__process_limits *limits, char *out, size_t bytes) {
    const char *const argv[] = {"sh", "-c", script, NULL};
    hone__process process;
    hone_error err = {0};
    if (hone__process_start(&process, argv, "/", limits, &err) != HONE_OK)
        fail_msg("%s", err.message);
    read_all(process.out_fd, out, bytes);
    int wait_status = -1;
    while (!hone__process_ended(&process, &wait_status))
        hone__sleep_ms(1);
    assert_true(hone__process_ended(&process, NULL));
    hone__process_kill(&process);
    assert_int_equal(process.out_fd, -1);
    return wait_status;
}

static void test_process__runs_with_clean_surroundings(void **state) {
    (void)state;
    char out[4096];
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC: must not reach the child */
    assert_true(leak >= 0);
    (void)signal(SIGTERM, SIG_IGN);
    int status = run("pwd; ls /proc/self/fd | wc -l; ulimit -c; grep SigIgn /proc/self/status", NULL, out, sizeof out);
    (void)signal(SIGTERM, SIG_DFL);
    (void)close(leak);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(out, "/\n4\n0\nSigIgn:\t0000000000000000\n"); /* 0, 1, 2 and what ls itself opens */
}

static void test_process__ends_are_described(void **state) {
    (void)state;
    char out[100], text[100];
    hone__process_describe(run("exit 3", NULL, out, sizeof out), text, sizeof text);
    assert_string_equal(text, "exited with status 3");
    hone__process_describe(run("kill -SEGV $$", NULL, out, sizeof out), text, sizeof text);
    assert_string_equal(text, "killed by signal 11 (Segmentation fault)");
}

static void test_process__missing_program_and_folder(void **state) {
    (void)state;
    const char *const missing[] = {"hone-no-such-program", NULL}, *const folder_is_no_program[] = {"/tmp", NULL}, *const good[] = {"true", NULL};
    hone__process process;
    hone_error err = {0};
    assert_int_equal(hone__process_start(&process, missing, NULL, NULL, &err), HONE_E_NOTFOUND);
    assert_non_null(strstr(err.message, "cannot run hone-no-such-program"));
    assert_int_equal(process.pid, 0);
    assert_int_equal(process.in_fd, -1);
    hone__process_kill(&process);
    assert_int_equal(hone__process_start(&process, folder_is_no_program, NULL, NULL, &err), HONE_E_PERM);
    assert_int_equal(hone__process_start(&process, good, "/no/such/folder", NULL, &err), HONE_E_NOTFOUND);
    assert_non_null(strstr(err.message, "cannot enter folder /no/such/folder"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
}

static void test_process__limits_hold(void **state) {
    (void)state;
    char out[200];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/big", folder);
    hone__process_limits limits = HONE_PROCESS_LIMITS_NONE;
    limits.file_bytes = 4096;
    char script[256];
    (void)snprintf(script, sizeof script, "head -c 100000 /dev/zero > %s 2>/dev/null; wc -c < %s", path, path);
    (void)run(script, &limits, out, sizeof out);
    assert_string_equal(out, "4096\n");
    limits = (hone__process_limits)HONE_PROCESS_LIMITS_NONE;
    limits.cpu_s = 7;
    limits.memory_bytes = 1u << 30;
    (void)run("ulimit -t; ulimit -v", &limits, out, sizeof out);
    assert_string_equal(out, "7\n1048576\n");
}

static void test_process__kill_takes_the_whole_group(void **state) {
    (void)state;
    const char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!; sleep 1000", NULL};
    hone__process process;
    assert_int_equal(hone__process_start(&process, argv, NULL, NULL, NULL), HONE_OK);
    char out[32] = "";
    for (int i = 0; i < 5000 && strchr(out, '\n') == NULL; i++) {
        size_t have = strlen(out);
        ssize_t got = read(process.out_fd, out + have, sizeof out - 1 - have);
        if (got <= 0)
            hone__sleep_ms(1);
    }
    pid_t grandchild = (pid_t)strtol(out, NULL, 10);
    assert_true(grandchild > 0);
    hone__process_kill(&process);
    assert_int_equal(process.pid, 0);
    bool gone = false;
    for (int i = 0; i < 5000 && !gone; i++) { /* it is init's to reap: dead, or a zombie for a while */
        char path[64], *text = NULL;
        (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)grandchild);
        FILE *file = fopen(path, "r");
        char line[512] = "";
        if (file != NULL) {
            text = fgets(line, sizeof line, file);
            (void)fclose(file);
        }
        gone = text == NULL || strstr(line, ") Z") != NULL;
        if (!gone)
            hone__sleep_ms(1);
    }
    assert_true(gone);
    hone__process_kill(&process); /* again: harmless */
}

/* A daemon has closed its standard streams; its children still get theirs. */
static void test_process__with_closed_standard_streams(void **state) {
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int fd = 0; fd < 3; fd++)
            (void)close(fd);
        const char *const argv[] = {"sh", "-c", "read x; echo got $x", NULL};
        hone__process process;
        if (hone__process_start(&process, argv, NULL, NULL, NULL) != HONE_OK)
            _exit(2);
        if (write(process.in_fd, "it\n", 3) != 3)
            _exit(3);
        char out[64];
        read_all(process.out_fd, out, sizeof out);
        hone__process_kill(&process);
        _exit(strcmp(out, "got it\n") == 0 ? 0 : 4);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc__counts_and_fails_on_request),
        cmocka_unit_test(test_buf__holds_its_maximum_exactly),
        cmocka_unit_test(test_buf__little_endian_and_json),
        cmocka_unit_test(test_buf__json_double_is_the_shortest),
        cmocka_unit_test(test_buf__json_double_in_any_locale),
        cmocka_unit_test(test_json__refuses_what_cjson_lets_pass),
        cmocka_unit_test(test_json__mistakes_are_named), cmocka_unit_test(test_json__finds_nul_in_values),
        cmocka_unit_test(test_json__depth_at_the_limit),
        cmocka_unit_test(test_json__many_members_in_bounded_time),
        cmocka_unit_test(test_json__whole_numbers_exactly),
        cmocka_unit_test(test_json__prints_what_it_read),
        cmocka_unit_test(test_json__text_is_known_when_printed),
        cmocka_unit_test(test_json__no_memory_leaks_nothing),
        cmocka_unit_test(test_status__messages_are_clean_lines),
        cmocka_unit_test(test_log__redacts),
        cmocka_unit_test(test_hash__known_vectors),
        cmocka_unit_test(test_rng__reference_vectors),
        cmocka_unit_test(test_clock__goes_forward),
        cmocka_unit_test(test_file__read_is_bounded),
        cmocka_unit_test(test_file__write_is_atomic),
        cmocka_unit_test(test_file__paths),
        cmocka_unit_test(test_file__mkdir_all),
        cmocka_unit_test(test_words__split_as_a_shell_would),
        cmocka_unit_test(test_process__runs_with_clean_surroundings),
        cmocka_unit_test(test_process__ends_are_described),
        cmocka_unit_test(test_process__missing_program_and_folder),
        cmocka_unit_test(test_process__limits_hold),
        cmocka_unit_test(test_process__kill_takes_the_whole_group),
        cmocka_unit_test(test_process__with_closed_standard_streams),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
