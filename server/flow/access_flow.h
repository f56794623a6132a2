/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes of a mapping that cannot be had as memory, from its driver. */
#ifndef MUSE_SERVER_FLOW_ACCESS_FLOW_H
#define MUSE_SERVER_FLOW_ACCESS_FLOW_H

#include "server/flow/engine.h"

/**
 * access_is_offered() - may ACCESS be asked for the byte at @addr, once memory has failed there?
 * @vma:  MAPPED, an object's
 * @addr: in it
 */
bool access_is_offered(const struct vma *vma, uint64_t addr);

/** access_space_gone() - the client died: nobody waits for its drivers' answers */
void access_space_gone(struct space *space);

#endif
