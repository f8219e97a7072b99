/* limit.h: every limit of the library, each with its reason.  Tests probe max-1, max and max+1.
 * Not called limits.h: the compiler's own <limits.h> looks for a second one, and would find that. */
#ifndef HONE_LIMITS_H
#define HONE_LIMITS_H

#define HONE_LIMIT_SPEC_BYTES (1u << 20)     /* a spec is written by hand; a megabyte is a mistake */
#define HONE_LIMIT_SOURCE_BYTES (1u << 20)   /* kernel source or reference: both fit one evaluator message */
#define HONE_LIMIT_DEPENDENCY_BYTES (4u << 20) /* one header or callee; hashed only */
#define HONE_LIMIT_JSON_DEPTH 32             /* cJSON recurses: keep the stack small on hostile input */
#define HONE_LIMIT_JSON_INT 9007199254740992LL /* 2^53: what a JSON number carries exactly */
#define HONE_LIMIT_PARAMS 64u                /* three times the widest space that we know of */
#define HONE_LIMIT_SLOTS 128u                /* scalars after flattening lists and permutations */
#define HONE_LIMIT_ENUM 4096u                /* values of one enum */
#define HONE_LIMIT_CONSTRAINTS 256u
#define HONE_LIMIT_EXPR_BYTES 4096u
#define HONE_LIMIT_EXPR_DEPTH 64u            /* parser recursion and evaluation stack */
#define HONE_LIMIT_NAME_BYTES 64u
#define HONE_LIMIT_ARGS 64u
#define HONE_LIMIT_SEEDS 64u
#define HONE_LIMIT_OPTIONS 64u
#define HONE_LIMIT_DEPENDENCIES 64u
#define HONE_LIMIT_REASON_BYTES 512u         /* why a trial failed; shown to people and to the model */
#define HONE_LIMIT_REPLY_BYTES (8u << 20)    /* a model's answer, headers and body */
#define HONE_LIMIT_PROMPT_BYTES (96u << 10)  /* about 30,000 tokens */
#define HONE_LIMIT_MESSAGE_BYTES (4u << 20)  /* one line of the evaluator protocol */
#define HONE_LIMIT_STDERR_BYTES (64u << 10)  /* of a child, kept for the reason; the rest is read and dropped */
#define HONE_LIMIT_RECORD_BYTES (16u << 20)  /* one value in the cache: a request and a reply at their limits */
#define HONE_LIMIT_RECORDED_BYTES (256u << 20) /* a recorded space, unpacked: a few hundred thousand rows */
#define HONE_LIMIT_RECORDED_ROWS (1u << 20)
#define HONE_LIMIT_SAMPLES 4096u             /* timings of one trial */
#define HONE_LIMIT_BATCH 256u                /* configs in flight */

#endif
