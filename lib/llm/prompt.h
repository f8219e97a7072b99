/* prompt.h: what the model is told, and what is made of its answer (spec/prompt.md).  Pure text in, text out. */
#ifndef HONE_PROMPT_H
#define HONE_PROMPT_H

#include "device.h"
#include "kernel.h"
#include "trial.h"

/* A config that did well for this kernel elsewhere (from the cache). */
typedef struct hone__neighbour {
    char where[160];              /* "M=2048 N=1024 on this device" */
    hone__config config;          /* valid here */
    double speedup;               /* over the default there; 0 unknown */
} hone__neighbour;

typedef struct hone__shown_trial {
    const hone__config *config;
    const char *proposer;
    const hone__measurement *result;
} hone__shown_trial;

/* A rejected proposal and why, for the model. */
typedef struct hone__rejection {
    char *config;                 /* as the model wrote it, shortened to 160 bytes */
    char *reason;
} hone__rejection;

typedef struct hone__prompt_input {
    const hone_kernel *kernel;
    const hone__bound *bound;
    const hone_device *device;
    const hone__neighbour *neighbour;
    uint32_t neighbour_count;
    uint32_t configs_wanted;      /* of this round */
    /* refinement only: */
    const hone__shown_trial *trial; /* all so far, in order of measurement */
    uint32_t trial_count;
    const hone__rejection *rejection; /* of the last reply */
    uint32_t rejection_count;
    uint32_t round, rounds_max;
    uint32_t trials_left;
} hone__prompt_input;

/* The fixed role and output contract. */
const char *hone__prompt_system(void);
/* Append the first user message; the refinement message; the repair message (`problem`: what was wrong with the reply). */
void hone__prompt_initial(hone__buf *buf, const hone__prompt_input *input);
void hone__prompt_refine(hone__buf *buf, const hone__prompt_input *input);
void hone__prompt_repair(hone__buf *buf, const hone__prompt_input *input, const char *problem);
/* JSON schema of an answer for this space: {"configs": [...]}.  Caller deletes; NULL when out of memory. */
cJSON *hone__prompt_schema(const hone__space *space);

/* Take every usable config out of a reply, whatever surrounds it: fences, prose, truncation, one config per line, a bare list, slips
 * (spec/prompt.md section 4).  Repaired and valid for `bound`, no duplicates among themselves. */
typedef struct hone__parsed_reply {
    hone__config *config;
    uint32_t count;
    hone__rejection *rejection;
    uint32_t rejection_count;
    char *thought;                /* the answer to "which assumption is refuted", shortened; "" when none */
    char problem[256];            /* when count is 0: what was wrong with the reply as a whole */
} hone__parsed_reply;
hone_status hone__reply_parse(hone__parsed_reply *out, const char *text, size_t bytes, const hone__bound *bound, uint32_t max,
                              hone_error *err);
void hone__parsed_reply_clear(hone__parsed_reply *parsed);

#endif
