/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder of a test's own, for files that are there before a driver starts. Header only; as a
 * checked fixture: tcase_add_checked_fixture(tcase, folder_make, folder_remove).
 */
#ifndef MUSE_TESTS_SUPPORT_FOLDER_H
#define MUSE_TESTS_SUPPORT_FOLDER_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

static char folder[64];

/** folder_make() - make it, open to everybody */
static inline void folder_make(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/muse-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
}

/** folder_remove() - with everything in it */
static inline void folder_remove(void)
{
    char command[96];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
}

/** folder_path() - of a file in it; valid until the fourth call from now */
static inline const char *folder_path(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

/** folder_write() - make a file of these bytes */
static inline void folder_write(const char *name, const void *bytes, size_t n_bytes)
{
    const int fd = open(folder_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, n_bytes), (ssize_t)n_bytes);
    ck_assert_int_eq(close(fd), 0);
}

#endif
