/* Expressions: values, precedence, errors with their place, and interval reasoning that never contradicts evaluation. */
#include "alloc.h"
#include "buf.h"
#include "clock.h"
#include "expr.h"
#include "limit.h"
#include "rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int64_t string_id(const void *user, const char *text, size_t bytes) {
    (void)user;
    return bytes == 3 && memcmp(text, "row", 3) == 0 ? 0 : bytes == 3 && memcmp(text, "col", 3) == 0 ? 1 : -1;
}

static const hone__symbol symbol[] = {
    {"M", HONE_SYMBOL_INT, 0, 1, false},   {"BM", HONE_SYMBOL_INT, 1, 1, false}, {"L", HONE_SYMBOL_INT, 2, 3, true},
    {"S", HONE_SYMBOL_STRING, 5, 1, false}, {"F", HONE_SYMBOL_NUMBER, 6, 1, false},
};
static const hone__symbols symbols = {symbol, 5, string_id, NULL};
static const int64_t values[] = {100, 16, 7, 8, 9, 1, 0};

static int64_t eval(const char *text) {
    hone__expr *expr;
    hone_error err = {0};
    int64_t result = -12345;
    const char *why = "";
    if (hone__expr_parse(&expr, text, &symbols, &err) != HONE_OK)
        fail_msg("%s: %s", text, err.message);
    if (!hone__expr_eval(expr, values, &result, &why))
        fail_msg("%s: %s", text, why);
    assert_string_equal(hone__expr_text(expr), text);
    hone__expr_free(expr);
    return result;
}

static void test_expr__evaluates(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"1+2*3", 7}, {"(1+2)*3", 9}, {"10-4-3", 3}, {"100/7/2", 7}, {"-7/2", -3}, {"-7%3", -1}, {"7 % -3", 1}, {"1<<4+1", 32},
        {"256>>2>>1", 32}, {"1<2", 1}, {"2<=1", 0}, {"1+1==2", 1}, {"3!=3", 0}, {"2>1&&1>2", 0}, {"2>1||1>2", 1}, {"5&&7", 1},
        {"0||9", 1}, {"0||0", 0}, {"!5", 0}, {"!0", 1}, {"!0+1", 2}, {"!!7", 1}, {"--3", 3}, {"+4", 4}, {"-2*-3", 6},
        {"1?2:3", 2}, {"0?2:0?4:5", 5}, {"1?0?1:2:3", 2}, {"true+true", 2}, {"false", 0}, {"min(4,2,8)", 2}, {"max(4,2,8)", 8},
        {"min(3)", 3}, {"ceil_div(7,2)", 4}, {"ceil_div(-7,2)", -3}, {"ceil_div(6,3)", 2}, {"ceil_div(7,-2)", -3},
        {"is_pow2(64)", 1}, {"is_pow2(0)", 0}, {"is_pow2(-8)", 0}, {"is_pow2(48)", 0}, {"abs(-5)", 5}, {"abs(5)", 5},
        {"M%BM", 4}, {"L[0]+L[1]*L[2]", 79}, {"L[BM/8]", 9}, {"L[0+1]", 8}, {"S=='col'", 1}, {"S==\"row\"", 0}, {"S!='nix'", 1},
        {"'a'=='b'", 0}, {"'a'=='a'", 1}, {"'a'=='ab'", 0}, {"\"a\"!='a'", 0}, {"M==0||L[0]/M==0", 1}, {"M!=100&&1/0", 0},
        {"M==100||1/0", 1}, {"0?1/0:3", 3}, {"1?3:1/0", 3}, {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807-1", INT64_MIN}, {"1<<62", (int64_t)1 << 62}, {"0<<63", 0}, {"5>>63", 0}, {" \t1\n+ 2 ", 3},
        {"ceil_div(M,BM)*BM-M", 12},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t got = eval(cases[i].text);
        if (got != cases[i].value)
            fail_msg("%s is %lld, not %lld", cases[i].text, (long long)got, (long long)cases[i].value);
    }
}

