/* merge.c: many sources, each in slot order, become one; of each key the entry that the policy wants, unchanged (spec/pack.md section 9). */
#include "merge.h"
#include "alloc.h"
#include "pack_format.h"
#include "status.h"

enum { PROGRESS_EVERY = 4096 };

/* Where a source stands. */
typedef struct input {
    hone__source *source;
    hone__item item;
    hone__view view;
    bool has_item, wanted;
    uint32_t index;               /* the base comes after all others */
} input;

typedef struct merging {
    input *input;
    uint32_t count;               /* without the base */
    input **heap;                 /* of those that have an item, the smallest slot and index first */
    uint32_t heap_count;
    const hone__merge_sink *sink;
    const hone__merge_options *options;
    hone__merge_counts *counts;
    uint64_t seen, expected;
    hone_error *err;
} merging;

/* ---- telling ---- */

static hone_status tell(merging *m, const input *from, hone__merge_fate fate, const char *reason) {
    if (from->index < m->count) {
        hone__merge_counts *counts = &m->counts[from->index];
        uint64_t *all[] = {&counts->imported, &counts->same, &counts->kept_other, &counts->rejected, &counts->filtered, &counts->removed};
        ++*all[fate];
    }
    if (m->options->event == NULL || from->index == m->count)
        return HONE_OK;
    hone__merge_event event = {fate, from->index, &from->item, reason};
    if (m->options->event(&event, m->options->user) == 0)
        return HONE_OK;
    return hone__fail(m->err, HONE_E_CANCELLED, "merge", "the merge was cancelled");
}

/* ---- advancing ---- */

static bool before(const input *a, const input *b) {
    int order = memcmp(a->item.slot, b->item.slot, HONE_SLOT_BYTES);
    return order != 0 ? order < 0 : a->index < b->index;
}

static void sift_down(merging *m, uint32_t at) {
    for (;;) {
        uint32_t least = at, child = 2 * at + 1;
        for (uint32_t c = child; c < child + 2 && c < m->heap_count; c++) {
            if (before(m->heap[c], m->heap[least]))
                least = c;
        }
        if (least == at)
            return;
        input *kept = m->heap[at];
        m->heap[at] = m->heap[least];
        m->heap[least] = kept;
        at = least;
    }
}

/* Until there is a sound entry that ascends; rejected ones are told. */
static hone_status advance(merging *m, input *from) {
    uint8_t last[HONE_SLOT_BYTES];
    bool had = from->has_item;
    memcpy(last, from->item.slot, HONE_SLOT_BYTES);
    from->has_item = false;
    for (;;) {
        const char *reason = NULL;
        hone_status status = from->source->next(from->source, &from->item, &reason, m->err);
        if (status == HONE_E_NOTFOUND)
            return HONE_OK;
        if (status != HONE_OK && reason == NULL)
            return status;
        if (from->index < m->count)
            m->counts[from->index].seen++;
        if (++m->seen % PROGRESS_EVERY == 0 && m->options->progress != NULL && m->options->progress(m->seen, m->expected, m->options->user) != 0)
            return hone__fail(m->err, HONE_E_CANCELLED, "merge", "the merge was cancelled");
        if (status == HONE_OK)
            status = hone__view_make(&from->view, &from->item);
        if (status == HONE_OK && had && memcmp(last, from->item.slot, HONE_SLOT_BYTES) >= 0)
            return hone__fail(m->err, HONE_E_CORRUPT, "merge", "%s is not in order", from->source->name);
        if (status == HONE_OK) {
            from->has_item = true;
            return HONE_OK;
        }
        if (status != HONE_E_CORRUPT && status != HONE_E_VERSION)
            return hone__fail(m->err, status, "merge", "cannot read an entry of %s: %s", from->source->name, hone_status_text(status));
        HONE_TRY(tell(m, from, HONE_MERGE_REJECTED, reason != NULL ? reason : "damaged"));
    }
}

/* ---- choosing ---- */

static hone_status compare(const input *a, const input *b, int *order) {
    return hone__view_compare(order, &a->view, &a->item, &b->view, &b->item);
}

/* Is `next` preferred to `best`, which comes earlier in the list of inputs? */
static hone_status prefer(const merging *m, const input *best, const input *next, bool *wins) {
    int order;
    switch (m->options->policy) {
    case HONE_MERGE_OURS:
        *wins = false;
        return HONE_OK;
    case HONE_MERGE_THEIRS:
        *wins = true;
        return HONE_OK;
    case HONE_MERGE_NEWEST: {
        uint64_t a = hone__view_rank(&best->view).created, b = hone__view_rank(&next->view).created;
        if (a != b) {
            *wins = b > a;
            return HONE_OK;
        }
        break;
    }
    case HONE_MERGE_BEST:
        break;
    }
    HONE_TRY(compare(next, best, &order));
    *wins = order < 0;
    return HONE_OK;
}

