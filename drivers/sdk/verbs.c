/* SPDX-License-Identifier: BSD-3-Clause */
/* What mmap_complete and mmap may ask for on a mapping: recorded here, carried out by the server
 * once the hook has succeeded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/range.h"
#include "drivers/sdk/sdk.h"
#include "proto/limits.h"

/* The mapping hook that runs for this VMA, NULL: none. */
static struct muse_request *hook_of(struct muse_vma *vma)
{
    struct muse_request *request = CONTAINER_OF(vma, struct vma, pub)->request;

    if (!request || (request->kind != REQUEST_COMPLETE && request->kind != REQUEST_LEGACY_MMAP))
        return NULL;
    return request;
}

/* The wire has room for one action in the legacy hook's answer. */
static unsigned verbs_max(const struct muse_request *request)
{
    return request->kind == REQUEST_LEGACY_MMAP ? 1 : MAP_VERBS_MAX;
}

static bool is_in_part(const struct muse_vma *vma, uint64_t address, uint64_t length)
{
    return length > 0 && address >= vma->part_start && address < vma->part_end &&
           length <= vma->part_end - address && ((address | length) & (MUSE_PAGE_BYTES - 1)) == 0;
}

static int make_room(struct muse_request *request)
{
    const unsigned room = request->n_verbs_room > 0 ? 2 * request->n_verbs_room : 8;
    struct sdk_verb *verbs;

    if (request->n_verbs == verbs_max(request))
        return -ENOSPC;
    if (request->n_verbs < request->n_verbs_room)
        return 0;
    verbs = realloc(request->verbs, room * sizeof(*verbs));
    if (!verbs)
        return -ENOMEM;
    request->verbs = verbs;
    request->n_verbs_room = room;
    return 0;
}

/* @error: of SDK_VERB_POISON; else 0 */
static int add_verb(struct muse_vma *vma, const struct muse_action *action, uint64_t length,
                    int error)
{
    struct muse_request *request = hook_of(vma);
    int r;

    if (!request || !is_in_part(vma, action->address, length))
        return -EINVAL;
    r = make_room(request);
    if (r == 0)
        request->verbs[request->n_verbs++] = (struct sdk_verb){*action, error};
    return r;
}

int muse_vma_grow(struct muse_vma *vma, uint64_t size_bytes)
{
    struct muse_request *request = hook_of(vma);
    int r = request && vma->file ? make_room(request) : -EINVAL;

    if (r == 0) {
        request->verbs[request->n_verbs++] =
            (struct sdk_verb){.action = {.type = SDK_VERB_GROW, .length = size_bytes, .fd = -1}};
    }
    return r;
}

/* An answer carries each fd once, and few of them. Return: 0; -ENOSPC. */
static int note_fd(struct muse_request *request, int fd)
{
    for (unsigned i = 0; i < request->n_verb_fds; i++) {
        if (request->verb_fds[i] == fd)
            return 0;
    }
    if (request->n_verb_fds == FRAME_FDS_MAX)
        return -ENOSPC;
    request->verb_fds[request->n_verb_fds++] = fd;
    return 0;
}

static bool can_be_new(const char *name, const struct muse_open_result *result)
{
    const size_t n = name ? strlen(name) : 0;

    return n > 0 && n < NAME_BYTES_MAX && result->n_extents == 0;
}

int muse_desc_open_file(struct muse_vma_desc *desc, const char *name,
                        const struct muse_open_result *result)
{
    struct muse_request *request = CONTAINER_OF(desc, struct muse_request, desc);
    struct muse_driver *driver = request->driver;
    CLEAN(free_p) char *copy = NULL;
    struct file *file;
    int r;

    if (!request_is_running(request) || !can_be_new(name, result))
        return -EINVAL;
    if (request->new_file)
        return -EBUSY;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    r = file_new(driver, &file);
    if (r < 0)
        return r;
    r = objects_open(&driver->objects, result->object_key, result->object);
    if (r < 0) {
        (void)file_free(driver, file);
        return r;
    }
    file->pub.private_data = result->file_private;
    file->pub.object_key = result->object_key;
    file->pub.oflags = desc->file->oflags;
    file->attr = result->attr;
    file->open = true;
    request->new_file = file;
    request->new_result = *result;
    request->new_name = TAKE(copy);
    desc->vm_file = &file->pub;
    return 0;
}

