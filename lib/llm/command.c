/* command.c: a local program as the model: the conversation as text on its stdin, the answer on its stdout. */
#include "alloc.h"
#include "clock.h"
#include "llm_impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct hone__command {
    char **words;
    hone__process process;
    bool running;
    hone__buf input;
    size_t sent;
    hone__buf output, errors;
    bool out_open, err_open;
    bool exited;
    int wait_status;
    uint64_t started_ns, deadline_ns, exited_ns;
};

hone_status hone__command_open(hone__command **out, const char *line, hone_error *err) {
    *out = NULL;
    hone__command *command = hone__alloc(sizeof *command);
    if (command == NULL)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the model's command");
    command->process = (hone__process){.in_fd = -1, .out_fd = -1, .err_fd = -1};
    hone__buf_init(&command->input, 4u * HONE_LIMIT_REPLY_BYTES);
    hone__buf_init(&command->output, HONE_LIMIT_REPLY_BYTES);
    hone__buf_init(&command->errors, HONE_LIMIT_STDERR_BYTES);
    hone_status status = hone__words_split(&command->words, line);
    if (status != HONE_OK) {
        hone__command_close(command);
        return hone__fail(err, status, "llm", status == HONE_E_NOMEM ? "no memory for the model's command"
                                                                     : "the model's command line is empty or has an open quote");
    }
    *out = command;
    return HONE_OK;
}

void hone__command_cancel(hone__command *command) {
    if (command->running)
        hone__process_kill(&command->process);
    command->running = false;
}

void hone__command_close(hone__command *command) {
    if (command == NULL)
        return;
    hone__command_cancel(command);
    hone__buf_free(&command->input);
    hone__buf_free(&command->output);
    hone__buf_free(&command->errors);
    hone__free(command->words);
    hone__free(command);
}

hone_status hone__command_start(hone__command *command, const hone__llm_request *request, uint64_t deadline_ns, hone_error *err) {
    hone__buf_clear(&command->input);
    hone__buf_clear(&command->output);
    hone__buf_clear(&command->errors);
    hone__request_render(&command->input, request);
    if (command->input.status != HONE_OK)
        return hone__fail(err, command->input.status, "llm", "no room for a request to the model");
    command->sent = 0;
    command->out_open = command->err_open = true;
    command->exited = false;
    command->started_ns = hone__clock_ns();
    command->deadline_ns = deadline_ns;
    /* hone__words_split gives char **; C needs help to add the inner const. */
    union {
        char **in;
        const char *const *out;
    } words = {.in = command->words};
    hone_error cause = {0};
    hone__process_limits limits = HONE_PROCESS_LIMITS_NONE;
    limits.keep_keys = true; /* the command may well be a client of the provider */
    hone_status status = hone__process_start(&command->process, words.out, NULL, &limits, &cause);
    if (status != HONE_OK)
        return hone__fail_os(err, HONE_E_PROVIDER, "llm", cause.os_code, "model command: %.300s", cause.message);
    command->running = true;
    return HONE_OK;
}

static void close_input(hone__command *command) {
    if (command->process.in_fd >= 0)
        (void)close(command->process.in_fd);
    command->process.in_fd = -1;
}

static void feed(hone__command *command) {
    hone__sigpipe pipe_state;
    hone__sigpipe_block(&pipe_state);
    ssize_t put = write(command->process.in_fd, command->input.data + command->sent, command->input.length - command->sent);
    int code = errno;
    hone__sigpipe_restore(&pipe_state);
    if (put > 0)
        command->sent += (size_t)put;
    /* A program need not read everything: EPIPE is its right. */
    if (command->sent == command->input.length || (put < 0 && code != EAGAIN && code != EINTR))
        close_input(command);
}

