/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takes written pages back into files: a thread with an io_uring of its own, so that several clusters
 * are on their way to the disk at once and no hook waits for it. Any thread may queue; each request
 * is answered once.
 */
#ifndef MUSE_DRIVERS_FILE_FLUSH_H
#define MUSE_DRIVERS_FILE_FLUSH_H

#include <muse/driver.h>

#include "common/base/must.h"

struct flusher;

/** flusher_start() - the thread, its ring and its buffers. Return: 0; -errno. */
MUST_CHECK int flusher_start(struct flusher **ret_flusher);

/** flusher_stop() - answer what is queued, end the thread. NULL is a no-op. Return: NULL. */
struct flusher *flusher_stop(struct flusher *flusher);

/**
 * flusher_write() - write pages of the page cache to a file
 * @writeback: what; its contents are copied. Its page cache stays until @request was answered.
 * @fd:        of the file, writable; stays open until then
 * @request:   from muse_request_defer(); answered by the thread
 */
void flusher_write(struct flusher *flusher, const struct muse_writeback *writeback, int fd,
                   struct muse_request *request);

#endif
