/* embed_object.c: a pack as an ELF64 relocatable object, written here so that shipping needs no compiler, assembler or linker.  One read-only
 * section holds the bytes and their number, two hidden symbols name them; nothing needs relocation. */
#include "embed.h"

#include <elf.h>
#include <string.h>

enum {
    SECTION_NULL,
    SECTION_DATA,
    SECTION_PROPERTY, /* says that nothing here forbids CET or BTI, which one object without it would switch off for the whole program */
    SECTION_STACK,    /* nobody needs an executable stack */
    SECTION_SYMBOLS,
    SECTION_STRINGS,
    SECTION_NAMES,
    SECTION_COUNT
};
enum { ALIGN = 64, PROPERTY_BYTES = 32, NAMES_BYTES = 80, SYMBOL_COUNT = 4 };

static const char section_names[] = "\0.rodata.hone_pack\0.note.gnu.property\0.note.GNU-stack\0.symtab\0.strtab\0.shstrtab";
_Static_assert(sizeof section_names <= NAMES_BYTES + 8, "the names fit");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs of <elf.h> are written as they lie in memory");

hone_status hone__elf_machine(uint16_t *out, const char *name, hone_error *err) {
#if defined(__x86_64__)
    *out = EM_X86_64;
#elif defined(__aarch64__)
    *out = EM_AARCH64;
#else
    *out = EM_NONE;
#endif
    if (name != NULL && strcmp(name, "x86-64") == 0)
        *out = EM_X86_64;
    else if (name != NULL && strcmp(name, "aarch64") == 0)
        *out = EM_AARCH64;
    else if (name != NULL)
        return hone__fail(err, HONE_E_ARG, "exchange", "objects are made for x86-64 and aarch64; got \"%.40s\"", name);
    else if (*out == EM_NONE)
        return hone__fail(err, HONE_E_UNSUPPORTED, "exchange", "objects are made for x86-64 and aarch64: name one, or use c-header");
    return HONE_OK;
}

