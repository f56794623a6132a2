/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One io_uring on the loop. Operations are collected and submitted once at the end of the turn;
 * what completes inline is reaped at once. Owns the ring; an operation is embedded in whoever asked
 * and completes exactly once, never before the call that requested it has returned.
 */
#ifndef MUSE_SERVER_LOOP_RING_H
#define MUSE_SERVER_LOOP_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <liburing.h>

#include "common/base/must.h"
#include "server/loop/loop.h"

#define RING_OP_MAGIC 0x72696e67u

struct ring_op {
    uint32_t magic;                                /* RING_OP_MAGIC while in flight */
    void (*done)(struct ring_op *op, int32_t res); /* bytes or -errno */
    struct list queued;                            /* waits for a free submission entry */
    bool is_populate;                              /* ring_populate(), else ring_read() */
    int fd;
    void *buf;
    uint32_t n_bytes;
    uint64_t offset;
};

struct ring {
    struct io_uring uring;
    struct loop *loop;
    struct watcher watcher; /* on the ring's own fd */
    struct turn_hook turn;  /* added while something waits to be submitted, so that it runs last */
    struct deadline retry;  /* the kernel refused a submission for lack of memory */
    struct list backlog;    /* ops the submission queue had no room for, in order */
    unsigned n_unsubmitted;
    unsigned n_in_flight; /* given to the uring, not done; at most its completion entries */
    bool is_reaping;
    void (*closed)(struct ring *ring);
};

/**
 * ring_init() - make the uring and watch it
 * @loop:      borrowed, outlives the ring
 * @n_entries: submission entries, a power of two; twice as many operations are in flight at most,
 *             more wait here
 *
 * Return: 0 or -errno (ENOSYS, EPERM: no io_uring here).
 */
MUST_CHECK int ring_init(struct ring *ring, struct loop *loop, unsigned n_entries);

/** ring_close() - no operation may be in flight or waiting; memory may go when @closed ran */
void ring_close(struct ring *ring, void (*closed)(struct ring *ring));

/**
 * ring_read() - read from a file; never fails itself
 * @op:      ->done set by the caller, the rest zero or left by an earlier use; borrowed until done
 *           begins
 * @fd:      borrowed until done ran
 * @buf:     @n_bytes long; borrowed until done ran
 * @n_bytes: what done is told may be less
 * @offset:  in the file, bytes
 */
void ring_read(struct ring *ring, struct ring_op *op, int fd, void *buf, uint32_t n_bytes,
               uint64_t offset);

/**
 * ring_populate() - make memory of ours present, by a worker of the kernel: MADV_POPULATE_WRITE
 * @op:     as for ring_read(); done is told 0 or -errno
 * @memory: page aligned; stays mapped until done ran. mmap(2) of ours may wait for the worker
 * @n_bytes: pages
 */
void ring_populate(struct ring *ring, struct ring_op *op, void *memory, uint32_t n_bytes);

/**
 * ring_submit() - submit what was collected and reap what is complete, now, not at the turn's end
 *
 * Done callbacks run in here (not when called from one of them: then it only submits).
 */
void ring_submit(struct ring *ring);

#endif
