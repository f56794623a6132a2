/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server cannot know of this process: how much it may lock, how much data it may have; and
 * the range a call names. */
#ifndef MUSE_CLIENT_LIB_LIMIT_H
#define MUSE_CLIENT_LIB_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/range.h"

/**
 * limit_named_range() - the range that a call names, aligned outwards to @page_bytes
 *
 * Empty where it wraps around: the server then refuses the call, and nothing outside the arena may
 * be changed.
 */
struct range limit_named_range(uint64_t addr, uint64_t len, uint64_t page_bytes);

/** limit_status_bytes() - a size in /proc/self/status, in bytes; 0 where /proc does not say. @name:
 * "VmLck:" and the like */
uint64_t limit_status_bytes(const char *name);

/**
 * limit_lock_room() - how many bytes this process may lock beside those it has locked
 * @ret_bytes: UINT64_MAX without a limit
 *
 * Source: can_do_mlock() and mlock_future_ok() in mm/mlock.c and mm/mmap.c.
 * Return: 0; -EPERM it may lock nothing at all.
 */
MUST_CHECK int limit_lock_room(uint64_t *ret_bytes);

/**
 * limit_data_room() - how many bytes RLIMIT_DATA leaves
 *
 * Source: may_expand_vm() in mm/vma.c. Return: whether there is a limit.
 */
bool limit_data_room(uint64_t *ret_bytes);

#endif
