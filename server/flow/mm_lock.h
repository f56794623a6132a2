/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A space's mmap write lock: one map call at a time, FIFO, given up by the client's death. Logical
 * and asynchronous: nothing blocks, faults go on.
 */
#ifndef MUSE_SERVER_FLOW_MM_LOCK_H
#define MUSE_SERVER_FLOW_MM_LOCK_H

#include "server/flow/engine.h"

/* A call that changes the space. Embedded in map_request, unmap_request. */
struct mm_request {
    struct list queued;  /* in space.mm_queue while it waits */
    struct space *space; /* ref */
    uint64_t id;         /* the client's request id */
    const char *what;    /* "map", "unmap": for people */
    uint64_t since_ns;
    void (*granted)(struct mm_request *request);
    /* the client died while this waited or held the lock */
    void (*client_gone)(struct mm_request *request);
};

/** mm_lock() - queue; granted() runs when the lock is ours, perhaps before this returns */
void mm_lock(struct mm_request *request);

/** mm_unlock() - give the lock up, or leave the queue; the next one runs. A no-op when neither. */
void mm_unlock(struct mm_request *request);

#endif
