/* pack_output.h: what the writer of packs writes through: sections with their checksums, tables that wait in a spool, strings kept once. */
#ifndef HONE_PACK_OUTPUT_H
#define HONE_PACK_OUTPUT_H

#include "out_file.h"
#include "pack_format.h"

enum { PACK_PIECE_BYTES = 65536 };

/* ---- the file, or memory, or nothing (pack_output.c) ---- */
typedef struct hone__output {
    const char *path;             /* the file's; NULL: memory */
    hone__out_file *file;
    bool discard;
    hone__buf memory;
    uint8_t *piece;               /* of the section being written */
    size_t piece_bytes;
    uint64_t checksum, section_bytes, file_bytes;
} hone__output;

hone_status hone__output_open(hone__output *out, const char *path, const hone__pack_writer_options *options, hone_error *err);
void hone__output_section(hone__output *out, unsigned section);
hone_status hone__output_bytes(hone__output *out, const void *bytes, size_t count, hone_error *err);
/* Ends a section: its size and checksum for the header. */
hone_status hone__output_end(hone__output *out, uint64_t *bytes, uint64_t *checksum, hone_error *err);
/* The header goes in at the front; then the file appears under its name. */
hone_status hone__output_finish(hone__output *out, const uint8_t header[PACK_HEADER_BYTES], hone_error *err);
/* Removes what there is; also after finish. */
void hone__output_close(hone__output *out);

/* ---- a table that is not written yet ---- */
typedef struct hone__table_writer {
    unsigned section;
    uint64_t items, blocks, spooled;
    size_t fill;
    bool discard;                 /* count only: there will be no file */
    int fd;                       /* -1 while the spool is in memory */
    hone__buf memory;
    uint8_t block[PACK_BLOCK_BYTES];
} hone__table_writer;

void hone__table_begin(hone__table_writer *table, unsigned section, bool discard);
/* `beside`: a path in whose folder the spool may lie. */
hone_status hone__table_add(hone__table_writer *table, const uint8_t item[PACK_ITEM_BYTES], const char *beside, hone_error *err);
/* Write it as a section. */
hone_status hone__table_end(hone__table_writer *table, hone__output *out, hone_error *err);
void hone__table_free(hone__table_writer *table);

/* ---- strings (pack_dictionary.c) ---- */
typedef struct hone__dictionary {
    hone__buf bytes;              /* one after the other */
    uint32_t count;
    uint32_t *offset;             /* of each; room for HONE_PACK_STRINGS_MAX + 1, grown on demand */
    uint64_t *checksum;
    uint32_t *slot;               /* open hash table: reference or 0 */
    uint32_t slots, room;
} hone__dictionary;

void hone__dictionary_init(hone__dictionary *strings);
/* The reference of a string, new or old; REFERENCE_INLINE when there is no room.  HONE_E_NOMEM. */
hone_status hone__dictionary_add(hone__dictionary *strings, const void *bytes, size_t count, uint32_t *reference);
void hone__dictionary_free(hone__dictionary *strings);

#endif
