/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be done with a name of ours, with the errors of a file system: attributes, opening,
 * symbolic links. A driver that does not follow links itself says ELOOP; then they are followed
 * here, step by step, and may lead out of /muse.
 */
#ifndef MUSE_CLIENT_LIB_PRELOAD_NAMES_H
#define MUSE_CLIENT_LIB_PRELOAD_NAMES_H

#include <sys/stat.h>
#include <sys/types.h>

#include "client-lib/preload/fds.h"
#include "client-lib/preload/where.h"

/**
 * names_stat() - attributes
 * @where:  ours; where a link led out of /muse it becomes the C library's and @ret_outside true
 * @follow: whether a link itself is followed
 *
 * Return: 0; -1 and errno.
 */
int names_stat(struct where *where, bool follow, struct stat *ret, bool *ret_outside);

/** names_open() - as open(2). @mode: with O_CREAT   @where, @ret_outside: as names_stat(). Return: the fd; -1
 * and errno. */
int names_open(struct where *where, int oflags, mode_t mode, bool *ret_outside);

/** names_truncate() - as truncate(2). Without a descriptor: closing one would give up the process's
 * locks of the object. @where, @ret_outside: as names_stat(). Return: 0; -1 and errno. */
int names_truncate(struct where *where, off_t length, bool *ret_outside);

/** names_is_placeholder() - a memfd of nobody's name: perhaps a descriptor of ours */
static inline bool names_is_placeholder(const struct stat *stat)
{
    return stat->st_nlink == 0 && S_ISREG(stat->st_mode);
}

/**
 * names_setattr() - as chmod(2), chown(2), utimensat(2)
 * @where, @ret_outside: as names_stat()   @change: its flags say whether a link is followed
 *
 * Return: 0; -1 and errno.
 */
int names_setattr(struct where *where, const struct muse_setattr *change, bool *ret_outside);

/** names_fsetattr() - the same of an open object or folder. @change: flags 0. Return: 0; -1 and errno. */
int names_fsetattr(struct served *served, const struct muse_setattr *change);

/** names_fstat() - of an open object or folder. Return: 0; -1 and errno. */
int names_fstat(struct served *served, struct stat *ret);

/**
 * names_resolve() - follow all links of a path
 * @where:  ours; changed to where it really is
 * @follow: whether the last part is followed, too
 *
 * Return: 0; 1 it is not ours any more; -1 and errno, ENOENT too when a part is missing.
 */
int names_resolve(struct where *where, bool follow);

/** names_readlink() - as readlink(2) */
ssize_t names_readlink(const struct where *where, char *buf, size_t size);

/** names_error() - the errno of libmuse as a file system has it: no such driver is no such file.
 * Return: -1. */
int names_error(void);

#endif
