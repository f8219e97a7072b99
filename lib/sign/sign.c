/* sign.c: keys, signatures and their checks.  A file is read once, as a stream; what is signed is a short statement of its size and digest. */
#include "sign.h"
#include "alloc.h"
#include "buf.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

static const char context[17] = "hone signature 1"; /* with its NUL */
enum { STATEMENT_BYTES = sizeof context + 8 + HONE_SIGN_DIGEST_BYTES, CHUNK_BYTES = 64 << 10 };

static hone_status fail_crypto(hone_error *err, const char *what) {
    return hone__fail(err, HONE_E_NOMEM, "sign", "libcrypto could not %s", what);
}

/* ---- the statement ---- */

typedef struct digest {
    EVP_MD_CTX *md;
    uint64_t bytes;
} digest;

static bool digest_begin(digest *d) {
    d->bytes = 0;
    d->md = EVP_MD_CTX_new();
    if (d->md != NULL && EVP_DigestInit_ex(d->md, EVP_sha512(), NULL) == 1)
        return true;
    EVP_MD_CTX_free(d->md); /* OpenSSL reads through NULL when it is asked for the digest of one that did not begin */
    d->md = NULL;
    return false;
}

static bool digest_add(digest *d, const void *bytes, size_t count) {
    d->bytes += count;
    return EVP_DigestUpdate(d->md, bytes, count) == 1;
}

/* Frees the digest. */
static bool digest_end(digest *d, uint8_t statement[STATEMENT_BYTES]) {
    unsigned length = 0;
    memcpy(statement, context, sizeof context);
    for (size_t i = 0; i < 8; i++)
        statement[sizeof context + i] = (uint8_t)(d->bytes >> (8 * i));
    bool good = d->md != NULL && EVP_DigestFinal_ex(d->md, statement + sizeof context + 8, &length) == 1 && length == HONE_SIGN_DIGEST_BYTES;
    EVP_MD_CTX_free(d->md);
    d->md = NULL;
    return good;
}

static hone_status read_errno(hone_error *err, const char *verb, const char *path) {
    int code = errno;
    return hone__fail_os(err, hone__status_of_errno(code), "sign", code, "cannot %s %s: %s", verb, path, strerror(code));
}

static hone_status digest_file(digest *d, int fd, const char *path, hone_error *err) {
    char *chunk = hone__alloc(CHUNK_BYTES);
    if (chunk == NULL)
        return hone__fail(err, HONE_E_NOMEM, "sign", "no memory to read %s", path);
    hone_status status = HONE_OK;
    for (;;) {
        ssize_t got = read(fd, chunk, CHUNK_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = read_errno(err, "read", path);
        else if (got > 0 && !digest_add(d, chunk, (size_t)got))
            status = fail_crypto(err, "hash");
        if (got <= 0 || status != HONE_OK)
            break;
    }
    hone__free(chunk);
    return status;
}

static hone_status state_file(const char *path, uint8_t statement[STATEMENT_BYTES], hone_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    if (fd < 0)
        return read_errno(err, "open", path);
    digest d = {NULL, 0};
    hone_status status = HONE_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        status = hone__fail(err, HONE_E_IO, "sign", "%s is not a regular file", path);
    else if (!digest_begin(&d))
        status = fail_crypto(err, "hash");
    else
        status = digest_file(&d, fd, path, err);
    (void)close(fd);
    if (!digest_end(&d, statement) && status == HONE_OK)
        status = fail_crypto(err, "hash");
    return status;
}

/* ---- keys ---- */

static bool key_id(const uint8_t key[HONE_SIGN_KEY_BYTES], uint8_t id[HONE_SIGN_ID_BYTES]) {
    uint8_t hash[HONE_SIGN_DIGEST_BYTES];
    unsigned length = 0;
    if (EVP_Digest(key, HONE_SIGN_KEY_BYTES, hash, &length, EVP_sha512(), NULL) != 1)
        return false;
    memcpy(id, hash, HONE_SIGN_ID_BYTES);
    return true;
}

static EVP_PKEY *secret_key(const uint8_t seed[HONE_SIGN_KEY_BYTES], uint8_t public_key[HONE_SIGN_KEY_BYTES]) {
    size_t length = HONE_SIGN_KEY_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, HONE_SIGN_KEY_BYTES);
    if (key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &length) == 1 && length == HONE_SIGN_KEY_BYTES)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

