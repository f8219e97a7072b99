/* claim.c: one process tunes a key at a time.  A claim names its owner well enough to see whether it still lives: pid and start
 * time, the boot and the PID namespace that these belong to, and an expiry for owners that cannot be seen: by a clock that nobody can set, where owner and
 * asker share one. */
#define _GNU_SOURCE
#include "clock.h"
#include "slot.h"
#include "status.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEASE_S_MAX = 86400, CLOCK_SLACK_S = 2 };

typedef struct claim_record {
    uint64_t token;         /* of the handle */
    uint64_t pid, start, namespace_inode;
    char boot_id[64], host[65];
    int64_t created_unix_s, expires_unix_s;
    uint64_t clock_inode;   /* of the time namespace */
    int64_t expires_boot_s; /* 0: unknown */
} claim_record;

static const hone__field claim_fields[] = {
    HONE_FIELD(U64, claim_record, token, 0),           HONE_FIELD(U64, claim_record, pid, 0),
    HONE_FIELD(U64, claim_record, start, 0),           HONE_FIELD(U64, claim_record, namespace_inode, 0),
    HONE_FIELD(ARRAY, claim_record, boot_id, 63),      HONE_FIELD(ARRAY, claim_record, host, 64),
    HONE_FIELD(I64, claim_record, created_unix_s, 0),  HONE_FIELD(I64, claim_record, expires_unix_s, 0),
    HONE_FIELD(U64, claim_record, clock_inode, 0),     HONE_FIELD(I64, claim_record, expires_boot_s, 0),
};
static const hone__layout claim_layout = {HONE_RECORD_CLAIM, sizeof(claim_record), claim_fields, sizeof claim_fields / sizeof claim_fields[0]};

