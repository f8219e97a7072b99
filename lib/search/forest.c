#include "forest.h"
#include "alloc.h"

#include <math.h>
#include <string.h>

/* A node with right == 0 is a leaf; the left child follows its parent. */
typedef struct node {
    uint32_t right;
    uint32_t feature;
    float threshold;              /* left: value <= threshold */
    float mean, variance;         /* leaf */
} node;

struct hone__forest {
    uint32_t features;
    hone__forest_options options;
    uint32_t root[HONE_FOREST_TREES_MAX];
    node *node;
    uint32_t node_count, node_capacity;
    uint32_t *shuffle;            /* feature numbers */
    /* While growing: */
    uint32_t *order;              /* row numbers, those of one node beside each other */
    float *target, *value;        /* in this order: targets, values of the feature that is looked at */
    float *column;                /* the rows' numbers, feature by feature: one look at a feature reads what lies together */
    uint32_t row_capacity;
};

hone__forest *hone__forest_new(uint32_t features, const hone__forest_options *options) {
    hone__forest *forest = hone__alloc(sizeof *forest);
    if (forest == NULL)
        return NULL;
    forest->features = features;
    forest->options = *options;
    forest->shuffle = hone__alloc_array(features, sizeof *forest->shuffle);
    if (forest->shuffle == NULL) {
        hone__forest_free(forest);
        return NULL;
    }
    for (uint32_t i = 0; i < features; i++)
        forest->shuffle[i] = i;
    return forest;
}

static void free_rows(hone__forest *forest) {
    hone__free(forest->order);
    hone__free(forest->target);
    hone__free(forest->value);
    hone__free(forest->column);
    forest->order = NULL;
    forest->target = forest->value = forest->column = NULL;
    forest->row_capacity = 0;
}

void hone__forest_free(hone__forest *forest) {
    if (forest == NULL)
        return;
    hone__free(forest->node);
    hone__free(forest->shuffle);
    free_rows(forest);
    hone__free(forest);
}

static bool reserve(hone__forest *forest, uint32_t count) {
    uint32_t nodes = forest->options.trees * (2 * count + 1);
    if (nodes > forest->node_capacity) {
        node *grown = hone__realloc(forest->node, (size_t)nodes * 2 * sizeof *grown);
        if (grown == NULL)
            return false;
        forest->node = grown;
        forest->node_capacity = 2 * nodes;
    }
    if (count <= forest->row_capacity)
        return true;
    const size_t rows = 2 * (size_t)count;
    free_rows(forest);
    forest->order = hone__alloc_array(rows, sizeof *forest->order);
    forest->target = hone__alloc_array(rows, sizeof *forest->target);
    forest->value = hone__alloc_array(rows, sizeof *forest->value);
    forest->column = hone__alloc_array(rows * forest->features, sizeof *forest->column);
    if (forest->order == NULL || forest->target == NULL || forest->value == NULL || forest->column == NULL) {
        free_rows(forest);
        return false;
    }
    forest->row_capacity = (uint32_t)rows;
    return true;
}

/* Rows [first, first + count) of the order, and the sum of their targets. */
typedef struct patch {
    uint32_t first, count;
    double sum;
} patch;

typedef struct cut {
    uint32_t feature;
    float threshold;
    double gain; /* how much less the targets scatter: the sums' squares over the counts, of both sides less those of all */
} cut;

/* A random threshold between the least and the greatest value here; false: the feature is constant. */
static bool try_cut(hone__forest *forest, const float *column, const patch *p, uint32_t feature, hone__rng *rng, cut *best) {
    const uint32_t *order = forest->order + p->first;
    const float *target = forest->target + p->first;
    float *value = forest->value;
    float low = INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < p->count; i++) {
        value[i] = column[order[i]];
        low = value[i] < low ? value[i] : low;
        high = value[i] > high ? value[i] : high;
    }
    if (!(low < high))
        return false;
    float threshold = low + (float)hone__rng_unit(rng) * (high - low);
    if (!(threshold < high))
        threshold = low;
    double sum = 0;
    uint32_t lefts = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        bool left = value[i] <= threshold;
        sum += left * (double)target[i]; /* no jump: which side is as good as random */
        lefts += left;
    }
    double gain = sum * sum / lefts + (p->sum - sum) * (p->sum - sum) / (p->count - lefts) - p->sum * p->sum / p->count;
    if (gain > best->gain)
        *best = (cut){feature, threshold, gain};
    return true;
}

