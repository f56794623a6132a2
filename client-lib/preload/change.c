/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points that change names: through the driver where it can, else EROFS. Attributes are attr.c's. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client-lib/preload/names.h"
#include "client-lib/preload/session.h"
#include "client-lib/preload/umask.h"

/* The last part of a path, when it is "." or "..". Return: how many dots; 0: it is none. */
static size_t last_dots(const char *path)
{
    size_t n = strlen(path), dots = 0;

    while (n > 0 && path[n - 1] == '/')
        n--;
    for (; n > 0 && path[n - 1] == '.'; n--)
        dots++;
    return dots <= 2 && (n == 0 || path[n - 1] == '/') ? dots : 0;
}

/* A slash behind a name says that it is a folder's. Return: 0; -1 and errno: nothing may be removed. */
static int check_unlink(struct where *where, const char *path, int flags)
{
    struct stat stat;
    bool is_outside;

    if (flags & AT_REMOVEDIR) {
        const size_t dots = last_dots(path);

        return dots == 0 ? 0 : fail(dots == 1 ? EINVAL : ENOTEMPTY);
    }
    if (!where->wants_folder)
        return 0;
    return names_stat(where, false, &stat, &is_outside) < 0 ? -1 : fail(EISDIR);
}

static int unlink_at(int dirfd, const char *path, int flags)
{
    struct where where;
    struct muse *muse;

    if (!where_is_served(dirfd, path, &where))
        return REAL(unlinkat)(where.dirfd, where.path, flags);
    if (check_unlink(&where, path, flags) < 0)
        return -1;
    muse = session_get(NULL);
    if (!muse || INSIDE(muse_unlink(muse, where.name, flags)) < 0)
        return names_error();
    return 0;
}

EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
    return unlink_at(dirfd, path, flags);
}

EXPORT int unlink(const char *path)
{
    return unlink_at(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path)
{
    return unlink_at(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int remove(const char *path)
{
    struct where where;

    if (!where_is_served(AT_FDCWD, path, &where))
        return REAL(remove)(where.path);
    if (unlink(path) == 0)
        return 0;
    return errno == EISDIR ? rmdir(path) : -1;
}

/* Return: 0; -1 and errno, when one of the names is a folder's, and what is renamed is none. */
static int check_rename(const struct where *old, const struct where *new)
{
    struct where place = *old;
    struct stat stat;
    bool is_outside;

    if (!old->wants_folder && !new->wants_folder)
        return 0;
    place.wants_folder = false;
    if (names_stat(&place, false, &stat, &is_outside) < 0)
        return -1;
    return is_outside || S_ISDIR(stat.st_mode) ? 0 : fail(ENOTDIR);
}

static int rename_at(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    struct where old, new;
    const bool is_old_ours = where_is_served(from_fd, from, &old);
    const bool is_new_ours = where_is_served(to_fd, to, &new);
    struct muse *muse;

    if (!is_old_ours && !is_new_ours)
        return flags ? REAL(renameat2)(old.dirfd, old.path, new.dirfd, new.path, flags)
                     : REAL(renameat)(old.dirfd, old.path, new.dirfd, new.path);
    if (!is_old_ours || !is_new_ours)
        return fail(EXDEV); /* programs then copy */
    if (last_dots(from) || last_dots(to))
        return fail(EBUSY);
    if (check_rename(&old, &new) < 0)
        return -1;
    muse = session_get(NULL);
    if (!muse || INSIDE(muse_rename(muse, old.name, new.name, flags)) < 0)
        return names_error();
    return 0;
}

EXPORT int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return rename_at(from_fd, from, to_fd, to, 0);
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
    return rename_at(from_fd, from, to_fd, to, flags);
}

/* ---- what no driver has a hook for ---- */

/* Return: -1, EROFS or what is wrong with the name; -2: not ours, @where is the C library's. */
static int refuse(int dirfd, const char *path, struct where *where)
{
    struct stat stat;
    bool is_outside;

    if (!where_is_served(dirfd, path, where))
        return -2;
    if (names_stat(where, true, &stat, &is_outside) < 0)
        return -1;
    return is_outside ? -2 : fail(EROFS);
}

/* A new name: that it is not there is no obstacle, that it is there is one. */
static int refuse_new(int dirfd, const char *path, struct where *where)
{
    int r = refuse(dirfd, path, where);

    if (r != -1)
        return r;
    return fail(errno == EROFS ? EEXIST : errno == ENOENT ? EROFS : errno);
}

#define REFUSE(check, dirfd, path)                                                                 \
    struct where where;                                                                            \
    if (check(dirfd, path, &where) == -1)                                                          \
    return -1

static int mkdir_at(int dirfd, const char *path, mode_t mode)
{
    struct where where;
    struct muse *muse;

    if (!where_is_served(dirfd, path, &where))
        return REAL(mkdirat)(where.dirfd, where.path, mode);
    muse = session_get(NULL);
    if (muse && INSIDE(muse_mkdir(muse, where.name, umask_apply(mode))) == 0)
        return 0;
    if (muse && errno == EOPNOTSUPP && refuse_new(dirfd, path, &where) == -2)
        return REAL(mkdirat)(where.dirfd, where.path, mode);
    return names_error();
}

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode)
{
    return mkdir_at(dirfd, path, mode);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdir_at(AT_FDCWD, path, mode);
}

EXPORT int symlinkat(const char *target, int dirfd, const char *path)
{
    REFUSE(refuse_new, dirfd, path);
    return REAL(symlinkat)(target, where.dirfd, where.path);
}

EXPORT int symlink(const char *target, const char *path)
{
    REFUSE(refuse_new, AT_FDCWD, path);
    return REAL(symlink)(target, where.path);
}

EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t device)
{
    REFUSE(refuse_new, dirfd, path);
    return REAL(mknodat)(where.dirfd, where.path, mode, device);
}

