/* SPDX-License-Identifier: BSD-3-Clause */
/* A group of resctrl with a pseudo-locked region: what its option says, and what may be mapped. Pure. */
#ifndef MUSE_DRIVERS_PSEUDOLOCK_GROUP_H
#define MUSE_DRIVERS_PSEUDOLOCK_GROUP_H

#include <muse/driver.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

#define GROUP_NAME_MAX  32u
#define GROUP_BYTES_MAX (1ull << 30) /* chosen: a cache is smaller */

struct group {
    char name[GROUP_NAME_MAX + 1];
    uint64_t size_bytes; /* 0: it has no region yet */
    cpu_set_t cpus;      /* which of the machine's share the region's cache */
    const char *path;    /* borrowed: the region's file; NULL: anonymous memory */
    int fd;              /* owned: the region; -1 */
    bool is_removed;
};

/**
 * group_parse() - NAME:SIZE:CPUS[:FILE], as in "p0:64K:0-1,3"
 * @text:      changed, and borrowed by the group
 * @ret_group: fd -1
 *
 * Return: NULL; else what is wrong with it (static).
 */
const char *group_parse(char *text, struct group *ret_group);

/**
 * group_check() - may this be mapped?
 * @group:   NULL: there is none of that name
 * @cpus:    where the client's task may run
 * @ret_why: on failure: a static sentence
 *
 * Source: pseudo_lock_dev_mmap_prepare() of Linux, in its order.
 * Return: 0; -ENODEV, -EINVAL, -ENOSPC.
 */
MUST_CHECK int group_check(const struct group *group, const cpu_set_t *cpus,
                           const struct muse_vma_desc *desc, const char **ret_why);

#endif
