/* kernel_macros.c: the macros that a c or cuda source sees (spec/kernel.md section 6) must not break it before it begins. */
#include "spec_read.h"

#include <string.h>

static const char *const keywords[] = {
    "auto", "break", "case", "char", "const", "continue", "default", "defined", "do", "double", "else", "enum", "extern", "float", "for",
    "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch",
    "typedef", "union", "unsigned", "void", "volatile", "while", "bool", "class", "namespace", "new", "delete", "operator", "private",
    "protected", "public", "template", "this", "typename", "using", "virtual"};

typedef struct macros {
    const hone__reader *reader;
    hone__buf names; /* "NAME=" one after the other, each behind a space */
    hone_status status;
} macros;

static bool is_keyword(const char *name) {
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        if (strcmp(name, keywords[i]) == 0)
            return true;
    }
    return false;
}

/* "L_2" and "L_LEN" belong to parameter L; a scalar's macro to itself. */
static const char *param_of(const hone__space *space, const char *macro, size_t length) {
    const char *best = NULL;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const char *name = space->param[i].name;
        size_t name_length = strlen(name);
        bool list = space->param[i].kind == HONE_KIND_LIST || space->param[i].kind == HONE_KIND_PERMUTATION;
        bool fits = list ? name_length < length && macro[name_length] == '_' : name_length == length;
        if (fits && strncmp(name, macro, name_length) == 0)
            best = name;
    }
    return best != NULL ? best : "";
}

static void see_macro(void *user, const char *definition) {
    macros *all = user;
    if (all->status != HONE_OK)
        return;
    const hone_kernel *kernel = all->reader->kernel;
    size_t length = strcspn(definition, "=");
    char name[HONE_LIMIT_NAME_BYTES * 2];
    if (length + 3 > sizeof name)
        return;
    name[0] = ' ';
    memcpy(name + 1, definition, length);
    memcpy(name + 1 + length, "=", 2);
    hone__where at = hone__where_member(NULL, "params");
    at = hone__where_member(&at, param_of(kernel->space, definition, length));
    bool twice = all->names.length > 0 && strstr(all->names.data, name) != NULL;
    hone__buf_text(&all->names, name);
    name[1 + length] = '\0';
    if (twice)
        all->status = hone__mistake(all->reader, &at, "two parameters give the macro %s; rename one of them", name + 1);
    else if (strcmp(name + 1, kernel->entry) == 0)
        all->status = hone__mistake(all->reader, &at, "the macro %s would replace the entry's name; rename the parameter", name + 1);
    else if (is_keyword(name + 1))
        all->status = hone__mistake(all->reader, &at, "the macro %s would replace a word of the language; rename the parameter", name + 1);
}

hone_status hone__check_macros(const hone__reader *reader) {
    const hone_kernel *kernel = reader->kernel;
    if (kernel->language == HONE_LANGUAGE_EXTERNAL)
        return HONE_OK;
    if (is_keyword(kernel->entry)) {
        hone__where at = hone__where_member(NULL, "entry");
        return hone__mistake(reader, &at, "%s is a word of the language, not a function", kernel->entry);
    }
    macros all = {.reader = reader, .status = HONE_OK};
    hone__buf_init(&all.names, HONE_LIMIT_SLOTS * (size_t)HONE_LIMIT_NAME_BYTES * 4);
    hone__config_macros(kernel->space, &kernel->space->base, see_macro, &all);
    hone_status status = all.status;
    if (status == HONE_OK && all.names.status != HONE_OK)
        status = hone__mistake_nomem(reader);
    hone__buf_free(&all.names);
    return status;
}
