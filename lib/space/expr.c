/* expr.c: the expressions of spec/kernel.md section 5.  A recursive-descent parser of bounded depth emits postfix code with
 * jumps; evaluation is one loop over that code with a stack whose bound is known when parsing ends. */
#include "expr_private.h"
#include "alloc.h"
#include "names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct parser {
    const char *text;
    size_t at;
    const hone__symbols *symbols;
    hone__expr *expr;
    uint32_t capacity;
    uint32_t depth;
    uint32_t stack, stack_max;
    uint32_t literal_count;
    uint16_t literal[HONE_LIMIT_EXPR_BYTES / 2]; /* offsets of string literals that no value has */
    hone_status status;
    hone_error *err;
} parser;

/* ---- parsing: helpers ---- */

__attribute__((format(printf, 3, 4))) static bool refuse(parser *p, size_t at, const char *format, ...) {
    if (p->status != HONE_OK)
        return false;
    char detail[440];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    p->status = hone__fail(p->err, HONE_E_EXPR, "expr", "at byte %zu: %s", at, detail);
    return false;
}

static bool emit(parser *p, opcode op, uint32_t operand, int64_t constant, int effect) {
    hone__expr *expr = p->expr;
    if (expr->code_count == p->capacity) {
        uint32_t capacity = p->capacity < 8 ? 16 : p->capacity * 2;
        instruction *code = hone__realloc(expr->code, capacity * sizeof *code);
        if (code == NULL) {
            p->status = hone__fail(p->err, HONE_E_NOMEM, "expr", "out of memory");
            return false;
        }
        expr->code = code;
        p->capacity = capacity;
    }
    expr->code[expr->code_count++] = (instruction){op, operand, constant};
    p->stack = (uint32_t)((int)p->stack + effect);
    if (p->stack > p->stack_max)
        p->stack_max = p->stack;
    return true;
}

static void skip_space(parser *p) {
    while (p->text[p->at] == ' ' || p->text[p->at] == '\t' || p->text[p->at] == '\n' || p->text[p->at] == '\r')
        p->at++;
}

static char peek(parser *p) {
    skip_space(p);
    return p->text[p->at];
}

static bool accept(parser *p, char c) {
    if (peek(p) != c)
        return false;
    p->at++;
    return true;
}

static bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(char c) {
    return is_name_start(c) || is_digit(c);
}

/* "end of the expression" or the text there, for messages. */
static const char *found(parser *p, char text[16]) {
    char c = peek(p);
    if (c == '\0')
        return "the end";
    if (c < 0x20 || c > 0x7e)
        return "a character that is not ASCII";
    int bytes = 1;
    const char *text_here = p->text + p->at;
    while (bytes < 12 && is_word(c) && is_word(text_here[bytes]))
        bytes++;
    (void)snprintf(text, 16, "'%.*s'", bytes, text_here);
    return text;
}

static bool expect(parser *p, char c, const char *where) {
    char text[16];
    if (accept(p, c))
        return true;
    return refuse(p, p->at, "expected '%c' %s, found %s", c, where, found(p, text));
}

static bool need_int(parser *p, size_t at, hone__symbol_type type, const char *what) {
    if (type == HONE_SYMBOL_INT)
        return true;
    return refuse(p, at, "%s needs integers, but this is a string; strings can only be compared with == and !=", what);
}

static bool enter(parser *p) {
    if (++p->depth > HONE_LIMIT_EXPR_DEPTH)
        return refuse(p, p->at, "nested deeper than %u levels; split the expression", HONE_LIMIT_EXPR_DEPTH);
    return true;
}

/* ---- parsing: primaries ---- */

static bool parse_ternary(parser *p, hone__symbol_type *type);

