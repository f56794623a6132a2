/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ranges outside the arena that MAP_FIXED mappings occupy, so that disconnecting can unmap
 * them. Sorted by nothing, and few: programs map fixed over a reservation of their own once or
 * twice. Does no I/O and takes no lock.
 */
#ifndef MUSE_CLIENT_LIB_OUTSIDE_H
#define MUSE_CLIENT_LIB_OUTSIDE_H

#include <stddef.h>

#include "common/base/must.h"
#include "common/base/range.h"

struct outside {
    struct range *ranges; /* owned; disjoint */
    size_t n_ranges;
    size_t n_allocated;
    size_t n_promised; /* changes that were announced and not made yet */
};

/**
 * outside_promise() - announce one change, so that making it cannot fail
 *
 * Return: 0, and one of outside_add(), outside_remove() and outside_cancel() must follow; -ENOMEM.
 */
MUST_CHECK int outside_promise(struct outside *outside);

/** outside_add() - @range is occupied now, and may have been in part before */
void outside_add(struct outside *outside, struct range range);

/** outside_remove() - nothing of @range is occupied any more */
void outside_remove(struct outside *outside, struct range range);

/** outside_cancel() - the announced change will not be made */
void outside_cancel(struct outside *outside);

/** outside_done() - forget all ranges; safe on a zeroed struct */
void outside_done(struct outside *outside);

/** outside_next() - the lowest part of @range that is on the list; empty, at its end: none is */
struct range outside_next(const struct outside *outside, struct range range);

#endif