/* A small file of /proc; "" when it cannot be read. */
static void read_small(const char *path, char *text, size_t bytes) {
    text[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, text, bytes - 1);
    (void)close(fd);
    text[got < 0 ? 0 : got] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

typedef struct process_state {
    bool ended;     /* a zombie: dead, and not yet waited for, perhaps never (process 1 of many a container waits for nobody) */
    uint64_t start; /* in clock ticks since boot; 0 when unknown */
} process_state;

/* Fields 3 and 22 of /proc/PID/stat.  The name before them may hold spaces and brackets. */
static process_state look_at_process(uint64_t pid) {
    char path[64], text[1024];
    process_state state = {false, 0};
    (void)snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    read_small(path, text, sizeof text);
    char *at = strrchr(text, ')');
    state.ended = at != NULL && at[1] == ' ' && (at[2] == 'Z' || at[2] == 'X');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    state.start = at == NULL ? 0 : strtoull(at + 1, NULL, 10);
    return state;
}

static uint64_t inode_of(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_ino : 0;
}

static void describe_self(claim_record *out, const hone_cache *cache) {
    memset(out, 0, sizeof *out);
    out->token = cache == NULL ? 0 : cache->token;
    out->pid = (uint64_t)getpid();
    out->start = look_at_process(out->pid).start;
    out->namespace_inode = inode_of("/proc/self/ns/pid");
    out->clock_inode = inode_of("/proc/self/ns/time"); /* 0: a kernel that has none */
    read_small("/proc/sys/kernel/random/boot_id", out->boot_id, sizeof out->boot_id);
    if (gethostname(out->host, sizeof out->host) != 0)
        out->host[0] = '\0';
    out->host[sizeof out->host - 1] = '\0';
}

/* Does the owner's clock since the boot say the same as ours? */
static bool one_clock(const claim_record *owner, const claim_record *self) {
    return owner->expires_boot_s > 0 && self->boot_id[0] != '\0' && strcmp(owner->boot_id, self->boot_id) == 0 &&
           owner->clock_inode == self->clock_inode;
}

static bool has_expired(const claim_record *owner, const claim_record *self, int64_t now) {
    if (one_clock(owner, self)) {
        int64_t boot = hone__clock_boot_s();
        return owner->expires_boot_s <= boot || owner->expires_boot_s > boot + LEASE_S_MAX;
    }
    /* Taken in the future: the clock was set back since, and the expiry means nothing.  An owner that lives takes it anew when it renews. */
    return owner->expires_unix_s <= now || owner->created_unix_s > now + CLOCK_SLACK_S || owner->expires_unix_s > now + LEASE_S_MAX + CLOCK_SLACK_S;
}

static bool is_dead(const claim_record *owner, const claim_record *self, int64_t now) {
    if (has_expired(owner, self, now))
        return true;
    if (strcmp(owner->boot_id, self->boot_id) != 0)
        return strcmp(owner->host, self->host) == 0; /* this machine has been started again since */
    if (owner->namespace_inode != self->namespace_inode)
        return false; /* in another container: not to be seen from here */
    if (kill((pid_t)owner->pid, 0) != 0 && errno == ESRCH)
        return true;
    process_state found = look_at_process(owner->pid);
    return found.ended || (found.start != 0 && owner->start != 0 && found.start != owner->start); /* or the number is another's now */
}

hone_status hone__claim_check(hone__slot_key slot, MDB_val value) {
    claim_record claim;
    return hone__record_decode(&claim, &claim_layout, value.mv_data, value.mv_size, slot);
}

bool hone__claim_is_dead(hone__slot_key slot, MDB_val value) {
    claim_record owner, self;
    hone_status status = hone__record_decode(&owner, &claim_layout, value.mv_data, value.mv_size, slot);
    if (status != HONE_OK)
        return status == HONE_E_CORRUPT; /* a damaged claim is nobody's */
    describe_self(&self, NULL);
    return is_dead(&owner, &self, hone__clock_unix_s());
}

typedef struct claim_call {
    hone_cache *cache;
    const hone__key *key;
    uint32_t lease_s;
    bool renew;   /* only an own claim */
    bool fresh;   /* out: it was not ours before */
    bool dropped; /* out: it was ours, and is no longer */
    bool ours;    /* out, of a mere look: we have it */
} claim_call;

static hone_status read_claim(hone__txn *txn, hone__slot_key slot, claim_record *out) {
    MDB_val value;
    HONE_TRY(hone__txn_get(txn, HONE_TABLE_CLAIM, slot, &value));
    return hone__record_decode(out, &claim_layout, value.mv_data, value.mv_size, slot);
}

static hone_status held_by_another(hone_error *err, const claim_record *owner, const claim_record *self, int64_t now) {
    int64_t left_s = one_clock(owner, self) ? owner->expires_boot_s - hone__clock_boot_s() : owner->expires_unix_s - now;
    return hone__fail(err, HONE_E_BUSY, "cache", "process %llu on %s is tuning this key; its claim holds for %lld s more; try again when it is done",
                      (unsigned long long)owner->pid, owner->host, (long long)left_s);
}

/* HONE_E_BUSY when another has the key.  Those who ask again and again while one tunes must not queue for the writer's lock. */
static hone_status peek_fn(hone__txn *txn, void *user, hone_error *err) {
    claim_call *call = user;
    claim_record self, owner;
    if (read_claim(txn, (hone__slot_key){call->key->key, 16}, &owner) != HONE_OK)
        return HONE_OK;
    describe_self(&self, call->cache);
    int64_t now = hone__clock_unix_s();
    call->ours = owner.token == self.token;
    if (call->ours || is_dead(&owner, &self, now))
        return HONE_OK;
    return held_by_another(err, &owner, &self, now);
}

static hone_status take_fn(hone__txn *txn, void *user, hone_error *err) {
    claim_call *call = user;
    hone__slot_key slot = {call->key->key, 16};
    claim_record self, owner;
    describe_self(&self, call->cache);
    int64_t now = hone__clock_unix_s();
    hone_status status = read_claim(txn, slot, &owner);
    if (status != HONE_OK && status != HONE_E_NOTFOUND && status != HONE_E_CORRUPT && status != HONE_E_VERSION)
        return hone__fail(err, status, "cache", "cannot read the claim on this key in %s: %s", txn->store->path, hone_status_text(status));
    bool ours = status == HONE_OK && owner.token == self.token; /* even when it has expired: nobody else has taken it */
    bool held = status == HONE_OK && !ours && !is_dead(&owner, &self, now); /* a damaged claim is nobody's */
    if (held)
        return held_by_another(err, &owner, &self, now);
    if (call->renew && !ours)
        return hone__fail(err, HONE_E_NOTFOUND, "cache", "the claim on this key is no longer ours");
    call->fresh = !ours;
    self.created_unix_s = ours && owner.created_unix_s < now ? owner.created_unix_s : now;
    int64_t lease_s = call->lease_s > LEASE_S_MAX ? LEASE_S_MAX : (int64_t)call->lease_s;
    self.expires_unix_s = now + lease_s;
    self.expires_boot_s = hone__clock_boot_s() + lease_s;
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    status = hone__record_encode(&buf, &claim_layout, &self, slot);
    if (status == HONE_OK)
        status = hone__txn_put(txn, HONE_TABLE_CLAIM, slot, buf.data, buf.length);
    hone__buf_free(&buf);
    return status;
}

hone_status hone__claim_take(hone_cache *cache, const hone__key *key, uint32_t lease_s, hone_error *err) {
    claim_call call = {.cache = cache, .key = key, .lease_s = lease_s};
    HONE_TRY(hone__cache_writable(cache, err));
    if (hone__store_read(cache, peek_fn, &call, err) == HONE_E_BUSY)
        return HONE_E_BUSY;
    HONE_TRY(hone__store_write(cache, take_fn, &call, err));
    if (call.fresh)
        atomic_fetch_add(&cache->claims, 1);
    return HONE_OK;
}

bool hone__claim_held(const hone_cache *cache, const hone__key *key, bool *ours) {
    claim_call call = {.cache = (hone_cache *)(uintptr_t)cache, .key = key};
    bool held = hone__store_read(cache, peek_fn, &call, NULL) == HONE_E_BUSY;
    *ours = call.ours;
    return held;
}

hone_status hone__claim_renew(hone_cache *cache, const hone__key *key, uint32_t lease_s, hone_error *err) {
    claim_call call = {.cache = cache, .key = key, .lease_s = lease_s, .renew = true};
    return hone__store_write(cache, take_fn, &call, err);
}

static hone_status drop_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    claim_call *call = user;
    hone__slot_key slot = {call->key->key, 16};
    claim_record owner;
    hone_status status = read_claim(txn, slot, &owner);
    call->dropped = false;
    if (status == HONE_E_NOTFOUND || status == HONE_E_CORRUPT || (status == HONE_OK && owner.token != call->cache->token))
        return HONE_OK;
    if (status == HONE_OK)
        status = hone__txn_delete(txn, HONE_TABLE_CLAIM, slot);
    call->dropped = status == HONE_OK;
    return status;
}

void hone__claim_drop(hone_cache *cache, const hone__key *key) {
    claim_call call = {.cache = cache, .key = key};
    if (hone__store_write(cache, drop_fn, &call, NULL) == HONE_OK && call.dropped)
        atomic_fetch_sub(&cache->claims, 1);
}

static hone_status drop_all_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    claim_call *call = user;
    MDB_cursor *cursor;
    MDB_val key, value;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_CLAIM, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){NULL, 0}, &key, &value);
    while (status == HONE_OK) {
        claim_record owner;
        hone__slot_key slot = {key.mv_data, key.mv_size};
        if (hone__record_decode(&owner, &claim_layout, value.mv_data, value.mv_size, slot) == HONE_OK && owner.token == call->cache->token)
            status = hone__mdb_status(mdb_cursor_del(cursor, 0));
        if (status == HONE_OK)
            status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

void hone__claims_drop_all(hone_cache *cache) {
    claim_call call = {.cache = cache};
    (void)hone__store_write(cache, drop_all_fn, &call, NULL);
}