int muse_vma_remap(struct muse_vma *vma, uint64_t address, uint64_t length, int fd,
                   uint64_t fd_offset)
{
    const struct muse_action action = {.type = MUSE_ACTION_REMAP,
                                       .address = address,
                                       .length = length,
                                       .fd = fd,
                                       .fd_offset = fd_offset};
    int r;

    if (!hook_of(vma) || fd < 0 || (fd_offset & (MUSE_PAGE_BYTES - 1)) != 0)
        return -EINVAL;
    r = add_verb(vma, &action, length, 0);
    if (r < 0)
        return r;
    r = note_fd(hook_of(vma), fd);
    if (r < 0)
        hook_of(vma)->n_verbs--;
    return r;
}

int muse_vma_prefault(struct muse_vma *vma, uint64_t address, uint64_t n_pages)
{
    const struct muse_action action = {
        .type = MUSE_ACTION_PREFAULT, .address = address, .fd = -1, .n_pages = n_pages};

    if (n_pages > UINT64_MAX / MUSE_PAGE_BYTES)
        return -EINVAL;
    return add_verb(vma, &action, n_pages * MUSE_PAGE_BYTES, 0);
}

/* The pages of the object that [address, address + length) shows. Return: 0; -EINVAL. */
static int pages_of(const struct muse_vma *vma, uint64_t address, uint64_t length,
                    const struct page_cache *cache, struct range *ret_pages)
{
    const uint64_t offset = vma->pgoff * MUSE_PAGE_BYTES + (address - vma->start);

    if (offset % cache->page_bytes != 0 || length % cache->page_bytes != 0)
        return -EINVAL;
    *ret_pages = range_make(offset / cache->page_bytes, (offset + length) / cache->page_bytes);
    return ret_pages->end <= cache->n_pages ? 0 : -EINVAL;
}

/* @data: NULL: nothing is written. Return: 0; -EINVAL; -ENODEV; as cache_write(). */
static int write_pages(struct muse_vma *vma, uint64_t address, uint64_t length, const void *data)
{
    struct muse_driver *driver = hook_of(vma)->driver;
    struct page_cache *cache;
    struct object *object;
    struct range pages;
    int r = objects_pin(&driver->objects, vma->file->object_key, 0, sdk_now_ns(), &object, &cache);

    if (r < 0)
        return r;
    r = pages_of(vma, address, length, cache, &pages);
    if (r == 0 && data)
        r = cache_write(&driver->objects, cache, pages.start, data, range_len(pages));
    if (objects_unpin(&driver->objects, object, cache))
        sdk_wake(driver);
    return r;
}

/* Checks as add_verb() does, before anything is written. */
static int check_verb(struct muse_vma *vma, uint64_t address, uint64_t n_pages)
{
    const struct muse_request *request = hook_of(vma);

    if (!request || !vma->file || n_pages > UINT64_MAX / MUSE_PAGE_BYTES ||
        !is_in_part(vma, address, n_pages * MUSE_PAGE_BYTES))
        return -EINVAL;
    return request->n_verbs == verbs_max(request) ? -ENOSPC : 0;
}

int muse_vma_supply(struct muse_vma *vma, uint64_t address, const void *data, uint64_t n_pages)
{
    const uint64_t length = n_pages * MUSE_PAGE_BYTES;
    const struct muse_action action = {
        .type = SDK_VERB_SUPPLY, .address = address, .length = length, .fd = -1};
    int r = data ? check_verb(vma, address, n_pages) : -EINVAL;

    if (r == 0)
        r = write_pages(vma, address, length, data);
    return r < 0 ? r : add_verb(vma, &action, length, 0);
}

int muse_vma_poison(struct muse_vma *vma, uint64_t address, uint64_t n_pages, int error)
{
    const uint64_t length = n_pages * MUSE_PAGE_BYTES;
    const struct muse_action action = {
        .type = SDK_VERB_POISON, .address = address, .length = length, .fd = -1};
    int r = error < 0 ? check_verb(vma, address, n_pages) : -EINVAL;

    if (r == 0)
        r = write_pages(vma, address, length, NULL); /* whole pages, inside the object */
    return r < 0 ? r : add_verb(vma, &action, length, error);
}

int muse_vma_forward(struct muse_vma *vma, const char *name)
{
    struct muse_request *request = hook_of(vma);
    char *copy;

    if (!request || request->kind != REQUEST_LEGACY_MMAP || strlen(name) > NAME_BYTES_MAX)
        return -EINVAL;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    free(request->forward);
    request->forward = copy;
    return 0;
}
