/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers of small ELF cores, for tests: one note, then the PT_LOAD segments that are asked for. */
#ifndef MUSE_TESTS_SUPPORT_CORE_SAMPLE_H
#define MUSE_TESTS_SUPPORT_CORE_SAMPLE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/own.h"

struct core_segment {
    uint64_t offset, n_bytes;
};

/* Bytes of the headers of a 64-bit core with @n segments. */
static inline size_t core_headers_bytes(unsigned n)
{
    return sizeof(Elf64_Ehdr) + (n + 1) * sizeof(Elf64_Phdr);
}

/* Writes core_headers_bytes(@n) bytes to @buf. */
static inline void core_headers(uint8_t *buf, const struct core_segment *segments, unsigned n)
{
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)(n + 1)};
    Elf64_Phdr entry = {.p_type = PT_NOTE, .p_offset = core_headers_bytes(n)};

    memcpy(buf, &header, sizeof(header));
    memcpy(buf + sizeof(header), &entry, sizeof(entry));
    for (unsigned i = 0; i < n; i++) {
        entry = (Elf64_Phdr){.p_type = PT_LOAD,
                             .p_flags = PF_R,
                             .p_offset = segments[i].offset,
                             .p_vaddr = 0x10000000 + segments[i].offset,
                             .p_filesz = segments[i].n_bytes,
                             .p_memsz = segments[i].n_bytes};
        memcpy(buf + sizeof(header) + (i + 1) * sizeof(entry), &entry, sizeof(entry));
    }
}

#endif
