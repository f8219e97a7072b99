#include "trial.h"

#include <string.h>

static const char *const outcome_names[] = {
#define OUTCOME_NAME(name, text) text,
    HONE_OUTCOME_MAP(OUTCOME_NAME)
#undef OUTCOME_NAME
};

_Static_assert(sizeof outcome_names / sizeof outcome_names[0] == HONE_OUTCOME_COUNT, "one name for each outcome");

const char *hone__outcome_name(hone__outcome outcome) {
    return (unsigned)outcome < HONE_OUTCOME_COUNT ? outcome_names[outcome] : "unknown";
}

hone__outcome hone__outcome_from_name(const char *name) {
    unsigned i = 0;
    while (i < HONE_OUTCOME_COUNT && strcmp(outcome_names[i], name) != 0)
        i++;
    return (hone__outcome)i;
}

const char *hone__accuracy_name(hone__accuracy accuracy) {
    static const char *const names[HONE_ACCURACY_COUNT] = {"unchecked", "passed", "failed"};
    return names[(unsigned)accuracy < HONE_ACCURACY_COUNT ? accuracy : HONE_ACCURACY_UNCHECKED];
}
