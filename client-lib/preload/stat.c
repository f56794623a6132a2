/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points about names and attributes, in all spellings the C library ever had. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#include "client-lib/preload/names.h"
#include "client-lib/preload/session.h"

#define FILE_SYSTEM_TYPE 0x6d757365 /* "muse"; chosen: no file system of Linux has it */
#define BLOCK_BYTES      4096

EXPORT int __xstat(int version, const char *path, struct stat *ret);
EXPORT int __lxstat(int version, const char *path, struct stat *ret);
EXPORT int __fxstat(int version, int fd, struct stat *ret);
EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *ret, int flags);

/* ---- stat ---- */

static int stat_fd(int fd, struct stat *ret)
{
    struct served *served = fds_get(fd);
    int r = 0;

    if (!served) {
        r = REAL(fstat)(fd, ret);
        if (r == 0 && names_is_placeholder(ret) && fds_adopt(fd))
            served = fds_get(fd);
    }
    if (served)
        r = names_fstat(served, ret);
    fds_put(served);
    return r;
}

/* @path: the program's, so it may be NULL whatever the C library's headers promise. */
static bool is_empty_path(const char *path, int flags)
{
    return path && path[0] == '\0' && (flags & AT_EMPTY_PATH);
}

static bool is_served_name(int dirfd, const char *path, int flags, struct where *where)
{
    return flags & AT_SYMLINK_NOFOLLOW ? where_is_served(dirfd, path, where)
                                       : where_follows(dirfd, path, where);
}

static int stat_at(int dirfd, const char *path, struct stat *ret, int flags)
{
    struct where where;
    bool is_outside;
    int r;

    if (is_empty_path(path, flags) && dirfd >= 0)
        return stat_fd(dirfd, ret);
    if (is_served_name(dirfd, path, flags, &where)) {
        r = names_stat(&where, !(flags & AT_SYMLINK_NOFOLLOW), ret, &is_outside);
        if (!is_outside)
            return r;
    }
    return REAL(fstatat)(where.dirfd, where.path, ret, flags);
}

EXPORT int stat(const char *path, struct stat *ret)
{
    return stat_at(AT_FDCWD, path, ret, 0);
}
EXPORT_AS(stat64, stat);

EXPORT int lstat(const char *path, struct stat *ret)
{
    return stat_at(AT_FDCWD, path, ret, AT_SYMLINK_NOFOLLOW);
}
EXPORT_AS(lstat64, lstat);

EXPORT int fstat(int fd, struct stat *ret)
{
    return stat_fd(fd, ret);
}
EXPORT_AS(fstat64, fstat);

EXPORT int fstatat(int dirfd, const char *path, struct stat *ret, int flags)
{
    return stat_at(dirfd, path, ret, flags);
}
EXPORT_AS(fstatat64, fstatat);

/* What programs built before glibc 2.33 call. The version is the struct's, and always the same. */
EXPORT int __xstat(int version, const char *path, struct stat *ret)
{
    (void)version;
    return stat_at(AT_FDCWD, path, ret, 0);
}
EXPORT_AS(__xstat64, __xstat);

EXPORT int __lxstat(int version, const char *path, struct stat *ret)
{
    (void)version;
    return stat_at(AT_FDCWD, path, ret, AT_SYMLINK_NOFOLLOW);
}
EXPORT_AS(__lxstat64, __lxstat);

EXPORT int __fxstat(int version, int fd, struct stat *ret)
{
    (void)version;
    return stat_fd(fd, ret);
}
EXPORT_AS(__fxstat64, __fxstat);

EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *ret, int flags)
{
    (void)version;
    return stat_at(dirfd, path, ret, flags);
}
EXPORT_AS(__fxstatat64, __fxstatat);

static struct statx_timestamp to_statx_time(struct timespec time)
{
    return (struct statx_timestamp){.tv_sec = time.tv_sec, .tv_nsec = (uint32_t)time.tv_nsec};
}

static void to_statx(const struct stat *from, struct statx *ret)
{
    *ret = (struct statx){.stx_mask = STATX_BASIC_STATS,
                          .stx_blksize = (uint32_t)from->st_blksize,
                          .stx_nlink = (uint32_t)from->st_nlink,
                          .stx_uid = from->st_uid,
                          .stx_gid = from->st_gid,
                          .stx_mode = (uint16_t)from->st_mode,
                          .stx_ino = from->st_ino,
                          .stx_size = (uint64_t)from->st_size,
                          .stx_blocks = (uint64_t)from->st_blocks,
                          .stx_atime = to_statx_time(from->st_atim),
                          .stx_ctime = to_statx_time(from->st_ctim),
                          .stx_mtime = to_statx_time(from->st_mtim),
                          .stx_dev_major = major(from->st_dev),
                          .stx_dev_minor = minor(from->st_dev)};
}

