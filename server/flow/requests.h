/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's requests, one function each: what the table in session_flow.c points to. */
#ifndef MUSE_SERVER_FLOW_REQUESTS_H
#define MUSE_SERVER_FLOW_REQUESTS_H

#include "common/ipc/chan.h"
#include "server/flow/engine.h"

/* @frame: of the type the table names, fd count checked, payload not.
 * Return: 0; -EPROTO undecodable: the session ends. */
typedef int request_fn(struct space *space, struct frame *frame);

request_fn request_open, request_close, request_fstat, request_pread, request_map, request_unmap,
    request_error_at, request_madvise, request_protect, request_lock, request_remap,
    request_mincore, request_msync, request_fsync, request_pwrite, request_truncate,
    request_fallocate, request_fork_begin, request_fork_ranges, request_fork_end, request_prefetch,
    request_read_done, request_path, request_setattr, request_access, request_lock_file;

#endif
