#include "gaussian.h"
#include "alloc.h"

#include <math.h>
#include <string.h>

enum {
    POINTS = HONE_GAUSSIAN_POINTS,
    LEARN_POINTS = 64,       /* more do not make better weights, only slower ones */
    LEARN_SWEEPS = 2,
    VIEWS_MAX = 2 * HONE_LIMIT_PARAMS,
    ALIGNMENT_MAX = 8        /* 256 and its multiples are alike */
};

/* Numbers [first, first + count) of a point share one weight. */
typedef struct view {
    uint32_t first, count;
    double weight, usual;    /* `usual`: before anything is learnt, and what the prior pulls to */
} view;

typedef struct source {
    uint32_t slot;
    enum { SOURCE_PLACE, SOURCE_ALIGNMENT, SOURCE_EQUAL, SOURCE_ELEMENT } kind;
    uint32_t value;          /* EQUAL, ELEMENT */
    uint32_t length;         /* ELEMENT */
    double scale;
} source;

struct hone__gaussian {
    const hone__space *space;
    source *source;
    uint32_t width;
    view view[VIEWS_MAX];
    uint32_t view_count;
    double noise;            /* variance of noise relative to the signal's */
    uint32_t count;
    float *point;            /* POINTS rows of `width` */
    float *factor;           /* lower Cholesky factor, POINTS columns */
    double *weight;          /* by number of a point */
    float target[POINTS], one[POINTS]; /* whitened costs less the mean, whitened ones */
    double mean, deviation;
    double squared[LEARN_POINTS * (LEARN_POINTS + 1) / 2]; /* distances while learning */
    double trial[LEARN_POINTS * (LEARN_POINTS + 1) / 2];
};

static bool is_ordered(const hone__param *param) {
    return param->kind != HONE_KIND_PERMUTATION && param->domain.kind != HONE_KIND_BOOL && param->domain.type != HONE_SYMBOL_STRING;
}

static uint32_t alignment_of(int64_t value) {
    uint32_t twos = 0;
    while (value != 0 && value % 2 == 0 && twos < ALIGNMENT_MAX) {
        value /= 2;
        twos++;
    }
    return value == 0 ? 0 : twos;
}

/* Do places and alignments say different things? */
static bool has_alignment(const hone__param *param) {
    if (!is_ordered(param) || param->domain.type != HONE_SYMBOL_INT || param->domain.kind == HONE_KIND_POW2 || param->domain.count < 4)
        return false;
    uint32_t least = ALIGNMENT_MAX, most = 0, rising = 0;
    uint32_t looked = param->domain.count < 64 ? param->domain.count : 64, before = 0;
    for (uint32_t i = 0; i < looked; i++) {
        uint32_t twos = alignment_of(hone__domain_int(&param->domain, i));
        least = twos < least ? twos : least;
        most = twos > most ? twos : most;
        rising += i > 0 && twos > before ? 1 : 0;
        before = twos;
    }
    return most > least && rising + 1 < looked;
}

static void add_view(hone__gaussian *model, uint32_t first, double usual) {
    if (model->width > first)
        model->view[model->view_count++] = (view){first, model->width - first, usual, usual};
}

static void add_param(hone__gaussian *model, const hone__param *param) {
    uint32_t first = model->width, count = param->domain.count;
    double share = sqrt(1.0 / param->slot_count);
    for (uint32_t i = 0; i < param->slot_count; i++) {
        uint32_t slot = param->first_slot + i;
        if (param->kind == HONE_KIND_PERMUTATION) {
            model->source[model->width++] = (source){param->first_slot, SOURCE_ELEMENT, i, param->slot_count, share / param->slot_count};
        } else if (param->domain.type == HONE_SYMBOL_STRING && count > 2 && count <= 16) {
            for (uint32_t v = 0; v < count; v++)
                model->source[model->width++] = (source){slot, SOURCE_EQUAL, v, 0, share * sqrt(0.5)};
        } else if (count > 1) {
            model->source[model->width++] = (source){slot, SOURCE_PLACE, 0, 0, share / (count - 1)};
        }
    }
    add_view(model, first, 0.5);
    first = model->width;
    for (uint32_t i = 0; i < param->slot_count && has_alignment(param); i++)
        model->source[model->width++] = (source){param->first_slot + i, SOURCE_ALIGNMENT, 0, 0, share / 4};
    add_view(model, first, 0.5);
}

hone__gaussian *hone__gaussian_new(const hone__space *space) {
    hone__gaussian *model = hone__alloc(sizeof *model);
    if (model == NULL)
        return NULL;
    model->space = space;
    model->noise = 1e-3;
    model->source = hone__alloc_array((size_t)space->slot_count * HONE_GAUSSIAN_NUMBERS_MAX, sizeof *model->source);
    if (model->source != NULL) {
        for (uint32_t p = 0; p < space->param_count; p++)
            add_param(model, &space->param[p]);
        model->point = hone__alloc_array((size_t)POINTS * (model->width + 1), sizeof *model->point);
        model->weight = hone__alloc_array(model->width + 1, sizeof *model->weight);
        model->factor = hone__alloc_array((size_t)POINTS * POINTS, sizeof *model->factor);
    }
    if (model->point == NULL || model->weight == NULL || model->factor == NULL) {
        hone__gaussian_free(model);
        return NULL;
    }
    return model;
}

