#include "surrogate.h"
#include "alloc.h"

#include <math.h>
#include <string.h>

enum { LEARN_POINTS = 96, LEARN_SWEEPS = 2 };

typedef struct slot_feature {
    uint32_t param;   /* slots of one list share a weight */
    bool ordered;
    double scale;     /* 1 / (count - 1) */
} slot_feature;

struct hone__surrogate {
    const hone__space *space;
    slot_feature feature[HONE_LIMIT_SLOTS];
    double weight[HONE_LIMIT_PARAMS];
    double noise;           /* variance of noise relative to the signal's */
    uint32_t count;
    hone__config *config;
    double *cost;           /* standardised */
    double *factor;         /* lower Cholesky factor, row-major, HONE_SURROGATE_POINTS columns */
    double *alpha;          /* K^-1 cost */
    double mean, deviation; /* of the raw costs */
};

hone__surrogate *hone__surrogate_new(const hone__space *space) {
    hone__surrogate *surrogate = hone__alloc(sizeof *surrogate);
    if (surrogate == NULL)
        return NULL;
    surrogate->space = space;
    surrogate->noise = 1e-3;
    surrogate->config = hone__alloc_array(HONE_SURROGATE_POINTS, sizeof *surrogate->config);
    surrogate->cost = hone__alloc_array(HONE_SURROGATE_POINTS, sizeof(double));
    surrogate->alpha = hone__alloc_array(HONE_SURROGATE_POINTS, sizeof(double));
    surrogate->factor = hone__alloc_array((size_t)HONE_SURROGATE_POINTS * HONE_SURROGATE_POINTS, sizeof(double));
    if (surrogate->config == NULL || surrogate->cost == NULL || surrogate->alpha == NULL || surrogate->factor == NULL) {
        hone__surrogate_free(surrogate);
        return NULL;
    }
    for (uint32_t p = 0; p < space->param_count; p++) {
        const hone__param *param = &space->param[p];
        surrogate->weight[p] = 1.0 / (double)param->slot_count;
        bool ordered = param->kind != HONE_KIND_PERMUTATION && param->domain.kind != HONE_KIND_BOOL &&
                       param->domain.type != HONE_SYMBOL_STRING && param->domain.count > 1;
        for (uint32_t s = param->first_slot; s < param->first_slot + param->slot_count; s++) {
            surrogate->feature[s] =
                (slot_feature){.param = p, .ordered = ordered, .scale = ordered ? 1.0 / (double)(param->domain.count - 1) : 1.0};
        }
    }
    return surrogate;
}

void hone__surrogate_free(hone__surrogate *surrogate) {
    if (surrogate == NULL)
        return;
    hone__free(surrogate->config);
    hone__free(surrogate->cost);
    hone__free(surrogate->alpha);
    hone__free(surrogate->factor);
    hone__free(surrogate);
}

double hone__surrogate_likeness(const hone__surrogate *surrogate, const hone__config *a, const hone__config *b) {
    double squared = 0;
    for (uint32_t s = 0; s < surrogate->space->slot_count; s++) {
        if (a->slot[s] == b->slot[s])
            continue;
        const slot_feature *feature = &surrogate->feature[s];
        double step = feature->ordered ? ((double)a->slot[s] - (double)b->slot[s]) * feature->scale : 1.0;
        squared += surrogate->weight[feature->param] * step * step;
    }
    double distance = sqrt(5.0 * squared); /* Matern 5/2 */
    return (1.0 + distance + distance * distance / 3.0) * exp(-distance);
}

/* Factor the kernel matrix of the first `count` points; false when it is not positive definite. */
static bool factorise(hone__surrogate *surrogate, uint32_t count) {
    double *factor = surrogate->factor;
    for (uint32_t i = 0; i < count; i++) {
        double *row = factor + (size_t)i * HONE_SURROGATE_POINTS;
        for (uint32_t j = 0; j <= i; j++) {
            const double *other = factor + (size_t)j * HONE_SURROGATE_POINTS;
            double sum = hone__surrogate_likeness(surrogate, &surrogate->config[i], &surrogate->config[j]);
            if (i == j)
                sum += surrogate->noise + 1e-8;
            for (uint32_t k = 0; k < j; k++)
                sum -= row[k] * other[k];
            if (i == j) {
                if (sum <= 1e-12)
                    return false;
                row[i] = sqrt(sum);
            } else {
                row[j] = sum / other[j];
            }
        }
    }
    return true;
}

static void solve_lower(const hone__surrogate *surrogate, uint32_t count, const double *in, double *out) {
    for (uint32_t i = 0; i < count; i++) {
        const double *row = surrogate->factor + (size_t)i * HONE_SURROGATE_POINTS;
        double sum = in[i];
        for (uint32_t k = 0; k < i; k++)
            sum -= row[k] * out[k];
        out[i] = sum / row[i];
    }
}

