/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls of libmuse that a libmuse may lack. The only place that knows: who calls these gets
 * EOPNOTSUPP where there is none. When libmuse has all of them, more.c and its weak names can go.
 */
#ifndef MUSE_CLIENT_LIB_PRELOAD_MORE_H
#define MUSE_CLIENT_LIB_PRELOAD_MORE_H

#include "client-lib/preload/shim.h"

/* As the calls of libmuse without "more_", on the process's connection, already INSIDE(). */
int more_mprotect(struct muse *muse, void *addr, size_t len, int prot);
void *more_mremap(struct muse *muse, void *old, size_t old_len, size_t new_len, int flags,
                  void *new_addr);
int more_msync(struct muse *muse, void *addr, size_t len, int flags);
int more_mincore(struct muse *muse, void *addr, size_t len, unsigned char *vec);
int more_mlock(struct muse *muse, const void *addr, size_t len);
int more_munlock(struct muse *muse, const void *addr, size_t len);
ssize_t more_pwrite(struct muse_file *file, const void *buf, size_t len, off_t offset);
int more_ftruncate(struct muse_file *file, off_t length);
int more_fsync(struct muse_file *file);
int more_fallocate(struct muse_file *file, int mode, off_t offset, off_t len);

#endif
