/* opt.h: one declarative table of commands and options drives parsing, --help, closest-match suggestions, man pages and completions. */
#ifndef CACHETOOL_OPT_H
#define CACHETOOL_OPT_H

#include "hone.h"

#include <stdbool.h>
#include <stdio.h>

/* Exit codes of the command; part of its interface. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_MISS = 1,        /* a miss or a difference */
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_INPUT = 3,       /* bad input, corrupt file */
    EXIT_CODE_ENVIRONMENT = 4, /* files, devices, evaluators, time; also a tuning that was interrupted */
    EXIT_CODE_NETWORK = 5,     /* network, model provider */
    EXIT_CODE_BUG = 70
};

/* What an option takes, or an operand is: decides how it is read, shown and completed. */
typedef enum value_kind {
    VALUE_NONE,    /* a flag */
    VALUE_TEXT,
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_COMMAND, /* a command line, split into words by the library */
    VALUE_CHOICE,  /* one of `choices` */
    VALUE_WHOLE,   /* whole number in min..max */
    VALUE_FILES,   /* may be repeated */
    VALUE_FRACTION, /* decimal, 0 to 1 */
    VALUE_SECONDS, /* decimal seconds, above 0 */
    VALUE_NUMBER,  /* decimal, above 0 */
    VALUE_AGE,     /* whole number with s, m, h, d, w or y; stored as seconds */
    VALUE_MOMENT,  /* an age, or a date YYYY-MM-DD; stored as seconds since 1970 */
    VALUE_SIZE     /* NAME=VALUE; may be repeated */
} value_kind;

enum { SET_MAX = 2 * HONE_SIZES_MAX, FILES_MAX = 16 };

typedef struct file_list {
    const char *path[FILES_MAX];
    size_t count;
} file_list;

typedef struct size_setting {
    char name[64];
    int64_t value;
} size_setting;

/* What the command line said.  Zero or NULL: not given. */
typedef struct settings {
    size_setting set[SET_MAX];
    size_t set_count;
    const char *search, *evaluator, *device, *cache, *transcript, *about;
    const char *llm_provider, *llm_model, *llm_api_base, *llm_command, *llm_mailbox, *llm_replay;
    uint64_t max_trials, in_flight, rounds, tokens, configs_per_round, seed, llm_timeout, repeat;
    double max_time, noise, min_gain, roofline_stop;
    file_list transfer, pack;
    const char *kernel, *on_device, *strategy, *effort, *tool_version; /* which entries */
    double min_speedup, max_speedup;
    int64_t older_than_unix_s, newer_than_unix_s;
    const char *output, *policy, *base, *format, *symbol, *machine, *trust, *signature, *secret_key, *comment;
    uint64_t keep_s;
    bool whole_budget, force, json, quiet, verbose, help, man, dry_run, strict, without_source;
} settings;

typedef enum option_id {
    OPT_SET,
    OPT_SEARCH,
    OPT_EVALUATOR,
    OPT_DEVICE,
    OPT_MAX_TRIALS,
    OPT_MAX_TIME,
    OPT_MIN_GAIN,
    OPT_ROOFLINE_STOP,
    OPT_WHOLE_BUDGET,
    OPT_ROUNDS,
    OPT_CONFIGS_PER_ROUND,
    OPT_MAX_TOKENS_TOTAL,
    OPT_CACHE,
    OPT_SEED,
    OPT_FORCE,
    OPT_LLM_PROVIDER,
    OPT_LLM_MODEL,
    OPT_LLM_API_BASE,
    OPT_LLM_COMMAND,
    OPT_LLM_MAILBOX,
    OPT_LLM_REPLAY,
    OPT_LLM_TIMEOUT,
    OPT_TRANSCRIPT,
    OPT_REPEAT,
    OPT_TRANSFER,
    OPT_NOISE,
    OPT_IN_FLIGHT,
    OPT_ABOUT,
    OPT_OUTPUT,
    OPT_FORMAT,
    OPT_POLICY,
    OPT_BASE,
    OPT_SYMBOL,
    OPT_MACHINE,
    OPT_WITHOUT_SOURCE,
    OPT_KERNEL,
    OPT_ON_DEVICE,
    OPT_STRATEGY,
    OPT_EFFORT,
    OPT_TOOL_VERSION,
    OPT_MIN_SPEEDUP,
    OPT_MAX_SPEEDUP,
    OPT_OLDER_THAN,
    OPT_NEWER_THAN,
    OPT_KEEP,
    OPT_PACK,
    OPT_TRUST,
    OPT_SIGNATURE,
    OPT_SECRET_KEY,
    OPT_COMMENT,
    OPT_STRICT,
    OPT_OVERWRITE,
    OPT_DRY_RUN,
    OPT_MAN,
    OPT_JSON,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_COUNT
} option_id;

