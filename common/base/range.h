/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Half-open ranges [start, end) of addresses, bytes or page numbers, and the only arithmetic on
 * them. A range is a plain value. The unit is the holder's business and is told by the name of the
 * variable.
 */
#ifndef MUSE_COMMON_BASE_RANGE_H
#define MUSE_COMMON_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

struct range {
    uint64_t start;
    uint64_t end; /* first one not in it; == start when empty, never below */
};

/**
 * range_make() - a range from its two ends
 * @start: first one in it
 * @end:   first one not in it; >= @start (MUST)
 */
static inline struct range range_make(uint64_t start, uint64_t end)
{
    MUST(start <= end);
    return (struct range){.start = start, .end = end};
}

/** range_len() - how many units @r holds */
static inline uint64_t range_len(struct range r)
{
    return r.end - r.start;
}

/** range_is_empty() - does @r hold nothing? */
static inline bool range_is_empty(struct range r)
{
    return r.start >= r.end;
}

/** range_equal() - same start and same end? */
static inline bool range_equal(struct range a, struct range b)
{
    return a.start == b.start && a.end == b.end;
}

/** range_overlaps() - is there something that is in both? An empty range overlaps nothing. */
static inline bool range_overlaps(struct range a, struct range b)
{
    return !range_is_empty(a) && !range_is_empty(b) && a.start < b.end && b.start < a.end;
}

/** range_contains() - is @x in @r? */
static inline bool range_contains(struct range r, uint64_t x)
{
    return x >= r.start && x < r.end;
}

/** range_contains_range() - is all of @inner in @outer?
 * An empty one is where its start is, ends included. */
static inline bool range_contains_range(struct range outer, struct range inner)
{
    return inner.start >= outer.start && inner.end <= outer.end && inner.start <= inner.end;
}

/** range_touches() - does one end where the other starts? */
static inline bool range_touches(struct range a, struct range b)
{
    return a.end == b.start || b.end == a.start;
}

/**
 * range_from_len() - a range from start and length that a peer may have chosen
 * @start:     first one in it
 * @len:       how many; may be 0
 * @ret_range: the range
 *
 * Return: 0; -EOVERFLOW when the end does not fit 64 bits.
 */
MUST_CHECK int range_from_len(uint64_t start, uint64_t len, struct range *ret_range);

/**
 * range_intersect() - what is in both
 *
 * Return: the common part; an empty range at the start of the later one when there is none.
 */
struct range range_intersect(struct range a, struct range b);

/** range_cover() - the smallest range that holds both; an empty one adds nothing */
struct range range_cover(struct range a, struct range b);

/**
 * range_subtract() - what of @from is not in @hole
 * @from:      what to cut
 * @hole:      what to take away; may be empty or lie outside
 * @ret_parts: two ranges; the result, in order, non-empty ones first; the rest is untouched
 *
 * Return: how many parts are left, 0..2.
 */
unsigned int range_subtract(struct range from, struct range hole, struct range ret_parts[2]);

/**
 * range_align_out() - grow both ends to multiples of a unit
 * @r:         what to grow
 * @unit:      a power of two (MUST)
 * @ret_range: the range; an empty @r inside a unit becomes that unit, one on a boundary stays empty
 *
 * Return: 0; -EOVERFLOW when the end does not fit 64 bits.
 */
MUST_CHECK int range_align_out(struct range r, uint64_t unit, struct range *ret_range);

/**
 * range_align_in() - shrink both ends to multiples of a unit
 * @r:    what to shrink
 * @unit: a power of two (MUST)
 *
 * Return: the units that lie in @r completely; an empty range when there is none.
 */
struct range range_align_in(struct range r, uint64_t unit);

/** range_is_aligned() - are both ends multiples of @unit, a power of two? */
static inline bool range_is_aligned(struct range r, uint64_t unit)
{
    return ((r.start | r.end) & (unit - 1)) == 0;
}

#endif