static bool parse_number(parser *p) {
    size_t start = p->at;
    int64_t value = 0;
    for (; is_digit(p->text[p->at]); p->at++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, p->text[p->at] - '0', &value))
            return refuse(p, start, "the integer does not fit into 64 bits");
    }
    if (p->text[start] == '0' && p->at > start + 1)
        return refuse(p, start, "integers are decimal; write it without the leading zero");
    char next = p->text[p->at];
    if (next == '.')
        return refuse(p, start, "only integers are allowed, not fractions");
    if (is_name_start(next))
        return refuse(p, p->at, "'%c' cannot follow an integer; put an operator between them", next);
    return emit(p, OP_CONST, 0, value, 1);
}

/* A literal that no parameter has still differs from other such literals. */
static int64_t foreign_literal(parser *p, size_t start, size_t bytes) {
    for (uint32_t i = 0; i < p->literal_count; i++) {
        const char *other = p->text + p->literal[i];
        if (memcmp(other, p->text + start, bytes) == 0 && (other[bytes] == '"' || other[bytes] == '\'') &&
            other[bytes] == other[-1])
            return -2 - (int64_t)p->literal[i];
    }
    p->literal[p->literal_count++] = (uint16_t)start;
    return -2 - (int64_t)start;
}

static bool parse_string(parser *p) {
    size_t open = p->at;
    char quote = p->text[p->at++];
    size_t start = p->at;
    while (p->text[p->at] != quote) {
        if (p->text[p->at] == '\0')
            return refuse(p, open, "the string that begins here has no closing %c", quote);
        p->at++;
    }
    size_t bytes = p->at - start;
    p->at++;
    int64_t id = p->symbols->string_id == NULL ? -1 : p->symbols->string_id(p->symbols->user, p->text + start, bytes);
    if (id < 0)
        id = foreign_literal(p, start, bytes);
    return emit(p, OP_CONST, 0, id, 1);
}

static void mark_read(hone__expr *expr, uint32_t index) {
    expr->reads[index / 64] |= (uint64_t)1 << (index % 64);
}

static bool parse_element(parser *p, const hone__symbol *symbol, size_t start) {
    if (peek(p) != '[')
        return refuse(p, start, "%s is a list: write %s[0] to %s[%u] for its elements", symbol->name, symbol->name, symbol->name,
                      symbol->length - 1);
    p->at++;
    uint32_t first_code = p->expr->code_count;
    size_t at = p->at;
    hone__symbol_type type;
    if (!enter(p) || !parse_ternary(p, &type) || !need_int(p, at, type, "an index") || !expect(p, ']', "after the index"))
        return false;
    p->depth--;
    const instruction *last = &p->expr->code[p->expr->code_count - 1];
    if (p->expr->code_count == first_code + 1 && last->op == OP_CONST) {
        int64_t index = last->constant;
        if (index >= symbol->length)
            return refuse(p, at, "index %lld is outside %s, which has the elements 0 to %u", (long long)index, symbol->name,
                          symbol->length - 1);
        p->expr->code_count--;
        p->stack--;
        mark_read(p->expr, symbol->first + (uint32_t)index);
        return emit(p, OP_LOAD, symbol->first + (uint32_t)index, 0, 1);
    }
    for (uint32_t i = 0; i < symbol->length; i++)
        mark_read(p->expr, symbol->first + i);
    return emit(p, OP_INDEX, symbol->first, symbol->length, 0);
}

static bool unknown_name(parser *p, size_t start, const char *name) {
    const hone__symbols *symbols = p->symbols;
    hone__text text = {0, ""};
    if (strcmp(name, "not") == 0)
        return refuse(p, start, "'not' is no operator; write !");
    hone__say(&text, "unknown name '%s'", name);
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < symbols->count; i++) {
        if (hone__name_close(name, symbols->symbol[i].name) &&
            (best == UINT32_MAX || hone__name_distance(name, symbols->symbol[i].name) <
                                       hone__name_distance(name, symbols->symbol[best].name)))
            best = i;
    }
    if (best != UINT32_MAX)
        hone__say(&text, "; did you mean %s?", symbols->symbol[best].name);
    if (best == UINT32_MAX && peek(p) == '(')
        hone__say(&text, "; the functions are min, max, ceil_div, is_pow2 and abs");
    hone__say(&text, symbols->count == 0 ? "; no names are known here" : best != UINT32_MAX ? " Known here:" : "; known here:");
    for (uint32_t i = 0; i < symbols->count; i++) {
        if (text.length > 340) {
            hone__say(&text, " and %u more", symbols->count - i);
            break;
        }
        hone__say(&text, "%s %s", i == 0 ? "" : ",", symbols->symbol[i].name);
    }
    return refuse(p, start, "%s", text.data);
}

