/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Path lookup below the roots. Takes on the client's fsuid, fsgid and groups for the time of the
 * lookup; these are per thread on Linux, so the fault thread is not affected. A driver that may not
 * do so (it is not root) serves its own user only: it could not check anybody else's rights.
 */
#include "drivers/file/lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/own.h"

#define OPENAT2_TRIES 16   /* EAGAIN: somebody renames below us just now, openat2(2) */
#define PASSWD_BYTES  4096 /* chosen; a longer entry counts as none */

int roots_add(struct roots *roots, const char *name)
{
    int fd;

    if (roots->n == FILE_ROOTS_MAX)
        return -E2BIG;
    fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    roots->fds[roots->n] = fd;
    roots->names[roots->n] = name;
    roots->n++;
    return 0;
}

void roots_done(struct roots *roots)
{
    while (roots->n > 0)
        fd_close_p(&roots->fds[--roots->n]);
}

/* The thread's alone, unlike setgroups(3), which changes all threads. */
static int set_thread_groups(const gid_t *groups, int n_groups)
{
    return syscall(SYS_setgroups, (size_t)n_groups, groups) < 0 ? -errno : 0;
}

static void get_own(struct identity *ret_own)
{
    ret_own->uid = geteuid();
    ret_own->gid = getegid();
    ret_own->n_groups = getgroups(LOOKUP_GROUPS_MAX, ret_own->groups);
    if (ret_own->n_groups < 0)
        ret_own->n_groups = 0;
}

static void get_client(const struct muse_open_args *args, struct identity *ret_client)
{
    char buf[PASSWD_BYTES];
    struct passwd passwd;
    struct passwd *found = NULL;

    ret_client->uid = args->uid;
    ret_client->gid = args->gid;
    ret_client->groups[0] = args->gid;
    ret_client->n_groups = 1;
    if (getpwuid_r(args->uid, &passwd, buf, sizeof(buf), &found) != 0 || !found)
        return;
    ret_client->n_groups = LOOKUP_GROUPS_MAX;
    if (getgrouplist(found->pw_name, args->gid, ret_client->groups, &ret_client->n_groups) < 0)
        ret_client->n_groups = LOOKUP_GROUPS_MAX;
}

static void set_fs_ids(const struct identity *who)
{
    (void)setfsgid(who->gid); /* their results say nothing; checked by the caller */
    (void)setfsuid(who->uid);
}

static bool fs_ids_are(const struct identity *who)
{
    return (uid_t)setfsuid((uid_t)-1) == who->uid && (gid_t)setfsgid((gid_t)-1) == who->gid;
}

static void become_self(const struct identity *own)
{
    set_fs_ids(own);
    (void)set_thread_groups(own->groups,
                            own->n_groups); /* could take them off, so can put them on */
}

/* Return: 0, to be followed by become_self(); -EACCES. */
static int become_client(const struct identity *own, const struct identity *client)
{
    if (set_thread_groups(client->groups, client->n_groups) == 0) {
        set_fs_ids(client);
        if (fs_ids_are(client))
            return 0;
        become_self(own);
    }
    muse_set_error("this driver runs as uid %u and cannot check the rights of uid %u", own->uid,
                   client->uid);
    return -EACCES;
}