void hone__gaussian_free(hone__gaussian *model) {
    if (model == NULL)
        return;
    hone__free(model->source);
    hone__free(model->point);
    hone__free(model->weight);
    hone__free(model->factor);
    hone__free(model);
}

uint32_t hone__gaussian_width(const hone__gaussian *model) {
    return model->width;
}

uint32_t hone__gaussian_count(const hone__gaussian *model) {
    return model->count;
}

void hone__gaussian_place(const hone__gaussian *model, const hone__config *config, float *point) {
    for (uint32_t i = 0; i < model->width; i++) {
        const source *from = &model->source[i];
        uint32_t index = config->slot[from->slot];
        double value = index;
        if (from->kind == SOURCE_ALIGNMENT)
            value = alignment_of(hone__domain_int(&model->space->param[hone__space_param_of_slot(model->space, from->slot)].domain, index));
        else if (from->kind == SOURCE_EQUAL)
            value = index == from->value ? 1 : 0;
        for (uint32_t k = 0; from->kind == SOURCE_ELEMENT && k < from->length; k++)
            value = config->slot[from->slot + k] == from->value ? k : value;
        point[i] = (float)(value * from->scale);
    }
}

static double matern(double squared) { /* 3/2: costs of configs are rough */
    double distance = sqrt(3.0 * squared);
    return (1.0 + distance) * exp(-distance);
}

static double covariance(const hone__gaussian *model, const float *a, const float *b) {
    double squared = 0;
    for (uint32_t i = 0; i < model->width; i++) {
        double step = (double)a[i] - (double)b[i];
        squared += model->weight[i] * step * step;
    }
    return matern(squared);
}

double hone__gaussian_likeness(const hone__gaussian *model, const float *a, const float *b) {
    return covariance(model, a, b);
}

/* Four sums at a time: the additions need not wait for each other. */
static double dot(const float *a, const float *b, uint32_t count) {
    float sum[4] = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        sum[0] += a[i] * b[i];
        sum[1] += a[i + 1] * b[i + 1];
        sum[2] += a[i + 2] * b[i + 2];
        sum[3] += a[i + 3] * b[i + 3];
    }
    double rest = 0;
    for (; i < count; i++)
        rest += (double)(a[i] * b[i]);
    return (double)(sum[0] + sum[1]) + (double)(sum[2] + sum[3]) + rest;
}

static void spread_weights(hone__gaussian *model) {
    for (uint32_t v = 0; v < model->view_count; v++) {
        for (uint32_t i = 0; i < model->view[v].count; i++)
            model->weight[model->view[v].first + i] = model->view[v].weight;
    }
}

void hone__gaussian_whiten(const hone__gaussian *model, const float *point, uint32_t from, float *whitened) {
    for (uint32_t i = from; i < model->count; i++) {
        const float *row = model->factor + (size_t)i * POINTS;
        double rest = covariance(model, point, model->point + (size_t)i * model->width) - dot(row, whitened, i);
        whitened[i] = (float)(rest / (double)row[i]);
    }
}

bool hone__gaussian_append(hone__gaussian *model, const float *point) {
    if (model->count == POINTS)
        return false;
    float *row = model->factor + (size_t)model->count * POINTS;
    hone__gaussian_whiten(model, point, 0, row);
    double left = 1.0 + model->noise + 1e-5 - dot(row, row, model->count);
    if (left < 1e-6)
        return false;
    row[model->count] = (float)sqrt(left);
    memcpy(model->point + (size_t)model->count * model->width, point, model->width * sizeof *point);
    model->count++;
    return true;
}

/* ---- learning: coordinate descent on the likelihood of at most LEARN_POINTS points ---- */

typedef struct lesson {
    uint32_t count;
    uint32_t index[LEARN_POINTS];
    double cost[LEARN_POINTS]; /* standardised */
} lesson;

/* Negative log likelihood for the distances, without constants; the signal's variance is profiled out. */
static double misfit(const hone__gaussian *model, const lesson *all, const double *squared, double noise) {
    float factor[LEARN_POINTS][LEARN_POINTS];
    float white[LEARN_POINTS];
    double energy = 1e-9, volume = 0;
    for (uint32_t i = 0, at = 0; i < all->count; i++) {
        for (uint32_t j = 0; j <= i; j++, at++) {
            double sum = (i == j ? 1.0 + noise + 1e-5 : matern(squared[at])) - dot(factor[i], factor[j], j);
            if (i == j && sum < 1e-7)
                return HUGE_VAL;
            factor[i][j] = (float)(i == j ? sqrt(sum) : sum / (double)factor[j][j]);
        }
        double value = (all->cost[i] - dot(factor[i], white, i)) / (double)factor[i][i];
        white[i] = (float)value;
        energy += value * value;
        volume += log((double)factor[i][i]);
    }
    double prior = 0; /* weights stay near the usual unless the data insist */
    for (uint32_t v = 0; v < model->view_count; v++) {
        double octaves = log2(model->view[v].weight / model->view[v].usual);
        prior += 0.02 * octaves * octaves;
    }
    return 0.5 * (double)all->count * log(energy / (double)all->count) + volume + prior;
}