typedef struct function {
    const char *name;
    uint32_t count_min, count_max;
    opcode op;
} function;

static const function functions[] = {
    {"min", 1, UINT32_MAX, OP_MIN},  {"max", 1, UINT32_MAX, OP_MAX},   {"ceil_div", 2, 2, OP_CEIL_DIV},
    {"is_pow2", 1, 1, OP_IS_POW2}, {"abs", 1, 1, OP_ABS},
};

static bool parse_call(parser *p, const function *f, size_t start) {
    if (!expect(p, '(', "after the function's name") || !enter(p))
        return false;
    uint32_t count = 0;
    do {
        hone__symbol_type type;
        skip_space(p);
        size_t at = p->at;
        if (!parse_ternary(p, &type) || !need_int(p, at, type, f->name))
            return false;
        count++;
        if (count > 1 && !emit(p, f->op, 0, 0, -1))
            return false;
    } while (accept(p, ','));
    if (!expect(p, ')', "or ',' after an argument"))
        return false;
    p->depth--;
    if (count < f->count_min || count > f->count_max)
        return refuse(p, start, "%s takes %u argument%s, not %u", f->name, f->count_min, f->count_min == 1 ? "" : "s", count);
    return f->count_max != 1 || emit(p, f->op, 0, 0, 0);
}

static bool parse_name(parser *p, hone__symbol_type *type) {
    size_t start = p->at;
    while (is_name_start(p->text[p->at]) || is_digit(p->text[p->at]))
        p->at++;
    size_t bytes = p->at - start;
    char name[HONE_LIMIT_NAME_BYTES + 1];
    if (bytes > HONE_LIMIT_NAME_BYTES)
        return refuse(p, start, "a name has at most %u bytes", HONE_LIMIT_NAME_BYTES);
    memcpy(name, p->text + start, bytes);
    name[bytes] = '\0';
    *type = HONE_SYMBOL_INT;
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0)
        return emit(p, OP_CONST, 0, name[0] == 't', 1);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (strcmp(name, functions[i].name) == 0)
            return parse_call(p, &functions[i], start);
    }
    for (uint32_t i = 0; i < p->symbols->count; i++) {
        const hone__symbol *symbol = &p->symbols->symbol[i];
        if (strcmp(name, symbol->name) != 0)
            continue;
        if (symbol->type == HONE_SYMBOL_NUMBER)
            return refuse(p, start, "%s has values that are not integers, so it cannot be used in an expression", name);
        *type = symbol->type;
        if (symbol->is_list)
            return parse_element(p, symbol, start);
        if (peek(p) == '[')
            return refuse(p, p->at, "%s is a single value, not a list", name);
        mark_read(p->expr, symbol->first);
        return emit(p, OP_LOAD, symbol->first, 0, 1);
    }
    return unknown_name(p, start, name);
}

static bool parse_primary(parser *p, hone__symbol_type *type) {
    char c = peek(p);
    char text[16];
    *type = HONE_SYMBOL_INT;
    if (is_digit(c))
        return parse_number(p);
    if (is_name_start(c))
        return parse_name(p, type);
    if (c == '"' || c == '\'') {
        *type = HONE_SYMBOL_STRING;
        return parse_string(p);
    }
    if (c == '(') {
        p->at++;
        if (!enter(p) || !parse_ternary(p, type) || !expect(p, ')', "to close a parenthesis"))
            return false;
        p->depth--;
        return true;
    }
    if (c == '*' && p->at > 0 && p->text[p->at - 1] == '*')
        return refuse(p, p->at, "there is no operator **; write the product, or 1 << n for a power of two");
    if (c == '/' && p->at > 0 && p->text[p->at - 1] == '/')
        return refuse(p, p->at, "there is no operator //; / gives a whole number, too");
    if (c == '=')
        return refuse(p, p->at, "'=' cannot stand here; the comparisons are == != < <= > >=");
    return refuse(p, p->at, "expected a number, a name, a string or '(', found %s", found(p, text));
}

