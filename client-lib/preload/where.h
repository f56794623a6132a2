/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is a path one of ours? /muse is no folder of this machine: paths are taken apart here, as text.
 * ".." therefore is the folder that is written before it, also behind a symbolic link.
 */
#ifndef MUSE_CLIENT_LIB_PRELOAD_WHERE_H
#define MUSE_CLIENT_LIB_PRELOAD_WHERE_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client-lib/preload/shim.h"

#define WHERE_ROOT "/muse"

struct where {
    int dirfd;           /* for the C library, when it is not ours */
    const char *path;    /* the same: the program's own, or @text */
    char name[PATH_MAX]; /* when it is ours: DRIVER/OBJECT, DRIVER or "" */
    bool wants_folder;   /* it ended in a slash */
    char text[PATH_MAX];
};

/* Is there anything that a relative path could be relative to: a folder of ours that is open, or is
 * the working folder? */
extern atomic_bool where_is_relative;

/** where_copy() - copy a path; @ret_text: PATH_MAX bytes; what is longer is cut */
void where_copy(char *ret_text, const char *text);

/** where_look() - as where_is_served(), after the first look */
bool where_look(int dirfd, const char *path, struct where *ret);

/**
 * where_is_served() - whether a path is ours
 * @dirfd: as for openat(2)   @path: may be NULL: is not ours
 *
 * Return: true, and @ret->name; false, and @ret->dirfd and @ret->path are for the C library.
 */
static inline bool where_is_served(int dirfd, const char *path, struct where *ret)
{
    ret->dirfd = dirfd;
    ret->path = path;
    if (!path)
        return false;
    if (path[0] == '/') { /* "//muse" and "/./muse" are ours, too */
        if (path[1] != 'm' && path[1] != '/' && path[1] != '.')
            return false;
    } else if (!atomic_load_explicit(&where_is_relative, memory_order_relaxed)) {
        return false;
    }
    return where_look(dirfd, path, ret);
}

/** where_look_fd() - as where_follows(), after the first look */
bool where_look_fd(const char *path, struct where *ret);

/**
 * where_follows() - as where_is_served(), also for the links of the kernel's to a descriptor of this process:
 * "/dev/stdin", "/dev/fd/3", "/proc/self/fd/3". What they lead to is the placeholder's memfd, with bytes that are nobody's.
 *
 * For calls that follow a link in the last part; the object is the one of that name now.
 */
static inline bool where_follows(int dirfd, const char *path, struct where *ret)
{
    return where_is_served(dirfd, path, ret) ||
           (path && path[0] == '/' && (path[1] == 'd' || path[1] == 'p') &&
            where_look_fd(path, ret));
}

/**
 * where_join() - a path seen from a name of ours
 * @base: DRIVER/OBJECT, DRIVER or ""   @path: absolute, or relative to @base
 *
 * Return: true, and @ret->name; false, and @ret->path is absolute, for the C library; false and
 * @ret->path NULL: too long.
 */
bool where_join(const char *base, const char *path, struct where *ret);

/** where_cwd() - the working folder, when it is ours: its name, into @ret_name (PATH_MAX bytes).
 * Return: whether it is. */
bool where_cwd(char *ret_name);

/** where_set_cwd() - @name: the working folder from now on; NULL: it is not ours any more */
void where_set_cwd(const char *name);

/** where_env() - "MUSE_PRELOAD_CWD=..." for a child. Return: into @buf; NULL: not needed. */
const char *where_env(char *buf, size_t size);

/** where_env_of() - the same for a folder of ours */
const char *where_env_of(const char *name, char *buf, size_t size);

/** where_begin() - at start: a working folder that the parent has left in the environment */
void where_begin(void);

#endif
