/* opt.c: reads a command line by the table in commands.c; every refusal says what was wrong and what would be right. */
#include "opt.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__attribute__((format(printf, 2, 0))) static void refuse_list(const invocation *in, const char *format, va_list args) {
    fprintf(stderr, "hone %s: ", in->command->name);
    (void)vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    help_usage_line(stderr, in->command);
    fprintf(stderr, "Try `hone %s --help`.\n", in->command->name);
}

__attribute__((format(printf, 2, 3))) static bool refuse(const invocation *in, const char *format, ...) {
    va_list args;
    va_start(args, format);
    refuse_list(in, format, args);
    va_end(args);
    return false;
}

int usage_error(const invocation *in, const char *format, ...) {
    va_list args;
    va_start(args, format);
    refuse_list(in, format, args);
    va_end(args);
    return EXIT_CODE_USAGE;
}

/* A word from the command line, safe to print: control bytes become '?', and long ones are cut. */
static const char *shown(const char *word, char *room, size_t bytes) {
    size_t n = 0;
    for (; word[n] != '\0' && n + 4 < bytes; n++)
        room[n] = (unsigned char)word[n] < 0x20 || word[n] == 0x7f ? '?' : word[n];
    if (word[n] != '\0') {
        memcpy(room + n, "...", 3);
        n += 3;
    }
    room[n] = '\0';
    return room;
}

