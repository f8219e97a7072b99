/* render.c: see render.h.  JSON members are shown by the unit that their name ends in, so that a new member needs no new code. */
#include "render.h"

#include "opt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- terminals ---- */

bool is_terminal(FILE *to) {
    return isatty(fileno(to)) == 1;
}

bool takes_escapes(FILE *to) {
    const char *term = getenv("TERM");
    return term != NULL && strcmp(term, "dumb") != 0 && is_terminal(to);
}

static bool coloured(FILE *to) {
    const char *no_color = getenv("NO_COLOR");
    return (no_color == NULL || *no_color == '\0') && takes_escapes(to);
}

const char *style_on(FILE *to, style which) {
    static const char *const sequence[STYLE_COUNT] = {"", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m"};
    return coloured(to) ? sequence[which] : "";
}

const char *style_off(FILE *to) {
    return coloured(to) ? "\x1b[0m" : "";
}

/* ---- untrusted text ---- */

/* Length of the well-formed UTF-8 character at `text` (1 to 4), its code point in *code; 0 when it is broken. */
static size_t utf8_length(const char *text, uint32_t *code) {
    const unsigned char *c = (const unsigned char *)text;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : c[0] >= 0xf0 && c[0] < 0xf5 ? 4 : 0;
    if (length <= 1) {
        *code = c[0];
        return length;
    }
    uint32_t sum = c[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        sum = sum << 6 | (c[i] & 0x3fu);
    }
    *code = sum;
    return sum < least[length] || (sum >= 0xd800 && sum < 0xe000) || sum > 0x10ffff ? 0 : length;
}

/* Control characters (C0, DEL, C1) and marks that reorder or hide text. */
static bool is_unsafe(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

static void put_clean(FILE *to, const char *text, size_t columns, const char *keep) {
    size_t column = 0;
    while (*text != '\0') {
        if (columns > 3 && column == columns - 3 && strlen(text) > 3) {
            fprintf(to, "...");
            return;
        }
        uint32_t code = 0;
        size_t length = utf8_length(text, &code);
        if (length == 0) {
            fputc('?', to);
            text++;
        } else {
            if (!is_unsafe(code) || (length == 1 && strchr(keep, *text) != NULL))
                (void)fwrite(text, 1, length, to);
            else
                fputc(code < 0x20 ? ' ' : '?', to);
            text += length;
        }
        column++;
    }
}

void put_safe(FILE *to, const char *text, size_t columns) {
    put_clean(to, text, columns, "");
}

void put_text(FILE *to, const char *text) {
    if (is_terminal(to))
        put_clean(to, text, 0, "\n\t");
    else
        fputs(text, to);
}

void put_json(const char *json) {
    put_text(stdout, json);
    putchar('\n');
}

/* ---- numbers ---- */

/* Three significant digits without an exponent. */
static int digits_after_point(double value) {
    return value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
}

void format_ms(char text[SHORT_TEXT], double ms) {
    if (!(ms > 0) || !isfinite(ms)) {
        (void)snprintf(text, SHORT_TEXT, "-");
        return;
    }
    static const struct {
        double factor;
        const char *unit;
    } units[] = {{1e6, "ns"}, {1e3, "us"}, {1, "ms"}, {1e-3, "s"}};
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof units[0] && ms * units[i].factor >= 999.5)
        i++;
    double value = ms * units[i].factor;
    (void)snprintf(text, SHORT_TEXT, "%.*f %s", digits_after_point(value), value, units[i].unit);
}

void format_noise(char text[SHORT_TEXT], double fraction) {
    if (!(fraction > 0) || !isfinite(fraction))
        (void)snprintf(text, SHORT_TEXT, "-");
    else
        (void)snprintf(text, SHORT_TEXT, fraction < 0.995 ? "%.2g %%" : "%.0f %%", fraction * 100);
}

void format_seconds(char text[SHORT_TEXT], double seconds) {
    if (!isfinite(seconds) || seconds < 0)
        (void)snprintf(text, SHORT_TEXT, "-");
    else if (seconds > 0 && seconds < 1)
        format_ms(text, seconds * 1e3);
    else if (seconds < 59.95 && seconds == floor(seconds))
        (void)snprintf(text, SHORT_TEXT, "%.0f s", seconds);
    else if (seconds < 59.95)
        (void)snprintf(text, SHORT_TEXT, "%.1f s", seconds);
    else if (seconds < 3600)
        (void)snprintf(text, SHORT_TEXT, "%.0f min %.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    else if (seconds < 48 * 3600.0)
        (void)snprintf(text, SHORT_TEXT, "%.0f h %.0f min", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    else
        (void)snprintf(text, SHORT_TEXT, "%.0f days", floor(seconds / 86400));
}

void format_count(char text[SHORT_TEXT], double count) {
    char plain[SHORT_TEXT];
    if (!(fabs(count) < 1e15)) {
        (void)snprintf(text, SHORT_TEXT, "%.6g", count);
        return;
    }
    (void)snprintf(plain, sizeof plain, "%.0f", count);
    size_t length = strlen(plain), out = 0;
    for (size_t i = 0; i < length && out + 2 < SHORT_TEXT; i++) {
        if (i > 0 && (length - i) % 3 == 0 && plain[i - 1] != '-')
            text[out++] = ',';
        text[out++] = plain[i];
    }
    text[out] = '\0';
}

void format_bytes(char text[SHORT_TEXT], double bytes) {
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (i + 1 < sizeof unit / sizeof unit[0] && bytes >= 1024) {
        bytes /= 1024;
        i++;
    }
    (void)snprintf(text, SHORT_TEXT, "%.*f %s", i == 0 ? 0 : digits_after_point(bytes), bytes, unit[i]);
}

void format_sizes(char *text, size_t bytes, const cJSON *sizes) {
    size_t used = 0;
    text[0] = '\0';
    const cJSON *size = NULL;
    cJSON_ArrayForEach(size, sizes) {
        int n = snprintf(text + used, bytes - used, "%s%s=%.0f", used > 0 ? " " : "", size->string != NULL ? size->string : "",
                         cJSON_IsNumber(size) ? size->valuedouble : 0);
        if (n < 0 || (size_t)n >= bytes - used)
            return;
        used += (size_t)n;
    }
}

/* ---- JSON ---- */

const cJSON *json_at(const cJSON *object, const char *path) {
    char name[64];
    while (object != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        if (length >= sizeof name)
            return NULL;
        memcpy(name, path, length);
        name[length] = '\0';
        object = cJSON_GetObjectItemCaseSensitive(object, name);
        path += length + (path[length] == '.');
    }
    return object;
}

double json_number_at(const cJSON *object, const char *path, double fallback) {
    const cJSON *item = json_at(object, path);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

const char *json_string_at(const cJSON *object, const char *path) {
    const cJSON *item = json_at(object, path);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool ends_in(const char *name, const char *end) {
    size_t length = strlen(name), end_length = strlen(end);
    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

static void render_number(FILE *to, const char *name, double value) {
    char text[SHORT_TEXT];
    time_t when = (time_t)0;
    struct tm parts;
    if (ends_in(name, "unix_s") && value > 0 && value < 1e11) {
        when = (time_t)value;
        if (gmtime_r(&when, &parts) != NULL && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) > 0) {
            fputs(text, to);
            return;
        }
    }
    if (ends_in(name, "_ms"))
        format_ms(text, value);
    else if (ends_in(name, "_ns"))
        format_ms(text, value / 1e6);
    else if (strcmp(name, "age_s") == 0)
        format_seconds(text, floor(value));
    else if (ends_in(name, "_s") || strcmp(name, "seconds") == 0)
        format_seconds(text, value);
    else if (ends_in(name, "_bytes") || ends_in(name, "_bytes_max"))
        format_bytes(text, value);
    else if (strcmp(name, "speedup") == 0 && value > 0)
        (void)snprintf(text, sizeof text, "%.2fx", value);
    else if ((strcmp(name, "noise") == 0 || strcmp(name, "roofline") == 0) && value > 0)
        (void)snprintf(text, sizeof text, "%.3g %%", value * 100);
    else if (value == floor(value) && fabs(value) < 1e15)
        (void)snprintf(text, sizeof text, "%.0f", value);
    else
        (void)snprintf(text, sizeof text, "%.6g", value);
    fputs(text, to);
}

static bool holds_text(const cJSON *list) {
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item))
            return false;
    }
    return true;
}

void render_value(FILE *to, const char *name, const cJSON *value) {
    if (cJSON_IsString(value)) {
        put_safe(to, value->valuestring[0] != '\0' ? value->valuestring : "-", 0);
    } else if (cJSON_IsNumber(value)) {
        render_number(to, name, value->valuedouble);
    } else if (cJSON_IsBool(value)) {
        fputs(cJSON_IsTrue(value) ? "yes" : "no", to);
    } else if (cJSON_IsNull(value) || (cJSON_IsArray(value) && value->child == NULL)) {
        fputs("-", to);
    } else if (cJSON_IsArray(value) && holds_text(value)) {
        for (const cJSON *item = value->child; item != NULL; item = item->next) {
            put_safe(to, item->valuestring, 0);
            fputs(item->next != NULL ? ", " : "", to);
        }
    } else if (strcmp(name, "sizes") == 0 && cJSON_IsObject(value)) {
        char text[1024] = "";
        format_sizes(text, sizeof text, value);
        put_safe(to, text, 0);
    } else {
        char *text = cJSON_PrintUnformatted(value);
        put_safe(to, text != NULL ? text : "?", 0);
        cJSON_free(text);
    }
}

/* Small objects and lists of scalars are easier to read on one line. */
static bool fits_a_line(const cJSON *item) {
    if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
        return true;
    int count = 0;
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        if (cJSON_IsObject(child) || cJSON_IsArray(child) || ++count > (cJSON_IsArray(item) ? 16 : 4))
            return false;
        if (cJSON_IsString(child) && strlen(child->valuestring) > 40)
            return false;
    }
    return true;
}

/* "time" for "time_ms": the value is printed with the unit that suits it. */
static size_t name_columns(const cJSON *item) {
    static const char *const units[] = {"_unix_s", "_ms", "_ns", "_s"};
    const char *name = item->string != NULL ? item->string : "";
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if ((cJSON_IsNumber(item) || cJSON_IsNull(item)) && ends_in(name, units[i]))
            return length - strlen(units[i]);
    }
    return length;
}

