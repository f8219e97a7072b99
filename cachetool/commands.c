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
                    "cpu, cuda:N or cuda:all (every GPU of this machine, which must be equal); for an external evaluator whatever it understands. Default: what the kernel's language needs."},
    [OPT_MAX_TRIALS] = {"max-trials", 'n', VALUE_WHOLE, "N", NULL, 1, 1000000, FIELD(max_trials),
                        "Measure at most this many configs (200). Trials taken from the journal count."},
    [OPT_MAX_TIME] = {"max-time", 't', VALUE_SECONDS, "SECONDS", NULL, 0, 0, FIELD(max_time),
                      "Stop searching after this time. What is in hand then has ten seconds more. No limit unless given."},
    [OPT_MIN_GAIN] = {"min-gain", 0, VALUE_FRACTION, "X", NULL, 0, 0, FIELD(min_gain),
                      "Stop when 80 trials in a row brought no relative gain as large as this (0.005)."},
    [OPT_ROOFLINE_STOP] = {"roofline-stop", 0, VALUE_FRACTION, "X", NULL, 0, 0, FIELD(roofline_stop),
                           "Stop when the best config reaches this fraction of the physical limit (0.97)."},
    [OPT_WHOLE_BUDGET] = {"whole-budget", 0, VALUE_NONE, NULL, NULL, 0, 0, FIELD(whole_budget),
                          "Search until the trials or the time are used up, whatever there is still to gain."},
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
    [OPT_IN_FLIGHT] = {"in-flight", 0, VALUE_WHOLE, "N", NULL, 1, 64, FIELD(in_flight),
                       "Propose this many configs before the first of them is told (1): as a tuning does, which compiles ahead."},
    [OPT_ABOUT] = {"about", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(about),
                   "Text about the kernel and its device that the model is told, beside what the recorded space says."},
    [OPT_OUTPUT] = {"output", 'o', VALUE_FILE, "FILE", NULL, 0, 0, FIELD(output),
                    "The file to write. It appears whole or not at all, and an existing one is not replaced without --force."},
    [OPT_FORMAT] = {"format", 0, VALUE_CHOICE, "NAME", "pack|jsonl|c-header|object", 0, 0, FIELD(format),
                    "pack (the default); jsonl, as `hone dump` writes; c-header or object, to compile or link the pack into a program."},
    [OPT_POLICY] = {"policy", 0, VALUE_CHOICE, "NAME", "best|newest|ours|theirs", 0, 0, FIELD(policy),
                    "Which of two entries of one key stays: the better evidence (best, the default), the newer one, that of the first input "
                    "or of the cache (ours), that of the last input or of the pack (theirs)."},
    [OPT_BASE] = {"base", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(base),
                  "A pack or cache from which all inputs came: what one of them removed stays removed, unless another one changed it."},
    [OPT_SYMBOL] = {"symbol", 0, VALUE_TEXT, "NAME", NULL, 0, 0, FIELD(symbol), "Name of the array in a c-header or object (hone_pack)."},
    [OPT_MACHINE] = {"machine", 0, VALUE_CHOICE, "NAME", "x86-64|aarch64", 0, 0, FIELD(machine), "What an object is for. Default: this machine."},
    [OPT_WITHOUT_SOURCE] = {"without-source", 0, VALUE_NONE, NULL, NULL, 0, 0, FIELD(without_source),
                            "Leave out the sources of the kernels; look-ups do not need them."},
    [OPT_KERNEL] = {"kernel", 'k', VALUE_TEXT, "NAME", NULL, 0, 0, FIELD(kernel),
                    "Only entries of this kernel: its name, a pattern such as \"gemm*\", or the beginning of its id."},
    [OPT_ON_DEVICE] = {"device", 0, VALUE_TEXT, "NAME", NULL, 0, 0, FIELD(on_device),
                       "Only entries of this device: a part or pattern of its name, its kind (cpu), or the beginning of its id."},
    [OPT_STRATEGY] = {"strategy", 0, VALUE_TEXT, "NAME", NULL, 0, 0, FIELD(strategy), "Only entries found by this strategy, e.g. random."},
    [OPT_EFFORT] = {"effort", 0, VALUE_CHOICE, "NAME", "quick|standard|thorough", 0, 0, FIELD(effort), "Only entries of this effort."},
    [OPT_TOOL_VERSION] = {"tool-version", 0, VALUE_TEXT, "VERSION", NULL, 0, 0, FIELD(tool_version),
                          "Only entries stored by this version of Hone; \"0.1.*\" is a pattern."},
    [OPT_MIN_SPEEDUP] = {"min-speedup", 0, VALUE_NUMBER, "X", NULL, 0, 0, FIELD(min_speedup),
                         "Only entries at least this many times faster than the kernel's default."},
    [OPT_MAX_SPEEDUP] = {"max-speedup", 0, VALUE_NUMBER, "X", NULL, 0, 0, FIELD(max_speedup),
                         "Only entries at most this many times faster than the kernel's default."},
    [OPT_OLDER_THAN] = {"older-than", 0, VALUE_MOMENT, "TIME", NULL, 0, 0, FIELD(older_than_unix_s),
                        "Only entries measured longer ago than, e.g., 90d, 12h or 30m, or before a date YYYY-MM-DD."},
    [OPT_NEWER_THAN] = {"newer-than", 0, VALUE_MOMENT, "TIME", NULL, 0, 0, FIELD(newer_than_unix_s),
                        "Only entries measured since then."},
    [OPT_KEEP] = {"keep", 0, VALUE_AGE, "TIME", NULL, 0, 0, FIELD(keep_s), "Keep what is younger than, e.g., 7d (30d)."},
    [OPT_PACK] = {"pack", 'p', VALUE_FILES, "FILE", NULL, 0, 0, FIELD(pack),
                  "A pack that answers besides the cache; may be repeated. The best exact answer wins."},
    [OPT_TRUST] = {"trust", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(trust),
                   "Public keys: packs must be signed by one of them, else they are refused."},
    [OPT_SIGNATURE] = {"signature", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(signature), "The signature's file. Default: the file's name and .sig."},
    [OPT_SECRET_KEY] = {"key", 0, VALUE_FILE, "FILE", NULL, 0, 0, FIELD(secret_key), "The secret key that `hone keygen` made."},
    [OPT_COMMENT] = {"comment", 0, VALUE_TEXT, "TEXT", NULL, 0, 0, FIELD(comment), "Whose key it is, for people; stands in the public key's file."},
    [OPT_STRICT] = {"strict", 0, VALUE_NONE, NULL, NULL, 0, 0, FIELD(strict), "Stop at the first line that is refused."},
    [OPT_OVERWRITE] = {"force", 'f', VALUE_NONE, NULL, NULL, 0, 0, FIELD(force), "Replace an existing file."},
    [OPT_DRY_RUN] = {"dry-run", 'n', VALUE_NONE, NULL, NULL, 0, 0, FIELD(dry_run), "Change nothing; say what would be done."},
    [OPT_MAN] = {"man", 0, VALUE_NONE, NULL, NULL, 0, 0, FIELD(man), "Print the manual page in man's format."},
    [OPT_JSON] = {"json", 'j', VALUE_NONE, NULL, NULL, 0, 0, FIELD(json), "Print JSON (spec/json.md) instead of text for people."},
    [OPT_QUIET] = {"quiet", 'q', VALUE_NONE, NULL, NULL, 0, 0, FIELD(quiet), "No progress and no remarks; only warnings, errors and the result."},
    [OPT_VERBOSE] = {"verbose", 'v', VALUE_NONE, NULL, NULL, 0, 0, FIELD(verbose), "Say everything that happens."},
    [OPT_HELP] = {"help", 'h', VALUE_NONE, NULL, NULL, 0, 0, FIELD(help), "Print this help."},
};

