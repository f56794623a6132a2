/* SPDX-License-Identifier: BSD-3-Clause */
/* fcntl(2) locks of served descriptors. flock(2)'s need nothing: the kernel keeps them on the placeholder. */
#ifndef MUSE_CLIENT_LIB_PRELOAD_LOCKS_H
#define MUSE_CLIENT_LIB_PRELOAD_LOCKS_H

#include <stdint.h>

#include "client-lib/preload/fds.h"

/**
 * locks_fcntl() - F_GETLK, F_SETLK, F_SETLKW, and those of open file descriptions
 * @fd: served, by @served, a reference   @argument: the program's struct flock
 *
 * Return: as fcntl(2).
 */
int locks_fcntl(int fd, struct served *served, int command, uintptr_t argument);

#endif
