/* reply_scan.c: see reply_scan.h.  A hand-written reader, because the job is to get through text that is not JSON: single and
 * typographic quotes, bare words, comments, missing and trailing commas, Python's constants and tuples, missing ends. */
#include "reply_scan.h"

#include "limit.h"

#include <math.h>
#include <string.h>
#include <strings.h>

enum { VALUES_MAX = 200000, OPEN_FLAG = 1 << 20, WORD_BYTES_MAX = 256, STRING_BYTES_MAX = 64 << 10 };

_Static_assert((OPEN_FLAG & (cJSON_IsReference | cJSON_StringIsConst | 0xff)) == 0, "a bit of cJSON's type that cJSON does not use");

typedef enum token { TOKEN_END, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_COLON, TOKEN_COMMA, TOKEN_TEXT, TOKEN_WORD, TOKEN_JUNK } token;

/* One container that is being read. */
typedef struct frame {
    cJSON *item;
    char *key; /* waiting for its value, or NULL */
    bool colon;
} frame;

typedef struct json_reader {
    hone__reply_scan *scan;
    size_t at;
    hone__buf text; /* of the last TEXT or WORD */
    char bracket;   /* of the last OPEN or CLOSE: '{' '[' '}' ']' */
} json_reader;

void hone__reply_scan_init(hone__reply_scan *scan, const char *text, size_t bytes) {
    *scan = (hone__reply_scan){.text = text, .bytes = bytes, .values_left = VALUES_MAX};
}

bool hone__scan_is_open(const cJSON *item) {
    return (item->type & OPEN_FLAG) != 0;
}

/* ---- tokens ---- */

static bool starts_with(const json_reader *reader, const char *text) {
    size_t length = strlen(text);
    return reader->scan->bytes - reader->at >= length && memcmp(reader->scan->text + reader->at, text, length) == 0;
}

static void skip_line(json_reader *reader) {
    const char *end = memchr(reader->scan->text + reader->at, '\n', reader->scan->bytes - reader->at);
    reader->at = end == NULL ? reader->scan->bytes : (size_t)(end - reader->scan->text);
}

static void skip_space(json_reader *reader) {
    const hone__reply_scan *scan = reader->scan;
    while (reader->at < scan->bytes) {
        char c = scan->text[reader->at];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            reader->at++;
        } else if (c == '#' || starts_with(reader, "//")) {
            skip_line(reader);
        } else if (starts_with(reader, "/*")) {
            reader->at += 2;
            while (reader->at < scan->bytes && !starts_with(reader, "*/"))
                reader->at++;
            reader->at = reader->at + 2 < scan->bytes ? reader->at + 2 : scan->bytes;
        } else {
            return;
        }
    }
}

/* The length of the quote at the reading point and the class of what closes it; 0: none. */
static size_t quote_here(const json_reader *reader, char *class) {
    char c = reader->scan->text[reader->at];
    if (c == '"' || c == '\'' || c == '`') {
        *class = c;
        return 1;
    }
    if (starts_with(reader, "\xe2\x80\x9c") || starts_with(reader, "\xe2\x80\x9d")) { /* typographic double quotes */
        *class = 't';
        return 3;
    }
    return 0;
}

static void put_point(hone__buf *buf, unsigned point) {
    if (point == 0 || (point >= 0xd800 && point <= 0xdfff)) { /* no NUL inside; pairs are not worth it: names are ASCII */
        hone__buf_char(buf, '?');
    } else if (point < 0x80) {
        hone__buf_char(buf, (char)point);
    } else if (point < 0x800) {
        hone__buf_char(buf, (char)(0xc0 | point >> 6));
        hone__buf_char(buf, (char)(0x80 | (point & 0x3f)));
    } else {
        hone__buf_char(buf, (char)(0xe0 | point >> 12));
        hone__buf_char(buf, (char)(0x80 | (point >> 6 & 0x3f)));
        hone__buf_char(buf, (char)(0x80 | (point & 0x3f)));
    }
}

