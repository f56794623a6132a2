/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names below the roots. A name is taken apart into its folder, which openat2(2) finds beneath a
 * root, and its last part, which the *at() calls take without following links. Owns nothing between
 * two calls.
 */
#include "drivers/file/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/own.h"

#define NS_PER_S INT64_C(1000000000)

/* Of file systems whose times go further than 64 bits of nanoseconds do. */
static int64_t to_ns(struct timespec time)
{
    if (time.tv_sec <= INT64_MIN / NS_PER_S)
        return INT64_MIN;
    if (time.tv_sec >= INT64_MAX / NS_PER_S)
        return INT64_MAX;
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

struct muse_attr names_attr(const struct stat *stat)
{
    return (struct muse_attr){
        .size = (uint64_t)stat->st_size,
        .mode = stat->st_mode,
        .inode = stat->st_ino,
        .uid = stat->st_uid,
        .gid = stat->st_gid,
        .mtime_ns = to_ns(stat->st_mtim),
        .nlink = (uint32_t)stat->st_nlink,
    };
}

int names_stat(const struct roots *roots, const struct muse_open_args *args,
               struct muse_attr *ret_attr)
{
    CLEAN(fd_close_p) int fd = -1;
    struct identity own;
    struct stat stat;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    r = lookup_in_roots(roots, args->path, args->oflags & O_NOFOLLOW, &fd);
    if (r == 0 && fstat(fd, &stat) < 0)
        r = -errno;
    lookup_leave(args, &own);
    if (r == 0)
        *ret_attr = names_attr(&stat);
    return r;
}

int names_readlink(const struct roots *roots, const struct muse_open_args *args, char *ret_target,
                   size_t size)
{
    CLEAN(fd_close_p) int fd = -1;
    struct identity own;
    ssize_t n = 0;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    r = lookup_in_roots(roots, args->path, O_NOFOLLOW, &fd);
    if (r == 0) {
        n = readlinkat(fd, "", ret_target, size);
        if (n < 0)
            r = errno == ENOENT ? -EINVAL : -errno; /* readlink(2): of an fd that is no link */
    }
    lookup_leave(args, &own);
    if (r < 0)
        return r;
    if ((size_t)n >= size)
        return -ENAMETOOLONG;
    ret_target[n] = '\0';
    return 0;
}

/* ---- listing ---- */

struct listing {
    const struct roots *roots;
    const char *path;
    uint64_t n_skip; /* entries still to be left out */
    uint64_t n_done; /* entries the client will have seen: the cursor */
    struct muse_dir *dir;
};

/* Does a root before this one have the same name? Then that one counts. */
static bool is_shadowed(const struct listing *listing, size_t root, const char *name)
{
    char path[PATH_MAX];
    int n =
        snprintf(path, sizeof(path), "%s%s%s", listing->path, listing->path[0] ? "/" : "", name);

    for (size_t i = 0; n > 0 && n < PATH_MAX && i < root; i++) {
        CLEAN(fd_close_p) int fd = lookup_beneath(listing->roots->fds[i], path, O_NOFOLLOW);

        if (fd >= 0)
            return true;
    }
    return false;
}

/* Return: whether there is room for more. */
static bool list_entry(struct listing *listing, size_t root, const struct dirent *entry)
{
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        is_shadowed(listing, root, entry->d_name))
        return true;
    if (listing->n_skip > 0) {
        listing->n_skip--;
        return true;
    }
    if (!muse_dir_add(listing->dir, entry->d_name, (mode_t)DTTOIF(entry->d_type), entry->d_ino,
                      listing->n_done + 1))
        return false;
    listing->n_done++;
    return true;
}

/* Return: 0; 1 the answer is full; -errno. */
static int list_root(struct listing *listing, size_t root)
{
    CLEAN(fd_close_p)
    int path_fd = lookup_beneath(listing->roots->fds[root], listing->path, O_DIRECTORY);
    struct dirent *entry;
    bool has_room = true;
    DIR *stream;
    int fd;
    int r;

    if (path_fd < 0)
        return path_fd == -EXDEV ? -EACCES : path_fd;
    fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    stream = fdopendir(fd);
    if (!stream) {
        r = -errno;
        fd_close_p(&fd);
        return r;
    }
    errno = 0;
    while (has_room && (entry = readdir(stream)) != NULL) {
        has_room = list_entry(listing, root, entry);
        errno = 0;
    }
    r = has_room ? -errno : 1;
    (void)closedir(stream);
    return r;
}

