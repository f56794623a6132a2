/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting ranges into pieces and requests; see blocks.h. */
#include "drivers/nbd/blocks.h"

#include <errno.h>
#include <stdbool.h>

static bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

int blocks_init(struct blocks *ret_blocks, uint64_t size_bytes, uint64_t minimum, uint64_t maximum,
                const char **ret_why)
{
    if (minimum == 0) /* then most servers take any byte; ours ask for pages anyway */
        minimum = 1;
    if (maximum == 0 || maximum > REQUEST_BYTES_MAX)
        maximum = REQUEST_BYTES_MAX;
    if (!is_power_of_two(minimum) || minimum > MINIMUM_MAX) {
        *ret_why = "the smallest block is no power of two up to 64 KiB";
        return -EINVAL;
    }
    if (maximum < minimum) {
        *ret_why = "the largest request is smaller than the smallest block";
        return -EINVAL;
    }
    if (size_bytes > INT64_MAX - MINIMUM_MAX) {
        *ret_why = "the export is larger than a file can be";
        return -EFBIG;
    }
    *ret_blocks = (struct blocks){
        .size_bytes = size_bytes - size_bytes % minimum,
        .minimum = (uint32_t)minimum,
        .maximum = (uint32_t)(maximum - maximum % minimum),
    };
    return 0;
}

struct range blocks_cover(const struct blocks *blocks, struct range pages)
{
    const uint64_t unit = blocks->minimum > BLOCK_PAGE_BYTES ? blocks->minimum : BLOCK_PAGE_BYTES;
    const uint64_t behind = pages.end % unit;

    return (struct range){pages.start - pages.start % unit,
                          behind == 0 ? pages.end : pages.end - behind + unit};
}

struct range blocks_piece(struct range left)
{
    const uint64_t end = left.start - left.start % PIECE_BYTES + PIECE_BYTES;

    return (struct range){left.start, end < left.end ? end : left.end};
}

uint32_t blocks_request(const struct blocks *blocks, struct range left)
{
    const uint64_t n_bytes = left.end - left.start;

    return n_bytes < blocks->maximum ? (uint32_t)n_bytes : blocks->maximum;
}
