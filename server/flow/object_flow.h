/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects: made by the first open of a key, shared by later ones; where their bytes come from. */
#ifndef MUSE_SERVER_FLOW_OBJECT_FLOW_H
#define MUSE_SERVER_FLOW_OBJECT_FLOW_H

#include "common/ipc/chan.h"
#include "proto/driver.pb-c.h"
#include "server/flow/engine.h"

/**
 * object_get() - the object an open led to: the one that has the key, or a new one
 * @opened:  the driver's answer, untrusted
 * @frame:   brings the extents' fds; those used are taken
 * @path:    for people
 * @uid:     charged for a new one
 * @ret_why: on failure: a static sentence
 *
 * Return: 0, a reference in @ret_object; -EREMOTEIO the answer is nonsense; -EDQUOT, -ENOMEM,
 * -EMFILE.
 */
MUST_CHECK int object_get(struct driver *driver, const Muse__Wire__DriverOpened *opened,
                          struct frame *frame, const char *path, uid_t uid,
                          struct object **ret_object, const char **ret_why);

/**
 * object_set_extents() - the object's bytes are where these extents say
 *
 * From open's answer, or MUSE_ACTION_EXTENTS. Checks order, overlap and bounds; takes the fds from
 * @frame. An object that has extents already keeps them; they count as said once more.
 *
 * Return: 0; -EREMOTEIO, -ENOMEM.
 */
MUST_CHECK int object_set_extents(struct object *object, Muse__Wire__Extent *const *extents,
                                  size_t n_extents, struct frame *frame, const char **ret_why);

/**
 * object_unset_extents() - the map that said them has failed
 *
 * When nobody else said them the bytes come from the fault hook again. What is valid stays; what is
 * being read is dropped when it comes, and asked for again where somebody waits.
 */
void object_unset_extents(struct object *object);

/* Why a page cache is stuck, for people. */
#define OBJECT_STUCK_TEXT "a program that may write to it holds the lock of its page cache"

/** object_writable_fd() - the page cache for who may write to it, a client or driver of @uid. Return:
 * borrowed; -errno, no descriptor is free. */
int object_writable_fd(struct object *object, uid_t uid);

/** object_may_be_given() - whether one more peer of @uid may have it to write to: not when such peers hold
 * the locks of several page caches already */
bool object_may_be_given(struct object *object, uid_t uid);

/** object_stuck() - for store.on_stuck: no page of it comes any more; those that are there can be used and
 * written back */
void object_stuck(struct backing *backing);

#endif