/* Distances when one view's weight changes by `change`. */
static void shift(const hone__gaussian *model, const lesson *all, const float *points, const view *moved, double change, const double *from,
                  double *to) {
    for (uint32_t i = 0, at = 0; i < all->count; i++) {
        const float *a = points + (size_t)all->index[i] * model->width + moved->first;
        for (uint32_t j = 0; j <= i; j++, at++) {
            const float *b = points + (size_t)all->index[j] * model->width + moved->first;
            double sum = 0;
            for (uint32_t k = 0; k < moved->count; k++) {
                double step = (double)a[k] - (double)b[k];
                sum += step * step;
            }
            to[at] = fmax(0, from[at] + change * sum);
        }
    }
}

static void learn_view(hone__gaussian *model, const lesson *all, const float *points, view *learnt, double *best) {
    static const double factors[] = {4.0, 0.25};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        double kept = learnt->weight, tried = kept * factors[i];
        if (tried < 1e-3 || tried > 64.0)
            continue;
        shift(model, all, points, learnt, tried - kept, model->squared, model->trial);
        learnt->weight = tried;
        double score = misfit(model, all, model->trial, model->noise);
        if (score < *best) {
            *best = score;
            memcpy(model->squared, model->trial, sizeof model->squared);
            return;
        }
        learnt->weight = kept;
    }
}

static void learn(hone__gaussian *model, const float *points, const double *costs, uint32_t count) {
    lesson all = {.count = count < LEARN_POINTS ? count : LEARN_POINTS};
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < all.count; i++) {
        all.index[i] = (uint32_t)((uint64_t)i * count / all.count);
        all.cost[i] = costs[all.index[i]];
        sum += all.cost[i];
        squares += all.cost[i] * all.cost[i];
    }
    double mean = sum / all.count, deviation = sqrt(fmax(squares / all.count - mean * mean, 1e-12));
    for (uint32_t i = 0; i < all.count; i++)
        all.cost[i] = (all.cost[i] - mean) / deviation;
    memset(model->squared, 0, sizeof model->squared);
    for (uint32_t v = 0; v < model->view_count; v++)
        shift(model, &all, points, &model->view[v], model->view[v].weight, model->squared, model->squared);
    double best = misfit(model, &all, model->squared, model->noise);
    for (int sweep = 0; sweep < LEARN_SWEEPS; sweep++) {
        for (uint32_t v = 0; v < model->view_count; v++)
            learn_view(model, &all, points, &model->view[v], &best);
        for (double factor = 4.0; factor > 0.2; factor /= 16.0) {
            double tried = model->noise * factor, score = tried < 1e-5 || tried > 0.3 ? HUGE_VAL : misfit(model, &all, model->squared, tried);
            if (score < best) {
                best = score;
                model->noise = tried;
                break;
            }
        }
    }
}

bool hone__gaussian_fit(hone__gaussian *model, const float *points, const double *costs, uint32_t count, bool adapt) {
    if (count == 0 || count > POINTS)
        return false;
    if (adapt && count >= 4)
        learn(model, points, costs, count);
    spread_weights(model);
    for (;;) {
        model->count = 0;
        while (model->count < count && hone__gaussian_append(model, points + (size_t)model->count * model->width)) {
        }
        if (model->count == count)
            return true;
        if (model->noise > 0.5) {
            model->count = 0;
            return false;
        }
        model->noise *= 4.0;
    }
}

void hone__gaussian_costs(hone__gaussian *model, const double *costs) {
    double cross = 0, norm = 1e-12, energy = 0;
    for (uint32_t i = 0; i < model->count; i++) {
        const float *row = model->factor + (size_t)i * POINTS;
        model->target[i] = (float)((costs[i] - dot(row, model->target, i)) / (double)row[i]);
        model->one[i] = (float)((1.0 - dot(row, model->one, i)) / (double)row[i]);
        cross += (double)model->target[i] * (double)model->one[i];
        norm += (double)model->one[i] * (double)model->one[i];
    }
    model->mean = cross / norm; /* generalised least squares */
    for (uint32_t i = 0; i < model->count; i++) {
        model->target[i] -= (float)model->mean * model->one[i];
        energy += (double)model->target[i] * (double)model->target[i];
    }
    model->deviation = sqrt(fmax(energy / (model->count > 0 ? model->count : 1), 1e-12));
}

void hone__gaussian_predict(const hone__gaussian *model, const float *whitened, double *mean, double *deviation) {
    double variance = 1.0 - dot(whitened, whitened, model->count);
    *mean = model->mean + dot(whitened, model->target, model->count);
    *deviation = sqrt(variance > 1e-6 ? variance : 1e-6) * model->deviation;
}
