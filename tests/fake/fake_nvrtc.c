/* fake_nvrtc.c: an NVRTC that compiles nothing: its "machine code" is the macros and the source, which fake_cuda.c acts upon.  Faults come from
 * the macro BEHAVE of the kernel that is compiled: bomb (never ends), eat (takes all memory), die (a crash of the compiler); a source with
 * "#error" does not compile.  HONE_FAKE_NVRTC_VERSION=MAJOR*10+MINOR names another version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct program {
    char *source, *code, *log;
    size_t code_bytes;
    char name[256];
} program;

EXPORT int nvrtcVersion(int *major, int *minor);
EXPORT int nvrtcVersion(int *major, int *minor) {
    const char *text = getenv("HONE_FAKE_NVRTC_VERSION");
    long both = text != NULL ? strtol(text, NULL, 10) : 124;
    *major = (int)(both / 10);
    *minor = (int)(both % 10);
    return 0;
}

EXPORT int nvrtcGetNumSupportedArchs(int *count);
EXPORT int nvrtcGetNumSupportedArchs(int *count) {
    *count = 3;
    return 0;
}

EXPORT int nvrtcGetSupportedArchs(int *archs);
EXPORT int nvrtcGetSupportedArchs(int *archs) {
    archs[0] = 75;
    archs[1] = 80;
    archs[2] = 90;
    return 0;
}

EXPORT int nvrtcCreateProgram(program **out, const char *source, const char *name, int headers, const char *const *header,
                              const char *const *header_name);
EXPORT int nvrtcCreateProgram(program **out, const char *source, const char *name, int headers, const char *const *header,
                              const char *const *header_name) {
    (void)name;
    (void)headers;
    (void)header;
    (void)header_name;
    program *p = calloc(1, sizeof *p);
    if (p == NULL)
        return 1;
    p->source = strdup(source);
    *out = p;
    return p->source != NULL ? 0 : 1;
}

EXPORT int nvrtcDestroyProgram(program **p);
EXPORT int nvrtcDestroyProgram(program **p) {
    free((*p)->source);
    free((*p)->code);
    free((*p)->log);
    free(*p);
    *p = NULL;
    return 0;
}

EXPORT int nvrtcAddNameExpression(program *p, const char *name);
EXPORT int nvrtcAddNameExpression(program *p, const char *name) {
    (void)snprintf(p->name, sizeof p->name, "%s", name);
    return 0;
}

static void misbehave(const char *how) {
    if (strncmp(how, "bomb", 4) == 0)
        for (;;)
            (void)sleep(1);
    if (strncmp(how, "die", 3) == 0)
        _exit(139);
    if (strncmp(how, "eat", 3) == 0) {
        for (size_t i = 0; i < 4096; i++) { /* address space only: the machine that tests this may be small */
            if (mmap(NULL, (size_t)1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
                (void)!write(2, "error: out of memory\n", 21);
                _exit(1);
            }
        }
    }
}

/* Adds "-DNAME=VALUE" to the code; like a compiler's: a macro that is not used leaves no trace. */
static size_t add_macro(program *p, const char *source, size_t used, size_t bytes, const char *name, size_t name_length, const char *value, size_t length) {
    char word[64];
    (void)snprintf(word, sizeof word, "%.*s", (int)name_length, name);
    if (word[0] == '\0' || strstr(source, word) == NULL)
        return used;
    if (strcmp(word, "BEHAVE") == 0)
        misbehave(value);
    return used + (size_t)snprintf(p->code + used, bytes - used, "-D%s=%.*s\n", word, (int)length, value);
}

EXPORT int nvrtcCompileProgram(program *p, int options, const char *const *option);
EXPORT int nvrtcCompileProgram(program *p, int options, const char *const *option) {
    const char *line = p->source, *source = strstr(p->source, "#line 1\n");
    source = source != NULL ? source + strcspn(source, "\n") + 1 : p->source;
    size_t bytes = 2 * strlen(p->source) + 64;
    for (int i = 0; i < options; i++)
        bytes += strlen(option[i]) + 1;
    p->code = malloc(bytes);
    if (p->code == NULL)
        return 1;
    size_t used = (size_t)snprintf(p->code, bytes, "\177FAKE\n");
    for (int i = 0; i < options; i++) {
        const char *name = strncmp(option[i], "-D", 2) == 0 ? option[i] + 2 : "";
        size_t length = strcspn(name, "=");
        used = add_macro(p, source, used, bytes, name, length, name + length + (name[length] == '='), strlen(name) - length);
    }
    for (; line < source && strncmp(line, "#define ", 8) == 0; line += strcspn(line, "\n") + 1) {
        size_t length = strcspn(line + 8, " ");
        used = add_macro(p, source, used, bytes, line + 8, length, line + 9 + length, strcspn(line + 9 + length, "\n"));
    }
    const char *error = strstr(source, "#error");
    if (error != NULL) {
        p->log = malloc(256);
        if (p->log != NULL)
            (void)snprintf(p->log, 256, "kernel.cu(1): error: %.*s\n\n1 error detected\n", (int)strcspn(error, "\n"), error);
        return 6;
    }
    used += (size_t)snprintf(p->code + used, bytes - used, "---\n%s", source);
    p->code_bytes = used + 1;
    return 0;
}

EXPORT int nvrtcGetProgramLogSize(program *p, size_t *bytes);
EXPORT int nvrtcGetProgramLogSize(program *p, size_t *bytes) {
    *bytes = p->log != NULL ? strlen(p->log) + 1 : 1;
    return 0;
}

EXPORT int nvrtcGetProgramLog(program *p, char *text);
EXPORT int nvrtcGetProgramLog(program *p, char *text) {
    memcpy(text, p->log != NULL ? p->log : "", p->log != NULL ? strlen(p->log) + 1 : 1);
    return 0;
}

EXPORT int nvrtcGetCUBINSize(program *p, size_t *bytes);
EXPORT int nvrtcGetCUBINSize(program *p, size_t *bytes) {
    *bytes = p->code_bytes;
    return 0;
}

EXPORT int nvrtcGetCUBIN(program *p, char *cubin);
EXPORT int nvrtcGetCUBIN(program *p, char *cubin) {
    memcpy(cubin, p->code, p->code_bytes);
    return 0;
}

EXPORT int nvrtcGetLoweredName(program *p, const char *name, const char **lowered);
EXPORT int nvrtcGetLoweredName(program *p, const char *name, const char **lowered) {
    (void)name;
    *lowered = p->name;
    return 0;
}
