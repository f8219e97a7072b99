/* Any bytes as an expression: parsing must not fault; what parses must evaluate the same each time, agree with its intervals, and
 * parse again from its own text. */
#include "expr.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t string_id(const void *user, const char *text, size_t bytes) {
    (void)user;
    return bytes == 1 && text[0] >= 'a' && text[0] <= 'z' ? text[0] - 'a' : -1;
}

static void require(bool condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const hone__symbol symbol[] = {
        {"M", HONE_SYMBOL_INT, 0, 1, false},    {"BM", HONE_SYMBOL_INT, 1, 1, false},   {"L", HONE_SYMBOL_INT, 2, 4, true},
        {"S", HONE_SYMBOL_STRING, 6, 1, false}, {"T", HONE_SYMBOL_STRING, 7, 2, true}, {"F", HONE_SYMBOL_NUMBER, 9, 1, false},
    };
    static const hone__symbols symbols = {symbol, 6, string_id, NULL};
    static const int64_t values[] = {4096, 64, 1, -7, INT64_MAX, INT64_MIN, 3, 0, 25, 0};
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    hone__expr *expr;
    hone_error err = {0};
    hone_status status = hone__expr_parse(&expr, text, &symbols, &err);
    require((status == HONE_OK) == (expr != NULL));
    require(status == HONE_OK || (status == HONE_E_EXPR && err.message[0] != '\0'));
    if (expr != NULL) {
        hone__interval exact[10];
        hone__interval wide[10];
        for (int i = 0; i < 10; i++) {
            exact[i] = (hone__interval){values[i], values[i]};
            wide[i] = (hone__interval){values[i] > 0 ? 0 : INT64_MIN, values[i] < 0 ? 0 : INT64_MAX};
        }
        int64_t result = 0;
        const char *why = NULL;
        bool holds = hone__expr_eval(expr, values, &result, &why);
        require(holds || why != NULL);
        if (holds && result != 0)
            require(hone__expr_possible(expr, exact) && hone__expr_possible(expr, wide));
        hone__expr *again;
        require(hone__expr_parse(&again, hone__expr_text(expr), &symbols, NULL) == HONE_OK);
        int64_t second = 0;
        require(hone__expr_eval(again, values, &second, NULL) == holds && (!holds || second == result));
        hone__expr_free(again);
    }
    hone__expr_free(expr);
    free(text);
    return 0;
}
