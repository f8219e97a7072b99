/* listed.c: a bound whose valid configs are given one by one (a recorded space) instead of by constraints.  Rows are kept sorted, so that nothing
 * that is proposed depends on the order in which somebody wrote them down. */
#include "alloc.h"
#include "group.h"

#include <stdlib.h>
#include <string.h>

typedef struct line {
    const uint32_t *row;
    uint32_t slot_count;
} line;

static int compare_rows(const uint32_t *a, const uint32_t *b, uint32_t slot_count) {
    for (uint32_t i = 0; i < slot_count; i++) {
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    }
    return 0;
}

static int compare_lines(const void *a, const void *b) {
    const line *x = a, *y = b;
    return compare_rows(x->row, y->row, x->slot_count);
}

static void load(const hone__bound *bound, uint32_t index, hone__config *out) {
    const uint32_t slot_count = bound->space->slot_count;
    memset(out, 0, sizeof *out);
    memcpy(out->slot, bound->row + (size_t)index * slot_count, slot_count * sizeof *out->slot);
}

static hone_status check_rows(const hone__bound *bound, hone_error *err) {
    for (uint32_t i = 0; i < bound->row_count; i++) {
        hone__config config;
        load(bound, i, &config);
        if (!hone__config_shaped(bound->space, &config))
            return hone__fail(err, HONE_E_ARG, "space", "a listed config has values outside its domains");
        uint32_t width = bound->space->slot_count;
        if (i > 0 && compare_rows(bound->row + (size_t)(i - 1) * width, bound->row + (size_t)i * width, width) == 0) {
            hone__buf text;
            hone__buf_init(&text, 4096);
            hone__config_print(&text, bound->space, &config);
            hone_status status = hone__fail(err, HONE_E_ARG, "space", "a config is listed twice: %.150s", text.length > 0 ? text.data : "");
            hone__buf_free(&text);
            return status;
        }
    }
    return HONE_OK;
}

hone_status hone__bound_new_listed(hone__bound **out, const hone__space *space, const uint32_t *rows, uint32_t count, hone_error *err) {
    *out = NULL;
    if (count == 0)
        return hone__fail(err, HONE_E_CONFIG, "space", "no config is listed");
    const uint32_t width = space->slot_count;
    hone__bound *bound = hone__alloc(sizeof *bound);
    line *lines = hone__alloc_array(count, sizeof *lines);
    if (bound != NULL)
        bound->row = hone__alloc_array((size_t)count * width, sizeof *bound->row);
    if (bound == NULL || lines == NULL || bound->row == NULL) {
        hone__free(lines);
        hone__bound_free(bound);
        return hone__fail(err, HONE_E_NOMEM, "space", "out of memory");
    }
    bound->space = space;
    bound->row_count = count;
    bound->count = count;
    bound->exact = true;
    for (uint32_t i = 0; i < count; i++)
        lines[i] = (line){rows + (size_t)i * width, width};
    qsort(lines, count, sizeof *lines, compare_lines);
    for (uint32_t i = 0; i < count; i++)
        memcpy(bound->row + (size_t)i * width, lines[i].row, width * sizeof *bound->row);
    hone__free(lines);
    hone_status status = check_rows(bound, err);
    if (status != HONE_OK) {
        hone__bound_free(bound);
        return status;
    }
    *out = bound;
    return HONE_OK;
}

uint32_t hone__bound_row(const hone__bound *bound, const hone__config *config) {
    const uint32_t width = bound->space->slot_count;
    uint32_t low = 0;
    uint32_t high = bound->row_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_rows(config->slot, bound->row + (size_t)middle * width, width);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return UINT32_MAX;
}

bool hone__bound_at(const hone__bound *bound, uint32_t index, hone__config *out) {
    if (index >= bound->row_count)
        return false;
    load(bound, index, out);
    return true;
}

/* The row with the least distance; ties are broken at random. */
void hone__listed_nearest(const hone__bound *bound, const hone__config *wanted, hone__rng *rng, hone__config *out) {
    const hone__space *space = bound->space;
    double best = 0;
    uint32_t ties = 0;
    for (uint32_t i = 0; i < bound->row_count; i++) {
        const uint32_t *row = bound->row + (size_t)i * space->slot_count;
        double distance = 0;
        for (uint32_t s = 0; s < space->slot_count && (ties == 0 || distance <= best); s++)
            distance += hone__slot_distance(space->param[space->priv->param_of_slot[s]].domain.count, wanted->slot[s], row[s]);
        if (ties == 0 || distance < best) {
            best = distance;
            ties = 1;
            load(bound, i, out);
        } else if (distance <= best && hone__draw(rng, ++ties) == 0) {
            load(bound, i, out);
        }
    }
}
