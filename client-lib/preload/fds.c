/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of served descriptors, and the memfds that stand for them in the kernel. */
#define _GNU_SOURCE
#include "client-lib/preload/fds.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client-lib/preload/session.h"
#include "client-lib/preload/where.h"
#include "common/base/lock_label.h"

struct served *_Atomic fds_table[FDS_MAX];

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static int table_used; /* above all numbers that were ever ours, under the lock: most of the table
                          is never touched */

/* ---- the kernel's side, by system calls: nothing of this may come back to us ---- */

static int raw_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

int fds_raw_open(int fd, int oflags)
{
    char path[40];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return (int)syscall(SYS_openat, AT_FDCWD, path, oflags | O_CLOEXEC, 0);
}

/* Return: its inode; 0: none. Keeps errno. */
static ino_t inode_of(int fd)
{
    const int saved = errno;
    struct stat stat;
    const bool is_file = syscall(SYS_fstat, fd, &stat) == 0 && S_ISREG(stat.st_mode);

    errno = saved;
    return is_file && stat.st_nlink == 0 ? stat.st_ino : 0;
}

bool fds_raw_is(int fd, ino_t inode)
{
    return inode_of(fd) == inode;
}

/* ---- placeholders ---- */

static bool write_label(int fd, const char *name, int oflags)
{
    const struct lock_slot slot = {.oflags = (uint32_t)oflags & LOCK_LABEL_OFLAGS};
    const size_t n_name = strlen(name) + 1;
    const off_t at = offsetof(struct lock_label, slots);

    return syscall(SYS_pwrite64, fd, LOCK_LABEL_MAGIC, sizeof(LOCK_LABEL_MAGIC) - 1, 0) >= 0 &&
           syscall(SYS_pwrite64, fd, &slot, offsetof(struct lock_slot, name), at) >= 0 &&
           syscall(SYS_pwrite64, fd, name, n_name, at + (off_t)offsetof(struct lock_slot, name)) >=
               0 &&
           syscall(SYS_fcntl, fd, F_ADD_SEALS, LOCK_LABEL_SEALS) >= 0;
}

/* Return: the placeholder's fd, close-on-exec; -1 and errno. */
static int folder_placeholder(const char *name, int oflags)
{
    char title[64];
    int fd, for_writing;

    (void)snprintf(title, sizeof(title), "muse:%.50s", name);
    fd = (int)syscall(SYS_memfd_create, title, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    for_writing = write_label(fd, name, oflags) ? fds_raw_open(fd, O_WRONLY) : -1;
    if (for_writing < 0) {
        const int error = errno;

        (void)raw_close(fd);
        return fail(error);
    }
    /* the number has to be the lowest that was free, so the first one is kept */
    if (syscall(SYS_dup3, for_writing, fd, O_CLOEXEC) < 0 ||
        syscall(SYS_fcntl, fd, F_SETSIG, 1) < 0) {
        (void)raw_close(fd);
        fd = -1;
    }
    (void)raw_close(for_writing);
    return fd;
}

/* Return: the fd; -1 and errno. */
static int placeholder(const char *name, int oflags, struct muse_file *file)
{
    const int fd = file ? INSIDE(muse_lock_file(file, oflags)) : folder_placeholder(name, oflags);

    if (fd >= FDS_MAX) {
        (void)raw_close(fd);
        return fail(EMFILE);
    }
    if (fd >= 0 && !(oflags & O_CLOEXEC))
        (void)syscall(SYS_fcntl, fd, F_SETFD, 0);
    if (fd >= 0 && (oflags & FDS_KERNEL_OFLAGS))
        (void)syscall(SYS_fcntl, fd, F_SETFL, oflags & FDS_KERNEL_OFLAGS);
    return fd;
}

/* @for_reading: the same file. Return: whether it is a placeholder. */
static bool read_slot(int for_reading, long slot, struct lock_slot *ret)
{
    const off_t at = (off_t)offsetof(struct lock_label, slots) + slot * (off_t)sizeof(*ret);
    char found[sizeof(LOCK_LABEL_MAGIC) - 1];

    memset(ret, 0, sizeof(*ret));
    return syscall(SYS_pread64, for_reading, found, sizeof(found), 0) == (long)sizeof(found) &&
           memcmp(found, LOCK_LABEL_MAGIC, sizeof(found)) == 0 &&
           syscall(SYS_pread64, for_reading, ret, sizeof(*ret), at) >
               (long)offsetof(struct lock_slot, name) &&
           memchr(ret->name, '\0', sizeof(ret->name));
}

/* Return: the same file opened once more, when it is a placeholder; -1. */
static int read_label(int fd, struct lock_slot *ret)
{
    const long slot = syscall(SYS_fcntl, fd, F_GETSIG) - 1;
    int again;

    if (slot < 0 || slot >= LOCK_LABEL_SLOTS ||
        syscall(SYS_fcntl, fd, F_GET_SEALS) != LOCK_LABEL_SEALS)
        return -1;
    again = fds_raw_open(fd, O_RDWR);
    if (again >= 0 && !read_slot(again, slot, ret)) {
        (void)raw_close(again);
        again = -1;
    }
    return again;
}

/* ---- descriptions ---- */

static struct served *served_new(const char *name, int oflags, bool is_folder)
{
    struct served *served = calloc(1, sizeof(*served));

    if (!served)
        return NULL;
    served->name = strdup(name);
    if (!served->name) {
        free(served);
        return NULL;
    }
    served->n_refs = 1;
    served->oflags = oflags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC);
    served->is_folder = is_folder;
    atomic_init(&served->lock_fd, -1);
    (void)pthread_mutex_init(&served->lock, NULL);
    return served;
}

static void close_file(struct muse_file *file)
{
    if (file)
        (void)INSIDE(muse_close(file));
}

