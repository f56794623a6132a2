/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points that change modes, owners and times: the driver is asked. Each spelling becomes one change
 * of a name or of a descriptor; what is not ours goes on at once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#include "client-lib/preload/names.h"

#define NS_PER_S 1000000000

/* ---- what is to be changed ---- */

static struct muse_setattr to_mode(mode_t mode)
{
    return (struct muse_setattr){.mask = MUSE_SETATTR_MODE, .mode = mode};
}

/* -1 is told, too: it stays, but set-uid does not */
static struct muse_setattr to_owner(uid_t uid, gid_t gid)
{
    return (struct muse_setattr){
        .mask = MUSE_SETATTR_UID | MUSE_SETATTR_GID, .uid = uid, .gid = gid};
}

/* Return: the bit for this time; 0 it stays. */
static unsigned time_bit(const struct timespec *time, unsigned is_said, unsigned is_now)
{
    if (time->tv_nsec == UTIME_NOW)
        return is_now;
    return time->tv_nsec == UTIME_OMIT ? 0 : is_said;
}

/* @times: access, modification; NULL: now. One that is none, libmuse refuses. */
static struct muse_setattr to_times(const struct timespec times[2])
{
    if (!times)
        return (struct muse_setattr){.mask = MUSE_SETATTR_ATIME_NOW | MUSE_SETATTR_MTIME_NOW};
    return (struct muse_setattr){
        .mask = time_bit(&times[0], MUSE_SETATTR_ATIME, MUSE_SETATTR_ATIME_NOW) |
                time_bit(&times[1], MUSE_SETATTR_MTIME, MUSE_SETATTR_MTIME_NOW),
        .atime = times[0],
        .mtime = times[1]};
}

/* The same of an older struct. */
static struct muse_setattr to_timevals(const struct timeval times[2])
{
    struct timespec converted[2];

    for (int i = 0; times && i < 2; i++) {
        const bool is_sane = times[i].tv_usec >= 0 && times[i].tv_usec < NS_PER_S / 1000;

        converted[i] = (struct timespec){.tv_sec = times[i].tv_sec,
                                         .tv_nsec = is_sane ? times[i].tv_usec * 1000 : -1};
    }
    return to_times(times ? converted : NULL);
}

static struct muse_setattr to_utimbuf(const struct utimbuf *times)
{
    const struct timespec converted[2] = {{.tv_sec = times ? times->actime : 0},
                                          {.tv_sec = times ? times->modtime : 0}};

    return to_times(times ? converted : NULL);
}

/* ---- of what ---- */

/* A placeholder that nobody has looked at since it was inherited would take the change itself. */
static struct served *find_served(int fd)
{
    struct stat stat;

    if (shim_depth > 0)
        return NULL;
    if (!fds_is_served(fd) &&
        (REAL(fstat)(fd, &stat) < 0 || !names_is_placeholder(&stat) || !fds_adopt(fd)))
        return NULL;
    return fds_get(fd);
}

/* Return: as the call; 1: the descriptor is not ours. */
static int change_fd(int fd, const struct muse_setattr *change)
{
    struct served *served = find_served(fd);
    int r;

    if (!served)
        return 1;
    r = names_fsetattr(served, change);
    fds_put(served);
    return r;
}

/* @change: all but the flags   @where: for the C library's call when 1 is returned
 * Return: as the call; 1: it is not ours. */
static int change_at(int dirfd, const char *path, int flags, struct muse_setattr *change,
                     struct where *where)
{
    bool is_ours, is_outside;
    int r;

    if (path && path[0] == '\0' && (flags & AT_EMPTY_PATH) && dirfd >= 0) {
        where->dirfd = dirfd;
        where->path = path;
        return change_fd(dirfd, change);
    }
    is_ours = flags & AT_SYMLINK_NOFOLLOW ? where_is_served(dirfd, path, where)
                                          : where_follows(dirfd, path, where);
    if (!is_ours)
        return 1;
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return fail(EINVAL);
    change->flags = flags & AT_SYMLINK_NOFOLLOW;
    r = names_setattr(where, change, &is_outside);
    return is_outside ? 1 : r;
}

/* The C library, and the kernel, do not even look at the path. */
static bool is_nothing(const struct timespec times[2])
{
    return times && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT;
}

/* ---- modes ---- */

