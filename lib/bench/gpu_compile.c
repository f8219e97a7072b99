/* gpu_compile.c: CUDA C++ to machine code for the very device, by NVRTC in a child of its own for each config: a compiler bomb or a crash of
 * the compiler costs that config.  The library is loaded once, in the worker, and comes to the children with the fork. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "gpu_internal.h"
#include "hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOURCE_BYTES_MAX ((size_t)8 << 20) /* a source is at most 1 MiB, and the macros less */
#define COMPILER_MEMORY_LEAST ((uint64_t)2 << 30) /* NVRTC itself maps some hundred megabytes */

typedef struct compile_order {
    const hone__nvrtc *nvrtc;
    const char *source, *name, *entry, *object;
    const char **option;
    int option_count;
    char *store; /* of the options' texts */
} compile_order;

/* ---- in the child ---- */

static void say(const char *text, size_t bytes) {
    while (bytes > 0) {
        ssize_t put = write(2, text, bytes);
        if (put <= 0)
            return;
        text += put;
        bytes -= (size_t)put;
    }
}

static void say_log(const hone__nvrtc *nvrtc, hone__rtc_program program, const char *entry, hone__rtc_result code) {
    size_t bytes = 0;
    char head[400];
    if (code == HONE_NVRTC_OUT_OF_MEMORY)
        say("error: out of memory\n", 21);
    char *text = nvrtc->log_bytes(program, &bytes) == HONE_NVRTC_OK && bytes > 1 ? hone__alloc(bytes) : NULL;
    if (text != NULL && nvrtc->log(program, text) == HONE_NVRTC_OK) {
        /* NVRTC looks the entry up in a text of its own after the source, which means nothing to the author. */
        if (strncmp(text, "__nv_name_map", 13) == 0) {
            int length = snprintf(head, sizeof head, "error: the source has no __global__ function %.128s at global scope that is neither a template nor overloaded "
                                  "nor static (an extern \"C\" one may call a template)\n", entry);
            say(head, (size_t)length);
        } else {
            say(text, strnlen(text, bytes));
        }
    } else {
        int length = snprintf(head, sizeof head, "error: NVRTC failed with code %d and no message\n", code);
        say(head, (size_t)length);
    }
    hone__free(text);
}

/* "HONE" LF lowered name LF machine code. */
static bool write_object(const char *path, const char *lowered, const char *cubin, size_t bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char head[1024];
    int length = snprintf(head, sizeof head, "HONE\n%.900s\n", lowered);
    bool good = fd >= 0 && write(fd, head, (size_t)length) == (ssize_t)length;
    while (good && bytes > 0) {
        ssize_t put = write(fd, cubin, bytes);
        good = put > 0;
        cubin += good ? put : 0;
        bytes -= good ? (size_t)put : 0;
    }
    if (fd >= 0)
        good = close(fd) == 0 && good;
    if (!good)
        say("error: cannot write the compiled kernel\n", 40);
    return good;
}

static int compile_child(void *context) {
    const compile_order *order = context;
    const hone__nvrtc *nvrtc = order->nvrtc;
    hone__rtc_program program = NULL;
    const char *const *header, *const *header_name;
    int headers = hone__gpu_headers(&header, &header_name);
    hone__rtc_result code = nvrtc->create(&program, order->source, order->name, headers, header, header_name);
    const char *lowered = order->entry;
    size_t bytes = 0;
    if (code != HONE_NVRTC_OK) {
        say("error: NVRTC does not take the source\n", 38);
        return 1;
    }
    if (order->entry != NULL)
        code = nvrtc->add_name(program, order->entry);
    if (code == HONE_NVRTC_OK)
        code = nvrtc->compile(program, order->option_count, order->option);
    if (code == HONE_NVRTC_OK && order->entry != NULL)
        code = nvrtc->lowered_name(program, order->entry, &lowered);
    if (code == HONE_NVRTC_OK)
        code = nvrtc->cubin_bytes(program, &bytes);
    char *cubin = code == HONE_NVRTC_OK ? hone__alloc(bytes) : NULL;
    if (cubin != NULL)
        code = nvrtc->cubin(program, cubin);
    if (code != HONE_NVRTC_OK || cubin == NULL) {
        say_log(nvrtc, program, order->entry, cubin == NULL && code == HONE_NVRTC_OK ? HONE_NVRTC_OUT_OF_MEMORY : code);
        return 1;
    }
    return write_object(order->object, lowered != NULL ? lowered : "", cubin, bytes) ? 0 : 1;
}

/* ---- in the worker ---- */

static bool names_arch(const char *option) {
    static const char *const spellings[] = {"--gpu-architecture", "-arch", "--gpu-code"};
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        if (strncmp(option, spellings[i], strlen(spellings[i])) == 0)
            return true;
    }
    return false;
}