static void line_start(FILE *to, int indent, const cJSON *item, int width) {
    char name[64];
    int columns = (int)name_columns(item);
    (void)snprintf(name, sizeof name, "%.*s", columns, item->string != NULL ? item->string : "");
    fprintf(to, "%*s%s", indent, "", style_on(to, STYLE_DIM));
    put_safe(to, name, 0);
    fprintf(to, "%s%*s", style_off(to), width > columns ? width - columns : 0, "");
}

static void render_list(FILE *to, const cJSON *list, int indent) {
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (cJSON_IsObject(item) && !fits_a_line(item)) {
            fprintf(to, "%*s-\n", indent, "");
            render_object(to, item, indent + 2, NULL);
        } else {
            fprintf(to, "%*s- ", indent, "");
            render_value(to, "", item);
            fputc('\n', to);
        }
    }
}

void render_object(FILE *to, const cJSON *object, int indent, const char *skip) {
    if (indent > 24) { /* deeper than anything that the library prints */
        fprintf(to, "%*s...\n", indent, "");
        return;
    }
    int width = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        int length = (int)name_columns(item);
        width = length > width && length < 24 ? length : width;
    }
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        const char *name = item->string != NULL ? item->string : "";
        if (skip != NULL && choice_in(skip, name))
            continue;
        bool short_one = fits_a_line(item) || strcmp(name, "config") == 0;
        line_start(to, indent, item, short_one ? width + 2 : 0);
        if (short_one) {
            render_value(to, name, item);
            fputc('\n', to);
        } else if (cJSON_IsArray(item)) {
            fputc('\n', to);
            render_list(to, item, indent + 2);
        } else {
            fputc('\n', to);
            render_object(to, item, indent + 2, NULL);
        }
    }
}

