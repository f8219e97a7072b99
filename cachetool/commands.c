/* commands.c: the table of commands and options.  Everything that the user can type is listed here, once. */
#include "opt.h"

#include <string.h>

#define FIELD(member) offsetof(settings, member)

const option_spec option_table[OPT_COUNT] = {
    [OPT_SET] = {"set", 's', VALUE_SIZE, "NAME=VALUE", NULL, 0, 0, FIELD(set),
                 "Set a size of the problem; sizes that are not set have the spec's default. May be repeated; the last one counts."},
    [OPT_SEARCH] = {"search", 0, VALUE_CHOICE, "NAME", "auto|hybrid|llm|lfbo|random|exhaustive", 0, 0, FIELD(search),
                    "What proposes configs. auto (the default, or $HONE_AUTOTUNER): hybrid when a model is configured, else lfbo."},
    [OPT_EVALUATOR] = {"evaluator", 0, VALUE_COMMAND, "CMD", NULL, 0, 0, FIELD(evaluator),
                       "Command line of a program that compiles and times configs (spec/evaluator.md), instead of the built-in worker."},
    [OPT_DEVICE] = {"device", 0, VALUE_TEXT, "DEVICE", NULL, 0, 0, FIELD(device),
                    "cpu; for an external evaluator whatever it understands, e.g. cuda:0. Default: what the kernel's language needs."},
    [OPT_MAX_TRIALS] = {"max-trials", 'n', VALUE_WHOLE, "N", NULL, 1, 1000000, FIELD(max_trials),
                        "Measure at most this many configs (200). Trials taken from the journal count."},
    [OPT_MAX_TIME] = {"max-time", 't', VALUE_SECONDS, "SECONDS", NULL, 0, 0, FIELD(max_time),
                      "Stop searching after this time. What is in hand then has ten seconds more. No limit unless given."},
    [OPT_ROUNDS] = {"rounds", 0, VALUE_WHOLE, "N", NULL, 1, 1000, FIELD(rounds), "Ask the model at most this often (4)."},
    [OPT_CONFIGS_PER_ROUND] = {"configs-per-round", 0, VALUE_WHOLE, "N", NULL, 1, 256, FIELD(configs_per_round),
                               "Ask the model for this many configs at a time (15)."},
    [OPT_MAX_TOKENS_TOTAL] = {"max-tokens-total", 0, VALUE_WHOLE, "N", NULL, 1, 9007199254740992u, FIELD(tokens),
                              "Send no request to the model once this many tokens are used. No limit unless given."},
    [OPT_CACHE] = {"cache", 'c', VALUE_FILE, "PATH", NULL, 0, 0, FIELD(cache),
                   "The cache file. Default: $HONE_CACHE, else $XDG_CACHE_HOME/hone/cache.hone, else ~/.cache/hone/cache.hone."},
    [OPT_SEED] = {"seed", 0, VALUE_WHOLE, "N", NULL, 1, 9007199254740992u, FIELD(seed),
                  "Seed of everything random (1): the same seed and the same measurements propose the same configs."},
    [OPT_FORCE] = {"force", 'f', VALUE_NONE, NULL, NULL, 0, 0, FIELD(force),
                   "Tune although the cache has an exact answer, and measure afresh."},
    [OPT_LLM_PROVIDER] = {"llm-provider", 0, VALUE_CHOICE, "NAME", "openai|chat|anthropic|command|mailbox|replay|none", 0, 0,
                          FIELD(llm_provider), "How the model is reached; else $HONE_LLM_PROVIDER, else by what is configured."},
    [OPT_LLM_MODEL] = {"llm-model", 0, VALUE_TEXT, "NAME", NULL, 0, 0, FIELD(llm_model), "The model; else $HONE_LLM_MODEL."},
    [OPT_LLM_API_BASE] = {"llm-api-base", 0, VALUE_TEXT, "URL", NULL, 0, 0, FIELD(llm_api_base),
                          "Base address of the provider; else $HONE_LLM_API_BASE. Keys come from the environment only."},
    [OPT_LLM_COMMAND] = {"llm-command", 0, VALUE_COMMAND, "CMD", NULL, 0, 0, FIELD(llm_command),
                         "A program that reads the prompt on stdin and writes the answer; else $HONE_LLM_COMMAND."},
    [OPT_LLM_MAILBOX] = {"llm-mailbox", 0, VALUE_FOLDER, "FOLDER", NULL, 0, 0, FIELD(llm_mailbox),
                         "Write prompts as files into this folder and wait for answers there; else $HONE_LLM_MAILBOX."},
    [OPT_LLM_REPLAY] = {"llm-replay", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(llm_replay),
                        "Take the answers from a transcript instead of a model."},
    [OPT_LLM_TIMEOUT] = {"llm-timeout", 0, VALUE_WHOLE, "SECONDS", NULL, 1, 604800, FIELD(llm_timeout),
                         "Wait this long for one answer of the model, its retries included (300)."},
    [OPT_TRANSCRIPT] = {"transcript", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(transcript),
                        "Write the conversation with the model here, as JSON lines (spec/transcript.md)."},
    [OPT_REPEAT] = {"repeat", 0, VALUE_WHOLE, "K", NULL, 1, 100000, FIELD(repeat), "Run this often, with seeds counting up from --seed (1)."},
    [OPT_TRANSFER] = {"transfer", 0, VALUE_FILES, "FILE", NULL, 0, 0, FIELD(transfer),
                      "Another recorded space of the same kernel, whose trials stand in for what a cache knows; may be repeated, nearest first."},
    [OPT_NOISE] = {"noise", 0, VALUE_FRACTION, "X", NULL, 0, 0, FIELD(noise),
                   "Multiply each time by noise of this relative deviation, such as 0.03 (none)."},
    [OPT_MAN] = {"man", 0, VALUE_NONE, NULL, NULL, 0, 0, FIELD(man), "Print the manual page in man's format."},
    [OPT_JSON] = {"json", 'j', VALUE_NONE, NULL, NULL, 0, 0, FIELD(json), "Print JSON (spec/json.md) instead of text for people."},
    [OPT_QUIET] = {"quiet", 'q', VALUE_NONE, NULL, NULL, 0, 0, FIELD(quiet), "No progress and no remarks; only warnings, errors and the result."},
    [OPT_VERBOSE] = {"verbose", 'v', VALUE_NONE, NULL, NULL, 0, 0, FIELD(verbose), "Say everything that happens."},
    [OPT_HELP] = {"help", 'h', VALUE_NONE, NULL, NULL, 0, 0, FIELD(help), "Print this help."},
};

