/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is told what, in which order, when a peer is gone; and how a driver comes (hello) and revokes
 * (invalidate). */
#ifndef MUSE_SERVER_FLOW_LOSS_FLOW_H
#define MUSE_SERVER_FLOW_LOSS_FLOW_H

#include "server/flow/engine.h"

/** loss_client_gone() - the connection of @space's client is over: transactions end, mappings
 * close, files are released */
void loss_client_gone(struct space *space);

/** driver_misbehaved() - the driver answered nonsense: log it, cut it off. Its calls end later,
 * from the loop. */
void driver_misbehaved(struct driver *driver, const char *what);

/** driver_accept() - a driver connected. @fd: takes what it keeps. */
void driver_accept(struct engine *engine, int *fd);

/** object_completed() - no mmap_complete runs on the object any more: revokes that waited go on */
void object_completed(struct object *object);

#endif