int names_list(const struct roots *roots, const struct muse_open_args *args, uint64_t cursor,
               struct muse_dir *dir)
{
    struct listing listing = {
        .roots = roots, .path = args->path, .n_skip = cursor, .n_done = cursor, .dir = dir};
    struct identity own;
    bool any = false;
    int last = -ENOENT;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    for (size_t i = 0; i < roots->n && r == 0; i++) {
        r = list_root(&listing, i);
        if (r >= 0) {
            any = true;
        } else if (r == -ENOENT || r == -ENOTDIR) {
            last = r;
            r = 0;
        }
    }
    lookup_leave(args, &own);
    if (r < 0)
        return r;
    return any ? 0 : last;
}

/* ---- changing ---- */

/* The folder of a name, and its last part. @ret_last: borrowed from @path. */
static int split(char *path, const char **ret_folder, const char **ret_last)
{
    size_t n = strlen(path);
    char *slash;

    while (n > 0 && path[n - 1] == '/')
        path[--n] = '\0';
    slash = strrchr(path, '/');
    *ret_last = slash ? slash + 1 : path;
    *ret_folder = slash ? path : "";
    if (slash)
        *slash = '\0';
    if (strcmp(*ret_last, "..") == 0)
        return -ENOTEMPTY;
    return **ret_last == '\0' || strcmp(*ret_last, ".") == 0 ? -EBUSY : 0;
}

/* The root that has a name. Return: its number; -errno. */
static int root_of(const struct roots *roots, const char *path)
{
    int r = -ENOENT;

    for (size_t i = 0; i < roots->n; i++) {
        CLEAN(fd_close_p) int fd = lookup_beneath(roots->fds[i], path, O_NOFOLLOW);

        if (fd >= 0)
            return (int)i;
        r = fd;
        if (r != -ENOENT && r != -ENOTDIR)
            break;
    }
    return r == -EXDEV ? -EACCES : r;
}

static int open_folder(const struct roots *roots, int root, const char *folder)
{
    int fd = lookup_beneath(roots->fds[root], folder, O_DIRECTORY);

    return fd == -EXDEV ? -EACCES : fd;
}

static int unlink_as_is(const struct roots *roots, const char *name, int flags)
{
    CLEAN(free_p) char *path = strdup(name);
    CLEAN(fd_close_p) int folder_fd = -1;
    const char *folder, *last;
    int root;
    int r;

    if (!path)
        return -ENOMEM;
    root = root_of(roots, path);
    if (root < 0)
        return root;
    r = split(path, &folder, &last);
    if (r < 0)
        return r;
    folder_fd = open_folder(roots, root, folder);
    if (folder_fd < 0)
        return folder_fd;
    return unlinkat(folder_fd, last, flags) < 0 ? -errno : 0;
}

int names_unlink(const struct roots *roots, const struct muse_open_args *args, int flags)
{
    struct identity own;
    int r;

    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    r = lookup_enter(args, &own);
    if (r < 0)
        return r;
    r = unlink_as_is(roots, args->path, flags);
    lookup_leave(args, &own);
    return r;
}

static int rename_as_is(const struct roots *roots, const char *from, const char *to, unsigned flags)
{
    CLEAN(free_p) char *old_path = strdup(from);
    CLEAN(free_p) char *new_path = strdup(to);
    CLEAN(fd_close_p) int old_fd = -1;
    CLEAN(fd_close_p) int new_fd = -1;
    const char *folder, *old_last, *new_last;
    int root;
    int r;

    if (!old_path || !new_path)
        return -ENOMEM;
    root = root_of(roots, old_path);
    if (root < 0)
        return root;
    r = split(old_path, &folder, &old_last);
    if (r < 0)
        return r;
    old_fd = open_folder(roots, root, folder);
    if (old_fd < 0)
        return old_fd;
    r = split(new_path, &folder, &new_last);
    if (r < 0)
        return r;
    new_fd = open_folder(roots, root, folder);
    if (new_fd < 0)
        return new_fd;
    return renameat2(old_fd, old_last, new_fd, new_last, flags) < 0 ? -errno : 0;
}

