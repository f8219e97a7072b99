/* bench_channel.c: lines to and from an evaluator over non-blocking pipes.  Whatever the child does (floods, half lines, huge lines,
 * closed pipes), nothing here blocks beyond the timeout given or grows beyond its limit. */
#define _GNU_SOURCE
#include "alloc.h"
#include "bench_internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static hone_status channel_init(hone__channel *channel, hone_error *err) {
    *channel = (hone__channel){.process = {.pid = 0, .in_fd = -1, .out_fd = -1, .err_fd = -1}};
    hone__buf_init(&channel->out, 2 * (size_t)HONE_LIMIT_MESSAGE_BYTES + 65536);
    hone__buf_init(&channel->in, (size_t)HONE_LIMIT_MESSAGE_BYTES + 2 * 65536);
    channel->tail = hone__alloc(HONE_LIMIT_STDERR_BYTES);
    if (channel->tail == NULL)
        return hone__fail(err, HONE_E_NOMEM, "bench", "no memory for an evaluator's output");
    return HONE_OK;
}

hone_status hone__channel_open(hone__channel *channel, const char *const *argv, const char *cwd, hone_error *err) {
    HONE_TRY(channel_init(channel, err));
    return hone__process_start(&channel->process, argv, cwd, NULL, err);
}

hone_status hone__channel_fork(hone__channel *channel, hone__process_body *body, void *context, hone_error *err) {
    HONE_TRY(channel_init(channel, err));
    return hone__process_fork(&channel->process, body, context, NULL, NULL, err);
}

void hone__channel_close(hone__channel *channel) {
    hone__process_kill(&channel->process);
    hone__buf_free(&channel->out);
    hone__buf_free(&channel->in);
    hone__free(channel->tail);
    *channel = (hone__channel){.process = {.pid = 0, .in_fd = -1, .out_fd = -1, .err_fd = -1}};
}

/* write() without SIGPIPE: the library may not change the host's disposition, so the signal is blocked for this thread and one that
 * the write raised is taken away. */
static ssize_t write_quietly(int fd, const char *bytes, size_t count) {
    sigset_t pipe_set, before, pending;
    (void)sigemptyset(&pipe_set);
    (void)sigaddset(&pipe_set, SIGPIPE);
    (void)sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    ssize_t put = write(fd, bytes, count);
    int code = errno;
    if (put < 0 && code == EPIPE && !was_pending) {
        const struct timespec at_once = {0, 0};
        while (sigtimedwait(&pipe_set, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return put;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void write_some(hone__channel *channel) {
    while (channel->process.in_fd >= 0 && channel->out_done < channel->out.length) {
        ssize_t put = write_quietly(channel->process.in_fd, channel->out.data + channel->out_done, channel->out.length - channel->out_done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            return;
        if (put < 0) {
            close_fd(&channel->process.in_fd); /* it closed its stdin: its end shows on stdout */
            break;
        }
        channel->out_done += (size_t)put;
    }
    hone__buf_clear(&channel->out);
    channel->out_done = 0;
}

hone_status hone__channel_send(hone__channel *channel, const char *line) {
    hone__buf_text(&channel->out, line);
    hone__buf_char(&channel->out, '\n');
    hone_status status = channel->out.status;
    if (status == HONE_OK)
        write_some(channel);
    return status;
}

static void read_lines(hone__channel *channel) {
    if (channel->in_done > 0) {
        size_t rest = channel->in.length - channel->in_done;
        memmove(channel->in.data, channel->in.data + channel->in_done, rest);
        channel->in.length = rest;
        channel->in_scanned -= channel->in_done;
        channel->in_done = 0;
    }
    char chunk[65536];
    ssize_t got = read(channel->process.out_fd, chunk, sizeof chunk);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        channel->out_closed = true;
        close_fd(&channel->process.out_fd);
        return;
    }
    hone__buf_bytes(&channel->in, chunk, (size_t)got);
    if (channel->in.status != HONE_OK)
        channel->broken = true;
}

/* False at the end of the stream or when there is nothing now. */
static bool read_stderr(hone__channel *channel) {
    char chunk[16384];
    ssize_t got = read(channel->process.err_fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        close_fd(&channel->process.err_fd);
        return false;
    }
    size_t count = (size_t)got;
    size_t room = HONE_LIMIT_STDERR_BYTES - channel->tail_length;
    if (count > room) {
        size_t drop = count - room;
        memmove(channel->tail, channel->tail + drop, channel->tail_length - drop);
        channel->tail_length -= drop;
    }
    memcpy(channel->tail + channel->tail_length, chunk, count);
    channel->tail_length += count;
    return true;
}

void hone__channel_drain_stderr(hone__channel *channel) {
    for (int i = 0; i < 64 && channel->process.err_fd >= 0 && read_stderr(channel); i++) {
    }
}

void hone__channel_move(hone__channel *channel, int timeout_ms) {
    struct pollfd fds[3] = {{.fd = channel->process.out_fd, .events = POLLIN},
                            {.fd = channel->process.err_fd, .events = POLLIN},
                            {.fd = channel->out_done < channel->out.length ? channel->process.in_fd : -1, .events = POLLOUT}};
    if (poll(fds, 3, timeout_ms) <= 0)
        return;
    if (fds[1].revents != 0)
        (void)read_stderr(channel);
    if (fds[2].revents != 0)
        write_some(channel);
    if (fds[0].revents != 0)
        read_lines(channel);
}

bool hone__channel_line(hone__channel *channel, const char **line, size_t *bytes) {
    while (channel->in_scanned < channel->in.length) {
        const char *start = channel->in.data + channel->in_scanned;
        const char *newline = memchr(start, '\n', channel->in.length - channel->in_scanned);
        if (newline == NULL) {
            channel->in_scanned = channel->in.length;
            break;
        }
        *line = channel->in.data + channel->in_done;
        *bytes = (size_t)(newline - *line);
        channel->in_done += *bytes + 1;
        channel->in_scanned = channel->in_done;
        if (*bytes > HONE_LIMIT_MESSAGE_BYTES) {
            channel->broken = true;
            return false;
        }
        return true;
    }
    if (channel->in.length - channel->in_done > HONE_LIMIT_MESSAGE_BYTES)
        channel->broken = true;
    return false;
}

void hone__channel_tail(const hone__channel *channel, char *text, size_t bytes) {
    size_t keep = bytes - 1 < channel->tail_length ? bytes - 1 : channel->tail_length;
    while (keep > 0 && channel->tail[channel->tail_length - 1] == '\n' && keep > 240)
        keep--;
    char raw[512];
    if (keep > sizeof raw - 1)
        keep = sizeof raw - 1;
    if (keep > 0)
        memcpy(raw, channel->tail + channel->tail_length - keep, keep);
    raw[keep] = '\0';
    hone__text_clean_line(text, bytes, raw);
}
