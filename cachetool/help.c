/* help.c: the tables as help for a terminal and as manual pages; both are filled from the same words. */
#include "opt.h"

#include <string.h>

enum { LINE = 96, INDENT = 30 };

/* Exit codes and environment, for hone --help and the manual. */
typedef struct pair {
    const char *name, *text;
} pair;
static const pair exit_codes[] = {
    {"0", "Success; for `hone lookup` an exact answer."},
    {"1", "A miss or a difference: no exact answer, no such key."},
    {"2", "A mistake on the command line."},
    {"3", "Bad input: a mistake in a spec, no config of it runs, a corrupt or foreign file."},
    {"4", "The environment: files, permissions, devices, evaluators, deadlines; and a tuning that was interrupted, which the same command "
          "goes on with."},
    {"5", "The network or the model's provider. Everything measured is kept."},
    {"70", "A bug in Hone."},
};
static const pair variables[] = {
    {"HONE_CACHE", "The cache file, unless --cache names one."},
    {"HONE_AUTOTUNER", "What --search is when it is not given or auto."},
    {"HONE_LLM_PROVIDER", "openai, chat, anthropic, command, mailbox, replay or none."},
    {"HONE_LLM_MODEL", "The model."},
    {"HONE_LLM_API_BASE", "Base address of the provider."},
    {"HONE_LLM_CA_BUNDLE", "Certificates to trust instead of the system's."},
    {"HONE_LLM_CLIENT_CERT", "Client certificate for TLS."},
    {"HONE_LLM_CLIENT_KEY", "Its private key."},
    {"HONE_LLM_COMMAND", "Program of the provider command."},
    {"HONE_LLM_MAILBOX", "Folder of the provider mailbox."},
    {"HONE_LLM_API_KEY", "Key for whichever provider it is; stronger than the two below."},
    {"HONE_LLM_API_KEY_FILE", "A file that holds the key and that only you can read."},
    {"OPENAI_API_KEY", "Key for openai; for chat only at api.openai.com and on this machine."},
    {"ANTHROPIC_API_KEY", "Key for anthropic."},
    {"HONE_WORKER", "Program that is run as `PROGRAM worker` to compile and time; default: this program."},
    {"HONE_CUDA_LIBRARY", "File of the CUDA driver; default: libcuda.so.1."},
    {"HONE_NVRTC_LIBRARY", "File of NVRTC, which compiles CUDA kernels; default: the newest of versions 11 to 13 that fits the driver."},
    {"HONE_CUDA_INCLUDE", "Folder of the CUDA toolkit's headers; default: the one beside NVRTC."},
    {"NO_COLOR", "When set and not empty: no colours."},
};

/* Print words filled to LINE columns, beginning at column `at`, later lines at `indent`.  A newline pair ends a paragraph. */
static void fill(FILE *to, const char *text, int at, int indent) {
    int column = at;
    bool first = true;
    while (*text != '\0') {
        if (text[0] == '\n' && text[1] == '\n') {
            fprintf(to, "\n\n%*s", indent, "");
            column = indent;
            first = true;
            text += 2;
            continue;
        }
        if (*text == ' ' || *text == '\n') {
            text++;
            continue;
        }
        int length = (int)strcspn(text, " \n");
        if (!first && column + 1 + length > LINE) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(to, "%s%.*s", first ? "" : " ", length, text);
        column += length + !first;
        first = false;
        text += length;
    }
    fprintf(to, "\n");
}

void help_usage_line(FILE *to, const command *cmd) {
    fprintf(to, "usage: hone %s [OPTION ...]%s%s\n", cmd->name, cmd->operands[0] != '\0' ? " " : "", cmd->operands);
}

static void option_line(FILE *to, const option_spec *spec) {
    int column = spec->letter != '\0' ? fprintf(to, "  -%c, --%s", spec->letter, spec->name) : fprintf(to, "      --%s", spec->name);
    if (spec->metavar != NULL)
        column += fprintf(to, " %s", spec->metavar);
    if (column + 2 > INDENT) {
        fprintf(to, "\n%*s", INDENT, "");
    } else {
        fprintf(to, "%*s", INDENT - column, "");
    }
    fill(to, spec->help, INDENT, INDENT);
    if (spec->choices != NULL)
        fprintf(to, "%*sOne of: %s\n", INDENT, "", spec->choices);
}

void help_command(FILE *to, const command *cmd) {
    help_usage_line(to, cmd);
    fprintf(to, "\n%s.\n\n", cmd->summary);
    fill(to, cmd->description, 0, 0);
    fprintf(to, "\nOptions:\n");
    for (int id = 0; id < OPT_COUNT; id++) {
        if (command_takes(cmd, (option_id)id))
            option_line(to, &option_table[id]);
    }
    if (cmd->example != NULL)
        fprintf(to, "\nExample:\n  %s\n", cmd->example);
}

static void pairs(FILE *to, const char *title, const pair *list, size_t count) {
    fprintf(to, "\n%s:\n", title);
    for (size_t i = 0; i < count; i++) {
        int column = fprintf(to, "  %s", list[i].name);
        fprintf(to, "%*s", column < 24 ? 24 - column : 1, "");
        fill(to, list[i].text, 24, 24);
    }
}

void help_overview(FILE *to) {
    fprintf(to, "usage: hone COMMAND [OPTION ...] [ARGUMENT]\n\n"
                "Hone remembers how to launch kernels fast, and finds out when nobody has yet.\n\nCommands:\n");
    for (size_t i = 0; i < command_count; i++) {
        if (!command_table[i].hidden)
            fprintf(to, "  %-12s%s\n", command_table[i].name, command_table[i].summary);
    }
    pairs(to, "Environment", variables, sizeof variables / sizeof variables[0]);
    pairs(to, "Exit codes", exit_codes, sizeof exit_codes / sizeof exit_codes[0]);
    fprintf(to, "\n`hone COMMAND --help` says more about a command.\n");
}

