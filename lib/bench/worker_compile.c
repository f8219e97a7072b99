/* worker_compile.c: a kernel's source and one config's macros become a shared object with one function, hone_launch, which calls the
 * entry with typed arguments.  Compilers run beside the timing core, each under limits of time, memory and output. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "file.h"
#include "worker_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the source file ---- */

static void line_mark(hone__buf *text, const char *name) {
    hone__buf_text(text, "#line 1 ");
    hone__buf_json_string(text, name); /* C and JSON quote these characters alike */
    hone__buf_char(text, '\n');
}

hone_status hone__source_write(const hone__worker *worker, const char *file, const hone__problem *problem, const char *source,
                               const char *source_path, const char *entry, hone_error *err) {
    hone__buf text;
    hone__buf_init(&text, 2 * (size_t)HONE_LIMIT_SOURCE_BYTES);
    line_mark(&text, source_path != NULL ? source_path : "kernel.c");
    hone__buf_text(&text, source);
    /* The names here are out of the way of macros; the types are the compiler's own, so that no header is needed. */
    hone__buf_char(&text, '\n');
    line_mark(&text, "call of the entry with the spec's arguments");
    hone__buf_text(&text, "__attribute__((visibility(\"default\"))) void hone_launch(void *const *hone__args);"
                          "__attribute__((visibility(\"default\"))) void hone_launch(void *const *hone__args) { ");
    hone__buf_printf(&text, "%s(", entry);
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        const hone__worker_arg *arg = &problem->arg[i];
        if (i > 0)
            hone__buf_text(&text, ", ");
        if (arg->is_buffer)
            hone__buf_printf(&text, "(%s *)hone__args[%u]", hone__element_c_type(arg->element), i);
        else
            hone__buf_printf(&text, "*(%s *)hone__args[%u]", hone__element_c_type(arg->element), i);
    }
    hone__buf_text(&text, "); (void)hone__args; }\n");
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", worker->dir, file);
    hone_status status = text.status;
    if (status != HONE_OK)
        (void)hone__fail(err, status, "worker", "the source is too long");
    else
        status = hone__file_write_lightly(path, text.data, text.length, 0600, err);
    hone__buf_free(&text);
    return status;
}

/* ---- the command ---- */

typedef struct words {
    const char **word;
    uint32_t count, capacity;
} words;

static void add(words *list, const char *word) {
    if (list->count + 1 < list->capacity)
        list->word[list->count++] = word;
}

static void add_all(words *list, const cJSON *array) {
    const cJSON *item;
    cJSON_ArrayForEach(item, array) {
        if (cJSON_IsString(item))
            add(list, item->valuestring);
    }
}

static hone_status add_defines(words *list, const cJSON *defines, char *store, size_t bytes) {
    const cJSON *item;
    size_t used = 0;
    cJSON_ArrayForEach(item, defines) {
        if (!cJSON_IsString(item))
            continue;
        size_t need = strlen(item->valuestring) + 3;
        if (need > bytes - used)
            return HONE_E_LIMIT;
        (void)snprintf(store + used, bytes - used, "-D%s", item->valuestring);
        add(list, store + used);
        used += need;
    }
    return HONE_OK;
}

static size_t defines_bytes(const cJSON *defines) {
    size_t bytes = 1;
    const cJSON *item;
    cJSON_ArrayForEach(item, defines)
        bytes += cJSON_IsString(item) ? strlen(item->valuestring) + 3 : 0;
    return bytes;
}

