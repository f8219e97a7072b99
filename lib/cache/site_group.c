/* site_group.c: several look-ups as one: against one state of the cache, and all exact or none.  Ranks of a job that launch collectives must not run
 * tuned kernels on some ranks and defaults on others. */
#include "alloc.h"
#include "hash.h"
#include "site.h"
#include "status.h"

#include <string.h>

enum { GROUP_MAX = 65536 };

typedef struct member {
    hone__query query;
    hone__entry entry;
    hone_status status;
} member;

typedef struct group_call {
    member *member;
    uint32_t count;
    uint64_t txn;
} group_call;

static hone_status read_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    group_call *call = user;
    call->txn = (uint64_t)mdb_txn_id(txn->txn);
    for (uint32_t i = 0; i < call->count; i++) {
        hone__entry_clear(&call->member[i].entry); /* this may be a second run */
        call->member[i].status = hone__txn_entry(txn, &call->member[i].query.key, &call->member[i].entry);
        if (call->member[i].status == HONE_E_NOMEM)
            return HONE_E_NOMEM;
    }
    return HONE_OK;
}

static bool is_usable(const member *m, const hone__entry *entry, hone__config *config) {
    uint32_t rank;
    hone__buf why;
    hone__buf_init(&why, HONE_REASON_MAX);
    bool usable = hone__entry_usable(&m->query, entry, config, &rank, &why);
    hone__buf_free(&why);
    return usable;
}

/* Packs never change: they are of every state.  As in a single look-up, the best usable entry answers. */
static void ask_packs(member *m) {
    const hone_cache *cache = m->query.cache;
    for (uint32_t layer = 0; layer < hone__layer_count(cache); layer++) {
        hone__entry entry;
        hone__config config;
        if (hone__layer_pack(cache, layer) == NULL || hone__layer_get(cache, layer, &m->query.key, &entry, NULL) != HONE_OK)
            continue;
        bool takes = is_usable(m, &entry, &config) &&
                     (m->status != HONE_OK || !is_usable(m, &m->entry, &config) || hone__entry_compare(&entry, &m->entry) < 0);
        hone__entry_clear(takes ? &m->entry : &entry);
        if (takes) {
            m->entry = entry;
            m->status = HONE_OK;
        }
    }
}

/* The exact answer of each member, or NULL where there is none.  Made under the site's mutex like all others, so that it lives as long. */
static const hone__answered *exact_of(hone_site *site, member *m) {
    hone__config config;
    hone__buf why;
    hone__buf_init(&why, HONE_REASON_MAX);
    bool usable = m->status == HONE_OK && is_usable(m, &m->entry, &config);
    hone__answered made = {.match = HONE_MATCH_EXACT};
    if (usable) {
        made.config = (hone_config){.space = site->kernel->space, .values = config};
        made.effort = m->entry.effort;
        made.changed = hone__entry_changed(&m->query, &m->entry, &why);
        made.improvable = made.effort < HONE_EFFORT_THOROUGH || made.changed;
    }
    hone__buf_free(&why);
    return usable ? hone__site_keep(site, &made) : NULL;
}

static hone_status check(const hone_site *const *site, const hone_problem *problem, uint32_t count, const hone_config **config,
                         const hone_group_result *result, hone_error *err) {
    if (site == NULL || problem == NULL || config == NULL || result == NULL || count == 0 || count > GROUP_MAX)
        return hone__fail(err, HONE_E_ARG, "group", "a group has 1 to %d sites, as many problems, and room for as many configs", GROUP_MAX);
    if (result->struct_size != sizeof *result)
        return hone__fail(err, HONE_E_ARG, "group", "hone_group_result.struct_size is %u; use HONE_GROUP_RESULT_INIT", result->struct_size);
    for (uint32_t i = 0; i < count; i++) {
        if (site[i] == NULL || site[i]->cache != site[0]->cache)
            return hone__fail(err, HONE_E_ARG, "group", "site %u of the group is of another cache: there is no common state to look at", i);
    }
    return HONE_OK;
}

