/* SPDX-License-Identifier: BSD-3-Clause */
/* muse_prefetch: pages become resident later, an eventfd says when. */
#ifndef MUSE_SERVER_FLOW_PREFETCH_FLOW_H
#define MUSE_SERVER_FLOW_PREFETCH_FLOW_H

#include "server/flow/engine.h"

/** prefetch_space_gone() - the client died: nobody is told any more */
void prefetch_space_gone(struct space *space);

#endif