static uint64_t rounded(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

/* GNU's note of program properties: one property, a word of feature bits. */
static void fill_property(uint8_t out[PROPERTY_BYTES], uint16_t machine) {
    const uint32_t x86_features = 0xc0000002u, arm_features = 0xc0000000u; /* GNU_PROPERTY_*_FEATURE_1_AND */
    const uint32_t word[8] = {4, 16, NT_GNU_PROPERTY_TYPE_0, 0x00554e47u /* "GNU" */, machine == EM_X86_64 ? x86_features : arm_features, 4,
                              3 /* both features */, 0};
    memcpy(out, word, sizeof word);
}

static uint32_t name_at(const char *name) {
    for (size_t at = 1; at < sizeof section_names; at += strlen(section_names + at) + 1) {
        if (strcmp(section_names + at, name) == 0)
            return (uint32_t)at;
    }
    return 0;
}

typedef struct plan {
    uint64_t size_at;      /* of the number of bytes, in the data section */
    uint64_t data_bytes, strings_bytes;
    Elf64_Shdr section[SECTION_COUNT];
    uint64_t sections_at;
} plan;

static void place(plan *p, int index, const char *name, uint32_t type, uint64_t flags, uint64_t align, uint64_t bytes, uint64_t *at) {
    *at = rounded(*at, align);
    p->section[index] = (Elf64_Shdr){.sh_name = name_at(name),
                                     .sh_type = type,
                                     .sh_flags = flags,
                                     .sh_offset = *at,
                                     .sh_size = bytes,
                                     .sh_addralign = align};
    *at += bytes;
}

static void make_plan(plan *p, const hone__embedding *e) {
    memset(p, 0, sizeof *p);
    size_t symbol = strlen(e->symbol);
    p->size_at = rounded(e->count, 8);
    p->data_bytes = p->size_at + 8;
    p->strings_bytes = 1 + symbol + 1 + symbol + sizeof "_size";
    uint64_t at = sizeof(Elf64_Ehdr);
    place(p, SECTION_DATA, ".rodata.hone_pack", SHT_PROGBITS, SHF_ALLOC, ALIGN, p->data_bytes, &at);
    place(p, SECTION_PROPERTY, ".note.gnu.property", SHT_NOTE, SHF_ALLOC, 8, PROPERTY_BYTES, &at);
    place(p, SECTION_STACK, ".note.GNU-stack", SHT_PROGBITS, 0, 1, 0, &at);
    place(p, SECTION_SYMBOLS, ".symtab", SHT_SYMTAB, 0, 8, SYMBOL_COUNT * sizeof(Elf64_Sym), &at);
    p->section[SECTION_SYMBOLS].sh_link = SECTION_STRINGS;
    p->section[SECTION_SYMBOLS].sh_info = 2; /* the first symbol that is not local */
    p->section[SECTION_SYMBOLS].sh_entsize = sizeof(Elf64_Sym);
    place(p, SECTION_STRINGS, ".strtab", SHT_STRTAB, 0, 1, p->strings_bytes, &at);
    place(p, SECTION_NAMES, ".shstrtab", SHT_STRTAB, 0, 1, sizeof section_names, &at);
    p->sections_at = rounded(at, 8);
}

typedef struct output {
    hone__embedding *e;
    uint64_t at;
} output;

static hone_status put(output *o, const void *bytes, size_t count) {
    o->at += count;
    return hone__out_write(o->e->out, bytes, count, o->e->err);
}

static hone_status pad_to(output *o, uint64_t at) {
    static const uint8_t zeros[ALIGN];
    while (o->at < at)
        HONE_TRY(put(o, zeros, at - o->at < sizeof zeros ? (size_t)(at - o->at) : sizeof zeros));
    return HONE_OK;
}

static hone_status put_bytes(hone__embedding *e, const uint8_t *bytes, size_t count, void *user) {
    (void)e;
    return put(user, bytes, count);
}

static hone_status put_symbols(output *o, const plan *p) {
    size_t symbol = strlen(o->e->symbol);
    const unsigned char info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
    const Elf64_Sym symbols[SYMBOL_COUNT] = {
        {0},
        {.st_info = ELF64_ST_INFO(STB_LOCAL, STT_SECTION), .st_shndx = SECTION_DATA},
        {.st_name = 1, .st_info = info, .st_other = STV_HIDDEN, .st_shndx = SECTION_DATA, .st_value = 0, .st_size = o->e->count},
        {.st_name = (Elf64_Word)(symbol + 2), .st_info = info, .st_other = STV_HIDDEN, .st_shndx = SECTION_DATA, .st_value = p->size_at, .st_size = 8},
    };
    HONE_TRY(pad_to(o, p->section[SECTION_SYMBOLS].sh_offset));
    HONE_TRY(put(o, symbols, sizeof symbols));
    HONE_TRY(put(o, "", 1));
    HONE_TRY(put(o, o->e->symbol, symbol + 1));
    HONE_TRY(put(o, o->e->symbol, symbol));
    return put(o, "_size", sizeof "_size");
}

hone_status hone__embed_object(hone__embedding *e) {
    plan p;
    output o = {e, 0};
    uint8_t property[PROPERTY_BYTES];
    make_plan(&p, e);
    fill_property(property, e->machine);
    Elf64_Ehdr header = {.e_type = ET_REL,
                         .e_machine = e->machine,
                         .e_version = EV_CURRENT,
                         .e_shoff = p.sections_at,
                         .e_ehsize = sizeof header,
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = SECTION_COUNT,
                         .e_shstrndx = SECTION_NAMES};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    HONE_TRY(put(&o, &header, sizeof header));
    HONE_TRY(pad_to(&o, p.section[SECTION_DATA].sh_offset));
    HONE_TRY(hone__embed_bytes(e, put_bytes, &o));
    HONE_TRY(pad_to(&o, p.section[SECTION_DATA].sh_offset + p.size_at));
    HONE_TRY(put(&o, &e->count, sizeof e->count));
    HONE_TRY(pad_to(&o, p.section[SECTION_PROPERTY].sh_offset));
    HONE_TRY(put(&o, property, sizeof property));
    HONE_TRY(put_symbols(&o, &p));
    HONE_TRY(put(&o, section_names, sizeof section_names));
    HONE_TRY(pad_to(&o, p.sections_at));
    return put(&o, p.section, sizeof p.section);
}
