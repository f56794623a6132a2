/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the headers of an ELF core, every number of which may be wrong. */
#include "drivers/vmcore/elf_core.h"

#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct parse {
    elf_core_read_fn *read;
    void *arg;
    uint64_t n_file_bytes;
    bool is_64;
    uint64_t table; /* where the program headers are */
    uint64_t n_headers;
    struct elf_core_error *err;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct parse *parse,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(parse->err->text, sizeof(parse->err->text), format, args);
    va_end(args);
    return -ENOEXEC;
}

/* @what: for the sentence */
static int read_at(const struct parse *parse, uint64_t offset, void *buf, size_t n_bytes,
                   const char *what)
{
    int r;

    if (offset > parse->n_file_bytes || n_bytes > parse->n_file_bytes - offset)
        return refuse(parse, "%s: not all inside the file", what);
    r = parse->read(parse->arg, offset, buf, n_bytes);
    if (r < 0)
        (void)snprintf(parse->err->text, sizeof(parse->err->text), "%s: %s", what, strerror(-r));
    return r;
}

static int check_ident(struct parse *parse, const unsigned char *ident)
{
    if (memcmp(ident, ELFMAG, SELFMAG) != 0)
        return refuse(parse, "it does not begin as an ELF file does");
    if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
        return refuse(parse, "class %u: only ELF of 32 and 64 bits is known", ident[EI_CLASS]);
    if (ident[EI_DATA] != ELFDATA2LSB)
        return refuse(parse, "data encoding %u: only little endian is read", ident[EI_DATA]);
    if (ident[EI_VERSION] != EV_CURRENT)
        return refuse(parse, "ELF version %u is not known", ident[EI_VERSION]);
    parse->is_64 = ident[EI_CLASS] == ELFCLASS64;
    return 0;
}

static Elf64_Ehdr widen_header(const Elf32_Ehdr *from)
{
    return (Elf64_Ehdr){.e_type = from->e_type,
                        .e_version = from->e_version,
                        .e_phoff = from->e_phoff,
                        .e_shoff = from->e_shoff,
                        .e_phentsize = from->e_phentsize,
                        .e_phnum = from->e_phnum,
                        .e_shentsize = from->e_shentsize};
}

static int read_header(struct parse *parse, Elf64_Ehdr *ret_header)
{
    unsigned char ident[EI_NIDENT] = {0};
    Elf32_Ehdr narrow = {0};
    int r = read_at(parse, 0, ident, sizeof(ident), "the ELF header");

    if (r == 0)
        r = check_ident(parse, ident);
    if (r < 0)
        return r;
    if (parse->is_64)
        return read_at(parse, 0, ret_header, sizeof(*ret_header), "the ELF header");
    r = read_at(parse, 0, &narrow, sizeof(narrow), "the ELF header");
    if (r == 0)
        *ret_header = widen_header(&narrow);
    return r;
}

/* What parse_crash_elf64_headers() of Linux asks of them, but for e_ehsize: QEMU 7.2 writes the size of
 * a pointer there, and whoever reads cores looks past it. */
static int check_header(const struct parse *parse, const Elf64_Ehdr *header)
{
    const size_t entry = parse->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

    if (header->e_type != ET_CORE)
        return refuse(parse, "type %u: it is an ELF file, but no core", header->e_type);
    if (header->e_version != EV_CURRENT)
        return refuse(parse, "ELF version %u is not known", header->e_version);
    if (header->e_phentsize != entry)
        return refuse(parse, "program headers of %u bytes, not %zu", header->e_phentsize, entry);
    if (header->e_phnum == 0)
        return refuse(parse, "it has no program headers");
    return 0;
}

/* More headers than fit e_phnum: their number is in the first section header. */
static int read_extended_number(struct parse *parse, const Elf64_Ehdr *header)
{
    Elf64_Shdr wide = {0};
    Elf32_Shdr narrow = {0};
    int r;

    if (header->e_shoff == 0)
        return refuse(parse, "the number of program headers is nowhere");
    if (parse->is_64) {
        r = read_at(parse, header->e_shoff, &wide, sizeof(wide), "the first section header");
        parse->n_headers = wide.sh_info;
    } else {
        r = read_at(parse, header->e_shoff, &narrow, sizeof(narrow), "the first section header");
        parse->n_headers = narrow.sh_info;
    }
    return r;
}

