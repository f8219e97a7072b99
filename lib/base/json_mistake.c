/* json_mistake.c: where text stops being JSON, and which slip it most likely is.  cJSON only says near which byte it gave up; people who
 * write specs by hand want the place and the way out. */
#include "json.h"
#include "limit.h"

#include <stdio.h>
#include <string.h>

typedef struct scan {
    const char *text;
    size_t bytes, at;
    char open[HONE_LIMIT_JSON_DEPTH]; /* closing brackets that are owed */
    uint32_t depth;
    bool too_deep;
    const char *what; /* the slip at `at`; NULL: none yet */
} scan;

static char look(const scan *s) {
    return s->at < s->bytes ? s->text[s->at] : '\0';
}

static bool one_of(char c, const char *set) {
    return c != '\0' && strchr(set, c) != NULL;
}

static void skip_blanks(scan *s) {
    while (one_of(look(s), " \t\r\n"))
        s->at++;
}

static bool begins(const scan *s, const char *word) {
    size_t length = strlen(word);
    return s->bytes - s->at >= length && memcmp(s->text + s->at, word, length) == 0;
}

/* A string; the place of a slip inside is its opening quote when it never ends, else the slip itself. */
static void read_string(scan *s) {
    size_t opening = s->at++;
    while (s->at < s->bytes && s->text[s->at] != '"') {
        if (s->text[s->at] == '\\') {
            s->at++;
            if (s->at < s->bytes && !one_of(s->text[s->at], "\"\\/bfnrtu")) {
                s->what = "a backslash that begins no escape; write \\\\ for a backslash";
                return;
            }
        }
        s->at++;
    }
    if (s->at >= s->bytes) {
        s->at = opening;
        s->what = "a string that never ends; its closing quote is missing";
        return;
    }
    s->at++;
}

static void read_number(scan *s) {
    size_t from = s->at;
    s->at += look(s) == '-';
    size_t digits = s->at;
    while (one_of(look(s), "0123456789"))
        s->at++;
    bool good = s->at > digits && (s->text[digits] != '0' || s->at == digits + 1);
    if (look(s) == '.') {
        size_t point = s->at++;
        while (one_of(look(s), "0123456789"))
            s->at++;
        good = good && s->at > point + 1;
    }
    if (one_of(look(s), "eE")) {
        s->at++;
        s->at += one_of(look(s), "+-");
        good = good && one_of(look(s), "0123456789");
        while (one_of(look(s), "0123456789"))
            s->at++;
    }
    if (good && !one_of(look(s), "xX_") && !(look(s) >= 'a' && look(s) <= 'z'))
        return;
    s->at = from;
    s->what = "no JSON number; write it in decimal, without +, leading zeros or _, with digits on both sides of the point";
}

/* What stands where a value is due. */
static const char *no_value(const scan *s) {
    static const char *const word[] = {"NaN", "nan", "Infinity", "-Infinity", "inf"};
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++) {
        if (begins(s, word[i]))
            return "NaN and Infinity are no JSON numbers";
    }
    if (begins(s, "True") || begins(s, "False") || begins(s, "None") || begins(s, "TRUE") || begins(s, "FALSE") || begins(s, "NULL"))
        return "true, false and null are written in small letters";
    char c = look(s);
    if (s->at >= s->bytes)
        return "it ends here, before it is complete";
    if (c == '\'')
        return "strings stand in double quotes";
    if (c == '/' || c == '#')
        return "JSON has no comments; use a member whose name begins with x-";
    if (c == ',' || c == '}' || c == ']')
        return s->depth > 0 && s->at > 0 ? "a value is missing here, or the comma before is one too many" : "a value is missing here";
    return "expected a value: an object, an array, a string in double quotes, a number, true, false or null";
}

static void open_container(scan *s, char closing) {
    if (s->depth == HONE_LIMIT_JSON_DEPTH) {
        s->too_deep = true;
        return;
    }
    s->open[s->depth++] = closing;
    s->at++;
}

static void read_value(scan *s) {
    char c = look(s);
    if (c == '"')
        read_string(s);
    else if (c == '{' || c == '[')
        open_container(s, c == '{' ? '}' : ']');
    else if (one_of(c, "0123456789+.") || (c == '-' && !begins(s, "-Infinity")))
        read_number(s);
    else if (begins(s, "true") || begins(s, "null"))
        s->at += 4;
    else if (begins(s, "false"))
        s->at += 5;
    else
        s->what = no_value(s);
}

/* Name and colon of a member. */
static void read_name(scan *s, bool after_comma) {
    char c = look(s);
    if (c == '"') {
        read_string(s);
        if (s->what != NULL)
            return;
        skip_blanks(s);
        if (look(s) != ':')
            s->what = "a ':' is missing between a member's name and its value";
        else
            s->at++;
        return;
    }
    if (s->at >= s->bytes)
        s->what = "it ends here, before it is complete";
    else if (c == '}' && after_comma)
        s->what = "the comma before this '}' is one too many";
    else if (c == '/' || c == '#')
        s->what = "JSON has no comments; use a member whose name begins with x-";
    else
        s->what = "expected a member's name in double quotes";
}

/* After a value: what closes or goes on.  True when another value (or member) is due. */
static bool read_after(scan *s) {
    while (s->depth > 0) {
        skip_blanks(s);
        char c = look(s);
        if (c == s->open[s->depth - 1]) {
            s->depth--;
            s->at++;
            continue;
        }
        if (c == ',') {
            s->at++;
            return true;
        }
        if (s->at >= s->bytes)
            s->what = "it ends here, before it is complete: a closing bracket is missing";
        else if (c == '}' || c == ']')
            s->what = c == '}' ? "this '}' closes an array; its ']' is missing" : "this ']' closes an object; its '}' is missing";
        else if (c == '/' || c == '#')
            s->what = "JSON has no comments; use a member whose name begins with x-";
        else
            s->what = "a comma is missing before this";
        return false;
    }
    return false;
}

static void find(scan *s) {
    skip_blanks(s);
    bool due = true, after_comma = false;
    while (due && s->what == NULL && !s->too_deep) {
        skip_blanks(s);
        bool empty = !after_comma && s->depth > 0 && look(s) == s->open[s->depth - 1];
        if (!empty && s->depth > 0 && s->open[s->depth - 1] == '}') {
            read_name(s, after_comma);
            skip_blanks(s);
        }
        uint32_t depth = s->depth;
        if (!empty && s->what == NULL)
            read_value(s);
        if (s->what != NULL || s->too_deep)
            return;
        after_comma = s->depth == depth; /* else a container was opened, and may be empty */
        due = s->depth > depth || read_after(s);
    }
}

void hone__json_mistake(char out[HONE_JSON_MISTAKE_BYTES], const char *text, size_t bytes, size_t fallback) {
    scan s = {.text = text, .bytes = bytes};
    find(&s);
    size_t at = s.what != NULL ? s.at : fallback < bytes ? fallback : bytes;
    uint32_t line = 1;
    size_t line_begin = 0;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            line++;
            line_begin = i + 1;
        }
    }
    (void)snprintf(out, HONE_JSON_MISTAKE_BYTES, "line %u, column %zu%s%s", line, at - line_begin + 1, s.what != NULL ? ": " : "",
                   s.what != NULL ? s.what : "");
}
