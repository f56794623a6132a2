/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that talks to HTTP servers: ranges for faults, and the first range of what is opened. Several
 * transfers are under way at a time, over connections that are used again.
 *
 * Every answer is checked against the object's version (answer.h) before a byte of it is used. What fails
 * in a way that may pass is asked for again, after a wait that doubles, as long as somebody waits.
 */
#ifndef MUSE_DRIVERS_HTTP_FETCH_H
#define MUSE_DRIVERS_HTTP_FETCH_H

#include <muse/driver.h>
#include <stdint.h>

#include "common/base/must.h"
#include "drivers/http/answer.h"
#include "drivers/http/url.h"

#define FETCH_NAME_SHOWN 128 /* bytes of a name in a sentence: what follows must have room */

struct fetch;

/* What a fault reads. */
struct fetch_object {
    const char *name; /* for sentences */
    const char *url;
    struct version version;
};

/* The first look at a URL. */
struct fetch_first {
    const char *name; /* for sentences */
    char url[URL_BYTES_MAX];
    /* On the thread, once. @error: 0, or -errno with a sentence set. The first look is the callee's to
     * free. */
    void (*done)(struct fetch_first *first, int error);
    struct version version;
    int64_t mtime_s; /* Last-Modified; 0: unknown */
};

/** fetch_start() - @patience_ns: how long anybody waits for an answer. Return: 0; -errno. */
MUST_CHECK int fetch_start(struct fetch **ret_fetch, uint64_t patience_ns);

/** fetch_stop() - end the thread; what is under way fails. NULL is a no-op. Return: NULL. */
struct fetch *fetch_stop(struct fetch *fetch);

/**
 * fetch_read() - supply the pages of a fault, and end it. Any thread.
 * @object: stays until the fault has ended
 *
 * Return: 0; -ENOMEM.
 */
MUST_CHECK int fetch_read(struct fetch *fetch, struct muse_fault *fault,
                          const struct fetch_object *object);

/** fetch_look() - find out what there is at first->url. Any thread. Return: 0; -ENOMEM. */
MUST_CHECK int fetch_look(struct fetch *fetch, struct fetch_first *first);

#endif
