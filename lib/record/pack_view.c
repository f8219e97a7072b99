/* pack_view.c: one entry, from a cache's record or from a pack, as a view into its bytes: parsed once, every rule checked, nothing allocated. */
#include "limit.h"
#include "pack_format.h"
#include "utf8.h"

/* The limit of text number `text` of a view (VIEW_NAME and later) of an entry with so many alternatives. */
static uint32_t text_limit(uint32_t text, uint32_t alternatives) {
    if (text >= VIEW_BEST)
        return text <= VIEW_BEST + alternatives ? HONE_ENTRY_CONFIG_BYTES : HONE_ENTRY_LINE_BYTES;
    return text == VIEW_NAME ? HONE_LIMIT_NAME_BYTES : text == VIEW_SIZES ? HONE_ENTRY_SIZES_BYTES : HONE_ENTRY_DEVICE_BYTES;
}

/* ---- numbers: the same bytes in both encodings ---- */

static bool is_double(const uint8_t *at) {
    return pack_get64(at) < 0x7ff0000000000000ull; /* finite, not negative, not -0 */
}

static bool ranked_sound(const uint8_t *at) {
    return is_double(at) && is_double(at + 8) && is_double(at + 16) && is_double(at + 24);
}

static bool numbers_sound(const hone__view *view) {
    const uint8_t *numbers = view->numbers;
    for (uint32_t i = 0; i <= view->alternatives; i++) {
        if (!ranked_sound(view->ranked[i]))
            return false;
    }
    return ranked_sound(numbers) && numbers[32] <= HONE_EFFORT_THOROUGH && numbers[33] <= HONE_ACCURACY_FAILED && numbers[34] <= 1 &&
           is_double(view->provenance + 20) && pack_get64(view->provenance + 28) >> 63 == 0;
}

/* ---- a cache's record ---- */

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static const uint8_t *take(cursor *from, size_t count) {
    const uint8_t *at = from->at;
    if (count > (size_t)(from->end - at))
        return NULL;
    from->at += count;
    return at;
}

static bool text_sound(const uint8_t *text, uint32_t length, uint32_t limit) {
    return length <= limit && memchr(text, 0, length) == NULL && hone__utf8_valid((const char *)text, length);
}

static bool take_text(cursor *from, hone__view *view) {
    uint32_t number = view->text_count;
    hone__view_text *text = &view->text[number];
    const uint8_t *head = take(from, 4);
    if (head == NULL)
        return false;
    *text = (hone__view_text){.length = pack_get32(head), .reference = REFERENCE_INLINE};
    text->bytes = take(from, text->length);
    view->text_count++;
    return text->bytes != NULL && text_sound(text->bytes, text->length, text_limit(number, view->alternatives));
}

static bool parse_record(hone__view *view, cursor from) {
    const uint8_t *ids = take(&from, 64);
    if (ids == NULL)
        return false;
    view->text[VIEW_KERNEL] = (hone__view_text){ids, 16, REFERENCE_INLINE, NULL};
    view->text[VIEW_DEVICE_ID] = (hone__view_text){ids + 16, 16, REFERENCE_INLINE, NULL};
    view->problem = ids + 32;
    view->text_count = VIEW_NAME;
    view->alternatives = 0;
    bool good = take_text(&from, view) && take_text(&from, view) && take_text(&from, view) && take_text(&from, view);
    good = good && (view->ranked[0] = take(&from, RANKED_NUMBERS_BYTES)) != NULL;
    const uint8_t *count = good ? take(&from, 4) : NULL;
    if (count == NULL || pack_get32(count) > HONE_ALTERNATIVES_MAX)
        return false;
    view->alternatives = pack_get32(count);
    for (uint32_t i = 1; good && i <= view->alternatives; i++)
        good = take_text(&from, view) && (view->ranked[i] = take(&from, RANKED_NUMBERS_BYTES)) != NULL;
    good = good && (view->numbers = take(&from, NUMBERS_BYTES)) != NULL;
    for (int i = 0; good && i < LINES; i++)
        good = take_text(&from, view);
    good = good && (view->provenance = take(&from, PROVENANCE_BYTES)) != NULL;
    return good && from.at == from.end && numbers_sound(view);
}

