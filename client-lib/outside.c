/* SPDX-License-Identifier: BSD-3-Clause */
/* The ranges that MAP_FIXED mappings occupy outside the arena. Owns an array; unmaps nothing. */
#include "client-lib/outside.h"

#include <errno.h>
#include <stdlib.h>

/* An addition removes what it overlaps and appends one; a removal splits at most one in two. */
#define ROOM_FOR_CHANGE 2u

int outside_promise(struct outside *outside)
{
    const size_t n_needed = outside->n_ranges + (outside->n_promised + 1) * ROOM_FOR_CHANGE;
    struct range *ranges;

    if (n_needed > outside->n_allocated) {
        ranges = realloc(outside->ranges, n_needed * sizeof(*ranges));
        if (!ranges)
            return -ENOMEM;
        outside->ranges = ranges;
        outside->n_allocated = n_needed;
    }
    outside->n_promised++;
    return 0;
}

void outside_cancel(struct outside *outside)
{
    MUST(outside->n_promised > 0);
    outside->n_promised--;
}

static void append(struct outside *outside, struct range range)
{
    MUST(outside->n_ranges < outside->n_allocated);
    outside->ranges[outside->n_ranges++] = range;
}

static void cut(struct outside *outside, struct range range)
{
    size_t i = 0;

    while (i < outside->n_ranges) {
        struct range parts[2];
        unsigned n_parts;

        if (!range_overlaps(outside->ranges[i], range)) {
            i++;
            continue;
        }
        n_parts = range_subtract(outside->ranges[i], range, parts);
        outside->ranges[i] = outside->ranges[--outside->n_ranges];
        for (unsigned p = 0; p < n_parts; p++)
            append(outside, parts[p]);
    }
}

void outside_remove(struct outside *outside, struct range range)
{
    outside_cancel(outside);
    cut(outside, range);
}

void outside_add(struct outside *outside, struct range range)
{
    outside_cancel(outside);
    cut(outside, range);
    append(outside, range);
}

struct range outside_next(const struct outside *outside, struct range range)
{
    struct range next = {range.end, range.end};

    for (size_t i = 0; i < outside->n_ranges; i++) {
        const struct range part = range_intersect(outside->ranges[i], range);

        if (!range_is_empty(part) && part.start < next.start)
            next = part;
    }
    return next;
}

void outside_done(struct outside *outside)
{
    free(outside->ranges);
    *outside = (struct outside){0};
}