static void add(compile_order *order, size_t *used, size_t room, const char *before, const char *text) {
    size_t need = strlen(before) + strlen(text) + 1;
    if (need > room - *used)
        return; /* cannot be: the room was counted from the same texts */
    (void)snprintf(order->store + *used, room - *used, "%s%s", before, text);
    order->option[order->option_count++] = order->store + *used;
    *used += need;
}

/* The parameters as macros ahead of the source.  Not by -D: NVRTC's own declarations, which it reads before the source, use names like T. */
static char *with_macros(const char *source, const cJSON *defines) {
    hone__buf text;
    hone__buf_init(&text, SOURCE_BYTES_MAX);
    const cJSON *item;
    cJSON_ArrayForEach(item, defines) {
        if (!cJSON_IsString(item))
            continue;
        size_t length = strcspn(item->valuestring, "=");
        const char *value = item->valuestring + length + (item->valuestring[length] == '=' ? 1 : 0);
        hone__buf_printf(&text, "#define %.*s %s\n", (int)length, item->valuestring, value);
    }
    if (text.length > 0)
        hone__buf_text(&text, "#line 1\n");
    hone__buf_text(&text, source);
    char *taken = text.status == HONE_OK ? text.data : NULL;
    if (taken == NULL)
        hone__buf_free(&text);
    return taken;
}

static size_t texts_bytes(const cJSON *list) {
    size_t bytes = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
        bytes += cJSON_IsString(item) ? strlen(item->valuestring) + 4 : 0;
    return bytes;
}

/* Architecture, standard, folders, then what the spec says. */
static hone_status set_options(compile_order *order, const hone__gpu_set *gpus, const char *include_dir, const cJSON *options, hone_error *err) {
    size_t room = texts_bytes(options) + strlen(gpus->nvrtc->headers) + strlen(gpus->nvrtc->libcu) + (include_dir != NULL ? strlen(include_dir) : 0) + 256;
    size_t count = (size_t)cJSON_GetArraySize(options) + 8; /* 7 of our own at most */
    size_t used = 0;
    bool standard = false;
    order->store = hone__alloc(room);
    order->option = hone__alloc_array(count, sizeof *order->option);
    if (order->store == NULL || order->option == NULL)
        return hone__fail(err, HONE_E_NOMEM, "worker", "no memory for the compiler's options");
    const cJSON *item;
    cJSON_ArrayForEach(item, options) {
        if (!cJSON_IsString(item))
            continue;
        if (names_arch(item->valuestring))
            return hone__fail(err, HONE_E_ARG, "worker", "the option %.80s: the architecture is the device's own, %s", item->valuestring, gpus->arch);
        standard = standard || strncmp(item->valuestring, "-std=", 5) == 0 || strncmp(item->valuestring, "--std=", 6) == 0;
    }
    add(order, &used, room, "--gpu-architecture=", gpus->arch);
    if (!standard)
        add(order, &used, room, "-std=c++17", "");
    if (gpus->nvrtc->major > 12 || (gpus->nvrtc->major == 12 && gpus->nvrtc->minor >= 9))
        add(order, &used, room, "--no-cache", ""); /* opening NVRTC's own cache of files costs a process more than most compiles, and no code comes twice */
    add(order, &used, room, "-default-device", ""); /* helpers that are only constexpr or inline are device code, as there is no other */
    if (include_dir != NULL && include_dir[0] != '\0')
        add(order, &used, room, "-I", include_dir);
    if (gpus->nvrtc->headers[0] != '\0')
        add(order, &used, room, "-I", gpus->nvrtc->headers);
    if (gpus->nvrtc->libcu[0] != '\0')
        add(order, &used, room, "-I", gpus->nvrtc->libcu);
    cJSON_ArrayForEach(item, options) {
        if (cJSON_IsString(item))
            add(order, &used, room, "", item->valuestring);
    }
    return HONE_OK;
}

