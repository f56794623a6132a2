/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of ours, asked of the server. Keeps nothing. */
#define _GNU_SOURCE
#include "client-lib/preload/names.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "client-lib/preload/session.h"
#include "client-lib/preload/umask.h"

#define LINKS_MAX 40 /* MAXSYMLINKS of Linux */

/* Major number of st_dev; chosen: no device has one of 12 bits' end. The minor tells drivers apart.
 */
#define DEVICE_MAJOR 0xffeu

int names_error(void)
{
    if (errno == ENODEV)
        errno = ENOENT;
    return -1;
}

/* FNV-1a */
static uint32_t hash(const char *text, size_t n)
{
    uint32_t value = 2166136261u;

    for (size_t i = 0; i < n; i++)
        value = (value ^ (unsigned char)text[i]) * 16777619u;
    return value;
}

/* What a driver does not say, and programs look at: which file system, and all three times. */
static void complete(const char *name, struct stat *stat)
{
    stat->st_dev = makedev(DEVICE_MAJOR, hash(name, strcspn(name, "/")) & 0xfffffu);
    if (stat->st_ino == 0)
        stat->st_ino = hash(name, strlen(name));
    stat->st_atim = stat->st_ctim = stat->st_mtim;
}

/* A driver that knows open files only. */
static int stat_by_opening(struct muse *muse, const char *name, struct stat *ret)
{
    struct muse_file *file;
    int r;

    if (INSIDE(muse_open(muse, name, O_RDONLY, &file)) < 0)
        return -1;
    r = INSIDE(muse_fstat(file, ret));
    (void)INSIDE(muse_close(file));
    return r;
}

/* Without following links ourselves. */
static int stat_once(const char *name, bool follow, struct stat *ret)
{
    struct muse *muse = session_get(NULL);
    int r;

    if (!muse)
        return -1;
    r = follow ? INSIDE(muse_stat(muse, name, ret)) : INSIDE(muse_lstat(muse, name, ret));
    if (r < 0 && errno == EOPNOTSUPP)
        r = stat_by_opening(muse, name, ret);
    if (r < 0)
        return names_error();
    complete(name, ret);
    return 0;
}

ssize_t names_readlink(const struct where *where, char *buf, size_t size)
{
    struct muse *muse = session_get(NULL);
    ssize_t n = muse ? INSIDE(muse_readlink(muse, where->name, buf, size)) : -1;

    return n < 0 ? names_error() : n;
}

/* @where->name is a link, @rest what came behind it in the path. Return: as names_resolve(). */
static int go_on_behind_link(struct where *where, const char *rest)
{
    char target[PATH_MAX], path[PATH_MAX];
    ssize_t n = names_readlink(where, target, sizeof(target) - 1);
    char *slash = strrchr(where->name, '/');
    char base[PATH_MAX];
    int n_path;

    if (n < 0)
        return -1;
    target[n] = '\0';
    n_path = snprintf(path, sizeof(path), "%s%s%s", target, *rest ? "/" : "", rest);
    if (n_path < 0 || n_path >= (int)sizeof(path))
        return fail(ENAMETOOLONG);
    (void)snprintf(base, sizeof(base), "%.*s", slash ? (int)(slash - where->name) : 0, where->name);
    if (where_join(base, path, where))
        return 0;
    return where->path ? 1 : fail(ENAMETOOLONG);
}

/* The first link on the way of @where, the last part included when @follow. @ret_end: of its name.
 * Return: 1 there is one; 0; -1 and errno. */
static int find_link(const char *name, bool follow, size_t *ret_end)
{
    size_t end = strcspn(name, "/"); /* the driver itself is none */

    while (name[end] != '\0') {
        char part[PATH_MAX];
        struct stat stat;

        end += 1 + strcspn(name + end + 1, "/");
        if (name[end] == '\0' && !follow)
            return 0;
        (void)snprintf(part, sizeof(part), "%.*s", (int)end, name);
        if (stat_once(part, false, &stat) < 0)
            return -1;
        if (S_ISLNK(stat.st_mode)) {
            *ret_end = end;
            return 1;
        }
        if (name[end] != '\0' && !S_ISDIR(stat.st_mode))
            return fail(ENOTDIR);
    }
    return 0;
}

