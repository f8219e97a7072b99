/* worker_trial.c: one run of a kernel in a child process.  Two processes, in fact: a supervisor, which is the first of a PID namespace, so
 * that all dies with it, and below it the one that loads and calls the kernel.  The worker watches time and output from outside. */
#define _GNU_SOURCE
#include "clock.h"
#include "worker_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

void hone__stage_set(hone__slate *slate, hone__stage stage) {
    slate->stage_since_ns = hone__clock_ns();
    slate->stage = (int32_t)stage;
}

/* ---- in the children ---- */

static void redirect(const hone__worker *worker, int text_fd) {
    char run[300];
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd >= 0)
        (void)dup2(null_fd, 0);
    (void)dup2(text_fd, 1);
    (void)dup2(text_fd, 2);
    (void)snprintf(run, sizeof run, "%s/run", worker->dir);
    if (chdir(run) != 0)
        _exit(126);
}

static void limit_child(hone__worker *worker, hone__slate *slate) {
    struct rlimit none = {0, 0};
    struct rlimit file = {worker->problem.output_bytes, worker->problem.output_bytes};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)setrlimit(RLIMIT_FSIZE, &file);
    slate->base_vm_bytes = 0;
#ifndef HONE_SANITIZED /* a sanitizer's shadow is an address space of its own */
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        (void)close(fd);
    uint64_t pages = 0;
    for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; i++)
        pages = pages * 10 + (uint64_t)(text[i] - '0');
    if (pages == 0)
        return;
    slate->base_vm_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    rlim_t most = slate->base_vm_bytes + worker->problem.memory_bytes;
    struct rlimit memory = {most, most};
    (void)setrlimit(RLIMIT_AS, &memory);
#endif
}

static _Noreturn void kernel_process(hone__worker *worker, hone__trial *trial, int text_fd) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    redirect(worker, text_fd);
    (void)close_range(3, ~0u, 0);
    limit_child(worker, trial->slate);
    hone__deny_processes();
    hone__trial_child(worker, trial);
    hone__stage_set(trial->slate, HONE_STAGE_DONE);
    _exit(0);
}

/* The first process of the namespace: starts the kernel's process, waits for it, buries orphans. */
static _Noreturn void supervise(hone__worker *worker, hone__trial *trial, int text_fd, int done_fd, bool own_namespace) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!own_namespace)
        (void)setpgid(0, 0);
    pid_t kernel = fork();
    if (kernel == 0) {
        (void)close(done_fd);
        kernel_process(worker, trial, text_fd);
    }
    (void)close(text_fd);
    int status = 0;
    for (;;) {
        pid_t ended = waitpid(-1, &status, 0);
        if (ended == kernel)
            break;
        if (ended < 0 && errno != EINTR) {
            status = 127 << 8;
            break;
        }
    }
    trial->slate->wait_status = status;
    trial->slate->ended = 1;
    if (!own_namespace)
        (void)kill(0, SIGKILL);
    _exit(0);
}

/* ---- in the worker ---- */

