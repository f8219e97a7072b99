/* sign.h: detached Ed25519 signatures (spec/signature.md), by OpenSSL's libcrypto.  hone_key_generate, hone_sign and hone_signature_check are here too. */
#ifndef HONE_SIGN_H
#define HONE_SIGN_H

#include "status.h"

#include <stdbool.h>

enum {
    HONE_SIGN_KEY_BYTES = 32,     /* public key, and seed of a secret one */
    HONE_SIGN_ID_BYTES = 16,
    HONE_SIGN_SIGNATURE_BYTES = 64,
    HONE_SIGN_DIGEST_BYTES = 64,  /* SHA-512 */
    HONE_SIGN_KEYS_MAX = 256,     /* in a trust file */
    HONE_SIGN_LINES_MAX = 16      /* signatures of one file */
};
#define HONE_SIGN_FILE_BYTES (64u << 10)

/* ---- the text files (sign_text.c) ---- */
typedef struct hone__trusted {
    uint8_t key[HONE_SIGN_KEY_BYTES], id[HONE_SIGN_ID_BYTES];
    char comment[512];
} hone__trusted;

typedef struct hone__signature {
    uint8_t id[HONE_SIGN_ID_BYTES], signature[HONE_SIGN_SIGNATURE_BYTES];
} hone__signature;

/* Parse text of these kinds; `label` names it in errors.  HONE_E_CORRUPT, HONE_E_VERSION, HONE_E_NOMEM. */
hone_status hone__trust_parse(hone__trusted **out, uint32_t *count, const char *text, size_t bytes, const char *label, hone_error *err);
hone_status hone__signatures_parse(hone__signature *out, uint32_t *count, const char *text, size_t bytes, const char *label, hone_error *err);
hone_status hone__secret_parse(uint8_t seed[HONE_SIGN_KEY_BYTES], const char *text, size_t bytes, const char *label, hone_error *err);
void hone__sign_hex(char *out, const uint8_t *bytes, size_t count); /* 2 * count + 1 characters */

/* ---- checking ---- */
/* Are these bytes (a whole file's) signed by a key of the trust file?  `id_hex` (33) is the signer's. */
hone_status hone__signature_check_bytes(const void *bytes, size_t count, const char *name, const char *signature_path, const char *trust_path,
                                        char id_hex[33], hone_error *err);

#endif
