/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * evict.h - which pages go when the page cache is full: S3-FIFO over runs
 *
 * An entry is a run of pages of one object, as it was asked for: one page of a random read, 2 MiB
 * of a scan. Each uid has a pool of its own with these queues; entries enter at the tail:
 *
 *     new ----------> SMALL --touched twice--> MAIN <--touched: again-+
 *      |               | else                   |  +-----------------+
 *      |               v                        v
 *      |             GHOST (names only) <-----gone
 *      +--known there-----------------------> MAIN
 *
 *     COLD: told that they are not needed; these go first.   HELD: may not go at present (locked,
 *     written): out of the way until something has changed.
 *
 * A scan passes through SMALL and leaves MAIN alone. What is asked for again soon after it went is
 * what the scan displaced wrongly: it is known in GHOST, and enters MAIN. That is the signal that
 * counts here, as the server sees faults only, not the reads of mapped pages (docs/decisions/0007).
 *
 * An entry may have lost parts (revoked, punched): whoever takes it looks at the page table. Each
 * one has at least one page that is valid or filling, no two overlap: so there are never more of
 * them than such pages. 28 bytes each, in chunks that are given back when the last one goes.
 *
 * Callers: server/flow/evict_flow.c. Deliberately not here: whether a page may go, and its going.
 */
#ifndef MUSE_SERVER_CACHE_EVICT_H
#define MUSE_SERVER_CACHE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"
#include "server/cache/page_table.h"

#define EVICT_RUN_PAGES 512u /* longest entry; none crosses a block of that many pages */

/* Entries are known by a number, a handle, that is good until the entry is dropped; 0: none. */

enum evict_queue { EVICT_SMALL, EVICT_MAIN, EVICT_COLD, EVICT_HELD, EVICT_QUEUE_N };

struct evict_entry {
    uint32_t prev, next;  /* in its queue, circular */
    uint32_t left, right; /* in its block's tree, by first */
    uint32_t owner;       /* index in evict.owners */
    uint32_t first;       /* object page; tables are at most 2^30 pages long */
    uint16_t n_pages;
    uint8_t freq;    /* touches seen, at most 3 */
    uint8_t in_main; /* counts in main_bytes, else in small_bytes */
};

struct evict {
    struct evict_entry **chunks; /* owned */
    uint32_t n_chunks;
    uint32_t free;                /* first free entry, linked by next */
    uint32_t n_used, n_never;     /* entries in use; entries that were never used: from there on */
    struct evict_object **owners; /* owned array of borrowed objects; free ones NULL */
    uint32_t n_owners;
    uint32_t owner_hint; /* no free one below it */
    uint64_t n_entries;  /* without the heads of queues */
    uint64_t n_roots;    /* in all objects */
};

struct evict_ghost {
    uint32_t tag; /* 0: nothing */
    uint32_t at;  /* evict_pool.clock when it went */
};

/* What evict_add() found out about the new entries. */
struct evict_seen {
    uint64_t n_refaults; /* had been here before, as far as is remembered */
    uint64_t n_ghosts;   /* of these: went not long ago, so they are in MAIN now */
};

/* What one uid has cached. */
struct evict_pool {
    uint32_t heads[EVICT_QUEUE_N]; /* entries that are no run */
    uint64_t small_bytes;          /* in SMALL and COLD */
    uint64_t main_bytes;           /* in MAIN and HELD */
    uint64_t n_entries;
    struct evict_ghost *ghosts; /* owned; NULL: none yet, or no memory for it */
    uint32_t n_ghosts;          /* a power of two */
    uint32_t clock;             /* 4 KiB pages that have gone */
};

/* An object's part. */
struct evict_object {
    struct evict_pool *pool; /* borrowed; NULL: not in here */
    uint32_t *roots;         /* owned: for each block of EVICT_RUN_PAGES; NULL: no entries yet */
    uint32_t n_roots, owner;
    uint64_t id; /* what ghosts remember it by */
    uint32_t page_shift;
};

