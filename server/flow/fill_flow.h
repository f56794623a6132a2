/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How bytes get into an object's page cache: runs of pages are claimed in the page table, read
 * through io_uring (extents), asked of the driver (fill), or zeroed (holes of extents); when they
 * are valid, everybody who waits is told at once.
 */
#ifndef MUSE_SERVER_FLOW_FILL_FLOW_H
#define MUSE_SERVER_FLOW_FILL_FLOW_H

#include "proto/fill_ring.h"
#include "server/flow/engine.h"

/* Waits until all of a range of pages is valid or one of them failed. Embedded in who waits. */
struct fill_wait {
    struct list node;      /* in engine.fill_waits while pending */
    struct object *object; /* ref while pending */
    struct range pages;    /* object pages still to be looked at: [next, end) */
    uint64_t next_page;
    struct page_waiter waiter; /* on the run that holds next_page up */
    struct deadline again;     /* goes on in the next turn: others had better have theirs */
    bool pending;
    bool needs_room;           /* next_page cannot be asked for: the cache is full of dirty pages */
    uint64_t since_ns;         /* of this wait */
    const char *what;          /* set by the caller, for people: "pread" ... */
    const struct space *space; /* likewise: for whom; borrowed, outlives the wait */
    int error;                 /* of next_page: 0 or -errno */
    /* called once, never from inside fill_wait_start(): error 0 or -errno, of failed_page */
    void (*done)(struct fill_wait *wait, int error, uint64_t failed_page);
};

/**
 * fill_wait_start() - make pages valid: populate, prefault, pread
 * @pages: object pages, inside the object
 * @wait:  done, what and space set by the caller, the rest is set here
 *
 * Asks in windows of 2 MiB, two ahead.
 *
 * Return: 1 all valid already (done is not called); 0 started, done will be called; else -errno,
 * done is not called: the first page that is missing cannot even be asked for (-ENOMEM, -EDQUOT,
 * -EIO, -ENXIO).
 */
MUST_CHECK int fill_wait_start(struct object *object, struct range pages, struct fill_wait *wait);

/** fill_wait_cancel() - done is not called any more; a no-op when not pending */
void fill_wait_cancel(struct fill_wait *wait);

/**
 * fill_ask() - claim the absent pages of @pages and start getting them
 * @pages:    object pages, clipped to the object; already valid or filling ones are skipped over
 * @n_needed: of these, from the start, somebody waits for
 *
 * Over the cache limit of the uid or the server what nobody waits for is left out first.
 *
 * Return: 0 (also when there was nothing to claim); -ENOMEM; -EDQUOT over the cache limit; -EIO its
 * driver is dead; -ENXIO its driver has neither extents for it nor a fault hook.
 */
MUST_CHECK int fill_ask(struct object *object, struct range pages, uint64_t n_needed);

/** fill_answers() - the driver's eventfd woke us: take and check answers, so many a turn */
void fill_answers(struct driver *driver, struct fill_ring *ring);

/** fill_failed() - the driver says that pages of a run cannot be had (FaultFailed).
 * @error: -errno. Unknown requests are ignored. */
void fill_failed(struct driver *driver, uint64_t request_id, uint64_t first_page, uint64_t n_pages,
                 int error, const char *text);

/** fill_driver_gone() - all it owed fails with EIO; its objects are lost: absent becomes poison */
void fill_driver_gone(struct driver *driver);

/** fill_runs_stale() - what is under way is not the object's bytes any more: dropped when it comes */
void fill_runs_stale(struct object *object);

/** fill_invalidate() - forget pages (revoke): punched, absent again; the next touch asks.
 * Pages being filled: dropped when they come. */
void fill_invalidate(struct object *object, struct range pages);

/** fill_discard() - these pages are not part of the object any more, or something else: whatever
 * their state, written or not, they are absent afterwards */
void fill_discard(struct object *object, struct range pages);

/** fill_zero_bytes() - zero parts of pages, where they are valid; @bytes may be empty */
void fill_zero_bytes(struct object *object, struct range bytes);

/**
 * fill_object_init(), fill_object_done() - the object's runs, page table and poison
 *
 * done: no run and no waiter is left (refs guarantee it); gives the cache charge back; a no-op when
 * init failed or never ran on the zeroed object.
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int fill_object_init(struct object *object);
void fill_object_done(struct object *object);

#endif
