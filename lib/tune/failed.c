/* failed.c: keys that could not be tuned are remembered with the reason, for longer each time, so that a hopeless one does not cost every start of a
 * program a tuning.  How long a failure is believed says what kind it is: from an hour on, that no config ran. */
#include "alloc.h"
#include "clock.h"
#include "tuning.h"

enum { HOPELESS_S = 3600, HOPELESS_MOST_S = 7 * 86400, FAULT_S = 60, FAULT_MOST_S = 1800 };

/* How long it is believed, from its beginning.  What no Hone has written is believed for as long as the longest. */
static int64_t believed_s(const hone__failure *failure) {
    bool sane = failure->created_unix_s >= 0 && failure->expires_unix_s >= failure->created_unix_s;
    int64_t wait_s = sane ? failure->expires_unix_s - failure->created_unix_s : 0;
    return wait_s > HOPELESS_MOST_S ? HOPELESS_MOST_S : wait_s;
}

hone_status hone__tuning_refuse_failure(const hone__tuning *tuning, hone_error *err) {
    hone__failure failure;
    if (tuning->options.force || hone__cache_get_failure(tuning->cache, &tuning->key, &failure, NULL) != HONE_OK)
        return HONE_OK;
    int64_t ago_s = failure.created_unix_s < 0 ? INT64_MAX : hone__clock_unix_s() - failure.created_unix_s, left_s = believed_s(&failure) - ago_s;
    bool counts = left_s > 0 && (believed_s(&failure) >= HOPELESS_S || tuning->reason != HONE_TUNE_ASKED);
    hone_status status = HONE_OK;
    if (counts)
        status = hone__fail(err, HONE_E_NOVALID, "tune", "this key could not be tuned %lld minutes ago (%.300s); it is left alone for %lld more; --force "
                            "(hone_tune_options.force) tries at once", (long long)ago_s / 60, failure.reason, (long long)(left_s + 59) / 60);
    hone__failure_clear(&failure);
    return status;
}

/* Twice as long as the time before, unless that is long over. */
static int64_t how_long(const hone__tuning *tuning, int64_t first_s, int64_t most_s) {
    hone__failure last;
    int64_t wait_s = first_s;
    if (hone__cache_past_failure(tuning->cache, &tuning->key, &last, NULL) == HONE_OK) {
        int64_t ended_s = last.created_unix_s + believed_s(&last), now = hone__clock_unix_s();
        if (believed_s(&last) >= first_s && ended_s >= now - most_s)
            wait_s = 2 * believed_s(&last);
        hone__failure_clear(&last);
    }
    return wait_s > most_s ? most_s : wait_s;
}

static void remember(hone__tuning *tuning, const char *reason, int64_t first_s, int64_t most_s) {
    int64_t now = hone__clock_unix_s();
    hone__failure failure = {.reason = hone__strdup(reason), .created_unix_s = now, .expires_unix_s = now + how_long(tuning, first_s, most_s)};
    if (failure.reason != NULL)
        (void)hone__cache_put_failure(tuning->cache, &tuning->key, &failure, NULL);
    hone__failure_clear(&failure);
}

void hone__tuning_remember_hopeless(hone__tuning *tuning, const char *reason) {
    remember(tuning, reason, HOPELESS_S, HOPELESS_MOST_S);
}

/* What is not a matter of this key, or was somebody's wish. */
static bool is_a_fault(hone_status status) {
    switch (status) {
    case HONE_OK:
    case HONE_E_NOVALID: /* remembered already */
    case HONE_E_CANCELLED:
    case HONE_E_BUSY:
    case HONE_E_TIMEOUT: /* the caller's deadline may have been short */
    case HONE_E_NOMEM:
    case HONE_E_ARG:
    case HONE_E_FORKED:
        return false;
    default:
        return true;
    }
}

void hone__tuning_remember_fault(hone__tuning *tuning, hone_status status, const char *reason) {
    if (tuning->reason != HONE_TUNE_ASKED && is_a_fault(status))
        remember(tuning, reason, FAULT_S, FAULT_MOST_S);
}
