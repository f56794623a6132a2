/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects that clients make, by open with O_CREAT, in a driver with one folder. */
#ifndef MUSE_DRIVERS_COMMON_MADE_H
#define MUSE_DRIVERS_COMMON_MADE_H

#include <muse/driver.h>
#include <stdint.h>

#include "common/base/must.h"

#define MADE_NAME_MAX 255u /* NAME_MAX */

/** made_check_name() - Return: 0; -ENAMETOOLONG; -EINVAL, with a sentence. @driver: its name */
MUST_CHECK int made_check_name(const char *driver, const char *name);

/** made_attr() - of a new and empty one, the client's own. @key: its inode */
struct muse_attr made_attr(uint64_t key, const struct muse_open_args *args);

/** made_now_ns() - for mtime_ns */
int64_t made_now_ns(void);

#endif
