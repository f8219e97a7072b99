/* mailbox.c: a folder as the model: each prompt becomes a file, the answer is awaited as a file beside it.  For machines without a
 * network, for people, and for tunings that are resumed: an answer to the same prompt is found again by its name. */
#include "alloc.h"
#include "clock.h"
#include "file.h"
#include "llm_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STABLE_MS = 300, LOOK_MS = 50, NAME_BYTES = 48 };

static const char *const answer_endings[] = {"md", "json", "txt"};
enum { ANSWER_ENDINGS = sizeof answer_endings / sizeof answer_endings[0] };

/* What a file looked like when it was last seen to change. */
typedef struct sight {
    uint64_t inode, seen_ns;
    int64_t size, mtime_ns;
} sight;

struct hone__mailbox {
    char *folder;
    char stem[NAME_BYTES];    /* "0003-89abcdef" */
    sight sight[ANSWER_ENDINGS];
    uint64_t started_ns, deadline_ns, look_ns;
};

hone_status hone__mailbox_open(hone__mailbox **out, const char *folder, hone_error *err) {
    *out = NULL;
    HONE_TRY(hone__mkdir_all(folder, err));
    struct stat info;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode) || access(folder, W_OK | X_OK) != 0)
        return hone__fail(err, HONE_E_ARG, "llm", "the mailbox %.200s is not a folder that can be written", folder);
    hone__mailbox *mailbox = hone__alloc(sizeof *mailbox);
    char *copy = hone__strdup(folder);
    if (mailbox == NULL || copy == NULL) {
        hone__free(mailbox);
        hone__free(copy);
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the mailbox");
    }
    mailbox->folder = copy;
    *out = mailbox;
    return HONE_OK;
}

void hone__mailbox_close(hone__mailbox *mailbox) {
    if (mailbox == NULL)
        return;
    hone__free(mailbox->folder);
    hone__free(mailbox);
}

static char *file_path(const hone__mailbox *mailbox, const char *ending) {
    char name[NAME_BYTES + 16];
    (void)snprintf(name, sizeof name, "%s.%s", mailbox->stem, ending);
    return hone__path_join(mailbox->folder, name);
}

static void render(hone__buf *text, const hone__mailbox *mailbox, const hone__llm_request *request) {
    hone__buf_printf(text, "# Hone asks (request %u)\n\n", request->index);
    hone__request_render(text, request);
    hone__buf_printf(text,
                     "===== WHERE TO ANSWER =====\n\n"
                     "Write the answer to the last USER part, as the SYSTEM part asks for it, into this file of the same folder:\n\n"
                     "    %s.answer.md\n\n"
                     "(or %s.answer.json, or %s.answer.txt). It is taken once it has not changed for %d ms; write it elsewhere and rename\n"
                     "it, or write it in one go. To repeat the request later, leave the file: the same prompt finds the same answer.\n",
                     mailbox->stem, mailbox->stem, mailbox->stem, STABLE_MS);
}

/* A prompt that is there already is left alone, so that its time tells when it was first asked. */
static bool is_there(const char *path, const hone__buf *text) {
    char *old = NULL;
    size_t bytes = 0;
    bool same = hone__file_read(path, text->length, &old, &bytes, NULL) == HONE_OK && bytes == text->length &&
                memcmp(old, text->data, bytes) == 0;
    hone__free(old);
    return same;
}

hone_status hone__mailbox_start(hone__mailbox *mailbox, const hone__llm_request *request, uint64_t deadline_ns, hone_error *err) {
    char hex[9];
    hone__request_hash(request, hex);
    (void)snprintf(mailbox->stem, sizeof mailbox->stem, "%04u-%s", request->index, hex);
    memset(mailbox->sight, 0, sizeof mailbox->sight);
    mailbox->started_ns = hone__clock_ns();
    mailbox->deadline_ns = deadline_ns;
    mailbox->look_ns = 0;
    hone__buf text;
    hone__buf_init(&text, 4u * HONE_LIMIT_REPLY_BYTES);
    render(&text, mailbox, request);
    char *path = file_path(mailbox, "prompt.md");
    hone_status status = text.status;
    if (status != HONE_OK || path == NULL) {
        status = hone__fail(err, status != HONE_OK ? status : HONE_E_NOMEM, "llm", "no room for a request to the model");
    } else if (!is_there(path, &text)) {
        hone_error cause = {0};
        status = hone__file_write(path, text.data, text.length, 0600, &cause);
        if (status != HONE_OK)
            status = hone__fail_os(err, HONE_E_PROVIDER, "llm", cause.os_code, "mailbox: %.300s", cause.message);
    }
    hone__free(path);
    hone__buf_free(&text);
    return status;
}