static void test_expr__refuses_with_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "at byte 0: expected a number"}, {"1+", "at byte 2: expected a number"}, {"1 2", "at byte 2: expected an operator"},
        {"(1", "at byte 2: expected ')'"}, {"1<2<3", "at byte 3: comparisons cannot be chained"}, {"1 < 2 == 1", "at byte 6: comparisons"},
        {"BN", "at byte 0: unknown name 'BN'; did you mean BM? Known here: M, BM, L, S, F"}, {"qqqqqq", "unknown name 'qqqqqq'; known here: M"},
        {"M = 1", "compare with =="}, {"M & 1", "no bitwise operators; write &&"}, {"M | 1", "write ||"}, {"M ^ 1", "found '^'"}, {"~M", "found '~'"},
        {"L", "L is a list: write L[0] to L[2]"}, {"L[3]", "at byte 2: index 3 is outside L"}, {"M[0]", "M is a single value"},
        {"S+1", "needs integers"}, {"S<'row'", "needs integers"}, {"S==1", "compares a string with an integer"}, {"!S", "needs integers"},
        {"S?1:2", "needs integers"}, {"1?S:S", "needs integers"}, {"L[S]", "needs integers"}, {"min(S,1)", "needs integers"},
        {"1==S", "compares a string"}, {"F+1", "not integers"}, {"F", "not integers"}, {"'row", "no closing '"}, {"min()", "found ')'"},
        {"ceil_div(1)", "ceil_div takes 2 arguments, not 1"}, {"abs(1,2)", "abs takes 1 argument, not 2"}, {"min", "expected '('"},
        {"9223372036854775808", "does not fit"}, {"010", "leading zero"}, {"1.5", "not fractions"}, {"2x", "at byte 1"}, {"1?2", "expected ':'"},
        {"foo(1)", "unknown name 'foo'"}, {"1)", "found ')'"}, {"\x01", "expected a number"}, {"M + \xc3\xa9", "found a character that is not ASCII"}, {"1 abc+", "found 'abc'"},
        {"log2(M)", "unknown name 'log2'; the functions are min, max, ceil_div, is_pow2 and abs; known here: M"}, {"M > 1 and M < 9", "'and' is no operator; write &&"},
        {"not M == 1", "'not' is no operator; write !"}, {"M in (1, 2)", "'in' is no operator; write x == a || x == b"},
        {"M // 2 < 4", "there is no operator //; / gives a whole number, too"},
        {"M > 1 or M < 9", "write ||"}, {"M mod 2", "write %"}, {"M ** 2", "no operator **"}, {"M =< 2", "'=' is not an operator"}, {"M % == 0", "the comparisons are =="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone__expr *expr;
        hone_error err = {0};
        hone_status status = hone__expr_parse(&expr, cases[i].text, &symbols, &err);
        if (status != HONE_E_EXPR || strstr(err.message, cases[i].message) == NULL)
            fail_msg("%s: status %d, \"%s\" lacks \"%s\"", cases[i].text, status, err.message, cases[i].message);
        assert_null(expr);
    }
}

static void test_expr__reports_evaluation_errors(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"1/0", "division by zero"}, {"1%0", "division by zero"}, {"ceil_div(1,0)", "division by zero"}, {"9223372036854775807+1", "overflow"},
        {"-9223372036854775807-2", "overflow"}, {"4611686018427387904*2", "overflow"}, {"(-9223372036854775807-1)/-1", "overflow"},
        {"(-9223372036854775807-1)%-1", "overflow"}, {"-(-9223372036854775807-1)", "overflow"}, {"abs(-9223372036854775807-1)", "overflow"},
        {"1<<63", "overflow"}, {"2<<62", "overflow"}, {"1<<64", "shift"}, {"1>>-1", "shift"}, {"-1<<1", "shift"}, {"-8>>1", "shift"}, {"1>>64", "shift"},
        {"L[-1]", "index"}, {"L[BM]", "index"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone__expr *expr;
        int64_t result;
        const char *why = NULL;
        assert_int_equal(hone__expr_parse(&expr, cases[i].text, &symbols, NULL), HONE_OK);
        if (hone__expr_eval(expr, values, &result, &why) || strstr(why, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].text, why == NULL ? "evaluated" : why);
        assert_false(hone__expr_eval(expr, values, &result, NULL));
        hone__expr_free(expr);
    }
}

