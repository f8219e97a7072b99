/* space.h: the config space.  A config is a vector of domain indices, one a slot; a scalar parameter has one slot, a list or
 * permutation one for each element.  A space bound to a problem's sizes (hone__bound) knows which configs are valid. */
#ifndef HONE_SPACE_H
#define HONE_SPACE_H

#include "expr.h"
#include "json.h"
#include "limit.h"
#include "rng.h"

typedef enum hone__kind {
    HONE_KIND_RANGE,
    HONE_KIND_POW2,
    HONE_KIND_ENUM,
    HONE_KIND_BOOL,
    HONE_KIND_PERMUTATION,
    HONE_KIND_LIST
} hone__kind;

/* The values of one slot: index 0 .. count-1. */
typedef struct hone__domain {
    hone__kind kind;           /* RANGE, POW2, ENUM, BOOL; PERMUTATION: 0 .. length-1 */
    hone__symbol_type type;    /* INT, STRING, or NUMBER when an enum has a non-integer */
    uint32_t count;
    int64_t min, max, step;    /* RANGE (value = min + index * step), POW2 (min << index) */
    int64_t *integers;         /* ENUM of integers; interned ids for ENUM of strings */
    double *numbers;           /* ENUM of numbers (also when all are integers) */
    char **strings;            /* ENUM of strings */
} hone__domain;

typedef struct hone__param {
    char *name;
    char *description;         /* or NULL */
    hone__kind kind;
    hone__domain domain;       /* of the scalar, or of each element */
    uint32_t first_slot;
    uint32_t slot_count;
} hone__param;

typedef struct hone__constraint {
    hone__expr *expr;
    char *why;                 /* or NULL */
} hone__constraint;

/* A config by domain index.  Slots beyond the space's count are zero, so configs compare with memcmp. */
typedef struct hone__config {
    uint32_t slot[HONE_LIMIT_SLOTS];
} hone__config;

typedef struct hone__space {
    hone__param *param;
    uint32_t param_count;
    uint32_t slot_count;
    uint32_t size_count;                     /* sizes come first in the expression's values */
    const char *size_name[HONE_SIZES_MAX];   /* borrowed from the kernel */
    hone__constraint *constraint;
    uint32_t constraint_count;
    hone__config base;                       /* the default config */
    struct hone__space_private *priv;        /* symbols, slot -> param, interned strings */
} hone__space;

/* ---- making (called by the kernel spec reader) ---- */

/* From the spec's `params`, `constraints` and `default`.  Errors are HONE_E_SPEC: "LABEL: /params/BM/min: ...". */
hone_status hone__space_parse(hone__space **out, const cJSON *spec, const char *label, const char *const *size_names,
                              uint32_t size_count, hone_error *err);
void hone__space_free(hone__space *space);
/* Symbols for parsing further expressions: over sizes only, or sizes and parameters. */
const hone__symbols *hone__space_symbols(const hone__space *space, bool with_params);
/* The text of an interned string value (what an expression of type STRING yields); NULL when no value has this id. */
const char *hone__space_string(const hone__space *space, int64_t id);
/* The array that expressions read: sizes, then slot values. `values` has room for HONE_SIZES_MAX + HONE_LIMIT_SLOTS. */
void hone__space_values(const hone__space *space, const int64_t *sizes, const hone__config *config, int64_t *values);

/* ---- values ---- */

uint32_t hone__space_param_of_slot(const hone__space *space, uint32_t slot);
int64_t hone__domain_int(const hone__domain *domain, uint32_t index);       /* string: interned id */
double hone__domain_number(const hone__domain *domain, uint32_t index);     /* string: the index */
const char *hone__domain_string(const hone__domain *domain, uint32_t index); /* NULL unless STRING */
void hone__domain_print(hone__buf *buf, const hone__domain *domain, uint32_t index); /* as JSON */

bool hone__config_equal(const hone__config *a, const hone__config *b);
/* Whole config as compact JSON in the space's order; sparse: only what differs from the default ("{}" for the default). */
void hone__config_print(hone__buf *buf, const hone__space *space, const hone__config *config);
void hone__config_print_sparse(hone__buf *buf, const hone__space *space, const hone__config *config);
/* Read a sparse or whole config over the default.  Unknown names, values outside the domain and wrong shapes are HONE_E_CONFIG
 * with a message fit for a model ("BM: 48 is not in the range 16..256 step 32; nearest 32 or 64").  Does not check constraints.
 * With `repair`, obvious slips are mended and noted: "64" for 64, 64.0, [64] for a scalar, 0/1 for a bool, a scalar for a list of
 * equal elements, letter case and surrounding spaces of strings, names that differ in case; unknown names are dropped with a note; a number within
 * the range but between two values goes to the nearest.  `notes` (may be NULL) gets one line a repair. */