static int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After a backslash. */
static void read_escape(json_reader *reader) {
    const hone__reply_scan *scan = reader->scan;
    char c = scan->text[reader->at++];
    if (c == 'u' && scan->bytes - reader->at >= 4) {
        unsigned point = 0;
        int digits = 0;
        for (; digits < 4 && hex_value(scan->text[reader->at + (size_t)digits]) >= 0; digits++)
            point = point << 4 | (unsigned)hex_value(scan->text[reader->at + (size_t)digits]);
        if (digits == 4) {
            reader->at += 4;
            put_point(&reader->text, point);
            return;
        }
    }
    hone__buf_char(&reader->text, c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' || c == 'b' || c == 'f' ? ' ' : c == '\0' ? '?' : c);
}

/* Over-long strings keep their beginning.  False: the text ended inside. */
static bool read_string(json_reader *reader, char class) {
    const hone__reply_scan *scan = reader->scan;
    hone__buf_clear(&reader->text);
    while (reader->at < scan->bytes) {
        char c = scan->text[reader->at], other;
        size_t quote = class == 't' ? quote_here(reader, &other) : (size_t)(c == class);
        if (quote > 0 && (class != 't' || other == 't' || other == '"')) {
            reader->at += quote;
            if (reader->text.status == HONE_E_LIMIT)
                reader->text.status = HONE_OK;
            hone__buf_text(&reader->text, ""); /* so that even an empty one has data */
            return true;
        }
        reader->at++;
        if (c == '\\' && reader->at < scan->bytes)
            read_escape(reader);
        else
            hone__buf_char(&reader->text, c == '\0' ? '?' : c);
    }
    return false;
}

static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '+' || c == '-' ||
           (unsigned char)c >= 0x80;
}

static token read_token(json_reader *reader) {
    hone__reply_scan *scan = reader->scan;
    skip_space(reader);
    if (reader->at >= scan->bytes)
        return TOKEN_END;
    char c = scan->text[reader->at], class;
    size_t quote = quote_here(reader, &class);
    if (starts_with(reader, "```")) /* the end of a fence, not three quotes */
        return TOKEN_JUNK;
    if (quote > 0) {
        reader->at += quote;
        return read_string(reader, class) ? TOKEN_TEXT : TOKEN_END;
    }
    if (c == '{' || c == '[' || c == '(' || c == '}' || c == ']' || c == ')') {
        reader->at++;
        reader->bracket = c == '(' ? '[' : c == ')' ? ']' : c;
        return reader->bracket == '{' || reader->bracket == '[' ? TOKEN_OPEN : TOKEN_CLOSE;
    }
    if (c == ':' || c == '=' || c == ',') {
        reader->at++;
        return c == ',' ? TOKEN_COMMA : TOKEN_COLON;
    }
    if (!is_word_char(c))
        return TOKEN_JUNK;
    hone__buf_clear(&reader->text);
    while (reader->at < scan->bytes && is_word_char(scan->text[reader->at])) {
        if (reader->text.length < WORD_BYTES_MAX)
            hone__buf_char(&reader->text, scan->text[reader->at]);
        reader->at++;
    }
    return TOKEN_WORD;
}

/* ---- values ---- */

/* A number as JSON writes it, or with a plus sign, a bare point or digit separators. */
static cJSON *number_of_word(const char *word) {
    char digits[WORD_BYTES_MAX + 4];
    size_t count = 0;
    if (*word == '-')
        digits[count++] = '-';
    word += *word == '-' || *word == '+';
    if (*word == '.')
        digits[count++] = '0';
    for (; *word != '\0' && count < WORD_BYTES_MAX; word++) {
        if (*word != '_')
            digits[count++] = *word;
    }
    if (count > 0 && digits[count - 1] == '.')
        digits[count++] = '0';
    const char *end = NULL;
    cJSON *item = cJSON_ParseWithLengthOpts(digits, count, &end, 0);
    if (item != NULL && (!cJSON_IsNumber(item) || end != digits + count || !isfinite(item->valuedouble))) {
        cJSON_Delete(item);
        item = NULL;
    }
    return item;
}

static cJSON *value_of_word(const char *word) {
    if (strcasecmp(word, "true") == 0)
        return cJSON_CreateTrue();
    if (strcasecmp(word, "false") == 0)
        return cJSON_CreateFalse();
    if (strcasecmp(word, "null") == 0 || strcmp(word, "None") == 0)
        return cJSON_CreateNull();
    cJSON *number = (word[0] >= '0' && word[0] <= '9') || strchr("+-.", word[0]) != NULL ? number_of_word(word) : NULL;
    return number != NULL ? number : cJSON_CreateString(word); /* NaN, names: the space says what is wrong with them */
}

/* Put a value into the container on top; false when there is no place for it. */
static bool put_value(json_reader *reader, frame *top, cJSON *item) {
    if (item == NULL) {
        reader->scan->out_of_memory = true;
        return false;
    }
    bool placed = false;
    if (cJSON_IsArray(top->item)) {
        placed = cJSON_AddItemToArray(top->item, item);
    } else if (top->key != NULL && top->colon) {
        placed = cJSON_AddItemToObject(top->item, top->key, item);
        cJSON_free(top->key);
        top->key = NULL;
        top->colon = false;
    }
    if (!placed)
        cJSON_Delete(item);
    return placed;
}

