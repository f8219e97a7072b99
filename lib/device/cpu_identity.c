/* cpu_identity.c: the CPU as far as tuning cares, from /proc and /sys, which know what the operating system has enabled. */
#include "cpu_identity.h"
#include "alloc.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPUINFO_BYTES (64u << 10) /* the first processor's paragraph is enough, and a machine may have hundreds */
#define SMALL_BYTES 256u

/* Extensions that change which code is fast, in the order in which they are printed; others would only split the key. */
static const char *const features_known[] = {
    /* x86 */ "amx_bf16", "amx_fp16", "amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx512bw",
    "avx512dq", "avx512f", "avx512ifma", "avx512vbmi", "avx512vl", "avx_vnni", "bmi2", "f16c", "fma", "sse4_2",
    /* Arm */ "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sme", "sme2", "sve", "sve2", "svebf16", "svei8mm", "neon"};

/* Pseudo files have no size: read until the end or the buffer is full. */
static bool read_small(const char *root, const char *path, char *text, size_t bytes) {
    char full[SMALL_BYTES + 128];
    text[0] = '\0';
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t have = 0;
    while (have + 1 < bytes) {
        ssize_t got = read(fd, text + have, bytes - 1 - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    (void)close(fd);
    text[have] = '\0';
    return have > 0;
}

/* The value of the first "name : value" line, trimmed, copied; false when there is none. */
static bool field(const char *cpuinfo, const char *name, char *value, size_t bytes) {
    size_t length = strlen(name);
    for (const char *line = cpuinfo; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0)
            continue;
        const char *c = line + length;
        while (*c == ' ' || *c == '\t')
            c++;
        if (*c != ':')
            continue;
        c++;
        while (*c == ' ' || *c == '\t')
            c++;
        size_t count = strcspn(c, "\n");
        while (count > 0 && (c[count - 1] == ' ' || c[count - 1] == '\t'))
            count--;
        if (count >= bytes)
            count = bytes - 1;
        memcpy(value, c, count);
        value[count] = '\0';
        return count > 0;
    }
    return false;
}

static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *c = strstr(list, word); c != NULL; c = strstr(c + 1, word)) {
        bool begins = c == list || c[-1] == ' ';
        bool ends = c[length] == ' ' || c[length] == '\0';
        if (begins && ends)
            return true;
    }
    return false;
}

static bool add_number(cJSON *object, const char *name, double value) {
    return cJSON_AddNumberToObject(object, name, value) != NULL;
}

static bool add_text(cJSON *object, const char *name, const char *text) {
    return cJSON_AddStringToObject(object, name, text) != NULL;
}

static bool add_features(cJSON *identity, const char *cpuinfo) {
    static const char *const names[] = {"flags", "Features", "isa"};
    char *list = hone__alloc(CPUINFO_BYTES);
    if (list == NULL)
        return false;
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++)
        found = field(cpuinfo, names[i], list, CPUINFO_BYTES);
    hone__buf known;
    hone__buf_init(&known, 1024);
    for (size_t i = 0; found && i < sizeof features_known / sizeof features_known[0]; i++) {
        if (has_word(list, features_known[i]))
            hone__buf_printf(&known, "%s%s", known.length > 0 ? " " : "", features_known[i]);
    }
    /* RISC-V names its extensions in one word, which is the identity then. */
    if (found && known.length == 0 && strncmp(list, "rv", 2) == 0)
        hone__buf_printf(&known, "%.200s", list);
    bool ok = known.status == HONE_OK && add_text(identity, "features", known.length > 0 ? known.data : "");
    hone__buf_free(&known);
    hone__free(list);
    return ok;
}

/* "48K", "32M" in KiB. */
static long cache_kib(const char *text) {
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (value <= 0 || value > 1L << 30)
        return 0;
    return *end == 'M' ? value * 1024 : *end == 'G' ? value * 1024 * 1024 : value;
}

static bool add_caches(const char *root, uint32_t cpu, cJSON *identity) {
    long kib[4] = {0};
    for (unsigned index = 0; index < 10; index++) {
        char path[SMALL_BYTES], text[SMALL_BYTES];
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%u/level", cpu, index);
        if (!read_small(root, path, text, sizeof text))
            break;
        long level = strtol(text, NULL, 10);
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%u/type", cpu, index);
        if (level < 1 || level > 3 || !read_small(root, path, text, sizeof text) || strncmp(text, "Instruction", 11) == 0)
            continue;
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%u/size", cpu, index);
        if (read_small(root, path, text, sizeof text))
            kib[level] = cache_kib(text);
    }
    static const char *const names[] = {"", "l1d_kib", "l2_kib", "l3_kib"};
    for (int level = 1; level <= 3; level++) {
        if (kib[level] > 0 && !add_number(identity, names[level], (double)kib[level]))
            return false;
    }
    return true;
}

/* How many NUMA nodes: memory is near, or some of it far.  Its amount says nothing about speed and differs between machines
 * that are otherwise alike, so that it is only described. */