hone_status hone_key_generate(const char *secret_path, const char *public_path, const char *comment, hone_error *err) {
    if (secret_path == NULL || public_path == NULL)
        return hone__fail(err, HONE_E_ARG, "sign", "hone_key_generate: paths must be given");
    size_t comment_bytes = comment == NULL ? 0 : strlen(comment);
    bool plain = comment_bytes <= 200;
    for (size_t i = 0; plain && i < comment_bytes; i++)
        plain = (unsigned char)comment[i] >= 0x20 && comment[i] != 0x7f;
    if (!plain)
        return hone__fail(err, HONE_E_ARG, "sign", "the comment of a key is one line of at most 200 bytes");
    struct stat info;
    if (lstat(public_path, &info) == 0)
        return hone__fail_os(err, HONE_E_EXISTS, "sign", EEXIST, "%s exists and is not overwritten", public_path);
    uint8_t seed[HONE_SIGN_KEY_BYTES], public_key[HONE_SIGN_KEY_BYTES];
    char hex[2 * HONE_SIGN_KEY_BYTES + 1], text[512];
    EVP_PKEY *key = RAND_priv_bytes(seed, sizeof seed) == 1 ? secret_key(seed, public_key) : NULL;
    if (key == NULL)
        return fail_crypto(err, "make a key");
    EVP_PKEY_free(key);
    hone__sign_hex(hex, seed, sizeof seed);
    (void)snprintf(text, sizeof text, "hone-secret-key 1 ed25519 %s\n", hex);
    hone_status status = hone__file_create(secret_path, text, strlen(text), 0600, err);
    OPENSSL_cleanse(seed, sizeof seed);
    OPENSSL_cleanse(hex, sizeof hex);
    OPENSSL_cleanse(text, sizeof text);
    if (status == HONE_OK) {
        hone__sign_hex(hex, public_key, sizeof public_key);
        (void)snprintf(text, sizeof text, "hone-public-key 1 ed25519 %s%s%s\n", hex, comment_bytes > 0 ? " " : "", comment_bytes > 0 ? comment : "");
        status = hone__file_create(public_path, text, strlen(text), 0644, err);
        if (status != HONE_OK)
            (void)unlink(secret_path); /* half a pair helps nobody */
    }
    return status;
}

static hone_status read_secret(const char *path, uint8_t seed[HONE_SIGN_KEY_BYTES], hone_error *err) {
    struct stat info;
    char *text = NULL;
    size_t bytes = 0;
    if (stat(path, &info) == 0 && (info.st_mode & 077) != 0)
        return hone__fail(err, HONE_E_UNSAFE, "sign", "%s can be read by others; chmod 600 it, or make a new key", path);
    HONE_TRY(hone__file_read(path, HONE_SIGN_FILE_BYTES, &text, &bytes, err));
    hone_status status = hone__secret_parse(seed, text, bytes, path, err);
    OPENSSL_cleanse(text, bytes);
    hone__free(text);
    return status;
}

/* ---- sign ---- */

static char *beside(const char *path) {
    size_t bytes = strlen(path) + 5;
    char *name = hone__alloc(bytes);
    if (name != NULL)
        (void)snprintf(name, bytes, "%s.sig", path);
    return name;
}

