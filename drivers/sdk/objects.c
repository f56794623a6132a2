/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The objects by key: the driver's pointer, the server's memfd, and who still uses them. An object
 * ends (object_gone) when it has no open file, no page cache and no fault. Used by the main thread
 * (open, attach, detach, release) and by fault threads (pin, write); one lock, never held while a
 * page is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "drivers/sdk/sdk.h"

#define ZERO_IOVS 256u /* chosen: one pwritev clears up to 1 MiB from a page that stays cached */

static struct page_cache *cache_unref(struct page_cache *cache)
{
    if (cache && --cache->n_refs == 0) {
        if (cache->mapped)
            (void)munmap(cache->mapped, cache->n_pages * cache->page_bytes);
        fd_close_p(&cache->memfd);
        free(cache);
    }
    return NULL;
}

int objects_init(struct objects *objects)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&objects->lock, NULL); /* cannot fail on Linux with these attributes */
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&objects->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    idmap_init(&objects->by_key);
    list_init(&objects->gone);
    return 0;
}

void objects_done(struct objects *objects)
{
    struct object *object;
    size_t cursor = 0;

    if (!objects->gone.next)
        return; /* never initialized */
    while ((object = objects_take_gone(objects)) != NULL)
        free(object);
    while ((object = idmap_next(&objects->by_key, &cursor)) != NULL) {
        object->cache = cache_unref(object->cache);
        free(object);
    }
    idmap_done(&objects->by_key);
    (void)pthread_cond_destroy(&objects->changed);
    (void)pthread_mutex_destroy(&objects->lock);
}

/* Locked. Return: whether it ended: it is in the list of the gone now. */
static bool end_if_idle(struct objects *objects, struct object *object)
{
    if (object->n_files > 0 || object->n_faults > 0 || object->cache ||
        list_is_linked(&object->node))
        return false;
    (void)idmap_take(&objects->by_key, object->key);
    list_add_tail(&objects->gone, &object->node);
    return true;
}

/* Locked. An object whose object_gone has not been called yet is taken back. */
static struct object *find_gone(struct objects *objects, uint64_t key)
{
    struct list *pos;

    list_for_each(pos, &objects->gone) {
        struct object *object = LIST_ENTRY(pos, struct object, node);

        if (object->key == key)
            return object;
    }
    return NULL;
}

/* Locked. Return: 0; -ENOMEM. */
static int find_or_make(struct objects *objects, uint64_t key, struct object **ret_object)
{
    struct object *object = idmap_get(&objects->by_key, key);
    struct object *gone = object ? NULL : find_gone(objects, key);
    CLEAN(free_p) struct object *made = NULL;
    int r;

    if (!object) {
        if (!gone) {
            made = calloc(1, sizeof(*made));
            if (!made)
                return -ENOMEM;
            made->key = key;
            list_init(&made->node);
        }
        object = gone ? gone : made;
        r = idmap_put(&objects->by_key, key, object);
        if (r < 0)
            return r;
        list_del(&object->node);
        made = NULL;
    }
    *ret_object = object;
    return 0;
}

int objects_open(struct objects *objects, uint64_t key, void *user_object)
{
    struct object *object;
    int r;

    (void)pthread_mutex_lock(&objects->lock);
    r = find_or_make(objects, key, &object);
    if (r == 0) {
        if (!object->user_object)
            object->user_object = user_object;
        object->n_files++;
    }
    (void)pthread_mutex_unlock(&objects->lock);
    return r;
}

bool objects_release(struct objects *objects, uint64_t key)
{
    struct object *object;
    bool ended = false;

    (void)pthread_mutex_lock(&objects->lock);
    object = idmap_get(&objects->by_key, key);
    if (object && object->n_files > 0) {
        object->n_files--;
        ended = end_if_idle(objects, object);
    }
    (void)pthread_mutex_unlock(&objects->lock);
    return ended;
}

