#include "encoding.h"
#include "alloc.h"

#include <math.h>

enum { ONE_HOT_MAX = 12, PAIRS_MAX = 48 };

typedef enum form { FORM_PLACE, FORM_VALUE_IS, FORM_ELEMENT_AT, FORM_PRODUCT, FORM_RATIO } form;

typedef struct feature {
    form form;
    uint32_t slot, other;         /* ELEMENT_AT: first slot and length; PRODUCT, RATIO: two slots */
    uint32_t value;               /* VALUE_IS, ELEMENT_AT */
} feature;

struct hone__features {
    const hone__space *space;
    feature *feature;
    uint32_t count;
    bool wide[HONE_LIMIT_SLOTS];  /* numeric slot with values above 0: has a logarithm */
};

static bool is_numeric(const hone__param *param) {
    return param->kind != HONE_KIND_PERMUTATION && param->domain.kind != HONE_KIND_BOOL && param->domain.type != HONE_SYMBOL_STRING &&
           param->domain.count > 1;
}

static bool all_positive(const hone__domain *domain) {
    if (domain->kind == HONE_KIND_ENUM) {
        for (uint32_t i = 0; i < domain->count; i++) {
            if (domain->numbers[i] <= 0)
                return false;
        }
        return true;
    }
    return hone__domain_number(domain, 0) > 0 && hone__domain_number(domain, domain->count - 1) > 0;
}

static void push(hone__features *features, form what, uint32_t slot, uint32_t other, uint32_t value) {
    features->feature[features->count++] = (feature){what, slot, other, value};
}

static void push_slots(hone__features *features, const hone__param *param) {
    if (param->kind == HONE_KIND_PERMUTATION) {
        for (uint32_t v = 0; v < param->slot_count; v++)
            push(features, FORM_ELEMENT_AT, param->first_slot, param->slot_count, v);
        return;
    }
    for (uint32_t s = param->first_slot; s < param->first_slot + param->slot_count && param->domain.count > 1; s++) {
        if (param->domain.type != HONE_SYMBOL_STRING || param->domain.count == 2 || param->domain.count > ONE_HOT_MAX) {
            push(features, FORM_PLACE, s, 0, 0);
            continue;
        }
        for (uint32_t v = 0; v < param->domain.count; v++)
            push(features, FORM_VALUE_IS, s, 0, v);
    }
}

static void push_pairs(hone__features *features, const hone__space *space) {
    uint32_t pairs = 0;
    for (uint32_t a = 0; a < space->slot_count; a++) {
        const hone__param *param = &space->param[hone__space_param_of_slot(space, a)];
        features->wide[a] = is_numeric(param) && all_positive(&param->domain);
    }
    for (uint32_t apart = 1; apart < space->slot_count; apart++) { /* parameters that are written beside each other belong together more often */
        for (uint32_t a = 0; a + apart < space->slot_count && pairs + 2 <= PAIRS_MAX; a++) {
            if (!features->wide[a] || !features->wide[a + apart])
                continue;
            push(features, FORM_PRODUCT, a, a + apart, 0);
            push(features, FORM_RATIO, a, a + apart, 0);
            pairs += 2;
        }
    }
}

hone__features *hone__features_new(const hone__space *space) {
    hone__features *features = hone__alloc(sizeof *features);
    if (features == NULL)
        return NULL;
    features->space = space;
    features->feature = hone__alloc_array(HONE_FEATURES_MAX, sizeof *features->feature);
    if (features->feature == NULL) {
        hone__free(features);
        return NULL;
    }
    for (uint32_t p = 0; p < space->param_count; p++)
        push_slots(features, &space->param[p]);
    push_pairs(features, space);
    if (features->count == 0)
        push(features, FORM_PLACE, 0, 0, 0);
    return features;
}

void hone__features_free(hone__features *features) {
    if (features == NULL)
        return;
    hone__free(features->feature);
    hone__free(features);
}

uint32_t hone__features_count(const hone__features *features) {
    return features->count;
}

void hone__features_fill(const hone__features *features, const hone__config *config, float *row) {
    float logarithm[HONE_LIMIT_SLOTS];
    for (uint32_t s = 0; s < features->space->slot_count; s++) {
        const hone__param *param = &features->space->param[hone__space_param_of_slot(features->space, s)];
        logarithm[s] = features->wide[s] ? (float)log2(hone__domain_number(&param->domain, config->slot[s])) : 0.0f;
    }
    for (uint32_t i = 0; i < features->count; i++) {
        const feature *f = &features->feature[i];
        switch (f->form) {
        case FORM_PLACE:
            row[i] = (float)config->slot[f->slot];
            break;
        case FORM_VALUE_IS:
            row[i] = config->slot[f->slot] == f->value ? 1.0f : 0.0f;
            break;
        case FORM_ELEMENT_AT:
            row[i] = 0;
            for (uint32_t s = 0; s < f->other; s++)
                row[i] = config->slot[f->slot + s] == f->value ? (float)s : row[i];
            break;
        case FORM_PRODUCT:
            row[i] = logarithm[f->slot] + logarithm[f->other];
            break;
        case FORM_RATIO:
            row[i] = logarithm[f->slot] - logarithm[f->other];
            break;
        }
    }
}
