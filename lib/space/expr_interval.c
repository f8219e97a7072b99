/* expr_interval.c: what an expression can be when its values are only known to lie in intervals.
 *
 * The same code as for numbers, run on intervals that hold every result an evaluation without error can have; an interval with
 * low > high holds none.  Where a condition is open, both ways are run one after the other and their results are joined. */
#include "expr_private.h"

typedef hone__interval interval;

static const interval nothing = {1, 0};

static bool is_empty(interval a) {
    return a.low > a.high;
}

static bool is_single(interval a) {
    return a.low == a.high;
}

static bool has_zero(interval a) {
    return a.low <= 0 && a.high >= 0;
}

static interval hull(interval a, interval b) {
    if (is_empty(a))
        return b;
    if (is_empty(b))
        return a;
    return (interval){a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
}

static interval truth(bool can_be_false, bool can_be_true) {
    return (interval){can_be_false ? 0 : 1, can_be_true ? 1 : 0};
}

/* What does not fit into 64 bits is an error there, so it is cut off here. */
static interval add(interval a, interval b) {
    interval r;
    if (__builtin_add_overflow(a.low, b.low, &r.low)) {
        if (a.low > 0)
            return nothing;
        r.low = INT64_MIN;
    }
    if (__builtin_add_overflow(a.high, b.high, &r.high)) {
        if (a.high < 0)
            return nothing;
        r.high = INT64_MAX;
    }
    return r;
}

static interval subtract(interval a, interval b) {
    interval r;
    if (__builtin_sub_overflow(a.low, b.high, &r.low)) {
        if (a.low >= 0)
            return nothing;
        r.low = INT64_MIN;
    }
    if (__builtin_sub_overflow(a.high, b.low, &r.high)) {
        if (a.high < 0)
            return nothing;
        r.high = INT64_MAX;
    }
    return r;
}

static int64_t clamped_product(int64_t a, int64_t b) {
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        r = (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
    return r;
}

/* Extremes of a function that is monotone in each operand are at the corners. */
static interval corners(int64_t a, int64_t b, int64_t c, int64_t d) {
    interval left = {a < b ? a : b, a > b ? a : b};
    interval right = {c < d ? c : d, c > d ? c : d};
    return hull(left, right);
}

static interval multiply(interval a, interval b) {
    return corners(clamped_product(a.low, b.low), clamped_product(a.low, b.high), clamped_product(a.high, b.low),
                   clamped_product(a.high, b.high));
}

static int64_t quotient(int64_t a, int64_t b, bool up) {
    if (b == -1)
        return a == INT64_MIN ? INT64_MAX : -a;
    int64_t whole = a / b;
    int64_t rest = a % b;
    return up && rest != 0 && (rest > 0) == (b > 0) ? whole + 1 : whole;
}

static interval divide_by(interval a, interval b, bool up) {
    return corners(quotient(a.low, b.low, up), quotient(a.low, b.high, up), quotient(a.high, b.low, up),
                   quotient(a.high, b.high, up));
}

static interval divide(interval a, interval b, bool up) {
    interval negative = {b.low, b.high < -1 ? b.high : -1};
    interval positive = {b.low > 1 ? b.low : 1, b.high};
    interval r = nothing;
    if (!is_empty(negative))
        r = hull(r, divide_by(a, negative, up));
    if (!is_empty(positive))
        r = hull(r, divide_by(a, positive, up));
    return r;
}

static interval remainder_of(interval a, interval b) {
    if (b.low == 0 && b.high == 0)
        return nothing;
    if (is_single(a) && is_single(b))
        return b.low == -1 ? (interval){0, 0} : (interval){a.low % b.low, a.low % b.low};
    if (a.low >= 0 && b.low > a.high)
        return a;
    int64_t least = b.low == INT64_MIN ? INT64_MAX : b.low < 0 ? -b.low : b.low;
    int64_t most = b.high < 0 ? (b.high == INT64_MIN ? INT64_MAX : -b.high) : b.high;
    int64_t rest = (least > most ? least : most) - 1;
    interval r = {0, 0};
    if (a.low < 0)
        r.low = a.low > -rest ? a.low : -rest;
    if (a.high > 0)
        r.high = a.high < rest ? a.high : rest;
    return r;
}

static interval shift(opcode op, interval a, interval b) {
    a.low = a.low < 0 ? 0 : a.low;
    b.low = b.low < 0 ? 0 : b.low;
    b.high = b.high > 63 ? 63 : b.high;
    if (is_empty(a) || is_empty(b))
        return nothing;
    if (op == OP_SHIFT_RIGHT)
        return (interval){a.low >> b.high, a.high >> b.low};
    if (a.low > 0 && (b.low > 62 || a.low > (INT64_MAX >> b.low)))
        return nothing;
    bool fits = a.high == 0 || (b.high <= 62 && a.high <= (INT64_MAX >> b.high));
    return (interval){b.low > 62 ? 0 : a.low << b.low, !fits ? INT64_MAX : a.high == 0 ? 0 : a.high << b.high};
}

static interval compare(opcode op, interval a, interval b) {
    bool apart = a.high < b.low || b.high < a.low;
    bool same = is_single(a) && is_single(b) && a.low == b.low;
    switch (op) {
    case OP_EQUAL:
        return truth(!same, !apart);
    case OP_DIFFERENT:
        return truth(!apart, !same);
    case OP_LESS:
        return truth(a.high >= b.low, a.low < b.high);
    case OP_LESS_EQUAL:
        return truth(a.high > b.low, a.low <= b.high);
    case OP_GREATER:
        return truth(a.low <= b.high, a.high > b.low);
    default:
        return truth(a.low < b.high, a.high >= b.low);
    }
}

static interval binary(opcode op, interval a, interval b) {
    if (is_empty(a) || is_empty(b))
        return nothing;
    switch (op) {
    case OP_ADD:
        return add(a, b);
    case OP_SUBTRACT:
        return subtract(a, b);
    case OP_MULTIPLY:
        return multiply(a, b);
    case OP_DIVIDE:
    case OP_CEIL_DIV:
        return divide(a, b, op == OP_CEIL_DIV);
    case OP_REMAINDER:
        return remainder_of(a, b);
    case OP_SHIFT_LEFT:
    case OP_SHIFT_RIGHT:
        return shift(op, a, b);
    case OP_MIN:
        return (interval){a.low < b.low ? a.low : b.low, a.high < b.high ? a.high : b.high};
    case OP_MAX:
        return (interval){a.low > b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
    default:
        return compare(op, a, b);
    }
}

static interval unary(opcode op, interval a) {
    if (is_empty(a))
        return nothing;
    bool zero = a.low == 0 && a.high == 0;
    interval minus = subtract((interval){0, 0}, a);
    switch (op) {
    case OP_BOOL:
        return truth(has_zero(a), !zero);
    case OP_NOT:
        return truth(!zero, has_zero(a));
    case OP_IS_POW2:
        if (is_single(a))
            return truth(a.low <= 0 || (a.low & (a.low - 1)) != 0, a.low > 0 && (a.low & (a.low - 1)) == 0);
        return truth(true, a.high > 0);
    case OP_ABS:
        if (a.low >= 0)
            return a;
        if (a.high <= 0)
            return minus;
        return (interval){0, a.high > minus.high ? a.high : minus.high};
    default:
        return minus;
    }
}

static interval element(const interval *values, const instruction *i, interval index) {
    interval r = nothing;
    int64_t first = index.low < 0 ? 0 : index.low;
    int64_t last = index.high >= i->constant ? i->constant - 1 : index.high;
    for (int64_t at = first; at <= last; at++)
        r = hull(r, values[i->operand + (uint32_t)at]);
    return r;
}

/* Where two ways meet again. */
typedef struct meeting {
    uint32_t at;
    bool is_else;   /* begin of the else branch, while the then branch runs */
    interval value; /* of the way that has been run */
} meeting;

enum { MEETINGS_MAX = 3 * (HONE_LIMIT_EXPR_DEPTH + 2) };

typedef struct machine {
    interval stack[STACK_MAX + 1];
    meeting meeting[MEETINGS_MAX + 1];
    uint32_t top, meetings;
} machine;

/* Returns the next instruction's index. */
static uint32_t branch(machine *m, const instruction *i, uint32_t here) {
    interval *top = &m->stack[m->top];
    interval a = *top;
    bool zero = a.low == 0 && a.high == 0;
    switch (i->op) {
    case OP_JUMP:
        if (m->meetings > 0 && m->meeting[m->meetings].is_else && m->meeting[m->meetings].at == here + 1) {
            m->meeting[m->meetings] = (meeting){i->operand, false, a};
            m->top--;
            return here + 1;
        }
        return i->operand;
    case OP_JUMP_ZERO:
        m->top--;
        if (zero)
            return i->operand;
        if (has_zero(a) || is_empty(a))
            m->meeting[++m->meetings] = (meeting){i->operand, true, nothing};
        return here + 1;
    default: /* OP_AND leaves when zero, OP_OR when not */
        if (i->op == OP_AND ? zero : !has_zero(a) && !is_empty(a)) {
            *top = i->op == OP_AND ? (interval){0, 0} : (interval){1, 1};
            return i->operand;
        }
        if (is_empty(a))
            m->meeting[++m->meetings] = (meeting){i->operand, false, nothing};
        else if (has_zero(a) && !zero)
            m->meeting[++m->meetings] = (meeting){i->operand, false, i->op == OP_AND ? (interval){0, 0} : (interval){1, 1}};
        m->top--;
        return here + 1;
    }
}

static interval run(const hone__expr *expr, const interval *values) {
    machine m;
    m.top = m.meetings = 0;
    for (uint32_t at = 0;;) {
        while (m.meetings > 0 && !m.meeting[m.meetings].is_else && m.meeting[m.meetings].at == at) {
            m.stack[m.top] = hull(m.stack[m.top], m.meeting[m.meetings].value);
            m.meetings--;
        }
        const instruction *i = &expr->code[at];
        switch (i->op) {
        case OP_END:
            return m.stack[m.top];
        case OP_AND:
        case OP_OR:
        case OP_JUMP_ZERO:
        case OP_JUMP:
            at = branch(&m, i, at);
            continue;
        case OP_CONST:
            m.stack[++m.top] = (interval){i->constant, i->constant};
            break;
        case OP_LOAD:
            m.stack[++m.top] = values[i->operand];
            break;
        case OP_INDEX:
            m.stack[m.top] = element(values, i, m.stack[m.top]);
            break;
        case OP_BOOL:
        case OP_NOT:
        case OP_NEGATE:
        case OP_ABS:
        case OP_IS_POW2:
            m.stack[m.top] = unary(i->op, m.stack[m.top]);
            break;
        default:
            m.top--;
            m.stack[m.top] = binary(i->op, m.stack[m.top], m.stack[m.top + 1]);
        }
        at++;
    }
}

bool hone__expr_possible(const hone__expr *expr, const hone__interval *values) {
    interval result = run(expr, values);
    return !is_empty(result) && !(result.low == 0 && result.high == 0);
}
