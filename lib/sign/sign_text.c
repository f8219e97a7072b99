/* sign_text.c: key, trust and signature files as lines of text (spec/signature.md). */
#include "sign.h"
#include "alloc.h"
#include "utf8.h"

#include <string.h>

void hone__sign_hex(char *out, const uint8_t *bytes, size_t count) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

typedef struct line {
    const char *at;
    size_t left;
} line;

static bool take_hex(line *from, uint8_t *out, size_t count) {
    if (from->left < 2 * count)
        return false;
    for (size_t i = 0; i < count; i++) {
        int high = digit_of(from->at[2 * i]), low = digit_of(from->at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    from->at += 2 * count;
    from->left -= 2 * count;
    return true;
}

static bool take_word(line *from, const char *word) {
    size_t length = strlen(word);
    if (from->left < length || memcmp(from->at, word, length) != 0)
        return false;
    from->at += length;
    from->left -= length;
    return true;
}

static hone_status bad_line(hone_error *err, const char *label, unsigned number, const char *kind) {
    return hone__fail(err, HONE_E_CORRUPT, "sign", "%s: line %u is not a line of a %s file (spec/signature.md)", label, number, kind);
}

/* "hone-KIND 1 ed25519 ". */
static hone_status take_head(line *from, const char *kind, const char *what, const char *label, unsigned number, hone_error *err) {
    if (!take_word(from, kind))
        return bad_line(err, label, number, what);
    if (!take_word(from, " 1 ed25519 "))
        return hone__fail(err, HONE_E_VERSION, "sign", "%s: line %u is of another version or algorithm; this Hone (%s) knows version 1, ed25519", label,
                          number, HONE_VERSION_STRING);
    return HONE_OK;
}

/* The next line, without its end; false at the end of the text.  A line that is too long or has control characters has at = NULL. */
static bool next_line(const char **text, size_t *bytes, line *out) {
    if (*bytes == 0)
        return false;
    const char *end = memchr(*text, '\n', *bytes);
    out->at = *text;
    out->left = end != NULL ? (size_t)(end - *text) : *bytes;
    size_t step = out->left + (end != NULL ? 1 : 0);
    *text += step;
    *bytes -= step;
    bool sound = end != NULL && out->left <= 512 && hone__utf8_valid(out->at, out->left);
    for (size_t i = 0; sound && i < out->left; i++)
        sound = (unsigned char)out->at[i] >= 0x20 && out->at[i] != 0x7f;
    if (!sound)
        out->at = NULL;
    return true;
}

hone_status hone__trust_parse(hone__trusted **out, uint32_t *count, const char *text, size_t bytes, const char *label, hone_error *err) {
    *count = 0;
    *out = hone__alloc_array(HONE_SIGN_KEYS_MAX, sizeof **out);
    if (*out == NULL)
        return hone__fail(err, HONE_E_NOMEM, "sign", "no memory to read %s", label);
    hone_status status = HONE_OK;
    line at;
    for (unsigned number = 1; status == HONE_OK && next_line(&text, &bytes, &at); number++) {
        if (at.at == NULL) {
            status = bad_line(err, label, number, "trust");
        } else if (at.left > 0 && at.at[0] != '#') {
            hone__trusted key = {.comment = ""};
            status = take_head(&at, "hone-public-key", "trust", label, number, err);
            if (status == HONE_OK && (*count == HONE_SIGN_KEYS_MAX || !take_hex(&at, key.key, sizeof key.key) || (at.left > 0 && at.at[0] != ' ')))
                status = bad_line(err, label, number, "trust");
            size_t length = at.left > 0 ? at.left - 1 : 0;
            memcpy(key.comment, at.left > 0 ? at.at + 1 : "", length);
            if (status == HONE_OK)
                (*out)[(*count)++] = key;
        }
    }
    if (status == HONE_OK && *count == 0)
        status = hone__fail(err, HONE_E_CORRUPT, "sign", "%s holds no public key", label);
    if (status != HONE_OK) {
        hone__free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

hone_status hone__signatures_parse(hone__signature *out, uint32_t *count, const char *text, size_t bytes, const char *label, hone_error *err) {
    *count = 0;
    line at;
    for (unsigned number = 1; next_line(&text, &bytes, &at); number++) {
        if (at.at == NULL || *count == HONE_SIGN_LINES_MAX)
            return bad_line(err, label, number, "signature");
        hone__signature *to = &out[*count];
        HONE_TRY(take_head(&at, "hone-signature", "signature", label, number, err));
        if (!take_hex(&at, to->id, sizeof to->id) || !take_word(&at, " ") || !take_hex(&at, to->signature, sizeof to->signature) || at.left > 0)
            return bad_line(err, label, number, "signature");
        (*count)++;
    }
    return *count > 0 ? HONE_OK : hone__fail(err, HONE_E_CORRUPT, "sign", "%s holds no signature", label);
}

hone_status hone__secret_parse(uint8_t seed[HONE_SIGN_KEY_BYTES], const char *text, size_t bytes, const char *label, hone_error *err) {
    line at;
    if (!next_line(&text, &bytes, &at) || at.at == NULL)
        return bad_line(err, label, 1, "secret key");
    HONE_TRY(take_head(&at, "hone-secret-key", "secret key", label, 1, err));
    if (!take_hex(&at, seed, HONE_SIGN_KEY_BYTES) || at.left > 0 || bytes > 0)
        return bad_line(err, label, 1, "secret key");
    return HONE_OK;
}
