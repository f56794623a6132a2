/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page_table.h - the state of every page of one object: what may be shown, what is being got
 *
 * The table is the truth about which bytes of the object's memfd are its content; that a page is
 * present in the memfd says nothing (a stray fault through an unregistered mapping puts a page of
 * zeros there). One atomic byte a page, in shared memory, zero meaning absent; every change is a
 * compare-and-swap along an edge of the table in page_table.c:
 *
 *     .-------------------- supplied unasked --------------------.
 *     |                                                          v
 *   absent ------ claimed ----> filling ------- supplied -----> clean
 *    ^  ^                       |  |  ^                          ^
 *    |  `------ given up -------'  |  `-- asked again --.        |
 *    |                             `----- failed ----> poisoned -' supplied late
 *    |                                                  |
 *    `--------------------- forgotten ------------------'
 *
 *     .---- rested --- settling <------ written back ----.
 *     |                |  |                              |
 *     |                |  `--.                           |
 *     v                |     v                           |
 *   clean -- written --|--> dirty ------- sent -----> writeback
 *    |  ^              |    |   ^                      |  |
 *    |  | kept         |    |   `---- written again ---'  |
 *    v  |              v    v                             v
 *   evicting <---------+----+-----------------------------'
 *     |
 *     `--------- taken out ---> absent
 *
 * Callers: server/{fault,flow}. Deliberately not here: who waits for a page (server/fault/run.h),
 * why one is poisoned (poison.h), the bytes (server/store).
 */
#ifndef MUSE_SERVER_CACHE_PAGE_TABLE_H
#define MUSE_SERVER_CACHE_PAGE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

#define PAGE_STATES(X)                                                                             \
    X(ABSENT, "absent", "nobody has its bytes; the next touch asks")                               \
    X(FILLING, "filling", "asked for: a run in flight holds it")                                   \
    X(CLEAN, "clean", "valid, as the driver gave it")                                              \
    X(DIRTY, "dirty", "valid, written since")                                                      \
    X(WRITEBACK, "writeback", "valid, on its way to the driver")                                   \
    X(SETTLING, "settling", "valid, with the driver; looked at once more before it is clean")      \
    X(EVICTING, "evicting", "being taken out of the memfd; not shown any more")                    \
    X(POISONED, "poisoned", "could not be had: a touch is SIGBUS")

enum page_state {
#define X(name, text, help) PAGE_##name,
    PAGE_STATES(X)
#undef X
        PAGE_STATE_N
};

/* Sets of states, for searches. */
#define PAGE_BIT(state) (1u << (state))
#define PAGE_BITS_CLEAN (PAGE_BIT(PAGE_CLEAN) | PAGE_BIT(PAGE_SETTLING))
#define PAGE_BITS_VALID (PAGE_BITS_CLEAN | PAGE_BIT(PAGE_DIRTY) | PAGE_BIT(PAGE_WRITEBACK))
#define PAGE_BITS_ALL   ((1u << PAGE_STATE_N) - 1u)

struct page_table {
    _Atomic uint8_t *states; /* borrowed: shared memory, n_pages long; outlives the table */
    uint64_t n_pages;        /* the object's own pages */
    uint64_t n_valid;        /* how many pages are clean, settling, dirty or in writeback, ... */
    uint64_t n_filling;
    uint64_t n_dirty; /* dirty or in writeback; also counted in n_valid */
    uint64_t n_poisoned;
};

/**
 * page_table_init() - a table over zeroed memory: all absent
 * @table:   in place
 * @states:  @n_pages bytes of zeros; borrowed until the last call
 * @n_pages: may be 0
 */
void page_table_init(struct page_table *table, _Atomic uint8_t *states, uint64_t n_pages);

/** page_state_name() - lower-case word for tables and logs; static */
const char *page_state_name(enum page_state state);

/** page_state_is_valid() - whether the memfd holds the page's content: it may be shown */
static inline bool page_state_is_valid(enum page_state state)
{
    return (PAGE_BIT(state) & PAGE_BITS_VALID) != 0;
}

/** page_state_is_clean() - whether its driver has the page's content: clean or settling */
static inline bool page_state_is_clean(enum page_state state)
{
    return (PAGE_BIT(state) & PAGE_BITS_CLEAN) != 0;
}

/** page_move_is_legal() - whether there is an edge @from -> @to in the picture above */
bool page_move_is_legal(enum page_state from, enum page_state to);

/**
 * page_table_get() - one page's state
 * @page: below n_pages (MUST)
 */
enum page_state page_table_get(const struct page_table *table, uint64_t page);

/**
 * page_table_move() - change one page's state
 * @page: below n_pages (MUST)
 * @from: what it must be now; @from -> @to must be legal (MUST)
 *
 * Return: whether it was @from, and is @to now.
 */
bool page_table_move(struct page_table *table, uint64_t page, enum page_state from,
                     enum page_state to);

/**
 * page_table_move_range() - the same for every page of a range that is in one of some states
 * @pages: inside the table (MUST)
 * @from:  PAGE_BIT()s of the states to leave; each of them must have an edge to @to (MUST)
 * @to:    the state to enter
 *
 * Return: how many pages were moved.
 */
uint64_t page_table_move_range(struct page_table *table, struct range pages, unsigned int from,
                               enum page_state to);

/**
 * page_table_claim() - take the first absent pages of a range: they are filling afterwards
 * @pages:   inside the table (MUST), may be empty
 * @ret_run: the claimed pages, consecutive; written only when there were some
 *
 * Call again with pages.start = ret_run.end for the next ones. The claimer must move each of them
 * on to clean, absent or poisoned.
 *
 * Return: whether there were absent pages.
 */
bool page_table_claim(struct page_table *table, struct range pages, struct range *ret_run);

/**
 * page_table_find() - the first page of a range in one of some states; whole words at a time
 * @pages: inside the table (MUST), may be empty
 * @bits:  PAGE_BIT()s
 *
 * Return: the page; pages.end when there is none.
 */
uint64_t page_table_find(const struct page_table *table, struct range pages, unsigned int bits);

/**
 * page_table_find_run() - the first pages in a row of a range that are in one of some states
 * @pages: inside the table (MUST), may be empty
 * @bits:  PAGE_BIT()s
 *
 * Return: the pages, maximal inside @pages; an empty range at pages.end when there are none.
 */
struct range page_table_find_run(const struct page_table *table, struct range pages,
                                 unsigned int bits);

/**
 * page_table_run_around() - the pages in a row around a page that are in one of some states
 * @page:   inside @limits
 * @limits: inside the table (MUST); nothing outside is looked at
 * @bits:   PAGE_BIT()s
 *
 * Return: the pages, @page among them; an empty range at @page when it is in none of the states.
 */
struct range page_table_run_around(const struct page_table *table, uint64_t page,
                                   struct range limits, unsigned int bits);

/** page_table_count() - how many pages of @pages (inside the table) are in a state of @bits */
uint64_t page_table_count(const struct page_table *table, struct range pages, unsigned int bits);

/** page_table_is_valid() - whether every page of @pages (inside the table) is; true when empty */
bool page_table_is_valid(const struct page_table *table, struct range pages);

/** page_table_range() - all pages of the table */
static inline struct range page_table_range(const struct page_table *table)
{
    return (struct range){0, table->n_pages};
}

/**
 * page_table_validate() - count again. O(n).
 *
 * Return: NULL when the counters are right and every byte is a state, else what is wrong (static).
 */
const char *page_table_validate(const struct page_table *table);

#endif
