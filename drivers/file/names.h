/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be done with a name below the roots without opening it: attributes, listing, links,
 * removing, renaming, making folders, changing attributes. All of it with the client's own rights, and never
 * outside a root. Main thread only.
 */
#ifndef MUSE_DRIVERS_FILE_NAMES_H
#define MUSE_DRIVERS_FILE_NAMES_H

#include <muse/driver.h>
#include <sys/stat.h>

#include "common/base/must.h"
#include "drivers/file/lookup.h"

/** names_attr() - what stat(2) said, as a driver says it */
struct muse_attr names_attr(const struct stat *stat);

/** names_stat() - attributes; of a symbolic link itself with O_NOFOLLOW. Return: 0; -errno. */
MUST_CHECK int names_stat(const struct roots *roots, const struct muse_open_args *args,
                          struct muse_attr *ret_attr);

/**
 * names_list() - the entries of a folder, of all roots that have it, each name once
 * @cursor: how many to leave out
 *
 * Return: 0; -errno.
 */
MUST_CHECK int names_list(const struct roots *roots, const struct muse_open_args *args,
                          uint64_t cursor, struct muse_dir *dir);

/** names_readlink() - Return: 0, terminated; -EINVAL no link; -ENAMETOOLONG; -errno. */
MUST_CHECK int names_readlink(const struct roots *roots, const struct muse_open_args *args,
                              char *ret_target, size_t size);

/** names_unlink() - unlinkat(2) in the first root that has the name. Return: 0; -errno. */
MUST_CHECK int names_unlink(const struct roots *roots, const struct muse_open_args *args,
                            int flags);

/** names_rename() - renameat2(2) within the root that has the old name. Return: 0; -errno. */
MUST_CHECK int names_rename(const struct roots *roots, const struct muse_open_args *args,
                            const char *to, unsigned flags);

/** names_mkdir() - mkdir(2) in the first root that has the folder it goes to. Return: 0; -errno. */
MUST_CHECK int names_mkdir(const struct roots *roots, const struct muse_open_args *args,
                           unsigned mode);

/**
 * names_setattr() - chmod(2), chown(2), utimensat(2) in the first root that has the name
 * @args:     with O_NOFOLLOW: of a symbolic link itself
 * @ret_stat: what it is afterwards
 *
 * Return: 0; -EOPNOTSUPP the mode of a link; -errno.
 */
MUST_CHECK int names_setattr(const struct roots *roots, const struct muse_open_args *args,
                             const struct muse_attr_change *change, struct stat *ret_stat);

/** names_setattr_open() - the same of an open file. Return: 0; -errno. */
MUST_CHECK int names_setattr_open(int fd, const struct muse_open_args *args,
                                  const struct muse_attr_change *change);

#endif