typedef struct candidates {
    input **at;                   /* in the order of the inputs; the base, if it has the slot, is the last of the array and not counted */
    uint32_t count;
    const input *base;
} candidates;

/* With a base: only those that changed the slot, if any did.  *removed: nobody did, and somebody removed it. */
static hone_status apply_base(const merging *m, const candidates *all, bool *is_changed, bool *removed) {
    bool any = false;
    for (uint32_t i = 0; i < all->count; i++) {
        int order = 1;
        if (all->base != NULL)
            HONE_TRY(compare(all->at[i], all->base, &order));
        is_changed[all->at[i]->index] = order != 0;
        any = any || (order != 0 && all->at[i]->wanted);
    }
    for (uint32_t i = 0; !any && i < all->count; i++)
        is_changed[all->at[i]->index] = true; /* unchanged everywhere: all are the same */
    *removed = m->options->base != NULL && all->base != NULL && !any && all->count < m->count;
    return HONE_OK;
}

static hone_status choose(const merging *m, const candidates *all, const bool *is_changed, input **out) {
    *out = NULL;
    for (uint32_t i = 0; i < all->count; i++) {
        input *next = all->at[i];
        bool wins = *out == NULL;
        if (!next->wanted || !is_changed[next->index])
            continue;
        if (!wins)
            HONE_TRY(prefer(m, *out, next, &wins));
        if (wins)
            *out = next;
    }
    return HONE_OK;
}

/* What became of those that were not chosen, and who differs from whom. */
static hone_status tell_all(merging *m, const candidates *all, const input *chosen, bool removed) {
    bool differ = false;
    hone__merge_fate fate[2] = {HONE_MERGE_SAME, HONE_MERGE_KEPT_OTHER};
    bool *same = NULL, few[64] = {false};
    same = all->count <= 64 ? few : hone__alloc_array(all->count, sizeof *same);
    if (same == NULL)
        return hone__fail(m->err, HONE_E_NOMEM, "merge", "no memory to merge");
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < all->count && chosen != NULL && status == HONE_OK; i++) {
        int order = 0;
        if (all->at[i] != chosen && all->at[i]->wanted)
            status = compare(all->at[i], chosen, &order);
        same[i] = order == 0;
        differ = differ || order != 0;
    }
    for (uint32_t i = 0; i < all->count && status == HONE_OK; i++) {
        const input *from = all->at[i];
        if (!from->wanted)
            status = tell(m, from, HONE_MERGE_FILTERED, "left out by the filter");
        else if (removed || chosen == NULL)
            status = tell(m, from, HONE_MERGE_REMOVED, "removed by another input since the base");
        else if (from == chosen)
            status = tell(m, from, HONE_MERGE_IMPORTED, NULL);
        else
            status = tell(m, from, fate[!same[i]], same[i] ? "the same as another input's" : "another input's is preferred");
        if (differ && from->wanted)
            m->counts[from->index].conflicting++;
    }
    if (same != few)
        hone__free(same);
    return status;
}

static hone_status merge_slot(merging *m, const candidates *all, bool *is_changed) {
    bool removed = false;
    input *chosen = NULL;
    for (uint32_t i = 0; i < all->count; i++) {
        input *from = all->at[i];
        from->wanted = m->options->wanted == NULL || m->options->wanted(&from->item, m->options->user);
    }
    HONE_TRY(apply_base(m, all, is_changed, &removed));
    if (!removed)
        HONE_TRY(choose(m, all, is_changed, &chosen));
    HONE_TRY(tell_all(m, all, chosen, removed));
    return chosen == NULL ? HONE_OK : m->sink->put(m->sink->sink, &chosen->item, &chosen->view, m->err);
}

/* ---- entries ---- */

static hone_status merge_entries(merging *m) {
    uint32_t all_inputs = m->count + (m->options->base != NULL ? 1 : 0);
    input **at = hone__alloc_array(all_inputs, sizeof(input *));
    bool *is_changed = hone__alloc_array(all_inputs, sizeof *is_changed);
    hone_status status = at == NULL || is_changed == NULL ? hone__fail(m->err, HONE_E_NOMEM, "merge", "no memory to merge") : HONE_OK;
    while (status == HONE_OK && m->heap_count > 0) {
        candidates all = {.at = at};
        uint8_t slot[HONE_SLOT_BYTES];
        memcpy(slot, m->heap[0]->item.slot, HONE_SLOT_BYTES);
        uint32_t taken = 0;
        while (m->heap_count > 0 && memcmp(m->heap[0]->item.slot, slot, HONE_SLOT_BYTES) == 0) {
            at[taken++] = m->heap[0];
            m->heap[0] = m->heap[--m->heap_count];
            sift_down(m, 0);
        }
        all.count = taken;
        if (at[taken - 1]->index == m->count) {
            all.base = at[taken - 1];
            all.count--;
        }
        if (all.count > 0)
            status = merge_slot(m, &all, is_changed);
        for (uint32_t i = 0; i < taken && status == HONE_OK; i++) {
            status = advance(m, at[i]);
            if (!at[i]->has_item)
                continue;
            uint32_t hole = m->heap_count++;
            for (; hole > 0 && before(at[i], m->heap[(hole - 1) / 2]); hole = (hole - 1) / 2)
                m->heap[hole] = m->heap[(hole - 1) / 2];
            m->heap[hole] = at[i];
        }
    }
    hone__free(at);
    hone__free(is_changed);
    return status;
}