/* ---- parsing: operators ---- */

static bool parse_unary(parser *p, hone__symbol_type *type) {
    char c = peek(p);
    if (c != '-' && c != '!' && c != '+')
        return parse_primary(p, type);
    size_t at = p->at++;
    if (!enter(p) || !parse_unary(p, type) || !need_int(p, at, *type, "a sign or !"))
        return false;
    p->depth--;
    return c == '+' || emit(p, c == '-' ? OP_NEGATE : OP_NOT, 0, 0, 0);
}

typedef struct operator_text {
    const char *text;
    uint32_t level;
    opcode op;
} operator_text;

/* Longer texts before their prefixes. */
static const operator_text operators[] = {
    {"||", 1, OP_OR},         {"&&", 2, OP_AND},           {"==", 3, OP_EQUAL},     {"!=", 3, OP_DIFFERENT}, {"<=", 3, OP_LESS_EQUAL},
    {">=", 3, OP_GREATER_EQUAL}, {"<<", 4, OP_SHIFT_LEFT}, {">>", 4, OP_SHIFT_RIGHT}, {"<", 3, OP_LESS},       {">", 3, OP_GREATER},
    {"+", 5, OP_ADD},         {"-", 5, OP_SUBTRACT},       {"*", 6, OP_MULTIPLY},   {"/", 6, OP_DIVIDE},     {"%", 6, OP_REMAINDER},
};

static const operator_text *peek_operator(parser *p) {
    (void)peek(p);
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strncmp(p->text + p->at, operators[i].text, strlen(operators[i].text)) == 0)
            return &operators[i];
    }
    return NULL;
}

static bool parse_level(parser *p, uint32_t level, hone__symbol_type *type) {
    if (level > 6)
        return parse_unary(p, type);
    skip_space(p);
    size_t start = p->at;
    if (!parse_level(p, level + 1, type))
        return false;
    for (uint32_t count = 0;; count++) {
        const operator_text *o = peek_operator(p);
        if (o == NULL || o->level != level)
            return true;
        size_t at = p->at;
        if (level == 3 && count > 0)
            return refuse(p, at, "comparisons cannot be chained; write a < b && b < c, or use parentheses");
        p->at += strlen(o->text);
        bool equality = o->op == OP_EQUAL || o->op == OP_DIFFERENT;
        if (!equality && !need_int(p, start, *type, o->text))
            return false;
        uint32_t jump = p->expr->code_count;
        if (level <= 2 && !emit(p, o->op, 0, 0, -1))
            return false;
        hone__symbol_type right;
        if (!parse_level(p, level + 1, &right) || (!equality && !need_int(p, at, right, o->text)))
            return false;
        if (equality && right != *type)
            return refuse(p, at, "%s compares a string with an integer", o->text);
        if (level <= 2) {
            if (!emit(p, OP_BOOL, 0, 0, 0))
                return false;
            p->expr->code[jump].operand = p->expr->code_count;
        } else if (!emit(p, o->op, 0, 0, -1)) {
            return false;
        }
        *type = HONE_SYMBOL_INT;
    }
}

static bool parse_ternary(parser *p, hone__symbol_type *type) {
    skip_space(p);
    size_t at = p->at;
    if (!parse_level(p, 1, type))
        return false;
    if (peek(p) != '?')
        return true;
    if (!need_int(p, at, *type, "a condition") || !enter(p))
        return false;
    p->at++;
    uint32_t jump_else = p->expr->code_count;
    if (!emit(p, OP_JUMP_ZERO, 0, 0, -1))
        return false;
    at = p->at;
    if (!parse_ternary(p, type) || !need_int(p, at, *type, "?:") || !expect(p, ':', "of the condition"))
        return false;
    uint32_t jump_end = p->expr->code_count;
    if (!emit(p, OP_JUMP, 0, 0, -1))
        return false;
    p->expr->code[jump_else].operand = p->expr->code_count;
    at = p->at;
    if (!parse_ternary(p, type) || !need_int(p, at, *type, "?:"))
        return false;
    p->expr->code[jump_end].operand = p->expr->code_count;
    p->depth--;
    return true;
}