static cut find_cut(hone__forest *forest, uint32_t rows, const patch *p, hone__rng *rng) {
    cut best = {0, 0, -HUGE_VAL};
    uint32_t tried = 0;
    for (uint32_t i = 0; i < forest->features && tried < forest->options.tries; i++) {
        uint32_t other = i + (uint32_t)hone__rng_below(rng, forest->features - i);
        uint32_t feature = forest->shuffle[other];
        forest->shuffle[other] = forest->shuffle[i];
        forest->shuffle[i] = feature;
        tried += try_cut(forest, forest->column + (size_t)feature * rows, p, feature, rng, &best);
    }
    return best;
}

/* Rows that go left come first; how many. */
static uint32_t divide(hone__forest *forest, const float *column, const patch *p, float threshold) {
    uint32_t *order = forest->order + p->first, lefts = 0;
    float *target = forest->target + p->first;
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t row = order[i];
        float aim = target[i];
        if (column[row] <= threshold) {
            order[i] = order[lefts];
            target[i] = target[lefts];
            order[lefts] = row;
            target[lefts++] = aim;
        }
    }
    return lefts;
}

typedef struct task {
    uint32_t first, count;
    uint32_t parent; /* whose right child this is; UINT32_MAX: root or left child */
} task;

static void grow(hone__forest *forest, const float *target, uint32_t rows, hone__rng *rng) {
    enum { DEPTH = 64 };
    task stack[DEPTH];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < rows; i++)
        forest->order[i] = i;
    memcpy(forest->target, target, rows * sizeof *target);
    stack[depth++] = (task){0, rows, UINT32_MAX};
    while (depth > 0) {
        task now = stack[--depth];
        uint32_t at = forest->node_count++;
        node *here = &forest->node[at];
        if (now.parent != UINT32_MAX)
            forest->node[now.parent].right = at;
        patch p = {now.first, now.count, 0};
        double squares = 0;
        for (uint32_t i = now.first; i < now.first + now.count; i++) {
            p.sum += (double)forest->target[i];
            squares += (double)forest->target[i] * (double)forest->target[i];
        }
        double mean = p.sum / now.count, variance = squares / now.count - mean * mean;
        cut by = {0, 0, -HUGE_VAL};
        if (now.count >= 2 && variance > 1e-10 && depth + 2 <= DEPTH)
            by = find_cut(forest, rows, &p, rng);
        if (by.gain <= -HUGE_VAL) {
            *here = (node){.mean = (float)mean, .variance = (float)(variance > 0 ? variance : 0)};
            continue;
        }
        uint32_t lefts = divide(forest, forest->column + (size_t)by.feature * rows, &p, by.threshold);
        here->feature = by.feature;
        here->threshold = by.threshold;
        here->right = 1; /* set by the right child when its turn comes */
        stack[depth++] = (task){now.first + lefts, now.count - lefts, at};
        stack[depth++] = (task){now.first, lefts, UINT32_MAX};
    }
}

bool hone__forest_fit(hone__forest *forest, const float *rows, const float *target, uint32_t count, hone__rng *rng) {
    if (count == 0 || !reserve(forest, count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < forest->features; j++)
            forest->column[(size_t)j * count + i] = rows[(size_t)i * forest->features + j];
    }
    forest->node_count = 0;
    for (uint32_t tree = 0; tree < forest->options.trees; tree++) {
        forest->root[tree] = forest->node_count;
        grow(forest, target, count, rng);
    }
    return true;
}

static uint32_t leaf_of(const hone__forest *forest, uint32_t tree, const float *row) {
    uint32_t at = forest->root[tree];
    for (const node *here = &forest->node[at]; here->right != 0; here = &forest->node[at])
        at = row[here->feature] <= here->threshold ? at + 1 : here->right;
    return at;
}

void hone__forest_predict(const hone__forest *forest, const float *row, double *mean, double *variance) {
    double sum = 0, squares = 0, inner = 0;
    for (uint32_t tree = 0; tree < forest->options.trees; tree++) {
        const node *leaf = &forest->node[leaf_of(forest, tree, row)];
        sum += (double)leaf->mean;
        squares += (double)leaf->mean * (double)leaf->mean;
        inner += (double)leaf->variance;
    }
    double count = forest->options.trees;
    *mean = sum / count;
    double between = squares / count - *mean * *mean;
    *variance = (between > 0 ? between : 0) + inner / count;
}