/* Negative log likelihood of the first `count` points, without constants; the signal's variance is profiled out. */
static double misfit(hone__surrogate *surrogate, uint32_t count) {
    if (!factorise(surrogate, count))
        return HUGE_VAL;
    double whitened[HONE_SURROGATE_POINTS];
    solve_lower(surrogate, count, surrogate->cost, whitened);
    double energy = 1e-9, log_determinant = 0;
    for (uint32_t i = 0; i < count; i++) {
        energy += whitened[i] * whitened[i];
        log_determinant += log(surrogate->factor[(size_t)i * HONE_SURROGATE_POINTS + i]);
    }
    double prior = 0; /* weights stay near 1 unless the data insist */
    for (uint32_t p = 0; p < surrogate->space->param_count; p++) {
        double octaves = log2(surrogate->weight[p]);
        prior += 0.02 * octaves * octaves;
    }
    return 0.5 * (double)count * log(energy / (double)count) + log_determinant + prior;
}

static void learn_value(hone__surrogate *surrogate, uint32_t count, double *value, double low, double high, double *best) {
    static const double factors[] = {4.0, 0.25};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        double kept = *value;
        double tried = kept * factors[i];
        if (tried < low || tried > high)
            continue;
        *value = tried;
        double score = misfit(surrogate, count);
        if (score < *best) {
            *best = score;
            return;
        }
        *value = kept;
    }
}

static void learn(hone__surrogate *surrogate) {
    uint32_t count = surrogate->count < LEARN_POINTS ? surrogate->count : LEARN_POINTS;
    double best = misfit(surrogate, count);
    for (int sweep = 0; sweep < LEARN_SWEEPS; sweep++) {
        for (uint32_t p = 0; p < surrogate->space->param_count; p++)
            learn_value(surrogate, count, &surrogate->weight[p], 1e-3, 64.0, &best);
        learn_value(surrogate, count, &surrogate->noise, 1e-5, 0.3, &best);
    }
}

bool hone__surrogate_fit(hone__surrogate *surrogate, const hone__config *config, const double *cost, uint32_t count, bool relearn) {
    if (count < 3)
        return false;
    if (count > HONE_SURROGATE_POINTS)
        count = HONE_SURROGATE_POINTS;
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += cost[i];
    surrogate->mean = sum / (double)count;
    for (uint32_t i = 0; i < count; i++)
        squares += (cost[i] - surrogate->mean) * (cost[i] - surrogate->mean);
    surrogate->deviation = sqrt(squares / (double)count);
    if (surrogate->deviation < 1e-9)
        surrogate->deviation = 1e-9;
    surrogate->count = count;
    memcpy(surrogate->config, config, count * sizeof *config);
    for (uint32_t i = 0; i < count; i++)
        surrogate->cost[i] = (cost[i] - surrogate->mean) / surrogate->deviation;
    if (relearn)
        learn(surrogate);
    while (!factorise(surrogate, count)) {
        surrogate->noise *= 10.0;
        if (surrogate->noise > 1.0)
            return false;
    }
    double whitened[HONE_SURROGATE_POINTS];
    solve_lower(surrogate, count, surrogate->cost, whitened);
    for (uint32_t i = count; i-- > 0;) {
        double value = whitened[i];
        for (uint32_t k = i + 1; k < count; k++)
            value -= surrogate->factor[(size_t)k * HONE_SURROGATE_POINTS + i] * surrogate->alpha[k];
        surrogate->alpha[i] = value / surrogate->factor[(size_t)i * HONE_SURROGATE_POINTS + i];
    }
    return true;
}

void hone__surrogate_predict(const hone__surrogate *surrogate, const hone__config *config, double *mean, double *deviation) {
    double likeness[HONE_SURROGATE_POINTS] = {0}, whitened[HONE_SURROGATE_POINTS];
    double value = 0, variance = 1.0;
    for (uint32_t i = 0; i < surrogate->count; i++) {
        likeness[i] = hone__surrogate_likeness(surrogate, config, &surrogate->config[i]);
        value += likeness[i] * surrogate->alpha[i];
    }
    solve_lower(surrogate, surrogate->count, likeness, whitened);
    for (uint32_t i = 0; i < surrogate->count; i++)
        variance -= whitened[i] * whitened[i];
    *mean = surrogate->mean + value * surrogate->deviation;
    *deviation = sqrt(variance > 1e-10 ? variance : 1e-10) * surrogate->deviation;
}

double hone__surrogate_improvement(const hone__surrogate *surrogate, const hone__config *config, double best) {
    double mean, deviation;
    hone__surrogate_predict(surrogate, config, &mean, &deviation);
    double z = (best - mean) / deviation;
    double density = exp(-0.5 * z * z) * 0.3989422804014327;
    double below = 0.5 * erfc(-z * 0.7071067811865476);
    return (best - mean) * below + deviation * density;
}
