#define _GNU_SOURCE
#include "process.h"
#include "alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_fd(int *fd) {
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void set_limit(int resource, uint64_t value) {
    if (value == 0)
        return;
    struct rlimit limit = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
    (void)setrlimit((__rlimit_resource_t)resource, &limit);
}

static void apply_affinity(const hone__process_limits *limits) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (limits->cpu_pin >= 0) {
        CPU_SET((size_t)limits->cpu_pin, &set);
        (void)sched_setaffinity(0, sizeof set, &set);
    } else if (limits->cpu_avoid >= 0 && sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1) {
        CPU_CLR((size_t)limits->cpu_avoid, &set);
        (void)sched_setaffinity(0, sizeof set, &set);
    }
}

/* Everything but 0, 1, 2 and the report pipe.  Kernels before 5.9 lack the call. */
static void close_others(int report_fd) {
    if (report_fd > 3 && close_range(3, (unsigned)(report_fd - 1), 0) != 0) {
        for (int fd = 3; fd < report_fd; fd++)
            (void)close(fd);
    }
    if (close_range((unsigned)(report_fd + 1), ~0u, 0) != 0) {
        for (int fd = report_fd + 1; fd < 65536; fd++)
            (void)close(fd);
    }
}

/* Drop what a compiler or an evaluator has no use for.  In place: the child may not allocate. */
static void drop_keys(void) {
    static const char ending[] = "_API_KEY";
    char **to = environ;
    for (char **from = environ; from != NULL && *from != NULL; from++) {
        size_t name = strcspn(*from, "=");
        bool key = name >= sizeof ending - 1 && strncmp(*from + name - (sizeof ending - 1), ending, sizeof ending - 1) == 0;
        if (!key)
            *to++ = *from;
    }
    if (to != NULL)
        *to = NULL;
}

/* What the child becomes: a program, or a function of ours. */
typedef struct role {
    const char *const *argv; /* NULL: body */
    hone__process_body *body;
    void *context;
} role;

/* Runs in the child, between fork and exec: async-signal-safe calls only.  Reports an errno, negative when it came from chdir. */
static _Noreturn void become(const role *as, const char *cwd, const hone__process_limits *limits, const int fds[3], int report_fd,
                             pid_t parent) {
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int i = 0; i < 3; i++) {
        if (dup2(fds[i], i) < 0)
            _exit(127);
    }
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int signal_number = 1; signal_number < 32; signal_number++)
        (void)sigaction(signal_number, &plain, NULL);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (limits != NULL) {
        set_limit(RLIMIT_AS, limits->memory_bytes);
        set_limit(RLIMIT_FSIZE, limits->file_bytes);
        set_limit(RLIMIT_CPU, limits->cpu_s);
        apply_affinity(limits);
    }
    if (limits == NULL || !limits->keep_keys)
        drop_keys();
    struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    bool there = cwd == NULL || chdir(cwd) == 0;
    if (there) {
        close_others(report_fd);
        if (as->argv == NULL) {
            (void)close(report_fd);
            _exit(as->body(as->context));
        }
        /* execvp does not write through argv; its type is older than const. */
        union {
            const char *const *in;
            char *const *out;
        } words = {.in = as->argv};
        (void)execvp(as->argv[0], words.out);
    }
    int code = there ? errno : -errno;
    ssize_t ignored = write(report_fd, &code, sizeof code);
    (void)ignored;
    _exit(127);
}