static uint32_t numa_nodes(const char *root) {
    uint32_t count = 0;
    for (uint32_t node = 0; node < 256; node++) {
        char path[SMALL_BYTES], text[SMALL_BYTES];
        (void)snprintf(path, sizeof path, "/sys/devices/system/node/node%u/cpulist", node);
        if (read_small(root, path, text, sizeof text) && text[0] != '\n')
            count++;
    }
    return count > 0 ? count : 1;
}

static const char *architecture(const char *cpuinfo) {
    /* By what the file looks like, so that a fixture of another machine is told as that machine. */
    if (strstr(cpuinfo, "vendor_id") != NULL && strstr(cpuinfo, "flags") != NULL)
        return "x86_64";
    if (strstr(cpuinfo, "CPU implementer") != NULL)
        return strstr(cpuinfo, "asimd") != NULL ? "aarch64" : "arm";
    if (strstr(cpuinfo, "isa") != NULL && strstr(cpuinfo, "hart") != NULL)
        return "riscv64";
#if defined(__x86_64__)
    return "x86_64";
#elif defined(__aarch64__)
    return "aarch64";
#elif defined(__riscv)
    return "riscv64";
#elif defined(__powerpc64__)
    return "ppc64";
#elif defined(__s390x__)
    return "s390x";
#else
    return "unknown";
#endif
}

/* Identity fields as they stand in /proc/cpuinfo: numbers as numbers, hexadecimal ones as text. */
static bool add_model(cJSON *identity, const char *cpuinfo) {
    static const char *const fields[][2] = {{"vendor_id", "vendor"},       {"cpu family", "family"}, {"model", "model"},
                                            {"CPU implementer", "vendor"}, {"CPU part", "model"},    {"CPU variant", "variant"},
                                            {"uarch", "model"},            {"cpu", "model"}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char text[SMALL_BYTES];
        if (cJSON_GetObjectItemCaseSensitive(identity, fields[i][1]) != NULL || !field(cpuinfo, fields[i][0], text, 64))
            continue;
        char *end = NULL;
        long value = strtol(text, &end, 10);
        bool is_number = end != text && *end == '\0' && value >= 0;
        if (!(is_number ? add_number(identity, fields[i][1], (double)value) : add_text(identity, fields[i][1], text)))
            return false;
    }
    return true;
}

static bool describe(const char *root, const char *cpuinfo, uint32_t cpu, cJSON *description, char **name, uint32_t cpus) {
    char model[SMALL_BYTES] = "", text[SMALL_BYTES], path[SMALL_BYTES];
    bool ok = true;
    if (!field(cpuinfo, "model name", model, sizeof model) && !field(cpuinfo, "Model", model, sizeof model))
        (void)snprintf(model, sizeof model, "%s CPU", architecture(cpuinfo));
    ok = ok && add_text(description, "model_name", model);
    if (field(cpuinfo, "stepping", text, sizeof text))
        ok = ok && add_text(description, "stepping", text);
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/cpuinfo_max_freq", cpu);
    if (read_small(root, path, text, sizeof text))
        ok = ok && add_number(description, "max_mhz", (double)(strtol(text, NULL, 10) / 1000));
    else if (field(cpuinfo, "cpu MHz", text, sizeof text))
        ok = ok && add_number(description, "mhz", (double)strtol(text, NULL, 10));
    char *meminfo = hone__alloc(4096);
    if (meminfo == NULL)
        return false;
    if (read_small(root, "/proc/meminfo", meminfo, 4096) && field(meminfo, "MemTotal", text, sizeof text))
        ok = ok && add_number(description, "memory_mib", (double)(strtol(text, NULL, 10) / 1024));
    hone__free(meminfo);
    (void)snprintf(path, sizeof path, "%.200s (%u core%s)", model, cpus, cpus == 1 ? "" : "s");
    *name = hone__strdup(path);
    return ok && *name != NULL;
}

bool hone__cpu_identify(const char *root, uint32_t cpus, uint32_t first, cJSON *identity, cJSON *description, char **name) {
    *name = NULL;
    char *cpuinfo = hone__alloc(CPUINFO_BYTES);
    if (cpuinfo == NULL)
        return false;
    if (!read_small(root, "/proc/cpuinfo", cpuinfo, CPUINFO_BYTES))
        hone__log(HONE_LOG_WARN, "device", "%s/proc/cpuinfo cannot be read, so this CPU is not told from others like it; is /proc mounted?", root);
    bool ok = add_text(identity, "arch", architecture(cpuinfo)) && add_number(identity, "cores", cpus) &&
              add_features(identity, cpuinfo) && add_caches(root, first, identity) && add_model(identity, cpuinfo) &&
              add_number(identity, "numa_nodes", numa_nodes(root)) && describe(root, cpuinfo, first, description, name, cpus);
    hone__free(cpuinfo);
    if (!ok) {
        hone__free(*name);
        *name = NULL;
    }
    return ok;
}
