/* lookup.h: what the files of the answer path share (lookup.c, near.c, answer.c, explain.c).  Nobody else includes it. */
#ifndef HONE_LOOKUP_H
#define HONE_LOOKUP_H

#include "cache.h"
#include "device.h"
#include "kernel.h"
#include "layer.h"

#define HONE_REASON_MAX 768u     /* bytes of one tier's reason */
#define HONE_LAYER_REASON_MAX 256u
#define HONE_CHANGED_MAX 512u
#define HONE_CANDIDATES_MAX 4096u /* entries of one kernel that a look-up considers */

/* The question. */
typedef struct hone__query {
    const hone_cache *cache; /* or NULL */
    const hone_kernel *kernel;
    const hone_device *device;
    hone_problem problem;
    hone__key key;
} hone__query;

/* What one layer had to say to the exact question. */
typedef struct hone__layer_note {
    char *name;
    bool answered;
    char reason[HONE_LAYER_REASON_MAX]; /* why it did not answer; "" when it did */
} hone__layer_note;

/* The kernel MUST outlive the answer: the config points into its space. */
struct hone_answer {
    hone__query query;         /* cache and device are not used after the look-up */
    char *device;              /* the asking device's name */
    hone_match match;
    hone_config config;
    bool has_source;
    hone__entry source;        /* the entry that the config came from */
    uint32_t rank;             /* 0: its best, n: its n-th alternative, because better ones are not valid here */
    double distance;
    char *layer;               /* path of the cache or pack that answered, or "author" */
    hone__layer_note *note;    /* of each layer that was asked */
    uint32_t note_count;
    int64_t now_unix_s;
    char changed[HONE_CHANGED_MAX];  /* exact, measured under other software: what has changed; else "" */
    char reason[3][HONE_REASON_MAX]; /* why exact, near_shape, near_device did not match; "" when not asked or matched */
};

/* What explain collects: an array of candidates for each tier; NULL members in a plain look-up. */
typedef struct hone__report {
    cJSON *candidates[3];
    uint32_t omitted[3];
    char reason[3][HONE_REASON_MAX];
    bool matched[3];
} hone__report;

/* Find the answer.  With `report`, every tier is tried although a better one has matched. */
hone_status hone__lookup_resolve(hone_answer *answer, const hone__query *query, hone__report *report, hone_error *err);
hone_status hone__lookup_query(hone__query *query, const hone_cache *cache, const hone_kernel *kernel, const hone_device *device,
                               const hone_problem *problem, hone_error *err);

/* May an entry for `there` (its sizes as JSON) serve `here`?  Sets the distance; false: *why says which size forbids it. */
bool hone__near_shape(const hone_kernel *kernel, const int64_t *here, const char *there, double *distance, hone__buf *why);
/* May an entry of another device (its JSON) serve this one? */
bool hone__near_device(const hone_device *here, const char *there, double *distance, hone__buf *why);
/* What differs, as an array of {"field", "here", "there"}. */
cJSON *hone__differences(const hone__query *query, const hone__entry *entry);

/* The first of an entry's configs (best, then alternatives) that this kernel allows for these sizes. */
bool hone__entry_usable(const hone__query *query, const hone__entry *entry, hone__config *config, uint32_t *rank, hone__buf *why);
/* Make that config the entry's best, because better ones are not valid here. */
void hone__entry_promote(hone__entry *entry, uint32_t rank);
const hone__ranked *hone__entry_ranked(const hone__entry *entry, uint32_t rank);

/* Was the entry measured under another driver or toolkit than this device has?  Appends what has changed. */
bool hone__entry_changed(const hone__query *query, const hone__entry *entry, hone__buf *why);

void hone__answer_print(hone__buf *buf, const hone_answer *answer);
void hone__print_id(hone__buf *buf, const uint8_t id[16]);

#endif