/* n times `open`, then `middle`, then n times `close`. */
static hone_status parse_nested(const char *open, const char *middle, const char *close, uint32_t n) {
    hone__buf buf;
    hone__buf_init(&buf, 1 << 20);
    for (uint32_t i = 0; i < n; i++)
        hone__buf_text(&buf, open);
    hone__buf_text(&buf, middle);
    for (uint32_t i = 0; i < n; i++)
        hone__buf_text(&buf, close);
    hone__expr *expr;
    int64_t result;
    hone_status status = hone__expr_parse(&expr, buf.data, &symbols, NULL);
    if (status == HONE_OK)
        (void)hone__expr_eval(expr, values, &result, NULL);
    hone__expr_free(expr);
    hone__buf_free(&buf);
    return status;
}

static void test_expr__bounds_depth_and_length(void **state) {
    (void)state;
    static const char *const shapes[][3] = {
        {"(", "1", ")"}, {"-", "1", ""}, {"1?", "1", ":2"}, {"1?2:", "1", ""}, {"max(1,", "2", ")"}, {"1<1<<1+1*(", "1", ")"},
        {"L[", "0", "]"}, {"1<1<<1+1*max(1,", "1", ")"}, {"1||1&&1<1<<1+1*-(", "1", ")"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint32_t levels = i == 8 ? HONE_LIMIT_EXPR_DEPTH / 2 : HONE_LIMIT_EXPR_DEPTH;
        assert_int_equal(parse_nested(shapes[i][0], shapes[i][1], shapes[i][2], levels), HONE_OK);
        assert_int_equal(parse_nested(shapes[i][0], shapes[i][1], shapes[i][2], levels + 1), HONE_E_EXPR);
    }
    assert_int_equal(parse_nested("", "1", "+1", (HONE_LIMIT_EXPR_BYTES - 1) / 2), HONE_OK);
    assert_int_equal(parse_nested("", "12", "+1", (HONE_LIMIT_EXPR_BYTES - 1) / 2), HONE_OK);
    assert_int_equal(parse_nested("", "123", "+1", (HONE_LIMIT_EXPR_BYTES - 1) / 2), HONE_E_EXPR);
    assert_int_equal(parse_nested("''==", "''", "", 1), HONE_OK);
}

static void test_expr__knows_what_it_reads(void **state) {
    (void)state;
    hone__expr *expr;
    assert_int_equal(hone__expr_parse(&expr, "M + L[2]", &symbols, NULL), HONE_OK);
    static const bool reads[] = {true, false, false, false, true, false, false};
    for (uint32_t i = 0; i < 7; i++)
        assert_int_equal(hone__expr_reads(expr, i), reads[i]);
    assert_false(hone__expr_reads(expr, 1u << 20));
    assert_int_equal(hone__expr_type(expr), HONE_SYMBOL_INT);
    hone__expr_free(expr);
    assert_int_equal(hone__expr_parse(&expr, "L[BM]", &symbols, NULL), HONE_OK);
    for (uint32_t i = 1; i <= 4; i++)
        assert_true(hone__expr_reads(expr, i));
    hone__expr_free(expr);
    assert_int_equal(hone__expr_parse(&expr, "S", &symbols, NULL), HONE_OK);
    assert_int_equal(hone__expr_type(expr), HONE_SYMBOL_STRING);
    hone__expr_free(expr);
}

static void grow(hone__rng *rng, hone__buf *buf, int depth) {
    static const char *const binary[] = {"+", "-", "*", "/", "%", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||"};
    static const char *const leaf[] = {"M", "BM", "L[0]", "L[1]", "L[2]", "0", "1", "3", "9223372036854775807", "(-9223372036854775807-1)"};
    static const char *const unary[] = {"-", "!", "abs", "is_pow2", "L[", "+"};
    static const char *const call[] = {"min(", "max(", "ceil_div("};
    uint64_t pick = depth == 0 ? 9 : hone__rng_below(rng, 10);
    hone__buf_char(buf, '(');
    if (pick < 5) {
        grow(rng, buf, depth - 1);
        hone__buf_text(buf, binary[hone__rng_below(rng, 15)]);
        grow(rng, buf, depth - 1);
    } else if (pick < 6) {
        const char *op = unary[hone__rng_below(rng, 6)];
        hone__buf_text(buf, op);
        grow(rng, buf, depth - 1);
        if (op[0] == 'L')
            hone__buf_char(buf, ']');
    } else if (pick < 7) {
        grow(rng, buf, depth - 1);
        hone__buf_char(buf, '?');
        grow(rng, buf, depth - 1);
        hone__buf_char(buf, ':');
        grow(rng, buf, depth - 1);
    } else if (pick < 8) {
        hone__buf_text(buf, call[hone__rng_below(rng, 3)]);
        grow(rng, buf, depth - 1);
        hone__buf_char(buf, ',');
        grow(rng, buf, depth - 1);
        hone__buf_char(buf, ')');
    } else {
        hone__buf_text(buf, leaf[hone__rng_below(rng, depth > 1 ? 5 : 10)]);
    }
    hone__buf_char(buf, ')');
}

/* Whatever a point of the box makes true, the box must allow. */
static void test_expr__intervals_are_sound(void **state) {
    (void)state;
    const char *wanted = getenv("HONE_TEST_SEED");
    uint64_t seed = wanted != NULL ? strtoull(wanted, NULL, 10) : (uint64_t)hone__clock_unix_s();
    print_message("seed %llu (HONE_TEST_SEED)\n", (unsigned long long)seed);
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    uint32_t refuted = 0;
    uint32_t held = 0;
    for (int round = 0; round < 20000; round++) {
        hone__buf buf;
        hone__buf_init(&buf, HONE_LIMIT_EXPR_BYTES);
        grow(&rng, &buf, 4);
        hone__expr *expr = NULL;
        if (buf.status == HONE_OK && hone__expr_parse(&expr, buf.data, &symbols, NULL) == HONE_OK) {
            hone__interval box[7];
            for (int i = 0; i < 7; i++) {
                int64_t low = (int64_t)hone__rng_below(&rng, 12) - 5;
                box[i] = (hone__interval){low, low + (int64_t)hone__rng_below(&rng, 5)};
            }
            bool possible = hone__expr_possible(expr, box);
            refuted += possible ? 0 : 1;
            for (int i = 0; i < 40; i++) {
                int64_t point[7];
                int64_t result = 0;
                for (int j = 0; j < 7; j++)
                    point[j] = box[j].low + (int64_t)hone__rng_below(&rng, (uint64_t)(box[j].high - box[j].low) + 1);
                bool holds = hone__expr_eval(expr, point, &result, NULL) && result != 0;
                held += holds ? 1 : 0;
                if (holds && !possible)
                    fail_msg("refuted wrongly: %s", buf.data);
            }
        }
        hone__expr_free(expr);
        hone__buf_free(&buf);
    }
    print_message("%u of 20000 boxes refuted, %u points held\n", refuted, held);
    assert_true(refuted > 500 && held > 10000);
}

static void test_expr__survives_failing_allocation(void **state) {
    (void)state;
    size_t live = hone__alloc_live();
    bool finished = false;
    for (size_t nth = 1; !finished && nth < 100; nth++) {
        hone__expr *expr;
        hone_error err = {0};
        hone__alloc_fail_at(nth, 0);
        hone_status status = hone__expr_parse(&expr, "max(M,1,2,3,4)+L[BM/8]*(S=='row')+1+2+3+4+5+6+7+8", &symbols, &err);
        hone__alloc_fail_at(0, 0);
        finished = status == HONE_OK;
        assert_true(finished || (status == HONE_E_NOMEM && expr == NULL && err.code == HONE_E_NOMEM));
        hone__expr_free(expr);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_true(finished);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expr__evaluates),
        cmocka_unit_test(test_expr__refuses_with_place),
        cmocka_unit_test(test_expr__reports_evaluation_errors),
        cmocka_unit_test(test_expr__bounds_depth_and_length),
        cmocka_unit_test(test_expr__knows_what_it_reads),
        cmocka_unit_test(test_expr__intervals_are_sound),
        cmocka_unit_test(test_expr__survives_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