int names_resolve(struct where *where, bool follow)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        char rest[PATH_MAX];
        size_t end;
        int r = find_link(where->name, follow, &end);

        if (r <= 0)
            return r;
        where_copy(rest, where->name + end + strspn(where->name + end, "/"));
        where->name[end] = '\0';
        r = go_on_behind_link(where, rest);
        if (r != 0)
            return r;
    }
    return fail(ELOOP);
}

int names_stat(struct where *where, bool follow, struct stat *ret, bool *ret_outside)
{
    int r = stat_once(where->name, follow || where->wants_folder, ret);

    *ret_outside = false;
    if (r < 0 && errno == ELOOP) {
        r = names_resolve(where, follow || where->wants_folder);
        *ret_outside = r > 0;
        if (r == 0)
            r = stat_once(where->name, false, ret);
    }
    if (r == 0 && where->wants_folder && !S_ISDIR(ret->st_mode))
        return fail(ENOTDIR);
    return r > 0 ? 0 : r;
}

int names_fstat(struct served *served, struct stat *ret)
{
    struct muse_file *file;
    int r = -1;

    if (served->is_folder)
        return stat_once(served->name, true, ret);
    (void)pthread_mutex_lock(&served->lock);
    file = fds_file(served);
    if (file)
        r = INSIDE(muse_fstat(file, ret));
    (void)pthread_mutex_unlock(&served->lock);
    if (r < 0)
        return names_error();
    complete(served->name, ret);
    return 0;
}

/* ---- open ---- */

static int open_folder(const struct where *where, int oflags)
{
    struct stat stat;

    if ((oflags & O_ACCMODE) != O_RDONLY || (oflags & (O_CREAT | O_TRUNC)))
        return fail(EISDIR);
    if (stat_once(where->name, true, &stat) < 0)
        return -1;
    if (!S_ISDIR(stat.st_mode))
        return fail(ENOTDIR);
    return fds_open(where->name, oflags, NULL, 0);
}

/* What the server opens: a program may open for writing only, a mapping cannot be. O_TRUNC is done
 * afterwards, and needs the right to write also where the program asks to read only. */
static int wanted_oflags(int oflags)
{
    const int more = oflags & (O_CREAT | O_EXCL);

    return ((oflags & (O_ACCMODE | O_TRUNC)) == O_RDONLY ? O_RDONLY : O_RDWR) | more;
}

/* Who asked to read only gets no more than that. @file: may become another; closed when it fails */
static int truncate_opened(struct muse *muse, const char *name, int oflags, struct muse_file **file)
{
    int r, error;

    if (!(oflags & O_TRUNC))
        return 0;
    r = INSIDE(muse_ftruncate(*file, 0));
    if (r == 0 && (oflags & O_ACCMODE) != O_RDONLY)
        return 0;
    error = errno;
    (void)INSIDE(muse_close(*file));
    return r == 0 ? INSIDE(muse_open(muse, name, O_RDONLY, file)) : fail(error);
}

static int open_file(struct muse *muse, const char *name, int oflags, mode_t mode,
                     struct muse_file **ret)
{
    return oflags & O_CREAT ? INSIDE(muse_create(muse, name, oflags, umask_apply(mode), ret))
                            : INSIDE(muse_open(muse, name, oflags, ret));
}

static int open_once(const struct where *where, int oflags, mode_t mode)
{
    unsigned generation;
    struct muse *muse = session_get(&generation);
    struct muse_file *file;

    if (!muse)
        return -1;
    if ((oflags & O_DIRECTORY) || where->wants_folder || !strchr(where->name, '/'))
        return open_folder(where, oflags);
    if (open_file(muse, where->name, wanted_oflags(oflags), mode, &file) < 0)
        return errno == EISDIR ? open_folder(where, oflags) : names_error();
    return truncate_opened(muse, where->name, oflags, &file) < 0
               ? -1
               : fds_open(where->name, oflags, file, generation);
}

/* Has to be known before: the driver, or the server, may follow it. */
static bool is_link(const struct where *where)
{
    struct stat stat;

    return stat_once(where->name, false, &stat) == 0 && S_ISLNK(stat.st_mode);
}

