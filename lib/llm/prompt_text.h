/* prompt_text.h: how prompts are put together: cleaned text, rounded numbers, and sections that are cut in a fixed order when the
 * whole would be too long (spec/prompt.md section 2). */
#ifndef HONE_PROMPT_TEXT_H
#define HONE_PROMPT_TEXT_H

#include "prompt.h"
#include "utf8.h"

#define HONE_SECTIONS_MAX 24u

typedef struct hone__section {
    const char *title;   /* static */
    hone__buf text;
    uint32_t cut_rank;   /* 0: never cut; else the lowest is cut first */
    size_t keep_bytes;   /* what a cut leaves at the least */
} hone__section;

typedef struct hone__sections {
    hone__section section[HONE_SECTIONS_MAX];
    uint32_t count;
} hone__sections;

/* A new section's buffer; a section that stays empty is not written. */
hone__buf *hone__section_add(hone__sections *sections, const char *title, uint32_t cut_rank, size_t keep_bytes);
/* Append "## title" and text of each to `out`, cut to fit both the prompt limit and what `out` has left; frees them. */
void hone__sections_write(hone__buf *out, hone__sections *sections);

/* A number with at most `digits` significant digits and no exponent for anything usual; the same in every locale. */
void hone__text_number(hone__buf *buf, double value, int digits);
/* 12.5 KiB, 3 MiB: whole numbers of bytes below 10 KiB. */
void hone__text_bytes(hone__buf *buf, double bytes);
/* Nanoseconds as "1.234 ms". */
void hone__text_ms(hone__buf *buf, double ns);
/* A source text in a fence, cut in its middle to at most `max` bytes with a mark that counts the lines left out. */
void hone__text_source(hone__buf *buf, const char *text, size_t max);

/* One slot's name as the model knows it: "BM", or "L[2]" for an element. */
void hone__text_slot(hone__buf *buf, const hone__space *space, uint32_t slot);
/* slot name, "=", value */
void hone__text_slot_value(hone__buf *buf, const hone__space *space, uint32_t slot, uint32_t index);
/* The value of a whole parameter in `config`. */
void hone__text_param_value(hone__buf *buf, const hone__param *param, const hone__config *config);

/* The physical limit of one run: nanoseconds by memory and by arithmetic, 0 where unknown. */
typedef struct hone__roofline {
    double flops, bytes;
    double memory_ns, compute_ns, limit_ns;
} hone__roofline;
void hone__roofline_get(const hone__prompt_input *input, hone__roofline *out);

#endif
