/* claimed.c: the claim of a tuning under way.  It is renewed long before its lease ends; who was stopped for longer finds out that another process has
 * taken the key over, and leaves it to that one. */
#include "clock.h"
#include "tuning.h"

enum { LEASE_S = 120, RENEW_S = 30, LOOK_MS = 1000 };

hone_status hone__tuning_claim(hone__tuning *tuning, hone_error *err) {
    hone_status status = hone__claim_take(tuning->cache, &tuning->key, LEASE_S, err);
    tuning->claimed = status == HONE_OK;
    tuning->claim_looked_ns = tuning->claim_renewed_ns = hone__clock_ns();
    return status == HONE_E_BUSY ? status : HONE_OK;
}

/* It is not ours any more: is it another's, or was that one even done with it?  Else it went with a file that was replaced, and is taken anew. */
static bool is_lost(hone__tuning *tuning) {
    hone_match match;
    hone__entry entry;
    if (hone__tuning_answered_meanwhile(tuning, &match, &entry)) {
        hone__entry_clear(&entry);
        return true;
    }
    bool ours;
    return hone__claim_take(tuning->cache, &tuning->key, LEASE_S, NULL) == HONE_E_BUSY && hone__claim_held(tuning->cache, &tuning->key, &ours);
}

bool hone__tuning_keep_claim(hone__tuning *tuning) {
    uint64_t now = hone__clock_ns();
    bool ours;
    if (!tuning->claimed || tuning->lost)
        return !tuning->lost;
    if (now >= tuning->claim_looked_ns + LOOK_MS * 1000000ull) {
        tuning->claim_looked_ns = now;
        tuning->lost = hone__claim_held(tuning->cache, &tuning->key, &ours) || (!ours && is_lost(tuning));
    }
    if (!tuning->lost && now >= tuning->claim_renewed_ns + RENEW_S * 1000000000ull) {
        tuning->claim_renewed_ns = now;
        (void)hone__claim_renew(tuning->cache, &tuning->key, LEASE_S, NULL);
        hone__session_save(tuning, false);
    }
    return !tuning->lost;
}
