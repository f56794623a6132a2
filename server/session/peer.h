/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel tells about the process at the other end of a connection. */
#ifndef MUSE_SERVER_SESSION_PEER_H
#define MUSE_SERVER_SESSION_PEER_H

#include <stdint.h>
#include <sys/types.h>

#include "common/base/must.h"

/**
 * peer_lock_room() - how many bytes more a process may lock
 * @pid:      of a connected peer
 * @ret_room: UINT64_MAX: any number (no limit, or CAP_IPC_LOCK)
 *
 * Source: can_do_mlock() and mlock_future_ok() of mm/mlock.c and mm/mmap.c.
 * Return: 0; -errno the process may not be asked, or is gone.
 */
MUST_CHECK int peer_lock_room(pid_t pid, uint64_t *ret_room);

#endif
