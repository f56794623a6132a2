/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the files and the memory. */
#include "drivers/hugetlb/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/linux_abi.h"
#include "common/base/own.h"
#include "drivers/common/made.h"

/* ---- memory ---- */

/* All of it at once: what the pool has, it can give. Return: the fd; -errno. */
static int memory_new(uint64_t n_bytes, unsigned flags)
{
    CLEAN(fd_close_p)
    int fd = memfd_create("muse-hugetlb", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)n_bytes) < 0 || fallocate(fd, 0, 0, (off_t)n_bytes) < 0)
        return -errno;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    return fd_take(&fd);
}

static int map_memory(struct files *files, uint64_t n_bytes, bool want_huge)
{
    CLEAN(fd_close_p) int fd = want_huge ? memory_new(n_bytes, MFD_HUGETLB | MFD_HUGE_2MB) : -1;
    void *map;

    files->is_huge = fd >= 0;
    if (fd < 0)
        fd = memory_new(n_bytes, 0);
    if (fd < 0)
        return fd;
    map = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    files->memory = map;
    return 0;
}

int files_init(struct files *files, uint64_t n_pages, bool want_huge)
{
    int r = pool_init(&files->pool, n_pages);

    if (r < 0)
        return r;
    idmap_init(&files->by_key);
    list_init(&files->named);
    (void)pthread_mutex_init(&files->lock, NULL);
    r = map_memory(files, n_pages * HUGE_BYTES, want_huge);
    if (r < 0)
        pool_done(&files->pool);
    return r;
}

/* ---- files ---- */

static void file_free(struct files *files, struct huge_file *file)
{
    (void)pthread_mutex_lock(&files->lock);
    file_pages_done(&files->pool, &file->pages);
    (void)pthread_mutex_unlock(&files->lock);
    (void)idmap_take(&files->by_key, file->key);
    free(file->name);
    free(file);
}

void files_done(struct files *files)
{
    struct huge_file *file;
    size_t cursor = 0;

    if (!files->memory)
        return;
    while ((file = idmap_next(&files->by_key, &cursor))) {
        file_pages_done(&files->pool, &file->pages);
        free(file->name);
        free(file);
    }
    idmap_done(&files->by_key);
    (void)munmap(files->memory, files->pool.n_pages * HUGE_BYTES);
    files->memory = NULL;
    pool_done(&files->pool);
    (void)pthread_mutex_destroy(&files->lock);
}

struct huge_file *files_find(const struct files *files, const char *name)
{
    struct list *pos;

    list_for_each(pos, &files->named) {
        struct huge_file *file = CONTAINER_OF(pos, struct huge_file, by_name);

        if (strcmp(file->name, name) == 0)
            return file;
    }
    return NULL;
}

int files_add(struct files *files, const struct muse_open_args *args, struct huge_file **ret_file)
{
    CLEAN(free_p) struct huge_file *file = NULL;
    CLEAN(free_p) char *name = NULL;
    int r = made_check_name("hugetlb", args->path);

    if (r < 0)
        return r;
    if (idmap_count(&files->by_key) == FILES_MAX) {
        muse_set_error("there are %u files already", FILES_MAX);
        return -ENOSPC;
    }
    file = calloc(1, sizeof(*file));
    name = strdup(args->path);
    r = file && name ? idmap_put(&files->by_key, files->last_key + 1, file) : -ENOMEM;
    if (r < 0)
        return r;
    file->key = ++files->last_key;
    file->attr = made_attr(file->key, args);
    file->name = TAKE(name);
    list_add_tail(&files->named, &file->by_name);
    *ret_file = TAKE(file);
    return 0;
}

void files_unlink(struct files *files, struct huge_file *file)
{
    list_del(&file->by_name);
    free(file->name);
    file->name = NULL;
    file->attr.nlink = 0;
    if (!file->is_open)
        file_free(files, file);
}