static hone_status launch_compiler(const hone__worker *worker, hone__build *build, const char *source_file, const cJSON *defines,
                                   const cJSON *options, words *list, char *store, size_t store_bytes, hone_error *err) {
    char include[4096];
    char source[400];
    for (char **word = worker->compiler; *word != NULL; word++)
        add(list, *word);
    /* Hidden visibility lets the compiler inline the entry although the object is position-independent. */
    static const char *const base[] = {"-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-s"};
    for (size_t i = 0; i < sizeof base / sizeof base[0]; i++)
        add(list, base[i]);
    if (add_defines(list, defines, store, store_bytes) != HONE_OK)
        return hone__fail(err, HONE_E_LIMIT, "worker", "too many macros");
    if (worker->problem.include_dir != NULL) {
        (void)snprintf(include, sizeof include, "-I%s", worker->problem.include_dir);
        add(list, include);
    }
    (void)snprintf(source, sizeof source, "%s/%s", worker->dir, source_file);
    add(list, "-o");
    add(list, build->object);
    add_all(list, options);
    add(list, source);
    add(list, "-lm");
    list->word[list->count] = NULL;
    const hone__process_limits limits = {.memory_bytes = worker->problem.memory_bytes,
                                         .file_bytes = (64u << 20) + worker->problem.output_bytes,
                                         .cpu_s = 0,
                                         .cpu_pin = -1,
                                         .cpu_avoid = worker->timing_core};
    hone_error cause = {0};
    if (hone__process_start(&build->process, list->word, worker->dir, &limits, &cause) != HONE_OK)
        return hone__fail(err, HONE_E_UNSUPPORTED, "worker", "the C compiler does not start: %.200s; install one (gcc or clang), or name it in CC",
                          cause.message);
    return HONE_OK;
}

hone_status hone__build_start(hone__worker *worker, hone__build *build, const char *source_file, const cJSON *defines, const cJSON *options,
                              hone_error *err) {
    uint64_t request = build->request;
    *build = (hone__build){.request = request, .process = {.pid = 0, .in_fd = -1, .out_fd = -1, .err_fd = -1}};
    (void)snprintf(build->object, sizeof build->object, "%s/object-%u.so", worker->dir, worker->object_count++);
    words list = {.capacity = 4096};
    size_t store_bytes = defines_bytes(defines);
    char *store = hone__alloc(store_bytes);
    list.word = hone__alloc_array(list.capacity, sizeof *list.word);
    hone_status status = HONE_E_NOMEM;
    if (store != NULL && list.word != NULL)
        status = launch_compiler(worker, build, source_file, defines, options, &list, store, store_bytes, err);
    else
        (void)hone__fail(err, status, "worker", "no memory for a compiler's command line");
    hone__free(store);
    hone__free(list.word);
    if (status != HONE_OK)
        return status;
    (void)close(build->process.in_fd); /* "#include "/dev/stdin"" reads nothing */
    build->process.in_fd = -1;
    build->active = true;
    build->text_max = worker->problem.output_bytes;
    build->started_ns = hone__clock_ns();
    build->deadline_ns = build->started_ns + (uint64_t)(worker->problem.compile_s * 1e9);
    return HONE_OK;
}

/* ---- its end ---- */

/* A line that only quotes the source: "   26 | #include ..." or "      |  ^~~". */
static bool quotes_source(const char *line) {
    line += strspn(line, " ");
    line += strspn(line, "0123456789");
    line += strspn(line, " ");
    return *line == '|';
}

/* The first line with an error, then the following ones, without quoted source: room is scarce. */
static void first_error(const hone__build *build, char *reason, size_t bytes) {
    static const char *const marks[] = {"fatal error:", "error:", "undefined reference", "internal compiler error", "cannot find -l"};
    const char *best = NULL;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        const char *hit = strstr(build->text, marks[i]);
        if (hit != NULL && (best == NULL || hit < best))
            best = hit;
    }
    const char *start = best != NULL ? best : build->text;
    while (start > build->text && start[-1] != '\n')
        start--;
    size_t used = 0;
    reason[0] = '\0';
    while (*start != '\0' && used + 2 < bytes) {
        size_t length = strcspn(start, "\n");
        if (length > 0 && !quotes_source(start)) {
            int put = snprintf(reason + used, bytes - used, "%s%.*s", used > 0 ? "\n" : "", (int)length, start);
            used += put > 0 ? (size_t)put : 0;
        }
        start += length + (start[length] == '\n');
    }
}

