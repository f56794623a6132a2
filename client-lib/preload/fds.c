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
#include <sys/syscall.h>
#include <unistd.h>

#include "client-lib/preload/session.h"
#include "client-lib/preload/where.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const char magic[16] = "muse-preload-1";

/* What the memfd holds. */
struct label {
    char magic[sizeof(magic)];
    uint32_t oflags;
    uint32_t is_folder;
    char name[PATH_MAX];
};

#define LABEL_HEADER_BYTES offsetof(struct label, name)

struct served *_Atomic fds_table[FDS_MAX];

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static int table_used; /* above all numbers that were ever ours, under the lock: most of the table
                          is never touched */

/* ---- the kernel's side, by system calls: nothing of this may come back to us ---- */

static int raw_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

static int raw_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

/* The same file once more, as /proc shows it. */
static int reopen(int fd, int flags)
{
    char path[40];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return raw_open(path, flags | O_CLOEXEC);
}

static int write_label(int fd, const struct label *label)
{
    const size_t n_bytes = LABEL_HEADER_BYTES + strlen(label->name) + 1;

    if (syscall(SYS_pwrite64, fd, label, n_bytes, 0) != (long)n_bytes ||
        syscall(SYS_fcntl, fd, F_ADD_SEALS, SEALS) < 0)
        return -1;
    return 0;
}

/* Return: the placeholder's fd; -1 and errno. */
static int placeholder(const struct label *label, int oflags)
{
    const bool is_cloexec = (oflags & O_CLOEXEC) != 0;
    char title[64];
    int fd, for_writing;

    (void)snprintf(title, sizeof(title), "muse:%.50s", label->name);
    fd = (int)syscall(SYS_memfd_create, title, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    for_writing = write_label(fd, label) < 0 ? -1 : reopen(fd, O_WRONLY);
    if (for_writing < 0) {
        const int error = errno;

        (void)raw_close(fd);
        return fail(error);
    }
    /* the number has to be the lowest that was free, so the first one is kept */
    if (syscall(SYS_dup3, for_writing, fd, is_cloexec ? O_CLOEXEC : 0) < 0) {
        (void)raw_close(fd);
        fd = -1;
    }
    (void)raw_close(for_writing);
    return fd;
}

/* Return: whether it is a placeholder. */
static bool read_label(int fd, struct label *ret)
{
    ssize_t n;
    int for_reading;

    if (syscall(SYS_fcntl, fd, F_GET_SEALS) != SEALS)
        return false;
    for_reading = reopen(fd, O_RDONLY);
    if (for_reading < 0)
        return false;
    n = syscall(SYS_pread64, for_reading, ret, sizeof(*ret), 0);
    (void)raw_close(for_reading);
    return n > (ssize_t)LABEL_HEADER_BYTES && memcmp(ret->magic, magic, sizeof(magic)) == 0 &&
           memchr(ret->name, '\0', (size_t)n - LABEL_HEADER_BYTES);
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
    close_file(served->file);
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
    struct label label = {.oflags = (uint32_t)oflags & ~(unsigned)(O_CREAT | O_EXCL | O_TRUNC),
                          .is_folder = !file};
    int fd;

    if (!served) {
        close_file(file);
        return fail(ENOMEM);
    }
    served->file = file;
    served->generation = generation;
    memcpy(label.magic, magic, sizeof(magic));
    (void)snprintf(label.name, sizeof(label.name), "%s", name);
    fd = placeholder(&label, oflags);
    if (fd >= FDS_MAX) {
        (void)raw_close(fd);
        fd = fail(EMFILE);
    }
    if (fd < 0) {
        fds_put(served);
        return -1;
    }
    set(fd, served);
    return fd;
}

bool fds_adopt(int fd)
{
    const int saved = errno;
    struct served *served = NULL;
    struct label label;

    if (shim_depth == 0 && (unsigned)fd < FDS_MAX && !fds_is_served(fd) && read_label(fd, &label))
        served = served_new(label.name, (int)label.oflags, label.is_folder);
    if (served)
        set(fd, served);
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
