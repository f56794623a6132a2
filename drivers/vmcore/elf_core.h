/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of an ELF core file matters for serving it: where its PT_LOAD segments lie. Nothing in the file
 * is trusted, and nothing is read but through the caller's function. Cores of 32 and 64 bits, little
 * endian, with segments at any offset: gcore aligns to nothing, the kernel to pages.
 */
#ifndef MUSE_DRIVERS_VMCORE_ELF_CORE_H
#define MUSE_DRIVERS_VMCORE_ELF_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/own.h"

/* Program headers that are looked at. Chosen: twice the mappings a process may have by default
 * (vm.max_map_count), 7 MiB of headers. */
#define ELF_CORE_HEADERS_MAX (1u << 17)

/* Where a segment may end. The server's limit for objects. */
#define ELF_CORE_BYTES_MAX (1ull << 46)

struct elf_core_error {
    char text[128];
};

/* One PT_LOAD, in the order of the headers. n_bytes 0: none of it was written to the core. */
struct elf_segment {
    uint64_t offset; /* in the core */
    uint64_t n_bytes;
};

/**
 * elf_core_read_fn - fill @buf with the @n_bytes of the core from @offset on
 *
 * Return: 0; -errno.
 */
typedef int elf_core_read_fn(void *arg, uint64_t offset, void *buf, size_t n_bytes);

/**
 * elf_core_parse() - find the PT_LOAD segments of a core
 * @read:         asked only for what lies inside @n_file_bytes
 * @n_file_bytes: size of the core; segments may lie behind it
 * @ret_segments: the caller's, to free()
 * @ret_err:      why, when it fails
 *
 * Return: 0; -ENOEXEC it is no core that can be served; -ENOMEM; what @read returned.
 */
MUST_CHECK int elf_core_parse(elf_core_read_fn *read, void *arg, uint64_t n_file_bytes,
                              struct elf_segment **ret_segments, unsigned *ret_n,
                              struct elf_core_error *ret_err);

#endif
