/* pack_item.c: items as whole entries: into a cache's record, decoded, compared. */
#include "pack_format.h"
#include "limit.h"

/* Room is made once for all that a payload may be, and written without asking again. */
typedef struct writing {
    char *to, *end;
} writing;

static void put_bytes(writing *w, const void *bytes, size_t count) {
    memcpy(w->to, bytes, count);
    w->to += count;
}

static void put_u32(writing *w, uint32_t value) {
    pack_put32((uint8_t *)w->to, value);
    w->to += 4;
}

/* More than a text, with its length, can be: a pattern's is not known before. */
static size_t payload_room(const hone__view *view) {
    size_t room = 32 + 4 + RANKED_NUMBERS_BYTES * (1 + (size_t)view->alternatives) + NUMBERS_BYTES + PROVENANCE_BYTES;
    for (uint32_t t = 0; t < view->text_count; t++)
        room += 4 + (size_t)view->text[t].length;
    return room;
}

static void put_text(writing *w, const hone__view *view, uint32_t t) {
    const hone__view_text *text = &view->text[t];
    if (text->text != NULL && hone__view_is_pattern(view, t)) { /* its length is known afterwards */
        char *start = w->to + 4;
        w->to = hone__pattern_join(start, w->end, text->text, text->bytes);
        pack_put32((uint8_t *)start - 4, (uint32_t)(w->to - start));
        return;
    }
    if (t >= VIEW_NAME)
        put_u32(w, text->length);
    if (text->text != NULL)
        put_bytes(w, text->text->data, text->length);
    else if (text->length > 0)
        put_bytes(w, text->bytes, text->length);
}

/* The payload of spec/record.md, section 4. */
static void put_payload(hone__buf *buf, const hone__view *view, const uint8_t slot[HONE_SLOT_BYTES]) {
    size_t room = payload_room(view);
    writing w = {.to = hone__buf_room(buf, room)};
    if (w.to == NULL)
        return;
    w.end = w.to + room;
    put_text(&w, view, VIEW_KERNEL);
    put_text(&w, view, VIEW_DEVICE_ID);
    put_bytes(&w, view->problem, 16);
    put_bytes(&w, slot + 16, 16);
    for (uint32_t t = VIEW_NAME; t < VIEW_BEST; t++)
        put_text(&w, view, t);
    for (uint32_t i = 0; i <= view->alternatives; i++) {
        put_text(&w, view, VIEW_BEST + i);
        put_bytes(&w, view->ranked[i], RANKED_NUMBERS_BYTES);
        if (i == 0)
            put_u32(&w, view->alternatives);
    }
    put_bytes(&w, view->numbers, NUMBERS_BYTES);
    for (uint32_t i = 0; i < LINES; i++)
        put_text(&w, view, VIEW_BEST + 1 + view->alternatives + i);
    put_bytes(&w, view->provenance, PROVENANCE_BYTES);
    buf->length = (size_t)(w.to - buf->data);
    *w.to = '\0';
}

hone_status hone__view_record(hone__buf *buf, const hone__view *view, const uint8_t slot[HONE_SLOT_BYTES]) {
    size_t start = buf->length;
    hone__record_head(buf, HONE_RECORD_ENTRY, 0);
    put_payload(buf, view, slot);
    HONE_TRY(buf->status);
    size_t count = buf->length - start;
    pack_put32((uint8_t *)buf->data + start + 12, (uint32_t)(count - HONE_RECORD_HEADER_BYTES));
    uint8_t checksum[HONE_RECORD_CHECKSUM_BYTES];
    hone__record_checksum(checksum, buf->data + start, count, (hone__slot_key){slot, HONE_SLOT_BYTES});
    hone__buf_bytes(buf, checksum, sizeof checksum);
    return buf->status;
}

hone_status hone__item_record(hone__buf *buf, const hone__item *item) {
    hone__view view;
    HONE_TRY(hone__view_make(&view, item));
    if (item->kind == HONE_ITEM_PACKED)
        return hone__view_record(buf, &view, item->slot);
    hone__buf_bytes(buf, item->bytes, item->count);
    return buf->status;
}

hone_status hone__item_decode(hone__entry *out, const hone__item *item) {
    memset(out, 0, sizeof *out);
    hone__slot_key slot = {item->slot, HONE_SLOT_BYTES};
    if (item->kind == HONE_ITEM_RECORD)
        return hone__entry_decode(out, item->bytes, item->count, slot);
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__item_record(&buf, item);
    if (status == HONE_OK)
        status = hone__entry_decode(out, buf.data, buf.length, slot);
    hone__buf_free(&buf);
    return status;
}

/* ---- compare ---- */

static bool same_text(const hone__view_text *a, const hone__view_text *b) {
    if (a->length != b->length || (a->text == NULL) != (b->text == NULL))
        return false;
    if (a->text == NULL)
        return a->length == 0 || memcmp(a->bytes, b->bytes, a->length) == 0;
    return a->text->length == b->text->length && memcmp(a->text->data, b->text->data, a->text->length) == 0;
}

/* Equal without unpacking?  Only a yes is certain: tails are compared as bytes, and texts as they are stored. */
static bool same_packed(const hone__view *a, const hone__item *item_a, const hone__view *b, const hone__item *item_b) {
    if (item_a->kind != HONE_ITEM_PACKED || item_b->kind != HONE_ITEM_PACKED || item_a->count != item_b->count ||
        a->alternatives != b->alternatives)
        return false;
    size_t head = PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * (size_t)a->alternatives + PACKED_REST_BYTES;
    bool same = memcmp(item_a->bytes + head, item_b->bytes + head, item_a->count - head - 8) == 0 && memcmp(a->problem, b->problem, 16) == 0 &&
                memcmp(a->numbers, b->numbers, NUMBERS_BYTES) == 0 && memcmp(a->provenance, b->provenance, PROVENANCE_BYTES) == 0;
    for (uint32_t i = 0; same && i <= a->alternatives; i++)
        same = memcmp(a->ranked[i], b->ranked[i], RANKED_NUMBERS_BYTES) == 0;
    for (uint32_t t = 0; same && t < a->text_count; t++)
        same = same_text(&a->text[t], &b->text[t]);
    return same;
}

hone_status hone__view_compare(int *order, const hone__view *a, const hone__item *item_a, const hone__view *b, const hone__item *item_b) {
    hone__rank rank_a = hone__view_rank(a), rank_b = hone__view_rank(b);
    *order = hone__rank_compare(&rank_a, &rank_b);
    if (*order != 0 || same_packed(a, item_a, b, item_b))
        return HONE_OK;
    /* The last word have the bytes of the payload. */
    hone__buf left, right;
    hone__buf_init(&left, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&right, HONE_LIMIT_RECORD_BYTES);
    put_payload(&left, a, item_a->slot);
    put_payload(&right, b, item_b->slot);
    hone_status status = left.status != HONE_OK ? left.status : right.status;
    if (status == HONE_OK) {
        size_t shorter = left.length < right.length ? left.length : right.length;
        *order = memcmp(left.data, right.data, shorter);
        if (*order == 0)
            *order = left.length < right.length ? -1 : left.length > right.length;
    }
    hone__buf_free(&left);
    hone__buf_free(&right);
    return status;
}
