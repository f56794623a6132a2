/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files and objects of muse-faulty. Names are alike when they are equal; each has an object of
 * its own unless key=N says otherwise. faulty/counters is a text about the driver, made anew by
 * every open. Main thread only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/own.h"
#include "drivers/faulty/faulty.h"

#define OWN_KEYS       (UINT64_C(1) << 32) /* ours; smaller ones are for key=N */
#define WORDS_PER_PAGE (MUSE_PAGE_BYTES / 8)

struct faulty_file *faulty_file_of(const struct muse_driver_file *file)
{
    return file->private_data;
}

void faulty_pattern(void *bytes, uint64_t first_page, uint64_t n_pages)
{
    uint64_t *words = bytes;

    for (uint64_t i = 0; i < n_pages * WORDS_PER_PAGE; i++)
        words[i] = first_page * WORDS_PER_PAGE + i;
}

int faulty_memfd(struct faulty_object *object)
{
    const uint64_t n_pages = (object->size_bytes + MUSE_PAGE_BYTES - 1) / MUSE_PAGE_BYTES;
    CLEAN(fd_close_p) int fd = -1;
    uint64_t page[WORDS_PER_PAGE];

    if (object->memfd >= 0)
        return object->memfd;
    fd = memfd_create("faulty-pattern", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (uint64_t i = 0; i < n_pages; i++) {
        faulty_pattern(page, i, 1);
        if (pwrite(fd, page, sizeof(page), (off_t)(i * sizeof(page))) != (ssize_t)sizeof(page))
            return -EIO;
    }
    object->memfd = fd_take(&fd);
    return object->memfd;
}

static struct faulty_object *object_free(struct faulty_object *object)
{
    if (object) {
        list_del(&object->node);
        fd_close_p(&object->memfd);
        free(object->path);
        free(object->text);
        free(object);
    }
    return NULL;
}
DEFINE_CLEANUP(struct faulty_object *, object_free)

static struct faulty_object *find_object(struct faulty *faulty, const char *path, uint64_t key)
{
    struct list *pos;

    list_for_each(pos, &faulty->objects) {
        struct faulty_object *object = LIST_ENTRY(pos, struct faulty_object, node);

        if (key ? object->key == key : !object->text && strcmp(object->path, path) == 0)
            return object;
    }
    return NULL;
}

static int object_new(struct faulty *faulty, const char *path, const struct behaviour *behaviour,
                      struct faulty_object **ret_object)
{
    CLEAN(object_free_p) struct faulty_object *object = calloc(1, sizeof(*object));

    if (!object)
        return -ENOMEM;
    list_init(&object->node);
    object->memfd = -1;
    object->key = behaviour->key ? behaviour->key : OWN_KEYS + ++faulty->last_key;
    object->behaviour = *behaviour;
    object->size_bytes = behaviour->size;
    object->path = strdup(path);
    if (!object->path)
        return -ENOMEM;
    list_add_tail(&faulty->objects, &object->node);
    *ret_object = TAKE(object);
    return 0;
}

size_t faulty_counters_text(const struct faulty *faulty, char *text)
{
    size_t n = 0;

#define X(name)                                                                                    \
    n += (size_t)snprintf(text + n, COUNTERS_BYTES - n, "%s" #name "=%llu", n ? " " : "",          \
                          atomic_load(&faulty->n.name));
    COUNTERS(X)
#undef X
    return n + (size_t)snprintf(text + n, COUNTERS_BYTES - n, "\n");
}

static int add_counters_text(const struct faulty *faulty, struct faulty_object *object)
{
    object->text = calloc(1, COUNTERS_BYTES);
    if (!object->text)
        return -ENOMEM;
    object->size_bytes = faulty_counters_text(faulty, object->text);
    return 0;
}

static int get_object(struct faulty *faulty, const char *path, const struct behaviour *behaviour,
                      struct faulty_object **ret_object)
{
    const bool is_counters = is_word(path, "counters");
    struct faulty_object *object;
    int r;

    object = is_counters ? NULL : find_object(faulty, path, behaviour->key);
    if (object) {
        *ret_object = object;
        return 0;
    }
    r = object_new(faulty, path, behaviour, &object);
    if (r == 0 && is_counters)
        r = add_counters_text(faulty, object);
    if (r == 0)
        *ret_object = object;
    return r;
}

static int add_extent(struct faulty_object *object, struct muse_open_result *ret)
{
    int fd = faulty_memfd(object);

    if (fd < 0)
        return fd;
    object->extent = (struct muse_extent){.length = object->size_bytes, .fd = fd};
    ret->extents = &object->extent;
    ret->n_extents = 1;
    return 0;
}

static int add_file(struct faulty *faulty, const char *path, const struct behaviour *behaviour,
                    struct faulty_file **ret_file)
{
    CLEAN(free_p) struct faulty_file *file = calloc(1, sizeof(*file));
    int r;

    if (!file)
        return -ENOMEM;
    r = get_object(faulty, path, behaviour, &file->object);
    if (r < 0)
        return r;
    file->faulty = faulty;
    file->behaviour = *behaviour;
    file->is_counters = is_word(path, "counters");
    list_init(&file->node);
    list_add_tail(&faulty->files, &file->node);
    *ret_file = TAKE(file);
    return 0;
}

/* What the open asks for before there is a file. Return: 0; -errno, the hook's answer. */
static int obey_in_open(struct faulty *faulty, const struct behaviour *behaviour)
{
    faulty_maybe_die(behaviour, "open");
    if (behaviour->open_never)
        delay_reply(&faulty->delays, UINT64_MAX, -EINTR);
    if (behaviour->open_errno == 0)
        return 0;
    muse_set_error("open refused as asked for");
    if (behaviour->open_delay_ms)
        delay_reply(&faulty->delays, behaviour->open_delay_ms, -(int)behaviour->open_errno);
    return -(int)behaviour->open_errno;
}

static void fill_result(struct faulty_file *file, uint64_t size, struct muse_open_result *ret)
{
    ret->file_private = file;
    ret->object_key = file->object->key;
    ret->object = file->object;
    ret->attr = (struct muse_attr){
        .size = size, .mode = S_IFREG | 0666, .inode = file->object->key, .nlink = 1};
}

int faulty_fresh(const struct faulty_file *file, struct muse_vma_desc *desc)
{
    const char *how = file->behaviour.fresh;
    const bool is_same_object = is_word(how, "other-size");
    struct behaviour behaviour = file->behaviour;
    struct muse_open_result result = {0};
    struct faulty_file *fresh;
    int r;

    behaviour.key = is_same_object ? file->object->key : 0;
    r = add_file(file->faulty, "fresh", &behaviour, &fresh);
    if (r < 0)
        return r;
    fill_result(fresh, behaviour.size + (is_same_object ? MUSE_PAGE_BYTES : 0), &result);
    if (is_word(how, "huge"))
        result.page_bytes = MUSE_HUGE_PAGE_BYTES;
    r = muse_desc_open_file(desc, "fresh", &result);
    if (r < 0) {
        list_del(&fresh->node);
        free(fresh);
        return r;
    }
    (void)atomic_fetch_add(&file->faulty->n.opened, 1);
    return 0;
}

int faulty_open(void *user, const struct muse_open_args *args, struct muse_open_result *ret_result)
{
    struct faulty *faulty = user;
    struct behaviour behaviour;
    struct faulty_file *file;
    int r = behaviour_parse(args->path, &behaviour);

    if (r == 0)
        r = obey_in_open(faulty, &behaviour);
    if (r < 0 || behaviour.open_never)
        return r;
    r = add_file(faulty, args->path, &behaviour, &file);
    if (r < 0)
        return r;
    if (!file->is_counters)
        (void)atomic_fetch_add(&faulty->n.opened, 1);
    fill_result(file, file->is_counters ? file->object->size_bytes : behaviour.size, ret_result);
    if (is_word(behaviour.pages, "2M"))
        ret_result->page_bytes = MUSE_HUGE_PAGE_BYTES;
    if (behaviour.extents && add_extent(file->object, ret_result) < 0)
        return -ENOMEM;
    if (behaviour.has_invalidate)
        return revoke_start(faulty, &behaviour);
    if (behaviour.open_delay_ms)
        delay_reply(&faulty->delays, behaviour.open_delay_ms, 0);
    return 0;
}

void faulty_release(void *user, struct muse_driver_file *sdk_file)
{
    struct faulty *faulty = user;
    struct faulty_file *file = faulty_file_of(sdk_file);

    faulty_maybe_die(&file->behaviour, "release");
    if (!file->is_counters)
        (void)atomic_fetch_add(&faulty->n.release, 1);
    list_del(&file->node);
    free(file);
}

int faulty_getattr(void *user, struct muse_driver_file *sdk_file, struct muse_attr *ret_attr)
{
    struct faulty *faulty = user;
    const struct faulty_file *file = faulty_file_of(sdk_file);

    (void)ret_attr; /* as open said */
    if (!file->is_counters)
        (void)atomic_fetch_add(&faulty->n.getattr, 1);
    return -(int)file->behaviour.getattr_errno;
}

void faulty_object_gone(void *user, uint64_t object_key, void *object)
{
    struct faulty *faulty = user;
    struct faulty_object *gone = object;

    (void)object_key;
    if (!gone->text)
        (void)atomic_fetch_add(&faulty->n.gone, 1);
    (void)object_free(gone);
}

void faulty_objects_done(struct faulty *faulty)
{
    struct list *node;

    while ((node = list_take_first(&faulty->files)) != NULL)
        free(LIST_ENTRY(node, struct faulty_file, node));
    while ((node = list_first(&faulty->objects)) != NULL)
        (void)object_free(LIST_ENTRY(node, struct faulty_object, node));
}