/** evict_init() - nothing is cached */
void evict_init(struct evict *evict);

/** evict_done() - all pools and objects have gone (MUST) */
void evict_done(struct evict *evict);

/** evict_pool_init() - an empty pool, in place. Return: 0 or -ENOMEM. */
MUST_CHECK int evict_pool_init(struct evict *evict, struct evict_pool *pool);

/** evict_pool_done() - no object is in it any more (MUST) */
void evict_pool_done(struct evict *evict, struct evict_pool *pool);

/**
 * evict_object_init() - an object without entries, in place
 * @pool:       who is charged for it; borrowed, outlives it
 * @id:         never used again for another one
 * @page_shift: of its pages
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int evict_object_init(struct evict *evict, struct evict_object *object,
                                 struct evict_pool *pool, uint64_t id, uint32_t page_shift);

/** evict_object_done() - drop its entries; a no-op on a zeroed object */
void evict_object_done(struct evict *evict, struct evict_object *object);

/**
 * evict_add() - pages that are being filled, or were just filled
 * @pages:    object pages; those that have an entry already are left alone
 * @ret_seen: written always
 *
 * Return: 0; -ENOMEM: a part may be in: evict_trim() them once they are absent.
 */
MUST_CHECK int evict_add(struct evict *evict, struct evict_object *object, struct range pages,
                         struct evict_seen *ret_seen);

/** evict_touch() - @page was seen to be used again. Counts where an entry begins, so that one pass
 * over a run is one touch. */
void evict_touch(struct evict *evict, struct evict_object *object, uint64_t page);

/** evict_cool() - entries with any of @pages go first */
void evict_cool(struct evict *evict, struct evict_object *object, struct range pages);

/** evict_trim() - some of @pages are absent or poisoned now: entries shrink to what @table says is
 * valid or filling */
void evict_trim(struct evict *evict, struct evict_object *object, struct range pages,
                const struct page_table *table);

/**
 * evict_next() - which entry is to go next
 * @small_max_bytes: what SMALL may hold before MAIN's are better victims
 *
 * Return: a handle, out of its queue until evict_drop() or evict_keep(); 0: there is none, HELD not
 * counted.
 */
uint32_t evict_next(struct evict *evict, struct evict_pool *pool, uint64_t small_max_bytes);

/** evict_pages() - the pages of an entry */
struct range evict_pages(const struct evict *evict, uint32_t handle);

/** evict_owner() - whose they are */
struct evict_object *evict_owner(const struct evict *evict, uint32_t handle);

/** evict_is_main() - whether it is past probation: in MAIN, or held */
bool evict_is_main(const struct evict *evict, uint32_t handle);

/** evict_find() - the entry with the lowest pages that end above @page; 0: none */
uint32_t evict_find(const struct evict *evict, const struct evict_object *object, uint64_t page);

/** evict_drop() - its pages have gone. @is_remembered: for lack of room: GHOST shall know them. */
void evict_drop(struct evict *evict, uint32_t handle, bool is_remembered);

/**
 * evict_keep() - what is left of an entry stays
 * @left:    not empty, inside its pages
 * @is_held: in HELD; else at the tail of the queue it came from
 */
void evict_keep(struct evict *evict, uint32_t handle, struct range left, bool is_held);

/** evict_unhold() - something has changed: the held ones are looked at again. Return: whether there
 * were some. */
bool evict_unhold(struct evict *evict, struct evict_pool *pool);

/** evict_pool_bytes() - in all entries of a pool, with what they have lost in their middle */
static inline uint64_t evict_pool_bytes(const struct evict_pool *pool)
{
    return pool->small_bytes + pool->main_bytes;
}

/** evict_bytes() - memory that all this takes */
uint64_t evict_bytes(const struct evict *evict);

/** evict_validate() - check the queues of @pool and the trees of its objects. O(n). Return: NULL,
 * or what is wrong (static). */
const char *evict_validate(const struct evict *evict, const struct evict_pool *pool);

#endif
