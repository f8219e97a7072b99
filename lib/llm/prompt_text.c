/* prompt_text.c: see prompt_text.h. */
#include "prompt_text.h"

#include "log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- sections ---- */

hone__buf *hone__section_add(hone__sections *sections, const char *title, uint32_t cut_rank, size_t keep_bytes) {
    HONE_ASSERT(sections->count < HONE_SECTIONS_MAX);
    hone__section *section = &sections->section[sections->count++];
    *section = (hone__section){.title = title, .cut_rank = cut_rank, .keep_bytes = keep_bytes};
    hone__buf_init(&section->text, HONE_LIMIT_PROMPT_BYTES);
    return &section->text;
}

enum { MARK_BYTES = 80 }; /* room for "[... N lines (M bytes) left out to keep the prompt short]" */

static size_t section_bytes(const hone__section *section) {
    return section->text.length == 0 ? 0 : strlen(section->title) + section->text.length + 6;
}

/* Keep at most `keep` bytes of whole lines and say what is gone. */
static void cut_section(hone__section *section, size_t keep) {
    hone__buf *text = &section->text;
    if (keep >= text->length)
        return;
    while (keep > 0 && text->data[keep - 1] != '\n')
        keep--;
    size_t lines = 0;
    for (size_t i = keep; i < text->length; i++)
        lines += text->data[i] == '\n';
    size_t bytes = text->length - keep;
    text->length = keep;
    hone__buf_printf(text, "[... %zu lines (%zu bytes) left out to keep the prompt short]\n", lines, bytes);
}

/* The section that is cut next: lowest rank that still has more than it keeps. */
static hone__section *next_to_cut(hone__sections *sections) {
    hone__section *next = NULL;
    for (uint32_t i = 0; i < sections->count; i++) {
        hone__section *section = &sections->section[i];
        if (section->cut_rank > 0 && section->text.length > section->keep_bytes + MARK_BYTES &&
            (next == NULL || section->cut_rank < next->cut_rank))
            next = section;
    }
    return next;
}

static void fit_sections(hone__sections *sections, size_t room) {
    for (;;) {
        size_t total = 0;
        for (uint32_t i = 0; i < sections->count; i++)
            total += section_bytes(&sections->section[i]);
        if (total <= room)
            return;
        hone__section *section = next_to_cut(sections);
        if (section == NULL)
            return;
        size_t over = total - room + MARK_BYTES;
        size_t keep = section->text.length > over ? section->text.length - over : 0;
        if (keep < section->keep_bytes)
            keep = section->keep_bytes;
        cut_section(section, keep);
        section->cut_rank = 0; /* each is cut once */
    }
}

void hone__sections_write(hone__buf *out, hone__sections *sections) {
    size_t room = out->max - out->length;
    if (room > HONE_LIMIT_PROMPT_BYTES)
        room = HONE_LIMIT_PROMPT_BYTES;
    for (uint32_t i = 0; i < sections->count; i++) {
        hone__buf *text = &sections->section[i].text;
        if (text->status == HONE_E_NOMEM && out->status == HONE_OK)
            out->status = HONE_E_NOMEM;
        if (text->status == HONE_E_LIMIT) { /* what it has is a prefix: end it at a line, with a mark */
            text->status = HONE_OK;
            cut_section(&sections->section[i], text->length - (text->length < MARK_BYTES ? text->length : MARK_BYTES));
        }
        if (text->length > 0 && text->data[text->length - 1] != '\n')
            hone__buf_char(text, '\n');
    }
    fit_sections(sections, room);
    size_t start = out->length;
    for (uint32_t i = 0; i < sections->count; i++) {
        hone__section *section = &sections->section[i];
        if (section->text.length > 0) {
            hone__buf_text(out, "## ");
            hone__buf_text(out, section->title);
            hone__buf_char(out, '\n');
            hone__buf_text(out, section->text.data);
            hone__buf_char(out, '\n');
        }
        hone__buf_free(&section->text);
    }
    sections->count = 0;
    if (out->length > start)
        hone__redact(out->data + start); /* a key in a source or a compiler's message must not leave the machine */
}

static size_t count_lines(const char *from, const char *to) {
    size_t lines = 0;
    for (const char *c = from; c < to; c++)
        lines += *c == '\n';
    return lines;
}

/* A fence longer than any run of backticks in the text. */
static void put_fence(hone__buf *buf, const char *text) {
    size_t longest = 2, run = 0;
    for (const char *c = text; *c != '\0'; c++) {
        run = *c == '`' ? run + 1 : 0;
        if (run > longest)
            longest = run;
    }
    for (size_t i = 0; i <= longest && i < 64; i++)
        hone__buf_char(buf, '`');
    hone__buf_char(buf, '\n');
}

static void put_lines(hone__buf *buf, const char *from, const char *to) {
    while (from < to) {
        const char *end = memchr(from, '\n', (size_t)(to - from));
        size_t length = end == NULL ? (size_t)(to - from) : (size_t)(end - from);
        char line[1024]; /* longer lines go piece by piece: nothing but the cleaning sees them */
        size_t piece = length < sizeof line - 1 ? length : sizeof line - 1;
        piece = piece < length ? hone__utf8_cut(from, piece) : piece; /* not in the middle of a character */
        if (piece == 0)
            piece = length < sizeof line - 1 ? length : sizeof line - 1;
        memcpy(line, from, piece);
        line[piece] = '\0';
        hone__text_clean(buf, line, piece, false);
        from += piece;
        if (piece == length) {
            hone__buf_char(buf, '\n');
            from += end != NULL;
        }
    }
}

