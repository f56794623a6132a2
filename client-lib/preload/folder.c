/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry points that list folders. A stream of ours is a struct of our own behind the type DIR,
 * known by its address; while there is none, others pay one load.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client-lib/preload/names.h"
#include "client-lib/preload/session.h"

#define ENTRIES_MAX 512u /* at once; what one answer of the server holds */

struct stream {
    struct stream *next; /* in the list of all */
    int fd;              /* owned */
    char *name;          /* owned */
    uint64_t cursor; /* 0, 1, 2: before ".", before "..", at the start; then as the server's + 2 */
    size_t n_entries;
    size_t at;
    struct dirent entry; /* the last one given */
    struct muse_dirent entries[ENTRIES_MAX];
};

#define CURSOR_DOTS 2u

static struct stream *_Atomic streams;
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

static struct stream *find(DIR *dir)
{
    struct stream *stream;

    if (!atomic_load_explicit(&streams, memory_order_acquire))
        return NULL;
    (void)pthread_mutex_lock(&streams_lock);
    stream = atomic_load(&streams);
    while (stream && (DIR *)stream != dir)
        stream = stream->next;
    (void)pthread_mutex_unlock(&streams_lock);
    return stream;
}

static void unlist(struct stream *stream)
{
    (void)pthread_mutex_lock(&streams_lock);
    if (atomic_load(&streams) == stream) {
        atomic_store(&streams, stream->next);
    } else {
        struct stream *before = atomic_load(&streams);

        while (before->next != stream)
            before = before->next;
        before->next = stream->next;
    }
    (void)pthread_mutex_unlock(&streams_lock);
}

static DIR *stream_new(int fd, const char *name)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (stream)
        stream->name = strdup(name);
    if (!stream || !stream->name) {
        free(stream);
        return NULL;
    }
    stream->fd = fd;
    (void)pthread_mutex_lock(&streams_lock);
    stream->next = atomic_load(&streams);
    atomic_store_explicit(&streams, stream, memory_order_release);
    (void)pthread_mutex_unlock(&streams_lock);
    return (DIR *)stream;
}

EXPORT DIR *fdopendir(int fd)
{
    char name[PATH_MAX];

    if (shim_depth > 0 || (!fds_is_served(fd) && !fds_adopt(fd)))
        return REAL(fdopendir)(fd);
    if (fds_folder_name(fd, name))
        return stream_new(fd, name);
    errno = ENOTDIR;
    return NULL;
}

EXPORT DIR *opendir(const char *path)
{
    struct where where;
    bool is_outside;
    DIR *dir;
    int fd;

    if (!where_follows(AT_FDCWD, path, &where))
        return REAL(opendir)(where.path);
    fd = names_open(&where, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &is_outside);
    if (is_outside)
        return REAL(opendir)(where.path);
    if (fd < 0)
        return NULL;
    dir = fdopendir(fd);
    if (!dir)
        (void)close(fd);
    return dir;
}

EXPORT int closedir(DIR *dir)
{
    struct stream *stream = find(dir);

    if (!stream)
        return REAL(closedir)(dir);
    unlist(stream);
    (void)close(stream->fd);
    free(stream->name);
    free(stream);
    return 0;
}

EXPORT int dirfd(DIR *dir)
{
    struct stream *stream = find(dir);

    return stream ? stream->fd : REAL(dirfd)(dir);
}

static void give(struct stream *stream, const char *name, uint64_t inode, unsigned type,
                 uint64_t cursor)
{
    stream->cursor = cursor;
    stream->entry = (struct dirent){.d_ino = inode ? inode : 1,
                                    .d_off = (off_t)cursor,
                                    .d_reclen = sizeof(stream->entry),
                                    .d_type = (unsigned char)type};
    (void)snprintf(stream->entry.d_name, sizeof(stream->entry.d_name), "%s", name);
}

/* Ask for more. Return: whether there are any; errno is 0 at the end. */
static bool fill(struct stream *stream)
{
    struct muse *muse = session_get(NULL);
    ssize_t n = muse ? INSIDE(muse_readdir(muse, stream->name, stream->cursor - CURSOR_DOTS,
                                           stream->entries, ENTRIES_MAX))
                     : -1;

    stream->at = 0;
    stream->n_entries = n > 0 ? (size_t)n : 0;
    if (n < 0)
        (void)names_error();
    return n > 0;
}