/* ---- kernels ---- */

typedef struct kernel_input {
    hone__kernel_info info;
    bool has;
} kernel_input;

static hone_status next_kernel(merging *m, uint32_t index, kernel_input *to) {
    hone__source *source = m->input[index].source;
    for (;;) {
        const char *reason = NULL;
        hone_status status = source->next_kernel(source, &to->info, &reason, m->err);
        to->has = status == HONE_OK;
        if (status == HONE_E_NOTFOUND || status == HONE_OK)
            return HONE_OK;
        if (reason == NULL)
            return status;
        m->counts[index].rejected_kernels++;
    }
}

static hone_status merge_kernels(merging *m) {
    kernel_input *all = hone__alloc_array(m->count, sizeof *all);
    if (all == NULL)
        return hone__fail(m->err, HONE_E_NOMEM, "merge", "no memory to merge");
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < m->count && status == HONE_OK; i++)
        status = next_kernel(m, i, &all[i]);
    while (status == HONE_OK) {
        kernel_input *best = NULL;
        for (uint32_t i = 0; i < m->count; i++) {
            int order = !all[i].has ? 1 : best == NULL ? -1 : memcmp(all[i].info.id, best->info.id, 16);
            if (order < 0 || (order == 0 && hone__pack_kernel_compare(&all[i].info, &best->info) < 0))
                best = &all[i];
        }
        if (best == NULL)
            break;
        uint8_t id[16];
        memcpy(id, best->info.id, 16);
        status = m->sink->put_kernel(m->sink->sink, &best->info, m->err);
        for (uint32_t i = 0; i < m->count && status == HONE_OK; i++) {
            if (!all[i].has || memcmp(all[i].info.id, id, 16) != 0)
                continue;
            hone__kernel_info_clear(&all[i].info);
            status = next_kernel(m, i, &all[i]);
        }
    }
    for (uint32_t i = 0; i < m->count; i++) {
        if (all[i].has)
            hone__kernel_info_clear(&all[i].info);
    }
    hone__free(all);
    return status;
}

/* ---- the whole ---- */

static hone_status start(merging *m, hone__source *const *source) {
    uint32_t all = m->count + (m->options->base != NULL ? 1 : 0);
    for (uint32_t i = 0; i < all; i++) {
        input *from = &m->input[i];
        from->source = i < m->count ? source[i] : m->options->base;
        from->index = i;
        m->expected += from->source->entries;
        HONE_TRY(advance(m, from));
        if (from->has_item)
            m->heap[m->heap_count++] = from;
    }
    for (uint32_t i = m->heap_count / 2; i-- > 0;)
        sift_down(m, i);
    return HONE_OK;
}

hone_status hone__merge_run(hone__source *const *source, uint32_t source_count, const hone__merge_sink *sink,
                            const hone__merge_options *options, hone__merge_counts *counts, hone_error *err) {
    static const hone__merge_options defaults = {.policy = HONE_MERGE_BEST};
    merging m = {.count = source_count, .sink = sink, .options = options != NULL ? options : &defaults, .counts = counts, .err = err};
    memset(counts, 0, source_count * sizeof *counts);
    m.input = hone__alloc_array((size_t)source_count + 1, sizeof *m.input);
    m.heap = hone__alloc_array((size_t)source_count + 1, sizeof(input *));
    hone_status status = m.input == NULL || m.heap == NULL ? hone__fail(err, HONE_E_NOMEM, "merge", "no memory to merge") : HONE_OK;
    if (status == HONE_OK)
        status = start(&m, source);
    if (status == HONE_OK)
        status = merge_entries(&m);
    if (status == HONE_OK)
        status = merge_kernels(&m);
    if (status == HONE_OK && m.options->progress != NULL && m.options->progress(m.seen, m.seen, m.options->user) != 0)
        status = hone__fail(err, HONE_E_CANCELLED, "merge", "the merge was cancelled");
    hone__free(m.input);
    hone__free(m.heap);
    return status;
}

static hone_status put_in_pack(void *sink, const hone__item *item, const hone__view *view, hone_error *err) {
    return hone__pack_writer_add_view(sink, item, view, err);
}

static hone_status put_kernel_in_pack(void *sink, const hone__kernel_info *info, hone_error *err) {
    return hone__pack_writer_add_kernel(sink, info, err);
}

hone__merge_sink hone__merge_to_pack(hone__pack_writer *writer) {
    return (hone__merge_sink){put_in_pack, put_kernel_in_pack, writer};
}