_Static_assert(OPT_COUNT <= 64, "a command's options are bits of a word");

typedef struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* '\0': none */
    value_kind kind;
    const char *metavar;
    const char *choices; /* separated by '|' */
    uint64_t min, max;   /* VALUE_WHOLE */
    size_t offset;       /* of the member of `settings` */
    const char *help;
} option_spec;

extern const option_spec option_table[OPT_COUNT];

typedef struct invocation {
    const struct command *command;
    settings settings;
    const char *const *operand;
    size_t operand_count;
} invocation;

typedef struct command {
    const char *name;
    const char *operands;    /* as shown: "SPEC.json" */
    size_t operands_min, operands_max;
    value_kind operand_kind; /* for completion; VALUE_CHOICE: operand_choices */
    const char *operand_choices;
    uint64_t options;        /* bits of option_id */
    const char *summary;     /* one line */
    const char *description; /* paragraphs separated by empty lines; lines are filled anew */
    const char *example;     /* NULL: none */
    int (*run)(const invocation *in);
    bool hidden;
} command;

extern const command command_table[];
extern const size_t command_count;

/* NULL when there is none of that name. */
const command *command_find(const char *name);
bool command_takes(const command *cmd, option_id id);

/* Say on stderr what is wrong with the command line; EXIT_CODE_USAGE. */
__attribute__((format(printf, 2, 3))) int usage_error(const invocation *in, const char *format, ...);
/* Read the words after the command's name.  False: a usage error was printed to stderr. */
bool options_parse(invocation *in, int argc, char **argv);
/* The name in the table nearest to a mistyped command; NULL when none is near. */
const char *command_suggest(const char *word);
/* Edit distance with transpositions, for suggestions; words beyond 63 bytes are far from everything. */
size_t word_distance(const char *a, const char *b);
/* Does the '|'-separated list hold the word? */
bool choice_in(const char *choices, const char *word);

/* Printed from the tables (help.c). */
void help_overview(FILE *to);
void help_command(FILE *to, const command *cmd);
void help_usage_line(FILE *to, const command *cmd);
void man_page(FILE *to, const command *cmd); /* NULL: hone(1) */

int cmd_tune(const invocation *in);
int cmd_lookup(const invocation *in);
int cmd_explain(const invocation *in);
int cmd_prompt(const invocation *in);
int cmd_show(const invocation *in);
int cmd_ls(const invocation *in);
int cmd_stats(const invocation *in);
int cmd_dump(const invocation *in);
int cmd_load(const invocation *in);
int cmd_diff(const invocation *in);
int cmd_verify(const invocation *in);
int cmd_merge(const invocation *in);
int cmd_export(const invocation *in);
int cmd_import(const invocation *in);
int cmd_prune(const invocation *in);
int cmd_compact(const invocation *in);
int cmd_gc(const invocation *in);
int cmd_keygen(const invocation *in);
int cmd_sign(const invocation *in);
int cmd_simulate(const invocation *in);
int cmd_device(const invocation *in);
int cmd_help(const invocation *in);
int cmd_version(const invocation *in);
int cmd_completion(const invocation *in);

#endif
