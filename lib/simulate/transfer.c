#include "transfer.h"
#include "alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BEST = 50, OTHERS = 150 }; /* of one file: about what one thorough tuning leaves in a cache */

typedef struct entry {
    double time_ms;
    uint32_t row;
} entry;

static int by_time(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->time_ms != y->time_ms ? (x->time_ms > y->time_ms) - (x->time_ms < y->time_ms) : (x->row > y->row) - (x->row < y->row);
}

static bool same_value(const hone__domain *a, uint32_t i, const hone__domain *b, uint32_t k) {
    if (a->kind == HONE_KIND_BOOL || b->kind == HONE_KIND_BOOL)
        return a->kind == b->kind && i == k;
    if (a->type == HONE_SYMBOL_STRING || b->type == HONE_SYMBOL_STRING)
        return a->type == b->type && strcmp(a->strings[i], b->strings[k]) == 0;
    return !(a->numbers[i] < b->numbers[k]) && !(a->numbers[i] > b->numbers[k]);
}

/* Value numbers of the other space as ours; UINT32_MAX where we have no such value. False: some parameter has no counterpart. */
typedef struct dictionary {
    uint32_t other_slot[HONE_LIMIT_SLOTS];
    uint32_t *value[HONE_LIMIT_SLOTS]; /* by our slot, then the other's value number */
} dictionary;

static void forget(dictionary *words) {
    for (uint32_t s = 0; s < HONE_LIMIT_SLOTS; s++)
        hone__free(words->value[s]);
}

static hone_status translate(dictionary *words, const hone__space *here, const hone__space *there, bool *alike) {
    *alike = here->param_count == there->param_count;
    for (uint32_t p = 0; p < here->param_count && *alike; p++) {
        const hone__param *ours = &here->param[p], *theirs = NULL;
        for (uint32_t q = 0; q < there->param_count; q++)
            theirs = strcmp(there->param[q].name, ours->name) == 0 ? &there->param[q] : theirs;
        if (theirs == NULL) {
            *alike = false;
            break;
        }
        words->other_slot[p] = theirs->first_slot;
        words->value[p] = hone__alloc_array(theirs->domain.count, sizeof(uint32_t));
        if (words->value[p] == NULL)
            return HONE_E_NOMEM;
        for (uint32_t k = 0; k < theirs->domain.count; k++) {
            words->value[p][k] = UINT32_MAX;
            for (uint32_t i = 0; i < ours->domain.count; i++) {
                if (same_value(&ours->domain, i, &theirs->domain, k))
                    words->value[p][k] = i;
            }
        }
    }
    return HONE_OK;
}

static bool config_of(const hone__recorded *there, const dictionary *words, uint32_t row, uint32_t slots, hone__config *out) {
    memset(out, 0, sizeof *out);
    hone__config config;
    if (!hone__bound_at(there->bound, row, &config))
        return false;
    for (uint32_t s = 0; s < slots; s++) {
        out->slot[s] = words->value[s][config.slot[words->other_slot[s]]];
        if (out->slot[s] == UINT32_MAX)
            return false;
    }
    return true;
}

static hone_status take(hone__evidence *out, uint32_t *count, const hone__recorded *here, const hone__recorded *there, uint32_t source) {
    dictionary words = {{0}, {NULL}};
    bool alike = false;
    hone_status status = translate(&words, here->space, there->space, &alike);
    entry *ranked = status == HONE_OK && alike ? hone__alloc_array(there->row_count, sizeof *ranked) : NULL;
    if (status == HONE_OK && alike && ranked == NULL)
        status = HONE_E_NOMEM;
    uint32_t ranked_count = 0;
    for (uint32_t row = 0; ranked != NULL && row < there->row_count; row++) {
        if (there->time_ms[row] > 0)
            ranked[ranked_count++] = (entry){there->time_ms[row], row};
    }
    if (ranked_count > 0)
        qsort(ranked, ranked_count, sizeof *ranked, by_time);
    uint32_t stride = ranked_count > BEST + OTHERS ? (ranked_count - BEST) / OTHERS : 1;
    for (uint32_t i = 0, taken = 0; i < ranked_count && taken < BEST + OTHERS; i += i < BEST ? 1 : stride) {
        hone__evidence *one = &out[*count];
        if (!config_of(there, &words, ranked[i].row, here->space->slot_count, &one->config))
            continue;
        one->source = source;
        one->cost = log(ranked[i].time_ms / ranked[0].time_ms);
        (*count)++;
        taken++;
    }
    hone__free(ranked);
    forget(&words);
    return status;
}

hone_status hone__transfer_load(hone__evidence **out, uint32_t *count, const hone__recorded *here, const char *const *path,
                                uint32_t path_count, hone_error *err) {
    *out = NULL;
    *count = 0;
    hone__evidence *evidence = hone__alloc_array((size_t)path_count * (BEST + OTHERS) + 1, sizeof *evidence);
    hone_status status = evidence == NULL ? hone__fail(err, HONE_E_NOMEM, "simulate", "no memory for the transfer") : HONE_OK;
    for (uint32_t i = 0; i < path_count && status == HONE_OK; i++) {
        hone__recorded *there = NULL;
        status = hone__recorded_load(&there, path[i], err);
        if (status == HONE_OK && take(evidence, count, here, there, i) != HONE_OK)
            status = hone__fail(err, HONE_E_NOMEM, "simulate", "no memory for the transfer");
        hone__recorded_free(there);
    }
    if (status == HONE_OK)
        *out = evidence;
    else
        hone__free(evidence);
    return status;
}
