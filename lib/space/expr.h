/* expr.h: the expressions of spec/kernel.md section 5: parsed once, type-checked, evaluated without allocation. */
#ifndef HONE_EXPR_H
#define HONE_EXPR_H

#include "status.h"

#include <stdbool.h>

typedef struct hone__expr hone__expr;

typedef enum hone__symbol_type { HONE_SYMBOL_INT, HONE_SYMBOL_STRING, HONE_SYMBOL_NUMBER } hone__symbol_type;

/* What a name means.  Values come at evaluation from one array of int64: sizes first, then config slots; a string value is
 * an id that `string_id` gave. */
typedef struct hone__symbol {
    const char *name;
    hone__symbol_type type;
    uint32_t first;      /* index of its first value */
    uint32_t length;     /* 1 for scalars; lists: number of elements (then only name[i] is allowed) */
    bool is_list;
} hone__symbol;

typedef struct hone__symbols {
    const hone__symbol *symbol;
    uint32_t count;
    int64_t (*string_id)(const void *user, const char *text, size_t bytes); /* same id for the same text; -1: no value has it */
    const void *user;
} hone__symbols;

/* Errors: HONE_E_EXPR with the byte offset and what was expected; unknown names list the known ones. */
hone_status hone__expr_parse(hone__expr **out, const char *text, const hone__symbols *symbols, hone_error *err);
void hone__expr_free(hone__expr *expr);
/* Evaluate.  False: overflow, division by zero, bad shift or index; *why (may be NULL) is then a static phrase. */
bool hone__expr_eval(const hone__expr *expr, const int64_t *values, int64_t *result, const char **why);
/* May the result be non-zero when each value is somewhere in its interval?  False is certain, true is not: what lets a search turn
 * back before all values are chosen. */
typedef struct hone__interval {
    int64_t low, high;
} hone__interval;
bool hone__expr_possible(const hone__expr *expr, const hone__interval *values);
/* True if the value at `index` is read by the expression (name[i] with non-constant i reads all elements). */
bool hone__expr_reads(const hone__expr *expr, uint32_t index);
/* The type of the result. */
hone__symbol_type hone__expr_type(const hone__expr *expr);
/* How long one evaluation takes, in units of a short expression; at least 1. */
uint32_t hone__expr_cost(const hone__expr *expr);
/* The text it was parsed from. */
const char *hone__expr_text(const hone__expr *expr);

#endif
