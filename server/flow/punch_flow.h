/* SPDX-License-Identifier: BSD-3-Clause */
/* Holes in objects for mappings: MADV_REMOVE. */
#ifndef MUSE_SERVER_FLOW_PUNCH_FLOW_H
#define MUSE_SERVER_FLOW_PUNCH_FLOW_H

#include "server/flow/engine.h"

struct punch;

/**
 * punch_start() - bytes of an object become zeros, for everybody
 * @file:      of the object
 * @bytes:     cut to the object
 * @space:     for whom; its uid is charged for a request
 * @done:      called once, not from inside here: 0 or -errno
 * @ret_punch: until @done
 *
 * What is dirty there goes to the driver first, so that nothing older lands on the zeros; then the
 * driver is asked to punch.
 *
 * Return: 0, @done will be called; 1 there is nothing in the object to be punched; -EOPNOTSUPP,
 * -EIO, -EAGAIN, -ENOMEM.
 */
MUST_CHECK int punch_start(struct file *file, struct range bytes, struct space *space,
                           void (*done)(void *ctx, int error), void *ctx, struct punch **ret_punch);

/** punch_orphan() - done is not called any more. What the driver was asked for is seen through. */
void punch_orphan(struct punch *punch);

#endif
