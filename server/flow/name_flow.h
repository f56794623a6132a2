/* SPDX-License-Identifier: BSD-3-Clause */
/* What a driver calls its mapping. */
#ifndef MUSE_SERVER_FLOW_NAME_FLOW_H
#define MUSE_SERVER_FLOW_NAME_FLOW_H

#include "server/flow/engine.h"

/**
 * name_start() - ask for the name of a mapping that has just come into being
 * @vma: not merged into another one; without a name hook nothing happens
 *
 * Nobody waits. Without memory, and when its user has too much in flight, there is no name.
 */
void name_start(struct vma *vma);

#endif