int names_rename(const struct roots *roots, const struct muse_open_args *args, const char *to,
                 unsigned flags)
{
    struct identity own;
    int r;

    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    r = lookup_enter(args, &own);
    if (r < 0)
        return r;
    r = rename_as_is(roots, args->path, to, flags);
    lookup_leave(args, &own);
    return r;
}

static int mkdir_as_is(const struct roots *roots, const char *name, unsigned mode)
{
    CLEAN(free_p) char *path = strdup(name);
    CLEAN(fd_close_p) int folder_fd = -1;
    const char *folder, *last;
    int root;

    if (!path)
        return -ENOMEM;
    root = root_of(roots, path);
    if (root >= 0 || split(path, &folder, &last) < 0)
        return -EEXIST;
    if (root != -ENOENT)
        return root;
    root = root_of(roots, folder);
    if (root < 0)
        return root;
    folder_fd = open_folder(roots, root, folder);
    if (folder_fd < 0)
        return folder_fd;
    return mkdirat(folder_fd, last, (mode_t)mode) < 0 ? -errno : 0;
}

int names_mkdir(const struct roots *roots, const struct muse_open_args *args, unsigned mode)
{
    struct identity own;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    r = mkdir_as_is(roots, args->path, mode);
    lookup_leave(args, &own);
    return r;
}

/* ---- attributes ---- */

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6; the headers may be older */
#endif

/* As the two of utimensat(2) have it. */
static struct timespec wanted_time(const struct muse_attr_change *change, unsigned explicit_bit,
                                   unsigned now_bit, int64_t ns)
{
    int64_t s = ns / NS_PER_S;
    int64_t rest = ns % NS_PER_S;

    if (change->mask & now_bit)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (!(change->mask & explicit_bit))
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    if (rest < 0) {
        rest += NS_PER_S;
        s--;
    }
    return (struct timespec){.tv_sec = s, .tv_nsec = rest};
}

/* @fd: may be an O_PATH one, of a symbolic link, too */
static int change_fd(int fd, const struct muse_attr_change *change)
{
    const struct timespec times[2] = {
        wanted_time(change, MUSE_SETATTR_ATIME, MUSE_SETATTR_ATIME_NOW, change->atime_ns),
        wanted_time(change, MUSE_SETATTR_MTIME, MUSE_SETATTR_MTIME_NOW, change->mtime_ns)};
    const uid_t uid = change->mask & MUSE_SETATTR_UID ? change->uid : (uid_t)-1;
    const gid_t gid = change->mask & MUSE_SETATTR_GID ? change->gid : (gid_t)-1;

    /* The owner first: the kernel takes set-uid bits away then. */
    if ((change->mask & (MUSE_SETATTR_UID | MUSE_SETATTR_GID)) &&
        fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return -errno;
    if ((change->mask & MUSE_SETATTR_MODE) &&
        syscall(SYS_fchmodat2, fd, "", change->mode, AT_EMPTY_PATH) < 0)
        return -errno;
    if ((times[0].tv_nsec != UTIME_OMIT || times[1].tv_nsec != UTIME_OMIT) &&
        utimensat(fd, "", times, AT_EMPTY_PATH) < 0)
        return -errno;
    return 0;
}

int names_setattr(const struct roots *roots, const struct muse_open_args *args,
                  const struct muse_attr_change *change, struct stat *ret_stat)
{
    CLEAN(fd_close_p) int fd = -1;
    struct identity own;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    r = lookup_in_roots(roots, args->path, args->oflags & O_NOFOLLOW, &fd);
    if (r == 0)
        r = change_fd(fd, change);
    if (r == 0 && fstat(fd, ret_stat) < 0)
        r = -errno;
    lookup_leave(args, &own);
    return r;
}

int names_setattr_open(int fd, const struct muse_open_args *args,
                       const struct muse_attr_change *change)
{
    struct identity own;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    r = change_fd(fd, change);
    lookup_leave(args, &own);
    return r;
}
