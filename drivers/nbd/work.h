/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the connection's thread has to do: jobs (a fault, a writeback, a flush), each of them cut into
 * pieces, and a slot with a buffer for each piece that is under way. Used by that thread alone.
 *
 *    read:   piece -> slot: requests to the server -> page cache -> next piece ... -> fault done
 *    write:  piece -> slot: from the page cache, requests ... -> all written -> a flush -> answered
 *
 * A writeback is answered when a flush that began after its last byte has ended, on the same
 * connection: what was answered is durable, and what was not comes again on the next connection. So
 * no connection's end loses a byte that the server of the pages believes written.
 */
#ifndef MUSE_DRIVERS_NBD_WORK_H
#define MUSE_DRIVERS_NBD_WORK_H

#include <libnbd.h>
#include <muse/driver.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "drivers/nbd/peer.h"

#define N_SLOTS       16u /* chosen: four windows of readahead in whole pieces */
#define N_READ_SLOTS  12u /* so that neither kind of work waits for the other one's end */
#define N_WRITE_SLOTS 8u

enum job_kind { JOB_READ, JOB_WRITE, JOB_FLUSH };

enum job_state {
    JOB_ACTIVE,   /* pieces are under way, or wait for a slot */
    JOB_WRITTEN,  /* waits for the next flush; a flush job begins here */
    JOB_FLUSHING, /* the flush under way is for it, too */
};

struct job {
    struct list node; /* in work.jobs, or on its way there */
    enum job_kind kind;
    enum job_state state;
    struct muse_fault *fault;        /* read; NULL: ended already, too late */
    struct muse_writeback writeback; /* write */
    struct muse_request *request;    /* write, flush */
    struct range bytes;              /* of the export; reads: whole pages and blocks */
    struct range needed;             /* of these: somebody waits */
    uint64_t next;                   /* the first byte that no slot has had yet */
    unsigned n_slots;
    int error; /* write: the first one */
    struct range error_bytes;
    uint64_t deadline_ns; /* read, flush: then it fails */
};

struct slot {
    struct work *work;
    struct job *job; /* NULL: free */
    uint8_t *buffer; /* of work->buffers */
    struct range piece;
    struct range chunk; /* of the piece: what is asked for at a time */
    uint64_t sent;      /* of the chunk, up to here */
    unsigned n_flying;  /* requests */
    int error;          /* what the server answered */
    bool is_careful;    /* a longer chunk has failed: page by page, to find out which */
    uint64_t sent_ns;
};

struct work {
    const struct export_info *info; /* borrowed */
    uint64_t patience_ns;
    struct list jobs;
    struct slot slots[N_SLOTS];
    unsigned n_busy, n_reading;
    uint8_t *buffers; /* owned */
    bool is_flushing, has_flushed;
    int flush_error;
    uint64_t flush_sent_ns;
};

/** work_init() - nothing to do. Return: 0; -ENOMEM. */
MUST_CHECK int work_init(struct work *work, const struct export_info *info, uint64_t patience_ns);

/** work_done() - answers what is left with -EIO. No connection may stand any more. */
void work_done(struct work *work);

/** work_add() - takes @job, of job_new_*() */
void work_add(struct work *work, struct job *job, uint64_t now_ns);

/**
 * work_go_on() - take in what the server has answered, send what can be sent
 * @handle: ready
 *
 * Return: 0; -ESHUTDOWN, -ENOTCONN the connection is of no use any more.
 */
MUST_CHECK int work_go_on(struct work *work, struct nbd_handle *handle, uint64_t now_ns);

/** work_lost() - the connection has ended: what was under way begins again with the next one */
void work_lost(struct work *work);

/** work_is_stuck() - whether a request has had no answer for too long */
bool work_is_stuck(const struct work *work, uint64_t now_ns);

/** work_expire() - what waits past its deadline fails with EIO. @why: there is no connection; or "" */
void work_expire(struct work *work, uint64_t now_ns, const char *why);

/** work_next_ns() - when work_is_stuck() or work_expire() have to be asked; UINT64_MAX: not at all */
uint64_t work_next_ns(const struct work *work);

/** job_new_read() - a fault. Return: NULL: no memory. */
struct job *job_new_read(struct muse_fault *fault, const struct blocks *blocks);

/** job_new_write() - a writeback that was deferred as @request. Return: NULL: no memory. */
struct job *job_new_write(const struct muse_writeback *writeback, struct muse_request *request,
                          const struct blocks *blocks);

/** job_new_flush() - an fsync that was deferred as @request. Return: NULL: no memory. */
struct job *job_new_flush(struct muse_request *request);

#endif
