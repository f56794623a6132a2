/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that are open, one entry for each inode in each state it was seen in: opens of an
 * unchanged file share a page cache, a changed file gets a new one. Owns the fds. Main thread only;
 * the fault thread reads an entry's fd, which does not change while the entry lives.
 */
#ifndef MUSE_DRIVERS_FILE_INODES_H
#define MUSE_DRIVERS_FILE_INODES_H

#include <stdint.h>
#include <sys/stat.h>

#include "common/base/idmap.h"
#include "common/base/must.h"

struct inode {
    uint64_t key;
    struct stat stat; /* as of the open that made it */
    int fd;           /* owned, read-only */
};

struct inodes {
    struct idmap by_key; /* of owned struct inode */
};

/** inodes_init() - an empty table */
void inodes_init(struct inodes *inodes);

/** inodes_done() - closes all */
void inodes_done(struct inodes *inodes);

/**
 * inodes_get() - the entry of a file that was just opened
 * @fd:   taken when an entry is made; otherwise closed
 * @stat: identifies the inode and its state: device, number, size, mtime, ctime
 * @ret_inode: borrowed, until inodes_drop()
 *
 * Return: 0; -ENOMEM, the fd is the caller's still.
 */
MUST_CHECK int inodes_get(struct inodes *inodes, int *fd, const struct stat *stat,
                          struct inode **ret_inode);

/** inodes_drop() - nobody uses the object any more. Unknown keys are ignored. */
void inodes_drop(struct inodes *inodes, uint64_t key);

#endif
