/* hash.h: XXH3 in the byte form that spec/ names: 128 bits, big-endian canonical, seed 0. */
#ifndef HONE_HASH_H
#define HONE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone__hash {
    uint8_t byte[16];
} hone__hash;

hone__hash hone__hash_bytes(const void *bytes, size_t count);
/* 32 lower-case digits. */
void hone__hash_hex(const uint8_t hash[16], char hex[33]);
/* Do its digits begin with these, in either case? */
bool hone__hash_begins(const uint8_t hash[16], const char *digits);

#endif