hone_status hone__gpu_build_start(hone__worker *worker, hone__build *build, const char *source, const char *source_path,
                                  const char *include_dir, const char *entry, const cJSON *defines, const cJSON *options, hone_error *err) {
    uint64_t request = build->request;
    const hone__problem *problem = &worker->problem;
    *build = (hone__build){.request = request, .process = {.pid = 0, .in_fd = -1, .out_fd = -1, .err_fd = -1}};
    (void)snprintf(build->object, sizeof build->object, "%s/object-%u.bin", worker->dir, worker->object_count++);
    const char *slash = source_path != NULL ? strrchr(source_path, '/') : NULL;
    compile_order order = {.nvrtc = worker->gpus->nvrtc,
                           .name = slash != NULL ? slash + 1 : source_path != NULL && source_path[0] != '\0' ? source_path : "kernel.cu",
                           .entry = entry,
                           .object = build->object};
    hone__process_limits limits = {.file_bytes = (64u << 20) + problem->output_bytes, .cpu_pin = -1, .cpu_avoid = -1};
#ifndef HONE_SANITIZED /* a sanitizer's shadow is an address space of its own */
    limits.memory_bytes = problem->memory_bytes > COMPILER_MEMORY_LEAST ? problem->memory_bytes : COMPILER_MEMORY_LEAST;
#endif
    char *whole = with_macros(source, defines);
    order.source = whole;
    hone_status status = whole != NULL ? set_options(&order, worker->gpus, include_dir, options, err)
                                       : hone__fail(err, HONE_E_NOMEM, "worker", "no memory for the source");
    if (status == HONE_OK)
        status = hone__process_fork(&build->process, compile_child, &order, worker->dir, &limits, err);
    hone__free(order.option);
    hone__free(order.store);
    hone__free(whole);
    if (status != HONE_OK)
        return status;
    (void)close(build->process.in_fd);
    build->process.in_fd = -1;
    build->active = true;
    build->text_max = problem->output_bytes > 0 ? problem->output_bytes : 1u << 20;
    build->started_ns = hone__clock_ns();
    build->deadline_ns = build->started_ns + (uint64_t)((problem->compile_s > 0 ? problem->compile_s : 30.0) * 1e9);
    return HONE_OK;
}

/* ---- equal code ---- */

/* A header of the toolkit or of C, which knows no parameter; any other may be a file of the kernel's own. */
static bool harmless(const char *header, size_t length) {
    static const char *const toolkit[] = {"cuda_fp16.h", "cuda_bf16.h", "cuda_fp8.h", "cuda_runtime.h", "cuda_pipeline.h", "cuda_pipeline_primitives.h",
                                          "cuda_awbarrier.h", "cooperative_groups.h", "mma.h", "math_constants.h", "vector_types.h"};
    static const char *const folders[] = {"cuda/", "cooperative_groups/", "cub/"};
    const char *const *text, *const *name;
    int count = hone__gpu_headers(&text, &name);
    for (int i = 0; i < count; i++) {
        if (strlen(name[i]) == length && memcmp(name[i], header, length) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof toolkit / sizeof toolkit[0]; i++) {
        if (strlen(toolkit[i]) == length && memcmp(toolkit[i], header, length) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (length > strlen(folders[i]) && memcmp(folders[i], header, strlen(folders[i])) == 0)
            return true;
    }
    return false;
}

/* Could files or pasted tokens use a macro whose name the source does not spell? */
static bool hides_names(const char *source) {
    for (const char *c = source; (c = strchr(c, '#')) != NULL; c++) {
        if (c[1] == '#')
            return true;
        const char *word = c + 1 + strspn(c + 1, " \t");
        if (strncmp(word, "include", 7) != 0)
            continue;
        const char *file = word + 7 + strspn(word + 7, " \t");
        if (file[0] != '<' || !harmless(file + 1, strcspn(file + 1, ">\n")))
            return true;
    }
    return false;
}

static bool spelt(const char *name, size_t length, const char *text) {
    for (const char *c = text; (c = memmem(c, strlen(c), name, length)) != NULL; c++)
        return true;
    return false;
}

void hone__gpu_source_key(const char *source, const cJSON *defines, const cJSON *options, uint64_t key[2]) {
    bool all = hides_names(source);
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_MESSAGE_BYTES);
    const cJSON *define, *option;
    cJSON_ArrayForEach(define, defines) {
        if (!cJSON_IsString(define))
            continue;
        size_t length = strcspn(define->valuestring, "=");
        bool matters = all || spelt(define->valuestring, length, source);
        cJSON_ArrayForEach(option, options)
            matters = matters || (cJSON_IsString(option) && spelt(define->valuestring, length, option->valuestring));
        if (matters)
            hone__buf_bytes(&text, define->valuestring, strlen(define->valuestring) + 1);
    }
    hone__buf_char(&text, '\1');
    cJSON_ArrayForEach(option, options) {
        if (cJSON_IsString(option))
            hone__buf_bytes(&text, option->valuestring, strlen(option->valuestring) + 1);
    }
    hone__hash hash = hone__hash_bytes(text.data != NULL ? text.data : "", text.length);
    memcpy(key, hash.byte, 2 * sizeof key[0]);
    if (text.status != HONE_OK)
        key[0] = key[1] = 0; /* not known: never equal */
    hone__buf_free(&text);
}