static bool sign_statement(EVP_PKEY *key, const uint8_t statement[STATEMENT_BYTES], uint8_t signature[HONE_SIGN_SIGNATURE_BYTES]) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t length = HONE_SIGN_SIGNATURE_BYTES;
    bool good = md != NULL && EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(md, signature, &length, statement, STATEMENT_BYTES) == 1 && length == HONE_SIGN_SIGNATURE_BYTES;
    EVP_MD_CTX_free(md);
    return good;
}

static hone_status write_signature(const char *path, const uint8_t public_key[HONE_SIGN_KEY_BYTES], const uint8_t signature[HONE_SIGN_SIGNATURE_BYTES],
                                   int force, hone_error *err) {
    uint8_t id[HONE_SIGN_ID_BYTES];
    char id_hex[2 * HONE_SIGN_ID_BYTES + 1], hex[2 * HONE_SIGN_SIGNATURE_BYTES + 1], text[512];
    if (!key_id(public_key, id))
        return fail_crypto(err, "hash");
    hone__sign_hex(id_hex, id, sizeof id);
    hone__sign_hex(hex, signature, HONE_SIGN_SIGNATURE_BYTES);
    (void)snprintf(text, sizeof text, "hone-signature 1 ed25519 %s %s\n", id_hex, hex);
    return (force != 0 ? hone__file_write : hone__file_create)(path, text, strlen(text), 0644, err);
}

hone_status hone_sign(const char *path, const char *secret_path, const char *signature_path, int force, hone_error *err) {
    if (path == NULL || secret_path == NULL)
        return hone__fail(err, HONE_E_ARG, "sign", "hone_sign: paths must be given");
    uint8_t seed[HONE_SIGN_KEY_BYTES], public_key[HONE_SIGN_KEY_BYTES], statement[STATEMENT_BYTES], signature[HONE_SIGN_SIGNATURE_BYTES];
    HONE_TRY(read_secret(secret_path, seed, err));
    EVP_PKEY *key = secret_key(seed, public_key);
    OPENSSL_cleanse(seed, sizeof seed);
    char *chosen = signature_path == NULL ? beside(path) : hone__strdup(signature_path);
    hone_status status = key == NULL || chosen == NULL ? fail_crypto(err, "use the key") : state_file(path, statement, err);
    if (status == HONE_OK && !sign_statement(key, statement, signature))
        status = fail_crypto(err, "sign");
    if (status == HONE_OK)
        status = write_signature(chosen, public_key, signature, force, err);
    EVP_PKEY_free(key);
    hone__free(chosen);
    return status;
}

/* ---- check ---- */

static bool verify_statement(const uint8_t key_bytes[HONE_SIGN_KEY_BYTES], const uint8_t statement[STATEMENT_BYTES],
                             const uint8_t signature[HONE_SIGN_SIGNATURE_BYTES]) {
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key_bytes, HONE_SIGN_KEY_BYTES);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = key != NULL && md != NULL && EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(md, signature, HONE_SIGN_SIGNATURE_BYTES, statement, STATEMENT_BYTES) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    return good;
}

static hone_status read_trust(const char *path, hone__trusted **out, uint32_t *count, hone_error *err) {
    char *text = NULL;
    size_t bytes = 0;
    HONE_TRY(hone__file_read(path, HONE_SIGN_FILE_BYTES, &text, &bytes, err));
    hone_status status = hone__trust_parse(out, count, text, bytes, path, err);
    hone__free(text);
    for (uint32_t i = 0; status == HONE_OK && i < *count; i++) {
        if (!key_id((*out)[i].key, (*out)[i].id)) {
            status = fail_crypto(err, "hash");
            hone__free(*out);
            *out = NULL;
        }
    }
    return status;
}

