/* render.h: values as people read them: times, tables, colours; JSON of the library as aligned text.
 * Whatever comes out of a cache, a spec or an evaluator is untrusted: control characters never reach a terminal. */
#ifndef CACHETOOL_RENDER_H
#define CACHETOOL_RENDER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD, STYLE_COUNT } style;
/* The escape sequence that begins a style on this stream; "" when it is no terminal, or NO_COLOR or TERM=dumb says so. */
const char *style_on(FILE *to, style which);
/* The sequence that ends it; "" likewise. */
const char *style_off(FILE *to);
bool is_terminal(FILE *to);
/* A terminal that understands escape sequences: TERM is set and not "dumb". */
bool takes_escapes(FILE *to);

/* Text without control characters, bidirectional overrides and broken UTF-8; at most `columns` characters (0: all), cut with "...". */
void put_safe(FILE *to, const char *text, size_t columns);
/* The library's JSON and a newline, byte for byte; on a terminal without raw control characters. */
void put_json(const char *json);
/* Text that may have many lines: newlines and tabs stay, other control characters go when `to` is a terminal. */
void put_text(FILE *to, const char *text);

enum { SHORT_TEXT = 48 };
/* "4.12 ms", "812 us", "1.30 s"; "-" for values that are not above 0. */
void format_ms(char text[SHORT_TEXT], double ms);
/* A fraction as "3.2 %", "87 %", "110 %"; "-" when it is not above 0. */
void format_noise(char text[SHORT_TEXT], double fraction);
/* "12.3 s", "4 min 10 s", "3 h 2 min", "5 days". */
void format_seconds(char text[SHORT_TEXT], double seconds);
/* "12,345" */
void format_count(char text[SHORT_TEXT], double count);
void format_bytes(char text[SHORT_TEXT], double bytes);

/* {"M":1024,"N":64} as "M=1024 N=64". */
void format_sizes(char *text, size_t bytes, const cJSON *sizes);

/* Members of an object by path ("best.time_ms"); NULL, fallback when absent or of another type. */
const cJSON *json_at(const cJSON *object, const char *path);
double json_number_at(const cJSON *object, const char *path, double fallback);
const char *json_string_at(const cJSON *object, const char *path);

/* An object as aligned lines "name  value", nested ones indented; names that end in _ms, _ns, _s, _bytes, unix_s are shown with their unit.
 * `skip`: names of the outermost members to leave out, separated by '|'; NULL: none. */
void render_object(FILE *to, const cJSON *object, int indent, const char *skip);
/* One value on one line, as render_object shows it. */
void render_value(FILE *to, const char *name, const cJSON *value);
void render_title(FILE *to, const char *title);

/* A table whose columns are as wide as their widest cell.  Cells are copied; failing memory shows as a missing row. */
typedef struct table {
    size_t columns, rows, room;
    char **cell;
} table;
enum { TABLE_COLUMNS_MAX = 12 };
void table_begin(table *t, size_t columns);
void table_row(table *t, const char *const *cells);
/* `right`: bits of columns that are set flush right.  The first row is the heading.  Frees the table. */
void table_end(table *t, FILE *to, uint32_t right);
/* Free the table without printing it. */
void table_drop(table *t);

#endif