size_t word_distance(const char *a, const char *b) {
    enum { LONGEST = 63 };
    size_t la = strlen(a), lb = strlen(b);
    if (la > LONGEST || lb > LONGEST)
        return SIZE_MAX;
    size_t row[3][LONGEST + 1];
    size_t *before = row[0], *last = row[1], *now = row[2];
    memset(row, 0, sizeof row);
    for (size_t j = 0; j <= lb; j++)
        last[j] = j;
    for (size_t i = 1; i <= la; i++) {
        now[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[lb];
}

/* Near enough to be a slip: a third of the word, at least one letter; a beginning of at least three letters counts too. */
static bool is_slip(const char *typed, const char *name, size_t *distance) {
    size_t length = strlen(typed);
    *distance = word_distance(typed, name);
    if (length >= 3 && strncmp(typed, name, length) == 0 && *distance > 1)
        *distance = 1;
    size_t most = length / 3 > 1 ? length / 3 : 1;
    return *distance <= most;
}

const char *command_suggest(const char *word) {
    const char *best = NULL;
    size_t best_distance = SIZE_MAX, distance = 0;
    for (size_t i = 0; i < command_count; i++) {
        if (!command_table[i].hidden && is_slip(word, command_table[i].name, &distance) && distance < best_distance) {
            best = command_table[i].name;
            best_distance = distance;
        }
    }
    return best;
}

static const char *option_suggest(const command *cmd, const char *word) {
    const char *best = NULL;
    size_t best_distance = SIZE_MAX, distance = 0;
    for (int id = 0; id < OPT_COUNT; id++) {
        if (command_takes(cmd, (option_id)id) && is_slip(word, option_table[id].name, &distance) && distance < best_distance) {
            best = option_table[id].name;
            best_distance = distance;
        }
    }
    return best;
}

static bool unknown_option(const invocation *in, const char *name) {
    char room[64];
    shown(name, room, sizeof room);
    for (int id = 0; id < OPT_COUNT; id++) {
        if (strcmp(option_table[id].name, name) == 0)
            return refuse(in, "option --%s does not apply to `hone %s`", name, in->command->name);
    }
    const char *near = option_suggest(in->command, name);
    if (near != NULL)
        return refuse(in, "no option --%s; did you mean --%s?", room, near);
    return refuse(in, "no option --%s", room);
}

bool choice_in(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (const char *at = choices; length > 0 && at != NULL;) {
        const char *end = strchr(at, '|');
        size_t this_length = end != NULL ? (size_t)(end - at) : strlen(at);
        if (this_length == length && memcmp(at, word, length) == 0)
            return true;
        at = end != NULL ? end + 1 : NULL;
    }
    return false;
}

/* Decimal digits only: strtoull would take blanks, signs and octal-looking text. */
static bool read_whole(const char *text, uint64_t *value) {
    uint64_t sum = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        if (__builtin_mul_overflow(sum, UINT64_C(10), &sum) || __builtin_add_overflow(sum, (uint64_t)(*text - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}

/* Digits with at most one point; no signs, exponents, hexadecimal, "inf" or "nan", and no locale (the command never sets one). */
static bool read_decimal(const char *text, double *value) {
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    if (*rest == '.') {
        size_t more = strspn(rest + 1, "0123456789");
        digits += more;
        rest += 1 + more;
    }
    if (*rest != '\0' || digits == 0 || strlen(text) > 32)
        return false;
    *value = strtod(text, NULL);
    return isfinite(*value);
}

static bool read_size(const invocation *in, const char *text, size_setting *out) {
    char room[64];
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : 0;
    if (length == 0)
        return refuse(in, "--set takes NAME=VALUE, e.g. --set M=4096; got \"%s\"", shown(text, room, sizeof room));
    if (length >= sizeof out->name)
        return refuse(in, "--set: no size has a name as long as \"%s\"", shown(text, room, sizeof room));
    memcpy(out->name, text, length);
    out->name[length] = '\0';
    bool negative = equals[1] == '-';
    uint64_t magnitude = 0;
    if (!read_whole(equals + 1 + negative, &magnitude) || magnitude > UINT64_C(9007199254740992))
        return refuse(in, "--set %s: the value must be a whole number within +-2^53", shown(text, room, sizeof room));
    out->value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

static bool store_size(invocation *in, const char *text) {
    size_setting one;
    if (!read_size(in, text, &one))
        return false;
    for (size_t i = 0; i < in->settings.set_count; i++) {
        if (strcmp(in->settings.set[i].name, one.name) == 0) {
            in->settings.set[i] = one;
            return true;
        }
    }
    if (in->settings.set_count == SET_MAX)
        return refuse(in, "--set: more than %d sizes", SET_MAX);
    in->settings.set[in->settings.set_count++] = one;
    return true;
}

/* "90d", "12h", "3600s": a whole number and its unit. */
static bool read_age(const char *text, uint64_t *seconds) {
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}, {'y', 366 * 86400}};
    char digits[16];
    size_t length = strlen(text);
    if (length < 2 || length > sizeof digits)
        return false;
    memcpy(digits, text, length - 1);
    digits[length - 1] = '\0';
    if (!read_whole(digits, seconds) || *seconds > UINT64_C(1000000000000))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].unit == text[length - 1]) {
            *seconds *= units[i].seconds;
            return *seconds <= UINT64_C(1000000000000);
        }
    }
    return false;
}

static bool read_digits(const char *text, size_t count, int *value) {
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

/* Midnight UTC at the beginning of a day. */
static bool read_date(const char *text, int64_t *unix_s) {
    static const int before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int year, month, day;
    if (strlen(text) != 10 || text[4] != '-' || text[7] != '-')
        return false;
    if (!read_digits(text, 4, &year) || !read_digits(text + 5, 2, &month) || !read_digits(text + 8, 2, &day))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12)
        return false;
    int days = before_month[month] - before_month[month - 1] + (leap && month == 2);
    if (day < 1 || day > days)
        return false;
    int64_t leap_days = (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477; /* 477 before 1970 */
    *unix_s = (365 * (int64_t)(year - 1970) + leap_days + before_month[month - 1] + (leap && month > 2) + day - 1) * 86400;
    return true;
}

/* An age is counted back from now.  0 would mean "not given", so the first second of 1970 stands for everything before it. */
static bool read_moment(const char *text, int64_t *unix_s) {
    uint64_t seconds;
    if (read_age(text, &seconds))
        *unix_s = (int64_t)time(NULL) - (int64_t)seconds;
    else if (!read_date(text, unix_s))
        return false;
    if (*unix_s < 1)
        *unix_s = 1;
    return true;
}

static bool store(invocation *in, const option_spec *spec, const char *text) {
    char room[64];
    void *field = (char *)&in->settings + spec->offset;
    switch (spec->kind) {
    case VALUE_NONE:
        *(bool *)field = true;
        return true;
    case VALUE_SIZE:
        return store_size(in, text);
    case VALUE_WHOLE:
        if (!read_whole(text, (uint64_t *)field) || *(uint64_t *)field < spec->min || *(uint64_t *)field > spec->max)
            return refuse(in, "--%s takes a whole number from %llu to %llu; got \"%s\"", spec->name, (unsigned long long)spec->min,
                          (unsigned long long)spec->max, shown(text, room, sizeof room));
        return true;
    case VALUE_FILES: {
        file_list *list = field;
        if (*text == '\0' || list->count == FILES_MAX)
            return refuse(in, "--%s takes the name of a file, at most %d times", spec->name, FILES_MAX);
        list->path[list->count++] = text;
        return true;
    }
    case VALUE_FRACTION:
        if (!read_decimal(text, (double *)field) || *(double *)field > 1)
            return refuse(in, "--%s takes a number from 0 to 1, e.g. 0.03; got \"%s\"", spec->name, shown(text, room, sizeof room));
        return true;
    case VALUE_SECONDS:
        if (!read_decimal(text, (double *)field) || *(double *)field <= 0 || *(double *)field > 1e7)
            return refuse(in, "--%s takes seconds above 0 and at most 10000000, e.g. 90 or 2.5; got \"%s\"", spec->name,
                          shown(text, room, sizeof room));
        return true;
    case VALUE_NUMBER:
        if (!read_decimal(text, (double *)field) || *(double *)field <= 0)
            return refuse(in, "--%s takes a number above 0, e.g. 1.5; got \"%s\"", spec->name, shown(text, room, sizeof room));
        return true;
    case VALUE_AGE:
        if (!read_age(text, (uint64_t *)field) || *(uint64_t *)field == 0)
            return refuse(in, "--%s takes a time such as 90d, 12h or 30m; got \"%s\"", spec->name, shown(text, room, sizeof room));
        return true;
    case VALUE_MOMENT:
        if (!read_moment(text, (int64_t *)field))
            return refuse(in, "--%s takes a time such as 90d or 12h, or a date YYYY-MM-DD; got \"%s\"", spec->name, shown(text, room, sizeof room));
        return true;
    case VALUE_CHOICE:
        if (!choice_in(spec->choices, text))
            return refuse(in, "--%s takes one of %s; got \"%s\"", spec->name, spec->choices, shown(text, room, sizeof room));
        break;
    case VALUE_TEXT:
    case VALUE_FILE:
    case VALUE_FOLDER:
    case VALUE_COMMAND:
        if (*text == '\0')
            return refuse(in, "--%s needs a value that is not empty", spec->name);
        break;
    }
    *(const char **)field = text;
    return true;
}

/* One long option; *used: it took the next word as its value. */
static bool take_long(invocation *in, const char *word, const char *next, bool *used) {
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    *used = false;
    for (int id = 0; id < OPT_COUNT; id++) {
        const option_spec *spec = &option_table[id];
        if (strlen(spec->name) != length || memcmp(spec->name, word, length) != 0 || !command_takes(in->command, (option_id)id))
            continue;
        if (spec->kind == VALUE_NONE)
            return equals == NULL ? store(in, spec, NULL) : refuse(in, "--%s takes no value", spec->name);
        if (equals != NULL)
            return store(in, spec, equals + 1);
        if (next == NULL)
            return refuse(in, "--%s needs a value: --%s %s", spec->name, spec->name, spec->metavar);
        *used = true;
        return store(in, spec, next);
    }
    char name[64];
    if (length >= sizeof name)
        length = sizeof name - 1;
    memcpy(name, word, length);
    name[length] = '\0';
    return unknown_option(in, name);
}

/* A cluster of letters; the last one may take a value, joined or as the next word. */
static bool take_letters(invocation *in, const char *letters, const char *next, bool *used) {
    *used = false;
    for (; *letters != '\0'; letters++) {
        const option_spec *spec = NULL;
        for (int id = 0; id < OPT_COUNT && spec == NULL; id++) {
            if (option_table[id].letter == *letters && command_takes(in->command, (option_id)id))
                spec = &option_table[id];
        }
        if (spec == NULL) {
            bool plain = *letters > 0x20 && *letters < 0x7f;
            return refuse(in, "no option -%c", plain ? *letters : '?');
        }
        if (spec->kind == VALUE_NONE) {
            if (!store(in, spec, NULL))
                return false;
            continue;
        }
        if (letters[1] != '\0')
            return store(in, spec, letters + 1);
        if (next == NULL)
            return refuse(in, "-%c needs a value: -%c %s", spec->letter, spec->letter, spec->metavar);
        *used = true;
        return store(in, spec, next);
    }
    return true;
}

bool options_parse(invocation *in, int argc, char **argv) {
    /* Operands are moved to the front of argv, over words that have been read. */
    int kept = 0;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool used = false;
        if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[kept++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (argv[i][1] == '-') {
            if (!take_long(in, argv[i] + 2, next, &used))
                return false;
        } else if (!take_letters(in, argv[i] + 1, next, &used)) {
            return false;
        }
        i += used;
    }
    in->operand = (const char *const *)argv;
    in->operand_count = (size_t)kept;
    if (in->settings.help)
        return true;
    if (in->operand_count < in->command->operands_min)
        return refuse(in, "%.*s is missing", (int)strcspn(in->command->operands, " "), in->command->operands);
    if (in->operand_count > in->command->operands_max) {
        char room[64];
        return refuse(in, "\"%s\" is one argument too many", shown(in->operand[in->command->operands_max], room, sizeof room));
    }
    for (size_t i = 0; i < in->operand_count; i++) {
        if (in->operand[i][0] == '\0')
            return refuse(in, "%s must not be empty", in->command->operands);
    }
    if (in->settings.quiet && in->settings.verbose)
        return refuse(in, "--quiet and --verbose exclude each other");
    return true;
}
