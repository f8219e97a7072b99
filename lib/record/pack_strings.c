/* pack_strings.c: the strings of an open pack: each is read, verified and examined once, when something first refers to it. */
#include "alloc.h"
#include "pack_format.h"
#include "utf8.h"

static hone_status place(const hone__strings *strings, uint32_t number, uint64_t *offset, uint32_t *length, uint64_t *checksum) {
    const hone__pack *pack = strings->pack;
    uint8_t item[PACK_ITEM_BYTES], next[PACK_ITEM_BYTES];
    HONE_TRY(hone__part_item(pack, &pack->part[PACK_STRINGS], number, item));
    *offset = pack_get64(item);
    *length = pack_get32(item + 8);
    *checksum = pack_get64(item + 16);
    uint64_t end = pack->part[PACK_STRING_BYTES].bytes;
    if (number + 1 < strings->count) {
        HONE_TRY(hone__part_item(pack, &pack->part[PACK_STRINGS], number + 1, next));
        end = pack_get64(next);
    }
    bool sound = *length > 0 && *length <= PACK_STRING_MAX && pack_get32(item + 12) == 0 && end >= *offset && end - *offset == *length &&
                 (number > 0 || *offset == 0);
    return sound ? HONE_OK : HONE_E_CORRUPT;
}

static hone_status load(const hone__strings *strings, uint32_t number, hone__text *text) {
    const hone__pack *pack = strings->pack;
    uint64_t offset, checksum;
    uint32_t length;
    const uint8_t *data;
    HONE_TRY(place(strings, number, &offset, &length, &checksum));
    /* This part is always in memory: it has a bound. */
    HONE_TRY(hone__part_read(pack, &pack->part[PACK_STRING_BYTES], offset, length, NULL, &data));
    if (hone__pack_checksum(data, length, number) != checksum)
        return HONE_E_CORRUPT;
    text->data = (const char *)data;
    text->length = length;
    text->checksum = checksum;
    return HONE_OK;
}

static uint32_t state_of(const hone__text *text) {
    return atomic_load_explicit(&text->state, memory_order_acquire);
}

static void add_state(hone__text *text, uint32_t bits) {
    atomic_store_explicit(&text->state, state_of(text) | bits, memory_order_release);
}

hone_status hone__strings_load(const hone__strings *strings, uint32_t reference, const hone__text **out) {
    if (reference - 1 >= strings->count)
        return HONE_E_CORRUPT;
    hone__text *text = &strings->text[reference - 1];
    hone_status status = HONE_OK;
    hone__pack *filling = (hone__pack *)(uintptr_t)strings->pack;
    if ((state_of(text) & (TEXT_LOADED | TEXT_BAD)) == 0) {
        hone__text loaded = {.data = NULL};
        status = load(strings, reference - 1, &loaded);
        bool is_text = status == HONE_OK && memchr(loaded.data, 0, loaded.length) == NULL && hone__utf8_valid(loaded.data, loaded.length);
        (void)pthread_mutex_lock(&filling->loading);
        if ((state_of(text) & (TEXT_LOADED | TEXT_BAD)) == 0) {
            text->data = loaded.data;
            text->length = loaded.length;
            text->checksum = loaded.checksum;
            add_state(text, status == HONE_OK ? TEXT_LOADED | (is_text ? TEXT_IS_TEXT : 0) : TEXT_BAD);
        }
        (void)pthread_mutex_unlock(&filling->loading);
    }
    *out = text;
    return (state_of(text) & TEXT_BAD) != 0 ? HONE_E_CORRUPT : status;
}

hone_status hone__strings_load_pattern(const hone__strings *strings, uint32_t reference, const hone__text **out) {
    HONE_TRY(hone__strings_text(strings, reference, out));
    hone__text *text = &strings->text[reference - 1];
    hone_status status = HONE_OK;
    hone__pack *filling = (hone__pack *)(uintptr_t)strings->pack;
    (void)pthread_mutex_lock(&filling->loading);
    if ((state_of(text) & TEXT_SEEN_AS_PATTERN) == 0) {
        uint8_t *marker = hone__alloc(text->length);
        uint32_t count = 0;
        bool good = marker != NULL && (state_of(text) & TEXT_IS_TEXT) != 0 && hone__pattern_check(text->data, text->length, marker, &count);
        if (marker == NULL) {
            status = HONE_E_NOMEM;
        } else if (good) {
            text->marker_count = count;
            for (uint32_t i = 0; i < count && i < PATTERN_BOOLS_MAX; i++)
                text->bools |= (uint64_t)(marker[i] == 2) << i;
            text->marker = hone__realloc(marker, count > 0 ? count : 1);
            if (text->marker == NULL)
                text->marker = marker; /* it could not be made smaller */
            add_state(text, TEXT_SEEN_AS_PATTERN | TEXT_IS_PATTERN);
        } else {
            hone__free(marker);
            add_state(text, TEXT_SEEN_AS_PATTERN);
        }
    }
    (void)pthread_mutex_unlock(&filling->loading);
    HONE_TRY(status);
    return (state_of(text) & TEXT_IS_PATTERN) != 0 ? HONE_OK : HONE_E_CORRUPT;
}

void hone__strings_free(hone__strings *strings) {
    for (uint32_t i = 0; strings->text != NULL && i < strings->count; i++)
        hone__free(strings->text[i].marker);
    hone__free(strings->text);
    strings->text = NULL;
}