#define BIT(id) (UINT64_C(1) << OPT_##id)
#define COMMON (BIT(QUIET) | BIT(VERBOSE) | BIT(HELP))
#define PROBLEM (BIT(SET) | BIT(DEVICE) | BIT(EVALUATOR) | BIT(CACHE) | BIT(JSON))
#define ENTRIES                                                                                              \
    (BIT(KERNEL) | BIT(ON_DEVICE) | BIT(STRATEGY) | BIT(EFFORT) | BIT(TOOL_VERSION) | BIT(MIN_SPEEDUP) | BIT(MAX_SPEEDUP) |   \
     BIT(OLDER_THAN) | BIT(NEWER_THAN))
#define MODEL                                                                                                \
    (BIT(LLM_PROVIDER) | BIT(LLM_MODEL) | BIT(LLM_API_BASE) | BIT(LLM_COMMAND) | BIT(LLM_MAILBOX) | BIT(LLM_REPLAY) |     \
     BIT(CONFIGS_PER_ROUND) | BIT(ROUNDS) | BIT(MAX_TRIALS) | BIT(SEED))

const command command_table[] = {
    {"tune", "SPEC.json", 1, 1, VALUE_FILE, NULL,
     COMMON | PROBLEM | MODEL | BIT(SEARCH) | BIT(MAX_TIME) | BIT(MIN_GAIN) | BIT(ROOFLINE_STOP) | BIT(WHOLE_BUDGET) |
         BIT(MAX_TOKENS_TOTAL) | BIT(FORCE) | BIT(LLM_TIMEOUT) | BIT(TRANSCRIPT),
     "Make sure that the cache has an exact answer, measuring if it has none",
     "Looks the problem up. When the cache has no exact answer, proposes configs, measures them in a separate process, "
     "verifies the best ones against each other, stores the winner and prints it.\n\n"
     "Everything measured is in the cache's journal at once. After Ctrl-C, SIGTERM, a crash or a lost model the same command goes on "
     "where it was and measures nothing twice. An interrupted tuning exits with 4; a second Ctrl-C ends it at once.\n\n"
     "With `-` as SPEC.json the spec is read from stdin, and its paths are relative to the current folder.",
     "hone tune kernel.json --set M=4096 --max-time 60", cmd_tune, false},
    {"lookup", "SPEC.json", 1, 1, VALUE_FILE, NULL, COMMON | PROBLEM | BIT(PACK) | BIT(TRUST),
     "Print the best known config for a problem",
     "Prints the config as JSON on stdout and how it was found on stderr: exact; near_shape, for the same kernel and device at near sizes; "
     "near_device, for the same problem on a like device; or the author's default. Measures nothing.\n\n"
     "Exits with 0 for an exact answer and with 1 for any other.",
     "hone lookup kernel.json --set M=4096", cmd_lookup, false},
    {"explain", "SPEC.json", 1, 1, VALUE_FILE, NULL, COMMON | PROBLEM | BIT(PACK) | BIT(TRUST),
     "Say why a look-up answers what it answers",
     "Goes through every tier and layer of a look-up and prints what matched or which field differs. Exits with 0 whatever the answer is.",
     "hone explain kernel.json --set M=4000", cmd_explain, false},
    {"prompt", "SPEC.json", 1, 1, VALUE_FILE, NULL, COMMON | PROBLEM | MODEL,
     "Print exactly what the model would be sent, and send nothing",
     "Prints the system text, an empty line and the first user message to stdout. Nothing goes over the network.",
     "hone prompt kernel.json | less", cmd_prompt, false},
    {"ls", "[CACHE|PACK]", 0, 1, VALUE_FILE, NULL, COMMON | ENTRIES | BIT(CACHE) | BIT(JSON), "List the entries of a cache or a pack",
     "One line for each entry: key, kernel, sizes, time, speed-up, strategy, device, age. With --json one JSON object a line.", "hone ls --kernel sgemm",
     cmd_ls, false},
    {"show", "KEY [CACHE|PACK]", 1, 2, VALUE_FILE, NULL, COMMON | BIT(CACHE) | BIT(JSON),
     "Show one entry: config, how it was found, alternatives, trials",
     "KEY is the key that `hone ls` and `hone tune` print, or an unambiguous beginning of at least 4 digits. Exits with 1 when there is none. "
     "A pack has no trials.",
     "hone show 3fa9", cmd_show, false},
    {"stats", "[CACHE|PACK]", 0, 1, VALUE_FILE, NULL, COMMON | BIT(CACHE) | BIT(JSON), "Counts and sizes of a cache or a pack",
     "Prints how many records of which kind the file holds; of a cache also the counters of hits and misses, which survive restarts.",
     "hone stats --json", cmd_stats, false},
    {"diff", "A B", 2, 2, VALUE_FILE, NULL, COMMON | ENTRIES | BIT(JSON), "Compare two caches or packs",
     "Says which entries B has gained and lost against A, which have changed, and by how much time. With --json one object for each difference, "
     "then the totals. Exits with 1 when there is any difference.",
     "hone diff before.hpk after.hpk", cmd_diff, false},
    {"verify", "[CACHE|PACK]", 0, 1, VALUE_FILE, NULL, COMMON | BIT(CACHE) | BIT(TRUST) | BIT(SIGNATURE) | BIT(JSON),
     "Check a cache or a pack from its first to its last byte",
     "Of a cache every page, then every record of every table; of a pack every checksum, bound and order. The work is done in a process of its own, so "
     "that a damaged file is a report and never a crash. With --trust the file must also be signed by one of the keys. Exits with 0 when the file "
     "is sound, and with 3 when it is not.",
     "hone verify app.hpk --trust vendor.pub", cmd_verify, false},
    {"export", "[CACHE|PACK]", 0, 1, VALUE_FILE, NULL,
     COMMON | ENTRIES | BIT(CACHE) | BIT(OUTPUT) | BIT(FORMAT) | BIT(SYMBOL) | BIT(MACHINE) | BIT(WITHOUT_SOURCE) | BIT(OVERWRITE) | BIT(DRY_RUN) | BIT(JSON),
     "Write entries as one file to ship",
     "A pack is one portable file that programs search in place (hone_cache_add_pack). The same entries give the same bytes on every machine. "
     "A c-header or an object carries the pack into a program, which opens it from memory (hone_cache_add_pack_memory).",
     "hone export -o app.hpk --kernel \"gemm*\" --min-speedup 1.05", cmd_export, false},
    {"import", "PACK|CACHE", 1, 1, VALUE_FILE, NULL,
     COMMON | ENTRIES | BIT(CACHE) | BIT(POLICY) | BIT(TRUST) | BIT(SIGNATURE) | BIT(DRY_RUN) | BIT(JSON), "Take the entries of a pack or another cache into a cache",
     "Of two entries of one key the better evidence stays, unless --policy says otherwise. Says how many were imported, kept, conflicting and rejected; "
     "--verbose says which, and why.",
     "hone import app.hpk --dry-run", cmd_import, false},
    {"merge", "IN ...", 1, 1000, VALUE_FILE, NULL,
     COMMON | ENTRIES | BIT(OUTPUT) | BIT(POLICY) | BIT(BASE) | BIT(WITHOUT_SOURCE) | BIT(TRUST) | BIT(OVERWRITE) | BIT(DRY_RUN) | BIT(JSON),
     "Merge caches and packs into one pack",
     "Of the entries of one key the better evidence stays: in any order of inputs the result is the same, byte for byte. Nothing is invented: every entry of the "
     "result comes from an input unchanged.",
     "hone merge -o all.hpk host1.hpk host2.hpk ~/.cache/hone/cache.hone", cmd_merge, false},
    {"keygen", "NAME", 1, 1, VALUE_FILE, NULL, COMMON | BIT(COMMENT) | BIT(JSON), "Make a pair of keys for signing",
     "Writes the secret key to NAME.key, which only you can read, and the public key to NAME.pub. Give NAME.pub to those who are to trust what you sign; "
     "files of public keys can be joined into one.",
     "hone keygen vendor --comment \"Vendor, release 2026\"", cmd_keygen, false},
    {"sign", "FILE", 1, 1, VALUE_FILE, NULL, COMMON | BIT(SECRET_KEY) | BIT(SIGNATURE) | BIT(OVERWRITE) | BIT(JSON), "Sign a pack",
     "Writes a detached Ed25519 signature beside the file, as FILE.sig. Keep the two together. A file that is not a sound pack is not signed.\n\n"
     "Several may vouch for a file, or an old key and a new one: sign to a --signature of its own each time, and join these files into FILE.sig.", "hone sign app.hpk --key vendor.key", cmd_sign, false},
    {"dump", "[CACHE|PACK]", 0, 1, VALUE_FILE, NULL, COMMON | ENTRIES | BIT(CACHE) | BIT(OUTPUT) | BIT(OVERWRITE),
     "Write every entry as JSON lines",
     "Every field of every entry and kernel, numbers exactly, sorted, to stdout or to --output. `hone load` reads it back without loss (spec/dump.md).",
     "hone dump | gzip > cache.jsonl.gz", cmd_dump, false},
    {"load", "FILE", 1, 1, VALUE_FILE, NULL, COMMON | ENTRIES | BIT(CACHE) | BIT(STRICT) | BIT(DRY_RUN) | BIT(JSON),
     "Read JSON lines of hone dump into a cache",
     "Of two entries of one key the better evidence stays. Lines that are refused are reported with their number and the reason, and the rest is taken; "
     "then the exit code is 3. With `-` as FILE the lines are read from stdin.",
     "hone load cache.jsonl --cache new.hone", cmd_load, false},
    {"prune", "[CACHE]", 0, 1, VALUE_FILE, NULL, COMMON | ENTRIES | BIT(CACHE) | BIT(DRY_RUN) | BIT(JSON), "Remove entries from a cache",
     "Removes the entries that all the given conditions fit; at least one must be given. The file does not become smaller by it: see `hone compact`.",
     "hone prune --older-than 180d --effort quick --dry-run", cmd_prune, false},
    {"compact", "[CACHE]", 0, 1, VALUE_FILE, NULL, COMMON | BIT(CACHE) | BIT(DRY_RUN) | BIT(JSON), "Make a cache's file as small as its content",
     "Writes the file anew without its free pages and puts it in place of the old one in one step. Other processes may use the cache meanwhile.",
     "hone compact", cmd_compact, false},
    {"gc", "[CACHE]", 0, 1, VALUE_FILE, NULL, COMMON | BIT(CACHE) | BIT(KEEP) | BIT(DRY_RUN) | BIT(JSON), "Remove what nobody needs any more",
     "The journal of tunings that ended long ago, expired failures and claims, kernels without entries, files set aside as damaged and leftovers of writers "
     "that died. No entry goes.",
     "hone gc --keep 7d", cmd_gc, false},
    {"simulate", "SPACE.json.gz", 1, 1, VALUE_FILE, NULL,
     COMMON | MODEL | BIT(SEARCH) | BIT(REPEAT) | BIT(TRANSFER) | BIT(NOISE) | BIT(IN_FLIGHT) | BIT(ABOUT) | BIT(MAX_TOKENS_TOTAL) | BIT(LLM_TIMEOUT) |
         BIT(TRANSCRIPT) | BIT(JSON),
     "Run a search strategy on a recorded space",
     "Every config of a recorded space (spec/space.md) was measured before: each proposed config is looked up, which judges a strategy in "
     "seconds and without a device. Prints how near to the optimum the search is after some numbers of trials; with --json one "
     "line for each repeat, with the best time after each trial.\n\n"
     "llm and hybrid ask a model as in `hone tune`; their prompt is made of what the file says, and of --about.",
     "hone simulate gemm.json.gz --search random --repeat 50 --json", cmd_simulate, false},
    {"device", "[SPEC.json]", 0, 1, VALUE_FILE, NULL, COMMON | BIT(DEVICE) | BIT(EVALUATOR) | BIT(JSON),
     "What this machine is, as the key sees it",
     "Prints the device's identity, which is part of every key, and what only describes it. With a spec: the device that this kernel is tuned "
     "on, which for language external is what its evaluator says.",
     "hone device --device cpu", cmd_device, false},
    {"completion", "bash|zsh|fish", 1, 1, VALUE_CHOICE, "bash|zsh|fish", COMMON, "Print a completion script for a shell",
     "Installed by `cmake --install`. To try it in a running shell: eval \"$(hone completion bash)\"; in zsh, after compinit, the same with zsh; in fish: hone completion fish | source", "hone completion fish | source",
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
