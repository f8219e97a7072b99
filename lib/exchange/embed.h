/* embed.h: what the files that embed packs share (embed.c, embed_object.c). */
#ifndef HONE_EMBED_H
#define HONE_EMBED_H

#include "buf.h"
#include "out_file.h"

#include <stdint.h>

typedef struct hone__embedding {
    const char *path;    /* of the pack, which has been verified */
    const char *symbol;
    int fd;
    uint64_t count;      /* its bytes */
    uint16_t machine;    /* as in an ELF header */
    hone__out_file *out;
    hone_error *err;
} hone__embedding;

/* Hand the pack's bytes over piece by piece. */
typedef hone_status hone__embed_put(hone__embedding *e, const uint8_t *bytes, size_t count, void *user);
hone_status hone__embed_bytes(hone__embedding *e, hone__embed_put *put, void *user);

/* "x86-64", "aarch64", NULL: this machine.  HONE_E_ARG, HONE_E_UNSUPPORTED. */
hone_status hone__elf_machine(uint16_t *out, const char *name, hone_error *err);
hone_status hone__embed_object(hone__embedding *e);

#endif