static hone_status view_record(hone__view *view, const hone__item *item) {
    hone__slot_key slot = {item->slot, HONE_SLOT_BYTES};
    HONE_TRY(hone__record_frame(item->bytes, item->count, HONE_RECORD_ENTRY, slot));
    /* Readers may ignore what a newer writer appended; who copies entries must not lose it. */
    if (((uint32_t)item->bytes[6] | (uint32_t)item->bytes[7] << 8) > HONE_RECORD_VERSION)
        return HONE_E_VERSION;
    const uint8_t *payload = item->bytes + HONE_RECORD_HEADER_BYTES;
    if (!parse_record(view, (cursor){payload, item->bytes + item->count - HONE_RECORD_CHECKSUM_BYTES}))
        return HONE_E_CORRUPT;
    bool here = memcmp(payload, item->slot, 8) == 0 && memcmp(payload + 16, item->slot + 8, 8) == 0 && memcmp(payload + 48, item->slot + 16, 16) == 0;
    return here ? HONE_OK : HONE_E_CORRUPT;
}

/* ---- a pack's record ---- */

uint64_t hone__packed_checksum(const uint8_t *bytes, size_t count, const uint8_t slot[HONE_SLOT_BYTES], const uint8_t *string_checksums,
                               size_t string_count) {
    uint64_t seed = hone__pack_checksum(slot, HONE_SLOT_BYTES, 0);
    seed = hone__pack_checksum(string_checksums, string_count * 8, seed);
    return hone__pack_checksum(bytes, count, seed);
}

/* The references stand at fixed places once the number of alternatives is known. */
static void find_references(hone__view *view, const uint8_t *head) {
    const uint8_t *rest = head + PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * view->alternatives;
    view->problem = head + PACKED_PROBLEM;
    view->text[VIEW_KERNEL].reference = pack_get32(head + PACKED_KERNEL);
    view->text[VIEW_DEVICE_ID].reference = pack_get32(head + PACKED_DEVICE_ID);
    view->text[VIEW_NAME].reference = pack_get32(head + PACKED_NAME);
    view->text[VIEW_SIZES].reference = pack_get32(head + PACKED_SIZES);
    view->text[VIEW_DEVICE].reference = pack_get32(head + PACKED_DEVICE);
    for (uint32_t i = 0; i <= view->alternatives; i++) {
        const uint8_t *ranked = i == 0 ? head + PACKED_BEST : head + PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * (i - 1);
        view->text[VIEW_BEST + i].reference = pack_get32(ranked);
        view->ranked[i] = ranked + 4;
    }
    view->numbers = rest + PACKED_NUMBERS;
    for (uint32_t i = 0; i < LINES; i++)
        view->text[VIEW_BEST + 1 + view->alternatives + i].reference = pack_get32(rest + PACKED_TEXTS + 4 * i);
    view->provenance = rest + PACKED_PROVENANCE;
    view->text_count = VIEW_BEST + 1 + view->alternatives + LINES;
}

static hone_status load_texts(hone__view *view, const hone__strings *strings, uint8_t checksums[8 * REFERENCES_MAX], size_t *count) {
    *count = 0;
    for (uint32_t t = 0; t < view->text_count; t++) {
        hone__view_text *text = &view->text[t];
        text->text = NULL;
        if (text->reference == 0 || text->reference == REFERENCE_INLINE)
            continue;
        if (hone__view_is_pattern(view, t))
            HONE_TRY(hone__strings_pattern(strings, text->reference, &text->text));
        else
            HONE_TRY(hone__strings_text(strings, text->reference, &text->text));
        pack_put64(checksums + 8 * (*count)++, text->text->checksum);
    }
    return HONE_OK;
}

/* Find each text's part of the tail, and check the texts.  The record's checksum follows `end`. */
static bool parse_tail(hone__view *view, const uint8_t *at, const uint8_t *end) {
    for (uint32_t t = 0; t < view->text_count; t++) {
        hone__view_text *text = &view->text[t];
        uint32_t limit = t < VIEW_NAME ? 16 : text_limit(t, view->alternatives);
        size_t length = 0;
        text->bytes = at;
        if (text->reference == REFERENCE_INLINE) {
            if (end - at < 4 || pack_get32(at) == 0 || pack_get32(at) > (size_t)(end - at - 4))
                return false;
            length = pack_get32(at);
            text->bytes = at + 4;
            at += 4 + length;
            if (t >= VIEW_NAME && !text_sound(text->bytes, (uint32_t)length, limit))
                return false;
        } else if (text->text != NULL && hone__view_is_pattern(view, t)) {
            length = text->text->length + (PATTERN_DIGITS_MAX - 1) * (size_t)text->text->marker_count; /* at most */
            const uint8_t *after = length > limit ? NULL : hone__pattern_check_values(text->text, at, end);
            at = after != NULL ? after : hone__pattern_skip(text->text, at, end, &length);
            if (at == NULL)
                return false;
        } else if (text->text != NULL) {
            length = text->text->length;
            if (t >= VIEW_NAME && (atomic_load_explicit(&text->text->state, memory_order_relaxed) & TEXT_IS_TEXT) == 0)
                return false;
        }
        if (length > limit || (t < VIEW_NAME && length != 16))
            return false;
        text->length = (uint32_t)length;
    }
    return at == end;
}

