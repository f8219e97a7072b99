/* cmd_completion.c: completion scripts for bash, zsh and fish, printed from the tables. */
#include "opt.h"

#include <string.h>

/* Choices with blanks between them instead of bars. */
static void words(const char *choices) {
    for (const char *c = choices; *c != '\0'; c++)
        putchar(*c == '|' ? ' ' : *c);
}

typedef enum shell { SHELL_ZSH, SHELL_FISH } shell;

/* Text for between single quotes: a quote is closed, escaped and opened again; zsh gives `[`, `]` and `:` meaning, both the backslash. */
static void quoted(const char *text, shell which) {
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            fputs(which == SHELL_ZSH ? "'\\''" : "\\'", stdout);
        else if (*c == '\\' || (which == SHELL_ZSH && strchr("[]:", *c) != NULL))
            printf("\\%c", *c);
        else
            putchar(*c);
    }
}

static void command_names(void) {
    for (size_t i = 0; i < command_count; i++) {
        if (!command_table[i].hidden)
            printf("%s%s", i > 0 ? " " : "", command_table[i].name);
    }
}

/* An operand that is one of some words. */
static bool has_words(const command *cmd) {
    return cmd->operand_kind == VALUE_CHOICE || cmd->run == cmd_help;
}

static void operand_words(const command *cmd) {
    if (cmd->run == cmd_help)
        command_names();
    else
        words(cmd->operand_choices);
}

/* Letters stand for different options of different commands: one that is a flag somewhere takes no value for certain. */
static bool takes_value(char letter) {
    for (int id = 0; id < OPT_COUNT; id++) {
        if (option_table[id].letter == letter && option_table[id].kind == VALUE_NONE)
            return false;
    }
    return letter != '\0';
}

/* ---- bash ---- */

static void bash_values(void) {
    printf("    case \"$before\" in\n");
    for (int id = 0; id < OPT_COUNT; id++) {
        const option_spec *spec = &option_table[id];
        if (spec->kind == VALUE_NONE)
            continue;
        printf("    --%s", spec->name);
        if (takes_value(spec->letter))
            printf("|-%c", spec->letter);
        printf(") ");
        if (spec->kind == VALUE_CHOICE) {
            printf("COMPREPLY=($(compgen -W \"");
            words(spec->choices);
            printf("\" -- \"$word\"))");
        } else if (spec->kind == VALUE_FILE || spec->kind == VALUE_FILES) {
            printf("compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\"))");
        } else if (spec->kind == VALUE_FOLDER) {
            printf("compopt -o filenames; COMPREPLY=($(compgen -d -- \"$word\"))");
        } else {
            printf("COMPREPLY=()");
        }
        printf("; return ;;\n");
    }
    printf("    esac\n");
}

static void bash_command(const command *cmd) {
    printf("    %s)\n        if [[ \"$word\" == -* ]]; then COMPREPLY=($(compgen -W \"", cmd->name);
    for (int id = 0; id < OPT_COUNT; id++) {
        if (command_takes(cmd, (option_id)id))
            printf("--%s ", option_table[id].name);
    }
    printf("\" -- \"$word\"))\n        else ");
    if (cmd->operand_kind == VALUE_FILE) {
        printf("compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\"))");
    } else if (has_words(cmd)) {
        printf("COMPREPLY=($(compgen -W \"");
        operand_words(cmd);
        printf("\" -- \"$word\"))");
    } else {
        printf("COMPREPLY=()");
    }
    printf("; fi ;;\n");
}

static void bash_script(void) {
    printf("# bash completion for hone; printed by `hone completion bash`.\n_hone() {\n"
           "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"\"\n    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W \"");
    command_names();
    printf("\" -- \"$word\")); return; fi\n    before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
           "    if [[ \"$word\" == \"=\" ]]; then word=\"\"; elif [[ \"$before\" == \"=\" ]]; then before=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n");
    bash_values();
    printf("    case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < command_count; i++) {
        if (!command_table[i].hidden)
            bash_command(&command_table[i]);
    }
    printf("    esac\n}\ncomplete -F _hone hone\n");
}

/* ---- zsh ---- */

static void zsh_action(value_kind kind, const char *choices) {
    if (kind == VALUE_FILE || kind == VALUE_FILES) {
        printf(":_files");
    } else if (kind == VALUE_FOLDER) {
        printf(":_files -/");
    } else if (kind == VALUE_CHOICE) {
        printf(":(");
        words(choices);
        printf(")");
    } else {
        printf(": ");
    }
}

