/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdtgroup_mutex: one lock for all groups, held from a successful mmap_prepare until its complete or
 * abort. Nobody's thread waits for it: a prepare that finds it held is deferred, and goes on when it
 * is its turn. Only the main thread calls these; `status` may look from another.
 */
#ifndef MUSE_DRIVERS_PSEUDOLOCK_LOCK_H
#define MUSE_DRIVERS_PSEUDOLOCK_LOCK_H

#include <muse/driver.h>
#include <stdatomic.h>

#include "common/base/list.h"
#include "common/base/must.h"

struct lock {
    struct list waiting;   /* struct waiter.node, first come first */
    atomic_int owner;      /* the client's pid; 0: free */
    atomic_uint n_waiting; /* entries of waiting */
    /* what prepare does under the lock; 0: it stays held; else it is free again */
    int (*prepare)(struct muse_vma_desc *desc);
};

/** lock_init() - free; @prepare: as in struct lock */
void lock_init(struct lock *lock, int (*prepare)(struct muse_vma_desc *desc));

/** lock_done() - who still waits is told -ESHUTDOWN */
void lock_done(struct lock *lock);

/** lock_prepare() - in mmap_prepare: prepare now, or when the lock is free. Return: the hook's
 * value; -ENOMEM. */
MUST_CHECK int lock_prepare(struct lock *lock, struct muse_vma_desc *desc);

/** lock_release() - in complete and abort: it is free, and the next one's turn */
void lock_release(struct lock *lock);

#endif