static hone_status read_answer(int fd, const char *path, size_t size, hone__llm_reply *reply, hone_error *err) {
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_REPLY_BYTES);
    char bytes[16384];
    ssize_t got = 1;
    while (text.length < size && got != 0 && text.status == HONE_OK) {
        got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno != EINTR)
            break;
        if (got > 0)
            hone__buf_bytes(&text, bytes, (size_t)got);
    }
    hone_status status = HONE_OK;
    if (got < 0)
        status = hone__fail_os(err, HONE_E_PROVIDER, "llm", errno, "mailbox: cannot read %.200s: %s", path, strerror(errno));
    else if (text.length > 0 && !hone__utf8_valid(text.data, text.length))
        status = hone__fail(err, HONE_E_REPLY, "llm", "the answer %.200s is not UTF-8", path);
    else if (text.length == 0 || text.data[strspn(text.data, " \t\r\n")] == '\0')
        status = HONE_E_TIMEOUT; /* still to be written */
    if (status == HONE_OK)
        return hone__reply_finish(reply, "mailbox", &text, "", err);
    hone__buf_free(&text);
    return status;
}

static int64_t wall_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Unchanged for long enough, as far as we saw or as its own time says. */
static bool is_stable(sight *last, const struct stat *info) {
    int64_t mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
    uint64_t now = hone__clock_ns();
    if (last->seen_ns == 0 || last->inode != (uint64_t)info->st_ino || last->size != (int64_t)info->st_size || last->mtime_ns != mtime_ns)
        *last = (sight){(uint64_t)info->st_ino, now, (int64_t)info->st_size, mtime_ns};
    int64_t age_ns = wall_ns() - mtime_ns;
    return now - last->seen_ns >= STABLE_MS * 1000000u || age_ns >= STABLE_MS * (int64_t)1000000;
}

static hone_status look_at(hone__mailbox *mailbox, size_t which, const char *path, hone__llm_reply *reply, hone_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ELOOP)
        return hone__fail_os(err, HONE_E_PROVIDER, "llm", ELOOP, "the answer %.200s is a symbolic link; write a plain file", path);
    if (fd < 0 && errno == ENOENT)
        return HONE_E_TIMEOUT;
    if (fd < 0)
        return hone__fail_os(err, HONE_E_PROVIDER, "llm", errno, "mailbox: cannot open %.200s: %s", path, strerror(errno));
    struct stat info;
    hone_status status = HONE_E_TIMEOUT;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        status = hone__fail(err, HONE_E_PROVIDER, "llm", "the answer %.200s is not a plain file", path);
    else if ((uint64_t)info.st_size > HONE_LIMIT_REPLY_BYTES)
        status = hone__fail(err, HONE_E_REPLY, "llm", "the answer %.200s has more than %u bytes", path, HONE_LIMIT_REPLY_BYTES);
    else if (info.st_size > 0 && is_stable(&mailbox->sight[which], &info))
        status = read_answer(fd, path, (size_t)info.st_size, reply, err);
    (void)close(fd);
    return status;
}

static hone_status look(hone__mailbox *mailbox, hone__llm_reply *reply, hone_error *err) {
    for (size_t i = 0; i < ANSWER_ENDINGS; i++) {
        char ending[16];
        (void)snprintf(ending, sizeof ending, "answer.%s", answer_endings[i]);
        char *path = file_path(mailbox, ending);
        if (path == NULL)
            return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the mailbox");
        hone_status status = look_at(mailbox, i, path, reply, err);
        hone__free(path);
        if (status != HONE_E_TIMEOUT)
            return status;
    }
    return HONE_E_TIMEOUT;
}

hone_status hone__mailbox_poll(hone__mailbox *mailbox, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err) {
    uint64_t until = hone__clock_ns() + (uint64_t)timeout_ms * 1000000u;
    reply->tries = 1;
    for (;;) {
        uint64_t now = hone__clock_ns();
        if (now >= mailbox->look_ns) {
            hone_status status = look(mailbox, reply, err);
            if (status != HONE_E_TIMEOUT)
                return status;
            mailbox->look_ns = now + LOOK_MS * 1000000u;
        }
        if (now >= mailbox->deadline_ns)
            return hone__fail(err, HONE_E_PROVIDER, "llm", "no answer to %.150s/%s.prompt.md within %llu s", mailbox->folder, mailbox->stem,
                              (unsigned long long)((mailbox->deadline_ns - mailbox->started_ns + 500000000u) / 1000000000u));
        if (now >= until)
            return HONE_E_TIMEOUT;
        uint64_t stop = until < mailbox->look_ns ? until : mailbox->look_ns;
        hone__sleep_ms(stop > now ? (uint32_t)((stop - now) / 1000000u + 1) : 1);
    }
}