EXPORT int statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *ret)
{
    struct where where;
    struct stat stat;
    bool is_ours = is_served_name(dirfd, path, flags, &where);

    if (is_empty_path(path, flags) && dirfd >= 0)
        is_ours = shim_depth == 0 && (fds_is_served(dirfd) || fds_adopt(dirfd));
    if (!is_ours)
        return REAL(statx)(where.dirfd, where.path, flags, mask, ret);
    if (stat_at(dirfd, path, &stat, flags) < 0)
        return -1;
    to_statx(&stat, ret);
    return 0;
}

/* ---- access ---- */

static bool is_allowed(const struct stat *stat, int mode, bool effective)
{
    const uid_t uid = effective ? geteuid() : getuid();
    const gid_t gid = effective ? getegid() : getgid();
    unsigned shift = 0;

    if (uid == 0) /* root lacks nothing but the right to execute what nobody may */
        return !(mode & X_OK) || S_ISDIR(stat->st_mode) || (stat->st_mode & 0111);
    if (stat->st_uid == uid)
        shift = 6;
    else if (stat->st_gid == gid || group_member(stat->st_gid))
        shift = 3;
    return ((stat->st_mode >> shift) & (unsigned)mode) == (unsigned)mode;
}

static int access_at(int dirfd, const char *path, int mode, int flags)
{
    struct where where;
    struct stat stat;
    bool is_outside;

    if (is_served_name(dirfd, path, flags, &where)) {
        int r = names_stat(&where, !(flags & AT_SYMLINK_NOFOLLOW), &stat, &is_outside);

        if (!is_outside && r < 0)
            return -1;
        if (!is_outside)
            return is_allowed(&stat, mode, flags & AT_EACCESS) ? 0 : fail(EACCES);
    }
    return REAL(faccessat)(where.dirfd, where.path, mode, flags);
}

EXPORT int access(const char *path, int mode)
{
    return access_at(AT_FDCWD, path, mode, 0);
}

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
    return access_at(dirfd, path, mode, flags);
}

EXPORT int eaccess(const char *path, int mode)
{
    return access_at(AT_FDCWD, path, mode, AT_EACCESS);
}
EXPORT_AS(euidaccess, eaccess);

/* ---- file systems ---- */

/* Return: whether it is ours and there, in which case @ret_error is 0. */
static bool find_fs(const char *path, struct where *where, int *ret_error)
{
    struct stat stat;
    bool is_outside;

    if (!where_is_served(AT_FDCWD, path, where))
        return false;
    *ret_error = names_stat(where, true, &stat, &is_outside);
    return !is_outside;
}

static void fill_statfs(struct statfs *ret)
{
    *ret = (struct statfs){.f_type = FILE_SYSTEM_TYPE,
                           .f_bsize = BLOCK_BYTES,
                           .f_frsize = BLOCK_BYTES,
                           .f_namelen = 255};
}

static void fill_statvfs(struct statvfs *ret)
{
    *ret = (struct statvfs){.f_bsize = BLOCK_BYTES, .f_frsize = BLOCK_BYTES, .f_namemax = 255};
}

EXPORT int statfs(const char *path, struct statfs *ret)
{
    struct where where;
    int r;

    if (!find_fs(path, &where, &r))
        return REAL(statfs)(where.path, ret);
    if (r == 0)
        fill_statfs(ret);
    return r;
}
EXPORT_AS(statfs64, statfs);
EXPORT_AS(__statfs, statfs);

EXPORT int statvfs(const char *path, struct statvfs *ret)
{
    struct where where;
    int r;

    if (!find_fs(path, &where, &r))
        return REAL(statvfs)(where.path, ret);
    if (r == 0)
        fill_statvfs(ret);
    return r;
}
EXPORT_AS(statvfs64, statvfs);

EXPORT int fstatfs(int fd, struct statfs *ret)
{
    if (!fds_is_served(fd) || shim_depth > 0)
        return REAL(fstatfs)(fd, ret);
    fill_statfs(ret);
    return 0;
}
EXPORT_AS(fstatfs64, fstatfs);

EXPORT int fstatvfs(int fd, struct statvfs *ret)
{
    if (!fds_is_served(fd) || shim_depth > 0)
        return REAL(fstatvfs)(fd, ret);
    fill_statvfs(ret);
    return 0;
}
EXPORT_AS(fstatvfs64, fstatvfs);

/* Limits of names are the same everywhere. */
EXPORT long pathconf(const char *path, int name)
{
    struct where where;
    int r;

    if (!find_fs(path, &where, &r))
        return REAL(pathconf)(where.path, name);
    return r < 0 ? r : REAL(pathconf)("/", name);
}