void files_gone(struct files *files, struct huge_file *file)
{
    file->is_open = false;
    if (!file->name)
        file_free(files, file);
}

/* ---- pages ---- */

int files_touch(struct files *files, struct huge_file *file, uint64_t page, uint8_t **ret_bytes)
{
    uint32_t slot = 0;
    int r = file_pages_take(&files->pool, &file->pages, page, &slot);

    if (r < 0)
        return r;
    *ret_bytes = files->memory + slot * HUGE_BYTES;
    if (r > 0)
        memset(*ret_bytes, 0, HUGE_BYTES); /* another file's, perhaps */
    return 0;
}

uint8_t *files_look(struct files *files, const struct huge_file *file, uint64_t page)
{
    const int64_t slot = file_pages_find(&file->pages, page);

    return slot < 0 ? NULL : files->memory + (uint64_t)slot * HUGE_BYTES;
}

static void set_size(struct huge_file *file, uint64_t size_bytes)
{
    file->attr.size = size_bytes;
    file->attr.mtime_ns = made_now_ns();
}

int files_resize(struct files *files, struct huge_file *file, uint64_t size_bytes)
{
    if (size_bytes % HUGE_BYTES != 0) {
        muse_set_error("a size is whole pages of %u bytes", MUSE_HUGE_PAGE_BYTES);
        return -EINVAL;
    }
    if (size_bytes / HUGE_BYTES > FILE_PAGES_MAX)
        return -EFBIG;
    (void)pthread_mutex_lock(&files->lock);
    file_pages_cut(&files->pool, &file->pages, size_bytes / HUGE_BYTES, UINT64_MAX);
    (void)pthread_mutex_unlock(&files->lock);
    set_size(file, size_bytes);
    return 0;
}

/* ---- fallocate ---- */

static void zero_edge(struct files *files, const struct huge_file *file, uint64_t from, uint64_t to)
{
    uint8_t *bytes = files_look(files, file, from / HUGE_BYTES);

    if (bytes && from < to)
        memset(bytes + from % HUGE_BYTES, 0, to - from);
}

/* Whole pages go back to the pool, the edges become zeros. */
static void punch(struct files *files, struct huge_file *file, uint64_t from, uint64_t to)
{
    const uint64_t first = (from + HUGE_BYTES - 1) / HUGE_BYTES, end = to / HUGE_BYTES;

    if (first >= end) {
        const uint64_t border = first * HUGE_BYTES < to ? first * HUGE_BYTES : to;

        zero_edge(files, file, from, border);
        zero_edge(files, file, border, to);
        return;
    }
    zero_edge(files, file, from, first * HUGE_BYTES);
    file_pages_cut(&files->pool, &file->pages, first, end);
    zero_edge(files, file, end * HUGE_BYTES, to);
}

static int take_all(struct files *files, struct huge_file *file, uint64_t from, uint64_t to)
{
    const uint64_t end = (to + HUGE_BYTES - 1) / HUGE_BYTES;
    uint8_t *bytes;
    int r = 0;

    for (uint64_t page = from / HUGE_BYTES; page < end && r == 0; page++)
        r = files_touch(files, file, page, &bytes);
    return r == -ENOMEM ? -ENOSPC : r;
}

int files_allocate(struct files *files, struct huge_file *file, int mode, uint64_t offset,
                   uint64_t length)
{
    const bool is_punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    uint64_t end;
    int r = 0;

    if (!is_punch && (mode & ~FALLOC_FL_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (__builtin_add_overflow(offset, length, &end) || end > FILE_PAGES_MAX * HUGE_BYTES)
        return -EFBIG;
    (void)pthread_mutex_lock(&files->lock);
    if (is_punch)
        punch(files, file, offset, end);
    else
        r = take_all(files, file, offset, end);
    (void)pthread_mutex_unlock(&files->lock);
    if (r == -ENOSPC)
        muse_set_error("the pool has no more pages");
    if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > file->attr.size)
        set_size(file, end);
    return r;
}
