/* recorded.h: a config space whose every config was measured before (spec/space.md): what strategies are judged on without a device. */
#ifndef HONE_RECORDED_H
#define HONE_RECORDED_H

#include "json.h"
#include "space.h"

typedef struct hone__recorded {
    char *kernel, *gpu;           /* names */
    char *about;                  /* problem, constants, restrictions and notes as text, for a model */
    hone__space *space;
    hone__bound *bound;           /* listed: exactly the rows */
    uint32_t row_count;
    double *time_ms;              /* by hone__bound_row; 0: the config failed */
    uint8_t *failure;             /* by row: index into `reason`, when it failed */
    char *reason[16];             /* distinct error texts; those beyond 15 share the last */
    uint32_t reason_count;
    uint32_t best;                /* row */
} hone__recorded;

/* Read a file, gzip or plain.  HONE_E_JSON or HONE_E_CORRUPT: not such a file; HONE_E_LIMIT: larger than spec/space.md allows;
 * HONE_E_CONFIG: no row has run. */
hone_status hone__recorded_load(hone__recorded **out, const char *path, hone_error *err);
/* The same from text; `label` names it in errors. */
hone_status hone__recorded_parse(hone__recorded **out, const char *text, size_t bytes, const char *label, hone_error *err);
/* What the file says about its kernel, as text (hone__free); NULL: out of memory. */
char *hone__recorded_about(const cJSON *json);
void hone__recorded_free(hone__recorded *recorded);

#endif
