/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One object's bytes in a file of shared memory: made, written, zeroed, punched. Owns its fds and,
 * for 2 MiB pages, the server's mapping. Called by the cache's flow. Deliberately does not know
 * which page is valid.
 *
 * Huge pages are mapped MAP_NORESERVE and allocated by fallocate(2) before each access, so that a
 * machine that has run out of them says ENOSPC here instead of sending SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"
#include "server/store/large.h"
#include "server/store/store.h"

/* memfd_create(2): 249 bytes; the rest of the name is for people only. */
#define NAME_BYTES_MAX 200

/* Every change of the file goes through here. Return: 0; -errno, -EIO: it is stuck. */
static int change(struct backing *backing, struct guard_change change)
{
    struct store *store = backing->strangers;
    int r;

    change.fd = backing->fd;
    if (!store)
        return guard_direct(&change);
    if (backing->is_stuck)
        return -EIO;
    change.fd = backing->worker_fd;
    r = guard_run(&store->guard, &change);
    if (r == -EAGAIN || r == -ENOMEM) /* also no worker: it is not known what of it is needed */
        return change.kind == GUARD_ALLOCATE && change.mode != 0 ? guard_direct(&change) : -ENOMEM;
    if (r != -ETIMEDOUT)
        return r;
    backing->is_stuck = true;
    backing->worker_fd = -1;
    store->on_stuck(backing);
    return -EIO;
}

static int allocate(struct backing *backing, int mode, struct range bytes)
{
    return change(backing, (struct guard_change){.kind = GUARD_ALLOCATE,
                                                 .mode = mode,
                                                 .offset = bytes.start,
                                                 .length = range_len(bytes)});
}

static void punch(struct backing *backing, struct range bytes)
{
    const int r = allocate(backing, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, bytes);

    MUST(r == 0 || backing->is_stuck);
}

/* A file without a name in the store's own tmpfs, but with one in /proc. */
static int tmpfs_new(const struct store *store, const char *name)
{
    char path[NAME_BYTES_MAX + 16];
    int fd;

    (void)snprintf(path, sizeof(path), "muse:%.*s", NAME_BYTES_MAX, name); /* cut on purpose */
    for (char *c = path; *c; c++)
        if (*c == '/')
            *c = ':';
    fd = openat(store->cache_mount, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return -errno;
    MUST(unlinkat(store->cache_mount, path, 0) == 0); /* nobody else is in there */
    return fd;
}

static int memfd_new(const char *name, uint64_t page_bytes)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    char cut[NAME_BYTES_MAX + 1];
    int fd;

    (void)snprintf(cut, sizeof(cut), "%s", name); /* cut on purpose */
    if (page_bytes == PAGE_BYTES_HUGE)
        flags |= MFD_HUGETLB | MFD_HUGE_2MB;
    fd = memfd_create(cut, flags);
    if (fd >= 0)
        return fd;
    if (page_bytes == PAGE_BYTES_HUGE && errno != EMFILE && errno != ENFILE)
        return -ENOMEM; /* ENODEV, EINVAL, ENOSYS: a kernel or machine without such pages */
    return -errno;
}