static struct dirent *next(struct stream *stream)
{
    const int saved = errno;
    const struct muse_dirent *entry;

    if (stream->cursor < CURSOR_DOTS) {
        give(stream, stream->cursor == 0 ? "." : "..", 1, DT_DIR, stream->cursor + 1);
        return &stream->entry;
    }
    errno = 0;
    if (stream->at == stream->n_entries && !fill(stream)) {
        if (errno == 0)
            errno = saved;
        return NULL;
    }
    errno = saved;
    entry = &stream->entries[stream->at++];
    give(stream, entry->name, entry->inode, entry->type, entry->next + CURSOR_DOTS);
    return &stream->entry;
}

EXPORT struct dirent *readdir(DIR *dir)
{
    struct stream *stream = find(dir);

    return stream ? next(stream) : REAL(readdir)(dir);
}
EXPORT_AS(readdir64, readdir);

/* Deprecated, and still called. */
EXPORT int readdir_r(DIR *dir, struct dirent *entry, struct dirent **ret)
{
    struct stream *stream = find(dir);
    const int saved = errno;
    int r = 0;

    if (!stream) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        return REAL(readdir_r)(dir, entry, ret);
#pragma GCC diagnostic pop
    }
    errno = 0;
    *ret = next(stream);
    if (*ret) {
        *entry = **ret;
        *ret = entry;
    } else {
        r = errno;
    }
    errno = saved;
    return r;
}
EXPORT_AS(readdir64_r, readdir_r);

EXPORT void seekdir(DIR *dir, long position)
{
    struct stream *stream = find(dir);

    if (!stream) {
        REAL(seekdir)(dir, position);
        return;
    }
    stream->cursor = (uint64_t)position;
    stream->at = stream->n_entries = 0;
}

EXPORT void rewinddir(DIR *dir)
{
    if (find(dir))
        seekdir(dir, 0);
    else
        REAL(rewinddir)(dir);
}

EXPORT long telldir(DIR *dir)
{
    struct stream *stream = find(dir);

    return stream ? (long)stream->cursor : REAL(telldir)(dir);
}

/* ---- scandir ---- */

typedef int filter_fn(const struct dirent *entry);
typedef int compare_fn(const struct dirent **a, const struct dirent **b);

static void free_list(struct dirent **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

/* Return: whether it could be kept. */
static bool keep(struct dirent ***list, size_t *n, const struct dirent *entry)
{
    struct dirent **longer = realloc(*list, (*n + 1) * sizeof(struct dirent *));

    if (!longer)
        return false;
    *list = longer;
    longer[*n] = malloc(sizeof(*entry));
    if (!longer[*n])
        return false;
    *longer[(*n)++] = *entry;
    return true;
}

static int scan(DIR *dir, struct dirent ***ret_list, filter_fn *filter, compare_fn *compare)
{
    struct dirent **list = NULL;
    const struct dirent *entry;
    size_t n = 0;
    int r = 0;

    errno = 0;
    while (r == 0 && (entry = readdir(dir))) {
        if ((!filter || filter(entry)) && !keep(&list, &n, entry))
            r = ENOMEM;
        errno = 0;
    }
    if (r == 0)
        r = errno;
    (void)closedir(dir);
    if (r != 0) {
        free_list(list, n);
        return fail(r);
    }
    if (compare && n > 1)
        qsort(list, n, sizeof(struct dirent *), (int (*)(const void *, const void *))compare);
    *ret_list = list;
    return (int)n;
}

EXPORT int scandirat(int dirfd, const char *path, struct dirent ***ret_list, filter_fn *filter,
                     compare_fn *compare)
{
    struct where where;
    bool is_outside;
    DIR *dir;
    int fd;

    if (!where_is_served(dirfd, path, &where))
        return REAL(scandirat)(where.dirfd, where.path, ret_list, filter, compare);
    fd = names_open(&where, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &is_outside);
    if (is_outside)
        return REAL(scandirat)(AT_FDCWD, where.path, ret_list, filter, compare);
    dir = fd < 0 ? NULL : fdopendir(fd);
    return dir ? scan(dir, ret_list, filter, compare) : -1;
}
EXPORT_AS(scandirat64, scandirat);

EXPORT int scandir(const char *path, struct dirent ***ret_list, filter_fn *filter,
                   compare_fn *compare)
{
    return scandirat(AT_FDCWD, path, ret_list, filter, compare);
}
EXPORT_AS(scandir64, scandir);