EXPORT int mknod(const char *path, mode_t mode, dev_t device)
{
    return mknodat(AT_FDCWD, path, mode, device);
}

EXPORT int mkfifoat(int dirfd, const char *path, mode_t mode)
{
    REFUSE(refuse_new, dirfd, path);
    return REAL(mkfifoat)(where.dirfd, where.path, mode);
}

EXPORT int mkfifo(const char *path, mode_t mode)
{
    return mkfifoat(AT_FDCWD, path, mode);
}

static int link_at(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    struct where old, new;
    const bool is_old_ours = where_is_served(from_fd, from, &old);
    const bool is_new_ours = where_is_served(to_fd, to, &new);

    if (is_old_ours || is_new_ours)
        return fail(is_old_ours && is_new_ours ? EPERM : EXDEV);
    return REAL(linkat)(old.dirfd, old.path, new.dirfd, new.path, flags);
}

EXPORT int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    return link_at(from_fd, from, to_fd, to, flags);
}

EXPORT int link(const char *from, const char *to)
{
    return link_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int truncate(const char *path, off_t length)
{
    struct where where;
    bool is_outside;
    int r;

    if (!where_follows(AT_FDCWD, path, &where))
        return REAL(truncate)(where.path, length);
    r = names_truncate(&where, length, &is_outside);
    return is_outside ? REAL(truncate)(where.path, length) : r;
}
EXPORT_AS(truncate64, truncate);

/* ---- extended attributes: there are none ---- */

static ssize_t no_xattr(const char *path, bool follow, struct where *where)
{
    struct stat stat;
    bool is_outside;

    if (!where_is_served(AT_FDCWD, path, where))
        return -2;
    if (names_stat(where, follow, &stat, &is_outside) < 0)
        return -1;
    return is_outside ? -2 : fail(EOPNOTSUPP);
}

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
    struct where where;

    return no_xattr(path, true, &where) == -1 ? -1 : REAL(getxattr)(where.path, name, value, size);
}

EXPORT ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
    struct where where;

    return no_xattr(path, false, &where) == -1 ? -1
                                               : REAL(lgetxattr)(where.path, name, value, size);
}

EXPORT ssize_t listxattr(const char *path, char *list, size_t size)
{
    struct where where;

    return no_xattr(path, true, &where) == -1 ? -1 : REAL(listxattr)(where.path, list, size);
}

EXPORT ssize_t llistxattr(const char *path, char *list, size_t size)
{
    struct where where;

    return no_xattr(path, false, &where) == -1 ? -1 : REAL(llistxattr)(where.path, list, size);
}

EXPORT ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
    return fds_is_served(fd) && shim_depth == 0 ? fail(EOPNOTSUPP)
                                                : REAL(fgetxattr)(fd, name, value, size);
}

EXPORT ssize_t flistxattr(int fd, char *list, size_t size)
{
    return fds_is_served(fd) && shim_depth == 0 ? fail(EOPNOTSUPP)
                                                : REAL(flistxattr)(fd, list, size);
}

/* Copies of attributes try this first; EOPNOTSUPP sends them to chmod. */
EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
    struct where where;

    return no_xattr(path, true, &where) == -1
               ? -1
               : REAL(setxattr)(where.path, name, value, size, flags);
}

EXPORT int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
    struct where where;

    return no_xattr(path, false, &where) == -1
               ? -1
               : REAL(lsetxattr)(where.path, name, value, size, flags);
}

EXPORT int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    return fds_is_served(fd) && shim_depth == 0 ? fail(EOPNOTSUPP)
                                                : REAL(fsetxattr)(fd, name, value, size, flags);
}

EXPORT int removexattr(const char *path, const char *name)
{
    struct where where;

    return no_xattr(path, true, &where) == -1 ? -1 : REAL(removexattr)(where.path, name);
}

EXPORT int lremovexattr(const char *path, const char *name)
{
    struct where where;

    return no_xattr(path, false, &where) == -1 ? -1 : REAL(lremovexattr)(where.path, name);
}

EXPORT int fremovexattr(int fd, const char *name)
{
    return fds_is_served(fd) && shim_depth == 0 ? fail(EOPNOTSUPP) : REAL(fremovexattr)(fd, name);
}
