/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a file that others can write to, with a limit on the wait.
 *
 * write(2) holds the file's lock while it reads its source. A peer that was given a page cache to write
 * to can let it read from a page that never comes, and whoever wants to change the file waits, in a sleep
 * that nothing interrupts. So that it is not the server's thread that sleeps, changes of such files are
 * made by a worker. One that is late is given up, with its file: nothing more is changed in there.
 */
#ifndef MUSE_SERVER_STORE_GUARD_H
#define MUSE_SERVER_STORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"

#define GUARD_STUCK_MAX                                                                            \
    4u /* chosen: so many files can make the server wait before it gives no more away */

struct guard_worker;

struct guard {
    struct guard_worker *worker; /* owned, idle; NULL: none yet */
    struct list stuck;           /* struct guard_worker.node: owned, given up */
    unsigned n_stuck;
};

enum guard_kind {
    GUARD_ALLOCATE, /* fallocate(2) */
    GUARD_WRITE,    /* pwrite(2) */
    GUARD_TRUNCATE, /* ftruncate(2) */
};

/* What is to be done, to the end. */
struct guard_change {
    enum guard_kind kind;
    int fd;   /* borrowed; guard_run() keeps it when it gives up, and closes it later */
    int mode; /* ALLOCATE: FALLOC_FL_ */
    uint64_t offset, length; /* bytes; TRUNCATE: length is the size */
    const void *data;        /* WRITE: borrowed; copied */
};

/** guard_init() - in place; starts nothing */
void guard_init(struct guard *guard);

/** guard_done() - end the worker. One that is stuck stays: only its file's lock ends it. */
void guard_done(struct guard *guard);

/** guard_direct() - make a change at once, and wait as long as it takes. Return: 0 or -errno. */
MUST_CHECK int guard_direct(const struct guard_change *change);

/**
 * guard_run() - make a change by the worker
 *
 * Return: 0; -errno; -ETIMEDOUT: it was given up, and may happen at any time, or in part; -EAGAIN,
 * -ENOMEM: no worker, and nothing has happened.
 */
MUST_CHECK int guard_run(struct guard *guard, const struct guard_change *change);

/** guard_has_room() - whether so few changes are stuck that one more file may be given to strangers */
bool guard_has_room(struct guard *guard);

#endif