static int find_table(struct parse *parse)
{
    Elf64_Ehdr header = {0};
    int r = read_header(parse, &header);

    if (r == 0)
        r = check_header(parse, &header);
    if (r < 0)
        return r;
    parse->table = header.e_phoff;
    parse->n_headers = header.e_phnum;
    if (header.e_phnum == PN_XNUM)
        r = read_extended_number(parse, &header);
    if (r == 0 && parse->n_headers > ELF_CORE_HEADERS_MAX)
        r = refuse(parse, "%llu program headers are more than %u",
                   (unsigned long long)parse->n_headers, ELF_CORE_HEADERS_MAX);
    return r;
}

/* One program header of the table. */
static Elf64_Phdr header_at(const struct parse *parse, const uint8_t *table, uint64_t i)
{
    Elf64_Phdr wide = {0};
    Elf32_Phdr narrow;

    if (parse->is_64) {
        memcpy(&wide, table + i * sizeof(wide), sizeof(wide));
    } else {
        memcpy(&narrow, table + i * sizeof(narrow), sizeof(narrow));
        wide.p_type = narrow.p_type;
        wide.p_offset = narrow.p_offset;
        wide.p_filesz = narrow.p_filesz;
    }
    return wide;
}

static int take_segments(const struct parse *parse, const uint8_t *table,
                         struct elf_segment *segments, unsigned *ret_n)
{
    unsigned n = 0;

    for (uint64_t i = 0; i < parse->n_headers; i++) {
        const Elf64_Phdr header = header_at(parse, table, i);

        if (header.p_type != PT_LOAD)
            continue;
        if (header.p_offset > ELF_CORE_BYTES_MAX ||
            header.p_filesz > ELF_CORE_BYTES_MAX - header.p_offset)
            return refuse(parse, "segment %u: %#llx bytes at %#llx end behind 2^46", n,
                          (unsigned long long)header.p_filesz, (unsigned long long)header.p_offset);
        segments[n++] = (struct elf_segment){header.p_offset, header.p_filesz};
    }
    *ret_n = n;
    return 0;
}

static int read_segments(const struct parse *parse, struct elf_segment **ret_segments,
                         unsigned *ret_n)
{
    const size_t entry = parse->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    const size_t n_bytes = parse->n_headers * entry;
    CLEAN(free_p) struct elf_segment *segments = NULL;
    CLEAN(free_p) uint8_t *table = NULL;
    int r;

    /* before anything is allocated for what is not there */
    if (parse->table > parse->n_file_bytes || n_bytes > parse->n_file_bytes - parse->table)
        return refuse(parse, "%llu program headers at %#llx are not all inside the file",
                      (unsigned long long)parse->n_headers, (unsigned long long)parse->table);
    table = malloc(n_bytes + 1);
    segments = calloc(parse->n_headers + 1, sizeof(*segments));
    if (!table || !segments) {
        (void)refuse(parse, "no memory for %zu bytes of program headers", n_bytes);
        return -ENOMEM;
    }
    r = read_at(parse, parse->table, table, n_bytes, "the program headers");
    if (r == 0)
        r = take_segments(parse, table, segments, ret_n);
    if (r == 0)
        *ret_segments = TAKE(segments);
    return r;
}

int elf_core_parse(elf_core_read_fn *read, void *arg, uint64_t n_file_bytes,
                   struct elf_segment **ret_segments, unsigned *ret_n,
                   struct elf_core_error *ret_err)
{
    struct parse parse = {.read = read, .arg = arg, .n_file_bytes = n_file_bytes, .err = ret_err};
    int r = find_table(&parse);

    return r < 0 ? r : read_segments(&parse, ret_segments, ret_n);
}