static bool parse_all(parser *p) {
    if (!parse_ternary(p, &p->expr->type))
        return false;
    char c = peek(p);
    char text[16];
    if (c == '=')
        return refuse(p, p->at, "'=' is not an operator; compare with ==");
    if (c == '&' || c == '|')
        return refuse(p, p->at, "there are no bitwise operators; write %c%c for the logical one", c, c);
    static const char *const word[][2] = {{"'and'", "&&"}, {"'or'", "||"}, {"'not'", "!"}, {"'mod'", "%"}, {"'div'", "/"}, {"'in'", "x == a || x == b"}};
    const char *here = c != '\0' ? found(p, text) : "";
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++) {
        if (strcmp(here, word[i][0]) == 0)
            return refuse(p, p->at, "%s is no operator; write %s", here, word[i][1]);
    }
    if (c != '\0')
        return refuse(p, p->at, "expected an operator or the end, found %s", here);
    HONE_ASSERT(p->stack == 1 && p->stack_max <= STACK_MAX);
    if (p->stack_max > STACK_MAX)
        return refuse(p, 0, "too complex");
    return emit(p, OP_END, 0, 0, 0);
}

hone_status hone__expr_parse(hone__expr **out, const char *text, const hone__symbols *symbols, hone_error *err) {
    *out = NULL;
    size_t bytes = strlen(text);
    if (bytes > HONE_LIMIT_EXPR_BYTES)
        return hone__fail(err, HONE_E_EXPR, "expr", "an expression has at most %u bytes, this one has %zu", HONE_LIMIT_EXPR_BYTES,
                          bytes);
    hone__expr *expr = hone__alloc(sizeof *expr);
    parser *p = hone__alloc(sizeof *p);
    if (expr != NULL)
        expr->text = hone__strdup(text);
    if (expr == NULL || p == NULL || expr->text == NULL) {
        hone__expr_free(expr);
        hone__free(p);
        return hone__fail(err, HONE_E_NOMEM, "expr", "out of memory");
    }
    p->text = expr->text;
    p->symbols = symbols;
    p->expr = expr;
    p->err = err;
    bool fine = parse_all(p);
    hone_status status = p->status;
    hone__free(p);
    if (!fine) {
        hone__expr_free(expr);
        return status;
    }
    *out = expr;
    return HONE_OK;
}

void hone__expr_free(hone__expr *expr) {
    if (expr == NULL)
        return;
    hone__free(expr->text);
    hone__free(expr->code);
    hone__free(expr);
}

/* ---- evaluation ---- */

static const char *const why_overflow = "overflow of 64 bits";
static const char *const why_zero = "division by zero";
static const char *const why_shift = "shift by less than 0 or more than 63, or of a negative number";
static const char *const why_index = "index outside the list";

static inline const char *shift_left(int64_t a, int64_t b, int64_t *r) {
    if (a < 0 || b < 0 || b > 63)
        return why_shift;
    if (a != 0 && (b > 62 || a > (INT64_MAX >> b)))
        return why_overflow;
    *r = a == 0 ? 0 : a << b;
    return NULL;
}

static inline const char *divide(opcode op, int64_t a, int64_t b, int64_t *r) {
    if (b == 0)
        return why_zero;
    if (a == INT64_MIN && b == -1)
        return why_overflow;
    int64_t quotient = a / b;
    int64_t rest = a % b;
    if (op == OP_REMAINDER)
        *r = rest;
    else if (op == OP_CEIL_DIV && rest != 0 && (rest > 0) == (b > 0))
        *r = quotient + 1;
    else
        *r = quotient;
    return NULL;
}

