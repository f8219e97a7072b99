/* fuzz_signature.c: key, trust and signature files of any text.  The first byte chooses the kind.  What parses must print and parse as itself. */
#include "alloc.h"
#include "sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_trust(const char *text, size_t bytes) {
    hone__trusted *key = NULL;
    uint32_t count = 0;
    hone_status status = hone__trust_parse(&key, &count, text, bytes, "fuzz", NULL);
    if ((status == HONE_OK) != (key != NULL && count > 0))
        abort();
    for (uint32_t i = 0; i < count; i++) {
        if (strlen(key[i].comment) >= sizeof key[i].comment)
            abort();
    }
    hone__free(key);
}

static void try_signatures(const char *text, size_t bytes) {
    hone__signature signature[HONE_SIGN_LINES_MAX], again[HONE_SIGN_LINES_MAX];
    uint32_t count = 0, count_again = 0;
    if (hone__signatures_parse(signature, &count, text, bytes, "fuzz", NULL) != HONE_OK)
        return;
    char printed[HONE_SIGN_LINES_MAX * 256];
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        char id[33], hex[129];
        hone__sign_hex(id, signature[i].id, sizeof signature[i].id);
        hone__sign_hex(hex, signature[i].signature, sizeof signature[i].signature);
        at += (size_t)snprintf(printed + at, sizeof printed - at, "hone-signature 1 ed25519 %s %s\n", id, hex);
    }
    if (hone__signatures_parse(again, &count_again, printed, at, "fuzz", NULL) != HONE_OK || count != count_again ||
        memcmp(signature, again, count * sizeof signature[0]) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > HONE_SIGN_FILE_BYTES)
        return 0;
    char *text = malloc(size);
    uint8_t seed[HONE_SIGN_KEY_BYTES];
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    if (data[0] % 3 == 0)
        try_trust(text, size - 1);
    else if (data[0] % 3 == 1)
        try_signatures(text, size - 1);
    else
        (void)hone__secret_parse(seed, text, size - 1, "fuzz", NULL);
    free(text);
    return 0;
}