static bool open_container(json_reader *reader, frame *stack, uint32_t *depth) {
    if (*depth == HONE_LIMIT_JSON_DEPTH)
        return false;
    cJSON *item = reader->bracket == '{' ? cJSON_CreateObject() : cJSON_CreateArray();
    if (*depth > 0 && !put_value(reader, &stack[*depth - 1], item))
        return false;
    if (item == NULL) {
        reader->scan->out_of_memory = true;
        return false;
    }
    stack[(*depth)++] = (frame){.item = item};
    return true;
}

/* A word or string: a key where one is due, else a value. */
static bool take_text(json_reader *reader, frame *top, bool is_word) {
    if (reader->text.data == NULL || reader->text.status == HONE_E_NOMEM) {
        reader->scan->out_of_memory = true;
        return false;
    }
    if (cJSON_IsObject(top->item) && top->key == NULL) {
        top->key = cJSON_malloc(reader->text.length + 1);
        if (top->key == NULL) {
            reader->scan->out_of_memory = true;
            return false;
        }
        memcpy(top->key, reader->text.data, reader->text.length + 1);
        return true;
    }
    return put_value(reader, top, is_word ? value_of_word(reader->text.data) : cJSON_CreateString(reader->text.data));
}

/* One step of reading; false when the text makes no sense here. */
static bool read_step(json_reader *reader, frame *stack, uint32_t *depth, token kind) {
    frame *top = &stack[*depth - 1];
    bool object = cJSON_IsObject(top->item);
    switch (kind) {
    case TOKEN_OPEN:
        return (!object || (top->key != NULL && top->colon)) && open_container(reader, stack, depth);
    case TOKEN_CLOSE:
        if (top->key != NULL)
            return false;
        if (object != (reader->bracket == '}')) { /* one closing bracket forgotten: it fits the container around */
            if (*depth < 2 || cJSON_IsObject(stack[*depth - 2].item) == object)
                return false;
            (*depth)--;
        }
        (*depth)--;
        return true;
    case TOKEN_COLON:
        if (!object || top->key == NULL || top->colon)
            return false;
        top->colon = true;
        return true;
    case TOKEN_COMMA:
        return !object || top->key == NULL; /* also doubled, leading and trailing ones */
    case TOKEN_TEXT:
    case TOKEN_WORD:
        return (!object || top->key == NULL || top->colon) && take_text(reader, top, kind == TOKEN_WORD);
    case TOKEN_END:
    case TOKEN_JUNK:
        break;
    }
    return false;
}

static hone__found read_value(hone__reply_scan *scan, cJSON **value) {
    json_reader reader = {.scan = scan, .at = scan->at};
    hone__buf_init(&reader.text, STRING_BYTES_MAX);
    frame stack[HONE_LIMIT_JSON_DEPTH];
    uint32_t depth = 0;
    (void)read_token(&reader); /* the bracket that was found */
    size_t before = reader.at;
    bool good = open_container(&reader, stack, &depth);
    *value = good ? stack[0].item : NULL;
    while (good && depth > 0) {
        before = reader.at;
        token kind = read_token(&reader);
        good = scan->values_left > 0 && read_step(&reader, stack, &depth, kind);
        scan->values_left -= good;
        if (!good)
            scan->at = kind == TOKEN_END || scan->values_left == 0 ? scan->bytes : before;
    }
    for (uint32_t i = 0; i < depth; i++) {
        stack[i].item->type |= OPEN_FLAG;
        cJSON_free(stack[i].key);
    }
    if (good)
        scan->at = reader.at;
    hone__buf_free(&reader.text);
    if (*value == NULL)
        scan->at = scan->bytes;
    return *value == NULL ? HONE_FOUND_NONE : good ? HONE_FOUND_WHOLE : HONE_FOUND_PART;
}

/* A model that thinks aloud drafts configs that it then drops: <think> ... </think> is not its answer. */
static bool skip_thinking(hone__reply_scan *scan) {
    static const char begin[] = "<think", end[] = "</think";
    if (scan->bytes - scan->at < sizeof begin - 1 || strncasecmp(scan->text + scan->at, begin, sizeof begin - 1) != 0)
        return false;
    scan->at += sizeof begin - 1;
    while (scan->bytes - scan->at >= sizeof end - 1 && strncasecmp(scan->text + scan->at, end, sizeof end - 1) != 0)
        scan->at++;
    if (scan->bytes - scan->at < sizeof end - 1)
        scan->at = scan->bytes;
    return true;
}

hone__found hone__reply_scan_next(hone__reply_scan *scan, cJSON **value) {
    *value = NULL;
    while (scan->at < scan->bytes && scan->values_left > 0 && !scan->out_of_memory) {
        char c = scan->text[scan->at];
        if (c == '{' || c == '[')
            return read_value(scan, value);
        if (c != '<' || !skip_thinking(scan))
            scan->at++;
    }
    return HONE_FOUND_NONE;
}
