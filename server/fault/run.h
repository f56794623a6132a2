/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * run.h - the page runs of one object that are in flight, and who waits for which page
 *
 *   object pages   0 . . . . [ run 7: 4..12 )[ run 9: 12..20 ) . . . [ run 8: 31..32 ) . .
 *   waiters                    4     9                                  31 31
 *
 * A run is a range of pages that somebody was asked for; every page of it is FILLING in the page
 * table. Runs do not overlap. Answers may come in parts and in any order: an answered part is cut
 * out of its run, whose rest stays; a part from the middle makes two runs with the same request id.
 *
 * Waiters stand in a tree of their own, by (page, space, address): cutting a run moves no waiter,
 * a repeated fault is found in O(log n), and a completed range yields its waiters in page order.
 *
 * Owns nothing: runs and waiters are embedded in, or allocated by, the caller (server/flow).
 */
#ifndef MUSE_SERVER_FAULT_RUN_H
#define MUSE_SERVER_FAULT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/range.h"
#include "common/base/rbtree.h"

/* Conditions: callers handle these. */
enum {
    RUN_E_JOINED = 1, /* the same (page, space, address) waits already */
    RUN_E_NO_SPARE,   /* a cut from the middle needs a second run */
};

struct run_table {
    struct rb_root runs;    /* by pages.start */
    struct rb_root waiters; /* by page, space, addr */
    uint64_t n_runs;
    uint64_t n_waiters;
};

/* Whose stream a run was asked ahead for: its pages are shown there as soon as they are valid. */
struct run_reader {
    uint64_t space_id; /* 0: nobody's */
    uint64_t vma_id;
    uint64_t addr; /* an address in that VMA */
};

struct run {
    struct rb_node node;
    struct list owner_link; /* in driver.runs, oldest deadline first; parts of a run side by side */
    void *owner;            /* borrowed: the object */
    uint64_t id;            /* of the request; parts of a cut run share it */
    struct range pages;     /* object pages still FILLING; not empty while in the table */
    uint64_t needed_end;    /* pages below it somebody waited for when it was asked */
    uint64_t asked_ns;      /* when somebody was asked, or it got in line for that */
    uint64_t deadline_ns;   /* when it counts as failed; 0: never */
    struct run_reader reader;
    bool sent;  /* whoever is to answer knows of it; else it waits for room in the ring */
    bool stale; /* revoked while in flight: what comes is not to be shown */
};

enum waiter_kind {
    WAITER_FAULT, /* a thread of a client */
    WAITER_CALL   /* somebody in the server */
};

struct page_waiter {
    struct rb_node node;
    struct list space_link; /* FAULT: in space.waiters until it is freed; the caller's business */
    struct list batch; /* in one list at a time: those that run_table_take_waiters() took out */
    struct run_table *table; /* where it waits; NULL: nowhere */
    enum waiter_kind kind;
    uint64_t page; /* object page */
    void *space;   /* FAULT: borrowed, opaque */
    uint64_t vma_id;
    uint64_t addr; /* FAULT: bytes, aligned to the object's page */
    bool write;
    uint64_t since_ns;
    /* CALL: the page's fate is known: 0, or -errno. Only note it, and act in a later turn. */
    void (*done)(struct page_waiter *waiter, int error);
};

/** run_table_init() - nothing in flight; in place */
void run_table_init(struct run_table *table);

/** run_table_is_idle() - no run and no waiter: the object may go */
bool run_table_is_idle(const struct run_table *table);

/**
 * run_init() - a run that is in no table
 * @owner: borrowed by the run
 * @id:    of the request
 * @pages: object pages, not empty
 */
void run_init(struct run *run, void *owner, uint64_t id, struct range pages);

/** run_table_insert() - @run, in no table, is in flight from now on; it overlaps no other (MUST) */
void run_table_insert(struct run_table *table, struct run *run);

/** run_table_find() - the run that holds @page; borrowed; or NULL */
struct run *run_table_find(const struct run_table *table, uint64_t page);

/** run_table_find_next() - the lowest run that ends above @page; borrowed; or NULL */
struct run *run_table_find_next(const struct run_table *table, uint64_t page);

/** run_next() - the run above @run in its table; borrowed; or NULL */
struct run *run_next(const struct run *run);

/** run_cut_needs_spare() - whether cutting @pages out of @run leaves two parts */
bool run_cut_needs_spare(const struct run *run, struct range pages);

/**
 * run_table_cut() - some pages of a run are not in flight any more
 * @run:   in @table; shrinks; when nothing is left it is out of the table and off its owner's list,
 *         the caller's to free
 * @pages: inside run->pages, not empty
 * @spare: any memory when run_cut_needs_spare(): becomes the upper part, a copy of @run right
 *         behind it in the owner's list; else it stays the caller's and may be NULL
 *
 * Return: whether @run is finished.
 */
bool run_table_cut(struct run_table *table, struct run *run, struct range pages, struct run *spare);

/** waiter_init() - @waiter waits for nothing yet; all else zero */
void waiter_init(struct page_waiter *waiter, enum waiter_kind kind);

/** waiter_is_waiting() - whether it is in a table */
static inline bool waiter_is_waiting(const struct page_waiter *waiter)
{
    return waiter->table != NULL;
}

/**
 * run_table_join() - wait for a page
 * @waiter: page and, for a fault, space and addr set; stays the caller's, linked until it is taken
 *          out or leaves
 *
 * Return: 0; RUN_E_JOINED when the same fault waits already: @waiter is not linked then.
 */
MUST_CHECK int run_table_join(struct run_table *table, struct page_waiter *waiter);

/** run_table_has_fault() - does the fault (page, space, addr) wait already? Before allocating. */
bool run_table_has_fault(const struct run_table *table, uint64_t page, const void *space,
                         uint64_t addr);

/** run_table_leave() - @waiter waits no more; a no-op when it does not wait */
void run_table_leave(struct page_waiter *waiter);

/** run_table_first_waiter() - the first who waits for @page or a later one; borrowed; or NULL */
struct page_waiter *run_table_first_waiter(const struct run_table *table, uint64_t page);

/** waiter_next() - the next one of its table, by page; borrowed; or NULL */
struct page_waiter *waiter_next(const struct page_waiter *waiter);

/** run_table_waited() - the lowest page of @pages that somebody waits for; pages.end when none */
uint64_t run_table_waited(const struct run_table *table, struct range pages);

/**
 * run_table_take_waiters() - take out everybody who waits for one of these pages
 * @pages: object pages
 * @batch: head; they are appended by page_waiter.batch, in page order
 */
void run_table_take_waiters(struct run_table *table, struct range pages, struct list *batch);

/**
 * run_table_validate() - check order, overlap and counters. O(n).
 *
 * Return: NULL when all hold, else what does not (static).
 */
const char *run_table_validate(const struct run_table *table);

#endif
