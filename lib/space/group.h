/* group.h: the engine behind hone__bound.  Slots that constraints connect form a group; groups are independent.  A group's slots
 * have an order in which constraints become checkable as early as possible; its partial assignments are expanded level by
 * level into a trie as far as the budget goes.  A group expanded to the end is listed: exact count, uniform sampling. */
#ifndef HONE_GROUP_H
#define HONE_GROUP_H

#include "space_private.h"

/* A constraint that reads a level's slot while others are still open: checked by intervals, as long as that pays. */
typedef struct hone__partial {
    uint32_t constraint;
    uint32_t tries, hits; /* counted while binding only */
} hone__partial;

/* One slot of a group's order, and the nodes of the trie there (NULL beyond the expanded levels). */
typedef struct hone__level {
    uint32_t slot;
    uint32_t count;         /* values of the domain */
    uint32_t choices;       /* values that are free whatever was chosen before: permutations have fewer and fewer */
    uint32_t param;
    bool is_order;          /* slot of a permutation */
    bool many;              /* so many values, ascending, that runs of them are skipped by intervals */
    const uint32_t *check;  /* constraints that can be checked from here on */
    uint32_t check_count;
    hone__partial *partial;
    uint32_t partial_count;
    uint32_t *parent;       /* node of the level above */
    uint32_t *value;
    uint32_t node_count;
} hone__level;

typedef struct hone__group {
    hone__level *level;
    uint32_t level_count;
    uint32_t complete;      /* levels expanded */
    bool listed;
    bool free;              /* no constraint: any choice is valid */
    double count;
    double seen;            /* what an estimated count stands on: so many valid assignments, as far as they weigh alike */
    double accept_rate;     /* of random completions; 0: none was seen */
    double dive_rate;       /* of dives; 0: none was seen */
    uint32_t line_max;      /* most valid values seen in the last level; 0: not looked at */
} hone__group;

struct hone__bound {
    const hone__space *space;
    int64_t sizes[HONE_SIZES_MAX];
    hone__group *group;
    uint32_t group_count;
    uint32_t group_of_slot[HONE_LIMIT_SLOTS];
    hone__level *level;     /* of all groups, one after the other */
    uint32_t *check;        /* constraint indices of all levels */
    uint32_t check_count;
    hone__partial *partial; /* of all levels */
    uint32_t partial_count;
    hone__interval range[HONE_LIMIT_SLOTS]; /* least and greatest value of each slot */
    double count;
    double count_error;     /* relative standard error */
    bool exact;
    uint32_t *row;          /* listed: the valid configs, sorted, slot_count values each; no groups then.  NULL: by constraints */
    uint32_t row_count;
};

/* A config in the making, with the values that expressions read. */
typedef struct hone__draft {
    const hone__bound *bound;
    hone__config config;
    int64_t value[HONE__VALUES_MAX];
    uint32_t used[HONE_LIMIT_PARAMS]; /* permutations: values taken */
    hone__interval box[HONE__VALUES_MAX]; /* what each value can be; kept only for groups with partial checks */
    bool learning;                    /* binding: count what partial checks find */
    uint64_t work;                    /* values tried and constraints evaluated */
} hone__draft;

void hone__draft_init(hone__draft *draft, const hone__bound *bound);
/* Set and unset one level's slot. */
void hone__draft_set(hone__draft *draft, const hone__level *level, uint32_t value);
void hone__draft_unset(hone__draft *draft, const hone__level *level);
/* The constraints that this level completes hold, and none that it touches is out of reach. */
bool hone__draft_check(hone__draft *draft, const hone__level *level);
/* Set the levels 0 .. `levels`-1 to the node `node` of the last of them. */
void hone__draft_load(hone__draft *draft, const hone__group *group, uint32_t levels, uint32_t node);
void hone__draft_clear(hone__draft *draft, const hone__group *group);

/* The first value from `from` on that intervals do not rule out, for levels of many values in ascending order; level->count if
 * there is none.  Worth a call only after some values failed in a row: HONE__SKIP_AFTER. */
enum { HONE__SKIP_AFTER = 16 };
uint32_t hone__draft_skip(hone__draft *draft, const hone__level *level, uint32_t from);

/* A bound by list (listed.c): the row nearest to a config of valid shape. */
void hone__listed_nearest(const hone__bound *bound, const hone__config *wanted, hone__rng *rng, hone__config *out);
/* What a changed slot adds to the distance between two configs. */
double hone__slot_distance(uint32_t domain_count, uint32_t wanted, uint32_t value);

/* Uniform in [0, bound), without division in the usual case. */
uint32_t hone__draw(hone__rng *rng, uint32_t bound);

/* Depth-first search for valid assignments of a group, resumable. */
typedef enum hone__visit { HONE_VISIT_INDEX, HONE_VISIT_RANDOM, HONE_VISIT_NEAR } hone__visit;
typedef struct hone__descent {
    const hone__group *group;
    hone__visit visit;
    hone__rng *rng;                 /* RANDOM */
    const hone__config *wanted;     /* NEAR */
    uint32_t base;                  /* levels taken from the trie */
    uint32_t node, node_next, node_offset, node_stride;
    uint32_t depth;                 /* level whose value is next */
    bool inside;                    /* a node is loaded */
    uint32_t next[HONE_LIMIT_SLOTS];
    uint32_t offset[HONE_LIMIT_SLOTS], stride[HONE_LIMIT_SLOTS];
    uint32_t failed[HONE_LIMIT_SLOTS]; /* values in a row */
} hone__descent;
typedef enum hone__found { HONE_FOUND_NONE, HONE_FOUND_ONE, HONE_FOUND_TIRED } hone__found;

void hone__descent_begin(hone__descent *descent, const hone__group *group, hone__visit visit, hone__rng *rng,
                         const hone__config *wanted);
/* The next valid assignment is in the draft (leave it there); TIRED: draft->work reached `work_max`; call again to go on. */
hone__found hone__descent_next(hone__descent *descent, hone__draft *draft, uint64_t work_max);

/* Put a random valid assignment into the draft; false if none was found within bounded work. */
bool hone__group_sample(const hone__group *group, hone__rng *rng, hone__draft *draft);
/* Values that a sample is expected to set and check. */
double hone__group_draw_work(const hone__group *group);
/* Fill count, rates and `listed`; `sharers` groups share the work of measuring.  HONE_FOUND_NONE: certainly no valid assignment. */
hone__found hone__group_measure(hone__group *group, hone__rng *rng, hone__draft *draft, uint32_t sharers);
/* Expand the trie within the budget; false: out of memory.  `empty` gets the level where nothing was left, or UINT32_MAX. */
bool hone__group_expand(hone__group *group, hone__draft *draft, uint64_t *budget, uint32_t *empty);
/* After binding: forget the partial checks that found too little. */
void hone__group_settle(hone__group *group);

#endif
