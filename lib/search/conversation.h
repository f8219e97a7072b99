/* conversation.h: what a model and a search have said to each other so far, shared by the two strategies that ask a model: llm_search.c has the
 * conversation itself, hybrid_search.c what hybrid does with its replies. */
#ifndef HONE_CONVERSATION_H
#define HONE_CONVERSATION_H

#include "lfbo.h"

typedef struct hone__conversation {
    char *initial;              /* first user message */
    char *last_reply;           /* "" before the first */
    hone__parsed_reply parsed;  /* of the last reply: its rejections go into the next prompt */
    hone__lfbo *lfbo;           /* NULL unless it may go on */
    uint32_t exchange;          /* index of the next request */
    uint32_t batch_first, batch_end; /* results queued from the last reply */
    uint32_t held_next;         /* hybrid: next of the last reply's configs to be measured */
    uint32_t openers;           /* hybrid: so many of the reply's configs, the first ones, stand for a family each */
    uint32_t openers_end;       /* hybrid: results before this one were for the sake of a family, and use up no credit */
    uint32_t released;          /* hybrid: of the reply's configs */
    bool surrogate_next;        /* hybrid: whose turn it is, when they take turns */
    uint32_t dry;               /* hybrid: the model's results since the last new best */
    bool hybrid;
    bool paid;                  /* hybrid: the last reply brought a new best */
    uint32_t duds;              /* hybrid: rounds in a row that did not */
    uint32_t rest_from;         /* hybrid: told when the last round was through; 0: it is not */
    double best_then;           /* hybrid: best when the last reply came, then when its round was through */
    uint32_t stagnant, empty;
    double best_asked;          /* best when the last request left */
    bool in_flight;             /* the transport has a request of ours */
    bool repairing;             /* ... which is the one cheap repair of a useless reply */
    bool over;                  /* no further requests */
    uint32_t meanwhile;         /* hybrid: trials that the surrogate may still have while this request is under way */
    bool waiting;               /* nothing to propose before the reply */
    char *recalled;             /* reply from the record, to be taken when as much is known as when it came */
    uint32_t recalled_told;
    uint64_t recalled_in, recalled_out;
    double recalled_s;
    hone_error failure;         /* code != 0: to be returned by pump */
} hone__conversation;

/* The best time so far; infinite before there is one. */
double hone__conversation_best_ns(const hone__strategy *strategy);
/* The model will not be asked again; `why` is for people. */
void hone__conversation_end(hone__strategy *strategy, const char *why);
/* Ask for the next batch; `problem`: for a repair of the last reply instead. */
void hone__conversation_ask(hone__strategy *strategy, const char *problem);
/* What the strategies have in common. */
hone_status hone__conversation_open(hone__strategy *strategy, hone_error *err);
void hone__conversation_close(hone__strategy *strategy);
hone_status hone__conversation_pump(hone__strategy *strategy, uint32_t timeout_ms, hone_error *err);

/* hybrid_search.c: put the configs of the last reply that stand for a family each first. */
void hone__hybrid_families_first(hone__strategy *strategy);

#endif
