/* fuzz_reply.c: any bytes as a model's reply: only valid, distinct configs come out, texts are clean, and a reply cut short gives a
 * subset of the whole one's configs. */
#include "prompt.h"
#include "unit/reply_space.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good) {
    if (!good)
        abort();
}

static void check_text(const char *text, size_t max) {
    check(text != NULL && strlen(text) <= max);
    for (const char *c = text; *c != '\0'; c++)
        check((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void check_reply(const hone__parsed_reply *parsed, const hone__bound *bound) {
    for (uint32_t i = 0; i < parsed->count; i++) {
        check(hone__bound_valid(bound, &parsed->config[i], NULL));
        for (uint32_t j = 0; j < i; j++)
            check(!hone__config_equal(&parsed->config[i], &parsed->config[j]));
    }
    for (uint32_t i = 0; i < parsed->rejection_count; i++) {
        check_text(parsed->rejection[i].config, 160);
        check_text(parsed->rejection[i].reason, 400);
    }
    check_text(parsed->thought, 500);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static reply_space space;
    if (space.bound == NULL)
        check(reply_space_open(&space) == 0);
    const char *text = (const char *)data;
    hone__parsed_reply whole, part;
    if (hone__reply_parse(&whole, text, size, space.bound, 256, NULL) != HONE_OK)
        return 0;
    check_reply(&whole, space.bound);
    if (hone__reply_parse(&part, text, size - size / 3, space.bound, 256, NULL) == HONE_OK) {
        check_reply(&part, space.bound);
        for (uint32_t i = 0; i < part.count; i++) {
            uint32_t j = 0;
            while (j < whole.count && !hone__config_equal(&whole.config[j], &part.config[i]))
                j++;
            check(j < whole.count);
        }
        hone__parsed_reply_clear(&part);
    }
    hone__parsed_reply_clear(&whole);
    return 0;
}
