/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that are open. Read-only: one entry for each inode in each state it was seen in: opens of
 * an unchanged file share a page cache, a changed file gets a new one. Writable: one entry for each
 * inode, whose state changes because we write to it; somebody else's writes are not noticed while it
 * is open. Owns the fds. Main thread only; other threads read an entry's fd, whose number does not
 * change while the entry lives.
 */
#ifndef MUSE_DRIVERS_FILE_INODES_H
#define MUSE_DRIVERS_FILE_INODES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/base/idmap.h"
#include "common/base/must.h"

struct inode {
    uint64_t key;
    struct stat stat; /* as of the open that made it; st_size as it was changed since */
    int fd;           /* owned */
    bool is_writable; /* the fd is */
};

struct inodes {
    struct idmap by_key; /* of owned struct inode */
    bool by_number;      /* one entry for each inode, whatever its state */
};

/** inodes_init() - an empty table. @by_number: files may be written to. */
void inodes_init(struct inodes *inodes, bool by_number);

/** inodes_done() - closes all */
void inodes_done(struct inodes *inodes);

/**
 * inodes_get() - the entry of a file that was just opened
 * @fd:   taken when an entry is made, or its own cannot write and this one can; otherwise closed
 * @is_writable: of the fd
 * @stat: identifies the inode and its state: device, number, size, mtime, ctime
 * @ret_inode: borrowed, until inodes_drop()
 *
 * Return: 0; -ENOMEM, the fd is the caller's still.
 */
MUST_CHECK int inodes_get(struct inodes *inodes, int *fd, bool is_writable, const struct stat *stat,
                          struct inode **ret_inode);

/** inodes_find() - by key; borrowed; NULL */
struct inode *inodes_find(struct inodes *inodes, uint64_t key);

/** inodes_find_stat() - the entry of what stat(2) says this about; borrowed; NULL: it is not open */
struct inode *inodes_find_stat(struct inodes *inodes, const struct stat *stat);

/** inodes_drop() - nobody uses the object any more. Unknown keys are ignored. */
void inodes_drop(struct inodes *inodes, uint64_t key);

#endif