/* Read once; what does not fit is dropped, and for stdout remembered in the buffer's status.  False at the end. */
static bool drain(int fd, hone__buf *to) {
    char bytes[16384];
    ssize_t got = read(fd, bytes, sizeof bytes);
    if (got > 0)
        hone__buf_bytes(to, bytes, (size_t)got);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* True when something was there to do. */
static bool pump(hone__command *command, uint64_t wait_ms) {
    struct pollfd fds[3];
    nfds_t count = 0;
    if (command->out_open)
        fds[count++] = (struct pollfd){.fd = command->process.out_fd, .events = POLLIN};
    if (command->err_open)
        fds[count++] = (struct pollfd){.fd = command->process.err_fd, .events = POLLIN};
    if (command->process.in_fd >= 0)
        fds[count++] = (struct pollfd){.fd = command->process.in_fd, .events = POLLOUT};
    bool busy = poll(fds, count, (int)(wait_ms > 50 ? 50 : wait_ms)) > 0;
    if (busy) {
        for (nfds_t i = 0; i < count; i++) {
            if (fds[i].revents == 0)
                continue;
            if (fds[i].fd == command->process.out_fd)
                command->out_open = drain(fds[i].fd, &command->output);
            else if (fds[i].fd == command->process.err_fd)
                command->err_open = drain(fds[i].fd, &command->errors);
            else
                feed(command);
        }
    }
    if (!command->exited && hone__process_ended(&command->process, &command->wait_status)) {
        command->exited = true;
        command->exited_ns = hone__clock_ns();
    }
    return busy;
}

/* The end of what it said on stderr says most about why. */
static void last_words(const hone__command *command, char *text, size_t bytes) {
    const char *all = command->errors.length > 0 ? command->errors.data : "";
    size_t length = strlen(all);
    hone__excerpt(length > bytes ? all + (length - bytes) : all, NULL, text, bytes);
}

static hone_status take(hone__command *command, hone__llm_reply *reply, hone_error *err) {
    if (!WIFEXITED(command->wait_status) || WEXITSTATUS(command->wait_status) != 0) {
        char how[96];
        char why[HONE_LLM_ERROR_BYTES];
        hone__process_describe(command->wait_status, how, sizeof how);
        last_words(command, why, sizeof why);
        return hone__fail(err, HONE_E_PROVIDER, "llm", "the model's command %s%s%s", how, why[0] != '\0' ? ": " : "", why);
    }
    if (command->output.length > 0 && !hone__utf8_valid(command->output.data, command->output.length))
        return hone__fail(err, HONE_E_REPLY, "llm", "the answer of the model's command is not UTF-8");
    return hone__reply_finish(reply, "command", &command->output, "", err);
}

/* HONE_E_TIMEOUT: not over yet. */
static hone_status judge(hone__command *command, uint64_t now, hone__llm_reply *reply, hone_error *err) {
    if (command->output.status == HONE_E_LIMIT)
        return hone__fail(err, HONE_E_REPLY, "llm", "the model's command wrote more than %u bytes", HONE_LIMIT_REPLY_BYTES);
    if (command->output.status != HONE_OK)
        return hone__fail(err, command->output.status, "llm", "no memory for the answer of the model's command");
    /* A grandchild may hold the pipes open after the program has ended: do not wait for it. */
    bool all_read = !command->out_open && !command->err_open;
    if (command->exited && (all_read || now - command->exited_ns > 200000000u))
        return take(command, reply, err);
    if (now >= command->deadline_ns)
        return hone__fail(err, HONE_E_PROVIDER, "llm", "the model's command did not end within %llu s",
                          (unsigned long long)((command->deadline_ns - command->started_ns + 500000000u) / 1000000000u));
    return HONE_E_TIMEOUT;
}

hone_status hone__command_poll(hone__command *command, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err) {
    uint64_t begin = hone__clock_ns();
    uint64_t until = begin + (uint64_t)timeout_ms * 1000000u;
    reply->tries = 1;
    for (;;) {
        uint64_t now = hone__clock_ns();
        bool busy = pump(command, until > now ? (until - now) / 1000000u + 1 : 0);
        now = hone__clock_ns();
        hone_status status = judge(command, now, reply, err);
        if (status != HONE_E_TIMEOUT) {
            hone__command_cancel(command);
            return status;
        }
        if (now >= until && (!busy || now - begin >= HONE_LLM_GRACE_NS))
            return HONE_E_TIMEOUT;
    }
}