/* Huge pages are written through a mapping: a memfd shorter than the object would be SIGBUS. */
static bool size_is_legal(int memfd, uint64_t size_bytes, uint64_t page_bytes)
{
    struct stat stat;

    if (size_bytes > OBJECT_BYTES_MAX || fstat(memfd, &stat) < 0)
        return false;
    if (page_bytes == MUSE_HUGE_PAGE_BYTES)
        return (uint64_t)stat.st_size >= (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    return page_bytes == MUSE_PAGE_BYTES;
}

int objects_attach(struct objects *objects, uint64_t key, uint64_t cache_id, uint64_t size_bytes,
                   uint64_t page_bytes, int *memfd)
{
    struct page_cache *cache;
    struct object *object;
    int r;

    if (!size_is_legal(*memfd, size_bytes, page_bytes))
        return -EPROTO;
    cache = calloc(1, sizeof(*cache));
    if (!cache)
        return -ENOMEM;
    *cache = (struct page_cache){.memfd = -1,
                                 .id = cache_id,
                                 .size_bytes = size_bytes,
                                 .page_bytes = page_bytes,
                                 .n_pages = (size_bytes + page_bytes - 1) / page_bytes,
                                 .n_refs = 1};
    (void)pthread_mutex_lock(&objects->lock);
    r = find_or_make(objects, key, &object);
    if (r == 0) {
        cache->memfd = fd_take(memfd);
        object->cache = cache_unref(object->cache);
        object->cache = TAKE(cache);
        if (cache_id > objects->last_cache_id)
            objects->last_cache_id = cache_id;
        (void)pthread_cond_broadcast(&objects->changed);
    }
    (void)pthread_mutex_unlock(&objects->lock);
    free(cache);
    return r;
}

void objects_detach(struct objects *objects, uint64_t key, uint64_t cache_id)
{
    struct object *object;

    (void)pthread_mutex_lock(&objects->lock);
    object = idmap_get(&objects->by_key, key);
    if (object && object->cache && object->cache->id == cache_id) {
        object->cache = cache_unref(object->cache);
        (void)pthread_cond_broadcast(&objects->changed); /* who waits for just that one */
        (void)end_if_idle(objects, object);
    }
    (void)pthread_mutex_unlock(&objects->lock);
}

/* Locked. Objects of 2 MiB pages, which are mapped here, keep their size. */
static void set_size(struct page_cache *cache, uint64_t size_bytes)
{
    if (cache->mapped)
        return;
    cache->size_bytes = size_bytes;
    cache->n_pages = (size_bytes + cache->page_bytes - 1) / cache->page_bytes;
}

struct object *objects_resize(struct objects *objects, uint64_t key, uint64_t cache_id,
                              uint64_t size_bytes)
{
    struct object *object;

    (void)pthread_mutex_lock(&objects->lock);
    object = idmap_get(&objects->by_key, key);
    if (object && (!object->cache || object->cache->id != cache_id))
        object = NULL;
    if (object)
        set_size(object->cache, size_bytes);
    (void)pthread_mutex_unlock(&objects->lock);
    return object;
}

void objects_grow(struct objects *objects, uint64_t key, uint64_t size_bytes)
{
    struct object *object;

    (void)pthread_mutex_lock(&objects->lock);
    object = idmap_get(&objects->by_key, key);
    if (object && object->cache && object->cache->size_bytes < size_bytes)
        set_size(object->cache, size_bytes);
    (void)pthread_mutex_unlock(&objects->lock);
}

static bool has_cache(const struct object *object, uint64_t cache_id)
{
    return object && object->cache && (cache_id == 0 || object->cache->id == cache_id);
}

/* It was here, and is gone: whoever waited for it would wait in vain, and everybody behind him. Page
 * caches that a predecessor left are older, and nobody asks for pages of those. */
static bool is_past(const struct objects *objects, uint64_t cache_id)
{
    return cache_id != 0 && cache_id <= objects->last_cache_id;
}

static struct timespec timespec_from_ns(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

int objects_pin(struct objects *objects, uint64_t key, uint64_t cache_id, uint64_t deadline_ns,
                struct object **ret_object, struct page_cache **ret_cache)
{
    const struct timespec deadline = timespec_from_ns(deadline_ns);
    struct object *object;
    int r = 0;

    (void)pthread_mutex_lock(&objects->lock);
    for (;;) {
        object = idmap_get(&objects->by_key, key);
        if (has_cache(object, cache_id) || is_past(objects, cache_id) || r != 0 || objects->lost)
            break;
        r = pthread_cond_timedwait(&objects->changed, &objects->lock, &deadline);
    }
    if (has_cache(object, cache_id)) {
        object->n_faults++;
        object->cache->n_refs++;
        *ret_object = object;
        *ret_cache = object->cache;
        r = 0;
    } else {
        r = -ENODEV;
    }
    (void)pthread_mutex_unlock(&objects->lock);
    return r;
}

bool objects_unpin(struct objects *objects, struct object *object, struct page_cache *cache)
{
    bool ended;

    (void)pthread_mutex_lock(&objects->lock);
    (void)cache_unref(cache);
    object->n_faults--;
    ended = end_if_idle(objects, object);
    (void)pthread_mutex_unlock(&objects->lock);
    return ended;
}

int objects_size(struct objects *objects, uint64_t key, uint64_t *ret_n_pages)
{
    struct object *object;
    int r = -ENOENT;

    (void)pthread_mutex_lock(&objects->lock);
    object = idmap_get(&objects->by_key, key);
    if (object && object->cache) {
        *ret_n_pages = object->cache->n_pages;
        r = 0;
    }
    (void)pthread_mutex_unlock(&objects->lock);
    return r;
}

struct object *objects_take_gone(struct objects *objects)
{
    struct list *node;

    (void)pthread_mutex_lock(&objects->lock);
    node = list_take_first(&objects->gone);
    (void)pthread_mutex_unlock(&objects->lock);
    return node ? LIST_ENTRY(node, struct object, node) : NULL;
}

void objects_lose(struct objects *objects)
{
    struct object *object;
    size_t cursor = 0;

    (void)pthread_mutex_lock(&objects->lock);
    objects->lost = true;
    while ((object = idmap_next(&objects->by_key, &cursor)) != NULL) {
        object->cache = cache_unref(object->cache);
        (void)end_if_idle(objects, object);
    }
    (void)pthread_cond_broadcast(&objects->changed);
    (void)pthread_mutex_unlock(&objects->lock);
}

static int write_bytes(int memfd, const uint8_t *data, uint64_t n_bytes, uint64_t offset)
{
    while (n_bytes > 0) {
        ssize_t n = pwrite(memfd, data, n_bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        n_bytes -= (uint64_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* Holes would not do: UFFDIO_CONTINUE maps pages that exist, and a page may hold older bytes. */
static int write_zeros(int memfd, uint64_t n_bytes, uint64_t offset)
{
    static const uint8_t zeros[MUSE_PAGE_BYTES];
    struct iovec iov[ZERO_IOVS];

    for (unsigned i = 0; i < ZERO_IOVS; i++)
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)zeros, .iov_len = sizeof(zeros)};
    while (n_bytes > 0) {
        const uint64_t n_iovs =
            n_bytes / sizeof(zeros) < ZERO_IOVS ? n_bytes / sizeof(zeros) : ZERO_IOVS;
        ssize_t n = pwritev(memfd, iov, (int)n_iovs, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || (size_t)n % sizeof(zeros) != 0)
            return n < 0 ? -errno : -EIO;
        n_bytes -= (uint64_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* hugetlbfs has no write(2): through a mapping of all of it, made once. */
static int map_cache(struct objects *objects, struct page_cache *cache)
{
    void *mapped;
    int r = 0;

    (void)pthread_mutex_lock(&objects->lock);
    if (!cache->mapped) {
        mapped = mmap(NULL, cache->n_pages * cache->page_bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, cache->memfd, 0);
        if (mapped == MAP_FAILED) {
            r = -errno;
        } else {
            cache->mapped = mapped;
        }
    }
    (void)pthread_mutex_unlock(&objects->lock);
    return r;
}

static int write_huge(struct objects *objects, struct page_cache *cache, const uint8_t *data,
                      uint64_t n_bytes, uint64_t offset)
{
    int r = map_cache(objects, cache);

    if (r < 0)
        return r;
    /* A huge page that cannot be had is ENOSPC here, and would be SIGBUS below. */
    if (fallocate(cache->memfd, 0, (off_t)offset, (off_t)n_bytes) < 0)
        return -errno;
    if (data) {
        memcpy(cache->mapped + offset, data, n_bytes);
    } else {
        memset(cache->mapped + offset, 0, n_bytes);
    }
    return 0;
}

int cache_write(struct objects *objects, struct page_cache *cache, uint64_t first_page,
                const void *data, uint64_t n_pages)
{
    const uint64_t n_bytes = n_pages * cache->page_bytes;
    const uint64_t offset = first_page * cache->page_bytes;

    if (cache->page_bytes != MUSE_PAGE_BYTES)
        return write_huge(objects, cache, data, n_bytes, offset);
    if (data)
        return write_bytes(cache->memfd, data, n_bytes, offset);
    return write_zeros(cache->memfd, n_bytes, offset);
}
