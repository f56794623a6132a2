/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may open what, by user, group and permission bits, for drivers whose objects have them. */
#ifndef MUSE_DRIVERS_COMMON_PERMISSION_H
#define MUSE_DRIVERS_COMMON_PERMISSION_H

#include <muse/driver.h>
#include <stdbool.h>

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

/** permission_of_open() - what an open with these flags wants */
unsigned permission_of_open(int oflags);

#endif
