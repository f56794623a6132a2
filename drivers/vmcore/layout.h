/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where each byte of the served object is: ranges, in order and without gaps, of the core itself, of
 * files that hold segments' memory instead of it, and of zeros. Only arithmetic; whoever built it may
 * ask from any thread.
 */
#ifndef MUSE_DRIVERS_VMCORE_LAYOUT_H
#define MUSE_DRIVERS_VMCORE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/own.h"
#include "common/base/range.h"
#include "drivers/vmcore/elf_core.h"

#define LAYOUT_CORE  0    /* source: the core */
#define LAYOUT_ZEROS (-1) /* source: nobody has these bytes */

struct layout_range {
    struct range bytes; /* of the object */
    int source;
    uint64_t source_offset; /* of its first byte */
};

struct layout {
    struct layout_range *ranges; /* owned */
    size_t n_ranges;
    uint64_t n_bytes;
};

/* The bytes of PT_LOAD @segment are in another file than the core. */
struct layout_oldmem {
    unsigned segment;
    int source; /* > 0 */
    uint64_t source_offset;
};

/**
 * layout_init() - all of the core, with some segments from elsewhere
 * @segments:     as elf_core_parse() found them
 * @n_core_bytes: size of the core
 * @oldmem:       at most one for a segment
 *
 * Return: 0; -ENOMEM; -EINVAL with a sentence in @ret_err: no such segment, two for one, or two
 * segments of other files are at the same bytes.
 */
MUST_CHECK int layout_init(struct layout *layout, const struct elf_segment *segments,
                           unsigned n_segments, uint64_t n_core_bytes,
                           const struct layout_oldmem *oldmem, unsigned n_oldmem,
                           struct elf_core_error *ret_err);

/** layout_done() - free the ranges */
void layout_done(struct layout *layout);

/** layout_at() - the range that has byte @offset; NULL behind the end */
const struct layout_range *layout_at(const struct layout *layout, uint64_t offset);

/**
 * layout_direct() - the part of @range, within @bytes, that can be mapped straight from its source
 *
 * Whole pages that lie at a page of the source, too. Return: empty: there are none.
 */
struct range layout_direct(const struct layout_range *range, struct range bytes);

/** layout_source_offset() - where byte @offset of @range is in its source */
static inline uint64_t layout_source_offset(const struct layout_range *range, uint64_t offset)
{
    return range->source_offset + (offset - range->bytes.start);
}

#endif
