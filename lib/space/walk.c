/* walk.c: all valid configs in a fixed order, lazily: an odometer whose wheels are the groups. */
#include "alloc.h"
#include "group.h"

#include <string.h>

struct hone__walk {
    const hone__bound *bound;
    hone__draft draft;
    const hone__group *wheel[HONE_LIMIT_SLOTS]; /* slow ones first */
    hone__descent *descent;
    bool started, ended;
    uint32_t row;                               /* of a listed bound: the next one */
};

hone_status hone__walk_new(hone__walk **out, const hone__bound *bound) {
    *out = NULL;
    hone__walk *walk = hone__alloc(sizeof *walk);
    if (walk == NULL)
        return HONE_E_NOMEM;
    walk->descent = hone__alloc_array(bound->group_count, sizeof *walk->descent);
    if (walk->descent == NULL) {
        hone__walk_free(walk);
        return HONE_E_NOMEM;
    }
    walk->bound = bound;
    if (bound->row != NULL) {
        *out = walk;
        return HONE_OK;
    }
    hone__draft_init(&walk->draft, bound);
    /* A group that is not listed is searched anew each time that it starts over: such groups turn slowest. */
    uint32_t count = 0;
    for (int listed = 0; listed < 2; listed++) {
        for (uint32_t i = 0; i < bound->group_count; i++) {
            const hone__group *group = &bound->group[i];
            if ((group->listed || group->free) == (listed == 1))
                walk->wheel[count++] = group;
        }
    }
    *out = walk;
    return HONE_OK;
}

static bool turn(hone__walk *walk, uint32_t wheel) {
    return hone__descent_next(&walk->descent[wheel], &walk->draft, UINT64_MAX) == HONE_FOUND_ONE;
}

static bool restart(hone__walk *walk, uint32_t wheel) {
    hone__draft_clear(&walk->draft, walk->wheel[wheel]);
    hone__descent_begin(&walk->descent[wheel], walk->wheel[wheel], HONE_VISIT_INDEX, NULL, NULL);
    return turn(walk, wheel);
}

bool hone__walk_next(hone__walk *walk, hone__config *out) {
    if (walk->bound->row != NULL)
        return hone__bound_at(walk->bound, walk->row++, out);
    uint32_t wheel = walk->bound->group_count;
    if (walk->ended)
        return false;
    if (walk->started) {
        while (wheel > 0 && !turn(walk, wheel - 1))
            wheel--;
    } else {
        wheel = 0;
    }
    walk->ended = walk->started && wheel == 0;
    walk->started = true;
    for (; wheel < walk->bound->group_count && !walk->ended; wheel++)
        walk->ended = !restart(walk, wheel);
    if (walk->ended)
        return false;
    *out = walk->draft.config;
    return true;
}

void hone__walk_free(hone__walk *walk) {
    if (walk == NULL)
        return;
    hone__free(walk->descent);
    hone__free(walk);
}