static int huge_map(struct backing *backing)
{
    struct range first = range_make(0, PAGE_BYTES_HUGE);
    void *map;

    if (backing->size_bytes == 0)
        return 0;
    if (allocate(backing, 0, first) < 0)
        return -ENOMEM; /* not even one page now: the caller had better use small ones */
    punch(backing, first);
    map = mmap(NULL, backing->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
               backing->fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    backing->map = map;
    return 0;
}

int backing_new(const struct store *store, struct backing *ret_backing, const char *name,
                uint64_t size_bytes, uint64_t page_bytes, bool is_sealed)
{
    const bool in_tmpfs = !is_sealed && page_bytes == PAGE_BYTES_SMALL && store->cache_mount >= 0;
    CLEAN(fd_close_p) int fd = -1;
    struct backing backing = {.fd_readonly = -1, .worker_fd = -1, .page_bytes = page_bytes};
    int r;

    if ((page_bytes != PAGE_BYTES_SMALL && page_bytes != PAGE_BYTES_HUGE) ||
        size_bytes > INT64_MAX - page_bytes)
        return -EINVAL;
    backing.size_bytes = (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    fd = in_tmpfs ? tmpfs_new(store, name) : memfd_new(name, page_bytes);
    if (fd < 0)
        return fd;
    if (fchmod(fd, S_IRUSR | S_IWUSR) < 0 || ftruncate(fd, (off_t)backing.size_bytes) < 0)
        return errno == EFBIG ? -EINVAL : -errno;
    if (!in_tmpfs && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    backing.fd = fd;
    if (page_bytes == PAGE_BYTES_HUGE) {
        r = huge_map(&backing);
        if (r < 0)
            return r;
    }
    *ret_backing = backing;
    (void)fd_take(&fd);
    return 0;
}

int backing_resize(struct backing *backing, uint64_t size_bytes)
{
    const uint64_t rounded =
        (size_bytes + backing->page_bytes - 1) / backing->page_bytes * backing->page_bytes;

    const int r = change(backing, (struct guard_change){.kind = GUARD_TRUNCATE, .length = rounded});

    if (r < 0)
        return r;
    if (rounded > backing->size_bytes)
        backing->size_bytes = rounded;
    return 0;
}

void backing_done(struct backing *backing)
{
    large_unmap(backing);
    if (backing->map)
        MUST(munmap(backing->map, backing->size_bytes) == 0);
    backing->map = NULL;
    fd_close_p(&backing->worker_fd);
    fd_close_p(&backing->fd_readonly);
    fd_close_p(&backing->fd);
}

int backing_writable_fd(struct store *store, struct backing *backing, bool is_trusted)
{
    if (is_trusted || backing->strangers)
        return backing->fd;
    backing->worker_fd = fcntl(backing->fd, F_DUPFD_CLOEXEC, 0);
    if (backing->worker_fd < 0)
        return -errno;
    backing->strangers = store;
    return backing->fd;
}

int backing_readonly_fd(struct backing *backing)
{
    char path[64];

    if (backing->fd_readonly >= 0)
        return backing->fd_readonly;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", backing->fd);
    backing->fd_readonly = open(path, O_RDONLY | O_CLOEXEC);
    return backing->fd_readonly >= 0 ? backing->fd_readonly : -errno;
}

static int write_small(struct backing *backing, uint64_t offset, const uint8_t *data,
                       size_t n_bytes)
{
    return change(backing,
                  (struct guard_change){
                      .kind = GUARD_WRITE, .offset = offset, .length = n_bytes, .data = data});
}

static int write_huge(struct backing *backing, uint64_t offset, const uint8_t *data, size_t n_bytes)
{
    struct range pages;
    int r;

    MUST(range_align_out(range_make(offset, offset + n_bytes), backing->page_bytes, &pages) == 0);
    r = allocate(backing, 0, pages); /* those present keep their bytes */
    if (r < 0)
        return r;
    memcpy(backing->map + offset, data, n_bytes);
    return 0;
}

int backing_write(struct backing *backing, uint64_t offset, const void *data, size_t n_bytes)
{
    MUST(offset <= backing->size_bytes && n_bytes <= backing->size_bytes - offset);
    if (n_bytes == 0)
        return 0;
    return backing->map ? write_huge(backing, offset, data, n_bytes)
                        : write_small(backing, offset, data, n_bytes);
}

static void check_pages(const struct backing *backing, struct range bytes)
{
    MUST(range_is_aligned(bytes, backing->page_bytes) && bytes.start <= bytes.end &&
         bytes.end <= backing->size_bytes);
}

int backing_zero(struct backing *backing, struct range bytes)
{
    check_pages(backing, bytes);
    if (range_is_empty(bytes))
        return 0;
    punch(backing, bytes); /* a stray fault may have left a page, with anything in it */
    return allocate(backing, 0, bytes);
}

void backing_punch(struct backing *backing, struct range bytes)
{
    check_pages(backing, bytes);
    if (!range_is_empty(bytes))
        punch(backing, bytes);
}

uint64_t backing_resident_bytes(const struct backing *backing)
{
    struct stat st;

    MUST(fstat(backing->fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512; /* stat(2): the unit of st_blocks */
}
