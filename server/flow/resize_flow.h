/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects that change their size: ftruncate, and writes behind the end; or get holes. */
#ifndef MUSE_SERVER_FLOW_RESIZE_FLOW_H
#define MUSE_SERVER_FLOW_RESIZE_FLOW_H

#include "server/driver/driver_link.h"
#include "server/flow/engine.h"

/* One change of size, or fallocate. Those of an object happen one after the other. Embedded in who wants it. */
struct resize {
    struct list node; /* in object.resizes while it runs; the first one is under way */
    struct driver_call call;
    struct file *file; /* ref while it runs */
    uint64_t size;     /* fallocate: where its range begins */
    struct range bytes;
    uint32_t mode; /* FALLOC_FL_* */
    uint64_t since_ns;
    bool is_fallocate;
    bool only_grows; /* set by the caller: an object that is larger when its turn comes stays so */
    bool is_asked;   /* the driver has been */
    /* called once, perhaps from inside resize_start(): 0 or -errno, and a sentence */
    void (*done)(struct resize *resize, int error, const char *text);
};

/** resize_is_possible() - whether its driver has the truncate hook, and lives */
bool resize_is_possible(const struct object *object);

/**
 * resize_start() - give an object another size: its driver first, then the page cache
 * @resize: done and only_grows set by the caller
 * @size:   bytes; at most OBJECT_BYTES_MAX. The present one is fine.
 *
 * What shrinking cuts off is gone for every client: SIGBUS. Return: 0, done is or will be called;
 * -errno: it is not.
 */
MUST_CHECK int resize_start(struct resize *resize, struct file *file, uint64_t size);

/** resize_start_fallocate() - have the driver do fallocate, then the same to the page cache. @resize: done
 * set by the caller. Nothing of the range is written back meanwhile: older bytes must not land in a hole. */
void resize_start_fallocate(struct resize *resize, struct file *file, uint32_t mode,
                            struct range bytes);

/** resize_tell() - the driver is told what size the object has, where that can change: a change that the
 * driver has agreed to may have come to nothing */
void resize_tell(struct object *object);

/**
 * resize_grow() - the driver has made its object larger by itself
 * @size: bytes; what is no more than the object has does nothing
 *
 * Return: 0; -EOPNOTSUPP an object that keeps its size; -EFBIG; -ENOMEM.
 */
MUST_CHECK int resize_grow(struct object *object, uint64_t size);

/** resize_go_on() - what an object's next change of size waits for may be over */
void resize_go_on(struct object *object);

/** resize_border() - pages from here on are not written back now: the object may be about to end
 * there, or to get a hole */
uint64_t resize_border(const struct object *object);

/** resize_end() - the size that an object has after all changes of it that were asked for, if none fails */
uint64_t resize_end(const struct object *object);

#endif
