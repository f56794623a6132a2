/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The longer half of the range arithmetic. Owns nothing, called by everybody, and never wraps
 * around: what does not fit 64 bits is refused.
 */
#include "common/base/range.h"

#include <errno.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static bool is_power_of_two(uint64_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

int range_from_len(uint64_t start, uint64_t len, struct range *ret_range)
{
    uint64_t end;

    if (__builtin_add_overflow(start, len, &end))
        return -EOVERFLOW;
    *ret_range = range_make(start, end);
    return 0;
}

struct range range_intersect(struct range a, struct range b)
{
    uint64_t start = max_u64(a.start, b.start);

    return range_make(start, max_u64(start, min_u64(a.end, b.end)));
}

struct range range_cover(struct range a, struct range b)
{
    if (range_is_empty(a))
        return b;
    if (range_is_empty(b))
        return a;
    return range_make(min_u64(a.start, b.start), max_u64(a.end, b.end));
}

unsigned int range_subtract(struct range from, struct range hole, struct range ret_parts[2])
{
    unsigned int n = 0;

    if (range_is_empty(from))
        return 0;
    if (!range_overlaps(from, hole)) {
        ret_parts[0] = from;
        return 1;
    }
    if (from.start < hole.start)
        ret_parts[n++] = range_make(from.start, hole.start);
    if (hole.end < from.end)
        ret_parts[n++] = range_make(hole.end, from.end);
    return n;
}

int range_align_out(struct range r, uint64_t unit, struct range *ret_range)
{
    uint64_t end;

    MUST(is_power_of_two(unit));
    if (__builtin_add_overflow(r.end, unit - 1, &end))
        return -EOVERFLOW;
    *ret_range = range_make(r.start & ~(unit - 1), end & ~(unit - 1));
    return 0;
}

struct range range_align_in(struct range r, uint64_t unit)
{
    uint64_t start;
    uint64_t end = r.end & ~(unit - 1);

    MUST(is_power_of_two(unit));
    if (__builtin_add_overflow(r.start, unit - 1, &start))
        return range_make(end, end);
    start &= ~(unit - 1);
    return range_make(start, max_u64(start, end));
}
