/* json_text.c: JSON that is kept as text.  Nearly all of it was printed by hone__json_print and goes out again as it is; a scan finds that out
 * many times faster than a tree does. */
#include "json.h"
#include "alloc.h"
#include "limit.h"

#include <string.h>

typedef enum verdict {
    IS_PRINTED,
    IS_NOT,
    IS_UNKNOWN /* for a tree to tell */
} verdict;

enum { NAMES_MAX = 64, DIGITS_MAX = 15 /* 2^53 has more */ };

/* Each of these reads what begins at *at, which is behind it afterwards. */

static verdict scan_string(const char **at) {
    const char *c = *at + 1;
    for (; *c != '"'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return IS_NOT; /* the end of the text, too */
        if (*c != '\\')
            continue;
        c++;
        if (*c == 'u')
            return IS_UNKNOWN;
        if (*c == '\0' || strchr("\"\\nrt", *c) == NULL)
            return IS_NOT;
    }
    *at = c + 1;
    return IS_PRINTED;
}

static verdict scan_number(const char **at) {
    const char *first = **at == '-' ? *at + 1 : *at;
    size_t digits = strspn(first, "0123456789");
    char next = first[digits];
    if (digits == 0 || (*first == '0' && digits > 1))
        return IS_NOT;
    if (digits > DIGITS_MAX || next == '.' || next == 'e' || next == 'E')
        return IS_UNKNOWN;
    if (*first == '0' && first > *at)
        return IS_NOT; /* -0 is printed as 0 */
    *at = first + digits;
    return IS_PRINTED;
}

static verdict scan_value(const char **at, int depth);

static verdict scan_list(const char **at, char end, int depth) {
    const char *name[NAMES_MAX];
    size_t length[NAMES_MAX];
    unsigned count = 0;
    if (depth == 0)
        return IS_NOT;
    if ((*at)[1] == end) {
        *at += 2;
        return IS_PRINTED;
    }
    do {
        (*at)++;
        if (end == '}') {
            if (count == NAMES_MAX)
                return IS_UNKNOWN;
            name[count] = *at;
            verdict found = **at == '"' ? scan_string(at) : IS_NOT;
            if (found != IS_PRINTED || *(*at)++ != ':')
                return found == IS_UNKNOWN ? IS_UNKNOWN : IS_NOT;
            length[count] = (size_t)(*at - name[count]);
            for (unsigned i = 0; i < count; i++) {
                if (length[i] == length[count] && memcmp(name[i], name[count], length[i]) == 0)
                    return IS_NOT;
            }
            count++;
        }
        verdict found = scan_value(at, depth - 1);
        if (found != IS_PRINTED)
            return found;
    } while (**at == ',');
    return *(*at)++ == end ? IS_PRINTED : IS_NOT;
}

static verdict scan_word(const char **at, const char *word) {
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0)
        return IS_NOT;
    *at += length;
    return IS_PRINTED;
}

static verdict scan_value(const char **at, int depth) {
    switch (**at) {
    case '{':
        return scan_list(at, '}', depth);
    case '[':
        return scan_list(at, ']', depth);
    case '"':
        return scan_string(at);
    case 't':
        return scan_word(at, "true");
    case 'f':
        return scan_word(at, "false");
    case 'n':
        return scan_word(at, "null");
    default:
        return scan_number(at);
    }
}

bool hone__json_is_printed(const char *text) {
    const char *at = text;
    verdict found = scan_value(&at, HONE_LIMIT_JSON_DEPTH);
    if (found != IS_UNKNOWN)
        return found == IS_PRINTED && *at == '\0';
    cJSON *json = NULL;
    char *again = NULL;
    if (hone__json_parse(&json, text, strlen(text), "text", NULL) == HONE_OK)
        again = hone__json_text(json);
    bool same = again != NULL && strcmp(again, text) == 0;
    hone__free(again);
    cJSON_Delete(json);
    return same;
}

void hone__json_print_text(hone__buf *buf, const char *text) {
    cJSON *json = NULL;
    if (text == NULL || text[0] == '\0')
        hone__buf_text(buf, "null");
    else if (hone__json_is_printed(text))
        hone__buf_text(buf, text);
    else if (hone__json_parse(&json, text, strlen(text), "text", NULL) == HONE_OK)
        hone__json_print(buf, json);
    else
        hone__buf_json_string(buf, text);
    cJSON_Delete(json);
}