static bool id_matches(const hone__view_text *text, const uint8_t *first8) {
    const void *id = text->text != NULL ? (const void *)text->text->data : text->bytes;
    return memcmp(id, first8, 8) == 0;
}

static hone_status view_packed(hone__view *view, const hone__item *item) {
    if (item->count < PACKED_ALTERNATIVES + PACKED_REST_BYTES + 8 || item->count > HONE_LIMIT_RECORD_BYTES)
        return HONE_E_CORRUPT;
    size_t covered = item->count - 8;
    view->alternatives = pack_get32(item->bytes + PACKED_COUNT);
    size_t head = PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * (size_t)view->alternatives + PACKED_REST_BYTES;
    if (view->alternatives > HONE_ALTERNATIVES_MAX || head > covered)
        return HONE_E_CORRUPT;
    find_references(view, item->bytes);
    uint8_t checksums[8 * REFERENCES_MAX];
    size_t count;
    HONE_TRY(load_texts(view, item->strings, checksums, &count));
    if (hone__packed_checksum(item->bytes, covered, item->slot, checksums, count) != pack_get64(item->bytes + covered))
        return HONE_E_CORRUPT;
    bool good = numbers_sound(view) && parse_tail(view, item->bytes + head, item->bytes + covered) &&
                id_matches(&view->text[VIEW_KERNEL], item->slot) && id_matches(&view->text[VIEW_DEVICE_ID], item->slot + 8);
    return good ? HONE_OK : HONE_E_CORRUPT;
}

/* The checksum, and nothing else: enough to know that these are the bytes that were written under this slot. */
hone_status hone__packed_verify(const hone__item *item) {
    if (item->count < PACKED_ALTERNATIVES + PACKED_REST_BYTES + 8)
        return HONE_E_CORRUPT;
    uint32_t alternatives = pack_get32(item->bytes + PACKED_COUNT);
    size_t covered = item->count - 8, head = PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * (size_t)alternatives + PACKED_REST_BYTES;
    if (alternatives > HONE_ALTERNATIVES_MAX || head > covered)
        return HONE_E_CORRUPT;
    uint8_t checksums[8 * REFERENCES_MAX];
    size_t count = 0;
    for (uint32_t t = 0; t < VIEW_BEST + 1 + alternatives + LINES; t++) {
        uint32_t reference = pack_get32(item->bytes + hone__reference_place(t, alternatives));
        const hone__text *text;
        if (reference == 0 || reference == REFERENCE_INLINE)
            continue;
        HONE_TRY(hone__strings_text(item->strings, reference, &text));
        pack_put64(checksums + 8 * count++, text->checksum);
    }
    uint64_t checksum = hone__packed_checksum(item->bytes, covered, item->slot, checksums, count);
    return checksum == pack_get64(item->bytes + covered) ? HONE_OK : HONE_E_CORRUPT;
}

hone_status hone__view_make(hone__view *view, const hone__item *item) {
    return item->kind == HONE_ITEM_RECORD ? view_record(view, item) : view_packed(view, item);
}

/* ---- what merge looks at first ---- */

static double get_double(const uint8_t *at) {
    uint64_t bits = pack_get64(at);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

hone__rank hone__view_rank(const hone__view *view) {
    const uint8_t *best = view->ranked[0];
    double time = get_double(best), high = get_double(best + 16);
    hone__rank rank = {.valid = time > 0 && view->numbers[33] != HONE_ACCURACY_FAILED};
    rank.bucket = rank.valid ? pack_get64(high > time ? best + 16 : best) >> 46 : 0;
    rank.effort = view->numbers[32];
    rank.samples = pack_get32(best + 32);
    rank.created = pack_get64(view->provenance + 28);
    return rank;
}

static int more_first(uint64_t a, uint64_t b) {
    return a > b ? -1 : a < b ? 1 : 0;
}

int hone__rank_compare(const hone__rank *a, const hone__rank *b) {
    if (a->valid != b->valid)
        return a->valid ? -1 : 1;
    if (a->bucket != b->bucket)
        return a->bucket < b->bucket ? -1 : 1;
    int order = more_first(a->effort, b->effort);
    if (order == 0)
        order = more_first(a->samples, b->samples);
    return order != 0 ? order : more_first(a->created, b->created);
}
