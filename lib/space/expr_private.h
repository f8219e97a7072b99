/* expr_private.h: the postfix code of an expression, shared by its two evaluators. */
#ifndef HONE_EXPR_PRIVATE_H
#define HONE_EXPR_PRIVATE_H

#include "expr.h"
#include "limit.h"

typedef enum opcode {
    OP_END,
    OP_CONST,
    OP_LOAD,      /* operand: index of the value */
    OP_INDEX,     /* operand: first value, constant: how many */
    OP_AND,       /* top is 0: keep it and jump; else drop it */
    OP_OR,        /* top is not 0: make it 1 and jump; else drop it */
    OP_JUMP_ZERO, /* drop the top; jump if it was 0 */
    OP_JUMP,
    OP_BOOL,
    OP_NOT,
    OP_NEGATE,
    OP_ABS,
    OP_IS_POW2,
    OP_EQUAL,
    OP_DIFFERENT,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_GREATER,
    OP_GREATER_EQUAL,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_REMAINDER,
    OP_SHIFT_LEFT,
    OP_SHIFT_RIGHT,
    OP_MIN,
    OP_MAX,
    OP_CEIL_DIV
} opcode;

typedef struct instruction {
    opcode op;
    uint32_t operand;
    int64_t constant;
} instruction;

/* One nesting level leaves at most five values waiting (compare, shift, sum, product, argument). */
enum { STACK_MAX = 6 * (HONE_LIMIT_EXPR_DEPTH + 2), VALUES_MAX = HONE_SIZES_MAX + HONE_LIMIT_SLOTS };

struct hone__expr {
    char *text;
    instruction *code;
    uint32_t code_count;
    hone__symbol_type type;
    uint64_t reads[(VALUES_MAX + 63) / 64];
};

#endif
