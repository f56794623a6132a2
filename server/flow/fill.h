/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the fill path share: fill_flow.c (pages and runs), fill_driver.c (the fault
 * hook), fill_extents.c (reads), fault_flow.c and fault_show.c (who waits). For nobody else.
 */
#ifndef MUSE_SERVER_FLOW_FILL_H
#define MUSE_SERVER_FLOW_FILL_H

#include "server/flow/engine.h"

/* Why pages could not be had. */
struct fill_error {
    int error;        /* errno, positive */
    const char *hook; /* whose failure it was: "fault", "extents", "limit", "driver" */
    const char *text; /* one sentence or NULL; borrowed */
    bool is_final;    /* asking for less of it at a time is of no use */
};

/* ---- fill_flow.c ---- */

/**
 * fill_ask_for() - fill_ask() on behalf of a reader
 * @needed_end: pages below it somebody waits for
 * @reader:     whose stream it is, or NULL; copied
 *
 * The runs may be complete already when this returns: look at the page's state.
 */
MUST_CHECK int fill_ask_for(struct object *object, struct range pages, uint64_t needed_end,
                            const struct run_reader *reader);

/** fill_retry() - ask once more for a poisoned page. Return: as fill_ask(). */
MUST_CHECK int fill_retry(struct object *object, uint64_t page);

/**
 * fill_supplied() - the memfd holds the bytes of these pages
 * @pages:     inside the object
 * @id:        the request that brought them
 * @and_other: pages that this request was not made for are taken, too (the driver says they are
 *             good)
 *
 * Everybody who waits for one of them is shown it. Pages of a revoked run are dropped and, when
 * somebody waits, asked for again. What is valid already stays as it is.
 */
void fill_supplied(struct object *object, struct range pages, uint64_t id, bool and_other);

/**
 * fill_run_failed() - pages of a run cannot be had
 * @run:   in flight; may be freed in here
 * @pages: inside run->pages, not empty
 *
 * Several pages: those that somebody waits for are asked for again one by one, unless the error is
 * final. One page: poison for who waits. Nobody waits: absent again, silently.
 */
void fill_run_failed(struct object *object, struct run *run, struct range pages,
                     const struct fill_error *why);

/** fill_error_of() - what to say about a negative result of fill_ask() or such; texts into @buf */
struct fill_error fill_error_of(const struct object *object, int result, char *buf, size_t size);

/** fill_poison() - an absent, filling or poisoned page is poison now; whoever waits gets it */
void fill_poison(struct object *object, uint64_t page, const struct fill_error *why);

/** fill_poison_for() - the same. @space: whose touch it was, for the log; NULL: one that waits */
void fill_poison_for(struct object *object, uint64_t page, const struct fill_error *why,
                     const struct space *space);

/** fill_mark_poison() - the driver says beforehand that pages cannot be had: absent ones are poison,
 * so that no readahead asks for them; a touch elsewhere asks once more, as for all poison */
void fill_mark_poison(struct object *object, struct range pages, const struct fill_error *why);

/** fill_forget_valid() - the memfd lost a valid page: it is absent */
void fill_forget_valid(struct object *object, uint64_t page);

/* ---- fill_driver.c ---- */

/** fill_driver_ask() - ask for @run, in flight and on its driver's list, when the ring has room */
void fill_driver_ask(struct object *object, struct run *run);

/** fill_is_any_owed() - whether any driver owes pages */
bool fill_is_any_owed(const struct engine *engine);

/** fill_driver_watch() - see to it that the driver's first run has a deadline */
void fill_driver_watch(struct driver *driver);

/* ---- fill_extents.c ---- */

/** fill_extents_init() - the engine's part */
void fill_extents_init(struct engine *engine);

/** fill_extents_start() - read @run, at most STORE_BUFFER_BYTES long; holes are complete at once.
 * Return: 0; -ENOMEM, -ENOSPC. */
MUST_CHECK int fill_extents_start(struct object *object, const struct run *run);

/* ---- fault_show.c ---- */

/**
 * fault_show_part() - pages became valid: show them to who waits, and to the reader they are for
 * @batch:  waiters of these pages, in page order; all are dealt with
 * @reader: of the run
 */
void fault_show_part(struct object *object, struct range pages, struct list *batch,
                     const struct run_reader *reader);

/** fault_show_healed() - a page that was poison is valid: replace the poison in all mappings */
void fault_show_healed(struct object *object, uint64_t page);

/** fault_poison_waiters() - the pages of these waiters failed: SIGBUS. @error: -errno, for calls */
void fault_poison_waiters(struct object *object, struct list *batch, int error);

/** fault_show_complete() - all pages are valid: the object's mappings need no watching any more */
void fault_show_complete(struct object *object);

/** fault_show_track() - pages of the object are about to go: mappings of them are watched again.
 * Return: false: the kernel has no memory for it, and one stays native. */
bool fault_show_track(struct object *object, struct range pages);

/** vma_page_at() - the object page that lies at @addr, an address in @vma */
static inline uint64_t vma_page_at(const struct vma *vma, const struct object *object,
                                   uint64_t addr)
{
    return vma_pgoff_at(vma, addr) >> (object->page_shift - VMA_PAGE_SHIFT);
}

/** vma_addrs_of() - where object pages lie in @vma, cut to it; empty when it shows none of them */
struct range vma_addrs_of(const struct vma *vma, const struct object *object, struct range pages);

/* ---- fault_flow.c ---- */

/** fault_waiter_free() - takes a WAITER_FAULT that waits nowhere; drops its charge */
void fault_waiter_free(struct page_waiter *waiter);

/** fault_again() - look at a fault afresh: its mapping or its page changed while it waited */
void fault_again(struct space *space, uint64_t addr, bool write);

#endif