void hone__text_source(hone__buf *buf, const char *text, size_t max) {
    size_t length = strlen(text);
    put_fence(buf, text);
    if (length <= max) {
        put_lines(buf, text, text + length);
    } else {
        /* Two thirds from the top (includes, helpers, the kernel's head), one third from the end, at line breaks. */
        const char *head = text + max / 3 * 2;
        while (head > text && head[-1] != '\n')
            head--;
        if (head == text)
            head = text + max / 3 * 2;
        const char *tail = text + length - max / 3;
        while (*tail != '\0' && tail[-1] != '\n')
            tail++;
        if (*tail == '\0')
            tail = text + length - max / 3;
        put_lines(buf, text, head);
        hone__buf_printf(buf, "[... %zu lines (%zu bytes) of this file are left out here ...]\n", count_lines(head, tail),
                         (size_t)(tail - head));
        put_lines(buf, tail, text + length);
    }
    put_fence(buf, text);
}

/* ---- numbers ---- */

void hone__text_number(hone__buf *buf, double value, int digits) {
    if (!isfinite(value)) {
        hone__buf_text(buf, "unknown");
        return;
    }
    HONE_ASSERT(digits >= 1 && digits <= 15);
    /* Through the exponent form, of which only the digits are taken: its point depends on the locale. */
    char text[64];
    (void)snprintf(text, sizeof text, "%.*e", digits - 1, fabs(value));
    char digit[24];
    int count = 0;
    const char *c = text;
    for (; *c != '\0' && *c != 'e'; c++) {
        if (*c >= '0' && *c <= '9' && count < 20)
            digit[count++] = *c;
    }
    int exponent = 0;
    bool negative = c[0] == 'e' && c[1] == '-';
    for (c += *c == 'e' ? 2 : 0; *c >= '0' && *c <= '9'; c++)
        exponent = exponent * 10 + (*c - '0');
    if (negative)
        exponent = -exponent;
    while (count > 1 && digit[count - 1] == '0')
        count--;
    if (value < 0)
        hone__buf_char(buf, '-');
    bool plain = exponent >= -4 && exponent < 15;
    if (!plain) { /* d.ddde+xx */
        hone__buf_char(buf, digit[0]);
        if (count > 1)
            hone__buf_char(buf, '.');
        hone__buf_bytes(buf, digit + 1, (size_t)(count - 1));
        hone__buf_printf(buf, "e%d", exponent);
        return;
    }
    if (exponent < 0) {
        hone__buf_text(buf, "0.");
        for (int i = -1; i > exponent; i--)
            hone__buf_char(buf, '0');
        hone__buf_bytes(buf, digit, (size_t)count);
        return;
    }
    for (int i = 0; i <= exponent || i < count; i++) {
        if (i == exponent + 1)
            hone__buf_char(buf, '.');
        hone__buf_char(buf, i < count ? digit[i] : '0');
    }
}

void hone__text_bytes(hone__buf *buf, double bytes) {
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    if (bytes >= 10240) {
        while (i < 4 && bytes >= 1024) {
            bytes /= 1024;
            i++;
        }
    }
    hone__text_number(buf, bytes, 5);
    hone__buf_printf(buf, " %s", unit[i]);
}

void hone__text_ms(hone__buf *buf, double ns) {
    hone__text_number(buf, ns / 1e6, 4);
    hone__buf_text(buf, " ms");
}

/* ---- names and values ---- */

void hone__text_slot(hone__buf *buf, const hone__space *space, uint32_t slot) {
    const hone__param *param = &space->param[hone__space_param_of_slot(space, slot)];
    hone__buf_text(buf, param->name);
    if (param->slot_count > 1 || param->kind == HONE_KIND_LIST || param->kind == HONE_KIND_PERMUTATION)
        hone__buf_printf(buf, "[%u]", (unsigned)(slot - param->first_slot));
}

void hone__text_slot_value(hone__buf *buf, const hone__space *space, uint32_t slot, uint32_t index) {
    hone__text_slot(buf, space, slot);
    hone__buf_char(buf, '=');
    hone__domain_print(buf, &space->param[hone__space_param_of_slot(space, slot)].domain, index);
}

void hone__text_param_value(hone__buf *buf, const hone__param *param, const hone__config *config) {
    bool list = param->kind == HONE_KIND_LIST || param->kind == HONE_KIND_PERMUTATION;
    if (list)
        hone__buf_char(buf, '[');
    for (uint32_t i = 0; i < param->slot_count; i++) {
        if (i > 0)
            hone__buf_char(buf, ',');
        hone__domain_print(buf, &param->domain, config->slot[param->first_slot + i]);
    }
    if (list)
        hone__buf_char(buf, ']');
}

void hone__roofline_get(const hone__prompt_input *input, hone__roofline *out) {
    *out = (hone__roofline){.flops = 0};
    hone__kernel_work(input->kernel, hone__bound_sizes(input->bound), &out->flops, &out->bytes);
    if (input->device == NULL)
        return;
    /* GB/s is bytes a nanosecond, GFLOP/s operations a nanosecond. */
    if (out->bytes > 0 && input->device->peak_gbps > 0)
        out->memory_ns = out->bytes / input->device->peak_gbps;
    double rate = hone__device_gflops(input->device, hone__precision_name(input->kernel->precision));
    if (out->flops > 0 && rate > 0)
        out->compute_ns = out->flops / rate;
    out->limit_ns = out->memory_ns > out->compute_ns ? out->memory_ns : out->compute_ns;
}
