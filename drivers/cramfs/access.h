/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a client's path to a regular file of the image that this client may read: the walk of
 * open(2) with the permission bits of the image, and the text of every refusal. Main thread only.
 */
#ifndef MUSE_DRIVERS_CRAMFS_ACCESS_H
#define MUSE_DRIVERS_CRAMFS_ACCESS_H

#include <muse/driver.h>
#include <stdbool.h>

#include "common/base/must.h"
#include "drivers/cramfs/cramfs_image.h"

/**
 * access_open() - find a file and check that it may be opened
 * @fs:        the main thread's
 * @image:     name of the image, for texts
 * @args:      path, flags and credentials of the client; the path may hold anything
 * @ret_inode: a regular file
 *
 * Folders need execute permission, the file read permission. Owner, group and supplementary groups
 * count as the image has them; uid 0 may read everything.
 *
 * Return: 0; -ENOENT; -ENOTDIR; -ENAMETOOLONG; -ELOOP the file, or a folder on the way, is a
 * symbolic link: the text says where it leads; -EISDIR; -ENODEV a device, FIFO or socket; -EEXIST
 * O_CREAT with O_EXCL; -EROFS asked for writing, truncation or creation; -EACCES; -EIO the image
 * is damaged; -ENOMEM; what pread(2) returned. muse_set_error() was called where the errno alone
 * does not say it.
 */
MUST_CHECK int access_open(struct cramfs *fs, const char *image, const struct muse_open_args *args,
                           struct cramfs_inode *ret_inode);

/**
 * access_find() - find anything in the image that this client may reach
 * @args:      as for access_open(); without O_NOFOLLOW a symbolic link is refused, as its target has
 *             to be looked up by the client
 * @ret_inode: of any type
 *
 * Return: 0; -ELOOP, -ENOENT, -ENOTDIR, -ENAMETOOLONG, -EACCES, -EIO, as access_open().
 */
MUST_CHECK int access_find(struct cramfs *fs, const char *image, const struct muse_open_args *args,
                           struct cramfs_inode *ret_inode);

/** access_may_list() - whether the client may read a folder that access_find() has found */
bool access_may_list(const struct muse_open_args *args, const struct cramfs_inode *inode);

/**
 * access_image_is_public() - whether anybody may read the image file itself
 * @path: of the image, as the driver was given it
 * @mode: of the image
 *
 * Looks at the permissions for others, of the file and of all folders above it.
 */
bool access_image_is_public(const char *path, mode_t mode);

#endif