EXPORT int chmod(const char *path, mode_t mode)
{
    struct muse_setattr change = to_mode(mode);
    struct where where;
    int r = change_at(AT_FDCWD, path, 0, &change, &where);

    return r == 1 ? REAL(chmod)(where.path, mode) : r;
}

EXPORT int lchmod(const char *path, mode_t mode)
{
    struct muse_setattr change = to_mode(mode);
    struct where where;
    int r = change_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &change, &where);

    return r == 1 ? REAL(lchmod)(where.path, mode) : r;
}

EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
    struct muse_setattr change = to_mode(mode);
    struct where where;
    int r = change_at(dirfd, path, flags, &change, &where);

    return r == 1 ? REAL(fchmodat)(where.dirfd, where.path, mode, flags) : r;
}

EXPORT int fchmod(int fd, mode_t mode)
{
    const struct muse_setattr change = to_mode(mode);
    int r = change_fd(fd, &change);

    return r == 1 ? REAL(fchmod)(fd, mode) : r;
}

/* ---- owners ---- */

EXPORT int chown(const char *path, uid_t uid, gid_t gid)
{
    struct muse_setattr change = to_owner(uid, gid);
    struct where where;
    int r = change_at(AT_FDCWD, path, 0, &change, &where);

    return r == 1 ? REAL(chown)(where.path, uid, gid) : r;
}

EXPORT int lchown(const char *path, uid_t uid, gid_t gid)
{
    struct muse_setattr change = to_owner(uid, gid);
    struct where where;
    int r = change_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &change, &where);

    return r == 1 ? REAL(lchown)(where.path, uid, gid) : r;
}

EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags)
{
    struct muse_setattr change = to_owner(uid, gid);
    struct where where;
    int r = change_at(dirfd, path, flags, &change, &where);

    return r == 1 ? REAL(fchownat)(where.dirfd, where.path, uid, gid, flags) : r;
}

EXPORT int fchown(int fd, uid_t uid, gid_t gid)
{
    const struct muse_setattr change = to_owner(uid, gid);
    int r = change_fd(fd, &change);

    return r == 1 ? REAL(fchown)(fd, uid, gid) : r;
}

/* ---- times ---- */

EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    struct muse_setattr change = to_times(times);
    struct where where;
    int r;

    if (is_nothing(times))
        return REAL(utimensat)(dirfd, path, times, flags);
    r = change_at(dirfd, path, flags, &change, &where);
    return r == 1 ? REAL(utimensat)(where.dirfd, where.path, times, flags) : r;
}

EXPORT int futimens(int fd, const struct timespec times[2])
{
    const struct muse_setattr change = to_times(times);
    int r = is_nothing(times) ? 1 : change_fd(fd, &change);

    return r == 1 ? REAL(futimens)(fd, times) : r;
}

EXPORT int utimes(const char *path, const struct timeval times[2])
{
    struct muse_setattr change = to_timevals(times);
    struct where where;
    int r = change_at(AT_FDCWD, path, 0, &change, &where);

    return r == 1 ? REAL(utimes)(where.path, times) : r;
}

EXPORT int lutimes(const char *path, const struct timeval times[2])
{
    struct muse_setattr change = to_timevals(times);
    struct where where;
    int r = change_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &change, &where);

    return r == 1 ? REAL(lutimes)(where.path, times) : r;
}

EXPORT int futimes(int fd, const struct timeval times[2])
{
    const struct muse_setattr change = to_timevals(times);
    int r = change_fd(fd, &change);

    return r == 1 ? REAL(futimes)(fd, times) : r;
}

/* Without a path it is about the descriptor. */
EXPORT int futimesat(int dirfd, const char *path, const struct timeval times[2])
{
    struct muse_setattr change = to_timevals(times);
    struct where where;
    int r = path ? change_at(dirfd, path, 0, &change, &where) : change_fd(dirfd, &change);

    if (r != 1)
        return r;
    return path ? REAL(futimesat)(where.dirfd, where.path, times)
                : REAL(futimesat)(dirfd, NULL, times);
}

EXPORT int utime(const char *path, const struct utimbuf *times)
{
    struct muse_setattr change = to_utimbuf(times);
    struct where where;
    int r = change_at(AT_FDCWD, path, 0, &change, &where);

    return r == 1 ? REAL(utime)(where.path, times) : r;
}
