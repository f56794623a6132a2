/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An export's sizes, and how a range of its bytes is cut: into pieces that fit a buffer, and each
 * piece into requests that the server takes. Arithmetic only.
 */
#ifndef MUSE_DRIVERS_NBD_BLOCKS_H
#define MUSE_DRIVERS_NBD_BLOCKS_H

#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

#define PIECE_BYTES       (512u << 10) /* measured: see docs/porting.md */
#define BLOCK_PAGE_BYTES  4096u
#define MINIMUM_MAX       (64u << 10) /* the protocol's largest minimum block */
#define REQUEST_BYTES_MAX (32u << 20) /* some servers hang up on more when they advertise nothing */

struct blocks {
    uint64_t size_bytes; /* of the export; what lies behind its last whole block is left out */
    uint32_t minimum;    /* requests start and end at multiples of it */
    uint32_t maximum;    /* the longest request; a multiple of the minimum */
};

/**
 * blocks_init() - from what the server advertises
 * @minimum, @maximum: 0: nothing is advertised
 * @ret_why: why not; static
 *
 * Return: 0; -EINVAL the server's numbers make no sense; -EFBIG.
 */
MUST_CHECK int blocks_init(struct blocks *ret_blocks, uint64_t size_bytes, uint64_t minimum,
                           uint64_t maximum, const char **ret_why);

/**
 * blocks_cover() - what has to be read for a range of pages
 * @pages: in bytes, 4 KiB aligned; may end behind the end of the export
 *
 * Return: the smallest range around it that is whole pages and whole blocks; it may end behind the end
 * of the export.
 */
struct range blocks_cover(const struct blocks *blocks, struct range pages);

/** blocks_piece() - the first piece of what is left: ends at a multiple of PIECE_BYTES, or with it */
struct range blocks_piece(struct range left);

/** blocks_request() - length of the first request for @left, which is not empty and lies in the export */
uint32_t blocks_request(const struct blocks *blocks, struct range left);

#endif
