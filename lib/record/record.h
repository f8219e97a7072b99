/* record.h: entries, trials, requests and kernels as bytes (spec/record.md): one codec for cache and, later, pack.
 * Decoding distrusts every byte. */
#ifndef HONE_RECORD_H
#define HONE_RECORD_H

#include "key.h"
#include "trial.h"

typedef enum hone__effort { HONE_EFFORT_NONE, HONE_EFFORT_QUICK, HONE_EFFORT_STANDARD, HONE_EFFORT_THOROUGH } hone__effort;
const char *hone__effort_name(hone__effort effort);

#define HONE_ALTERNATIVES_MAX 5u

typedef struct hone__ranked {
    char *config;          /* whole config as canonical JSON: portable between versions of a space's index layout */
    double time_ns, low_ns, high_ns, mad_ns;
    uint32_t samples;
} hone__ranked;

/* What the cache knows of one key.  Strings are owned, never NULL after decoding ("" when unknown). */
typedef struct hone__entry {
    hone__key key;
    char *kernel_name;
    char *sizes;           /* {"M":1024,...}: the problem as tuned */
    char *device;          /* identity and name as JSON, so that a cache explains itself */
    hone__ranked best;
    hone__ranked alternative[HONE_ALTERNATIVES_MAX];
    uint32_t alternative_count;
    double default_ns;     /* of the default in the same session, 0 when it failed */
    double flops, bytes;   /* of one run; 0 unknown */
    double roofline;       /* fraction of the physical limit, 0 unknown */
    hone__effort effort;
    hone__accuracy accuracy;
    bool tie;              /* the runner-up is equal within noise */
    char *strategy, *model, *stop, *tool_version, *host, *driver, *toolkit;
    uint32_t rounds, trials, failed;
    uint64_t tokens;
    double seconds;
    int64_t created_unix_s;
} hone__entry;

/* One measured config, as the journal keeps it. */
typedef struct hone__trial {
    char *config;          /* canonical JSON */
    char *proposer;        /* "default", "seed", "neighbour", "random", "model:1", "lfbo", ... */
    hone__measurement result;
    int64_t created_unix_s;
} hone__trial;

/* One exchange with a model, written before it is sent (reply NULL -> "") and again when answered. */
typedef struct hone__exchange {
    uint32_t index;        /* 0, 1, ... in the session */
    char *request;         /* JSON: messages as sent */
    char *reply;           /* the text of the answer; "" while there is none */
    uint64_t tokens_in, tokens_out;
    double seconds;
    uint32_t told;         /* how many trials the strategy had been told when this was asked, or, with a reply, answered */
} hone__exchange;

/* A tuning under way or ended. */
typedef struct hone__session {
    char *strategy, *model;
    uint64_t seed;
    bool done;
    double seconds;        /* spent so far, over all runs */
    uint32_t runs;         /* how many processes have worked on it */
    int64_t started_unix_s;
    char *options;         /* JSON of what changes the course: rounds_max, configs_per_round, ... */
} hone__session;

/* name, spec JSON and source, so that a cache explains itself */
typedef struct hone__kernel_info {
    uint8_t id[16];
    char *name;
    char *language;
    char *space;           /* JSON of params and constraints */
    char *source;          /* "" when not kept */
} hone__kernel_info;

/* A negative answer with an expiry. */
typedef struct hone__failure {
    char *reason;
    int64_t created_unix_s, expires_unix_s;
} hone__failure;

/* Every encode appends header, payload and checksum (spec/record.md) to buf; `slot` are the bytes of the key under which the record is
 * stored: they are covered by the checksum, so that a record moved to another key is found out.  Every decode fills a struct that the
 * matching _clear frees; HONE_E_CORRUPT, HONE_E_VERSION, HONE_E_NOMEM. */
typedef struct hone__slot_key {
    const void *bytes;
    size_t count;
} hone__slot_key;

hone_status hone__entry_encode(hone__buf *buf, const hone__entry *entry, hone__slot_key slot);
hone_status hone__entry_decode(hone__entry *entry, const void *bytes, size_t count, hone__slot_key slot);
void hone__entry_clear(hone__entry *entry);
hone_status hone__trial_encode(hone__buf *buf, const hone__trial *trial, hone__slot_key slot);
hone_status hone__trial_decode(hone__trial *trial, const void *bytes, size_t count, hone__slot_key slot);
void hone__trial_clear(hone__trial *trial);
hone_status hone__exchange_encode(hone__buf *buf, const hone__exchange *exchange, hone__slot_key slot);
hone_status hone__exchange_decode(hone__exchange *exchange, const void *bytes, size_t count, hone__slot_key slot);
void hone__exchange_clear(hone__exchange *exchange);
hone_status hone__session_encode(hone__buf *buf, const hone__session *session, hone__slot_key slot);
hone_status hone__session_decode(hone__session *session, const void *bytes, size_t count, hone__slot_key slot);
void hone__session_clear(hone__session *session);
hone_status hone__kernel_info_encode(hone__buf *buf, const hone__kernel_info *info, hone__slot_key slot);
hone_status hone__kernel_info_decode(hone__kernel_info *info, const void *bytes, size_t count, hone__slot_key slot);
void hone__kernel_info_clear(hone__kernel_info *info);
hone_status hone__failure_encode(hone__buf *buf, const hone__failure *failure, hone__slot_key slot);
hone_status hone__failure_decode(hone__failure *failure, const void *bytes, size_t count, hone__slot_key slot);
void hone__failure_clear(hone__failure *failure);

/* Entries that are gathered one by one, up to `max`. */
typedef struct hone__entry_list {
    uint32_t max, count, capacity;
    hone__entry *entry;
} hone__entry_list;
/* Takes the entry over, also when it fails: HONE_E_NOMEM. */
hone_status hone__entry_list_add(hone__entry_list *list, hone__entry *entry);
void hone__entry_list_clear(hone__entry_list *list);

/* The total order of merge (design section 7): negative when a is the better evidence, 0 only for equal records. */
int hone__entry_compare(const hone__entry *a, const hone__entry *b);
/* As spec/json.md, "entry". */
void hone__entry_print(hone__buf *buf, const hone__entry *entry);
void hone__trial_print(hone__buf *buf, const hone__trial *trial);
/* As "kernel" of *show*. */
void hone__kernel_info_print(hone__buf *buf, const hone__kernel_info *info);

#endif