hone_status hone__config_read(const hone__space *space, const cJSON *json, bool repair, hone__config *out, hone__buf *notes,
                              hone_error *err);
/* The same for text as hone__config_print and its sparse sister write it, without a JSON tree.  False: it is written otherwise or does not fit the
 * space; hone__config_read on its JSON then reads it or says why not. */
bool hone__config_read_text(const hone__space *space, const char *text, hone__config *out);
/* Compile-time macros of a config, one after the other as "NAME=value" (spec/kernel.md section 6), through `each`. */
void hone__config_macros(const hone__space *space, const hone__config *config, void (*each)(void *user, const char *definition),
                         void *user);

/* The public view (hone_config in hone.h). */
struct hone_config {
    const hone__space *space;
    hone__config values;
};

/* ---- validity ---- */

typedef struct hone__bound hone__bound;

/* Bind to sizes: finds independent groups of parameters and lists small groups' valid combinations, so that sampling and counting
 * are exact where they can be.  Takes milliseconds.  HONE_E_CONFIG when no config at all is valid.  Keeps a pointer to `space`. */
hone_status hone__bound_new(hone__bound **out, const hone__space *space, const int64_t *sizes, hone_error *err);
/* Bind to a list: `rows` (copied) holds `count` configs of slot_count values each, and these are the valid ones, whatever the space's
 * constraints say; recorded spaces are such.  The default need not be among them.  HONE_E_ARG: a row twice, or values outside the domains. */
hone_status hone__bound_new_listed(hone__bound **out, const hone__space *space, const uint32_t *rows, uint32_t count, hone_error *err);
/* Number of a config's row, 0 .. count-1 in the walk's order; UINT32_MAX when it is not listed. */
uint32_t hone__bound_row(const hone__bound *bound, const hone__config *config);
/* The row of a number; false beyond the last. */
bool hone__bound_at(const hone__bound *bound, uint32_t index, hone__config *out);
void hone__bound_free(hone__bound *bound);
const hone__space *hone__bound_space(const hone__bound *bound);
const int64_t *hone__bound_sizes(const hone__bound *bound);
/* Valid for these sizes?  On false, *why (may be NULL) says which constraint, with the numbers put in: "BM % MR == 0 does not hold:
 * BM=48, MR=32 (the tile must be whole)". */
bool hone__bound_valid(const hone__bound *bound, const hone__config *config, hone__buf *why);
/* How many configs are valid: exact when *exact, else an estimate.  Raw is the product of the domains. */
double hone__bound_count(const hone__bound *bound, bool *exact);
/* Relative standard error of that estimate, at most 1 for each independent part of the space; 0 when exact. */
double hone__bound_count_error(const hone__bound *bound);
double hone__space_raw_count(const hone__space *space);
/* A random valid config; uniform where the groups are listed, else near it.  False only if none was found within a bound of work. */
bool hone__bound_sample(const hone__bound *bound, hone__rng *rng, hone__config *out);
/* What that is expected to cost, in values set and checked: the slots where each draw is valid, more the rarer valid ones are. */
double hone__bound_draw_work(const hone__bound *bound);
/* Valid configs that differ from `from` in one parameter (one slot of a list; a swap for permutations), nearest values first,
 * at most `max`; returns how many.  `radius`: how many steps a numeric slot moves (0: any value). */
uint32_t hone__bound_neighbours(const hone__bound *bound, const hone__config *from, uint32_t radius, hone__config *out,
                                uint32_t max);
/* The nearest valid config to `wanted` (few changed parameters, small steps), for repairing a proposal.  False: none near. */
bool hone__bound_repair(const hone__bound *bound, const hone__config *wanted, hone__rng *rng, hone__config *out);
/* Walk all valid configs in a fixed order: start with *cursor = 0; false at the end.  Works for any space, lazily. */
typedef struct hone__walk hone__walk;
hone_status hone__walk_new(hone__walk **out, const hone__bound *bound);
bool hone__walk_next(hone__walk *walk, hone__config *out);
void hone__walk_free(hone__walk *walk);

#endif
