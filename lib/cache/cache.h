/* cache.h: the LMDB file and everything that is asked of it.  Raw map pointers never leave this room: what comes out is a decoded
 * copy.  Every write takes the side lock first (design section 7, research on containers), with a deadline. */
#ifndef HONE_CACHE_H
#define HONE_CACHE_H

#include "record.h"

/* hone_cache_open, _close, _path, _each, _show, _stats are here too (hone.h). */

/* Where the cache is when nobody names one (store_path.c); hone__free. */
hone_status hone__cache_default_path(char **out, hone_error *err);

/* ---- entries ---- */
/* HONE_E_NOTFOUND is a miss; HONE_E_CORRUPT a miss with a reason (counted). */
hone_status hone__cache_get(const hone_cache *cache, const hone__key *key, hone__entry *out, hone_error *err);
/* Store; the better evidence stays (hone__entry_compare) unless `replace`.  Also removes a failure of the key.  HONE_E_VERSION: an entry
 * of a newer Hone is there, and is kept. */
hone_status hone__cache_put(hone_cache *cache, const hone__entry *entry, bool replace, hone_error *err);
/* The same for what is known to be better than `superseded`, whatever the figures say: if that is still what is there, it is replaced. */
hone_status hone__cache_put_over(hone_cache *cache, const hone__entry *entry, const hone__entry *superseded, hone_error *err);
/* What became of an entry that was put. */
typedef enum hone__join {
    HONE_JOIN_ADDED,    /* there was none, or a damaged one */
    HONE_JOIN_REPLACED, /* it is the better evidence, or `replace` */
    HONE_JOIN_KEPT,     /* what was there is better, and stays */
    HONE_JOIN_SAME,     /* the same bytes were there */
    HONE_JOIN_NEWER     /* what was there was written by a newer Hone, and stays */
} hone__join;
/* The same for `count` entries in one transaction: all or none.  result[i] says what became of entry[i].  With `dry_run` nothing is written,
 * and entries of one batch are not compared with one another.  An entry that cannot be encoded fails the call: try it alone first
 * (hone__entry_encode). */
hone_status hone__cache_join(hone_cache *cache, const hone__entry *entry, uint32_t count, bool replace, bool dry_run, hone__join *result,
                             hone_error *err);
/* Entries of one kernel, at any problem and device, decoded into a new array (free each with hone__entry_clear, then hone__free).
 * `max` bounds it.  Damaged ones are skipped and counted. */
hone_status hone__cache_of_kernel(const hone_cache *cache, const uint8_t kernel_id[16], uint32_t max, hone__entry **out,
                                  uint32_t *count, hone_error *err);

/* ---- journal ----
 * A session of a key is one tuning; it is identified by the key and a number.  Trials and exchanges are appended to it. */
/* The last session of the key; HONE_E_NOTFOUND when there is none, or when its head is damaged (logged and counted). */
hone_status hone__journal_last(const hone_cache *cache, const hone__key *key, uint32_t *number, hone__session *out, hone_error *err);
/* Start number last+1, or write the state of one. */
hone_status hone__journal_begin(hone_cache *cache, const hone__key *key, const hone__session *session, uint32_t *number, hone_error *err);
hone_status hone__journal_update(hone_cache *cache, const hone__key *key, uint32_t number, const hone__session *session, hone_error *err);
hone_status hone__journal_trial(hone_cache *cache, const hone__key *key, uint32_t number, uint32_t index, const hone__trial *trial,
                                hone_error *err);
hone_status hone__journal_exchange(hone_cache *cache, const hone__key *key, uint32_t number, const hone__exchange *exchange,
                                   hone_error *err);
/* All trials in index order; all exchanges in index order.  Damaged ones are left out and counted ("journal_corrupt"). */
hone_status hone__journal_trials(const hone_cache *cache, const hone__key *key, uint32_t number, hone__trial **out, uint32_t *count,
                                 hone_error *err);
hone_status hone__journal_exchanges(const hone_cache *cache, const hone__key *key, uint32_t number, hone__exchange **out,
                                    uint32_t *count, hone_error *err);

/* ---- kernels, failures, claims, counters ---- */
hone_status hone__cache_put_kernel(hone_cache *cache, const hone__kernel_info *info, hone_error *err);
hone_status hone__cache_get_kernel(const hone_cache *cache, const uint8_t id[16], hone__kernel_info *out, hone_error *err);
hone_status hone__cache_put_failure(hone_cache *cache, const hone__key *key, const hone__failure *failure, hone_error *err);
/* HONE_E_NOTFOUND when there is none or it has expired. */
hone_status hone__cache_get_failure(const hone_cache *cache, const hone__key *key, hone__failure *out, hone_error *err);
/* One that has expired, too. */
hone_status hone__cache_past_failure(const hone_cache *cache, const hone__key *key, hone__failure *out, hone_error *err);

/* Claim the key for tuning.  HONE_OK: ours.  HONE_E_BUSY: another live process has it (message names host and pid).  A claim holds
 * owner pid and start time, boot id, PID namespace and expiry; a dead owner's claim falls.  A clock that is set forth or back changes nothing. */
hone_status hone__claim_take(hone_cache *cache, const hone__key *key, uint32_t lease_s, hone_error *err);
hone_status hone__claim_renew(hone_cache *cache, const hone__key *key, uint32_t lease_s, hone_error *err);
/* Does another that lives have it?  *ours: we have it.  Only looks, and waits for nobody. */
bool hone__claim_held(const hone_cache *cache, const hone__key *key, bool *ours);
void hone__claim_drop(hone_cache *cache, const hone__key *key);

/* Counters that survive restarts: "hit_exact", "hit_near_shape", "hit_near_device", "default", "miss_no_entry", "miss_corrupt", "miss_space", "tune_started",
 * "tune_done", "tune_failed", "trial", "trial_failed", "store_error", ... counted in memory, flushed with the next write and at close. */
void hone__cache_count(const hone_cache *cache, const char *counter, uint64_t add);

/* Small named values of this machine (measured peaks): `name` at most 64 bytes, text at most 4 KiB. */
hone_status hone__cache_put_note(hone_cache *cache, const char *name, const char *text, hone_error *err);
hone_status hone__cache_get_note(const hone_cache *cache, const char *name, char **text, hone_error *err);
/* Is there a note whose name begins so, and goes on?  `name` as above. */
bool hone__cache_has_notes(const hone_cache *cache, const char *name);

/* ---- what a cache keeps of a kernel (kernel_info.c) ---- */
/* For hone__cache_put_kernel: `space` holds the spec's params, constraints, sizes, args, options, entry, launch, evaluator and hashes of
 * its dependencies, so that explain can say what changed between versions.  hone__kernel_info_clear frees it. */
hone_status hone__kernel_info_make(hone__kernel_info *out, const hone_kernel *kernel);
/* What differs between a kernel and a kept one, as a list of names: "source", "params", ...; written to `fields`. */
void hone__kernel_info_compare(hone__buf *fields, const hone__kernel_info *kept, const hone_kernel *kernel);

/* ---- lookup (lookup.c): the answer path, tiers and explanations; hone_lookup, hone_explain, hone_answer_* ---- */

#endif