/* NULL or what is wrong. */
static inline const char *binary(opcode op, int64_t a, int64_t b, int64_t *r) {
    switch (op) {
    case OP_EQUAL:
        *r = a == b;
        return NULL;
    case OP_DIFFERENT:
        *r = a != b;
        return NULL;
    case OP_LESS:
        *r = a < b;
        return NULL;
    case OP_LESS_EQUAL:
        *r = a <= b;
        return NULL;
    case OP_GREATER:
        *r = a > b;
        return NULL;
    case OP_GREATER_EQUAL:
        *r = a >= b;
        return NULL;
    case OP_ADD:
        return __builtin_add_overflow(a, b, r) ? why_overflow : NULL;
    case OP_SUBTRACT:
        return __builtin_sub_overflow(a, b, r) ? why_overflow : NULL;
    case OP_MULTIPLY:
        return __builtin_mul_overflow(a, b, r) ? why_overflow : NULL;
    case OP_DIVIDE:
    case OP_REMAINDER:
    case OP_CEIL_DIV:
        return divide(op, a, b, r);
    case OP_SHIFT_LEFT:
        return shift_left(a, b, r);
    case OP_SHIFT_RIGHT:
        if (a < 0 || b < 0 || b > 63)
            return why_shift;
        *r = a >> b;
        return NULL;
    case OP_MIN:
        *r = a < b ? a : b;
        return NULL;
    default:
        *r = a > b ? a : b;
        return NULL;
    }
}

static inline const char *unary(opcode op, int64_t *top) {
    switch (op) {
    case OP_BOOL:
        *top = *top != 0;
        return NULL;
    case OP_NOT:
        *top = *top == 0;
        return NULL;
    case OP_IS_POW2:
        *top = *top > 0 && (*top & (*top - 1)) == 0;
        return NULL;
    default:
        if (op == OP_ABS && *top >= 0)
            return NULL;
        if (*top == INT64_MIN)
            return why_overflow;
        *top = -*top;
        return NULL;
    }
}

bool hone__expr_eval(const hone__expr *expr, const int64_t *values, int64_t *result, const char **why) {
    int64_t stack[STACK_MAX + 1];
    int64_t *top = stack; /* the topmost value; stack[0] is below the first */
    const char *wrong = NULL;
    const instruction *code = expr->code;
    for (const instruction *i = code; wrong == NULL; i++) {
        switch (i->op) {
        case OP_END:
            *result = *top;
            return true;
        case OP_CONST:
            *++top = i->constant;
            break;
        case OP_LOAD:
            *++top = values[i->operand];
            break;
        case OP_INDEX:
            if (*top < 0 || *top >= i->constant)
                wrong = why_index;
            else
                *top = values[i->operand + (uint32_t)*top];
            break;
        case OP_AND:
            if (*top == 0)
                i = code + i->operand - 1;
            else
                top--;
            break;
        case OP_OR:
            if (*top != 0) {
                *top = 1;
                i = code + i->operand - 1;
            } else {
                top--;
            }
            break;
        case OP_JUMP_ZERO:
            if (*top-- == 0)
                i = code + i->operand - 1;
            break;
        case OP_JUMP:
            i = code + i->operand - 1;
            break;
        case OP_BOOL:
        case OP_NOT:
        case OP_NEGATE:
        case OP_ABS:
        case OP_IS_POW2:
            wrong = unary(i->op, top);
            break;
        default:
            top--;
            wrong = binary(i->op, top[0], top[1], top);
        }
    }
    if (why != NULL)
        *why = wrong;
    return false;
}

bool hone__expr_reads(const hone__expr *expr, uint32_t index) {
    return index < VALUES_MAX && (expr->reads[index / 64] >> (index % 64) & 1) != 0;
}

hone__symbol_type hone__expr_type(const hone__expr *expr) {
    return expr->type;
}

uint32_t hone__expr_cost(const hone__expr *expr) {
    return 1 + expr->code_count / 32;
}

const char *hone__expr_text(const hone__expr *expr) {
    return expr->text;
}
