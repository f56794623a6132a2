/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A recording of the pages that faults are about, for bench/evict_policy: "MUSETCH1", then for each
 * fault 8 bytes, little-endian: the object's number and the page's. For developers: a write of the
 * file may hold the loop up.
 */
#ifndef MUSE_SERVER_FLOW_TOUCH_LOG_H
#define MUSE_SERVER_FLOW_TOUCH_LOG_H

#include <stdint.h>

#include "common/base/must.h"

#define TOUCH_LOG_MAGIC "MUSETCH1"

struct touch_log;

/** touch_log_new() - @path: made anew. Return: 0; -errno. */
MUST_CHECK int touch_log_new(struct touch_log **ret_log, const char *path);

/** touch_log_free() - write what is buffered. NULL is a no-op. */
void touch_log_free(struct touch_log *log);

/** touch_log_add() - a fault; NULL is a no-op. What cannot be written is lost. */
void touch_log_add(struct touch_log *log, uint64_t object_id, uint64_t page);

#endif
