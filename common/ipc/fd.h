/* SPDX-License-Identifier: BSD-3-Clause */
/* Owned file descriptors: -1 when absent, close-on-exec always. */
#ifndef MUSE_COMMON_IPC_FD_H
#define MUSE_COMMON_IPC_FD_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/** fd_close() - close an owned fd and forget it; -1 is a no-op; errno is kept */
static inline void fd_close(int *fd)
{
    const int saved = errno;

    if (*fd >= 0)
        (void)close(
            *fd); /* nothing can be done about EIO here, and Linux has freed the fd in any case */
    *fd = -1;
    errno = saved;
}

/** fd_dup() - a close-on-exec copy. Return: the new fd, or -1 with errno. */
static inline int fd_dup(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/** CLEAN_FD - a local that closes its fd at the end of the block unless fd_take() moved it out */
#define CLEAN_FD __attribute__((cleanup(fd_close)))

#endif
