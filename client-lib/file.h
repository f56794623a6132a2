/* SPDX-License-Identifier: BSD-3-Clause */
/* Open objects inside the library: lookup by the server's number, and references. */
#ifndef MUSE_CLIENT_LIB_FILE_H
#define MUSE_CLIENT_LIB_FILE_H

#include <stdint.h>

#include "client-lib/handle.h"
#include "common/base/own.h"

/**
 * file_find() - the file with a number
 * @id: as the server says
 *
 * Return: a reference, to be given to file_unref(); NULL when there is none.
 */
struct muse_file *file_find(struct muse *muse, uint64_t id);

/** file_unref() - give a reference back; the last one closes the fd. NULL does nothing. */
void file_unref(struct muse_file *file);

/** file_close_all() - drop every file of a handle that is going away */
void file_close_all(struct muse *muse);

/**
 * file_take_stat() - a STAT answer as stat(2) gives it
 * @page_bytes: becomes st_blksize
 *
 * Return: 0; -EPROTO it does not decode, the connection has been ended.
 */
MUST_CHECK int file_take_stat(struct muse *muse, const struct mail *answer, uint64_t page_bytes,
                              struct stat *ret);

DEFINE_CLEANUP(struct muse_file *, file_unref)

#endif
