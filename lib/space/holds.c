/* holds.c: constraints of one config at given sizes, and why they do not hold. */
#include "holds.h"

static void print_symbol(hone__buf *buf, const hone__space *space, const hone__config *config, const hone__symbol *symbol,
                         const int64_t *values) {
    hone__buf_printf(buf, "%s=", symbol->name);
    if (symbol->first < space->size_count) {
        hone__buf_printf(buf, "%lld", (long long)values[symbol->first]);
        return;
    }
    uint32_t slot = symbol->first - space->size_count;
    const hone__domain *domain = &space->param[hone__space_param_of_slot(space, slot)].domain;
    if (symbol->is_list)
        hone__buf_char(buf, '[');
    for (uint32_t i = 0; i < symbol->length; i++) {
        if (i > 0)
            hone__buf_char(buf, ',');
        hone__domain_print(buf, domain, config->slot[slot + i]);
    }
    if (symbol->is_list)
        hone__buf_char(buf, ']');
}

static bool reads_symbol(const hone__expr *expr, const hone__symbol *symbol) {
    for (uint32_t i = 0; i < symbol->length; i++) {
        if (hone__expr_reads(expr, symbol->first + i))
            return true;
    }
    return false;
}

static void explain(hone__buf *buf, const hone__space *space, const hone__config *config, const hone__constraint *constraint,
                    const int64_t *values, const char *failure) {
    hone__buf_text(buf, hone__expr_text(constraint->expr));
    if (failure != NULL)
        hone__buf_printf(buf, " cannot be evaluated (%s)", failure);
    else
        hone__buf_text(buf, " does not hold");
    const hone__symbols *symbols = hone__space_symbols(space, true);
    const char *separator = ": ";
    for (uint32_t i = 0; i < symbols->count; i++) {
        if (!reads_symbol(constraint->expr, &symbols->symbol[i]))
            continue;
        hone__buf_text(buf, separator);
        print_symbol(buf, space, config, &symbols->symbol[i], values);
        separator = ", ";
    }
    if (constraint->why != NULL)
        hone__buf_printf(buf, " (%s)", constraint->why);
}

bool hone__space_holds(const hone__space *space, const int64_t *sizes, const hone__config *config, hone__buf *why) {
    int64_t values[HONE_SIZES_MAX + HONE_LIMIT_SLOTS];
    hone__space_values(space, sizes, config, values);
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        int64_t result = 0;
        const char *failure = NULL;
        bool evaluated = hone__expr_eval(space->constraint[i].expr, values, &result, &failure);
        if (evaluated && result != 0)
            continue;
        if (why != NULL)
            explain(why, space, config, &space->constraint[i], values, evaluated ? NULL : (failure != NULL ? failure : "error"));
        return false;
    }
    return true;
}
