/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a client's path to an open file below one of the roots, with the client's own rights: the
 * kernel is asked as the client, so that directories, groups and ACLs count as they would for a
 * plain open(2). Main thread only.
 */
#ifndef MUSE_DRIVERS_FILE_LOOKUP_H
#define MUSE_DRIVERS_FILE_LOOKUP_H

#include <muse/driver.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "common/base/must.h"

#define LOOKUP_GROUPS_MAX                                                                          \
    256 /* chosen; more of a user's groups are ignored: refuses, never allows */

#define FILE_ROOTS_MAX 64u /* chosen: a command line */

struct roots {
    int fds[FILE_ROOTS_MAX];           /* owned */
    const char *names[FILE_ROOTS_MAX]; /* borrowed from argv */
    size_t n;
};

/** roots_add() - open a folder. @name: borrowed. Return: 0; -E2BIG over FILE_ROOTS_MAX; -errno. */
MUST_CHECK int roots_add(struct roots *roots, const char *name);

/** roots_done() - close them all */
void roots_done(struct roots *roots);

/**
 * lookup_open() - open a regular file
 * @roots:    tried in order; the first that has the path counts
 * @args:     path and client; the path may hold anything: it never leads out of the root
 * @writable: for writing, too, which the client must be allowed to
 * @may_create: whether O_CREAT makes a file that is not there, in the first root that has its folder
 * @ret_fd:   the caller's
 * @ret_stat: of the file
 *
 * Return: 0; -ENOENT, -EACCES, -EISDIR, -ENODEV not a regular file, -EEXIST it is
 * there, with O_CREAT and O_EXCL; -EROFS it would have to be made; other -errno of openat2(2).
 * muse_set_error() was called where the errno alone does not say it.
 */
MUST_CHECK int lookup_open(const struct roots *roots, const struct muse_open_args *args,
                           bool writable, bool may_create, int *ret_fd, struct stat *ret_stat);

/* What the kernel looks at when it is asked for a file. */
struct identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[LOOKUP_GROUPS_MAX];
    int n_groups;
};

/**
 * lookup_enter() - take on the client's rights
 * @ret_own: for lookup_leave()
 *
 * Return: 0, to be followed by lookup_leave(); -EACCES.
 */
MUST_CHECK int lookup_enter(const struct muse_open_args *args, struct identity *ret_own);

/** lookup_leave() - be oneself again */
void lookup_leave(const struct muse_open_args *args, const struct identity *own);

/**
 * lookup_beneath() - a path below one folder, opened with O_PATH
 * @path:  "" is the folder itself   @flags: more of openat2(2): O_NOFOLLOW, O_DIRECTORY
 *
 * Return: the fd, the caller's; -errno, -EXDEV it leads out.
 */
MUST_CHECK int lookup_beneath(int root, const char *path, int flags);

/** lookup_in_roots() - as lookup_beneath(), in the first root that has it. Return: 0; -errno. */
MUST_CHECK int lookup_in_roots(const struct roots *roots, const char *path, int flags, int *ret_fd);

#endif
