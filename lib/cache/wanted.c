/* wanted.c: the queue between look-ups that found nothing good and the tuner that makes it good.  Look-ups put in and go on; the tuner, a thread that the
 * program has asked for (lib/tune/tuner.c), takes out.  Bounded: what does not fit is asked for again by a later look-up. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "site.h"
#include "status.h"

#include <string.h>
#include <time.h>

hone_status hone__wanted_new(hone__wanted **out, uint32_t capacity, hone_error *err) {
    hone__wanted *wanted = hone__alloc(sizeof *wanted);
    *out = wanted;
    if (wanted != NULL)
        wanted->ring = hone__alloc_array(2 * (size_t)capacity, sizeof *wanted->ring);
    if (wanted == NULL || wanted->ring == NULL) {
        hone__free(wanted);
        *out = NULL;
        return hone__fail(err, HONE_E_NOMEM, "tuner", "no memory for a queue of %u problems", capacity);
    }
    wanted->capacity = capacity;
    wanted->slots = 2 * capacity; /* as many again may be deferred */
    wanted->holders = 2;
    atomic_init(&wanted->round, 1);
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&wanted->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&wanted->change, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return HONE_OK;
}

void hone__want_clear(hone__want *want) {
    hone_kernel_free(want->kernel);
    hone_device_free(want->device);
    *want = (hone__want){.kernel = NULL};
}

void hone__wanted_leave(hone__wanted *wanted) {
    (void)pthread_mutex_lock(&wanted->mutex);
    bool last = --wanted->holders == 0;
    (void)pthread_mutex_unlock(&wanted->mutex);
    if (!last)
        return;
    for (uint32_t i = 0; i < wanted->count; i++)
        hone__want_clear(&wanted->ring[(wanted->first + i) % wanted->slots]);
    for (uint32_t i = 0; i < wanted->layer_count; i++)
        hone__pack_close(wanted->layer[i]);
    (void)pthread_mutex_destroy(&wanted->mutex);
    (void)pthread_cond_destroy(&wanted->change);
    hone__free(wanted->ring);
    hone__free(wanted);
}

static bool is_full(const hone__wanted *wanted) {
    return wanted->count - wanted->deferred >= wanted->capacity;
}

static void put(hone__wanted *wanted, const hone__want *want) {
    wanted->ring[(wanted->first + wanted->count) % wanted->slots] = *want;
    wanted->count++;
    atomic_store(&wanted->full, is_full(wanted));
    (void)pthread_cond_broadcast(&wanted->change);
}

bool hone__wanted_is_full(hone__wanted *wanted) {
    bool full = atomic_load_explicit(&wanted->full, memory_order_relaxed);
    if (full)
        atomic_fetch_add_explicit(&wanted->dropped, 1, memory_order_relaxed);
    return full;
}

