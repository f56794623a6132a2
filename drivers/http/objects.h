/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients have open: one object for each URL in each version that was seen. Opens of an unchanged
 * object share its pages; one that has changed gets a new object, and the old one keeps failing. Has a
 * lock: opens end on the fetching thread, objects on the main thread.
 */
#ifndef MUSE_DRIVERS_HTTP_OBJECTS_H
#define MUSE_DRIVERS_HTTP_OBJECTS_H

#include <pthread.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "drivers/http/fetch.h"

struct http_object {
    struct list node;
    uint64_t key;
    int64_t mtime_s;
    struct fetch_object what; /* its texts are owned */
};

struct http_objects {
    pthread_mutex_t lock;
    struct list all; /* owned */
    uint64_t next_key;
};

/** objects_init() - none */
void objects_init(struct http_objects *objects);

/** objects_done() - frees all */
void objects_done(struct http_objects *objects);

/**
 * objects_get() - the object that a first look has found; made when there is none
 * @ret_object: stays until objects_drop() of its key
 *
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int objects_get(struct http_objects *objects, const struct fetch_first *first,
                           struct http_object **ret_object);

/** objects_drop() - nobody uses it any more. An unknown key is ignored. */
void objects_drop(struct http_objects *objects, uint64_t key);

#endif