static hone_status spawn(hone__process *out, const role *as, const char *cwd, const hone__process_limits *limits, hone_error *err) {
    const char *what = as->argv != NULL ? as->argv[0] : "a child";
    *out = (hone__process){.pid = 0, .in_fd = -1, .out_fd = -1, .err_fd = -1};
    int pipes[4][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}; /* stdin, stdout, stderr, exec report */
    hone_status status = HONE_OK;
    for (int i = 0; i < 4 && status == HONE_OK; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) != 0)
            status = hone__fail_os(err, hone__status_of_errno(errno), "process", errno, "cannot create a pipe: %s", strerror(errno));
        /* A host with closed standard streams gets fds 0..2 here; dup2 onto 0..2 in the child must not meet them. */
        for (int end = 0; end < 2 && status == HONE_OK; end++) {
            int moved = pipes[i][end] < 3 ? fcntl(pipes[i][end], F_DUPFD_CLOEXEC, 3) : pipes[i][end];
            if (moved >= 0 && moved != pipes[i][end]) {
                (void)close(pipes[i][end]);
                pipes[i][end] = moved;
            }
        }
        /* The report pipe is kept apart from the others, so that the child can close all around it. */
        if (status == HONE_OK && i == 3) {
            int high = fcntl(pipes[3][1], F_DUPFD_CLOEXEC, 64);
            if (high >= 0) {
                (void)close(pipes[3][1]);
                pipes[3][1] = high;
            }
        }
    }
    pid_t pid = -1;
    if (status == HONE_OK) {
        const int fds[3] = {pipes[0][0], pipes[1][1], pipes[2][1]};
        pid_t parent = getpid();
        pid = fork();
        if (pid == 0)
            become(as, cwd, limits, fds, pipes[3][1], parent);
        if (pid < 0)
            status = hone__fail_os(err, hone__status_of_errno(errno), "process", errno, "cannot start %s: %s", what, strerror(errno));
    }
    close_fd(&pipes[0][0]);
    close_fd(&pipes[1][1]);
    close_fd(&pipes[2][1]);
    close_fd(&pipes[3][1]);
    if (status == HONE_OK) {
        (void)setpgid(pid, pid);
        int code = 0;
        ssize_t got;
        do
            got = read(pipes[3][0], &code, sizeof code);
        while (got < 0 && errno == EINTR);
        if (got == (ssize_t)sizeof code) {
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
            }
            bool folder = code < 0;
            code = folder ? -code : code;
            status = hone__fail_os(err, hone__status_of_errno(code), "process", code, "cannot %s %s: %s", folder ? "enter folder" : "run",
                                   folder ? cwd : what, strerror(code));
        }
    }
    close_fd(&pipes[3][0]);
    if (status != HONE_OK) {
        for (int i = 0; i < 3; i++) {
            close_fd(&pipes[i][0]);
            close_fd(&pipes[i][1]);
        }
        return status;
    }
    *out = (hone__process){.pid = pid, .in_fd = pipes[0][1], .out_fd = pipes[1][0], .err_fd = pipes[2][0]};
    (void)fcntl(out->in_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(out->out_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(out->err_fd, F_SETFL, O_NONBLOCK);
    return HONE_OK;
}

hone_status hone__process_start(hone__process *out, const char *const *argv, const char *cwd,
                                const hone__process_limits *limits, hone_error *err) {
    return spawn(out, &(role){.argv = argv}, cwd, limits, err);
}

hone_status hone__process_fork(hone__process *out, hone__process_body *body, void *context, const char *cwd,
                               const hone__process_limits *limits, hone_error *err) {
    return spawn(out, &(role){.body = body, .context = context}, cwd, limits, err);
}

bool hone__process_ended(hone__process *process, int *wait_status) {
    if (process->pid == 0)
        return true;
    /* Look first and reap last: until it is reaped its number, and so its group's, cannot belong to anybody else. */
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
        return false;
    (void)kill(-process->pid, SIGKILL); /* what it left behind in its group */
    int status = 0;
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR) {
    }
    process->pid = 0;
    if (wait_status != NULL)
        *wait_status = status;
    return true;
}

void hone__process_kill(hone__process *process) {
    if (process->pid > 0) {
        (void)kill(-process->pid, SIGKILL);
        (void)kill(process->pid, SIGKILL);
        while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        process->pid = 0;
    }
    close_fd(&process->in_fd);
    close_fd(&process->out_fd);
    close_fd(&process->err_fd);
}

void hone__process_describe(int wait_status, char *text, size_t bytes) {
    if (WIFEXITED(wait_status))
        (void)snprintf(text, bytes, "exited with status %d", WEXITSTATUS(wait_status));
    else if (WIFSIGNALED(wait_status))
        (void)snprintf(text, bytes, "killed by signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    else
        (void)snprintf(text, bytes, "ended with wait status %d", wait_status);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Copy one word to `to`; returns where the next begins, NULL when a quote is left open. */
static const char *copy_word(const char *from, char **to) {
    char quote = '\0';
    for (; *from != '\0' && (quote != '\0' || !is_blank(*from)); from++) {
        if (quote == '\0' && (*from == '\'' || *from == '"')) {
            quote = *from;
        } else if (quote != '\0' && *from == quote) {
            quote = '\0';
        } else {
            /* In double quotes a backslash is itself, except before what it can protect. */
            bool escapes = quote == '\0' || (quote == '"' && from[1] != '\0' && strchr("\"\\$`", from[1]) != NULL);
            if (*from == '\\' && escapes && from[1] != '\0')
                from++;
            *(*to)++ = *from;
        }
    }
    *(*to)++ = '\0';
    return quote == '\0' ? from : NULL;
}

hone_status hone__words_split(char ***out, const char *line) {
    size_t length = strlen(line);
    size_t slots = length / 2 + 2;
    char **words = hone__alloc(slots * sizeof(char *) + length + 1);
    *out = NULL;
    if (words == NULL)
        return HONE_E_NOMEM;
    char *text = (char *)(words + slots);
    size_t count = 0;
    for (const char *c = line;;) {
        while (is_blank(*c))
            c++;
        if (*c == '\0')
            break;
        words[count++] = text;
        c = copy_word(c, &text);
        if (c == NULL) {
            hone__free(words);
            return HONE_E_ARG;
        }
    }
    words[count] = NULL;
    if (count == 0) {
        hone__free(words);
        return HONE_E_ARG;
    }
    *out = words;
    return HONE_OK;
}