/* ---- manual pages ---- */

/* Text for man's format: escapes what it would read as its own, and sets words between backquotes in bold. */
static void roff(FILE *to, const char *text) {
    bool bold = false, line_start = true;
    for (; *text != '\0'; text++) {
        if (text[0] == '\n' && text[1] == '\n') {
            fprintf(to, "\n.PP\n");
            text++;
            line_start = true;
            continue;
        }
        if (line_start && (*text == '.' || *text == '\''))
            fprintf(to, "\\&");
        line_start = false;
        if (*text == '`') {
            bold = !bold;
            fprintf(to, bold ? "\\fB" : "\\fR");
        } else if (*text == '\\') {
            fprintf(to, "\\e");
        } else if (*text == '-') {
            fprintf(to, "\\-");
        } else if (*text == '\'') {
            fprintf(to, "\\(aq");
        } else if (*text == '~') {
            fprintf(to, "\\(ti");
        } else {
            fputc(*text, to);
        }
    }
    fprintf(to, "\n");
}

static void roff_option(FILE *to, const option_spec *spec) {
    fprintf(to, ".TP\n");
    if (spec->letter != '\0')
        fprintf(to, "\\fB\\-%c\\fR, ", spec->letter);
    fprintf(to, "\\fB\\-\\-");
    for (const char *c = spec->name; *c != '\0'; c++)
        fprintf(to, *c == '-' ? "\\-" : "%c", *c);
    fprintf(to, "\\fR");
    if (spec->metavar != NULL)
        fprintf(to, " \\fI%s\\fR", spec->metavar);
    fprintf(to, "\n");
    roff(to, spec->help);
    if (spec->choices != NULL)
        fprintf(to, "One of: %s.\n", spec->choices);
}

static void roff_pairs(FILE *to, const char *title, const pair *list, size_t count) {
    fprintf(to, ".SH %s\n", title);
    for (size_t i = 0; i < count; i++) {
        fprintf(to, ".TP\n\\fB%s\\fR\n", list[i].name);
        roff(to, list[i].text);
    }
}

static void roff_tail(FILE *to) {
    roff_pairs(to, "EXIT STATUS", exit_codes, sizeof exit_codes / sizeof exit_codes[0]);
    roff_pairs(to, "ENVIRONMENT", variables, sizeof variables / sizeof variables[0]);
}

static void man_overview(FILE *to) {
    fprintf(to, ".TH HONE 1 \"\" \"Hone %s\" \"Hone\"\n.SH NAME\nhone \\- remember how to launch kernels fast\n", HONE_VERSION_STRING);
    fprintf(to, ".SH SYNOPSIS\n\\fBhone\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR]\n.SH DESCRIPTION\n");
    roff(to, "Hone answers which config launches a kernel fastest for given sizes on this device. When its cache has no answer, it tunes: a "
             "language model, or the search lfbo when no model is configured, proposes configs; a separate process compiles, checks and times "
             "them; the winner is stored.");
    fprintf(to, ".SH COMMANDS\n");
    for (size_t i = 0; i < command_count; i++) {
        if (command_table[i].hidden)
            continue;
        fprintf(to, ".TP\n\\fBhone\\-%s\\fR(1)\n", command_table[i].name);
        roff(to, command_table[i].summary);
    }
    roff_tail(to);
}

void man_page(FILE *to, const command *cmd) {
    if (cmd == NULL) {
        man_overview(to);
        return;
    }
    fprintf(to, ".TH HONE\\-");
    for (const char *c = cmd->name; *c != '\0'; c++)
        fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, to);
    fprintf(to, " 1 \"\" \"Hone %s\" \"Hone\"\n.SH NAME\nhone\\-%s \\- ", HONE_VERSION_STRING, cmd->name);
    roff(to, cmd->summary);
    fprintf(to, ".SH SYNOPSIS\n\\fBhone %s\\fR [\\fIOPTION\\fR ...]%s%s\n.SH DESCRIPTION\n", cmd->name, cmd->operands[0] != '\0' ? " " : "",
            cmd->operands);
    roff(to, cmd->description);
    fprintf(to, ".SH OPTIONS\n");
    for (int id = 0; id < OPT_COUNT; id++) {
        if (command_takes(cmd, (option_id)id))
            roff_option(to, &option_table[id]);
    }
    if (cmd->example != NULL) {
        fprintf(to, ".SH EXAMPLE\n.nf\n");
        roff(to, cmd->example);
        fprintf(to, ".fi\n");
    }
    roff_tail(to);
    fprintf(to, ".SH SEE ALSO\n\\fBhone\\fR(1)\n");
}

int cmd_help(const invocation *in) {
    if (in->operand_count == 0) {
        if (in->settings.man)
            man_page(stdout, NULL);
        else
            help_overview(stdout);
        return EXIT_CODE_OK;
    }
    const command *cmd = command_find(in->operand[0]);
    if (cmd == NULL) {
        const char *near = command_suggest(in->operand[0]);
        fprintf(stderr, near != NULL ? "hone help: no such command; did you mean `hone help %s`?\n" : "hone help: no such command\n", near);
        return EXIT_CODE_USAGE;
    }
    if (in->settings.man)
        man_page(stdout, cmd);
    else
        help_command(stdout, cmd);
    return EXIT_CODE_OK;
}

int cmd_version(const invocation *in) {
    if (in->settings.json)
        printf("{\"hone\":\"%s\"}\n", hone_version());
    else
        printf("hone %s\n", hone_version());
    return EXIT_CODE_OK;
}
