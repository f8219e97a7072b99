/* main.c: the hone command: find the subcommand, read its options, run it.  Only hone.h is used of the library. */
#include "inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The built-in evaluator is this program too: say so to the library, unless the user names another. */
static void name_worker(void) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = '\0';
    (void)setenv("HONE_WORKER", path, 0);
}

/* A closed stdin, stdout or stderr would be the number of the next file that is opened, and our talk would be written into the cache.
 * What is open for the wrong direction stands in for them, so that using them still fails. */
static bool hold_standard_files(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return false;
    }
    return true;
}

/* Output that did not arrive is a failure, however well the rest went. */
static int flush_stdout(int code) {
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || failed) {
        if (errno != EPIPE)
            fprintf(stderr, "hone: cannot write to stdout: %s\n", strerror(errno));
        return code == EXIT_CODE_OK || code == EXIT_CODE_MISS ? EXIT_CODE_ENVIRONMENT : code;
    }
    return code;
}

static int unknown_command(const char *word) {
    const char *near = command_suggest(word);
    if (near != NULL)
        fprintf(stderr, "hone: no such command; did you mean `hone %s`?\n", near);
    else
        fprintf(stderr, "hone: no such command; `hone help` lists them\n");
    return EXIT_CODE_USAGE;
}

int main(int argc, char **argv) {
    if (!hold_standard_files())
        return EXIT_CODE_ENVIRONMENT;
    if (argc >= 2 && strcmp(argv[1], "worker") == 0)
        return hone_worker_main(argc, argv);
    /* A reader that goes away (`hone ls | head`), or an evaluator that dies, is an error to handle and not our end. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_CODE_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    else if (strcmp(word, "--version") == 0)
        word = "version";
    const command *cmd = command_find(word);
    if (cmd == NULL)
        return unknown_command(word);
    invocation in = {.command = cmd};
    if (!options_parse(&in, argc - 2, argv + 2))
        return EXIT_CODE_USAGE;
    if (in.settings.help) {
        help_command(stdout, cmd);
        return flush_stdout(EXIT_CODE_OK);
    }
    name_worker();
    log_to_stderr(&in);
    return flush_stdout(cmd->run(&in));
}
