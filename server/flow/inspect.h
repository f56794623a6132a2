/* SPDX-License-Identifier: BSD-3-Clause */
/* What admins see through the control socket, and the few knobs. Never blocks or asks a driver. */
#ifndef MUSE_SERVER_FLOW_INSPECT_H
#define MUSE_SERVER_FLOW_INSPECT_H

#include "server/flow/engine.h"

/** admin_accept() - somebody connected to the control socket. @fd: takes what it keeps. */
void admin_accept(struct engine *engine, int *fd);

/** admin_count() - control connections that have not ended */
unsigned admin_count(const struct engine *engine);

/** admin_close_all() - end them; their ends come later */
void admin_close_all(struct engine *engine);

#endif
