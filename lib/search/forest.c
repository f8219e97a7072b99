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
    uint32_t *order;              /* row numbers, permuted while growing */
    uint32_t *shuffle;            /* feature numbers */
    uint32_t order_capacity;
};

/* What one tree grows from. */
typedef struct patch {
    const float *rows, *target, *weight;
    hone__rng *rng;
} patch;

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

void hone__forest_free(hone__forest *forest) {
    if (forest == NULL)
        return;
    hone__free(forest->node);
    hone__free(forest->order);
    hone__free(forest->shuffle);
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
    if (count > forest->order_capacity) {
        uint32_t *grown = hone__realloc(forest->order, (size_t)count * 2 * sizeof *grown);
        if (grown == NULL)
            return false;
        forest->order = grown;
        forest->order_capacity = 2 * count;
    }
    return true;
}

typedef struct sums {
    double weight, first, second; /* of the weights, of weight * target, of weight * target squared */
} sums;

static void add(sums *s, const patch *p, uint32_t row) {
    double weight = p->weight == NULL ? 1.0 : (double)p->weight[row], target = (double)p->target[row];
    s->weight += weight;
    s->first += weight * target;
    s->second += weight * target * target;
}

static double scatter(const sums *s) {
    return s->weight > 0 ? s->second - s->first * s->first / s->weight : 0;
}

typedef struct cut {
    uint32_t feature;
    float threshold;
    double gain;
} cut;

/* A random threshold between the least and the greatest value here; false: the feature is constant. */
static bool try_cut(const hone__forest *forest, const patch *p, const uint32_t *order, uint32_t count, const sums *all, uint32_t feature,
                    cut *best) {
    float low = INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        float value = p->rows[(size_t)order[i] * forest->features + feature];
        low = value < low ? value : low;
        high = value > high ? value : high;
    }
    if (!(low < high))
        return false;
    float threshold = low + (float)hone__rng_unit(p->rng) * (high - low);
    if (!(threshold < high))
        threshold = low;
    sums left = {0};
    uint32_t lefts = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (p->rows[(size_t)order[i] * forest->features + feature] <= threshold) {
            add(&left, p, order[i]);
            lefts++;
        }
    }
    sums right = {all->weight - left.weight, all->first - left.first, all->second - left.second};
    if (lefts < forest->options.leaf_min || count - lefts < forest->options.leaf_min)
        return true;
    double gain = scatter(all) - scatter(&left) - scatter(&right);
    if (gain > best->gain)
        *best = (cut){feature, threshold, gain};
    return true;
}

static cut find_cut(hone__forest *forest, const patch *p, const uint32_t *order, uint32_t count, const sums *all) {
    cut best = {0, 0, -1.0};
    uint32_t tried = 0;
    for (uint32_t i = 0; i < forest->features && tried < forest->options.tries; i++) {
        uint32_t other = i + (uint32_t)hone__rng_below(p->rng, forest->features - i);
        uint32_t feature = forest->shuffle[other];
        forest->shuffle[other] = forest->shuffle[i];
        forest->shuffle[i] = feature;
        tried += try_cut(forest, p, order, count, all, feature, &best);
    }
    return best;
}

typedef struct task {
    uint32_t first, count;
    uint32_t parent; /* whose right child this is; UINT32_MAX: root or left child */
} task;

static void finish_leaf(node *leaf, const sums *all) {
    leaf->right = 0;
    leaf->mean = (float)(all->first / all->weight);
    double variance = scatter(all) / all->weight;
    leaf->variance = (float)(variance > 0 ? variance : 0);
}

/* Rows that go left come first; how many. */
static uint32_t divide(const hone__forest *forest, const patch *p, uint32_t *order, uint32_t count, const cut *by) {
    uint32_t lefts = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = order[i];
        if (p->rows[(size_t)row * forest->features + by->feature] <= by->threshold) {
            order[i] = order[lefts];
            order[lefts++] = row;
        }
    }
    return lefts;
}

static void grow(hone__forest *forest, const patch *p, uint32_t count) {
    enum { DEPTH = 64 };
    task stack[DEPTH];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < count; i++)
        forest->order[i] = i;
    stack[depth++] = (task){0, count, UINT32_MAX};
    while (depth > 0) {
        task now = stack[--depth];
        uint32_t at = forest->node_count++;
        node *here = &forest->node[at];
        if (now.parent != UINT32_MAX)
            forest->node[now.parent].right = at;
        sums all = {0};
        for (uint32_t i = 0; i < now.count; i++)
            add(&all, p, forest->order[now.first + i]);
        cut by = {0, 0, -1.0};
        if (now.count >= 2 * forest->options.leaf_min && scatter(&all) > 1e-10 * all.weight && depth + 2 <= DEPTH)
            by = find_cut(forest, p, forest->order + now.first, now.count, &all);
        if (by.gain < 0) {
            finish_leaf(here, &all);
            continue;
        }
        uint32_t lefts = divide(forest, p, forest->order + now.first, now.count, &by);
        here->feature = by.feature;
        here->threshold = by.threshold;
        here->right = 1; /* set by the right child when its turn comes */
        stack[depth++] = (task){now.first + lefts, now.count - lefts, at};
        stack[depth++] = (task){now.first, lefts, UINT32_MAX};
    }
}

bool hone__forest_fit(hone__forest *forest, const float *rows, const float *target, const float *weight, uint32_t count, hone__rng *rng) {
    if (count == 0 || !reserve(forest, count))
        return false;
    patch p = {rows, target, weight, rng};
    forest->node_count = 0;
    for (uint32_t tree = 0; tree < forest->options.trees; tree++) {
        forest->root[tree] = forest->node_count;
        grow(forest, &p, count);
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