bool hone__wanted_push(hone__wanted *wanted, const hone_site *site, const hone_problem *problem, bool recheck) {
    (void)pthread_mutex_lock(&wanted->mutex);
    bool room = !is_full(wanted) && !wanted->closing;
    if (room)
        put(wanted, &(hone__want){.kernel = hone__kernel_share(site->kernel), .device = hone__device_share(site->device), .problem = *problem, .recheck = recheck});
    else
        atomic_fetch_add_explicit(&wanted->dropped, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&wanted->mutex);
    return room;
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

static struct timespec after_ms(uint64_t ms) {
    return timespec_of(hone__clock_ns() + ms * 1000000u);
}

/* When a round is over, what failed may be asked for again. */
static void turn_round(hone__wanted *wanted, uint32_t retry_s, uint64_t now) {
    if (wanted->next_round_ns != 0 && now >= wanted->next_round_ns) {
        uint16_t round = atomic_load(&wanted->round);
        atomic_store(&wanted->round, round == UINT16_MAX ? 1 : (uint16_t)(round + 1));
        wanted->next_round_ns = 0;
    }
    if (wanted->next_round_ns == 0)
        wanted->next_round_ns = now + (uint64_t)retry_s * 1000000000u;
}

/* Take the first whose time has come; else false, and *until is when to look again. */
static bool take(hone__wanted *wanted, uint64_t now, hone__want *out, uint64_t *until) {
    *until = wanted->next_round_ns;
    for (uint32_t i = 0; i < wanted->count; i++) {
        hone__want *want = &wanted->ring[(wanted->first + i) % wanted->slots];
        if (want->not_before_ns > now) {
            *until = want->not_before_ns < *until ? want->not_before_ns : *until;
            continue;
        }
        *out = *want;
        for (; i > 0; i--) /* those before it move up */
            wanted->ring[(wanted->first + i) % wanted->slots] = wanted->ring[(wanted->first + i - 1) % wanted->slots];
        wanted->first = (wanted->first + 1) % wanted->slots;
        wanted->count--;
        wanted->deferred -= out->not_before_ns != 0;
        atomic_store(&wanted->full, is_full(wanted));
        return true;
    }
    return false;
}

bool hone__wanted_pop(hone__wanted *wanted, uint32_t retry_s, hone__want *out) {
    bool taken = false;
    (void)pthread_mutex_lock(&wanted->mutex);
    while (!taken && !wanted->closing) {
        uint64_t now = hone__clock_ns(), until;
        turn_round(wanted, retry_s, now);
        taken = take(wanted, now, out, &until);
        struct timespec deadline = timespec_of(until);
        if (!taken)
            (void)pthread_cond_timedwait(&wanted->change, &wanted->mutex, &deadline);
    }
    wanted->busy = taken;
    (void)pthread_mutex_unlock(&wanted->mutex);
    return taken;
}

void hone__wanted_defer(hone__wanted *wanted, hone__want *want, uint32_t pause_ms) {
    want->not_before_ns = hone__clock_ns() + (uint64_t)pause_ms * 1000000u;
    (void)pthread_mutex_lock(&wanted->mutex);
    bool room = wanted->deferred < wanted->capacity;
    wanted->busy = false;
    wanted->deferred += room;
    if (room)
        put(wanted, want);
    else
        (void)pthread_cond_broadcast(&wanted->change);
    (void)pthread_mutex_unlock(&wanted->mutex);
    if (!room) { /* the others have so much in hand that what they leave is asked for in the next round */
        atomic_fetch_add(&wanted->dropped, 1);
        hone__want_clear(want);
    }
}

hone_status hone__wanted_layer(hone__wanted *wanted, hone__pack *pack, hone_error *err) {
    hone__pack *held;
    HONE_TRY(hone__pack_hold(&held, pack, true, err));
    (void)pthread_mutex_lock(&wanted->mutex);
    bool room = wanted->layer_count < HONE_LAYERS_MAX;
    if (room)
        wanted->layer[wanted->layer_count++] = held;
    (void)pthread_mutex_unlock(&wanted->mutex);
    if (!room)
        hone__pack_close(held);
    return HONE_OK;
}

void hone__wanted_take_layers(hone__wanted *wanted, hone_cache *own) {
    (void)pthread_mutex_lock(&wanted->mutex);
    (void)hone__layers_lend(own, wanted->layer, wanted->layer_count, false, NULL);
    for (uint32_t i = 0; i < wanted->layer_count; i++)
        hone__pack_close(wanted->layer[i]);
    wanted->layer_count = 0;
    (void)pthread_mutex_unlock(&wanted->mutex);
}

void hone__wanted_finished(hone__wanted *wanted, bool success) {
    (void)pthread_mutex_lock(&wanted->mutex);
    wanted->busy = false;
    wanted->done += success;
    wanted->failed += !success;
    (void)pthread_cond_broadcast(&wanted->change);
    (void)pthread_mutex_unlock(&wanted->mutex);
}

void hone__wanted_gone(hone__wanted *wanted) {
    (void)pthread_mutex_lock(&wanted->mutex);
    wanted->worker_gone = true;
    (void)pthread_cond_broadcast(&wanted->change);
    (void)pthread_mutex_unlock(&wanted->mutex);
    hone__wanted_leave(wanted);
}

bool hone__wanted_idle(hone__wanted *wanted, uint32_t wait_ms) {
    struct timespec deadline = after_ms(wait_ms);
    int code = 0;
    (void)pthread_mutex_lock(&wanted->mutex);
    while ((wanted->count > 0 || wanted->busy) && !wanted->closing && code == 0)
        code = pthread_cond_timedwait(&wanted->change, &wanted->mutex, &deadline);
    bool idle = wanted->count == 0 && !wanted->busy;
    (void)pthread_mutex_unlock(&wanted->mutex);
    return idle;
}

/* Tell the worker to stop, wait for it at most so long, join it; false: it is still at work and has been left to end by itself. */
static bool stop(hone__wanted *wanted, uint32_t wait_ms) {
    struct timespec deadline = after_ms(wait_ms);
    int code = 0;
    (void)pthread_mutex_lock(&wanted->mutex);
    wanted->closing = true;
    (void)pthread_cond_broadcast(&wanted->change);
    while (!wanted->worker_gone && code == 0)
        code = pthread_cond_timedwait(&wanted->change, &wanted->mutex, &deadline);
    bool gone = wanted->worker_gone;
    (void)pthread_mutex_unlock(&wanted->mutex);
    if (gone)
        (void)pthread_join(wanted->worker, NULL);
    else
        (void)pthread_detach(wanted->worker);
    return gone;
}

bool hone__cache_stop_wanting(hone_cache *cache, uint32_t wait_ms) {
    hone__wanted *wanted = atomic_exchange(&cache->wanted, NULL);
    if (wanted == NULL)
        return true;
    bool gone = stop(wanted, wait_ms);
    /* Look-ups may still have it in hand: it goes with the cache. */
    (void)pthread_mutex_lock(&cache->sites_mutex);
    wanted->next = cache->old_wanted;
    cache->old_wanted = wanted;
    (void)pthread_mutex_unlock(&cache->sites_mutex);
    return gone;
}