/* It failed. Return: whether there is a link that was not followed, or leads to what is to be made. Keeps errno. */
static bool may_lead_on(const struct where *where, int oflags)
{
    const int error = errno;
    const bool may =
        error == ELOOP || (error == ENOENT && (oflags & O_CREAT) != 0 && is_link(where));

    errno = error;
    return may;
}

int names_open(struct where *where, int oflags, mode_t mode, bool *ret_outside)
{
    int r;

    *ret_outside = false;
    if ((oflags & O_TMPFILE) == O_TMPFILE)
        return fail(EOPNOTSUPP);
    if ((oflags & O_NOFOLLOW) && is_link(where))
        return fail(ELOOP);
    r = open_once(where, oflags, mode);
    if (r >= 0 || (oflags & O_NOFOLLOW) || !may_lead_on(where, oflags))
        return r;
    if ((oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) && is_link(where))
        return fail(EEXIST);
    r = names_resolve(where, true);
    if (r > 0)
        *ret_outside = true;
    if (r < 0 && errno == ENOENT && (oflags & O_CREAT)) /* behind a link to what is not there yet */
        r = 0;
    return r == 0 ? open_once(where, oflags, mode) : r;
}

static int truncate_once(const struct where *where, off_t length)
{
    struct muse *muse = session_get(NULL);
    struct muse_file *file;
    int r, error;

    if (!muse)
        return -1;
    if (where->wants_folder || !strchr(where->name, '/'))
        return fail(EISDIR);
    if (INSIDE(muse_open(muse, where->name, O_RDWR, &file)) < 0)
        return names_error();
    r = INSIDE(muse_ftruncate(file, length));
    error = errno;
    (void)INSIDE(muse_close(file));
    errno = error;
    return r;
}

int names_truncate(struct where *where, off_t length, bool *ret_outside)
{
    int r = truncate_once(where, length);

    *ret_outside = false;
    if (r == 0 || errno != ELOOP)
        return r;
    r = names_resolve(where, true);
    *ret_outside = r > 0;
    return r == 0 ? truncate_once(where, length) : r;
}

/* ---- changing attributes ---- */

static int setattr_once(const char *name, const struct muse_setattr *change)
{
    struct muse *muse = session_get(NULL);

    return muse && INSIDE(muse_setattr(muse, name, change)) == 0 ? 0 : names_error();
}

/* It was refused by a driver that does not follow links, or changes nothing, or makes no sense: then a name that
 * is not there is told first, and what is behind links may be another driver's. */
static int setattr_behind_links(struct where *where, const struct muse_setattr *change,
                                bool *ret_outside)
{
    char before[PATH_MAX];
    struct stat stat;
    int error = errno;

    where_copy(before, where->name);
    if (names_stat(where, !(change->flags & AT_SYMLINK_NOFOLLOW), &stat, ret_outside) < 0)
        return -1;
    if (*ret_outside)
        return 0;
    if (strcmp(before, where->name) != 0)
        return setattr_once(where->name, change);
    return fail(S_ISLNK(stat.st_mode) && (change->mask & MUSE_SETATTR_MODE) ? EOPNOTSUPP : error);
}

int names_setattr(struct where *where, const struct muse_setattr *change, bool *ret_outside)
{
    struct muse_setattr followed = *change;
    struct stat stat;
    int r;

    *ret_outside = false;
    if (where->wants_folder) {
        followed.flags = 0;
        if (names_stat(where, true, &stat, ret_outside) < 0 || *ret_outside)
            return *ret_outside ? 0 : -1;
    }
    r = setattr_once(where->name, &followed);
    if (r == 0 || (errno != ELOOP && errno != EROFS && errno != EINVAL))
        return r;
    return setattr_behind_links(where, &followed, ret_outside);
}

int names_fsetattr(struct served *served, const struct muse_setattr *change)
{
    struct muse_file *file;
    int r = -1;

    if (served->is_folder)
        return setattr_once(served->name, change);
    (void)pthread_mutex_lock(&served->lock);
    file = fds_file(served);
    if (file)
        r = INSIDE(muse_fsetattr(file, change));
    (void)pthread_mutex_unlock(&served->lock);
    return r < 0 ? names_error() : 0;
}
