/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages that were written back are looked at once more before they count as clean: what something
 * that holds on to a page stores into it (process_vm_writev(2), a read with O_DIRECT) is no fault,
 * and nobody else says it. docs/decisions/0013.
 */
#ifndef MUSE_SERVER_FLOW_SETTLE_H
#define MUSE_SERVER_FLOW_SETTLE_H

#include "server/flow/engine.h"

struct settling; /* what some pages held when they were protected: a hash of each */

/**
 * settle_new() - note what pages hold, after they were protected and before their driver is asked
 * @pages: of the object, at most STORE_BUFFER_BYTES long
 *
 * Return: owned: settle_begin() or settle_free(); NULL: no memory.
 */
MUST_CHECK struct settling *settle_new(struct object *object, struct range pages);

/** settle_free() - they were not written back. NULL is a no-op. */
void settle_free(struct settling *settling);

/**
 * settle_begin() - they were written back, those of them that are in writeback still are settling
 * @settling: consumed; holds a reference of the object until it is over
 */
void settle_begin(struct settling *settling);

/** settle_check() - what was stored in some settling pages meanwhile makes them dirty, now */
void settle_check(struct object *object, struct range pages);

/** settle_over() - all settling pages of the object are looked at now, and clean or dirty then */
void settle_over(struct object *object);

/** settle_driver_going() - settle_over() for all objects of a driver */
void settle_driver_going(struct driver *driver);

/** settle_hurry() - there is no room: those that have rested for a moment are over, others soon */
void settle_hurry(struct engine *engine);

/** settle_n_refs() - references of the object that settling pages are */
uint64_t settle_n_refs(const struct object *object);

#endif