static void zsh_option(const option_spec *spec) {
    printf("            '%s--%s%s[", spec->kind == VALUE_SIZE || spec->kind == VALUE_FILES ? "*" : "", spec->name, spec->kind == VALUE_NONE ? "" : "=");
    quoted(spec->help, SHELL_ZSH);
    printf("]");
    if (spec->kind != VALUE_NONE) {
        printf(":%s", spec->metavar);
        zsh_action(spec->kind, spec->choices);
    }
    printf("' \\\n");
}

static void zsh_script(void) {
    printf("#compdef hone\n# zsh completion for hone; printed by `hone completion zsh`.\n_hone() {\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < command_count; i++) {
        if (command_table[i].hidden)
            continue;
        printf("        '%s:", command_table[i].name);
        quoted(command_table[i].summary, SHELL_ZSH);
        printf("'\n");
    }
    printf("    )\n    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
           "    local chosen=\"${words[2]}\"\n    shift words\n    (( CURRENT-- ))\n    case \"$chosen\" in\n");
    for (size_t i = 0; i < command_count; i++) {
        const command *cmd = &command_table[i];
        if (cmd->hidden)
            continue;
        printf("    %s)\n        _arguments \\\n", cmd->name);
        for (int id = 0; id < OPT_COUNT; id++) {
            if (command_takes(cmd, (option_id)id))
                zsh_option(&option_table[id]);
        }
        if (cmd->operands_max > 0) {
            printf("            '%s:", cmd->operands_max > 1 ? "*" : "1");
            quoted(cmd->operands, SHELL_ZSH);
            if (has_words(cmd)) {
                printf(":(");
                operand_words(cmd);
                printf(")");
            } else {
                zsh_action(cmd->operand_kind, NULL);
            }
            printf("'\n");
        } else {
            printf("            && return\n");
        }
        printf("        ;;\n");
    }
    printf("    esac\n}\nif [ \"$funcstack[1]\" = \"_hone\" ]; then _hone \"$@\"; else compdef _hone hone; fi\n");
}

/* ---- fish ---- */

static void fish_option(const command *cmd, const option_spec *spec) {
    printf("complete -c hone -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, spec->name);
    if (spec->letter != '\0')
        printf(" -s %c", spec->letter);
    if (spec->kind == VALUE_CHOICE) {
        printf(" -x -a '");
        words(spec->choices);
        printf("'");
    } else if (spec->kind == VALUE_FILE || spec->kind == VALUE_FILES) {
        printf(" -r -F");
    } else if (spec->kind == VALUE_FOLDER) {
        printf(" -x -a '(__fish_complete_directories)'");
    } else if (spec->kind != VALUE_NONE) {
        printf(" -x");
    }
    printf(" -d '");
    quoted(spec->help, SHELL_FISH);
    printf("'\n");
}

static void fish_script(void) {
    printf("# fish completion for hone; printed by `hone completion fish`.\ncomplete -c hone -f\n");
    for (size_t i = 0; i < command_count; i++) {
        const command *cmd = &command_table[i];
        if (cmd->hidden)
            continue;
        printf("complete -c hone -n __fish_use_subcommand -a %s -d '", cmd->name);
        quoted(cmd->summary, SHELL_FISH);
        printf("'\n");
        for (int id = 0; id < OPT_COUNT; id++) {
            if (command_takes(cmd, (option_id)id))
                fish_option(cmd, &option_table[id]);
        }
        if (cmd->operand_kind == VALUE_FILE)
            printf("complete -c hone -n '__fish_seen_subcommand_from %s' -F\n", cmd->name);
        if (has_words(cmd)) {
            printf("complete -c hone -n '__fish_seen_subcommand_from %s' -a '", cmd->name);
            operand_words(cmd);
            printf("'\n");
        }
    }
}

int cmd_completion(const invocation *in) {
    const char *name = in->operand[0];
    if (strcmp(name, "bash") == 0) {
        bash_script();
    } else if (strcmp(name, "zsh") == 0) {
        zsh_script();
    } else if (strcmp(name, "fish") == 0) {
        fish_script();
    } else {
        fprintf(stderr, "hone completion: the shell must be bash, zsh or fish\n");
        return EXIT_CODE_USAGE;
    }
    return EXIT_CODE_OK;
}
