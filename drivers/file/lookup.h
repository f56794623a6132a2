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
 * @ret_fd:   the caller's
 * @ret_stat: of the file
 *
 * Return: 0; -ENOENT, -EACCES, -EISDIR, -ENODEV not a regular file; other -errno of openat2(2).
 * muse_set_error() was called where the errno alone does not say it.
 */
MUST_CHECK int lookup_open(const struct roots *roots, const struct muse_open_args *args,
                           bool writable, int *ret_fd, struct stat *ret_stat);

#endif