hone_status hone__trial_start(hone__worker *worker, hone__trial *trial, hone_error *err) {
    int text[2] = {-1, -1};
    int done[2] = {-1, -1};
    void *slate = mmap(NULL, sizeof *trial->slate, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    trial->slate = slate == MAP_FAILED ? NULL : slate;
    if (trial->slate == NULL || pipe2(text, O_CLOEXEC) != 0 || pipe2(done, O_CLOEXEC) != 0) {
        int code = errno;
        hone__trial_end(trial);
        for (int i = 0; i < 2; i++) {
            if (text[i] >= 0)
                (void)close(text[i]);
        }
        return hone__fail_os(err, HONE_E_EVALUATOR, "worker", code, "cannot set up a run: %s", strerror(code));
    }
    trial->text_length = 0;
    trial->text_total = 0;
    trial->started_ns = hone__clock_ns();
    trial->deadline_ns = trial->started_ns + (uint64_t)(trial->run_s * 1e9);
    trial->slate->result.outcome = HONE_OUTCOME_COUNT;
    trial->pid = hone__fork_contained(&trial->own_namespace);
    if (trial->pid == 0) {
        bool own = getpid() == 1;
        (void)close(text[0]);
        (void)close(done[0]);
        supervise(worker, trial, text[1], done[1], own);
    }
    int code = errno;
    (void)close(text[1]);
    (void)close(done[1]);
    trial->text_fd = text[0];
    trial->done_fd = done[0];
    trial->active = true;
    (void)fcntl(trial->text_fd, F_SETFL, O_NONBLOCK);
    if (trial->pid < 0) {
        trial->pid = 0;
        hone__trial_end(trial);
        return hone__fail_os(err, HONE_E_EVALUATOR, "worker", code, "cannot start a process for a run: %s", strerror(code));
    }
    return HONE_OK;
}

static void kill_child(hone__trial *trial) {
    if (trial->pid <= 0)
        return;
    if (!trial->own_namespace)
        (void)kill(-trial->pid, SIGKILL);
    (void)kill(trial->pid, SIGKILL);
    while (waitpid(trial->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    trial->pid = 0;
}

void hone__trial_end(hone__trial *trial) {
    kill_child(trial);
    if (trial->active) {
        (void)close(trial->text_fd);
        (void)close(trial->done_fd);
    }
    if (trial->slate != NULL)
        (void)munmap(trial->slate, sizeof *trial->slate);
    trial->slate = NULL;
    trial->active = false;
}

static void drain(hone__trial *trial) {
    char chunk[16384];
    for (int i = 0; i < 64; i++) {
        ssize_t got = read(trial->text_fd, chunk, sizeof chunk);
        if (got <= 0)
            return;
        size_t room = sizeof trial->text - 1 - trial->text_length;
        size_t keep = (size_t)got < room ? (size_t)got : room;
        memcpy(trial->text + trial->text_length, chunk, keep);
        trial->text_length += keep;
        trial->text_total += (uint64_t)got;
    }
}

const char *hone__stage_name(int32_t stage) {
    static const char *const names[] = {"starting",        "setting up", "loading", "the first run", "comparing with the reference",
                                        "the timed runs", "the last run", "done"};
    return stage >= 0 && stage <= HONE_STAGE_DONE ? names[stage] : "an unknown stage";
}

__attribute__((format(printf, 3, 4))) static void conclude(hone__trial *trial, hone__outcome outcome, const char *format, ...) {
    hone__measurement *result = &trial->slate->result;
    *result = (hone__measurement){.outcome = outcome};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(result->reason, sizeof result->reason, format, args);
    va_end(args);
    size_t length = strlen(result->reason);
    trial->text[trial->text_length] = '\0';
    if (trial->text_length > 0 && outcome == HONE_OUTCOME_CRASH)
        (void)snprintf(result->reason + length, sizeof result->reason - length, "; it wrote: %.160s", trial->text);
}

/* Name what lies at a faulting address. */
static void name_address(const hone__problem *problem, uint64_t address, uint64_t stack, char *text, size_t bytes) {
    const void *at = (const void *)(uintptr_t)address; /* only compared, never followed */
    text[0] = '\0';
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        const hone__worker_arg *arg = &problem->arg[i];
        if (!arg->is_buffer || !hone__arena_owns(&arg->work, at))
            continue;
        long long offset = (long long)(address - (uint64_t)(uintptr_t)arg->work.data);
        if (offset >= 0 && offset < (long long)arg->work.bytes && arg->out)
            (void)snprintf(text, bytes, " inside buffer %s (byte %lld), which it must have unmapped", arg->name, offset);
        else if (offset >= 0 && offset < (long long)arg->work.bytes)
            (void)snprintf(text, bytes, ": it wrote to the input buffer %s (byte %lld)", arg->name, offset);
        else if (offset < 0)
            (void)snprintf(text, bytes, ": out of bounds, %lld bytes before buffer %s", -offset, arg->name);
        else
            (void)snprintf(text, bytes, ": out of bounds, at byte %lld of buffer %s, which has %zu", offset, arg->name, arg->work.bytes);
        return;
    }
    uint64_t distance = address > stack ? address - stack : stack - address;
    if (address < 65536)
        (void)snprintf(text, bytes, " at address %llu: a null pointer", (unsigned long long)address);
    else if (stack != 0 && address < stack && distance < (64u << 20))
        (void)snprintf(text, bytes, ": the stack is full");
    else
        (void)snprintf(text, bytes, " at address 0x%llx", (unsigned long long)address);
}

static void judge_signal(hone__trial *trial, const hone__problem *problem, int number) {
    const hone__slate *slate = trial->slate;
    char where[160] = "";
    bool addressed = slate->fault_signal == number && (number == SIGSEGV || number == SIGBUS);
    if (addressed)
        name_address(problem, slate->fault_address, slate->fault_stack, where, sizeof where);
    uint64_t used = slate->fault_vm_bytes > slate->base_vm_bytes ? slate->fault_vm_bytes - slate->base_vm_bytes : 0;
    if (number == SIGXFSZ)
        conclude(trial, HONE_OUTCOME_RESOURCES, "the kernel wrote a file beyond the limit of %llu bytes",
                 (unsigned long long)problem->output_bytes);
    else if (slate->base_vm_bytes != 0 && used > problem->memory_bytes / 2)
        conclude(trial, HONE_OUTCOME_RESOURCES, "the kernel reached its memory limit of %llu bytes (signal %d, %s)",
                 (unsigned long long)problem->memory_bytes, number, strsignal(number));
    else
        conclude(trial, HONE_OUTCOME_CRASH, "killed by signal %d (%s) in %s%s", number, strsignal(number), hone__stage_name(slate->stage), where);
}

static void judge_end(hone__trial *trial, const hone__problem *problem) {
    hone__slate *slate = trial->slate;
    int status = slate->wait_status;
    drain(trial);
    if (!slate->ended)
        conclude(trial, HONE_OUTCOME_CRASH, "the process of the run was killed from outside in %s", hone__stage_name(slate->stage));
    else if (WIFSIGNALED(status))
        judge_signal(trial, problem, WTERMSIG(status));
    else if (slate->stage != HONE_STAGE_DONE || (unsigned)slate->result.outcome >= HONE_OUTCOME_COUNT)
        conclude(trial, HONE_OUTCOME_CRASH, "the kernel called exit (status %d) in %s", WEXITSTATUS(status), hone__stage_name(slate->stage));
    slate->result.reason[sizeof slate->result.reason - 1] = '\0';
}

bool hone__trial_step(hone__trial *trial, const hone__problem *problem) {
    uint64_t now = hone__clock_ns();
    hone__slate *slate = trial->slate;
    drain(trial);
    if (trial->text_total > problem->output_bytes) {
        kill_child(trial);
        trial->text[80] = '\0'; /* a glimpse is enough */
        conclude(trial, HONE_OUTCOME_RESOURCES, "the kernel wrote more than %llu bytes to stdout and stderr, beginning: %.100s",
                 (unsigned long long)problem->output_bytes, trial->text);
        return true;
    }
    struct pollfd done = {.fd = trial->done_fd, .events = POLLIN};
    if (poll(&done, 1, 0) > 0) { /* the supervisor has ended */
        kill_child(trial);
        judge_end(trial, problem);
        return true;
    }
    uint64_t since = slate->stage_since_ns;
    uint64_t patience = (uint64_t)(200.0 * trial->incumbent_ns) > 2000000000u ? (uint64_t)(200.0 * trial->incumbent_ns) : 2000000000u;
    bool hopeless = trial->incumbent_ns > 0.0 && slate->stage == HONE_STAGE_CHECK && now > since && now - since > patience;
    if (now < trial->deadline_ns && !hopeless)
        return false;
    int32_t stage = slate->stage;
    kill_child(trial);
    if (hopeless && now < trial->deadline_ns)
        conclude(trial, HONE_OUTCOME_TIMEOUT, "ended after %.3g s in its first run, more than 200 times the best config's time",
                 (double)(now - since) * 1e-9);
    else
        conclude(trial, HONE_OUTCOME_TIMEOUT, "hung or too slow: ended after its limit of %.3g s in %s", trial->run_s, hone__stage_name(stage));
    return true;
}

void hone__trial_wait(hone__trial *trial, const hone__problem *problem) {
    while (!hone__trial_step(trial, problem)) {
        struct pollfd fds[2] = {{.fd = trial->done_fd, .events = POLLIN}, {.fd = trial->text_fd, .events = POLLIN}};
        (void)poll(fds, 2, 50);
    }
}
