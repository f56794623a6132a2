/* SPDX-License-Identifier: BSD-3-Clause */
/* Lock files: memfds with labels. Owns their fds and mappings. Knows nothing of locks: those are
 * the kernel's, between clients. */
#include "server/store/lock_file.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/own.h"

#define TITLE_BYTES_MAX 200 /* memfd_create(2): 249 */

/* Descriptors of objects that are gone which stay locked; chosen. More: the oldest is forgotten. */
#define KEPT_MAX 256u

static struct lock_file *lock_file_of(struct list *node)
{
    return CONTAINER_OF(node, struct lock_file, node);
}

/* Return: the fd; -errno. */
static int reopen(int fd, int flags)
{
    char path[40];
    int again;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, flags | O_CLOEXEC);
    return again < 0 ? -errno : again;
}

/* Opened like those of clients: the kernel does not count what memfd_create(2) gives as a writer.
 * Return: the fd; -errno. */
static int make_file(const char *title)
{
    char cut[TITLE_BYTES_MAX + 1];
    CLEAN(fd_close_p) int fd = -1;

    (void)snprintf(cut, sizeof(cut), "muse-locks:%s", title); /* cut on purpose */
    fd = memfd_create(cut, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : reopen(fd, O_RDWR);
}

/* @fd: of a new memfd. The mapping has to be there before the seals. The signal is for a lease that is
 * broken while is_open_elsewhere() has it: one that is ignored; SIGIO would end the server. */
static int fill(int fd, struct lock_label **ret_label)
{
    struct lock_label *label;

    if (ftruncate(fd, sizeof(*label)) < 0)
        return -errno;
    label = mmap(NULL, sizeof(*label), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (label == MAP_FAILED)
        return -errno;
    if (fcntl(fd, F_ADD_SEALS, LOCK_LABEL_SEALS) < 0 || fcntl(fd, F_SETSIG, SIGURG) < 0) {
        const int error = errno;

        MUST(munmap(label, sizeof(*label)) == 0);
        return -error;
    }
    memcpy(label->magic, LOCK_LABEL_MAGIC, sizeof(label->magic));
    *ret_label = label;
    return 0;
}

int lock_file_new(const char *title, struct lock_file **ret)
{
    struct lock_file *lock_file = calloc(1, sizeof(*lock_file));
    int r;

    if (!lock_file)
        return -ENOMEM;
    list_init(&lock_file->node);
    r = lock_file->fd = make_file(title);
    if (r >= 0)
        r = fill(lock_file->fd, &lock_file->label);
    if (r < 0) {
        lock_file_free(lock_file);
        return r;
    }
    *ret = lock_file;
    return 0;
}

struct lock_file *lock_file_free(struct lock_file *lock_file)
{
    if (!lock_file)
        return NULL;
    if (lock_file->label)
        MUST(munmap(lock_file->label, sizeof(*lock_file->label)) == 0);
    fd_close_p(&lock_file->fd);
    list_del(&lock_file->node);
    free(lock_file);
    return NULL;
}

/* Return: which slot says this, + 1; 0: none is left, or it is too long. */
static unsigned slot_for(struct lock_file *lock_file, const char *driver, const char *path,
                         uint32_t oflags)
{
    struct lock_slot wanted = {.oflags = oflags & LOCK_LABEL_OFLAGS};
    const int n = snprintf(wanted.name, sizeof(wanted.name), "%s/%s", driver, path);
    struct lock_slot *slots = lock_file->label->slots;

    if (n < 0 || n >= (int)sizeof(wanted.name))
        return 0;
    for (unsigned i = 0; i < lock_file->n_slots; i++)
        if (slots[i].oflags == wanted.oflags && strcmp(slots[i].name, wanted.name) == 0)
            return i + 1;
    if (lock_file->n_slots == LOCK_LABEL_SLOTS)
        return 0;
    slots[lock_file->n_slots].oflags = wanted.oflags;
    memcpy(slots[lock_file->n_slots].name, wanted.name, (size_t)n + 1);
    return ++lock_file->n_slots;
}

int lock_file_open(struct lock_file *lock_file, const char *driver, const char *path,
                   uint32_t oflags)
{
    CLEAN(fd_close_p) int fd = reopen(lock_file->fd, O_WRONLY | (int)(oflags & O_APPEND));

    if (fd < 0)
        return fd;
    if (fcntl(fd, F_SETSIG, slot_for(lock_file, driver, path, oflags)) < 0)
        return -errno;
    return fd_take(&fd);
}

/* A lease for writing is given to who is alone with a file: our mapping counts as our descriptor. */
static bool is_open_elsewhere(const struct lock_file *lock_file)
{
    if (fcntl(lock_file->fd, F_SETLEASE, F_WRLCK) < 0)
        return errno == EAGAIN;
    (void)fcntl(lock_file->fd, F_SETLEASE, F_UNLCK);
    return false;
}

/* Return: how many are left. */
static unsigned sweep(struct list *kept)
{
    struct list *pos = kept->next;
    unsigned n = 0;

    while (pos != kept) {
        struct lock_file *lock_file = lock_file_of(pos);

        pos = pos->next;
        if (is_open_elsewhere(lock_file))
            n++;
        else
            lock_file_free(lock_file);
    }
    return n;
}

void lock_file_keep(struct list *kept, struct lock_file *lock_file, uint64_t key)
{
    if (!lock_file)
        return;
    lock_file->key = key;
    list_add_tail(kept, &lock_file->node);
    if (sweep(kept) > KEPT_MAX)
        lock_file_free(lock_file_of(kept->next));
}

struct lock_file *lock_file_take(struct list *kept, uint64_t key)
{
    struct list *pos;

    list_for_each(pos, kept) {
        struct lock_file *lock_file = lock_file_of(pos);

        if (lock_file->key != key)
            continue;
        list_del(&lock_file->node);
        return lock_file;
    }
    return NULL;
}

void lock_file_free_all(struct list *kept)
{
    while (!list_is_empty(kept))
        lock_file_free(lock_file_of(kept->next));
}
