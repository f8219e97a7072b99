/* about.c: what a recorded space says about its kernel, as text for a model: problem, constants, restrictions, notes.  All of it is somebody
 * else's text: it is cut to a bound here, and cleaned where the prompt is written. */
#include "recorded.h"

enum { ABOUT_BYTES = 64 << 10, TEXT_BYTES = 2000, RESTRICTIONS_MAX = 64 };

static void put_text(hone__buf *buf, const cJSON *json, const char *member, const char *title) {
    const char *text = hone__json_string(json, member);
    if (text != NULL && text[0] != '\0')
        hone__buf_printf(buf, "%s: %.*s\n", title, TEXT_BYTES, text);
}

static void put_constants(hone__buf *buf, const cJSON *constants) {
    const cJSON *item;
    bool first = true;
    cJSON_ArrayForEach(item, constants) {
        if (item->string == NULL || !(cJSON_IsNumber(item) || cJSON_IsString(item) || cJSON_IsBool(item)))
            continue;
        hone__buf_printf(buf, "%s%.200s = ", first ? "Constants, the same for all configs: " : ", ", item->string);
        hone__json_print(buf, item);
        first = false;
    }
    hone__buf_text(buf, first ? "" : ".\n");
}

static void put_restrictions(hone__buf *buf, const cJSON *restrictions) {
    const cJSON *item;
    uint32_t count = 0;
    cJSON_ArrayForEach(item, restrictions) {
        if (!cJSON_IsString(item) || count++ == RESTRICTIONS_MAX)
            continue;
        hone__buf_text(buf, count == 1 ? "Restrictions, as the authors wrote them (every one must hold):\n" : "");
        hone__buf_printf(buf, "- %.*s\n", TEXT_BYTES, item->valuestring);
    }
}

char *hone__recorded_about(const cJSON *json) {
    hone__buf buf;
    hone__buf_init(&buf, ABOUT_BYTES);
    put_text(&buf, json, "problem", "Problem");
    put_constants(&buf, cJSON_GetObjectItemCaseSensitive(json, "constants"));
    put_restrictions(&buf, cJSON_GetObjectItemCaseSensitive(json, "restrictions"));
    put_text(&buf, json, "notes", "Notes");
    if (buf.status == HONE_E_LIMIT) { /* more than anybody reads: what fits is enough */
        hone__buf_free(&buf);
        hone__buf_init(&buf, ABOUT_BYTES);
        put_text(&buf, json, "problem", "Problem");
    }
    hone__buf_text(&buf, "");
    return hone__buf_take(&buf);
}
