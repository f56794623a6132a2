/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors of served objects. Each is a real one, so that numbers, dup, inheritance, locks and
 * select are the kernel's own business: of a sealed memfd, opened for writing only, that holds the
 * object's name, the object's lock file (muse_lock_file()). Whoever comes by it without us, over exec or a raw system call, can neither read it, nor
 * write it, nor map it: the errors that the kernel then gives are where we look again
 * (fds_adopt()). The file offset is the one of the memfd's open description: shared by dup, fork
 * and exec as it should be. So are locks: fcntl(2)'s belong to the process and the memfd, flock(2)'s
 * to the description, and all processes that open an object have its one memfd.
 *
 *     fd 3 --.
 *     fd 7 --+-- struct served (name, flags, muse_file)      memfd: common/base/lock_label.h
 *     fd 3 of a child: nothing known -> EBADF -> adopt -> struct served of its own
 *
 * A folder has a memfd of its own for each open.
 */
#ifndef MUSE_CLIENT_LIB_PRELOAD_FDS_H
#define MUSE_CLIENT_LIB_PRELOAD_FDS_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "client-lib/preload/shim.h"

/* What F_SETFL can change is the kernel's to remember: it belongs to the open description. */
#define FDS_KERNEL_OFLAGS (O_APPEND | O_NONBLOCK)

#define FDS_MAX 65536 /* chosen: served descriptors have smaller numbers */

struct served {
    unsigned n_refs; /* under the table's lock */
    char *name;      /* owned */
    int oflags;      /* as opened, without O_CREAT, O_EXCL, O_TRUNC; O_APPEND may have changed */
    bool is_folder;
    ino_t inode;            /* of the memfd */
    atomic_int lock_fd;     /* owned: the memfd once more, for reading too; -1: not needed yet */
    pthread_mutex_t lock;   /* guards what follows, and the offset while it is moved */
    struct muse_file *file; /* NULL: not open in this process; never for folders */
    unsigned generation;    /* of the connection it was opened on */
};

extern struct served *_Atomic fds_table[FDS_MAX];

/** fds_is_served() - the one load that other descriptors pay for */
static inline bool fds_is_served(int fd)
{
    return (unsigned)fd < FDS_MAX &&
           atomic_load_explicit(&fds_table[fd], memory_order_relaxed) != NULL;
}

/** fds_get() - what is behind a descriptor. Return: a reference, for fds_put(); NULL: not ours. */
struct served *fds_get(int fd);

/** fds_put() - give a reference back. NULL is a no-op. Keeps errno. */
void fds_put(struct served *served);

/**
 * fds_raw_open() - a file once more, as /proc shows it, by a system call: nothing of it comes back to us
 * @oflags: of open(2)
 *
 * Return: the fd, close-on-exec; -1 and errno.
 */
int fds_raw_open(int fd, int oflags);

/** fds_raw_is() - whether a descriptor is of a memfd with this inode. Keeps errno. */
bool fds_raw_is(int fd, ino_t inode);

/**
 * fds_open() - a new descriptor
 * @name:   copied   @oflags: O_CLOEXEC counts   @file: takes, in any case; NULL for a folder
 *
 * Return: the fd, the lowest that was free; -1 and errno.
 */
int fds_open(const char *name, int oflags, struct muse_file *file, unsigned generation);

/**
 * fds_adopt() - look at a descriptor with which the kernel would not do something
 * @fd: not known to us
 *
 * Return: whether it is one of ours, and known now. Keeps errno.
 */
bool fds_adopt(int fd);

/** fds_drop() - a number is about to be closed or overwritten */
void fds_drop(int fd);

/** fds_share() - @new_fd is a duplicate of @old_fd now; @old_fd may be nothing of ours */
void fds_share(int old_fd, int new_fd);

/** fds_drop_range() - all from @first to @last are about to be closed */
void fds_drop_range(unsigned first, unsigned last);

/** fds_folder_name() - the name of an open folder of ours. @ret_name: PATH_MAX bytes. Return:
 * whether @fd is one. */
bool fds_folder_name(int fd, char *ret_name);

/**
 * fds_file() - the open object behind a descriptor, opened again where this process has not
 * @served: its lock is held
 *
 * Return: borrowed, while the lock is held or the caller knows that it stays; NULL and errno:
 * EISDIR, EBADF, what muse_open() says.
 */
struct muse_file *fds_file(struct served *served);

/** fds_close_files() - the connection is about to be replaced: close what was opened on it. In a
 * forked child, before anything else runs there. */
void fds_close_files(void);

/** fds_forking(), fds_forked() - around fork(2), in the parent and in the child */
void fds_forking(void);
void fds_forked(bool is_child);

#endif
