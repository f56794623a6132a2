/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects that change their size: ftruncate, and writes behind the end. */
#ifndef MUSE_SERVER_FLOW_RESIZE_FLOW_H
#define MUSE_SERVER_FLOW_RESIZE_FLOW_H

#include "server/driver/driver_link.h"
#include "server/flow/engine.h"

/* One change of size under way. Embedded in who wants it. */
struct resize {
    struct driver_call call;
    struct file *file; /* ref while it runs */
    uint64_t size;
    /* called once, perhaps from inside resize_start(): 0 or -errno, and a sentence */
    void (*done)(struct resize *resize, int error, const char *text);
};

/** resize_is_possible() - whether its driver has the truncate hook, and lives */
bool resize_is_possible(const struct object *object);

/**
 * resize_start() - give an object another size: its driver first, then the page cache
 * @resize: done set by the caller
 * @size:   bytes; at most OBJECT_BYTES_MAX. The present one is fine.
 *
 * What shrinking cuts off is gone for every client: SIGBUS. Return: 0, done is or will be called;
 * -errno: it is not.
 */
MUST_CHECK int resize_start(struct resize *resize, struct file *file, uint64_t size);

/**
 * resize_make_hole() - the driver has punched @bytes, or zeroed them
 *
 * Whole pages are asked for again, and are zero then; the edges are zeroed in place.
 */
void resize_make_hole(struct object *object, struct range bytes);

#endif