static hone_status read_signatures(const char *path, const char *name, hone__signature out[HONE_SIGN_LINES_MAX], uint32_t *count, hone_error *err) {
    char *text = NULL;
    size_t bytes = 0;
    hone_status status = hone__file_read(path, HONE_SIGN_FILE_BYTES, &text, &bytes, err);
    if (status == HONE_E_NOTFOUND)
        return hone__fail(err, HONE_E_UNSAFE, "sign", "%s is not signed: there is no %s", name, path);
    HONE_TRY(status);
    status = hone__signatures_parse(out, count, text, bytes, path, err);
    hone__free(text);
    return status;
}

/* Whose is the first signature by a trusted key that verifies? */
static hone_status judge(const uint8_t statement[STATEMENT_BYTES], const char *name, const char *signature_path, const char *trust_path, char id_hex[33],
                         char comment[512], hone_error *err) {
    hone__signature signature[HONE_SIGN_LINES_MAX];
    hone__trusted *trusted = NULL;
    uint32_t signatures = 0, keys = 0;
    HONE_TRY(read_signatures(signature_path, name, signature, &signatures, err));
    HONE_TRY(read_trust(trust_path, &trusted, &keys, err));
    bool known = false, good = false;
    for (uint32_t s = 0; s < signatures && !good; s++) {
        for (uint32_t k = 0; k < keys && !good; k++) {
            if (memcmp(signature[s].id, trusted[k].id, HONE_SIGN_ID_BYTES) != 0)
                continue;
            known = true;
            good = verify_statement(trusted[k].key, statement, signature[s].signature);
            hone__sign_hex(id_hex, trusted[k].id, HONE_SIGN_ID_BYTES);
            memcpy(comment, trusted[k].comment, sizeof trusted[k].comment);
        }
    }
    hone__free(trusted);
    if (good)
        return HONE_OK;
    if (known)
        return hone__fail(err, HONE_E_UNSAFE, "sign", "%s is not what was signed, or %s was damaged: the signature does not verify", name, signature_path);
    return hone__fail(err, HONE_E_UNSAFE, "sign", "%s is not signed by any key in %s", name, trust_path);
}

hone_status hone__signature_check_bytes(const void *bytes, size_t count, const char *name, const char *signature_path, const char *trust_path,
                                        char id_hex[33], hone_error *err) {
    uint8_t statement[STATEMENT_BYTES];
    char comment[512];
    digest d = {NULL, 0};
    bool good = digest_begin(&d) && digest_add(&d, bytes, count);
    if (!digest_end(&d, statement) || !good)
        return fail_crypto(err, "hash");
    char *chosen = signature_path == NULL ? beside(name) : hone__strdup(signature_path);
    if (chosen == NULL)
        return hone__fail(err, HONE_E_NOMEM, "sign", "no memory to check %s", name);
    hone_status status = judge(statement, name, chosen, trust_path, id_hex, comment, err);
    hone__free(chosen);
    return status;
}

hone_status hone_signature_check(char **signer, const char *path, const char *signature_path, const char *trust_path, hone_error *err) {
    if (signer != NULL)
        *signer = NULL;
    if (path == NULL || trust_path == NULL)
        return hone__fail(err, HONE_E_ARG, "sign", "hone_signature_check: path and trust_path must be given");
    uint8_t statement[STATEMENT_BYTES];
    char id_hex[33], comment[512];
    HONE_TRY(state_file(path, statement, err));
    char *chosen = signature_path == NULL ? beside(path) : hone__strdup(signature_path);
    if (chosen == NULL)
        return hone__fail(err, HONE_E_NOMEM, "sign", "no memory to check %s", path);
    hone_status status = judge(statement, path, chosen, trust_path, id_hex, comment, err);
    hone__free(chosen);
    if (status != HONE_OK || signer == NULL)
        return status;
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_printf(&buf, "{\"key\":\"%s\",\"comment\":", id_hex);
    hone__buf_json_string(&buf, comment);
    hone__buf_char(&buf, '}');
    *signer = hone__buf_take(&buf);
    hone__buf_free(&buf);
    return *signer != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "sign", "no memory to say who signed %s", path);
}
