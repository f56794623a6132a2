/* SPDX-License-Identifier: BSD-3-Clause */
/* How many fds this process has open: tests count before and after. Header only. */
#ifndef MUSE_TESTS_SUPPORT_FDS_H
#define MUSE_TESTS_SUPPORT_FDS_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>

#include <check.h>

/** fds_count() - open fds, without the one that is needed to look */
__attribute__((unused)) static inline unsigned fds_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    ck_assert_int_eq(closedir(dir), 0);
    return n - 3; /* ".", ".." and the folder itself */
}

/** fd_is_cloexec() - whether @fd is open and would not outlive an exec */
__attribute__((unused)) static inline bool fd_is_cloexec(int fd)
{
    const int flags = fcntl(fd, F_GETFD);

    return flags >= 0 && (flags & FD_CLOEXEC);
}

#endif
