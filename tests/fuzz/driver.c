/* driver.c: main() for a fuzz target where libFuzzer is absent.  Replays every file of the folders and files given as arguments,
 * then truncations of each at a bounded number of positions, then random mutations of them.  The seed is printed; another one
 * comes from HONE_FUZZ_SEED, the number of mutations from HONE_FUZZ_MUTATIONS.  A target that finds fault aborts. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TRUNCATIONS_MAX = 64, MUTATIONS_DEFAULT = 400, FILE_BYTES_MAX = 1 << 20, INPUTS_MAX = 4096 };

typedef struct input {
    uint8_t *bytes;
    size_t count;
} input;

static input inputs[INPUTS_MAX];
static size_t input_count;
static uint64_t replayed;

static uint64_t random_next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t random_below(uint64_t *state, size_t bound) {
    return (size_t)(random_next(state) % bound);
}

/* From a block of exactly that size, so that a sanitizer sees the first byte read beyond it. */
static int replay(const uint8_t *bytes, size_t count) {
    uint8_t *copy = malloc(count == 0 ? 1 : count);
    if (copy == NULL) {
        (void)fprintf(stderr, "no memory for %zu bytes\n", count);
        return 1;
    }
    if (count > 0)
        memcpy(copy, bytes, count);
    (void)LLVMFuzzerTestOneInput(copy, count);
    free(copy);
    replayed++;
    return 0;
}

static int load_file(const char *path) {
    if (input_count == INPUTS_MAX) {
        (void)fprintf(stderr, "%s: more than %d inputs\n", path, (int)INPUTS_MAX);
        return 1;
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    uint8_t *bytes = malloc(FILE_BYTES_MAX);
    size_t count = bytes == NULL ? 0 : fread(bytes, 1, FILE_BYTES_MAX, file);
    int failed = bytes == NULL || ferror(file) != 0 || fgetc(file) != EOF;
    (void)fclose(file);
    if (failed) {
        (void)fprintf(stderr, "%s: cannot be read, or larger than %d bytes\n", path, (int)FILE_BYTES_MAX);
        free(bytes);
        return 1;
    }
    uint8_t *fitted = realloc(bytes, count == 0 ? 1 : count);
    inputs[input_count++] = (input){.bytes = fitted == NULL ? bytes : fitted, .count = count};
    return 0;
}

static int not_hidden(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* In the order of names, so that two runs with one seed are the same. */
static int load_folder(const char *path) {
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, not_hidden, alphasort);
    if (count < 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    int failed = 0;
    for (int i = 0; i < count; i++) {
        char name[4096];
        struct stat info;
        int length = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (length < 0 || (size_t)length >= sizeof name || stat(name, &info) != 0) {
            (void)fprintf(stderr, "%s/%s: cannot be read\n", path, entries[i]->d_name);
            failed = 1;
        } else if (S_ISREG(info.st_mode)) {
            failed |= load_file(name);
        }
        free(entries[i]);
    }
    free(entries);
    return failed;
}

static int load(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    return S_ISDIR(info.st_mode) ? load_folder(path) : load_file(path);
}

static int replay_truncations(const input *from) {
    size_t step = from->count / TRUNCATIONS_MAX + 1;
    int failed = 0;
    for (size_t count = 0; count < from->count && failed == 0; count += step)
        failed = replay(from->bytes, count);
    return failed;
}

/* One to eight edits: a bit turned over, a byte replaced, a stretch removed, repeated or taken from another input. */
static size_t mutate(uint64_t *state, uint8_t *bytes, size_t count, size_t room) {
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '{', '}', '[', ']', '"', '\'', '\\', ',', ':', '-', '9', '\n', 'e'};
    size_t edits = 1 + random_below(state, 8);
    for (size_t i = 0; i < edits; i++) {
        size_t at = count == 0 ? 0 : random_below(state, count);
        size_t stretch = count == 0 ? 0 : 1 + random_below(state, count - at < 32 ? count - at : 32);
        const input *other = &inputs[random_below(state, input_count)];
        switch (random_below(state, 5)) {
        case 0:
            if (count > 0)
                bytes[at] = (uint8_t)(bytes[at] ^ (1u << random_below(state, 8)));
            break;
        case 1:
            if (count > 0)
                bytes[at] = telling[random_below(state, sizeof telling)];
            break;
        case 2:
            memmove(bytes + at, bytes + at + stretch, count - at - stretch);
            count -= stretch;
            break;
        case 3:
            if (stretch > 0 && count + stretch <= room) {
                memmove(bytes + at + stretch, bytes + at, count - at);
                count += stretch;
            }
            break;
        default:
            if (other->count > 0) {
                size_t from = random_below(state, other->count);
                stretch = 1 + random_below(state, other->count - from < 64 ? other->count - from : 64);
                if (count + stretch <= room) {
                    memmove(bytes + at + stretch, bytes + at, count - at);
                    memcpy(bytes + at, other->bytes + from, stretch);
                    count += stretch;
                }
            }
        }
    }
    return count;
}

static int replay_mutations(uint64_t seed, uint64_t mutations) {
    uint64_t state = seed;
    int failed = 0;
    for (uint64_t i = 0; i < mutations && failed == 0; i++) {
        const input *from = &inputs[random_below(&state, input_count)];
        size_t room = from->count + 1024;
        uint8_t *bytes = malloc(room);
        if (bytes == NULL)
            return 1;
        if (from->count > 0)
            memcpy(bytes, from->bytes, from->count);
        failed = replay(bytes, mutate(&state, bytes, from->count, room));
        free(bytes);
    }
    return failed;
}

static uint64_t number_from_environment(const char *name, uint64_t fallback) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 0);
}

int main(int argc, char **argv) {
    int failed = argc < 2;
    if (failed)
        (void)fprintf(stderr, "usage: %s FOLDER|FILE...\n", argv[0]);
    for (int i = 1; i < argc; i++)
        failed |= load(argv[i]);
    if (failed == 0 && input_count == 0) {
        (void)fprintf(stderr, "%s: no inputs\n", argv[1]);
        failed = 1;
    }
    uint64_t seed = number_from_environment("HONE_FUZZ_SEED", 20261123);
    if (failed == 0) {
        (void)printf("seed %" PRIu64 "\n", seed); /* before a crash could hide it */
        (void)fflush(stdout);
        failed = replay(NULL, 0);
    }
    for (size_t i = 0; i < input_count && failed == 0; i++) {
        failed = replay(inputs[i].bytes, inputs[i].count);
        if (failed == 0)
            failed = replay_truncations(&inputs[i]);
    }
    if (failed == 0)
        failed = replay_mutations(seed, number_from_environment("HONE_FUZZ_MUTATIONS", MUTATIONS_DEFAULT));
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].bytes);
    if (failed == 0)
        (void)printf("replayed %" PRIu64 " inputs, seed %" PRIu64 "\n", replayed, seed);
    return failed;
}