int lookup_beneath(int root, const char *path, int flags)
{
    const struct open_how how = {.flags = (unsigned)(O_PATH | O_CLOEXEC | flags),
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;

    for (int i = 0; i < OPENAT2_TRIES; i++) {
        fd = syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int lookup_in_roots(const struct roots *roots, const char *path, int flags, int *ret_fd)
{
    int r = -ENOENT;

    for (size_t i = 0; i < roots->n; i++) {
        r = lookup_beneath(roots->fds[i], path, flags);
        if (r >= 0) {
            *ret_fd = r;
            return 0;
        }
        if (r != -ENOENT && r != -ENOTDIR)
            break;
    }
    if (r != -EXDEV)
        return r;
    muse_set_error("%s leads out of the folder this driver serves", path);
    return -EACCES;
}

/* Only a regular file is ever really opened: opening a FIFO waits, opening a device does things. */
static int check_kind(int path_fd, struct stat *ret_stat)
{
    if (fstat(path_fd, ret_stat) < 0)
        return -errno;
    if (S_ISDIR(ret_stat->st_mode))
        return -EISDIR;
    if (S_ISREG(ret_stat->st_mode))
        return 0;
    muse_set_error("not a regular file: muse-file serves nothing else");
    return -ENODEV;
}

static int open_really(int path_fd, bool writable, int *ret_fd)
{
    char name[32];
    int fd;

    /* As the client, who may have fewer rights than this process: AT_EACCESS looks at the fsuid. */
    if (writable && syscall(SYS_faccessat2, path_fd, "", W_OK, AT_EACCESS | AT_EMPTY_PATH) < 0)
        return -errno;
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
    fd = open(name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

/* O_CREAT of a name that is not there. It is another's if somebody was faster: then the caller looks
 * again. What is created is open, whatever its mode, as by open(2). Return: 0; -EEXIST; -errno. */
static int create(const struct roots *roots, const struct muse_open_args *args, bool writable,
                  int *ret_fd, struct stat *ret_stat)
{
    const struct open_how how = {
        .flags = (unsigned)((writable ? O_RDWR : O_RDONLY) | O_CREAT | O_EXCL | O_CLOEXEC),
        .mode = args->mode & 0777u,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int r = -ENOENT;

    for (size_t i = 0; i < roots->n; i++) {
        CLEAN(fd_close_p)
        int fd = (int)syscall(SYS_openat2, roots->fds[i], args->path, &how, sizeof(how));

        if (fd >= 0) {
            r = check_kind(fd, ret_stat);
            if (r == 0)
                *ret_fd = fd_take(&fd);
            return r;
        }
        r = -errno;
        if (r != -ENOENT && r != -ENOTDIR)
            break;
    }
    return r == -EXDEV ? -EACCES : r;
}

static int open_there(const struct roots *roots, const char *path, bool writable, int *ret_fd,
                      struct stat *ret_stat)
{
    CLEAN(fd_close_p) int path_fd = -1;
    int r = lookup_in_roots(roots, path, 0, &path_fd);

    if (r == 0)
        r = check_kind(path_fd, ret_stat);
    if (r == 0)
        r = open_really(path_fd, writable, ret_fd);
    return r;
}

static int open_as_is(const struct roots *roots, const struct muse_open_args *args, bool writable,
                      bool may_create, int *ret_fd, struct stat *ret_stat)
{
    const bool is_exclusive = (args->oflags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    int r;

    if (!is_exclusive) {
        r = open_there(roots, args->path, writable, ret_fd, ret_stat);
        if (r != -ENOENT || !(args->oflags & O_CREAT))
            return r;
    }
    if (!may_create)
        return -EROFS;
    r = create(roots, args, writable, ret_fd, ret_stat);
    if (r == -EEXIST && !is_exclusive)
        r = open_there(roots, args->path, writable, ret_fd, ret_stat);
    return r;
}

int lookup_enter(const struct muse_open_args *args, struct identity *ret_own)
{
    struct identity client;

    get_own(ret_own);
    if (args->uid == ret_own->uid)
        return 0;
    get_client(args, &client);
    return become_client(ret_own, &client);
}

void lookup_leave(const struct muse_open_args *args, const struct identity *own)
{
    if (args->uid != own->uid)
        become_self(own);
}

int lookup_open(const struct roots *roots, const struct muse_open_args *args, bool writable,
                bool may_create, int *ret_fd, struct stat *ret_stat)
{
    struct identity own;
    int r = lookup_enter(args, &own);

    if (r < 0)
        return r;
    r = open_as_is(roots, args, writable, may_create, ret_fd, ret_stat);
    lookup_leave(args, &own);
    return r;
}
