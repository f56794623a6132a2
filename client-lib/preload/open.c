/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry points that make, copy and end descriptors: open, close, dup, fcntl. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client-lib/preload/locks.h"
#include "client-lib/preload/names.h"
#include "client-lib/preload/stdio.h"

EXPORT int __open_2(const char *path, int oflags);
EXPORT int __openat_2(int dirfd, const char *path, int oflags);

/* Return: whether @ret_fd says it all; false: @where is for the C library. */
static bool open_served(struct where *where, int oflags, mode_t mode, int *ret_fd)
{
    bool is_outside;

    *ret_fd = names_open(where, oflags, mode, &is_outside);
    return !is_outside;
}

static int open_at(int dirfd, const char *path, int oflags, mode_t mode)
{
    struct where where;
    const bool is_ours = oflags & O_NOFOLLOW ? where_is_served(dirfd, path, &where)
                                             : where_follows(dirfd, path, &where);
    int fd;

    if (is_ours && open_served(&where, oflags, mode, &fd)) {
        stdio_changed(fd);
        return fd;
    }
    return REAL(openat)(where.dirfd, where.path, oflags, mode);
}

static bool has_mode(int oflags)
{
    return (oflags & O_CREAT) || (oflags & O_TMPFILE) == O_TMPFILE;
}

EXPORT int openat(int dirfd, const char *path, int oflags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, oflags);
    if (has_mode(oflags))
        mode = va_arg(args, mode_t);
    va_end(args);
    return open_at(dirfd, path, oflags, mode);
}
EXPORT_AS(openat64, openat);

EXPORT int open(const char *path, int oflags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, oflags);
    if (has_mode(oflags))
        mode = va_arg(args, mode_t);
    va_end(args);
    return open_at(AT_FDCWD, path, oflags, mode);
}
EXPORT_AS(open64, open);
EXPORT_AS(__open, open);
EXPORT_AS(__open64, open);

EXPORT int __open_2(const char *path, int oflags)
{
    return open_at(AT_FDCWD, path, oflags, 0);
}
EXPORT_AS(__open64_2, __open_2);

EXPORT int __openat_2(int dirfd, const char *path, int oflags)
{
    return open_at(dirfd, path, oflags, 0);
}
EXPORT_AS(__openat64_2, __openat_2);

EXPORT int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
EXPORT_AS(creat64, creat);

/* ---- temporary files: the C library opens them without us ---- */

#define TEMP_TRIES  100 /* chosen: names that were all taken are no accident */
#define TEMP_PLACES 6u  /* "XXXXXX" */

/* Other letters each time. */
static void fill_places(char *places)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char random[TEMP_PLACES];

    (void)getentropy(random, sizeof(random));
    for (size_t i = 0; i < TEMP_PLACES; i++)
        places[i] = letters[random[i] % (sizeof(letters) - 1)];
}