#define BIT(id) (UINT64_C(1) << OPT_##id)
#define COMMON (BIT(QUIET) | BIT(VERBOSE) | BIT(HELP))
#define PROBLEM (BIT(SET) | BIT(DEVICE) | BIT(EVALUATOR) | BIT(CACHE) | BIT(JSON))
#define MODEL                                                                                                \
    (BIT(LLM_PROVIDER) | BIT(LLM_MODEL) | BIT(LLM_API_BASE) | BIT(LLM_COMMAND) | BIT(LLM_MAILBOX) | BIT(LLM_REPLAY) |     \
     BIT(CONFIGS_PER_ROUND) | BIT(ROUNDS) | BIT(MAX_TRIALS) | BIT(SEED))

const command command_table[] = {
    {"tune", "SPEC.json", 1, 1, VALUE_FILE, NULL,
     COMMON | PROBLEM | MODEL | BIT(SEARCH) | BIT(MAX_TIME) | BIT(MAX_TOKENS_TOTAL) | BIT(FORCE) | BIT(LLM_TIMEOUT) | BIT(TRANSCRIPT),
     "Make sure that the cache has an exact answer, measuring if it has none",
     "Looks the problem up. When the cache has no exact answer, proposes configs, measures them in a separate process, "
     "verifies the best ones against each other, stores the winner and prints it.\n\n"
     "Everything measured is in the cache's journal at once. After Ctrl-C, SIGTERM, a crash or a lost model the same command goes on "
     "where it was and measures nothing twice. An interrupted tuning exits with 4; a second Ctrl-C ends it at once.\n\n"
     "With `-` as SPEC.json the spec is read from stdin, and its paths are relative to the current folder.",
     "hone tune kernel.json --set M=4096 --max-time 60", cmd_tune, false},
    {"lookup", "SPEC.json", 1, 1, VALUE_FILE, NULL, COMMON | PROBLEM,
     "Print the best known config for a problem",
     "Prints the config as JSON on stdout and how it was found on stderr: exact; near_shape, for the same kernel and device at near sizes; "
     "near_device, for the same problem on a like device; or the author's default. Measures nothing.\n\n"
     "Exits with 0 for an exact answer and with 1 for any other.",
     "hone lookup kernel.json --set M=4096", cmd_lookup, false},
    {"explain", "SPEC.json", 1, 1, VALUE_FILE, NULL, COMMON | PROBLEM,
     "Say why a look-up answers what it answers",
     "Goes through every tier and layer of a look-up and prints what matched or which field differs. Exits with 0 whatever the answer is.",
     "hone explain kernel.json --set M=4000", cmd_explain, false},
    {"prompt", "SPEC.json", 1, 1, VALUE_FILE, NULL, COMMON | PROBLEM | MODEL,
     "Print exactly what the model would be sent, and send nothing",
     "Prints the system text, an empty line and the first user message to stdout. Nothing goes over the network.",
     "hone prompt kernel.json | less", cmd_prompt, false},
    {"ls", "", 0, 0, VALUE_NONE, NULL, COMMON | BIT(CACHE) | BIT(JSON), "List the entries of a cache",
     "One line for each entry: key, kernel, sizes, time, speed-up, device, age. With --json one JSON object a line.", "hone ls",
     cmd_ls, false},
    {"show", "KEY", 1, 1, VALUE_TEXT, NULL, COMMON | BIT(CACHE) | BIT(JSON),
     "Show one entry: config, how it was found, alternatives, trials",
     "KEY is the key that `hone ls` and `hone tune` print, or an unambiguous beginning of at least 4 digits. Exits with 1 when there is none.",
     "hone show 3fa9", cmd_show, false},
    {"stats", "", 0, 0, VALUE_NONE, NULL, COMMON | BIT(CACHE) | BIT(JSON), "Counts and sizes of a cache",
     "Prints how many records of which kind the cache holds, and the counters of hits and misses, which survive restarts.",
     "hone stats --json", cmd_stats, false},
    {"simulate", "SPACE.json.gz", 1, 1, VALUE_FILE, NULL,
     COMMON | BIT(SEARCH) | BIT(MAX_TRIALS) | BIT(REPEAT) | BIT(SEED) | BIT(TRANSFER) | BIT(NOISE) | BIT(JSON),
     "Run a search strategy on a recorded space",
     "Every config of a recorded space (spec/space.md) was measured before: each proposed config is looked up, which judges a strategy in "
     "seconds and without a device. Prints how near to the optimum the search is after some numbers of trials; with --json one "
     "line for each repeat, with the best time after each trial.",
     "hone simulate gemm.json.gz --search random --repeat 50 --json", cmd_simulate, false},
    {"device", "[SPEC.json]", 0, 1, VALUE_FILE, NULL, COMMON | BIT(DEVICE) | BIT(EVALUATOR) | BIT(JSON),
     "What this machine is, as the key sees it",
     "Prints the device's identity, which is part of every key, and what only describes it. With a spec: the device that this kernel is tuned "
     "on, which for language external is what its evaluator says.",
     "hone device --device cpu", cmd_device, false},
    {"completion", "bash|zsh|fish", 1, 1, VALUE_CHOICE, "bash|zsh|fish", COMMON, "Print a completion script for a shell",
     "Installed by `cmake --install`; to try it in a running bash: eval \"$(hone completion bash)\".", "hone completion fish | source",
     cmd_completion, false},
    {"help", "[COMMAND]", 0, 1, VALUE_TEXT, NULL, COMMON | BIT(MAN), "Help on a command", "The same as `hone COMMAND --help`.",
     "hone help tune", cmd_help, false},
    {"version", "", 0, 0, VALUE_NONE, NULL, COMMON | BIT(JSON), "Print the version", "Prints the version of the library that is linked.", NULL,
     cmd_version, false},
};
const size_t command_count = sizeof command_table / sizeof command_table[0];

const command *command_find(const char *name) {
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(command_table[i].name, name) == 0)
            return &command_table[i];
    }
    return NULL;
}

bool command_takes(const command *cmd, option_id id) {
    return (cmd->options >> id & 1) != 0;
}
