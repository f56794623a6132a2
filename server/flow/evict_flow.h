/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making room in the page caches: whose pages may go, how they go, and when. Which go first is
 * decided by server/cache/evict.h.
 */
#ifndef MUSE_SERVER_FLOW_EVICT_FLOW_H
#define MUSE_SERVER_FLOW_EVICT_FLOW_H

#include "server/flow/engine.h"

/* Pages that stay while a call is under way: what it asks for must not push out what it asked for
 * just before. On the stack of who asks. */
struct evict_guard {
    struct evict_guard *outer;
    const struct object *object;
    struct range pages;
};

/* Pages that a client reads or writes through its fd of the object: a hole there would read as
 * zeros. */
struct evict_pin {
    struct list node;      /* in object.pins */
    struct object *object; /* ref */
    struct space *reader;  /* borrowed: who is told when they go all the same; NULL: nobody */
    struct range pages;
};

/** evict_flow_new() - the engine's part. Return: 0 or -ENOMEM. */
MUST_CHECK int evict_flow_new(struct engine *engine);

/** evict_flow_free() - no object is left */
void evict_flow_free(struct engine *engine);

/** evict_flow_object_init(), evict_flow_object_done() - an object's part; its uid and id are set.
 * done: a no-op on a zeroed one. Return: 0 or -ENOMEM. */
MUST_CHECK int evict_flow_object_init(struct object *object);
void evict_flow_object_done(struct object *object);

/**
 * evict_flow_charge() - charge pages of the cache to the object's uid; others are evicted for it
 *
 * Return: 0; -EDQUOT nothing more can be evicted; -ENOMEM.
 */
MUST_CHECK int evict_flow_charge(struct object *object, uint64_t n_pages);

/** evict_flow_filling() - charged pages are filling now. Return: 0; -ENOMEM: they must be given
 * back. */
MUST_CHECK int evict_flow_filling(struct object *object, struct range pages);

/** evict_flow_gone() - pages are absent or poisoned now */
void evict_flow_gone(struct object *object, struct range pages);

/** evict_flow_touch() - a fault on a valid page, or a call that reads it. @vma: NULL for a call. */
void evict_flow_touch(struct object *object, const struct vma *vma, uint64_t page);

/** evict_flow_changed() - what could not be evicted perhaps can be now: a mapping has gone or is
 * not locked any more, pages became clean */
void evict_flow_changed(struct engine *engine);

/** evict_flow_room() - pages have gone, or those that were filling can be evicted now: who waits for
 * room tries again */
void evict_flow_room(struct engine *engine);

/**
 * evict_flow_wait() - there is no room, and nothing clean that could go: is it worth waiting?
 *
 * Then dirty pages are on their way back, or pages are filling, which can go once they are valid; parked
 * faults are looked at again when some are.
 * Return: whether; false: there are none, or the drivers do not take them, or bring none.
 */
bool evict_flow_wait(struct engine *engine);

/** evict_flow_limits() - a limit was changed: what is over it goes in the next turns */
void evict_flow_limits(struct engine *engine);

/** evict_flow_window() - the most pages of @object that are worth asking for at once: two windows
 * of several readers shall fit into what is cached on probation. @max_bytes: no more than that */
uint64_t evict_flow_window(const struct object *object, uint64_t max_bytes);

/** evict_flow_clip() - how much of @length bytes from @offset on may be kept at once by one reader
 */
uint64_t evict_flow_clip(const struct object *object, uint64_t offset, uint64_t length);

/**
 * evict_hint() - madvise: pages will not be needed soon (MADV_COLD), or not at all (MADV_PAGEOUT)
 * @pages: object pages, clipped
 * @now:   evict at once, as far as they may go and a turn allows; the rest goes first
 */
void evict_hint(struct object *object, struct range pages, bool now);

/**
 * evict_flow_some() - evict clean pages of an object, a turn's worth
 * @pages: object pages; pages.start is moved up to what was not looked at yet
 *
 * Return: how many pages went. More is left when @pages is not empty.
 */
uint64_t evict_flow_some(struct object *object, struct range *pages);

/** evict_was_recent() - pages of the object went a moment ago: its mappings had better stay
 * watched */
bool evict_was_recent(const struct object *object);

/** evict_guard_begin() - @pages of @object are not evicted until evict_guard_end(); they nest */
void evict_guard_begin(struct evict_guard *guard, const struct object *object, struct range pages);
void evict_guard_end(struct evict_guard *guard);

/** evict_pin_begin() - @pages are not evicted until evict_pin_end(), which is a no-op on one that
 * is not held */
void evict_pin_begin(struct evict_pin *pin, struct object *object, struct range pages,
                     struct space *reader);
void evict_pin_end(struct evict_pin *pin);

/** evict_pins_taken() - @pages are about to become holes whoever has them pinned: their readers see
 * it afterwards by their count, and read again */
void evict_pins_taken(const struct object *object, struct range pages);

/** evict_flow_validate() - for the audit. Return: NULL, or what is wrong (static). */
const char *evict_flow_validate(const struct engine *engine);

/** evict_flow_covers() - for the audit: whether each valid or filling page of @object can be found
 * for eviction. O(its entries). */
bool evict_flow_covers(const struct object *object);

/** evict_flow_bytes() - memory that the queues take */
uint64_t evict_flow_bytes(const struct engine *engine);

#endif