static void set_outcome(hone__build *build, int wait_status) {
    char how[128];
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
        build->outcome = HONE_OUTCOME_OK;
        return;
    }
    bool memory = strstr(build->text, "out of memory") != NULL || strstr(build->text, "virtual memory exhausted") != NULL ||
                  strstr(build->text, "annot allocate memory") != NULL || strstr(build->text, "bad_alloc") != NULL;
    bool file = strstr(build->text, "File too large") != NULL || strstr(build->text, "ile size limit exceeded") != NULL;
    bool full = strstr(build->text, "No space left on device") != NULL; /* the disk's fault, not the config's */
    build->outcome = full ? HONE_OUTCOME_EVALUATOR : memory || file ? HONE_OUTCOME_RESOURCES : HONE_OUTCOME_COMPILE_ERROR;
    hone__process_describe(wait_status, how, sizeof how);
    if (full)
        (void)snprintf(build->reason, sizeof build->reason, "no space is left in %.200s for the compiler's files; free some, or set TMPDIR to another folder",
                       hone__worker_temporary());
    else if (memory || file)
        (void)snprintf(build->reason, sizeof build->reason, "the compiler reached its limit of %s", memory ? "memory" : "file size");
    else if (build->text_length == 0)
        (void)snprintf(build->reason, sizeof build->reason, "the compiler %s without a message", how);
    else
        first_error(build, build->reason, sizeof build->reason);
}

static void drain(hone__build *build, int *fd) {
    char chunk[16384];
    for (int i = 0; i < 16 && *fd >= 0; i++) {
        ssize_t got = read(*fd, chunk, sizeof chunk);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            (void)close(*fd);
            *fd = -1;
            return;
        }
        size_t room = sizeof build->text - 1 - build->text_length;
        size_t keep = (size_t)got < room ? (size_t)got : room;
        memcpy(build->text + build->text_length, chunk, keep);
        build->text_length += keep;
        build->text[build->text_length] = '\0';
        build->text_total += (uint64_t)got;
    }
}

bool hone__build_step(hone__build *build) {
    int wait_status = 0;
    uint64_t now = hone__clock_ns();
    drain(build, &build->process.err_fd);
    drain(build, &build->process.out_fd);
    if (build->text_total > build->text_max) {
        build->outcome = HONE_OUTCOME_RESOURCES;
        (void)snprintf(build->reason, sizeof build->reason, "the compiler wrote more than %llu bytes of messages, beginning: %.200s",
                       (unsigned long long)build->text_max, build->text);
    } else if (hone__process_ended(&build->process, &wait_status)) {
        drain(build, &build->process.err_fd);
        set_outcome(build, wait_status);
    } else if (now >= build->deadline_ns) {
        build->outcome = HONE_OUTCOME_COMPILE_TIMEOUT;
        (void)snprintf(build->reason, sizeof build->reason, "the compiler was ended after its limit of %.3g s",
                       (double)(build->deadline_ns - build->started_ns) * 1e-9);
    } else {
        return false;
    }
    build->ms = (double)(hone__clock_ns() - build->started_ns) * 1e-6;
    hone__build_kill(build);
    return true;
}

void hone__build_kill(hone__build *build) {
    hone__process_kill(&build->process);
    build->active = false;
    if (build->outcome != HONE_OUTCOME_OK)
        (void)unlink(build->object);
}

void hone__build_wait(hone__build *build) {
    while (!hone__build_step(build)) {
        struct pollfd fds[2] = {{.fd = build->process.out_fd, .events = POLLIN}, {.fd = build->process.err_fd, .events = POLLIN}};
        (void)poll(fds, 2, build->process.out_fd < 0 && build->process.err_fd < 0 ? 2 : 20);
        if (build->process.out_fd < 0 && build->process.err_fd < 0)
            hone__sleep_ms(1);
    }
}
