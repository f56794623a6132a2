/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty pages go back to their driver: in clusters, several at a time, when somebody syncs, when they
 * have been dirty for long enough, when their last writer goes, and before the server ends.
 */
#ifndef MUSE_SERVER_FLOW_WRITEBACK_H
#define MUSE_SERVER_FLOW_WRITEBACK_H

#include "server/flow/engine.h"

/* Waits until what was dirty in some pages at its start has been written back. Embedded in who
 * waits. */
struct sync {
    struct list node;      /* in object.wb.syncs while it runs */
    struct object *object; /* ref while it runs */
    struct range pages;
    uint64_t cursor;    /* everything below was asked for */
    uint64_t start_seq; /* what was under way when it started has a lower or equal number */
    uint64_t end_seq;   /* what it has to wait for as well, once the cursor is at the end */
    bool is_compared;   /* what settles was looked at, after the runs that were under way */
    bool is_asked;      /* the cursor is at the end */
    int error;          /* 0, or -ETIMEDOUT: an earlier writeback of these pages is not answered */
    uint64_t since_ns;
    const char *what;          /* set by the caller, for people: "msync" ... */
    const struct space *space; /* likewise: for whom, NULL: for nobody; outlives the sync */
    /* called once, never from inside sync_start(); the driver's errors are in object.wb.error */
    void (*done)(struct sync *sync);
};

/**
 * sync_start() - write back what is dirty now
 * @pages: of the object, clipped to it
 * @sync:  done, what and space set by the caller, the rest is set here
 *
 * Return: whether it runs, and done() will be called; false: nothing was dirty, the driver takes
 * nothing back, or it is over with an error (sync.error) already.
 */
MUST_CHECK bool sync_start(struct sync *sync, struct object *object, struct range pages);

/** sync_cancel() - done() is not called any more; what is under way goes on. A no-op when idle. */
void sync_cancel(struct sync *sync);

/** object_takes_pages_back() - whether its driver has the writeback hook */
bool object_takes_pages_back(const struct object *object);

/** object_dirty() - pages, valid ones, are about to be written to: clean and written ones become
 * dirty. The object stays until they are clean again. */
void object_dirty(struct object *object, struct range pages);

/**
 * writeback_is_busy() - whether some of @pages are being written back
 *
 * Return: 1 yes: resize_go_on() is called when that ends; 0 no; -ETIMEDOUT the driver has not
 * answered about them in time.
 */
MUST_CHECK int writeback_is_busy(const struct object *object, struct range pages);

/** writeback_go_on() - pages that could not be written back for resize_border() may be now */
void writeback_go_on(struct object *object);

/** writeback_dirty_bytes() - what is dirty, or on its way to a driver, in all objects */
uint64_t writeback_dirty_bytes(const struct engine *engine);

/** writeback_kick() - somebody who wrote has gone: write back soon */
void writeback_kick(struct object *object);

/** writeback_soon() - its dirty pages are due, in a later turn */
void writeback_soon(struct object *object);

/** writeback_hold(), writeback_unhold() - a client writes to the file itself between these two: what
 * is written back meanwhile stays dirty. @hold: in place, linked until unhold. */
struct wb_hold {
    struct list node;
    struct range pages;
};
void writeback_hold(struct object *object, struct wb_hold *hold, struct range pages);
void writeback_unhold(struct object *object, struct wb_hold *hold);

/** writeback_driver_gone() - the driver died: what is dirty cannot be written any more */
void writeback_driver_gone(struct driver *driver);

/** writeback_flush() - the server ends: write everything back now. Return: whether something is
 * under way or dirty still; call again. */
bool writeback_flush(struct engine *engine);

/** writeback_dropped() - pages left the object without being written back: without dirty ones it is
 * held no longer. The caller has a reference. */
void writeback_dropped(struct object *object);

/** writeback_validate() - runs, and whether it is held as it should be. Return: NULL, or what is wrong
 * (static). */
const char *writeback_validate(const struct object *object);

/** writeback_n_refs() - references of the object that its dirty pages, runs and syncs are */
uint64_t writeback_n_refs(const struct object *object);

/** writeback_object_init(), writeback_object_done() - the object's part, in place */
void writeback_object_init(struct object *object);
void writeback_object_done(struct object *object);

/**
 * file_take_error() - the error of writing back since this file was told last: each file is told once
 *
 * Return: 0 or -errno.
 */
int file_take_error(struct file *file);

#endif