/* As single look-ups count. */
static const char *miss_counter(hone_status status) {
    switch (status) {
    case HONE_OK: /* an entry, and none of its configs valid here */
        return "miss_space";
    case HONE_E_NOTFOUND:
        return "miss_no_entry";
    case HONE_E_CORRUPT:
    case HONE_E_VERSION:
        return "miss_corrupt";
    default:
        return "miss_error";
    }
}

static hone_status answer_all(const hone_site *const *site, group_call *call, const hone_config **config, hone_group_result *result,
                              hone_error *err) {
    for (uint32_t i = 0; i < call->count; i++) {
        const hone__answered *exact = exact_of((hone_site *)(uintptr_t)site[i], &call->member[i]);
        if (site[i]->cache != NULL)
            hone__cache_count(site[i]->cache, exact != NULL ? "hit_exact" : miss_counter(call->member[i].status), 1);
        config[i] = exact != NULL ? &exact->config : NULL;
        result->missing += exact == NULL;
    }
    result->all_exact = result->missing == 0;
    for (uint32_t i = 0; i < call->count && !result->all_exact; i++) {
        const hone__space *space = site[i]->kernel->space;
        if (!hone__space_holds(space, call->member[i].query.problem.size, &space->base, NULL))
            return hone__fail(err, HONE_E_CONFIG, "group", "%s: a member has no exact answer, and this one's default is not valid for its sizes",
                              site[i]->kernel->name);
        config[i] = &site[i]->fallback.config;
    }
    return HONE_OK;
}

/* Of what decides whether two ranks will launch the same: kernels, problems, configs.  Not of the devices: ranks may differ in them. */
static hone_status digest(const group_call *call, const hone_config **config, hone_group_result *result, hone_error *err) {
    hone__buf buf;
    hone__buf_init(&buf, SIZE_MAX / 4);
    for (uint32_t i = 0; i < call->count; i++) {
        hone__buf_bytes(&buf, call->member[i].query.key.kernel, 16);
        hone__buf_bytes(&buf, call->member[i].query.key.problem, 16);
        hone__config_print(&buf, config[i]->space, &config[i]->values);
    }
    hone_status status = buf.status;
    if (status == HONE_OK) {
        hone__hash hash = hone__hash_bytes(buf.data, buf.length);
        memcpy(&result->digest, hash.byte, sizeof result->digest);
    }
    hone__buf_free(&buf);
    return status == HONE_OK ? HONE_OK : hone__fail(err, status, "group", "no memory for a group's digest");
}

hone_status hone_group_lookup(const hone_config **config, const hone_site *const *site, const hone_problem *problem, uint32_t count,
                              hone_group_result *result, hone_error *err) {
    HONE_TRY(check(site, problem, count, config, result, err));
    *result = (hone_group_result)HONE_GROUP_RESULT_INIT;
    group_call call = {.member = hone__alloc_array(count, sizeof *call.member), .count = count};
    if (call.member == NULL)
        return hone__fail(err, HONE_E_NOMEM, "group", "no memory for a group of %u", count);
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < count && status == HONE_OK; i++) {
        call.member[i].status = HONE_E_NOTFOUND;
        status = hone__lookup_query(&call.member[i].query, site[i]->cache, site[i]->kernel, site[i]->device, &problem[i], err);
    }
    hone_error unread;
    if (status == HONE_OK && site[0]->cache != NULL && hone__store_read(site[0]->cache, read_fn, &call, &unread) != HONE_OK) {
        for (uint32_t i = 0; i < count; i++) /* a cache that cannot be read is a miss of all */
            call.member[i].status = HONE_E_STORE;
    }
    for (uint32_t i = 0; i < count && status == HONE_OK; i++)
        ask_packs(&call.member[i]);
    result->snapshot = call.txn;
    if (status == HONE_OK)
        status = answer_all(site, &call, config, result, err);
    if (status == HONE_OK)
        status = digest(&call, config, result, err);
    for (uint32_t i = 0; i < count; i++)
        hone__entry_clear(&call.member[i].entry);
    hone__free(call.member);
    return status;
}