void render_title(FILE *to, const char *title) {
    fprintf(to, "%s", style_on(to, STYLE_BOLD));
    put_safe(to, title, 0);
    fprintf(to, "%s\n", style_off(to));
}

/* ---- tables ---- */

void table_begin(table *t, size_t columns) {
    *t = (table){.columns = columns};
}

void table_row(table *t, const char *const *cells) {
    if (t->rows == t->room) {
        size_t room = t->room == 0 ? 64 : t->room * 2;
        char **grown = realloc(t->cell, room * t->columns * sizeof *grown);
        if (grown == NULL)
            return;
        t->cell = grown;
        t->room = room;
    }
    for (size_t i = 0; i < t->columns; i++)
        t->cell[t->rows * t->columns + i] = strdup(cells[i] != NULL ? cells[i] : "-");
    t->rows++;
}

static size_t text_columns(const char *text) {
    size_t columns = 0;
    while (*text != '\0') {
        uint32_t code = 0;
        size_t length = utf8_length(text, &code);
        text += length == 0 ? 1 : length;
        columns++;
    }
    return columns;
}

void table_end(table *t, FILE *to, uint32_t right) {
    size_t width[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        size_t columns = t->cell[i] != NULL ? text_columns(t->cell[i]) : 0;
        if (columns > width[i % t->columns])
            width[i % t->columns] = columns;
    }
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        size_t column = i % t->columns;
        const char *text = t->cell[i] != NULL ? t->cell[i] : "?";
        int pad = (int)(width[column] - text_columns(text));
        bool flush_right = (right >> column & 1) != 0, last = column + 1 == t->columns;
        if (column == 0)
            fputs(style_on(to, i == 0 ? STYLE_BOLD : STYLE_PLAIN), to);
        fprintf(to, "%*s", flush_right ? pad : 0, "");
        put_safe(to, text, 0);
        if (!last)
            fprintf(to, "%*s", (flush_right ? 0 : pad) + 2, "");
        else
            fprintf(to, "%s\n", i / t->columns == 0 ? style_off(to) : "");
    }
    table_drop(t);
}

void table_drop(table *t) {
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cell[i]);
    free(t->cell);
    *t = (table){0};
}
