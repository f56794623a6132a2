/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points about where names lead: readlink, realpath, the working folder. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client-lib/preload/names.h"

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t resolved_len);
EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t buf_len);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t size,
                                size_t buf_len);
EXPORT char *__getcwd_chk(char *buf, size_t size, size_t buf_len);
void __chk_fail(void) __attribute__((noreturn)); /* the C library's */

/* Links whose text is the object's path: those in /dev lead on to /proc. */
static bool is_fd_link(const char *path, struct where *where)
{
    return path && (strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/dev/fd/", 8) == 0) &&
           where_look_fd(path, where);
}

static void put_root(const char *name, char *ret_text, size_t size)
{
    (void)snprintf(ret_text, size, WHERE_ROOT "%s%s", name[0] ? "/" : "", name);
}

static ssize_t put_cut(const char *text, char *buf, size_t size)
{
    const size_t n = strnlen(text, size);

    memcpy(buf, text, n);
    return (ssize_t)n;
}

static ssize_t readlink_at(int dirfd, const char *path, char *buf, size_t size)
{
    char text[PATH_MAX + sizeof(WHERE_ROOT)];
    struct where where;
    ssize_t n;

    if (is_fd_link(path, &where)) {
        put_root(where.name, text, sizeof(text));
        return put_cut(text, buf, size);
    }
    if (!where_is_served(dirfd, path, &where))
        return REAL(readlinkat)(where.dirfd, where.path, buf, size);
    n = names_readlink(&where, buf, size);
    if (n >= 0 || errno != ELOOP) /* a link on the way, which the driver does not follow */
        return n;
    switch (names_resolve(&where, false)) {
    case 0:
        return names_readlink(&where, buf, size);
    case 1:
        return REAL(readlink)(where.path, buf, size);
    default:
        return -1;
    }
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *buf, size_t size)
{
    return readlink_at(dirfd, path, buf, size);
}

EXPORT ssize_t readlink(const char *path, char *buf, size_t size)
{
    return readlink_at(AT_FDCWD, path, buf, size);
}

EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t buf_len)
{
    if (size > buf_len)
        __chk_fail();
    return readlink_at(AT_FDCWD, path, buf, size);
}

EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t size, size_t buf_len)
{
    if (size > buf_len)
        __chk_fail();
    return readlink_at(dirfd, path, buf, size);
}

/* @resolved: PATH_MAX bytes or NULL. Return: it, or allocated; NULL and errno. */
static char *give_path(const char *name, char *resolved)
{
    char text[PATH_MAX + sizeof(WHERE_ROOT)];

    put_root(name, text, sizeof(text));
    if (strlen(text) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    if (!resolved)
        return strdup(text);
    where_copy(resolved, text);
    return resolved;
}

static char *real_path(struct where *where, char *resolved)
{
    struct stat stat;
    bool is_outside;
    int r = names_resolve(where, true);

    if (r > 0)
        return REAL(realpath)(where->path, resolved);
    if (r < 0 || names_stat(where, false, &stat, &is_outside) < 0)
        return NULL;
    return give_path(where->name, resolved);
}

EXPORT char *realpath(const char *path, char *resolved)
{
    struct where where;

    return where_follows(AT_FDCWD, path, &where) ? real_path(&where, resolved)
                                                 : REAL(realpath)(where.path, resolved);
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t resolved_len)
{
    if (resolved_len < PATH_MAX)
        __chk_fail();
    return realpath(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path)
{
    return realpath(path, NULL);
}

/* ---- the working folder ---- */

static int enter(struct where *where)
{
    struct stat stat;
    bool is_outside;

    if (names_stat(where, true, &stat, &is_outside) < 0)
        return -1;
    if (is_outside) {
        where_set_cwd(NULL);
        return REAL(chdir)(where->path);
    }
    if (!S_ISDIR(stat.st_mode))
        return fail(ENOTDIR);
    where_set_cwd(where->name);
    return 0;
}

EXPORT int chdir(const char *path)
{
    struct where where;
    int r;

    if (where_follows(AT_FDCWD, path, &where))
        return enter(&where);
    r = REAL(chdir)(where.path);
    if (r == 0 && atomic_load(&where_is_relative))
        where_set_cwd(NULL);
    return r;
}

EXPORT int fchdir(int fd)
{
    struct served *served = fds_get(fd);
    int r;

    if (served && served->is_folder) {
        where_set_cwd(served->name);
        r = 0;
    } else {
        r = served ? fail(ENOTDIR) : REAL(fchdir)(fd);
        if (r == 0 && atomic_load(&where_is_relative))
            where_set_cwd(NULL);
    }
    fds_put(served);
    return r;
}

EXPORT char *getcwd(char *buf, size_t size)
{
    char name[PATH_MAX], text[PATH_MAX];

    if (shim_depth > 0 || !atomic_load(&where_is_relative) || !where_cwd(name))
        return REAL(getcwd)(buf, size);
    if (!give_path(name, text))
        return NULL;
    if (!buf)
        return strdup(text);
    if (strlen(text) >= size) {
        errno = size == 0 ? EINVAL : ERANGE;
        return NULL;
    }
    return memcpy(buf, text, strlen(text) + 1);
}

EXPORT char *__getcwd_chk(char *buf, size_t size, size_t buf_len)
{
    if (size > buf_len)
        __chk_fail();
    return getcwd(buf, size);
}

EXPORT char *get_current_dir_name(void)
{
    return getcwd(NULL, 0);
}