static void served_free(struct served *served)
{
    const int lock_fd = atomic_load(&served->lock_fd);

    close_file(served->file);
    if (lock_fd >= 0 && fds_raw_is(lock_fd, served->inode)) /* programs close what is not theirs */
        (void)raw_close(lock_fd);
    (void)pthread_mutex_destroy(&served->lock);
    free(served->name);
    free(served);
}

void fds_put(struct served *served)
{
    const int saved = errno;
    bool is_last;

    if (!served)
        return;
    (void)pthread_mutex_lock(&table_lock);
    is_last = --served->n_refs == 0;
    (void)pthread_mutex_unlock(&table_lock);
    if (is_last)
        served_free(served);
    errno = saved;
}

struct served *fds_get(int fd)
{
    struct served *served = NULL;

    if (!fds_is_served(fd) || shim_depth > 0)
        return NULL;
    (void)pthread_mutex_lock(&table_lock);
    served = atomic_load(&fds_table[fd]);
    if (served)
        served->n_refs++;
    (void)pthread_mutex_unlock(&table_lock);
    return served;
}

/* Put a reference, which may be NULL, into the table. */
static void set(int fd, struct served *served)
{
    struct served *old = NULL;

    (void)pthread_mutex_lock(&table_lock);
    old = atomic_exchange(&fds_table[fd], served);
    if (fd >= table_used)
        table_used = fd + 1;
    if (served && served->is_folder)
        atomic_store(&where_is_relative, true);
    (void)pthread_mutex_unlock(&table_lock);
    fds_put(old);
}

int fds_open(const char *name, int oflags, struct muse_file *file, unsigned generation)
{
    struct served *served = served_new(name, oflags, !file);
    int fd;

    if (!served) {
        close_file(file);
        return fail(ENOMEM);
    }
    served->file = file;
    served->generation = generation;
    fd = placeholder(name, oflags | (file ? 0 : O_DIRECTORY), file);
    if (fd < 0) {
        fds_put(served);
        return -1;
    }
    served->inode = inode_of(fd);
    set(fd, served);
    return fd;
}

static bool is_known(ino_t inode)
{
    bool found = false;

    (void)pthread_mutex_lock(&table_lock);
    for (int fd = 0; fd < table_used && !found; fd++) {
        const struct served *served = atomic_load(&fds_table[fd]);

        found = served && served->inode == inode;
    }
    (void)pthread_mutex_unlock(&table_lock);
    return found;
}

/* What the label was read from: closing it would give up this process's fcntl(2) locks of the
 * object, which it can have when it has other descriptors of it. */
static void keep_or_close(struct served *served, int again)
{
    if (is_known(served->inode))
        atomic_store(&served->lock_fd, again);
    else
        (void)raw_close(again);
}

bool fds_adopt(int fd)
{
    const int saved = errno;
    struct served *served = NULL;
    struct lock_slot slot;
    int again = -1;

    if (shim_depth == 0 && (unsigned)fd < FDS_MAX && !fds_is_served(fd))
        again = read_label(fd, &slot);
    if (again >= 0)
        served = served_new(slot.name, (int)slot.oflags, slot.oflags & O_DIRECTORY);
    if (served) {
        served->inode = inode_of(fd);
        keep_or_close(served, again);
        set(fd, served);
    } else if (again >= 0) {
        (void)raw_close(again);
    }
    errno = saved;
    return served != NULL;
}

void fds_drop(int fd)
{
    if (fds_is_served(fd) && shim_depth == 0)
        set(fd, NULL);
}

void fds_share(int old_fd, int new_fd)
{
    struct served *served = fds_get(old_fd);

    if ((unsigned)new_fd < FDS_MAX && shim_depth == 0 && (served || fds_is_served(new_fd)))
        set(new_fd, served);
    else
        fds_put(served);
}

void fds_drop_range(unsigned first, unsigned last)
{
    for (unsigned fd = first; fd <= last && fd < (unsigned)table_used; fd++)
        fds_drop((int)fd);
}

bool fds_folder_name(int fd, char *ret_name)
{
    struct served *served = fds_get(fd);
    bool is_folder;

    if (!served && fd >= 0 && fds_adopt(fd))
        served = fds_get(fd);
    is_folder = served && served->is_folder;
    if (is_folder)
        (void)snprintf(ret_name, PATH_MAX, "%s", served->name);
    fds_put(served);
    return is_folder;
}

struct muse_file *fds_file(struct served *served)
{
    unsigned generation;
    struct muse *muse = session_get(&generation);
    struct muse_file *file;

    if (!muse)
        return NULL;
    if (served->is_folder) {
        errno = EISDIR;
        return NULL;
    }
    if (served->file && served->generation == generation)
        return served->file;
    served->file = NULL; /* of a connection that is gone: fds_close_files() has had it */
    if (INSIDE(muse_open(muse, served->name,
                         (served->oflags & O_ACCMODE) == O_RDONLY ? O_RDONLY : O_RDWR, &file)) < 0)
        return NULL;
    served->file = file;
    served->generation = generation;
    return file;
}

void fds_close_files(void)
{
    for (int fd = 0; fd < table_used; fd++) {
        struct served *served = atomic_load(&fds_table[fd]);

        if (served && served->file) {
            close_file(served->file);
            served->file = NULL;
        }
    }
}

void fds_forking(void)
{
    (void)pthread_mutex_lock(&table_lock);
}

void fds_forked(bool is_child)
{
    for (int fd = 0; is_child && fd < table_used; fd++) {
        struct served *served = atomic_load(&fds_table[fd]);

        if (served) /* who held it is not in this process */
            (void)pthread_mutex_init(&served->lock, NULL);
    }
    (void)pthread_mutex_unlock(&table_lock);
}
