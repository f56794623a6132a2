/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is told what, in which order, when a peer is gone; how a driver comes (hello) and revokes. */
#ifndef MUSE_SERVER_FLOW_LOSS_FLOW_H
#define MUSE_SERVER_FLOW_LOSS_FLOW_H

#include "server/flow/engine.h"

/** loss_client_gone() - @space's client is gone: transactions end, mappings close, files go */
void loss_client_gone(struct space *space);

/** driver_misbehaved() - it answered nonsense: log it, cut it off. Its calls end later. */
void driver_misbehaved(struct driver *driver, const char *what);

/** driver_accept() - a driver connected. @fd: takes what it keeps. */
void driver_accept(struct engine *engine, int *fd);

/** object_completed() - no mmap_complete runs on the object any more: revokes that waited go on */
void object_completed(struct object *object);

#endif
