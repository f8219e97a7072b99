#include "hash.h"

#include <string.h>
#include <strings.h>
#include <xxhash.h>

_Static_assert(sizeof(XXH128_canonical_t) == 16, "canonical form is 16 bytes");

hone__hash hone__hash_bytes(const void *bytes, size_t count) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    hone__hash hash;
    for (int i = 0; i < 16; i++)
        hash.byte[i] = canonical.digest[i];
    return hash;
}

void hone__hash_hex(const uint8_t hash[16], char hex[33]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    hex[32] = '\0';
}

bool hone__hash_begins(const uint8_t hash[16], const char *digits) {
    char hex[33];
    hone__hash_hex(hash, hex);
    return strncasecmp(hex, digits, strlen(digits)) == 0;
}
