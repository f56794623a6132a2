/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may open what, and change its attributes, by user, group and permission bits, for drivers whose objects
 * have them. */
#ifndef MUSE_DRIVERS_COMMON_PERMISSION_H
#define MUSE_DRIVERS_COMMON_PERMISSION_H

#include <muse/driver.h>
#include <stdbool.h>

#include "common/base/must.h"

#define PERMISSION_READ  4u
#define PERMISSION_WRITE 2u
#define PERMISSION_EXEC  1u

/** permission_is_own() - whether the client is root or this driver's own user */
bool permission_is_own(const struct muse_open_args *args);

/**
 * permission_allows() - whether mode, uid and gid of an object let the client do that
 * @attr:   only these three count
 * @wanted: PERMISSION_*
 *
 * Groups are those of the client's user in the system's database, besides its own. Source:
 * inode_permission() of Linux: the first class that fits counts, even if another allows more.
 */
bool permission_allows(const struct muse_open_args *args, const struct muse_attr *attr,
                       unsigned wanted);

/**
 * permission_check_change() - whether the client may change these attributes
 * @attr: as they are   @change: as the server has checked it
 *
 * Source: setattr_prepare() and may_setattr() of Linux, for a regular file.
 *
 * Return: 0; -EPERM; -EACCES both times are to be now, and the client may not write.
 */
MUST_CHECK int permission_check_change(const struct muse_open_args *args,
                                       const struct muse_attr *attr,
                                       const struct muse_attr_change *change);

/**
 * permission_change() - what the attributes become
 * @now_ns: since 1970
 *
 * A new owner, or group, takes set-uid and set-gid away; who is not root cannot set set-gid for a group that
 * is not his. The time of access is not kept. Source: chown_common(), setattr_prepare(), setattr_copy().
 */
void permission_change(const struct muse_open_args *args, const struct muse_attr_change *change,
                       int64_t now_ns, struct muse_attr *attr);

/** permission_of_open() - what an open with these flags wants */
unsigned permission_of_open(int oflags);

#endif
