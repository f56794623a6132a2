/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is told what, in which order, when a peer is gone; how a driver comes (hello) and revokes. */
#ifndef MUSE_SERVER_FLOW_LOSS_FLOW_H
#define MUSE_SERVER_FLOW_LOSS_FLOW_H

#include "server/flow/engine.h"

/** loss_client_gone() - @space's client is gone: transactions end, mappings close, files go */
void loss_client_gone(struct space *space);

/**
 * driver_misbehaved() - it answered nonsense: log it, cut it off. Its calls end later.
 * @space: the client it was about, or NULL
 * @hook:  in whose answer
 * @what:  one sentence; its clients get it, with EREMOTEIO
 */
void driver_misbehaved(struct driver *driver, const struct space *space, const char *hook,
                       const char *what);

/**
 * driver_gone_error() - what the loss of a driver is to those who waited for it
 * @ret_text: one sentence; borrowed from @driver
 *
 * Return: -EREMOTEIO it was cut off for what it sent; -EIO it died.
 */
int driver_gone_error(const struct driver *driver, const char **ret_text);

/** driver_accept() - a driver connected. @fd: takes what it keeps. */
void driver_accept(struct engine *engine, int *fd);

/** object_completed() - no mmap_complete runs on the object any more: revokes that waited go on */
void object_completed(struct object *object);

#endif