static int make_temp(char *path, int n_suffix, int oflags)
{
    const size_t n = strlen(path);
    struct where where;
    int fd = -1;

    if (!where_is_served(AT_FDCWD, path, &where))
        return REAL(mkostemps)(path, n_suffix, oflags);
    if (n_suffix < 0 || n < TEMP_PLACES + (size_t)n_suffix ||
        strncmp(path + n - (size_t)n_suffix - TEMP_PLACES, "XXXXXX", TEMP_PLACES) != 0)
        return fail(EINVAL);
    for (int i = 0; i < TEMP_TRIES && fd < 0; i++) {
        fill_places(path + n - (size_t)n_suffix - TEMP_PLACES);
        fd = open_at(AT_FDCWD, path, (oflags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    return fd;
}

EXPORT int mkostemps(char *path, int n_suffix, int oflags)
{
    return make_temp(path, n_suffix, oflags);
}
EXPORT_AS(mkostemps64, mkostemps);

EXPORT int mkstemps(char *path, int n_suffix)
{
    return make_temp(path, n_suffix, 0);
}
EXPORT_AS(mkstemps64, mkstemps);

EXPORT int mkostemp(char *path, int oflags)
{
    return make_temp(path, 0, oflags);
}
EXPORT_AS(mkostemp64, mkostemp);

EXPORT int mkstemp(char *path)
{
    return make_temp(path, 0, 0);
}
EXPORT_AS(mkstemp64, mkstemp);

EXPORT char *mkdtemp(char *path)
{
    const size_t n = strlen(path);
    struct where where;

    if (!where_is_served(AT_FDCWD, path, &where))
        return REAL(mkdtemp)(path);
    if (n < TEMP_PLACES || strcmp(path + n - TEMP_PLACES, "XXXXXX") != 0) {
        errno = EINVAL;
        return NULL;
    }
    for (int i = 0; i < TEMP_TRIES; i++) {
        fill_places(path + n - TEMP_PLACES);
        if (mkdir(path, 0700) == 0)
            return path;
        if (errno != EEXIST)
            break;
    }
    return NULL;
}

/* ---- closing and copying ---- */

EXPORT int close(int fd)
{
    fds_drop(fd);
    return REAL(close)(fd);
}
EXPORT_AS(__close, close);

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
    if (!((unsigned)flags & CLOSE_RANGE_CLOEXEC))
        fds_drop_range(first, last);
    return REAL(close_range)(first, last, flags);
}

EXPORT void closefrom(int first)
{
    fds_drop_range(first < 0 ? 0 : (unsigned)first, UINT32_MAX);
    REAL(closefrom)(first);
}

EXPORT int dup(int fd)
{
    const int copy = REAL(dup)(fd);

    if (copy >= 0) {
        fds_share(fd, copy);
        stdio_changed(copy);
    }
    return copy;
}

EXPORT int dup2(int fd, int new_fd)
{
    const int copy = REAL(dup2)(fd, new_fd);

    if (copy >= 0 && fd != new_fd) {
        fds_share(fd, copy);
        stdio_changed(copy);
    }
    return copy;
}
EXPORT_AS(__dup2, dup2);

EXPORT int dup3(int fd, int new_fd, int flags)
{
    const int copy = REAL(dup3)(fd, new_fd, flags);

    if (copy >= 0) {
        fds_share(fd, copy);
        stdio_changed(copy);
    }
    return copy;
}

static int fcntl_served(int fd, struct served *served, int command, uintptr_t argument)
{
    int r;

    switch (command) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return locks_fcntl(fd, served, command, argument);
    case F_GETFL:
        r = REAL(fcntl)(fd, command, argument);
        return r < 0 ? r : (r & ~O_ACCMODE) | (served->oflags & (O_ACCMODE | O_DIRECTORY | O_SYNC));
    case F_ADD_SEALS:
    case F_GET_SEALS:
    case F_SETSIG: /* says how the descriptor was opened, see fds.h */
        return fail(EINVAL);
    case F_GETSIG:
        return 0;
    default: /* the kernel's numbers, not an enum of ours */
        return REAL(fcntl)(fd, command, argument);
    }
}

/* Of a descriptor that came by exec the kernel would say how the placeholder is open. */
static bool is_adopted(int fd, int command, int r)
{
    const bool says_mode = command == F_GETFL && r >= 0 && (r & O_ACCMODE) == O_WRONLY;

    return (says_mode || (r < 0 && errno == EBADF)) && fds_adopt(fd);
}

EXPORT int fcntl(int fd, int command, ...)
{
    struct served *served = fds_get(fd);
    uintptr_t argument;
    va_list args;
    int r;

    va_start(args, command);
    argument = va_arg(args, uintptr_t); /* as the C library does: an int, a pointer, or nothing */
    va_end(args);
    r = served ? 0 : REAL(fcntl)(fd, command, argument);
    if (!served && is_adopted(fd, command, r))
        served = fds_get(fd);
    if (served)
        r = fcntl_served(fd, served, command, argument);
    if (served && r >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
        fds_share(fd, r);
        stdio_changed(r);
    }
    fds_put(served);
    return r;
}
EXPORT_AS(fcntl64, fcntl);
EXPORT_AS(__fcntl, fcntl);
