/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hooks about written pages and sizes: writeback, fsync, truncate, fallocate, page_mkwrite. Each turns
 * one message into one call of the driver; the page cache of a writeback is pinned until it was
 * answered, because the driver reads the bytes from it. Main thread only, as all hooks but fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "drivers/sdk/sdk.h"

static unsigned long long ull(uint64_t number)
{
    return number;
}

/* Return: 0; -ENODEV the object has gone. */
static int pin(struct muse_request *request, uint64_t key, uint64_t id)
{
    return objects_pin(&request->driver->objects, key, id, sdk_now_ns(), &request->object,
                       &request->cache);
}

void request_unpin(struct muse_request *request)
{
    if (request->object &&
        objects_unpin(&request->driver->objects, request->object, request->cache))
        sdk_wake(request->driver);
    request->object = NULL;
}

int hook_writeback(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Writeback *wire = (const Muse__Wire__Writeback *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_WRITEBACK, event);
    int r;

    if (!request)
        return -ENOMEM;
    r = pin(request, wire->object_key, wire->object_id);
    if (r == 0 && !driver->ops.writeback)
        r = -EOPNOTSUPP;
    if (r < 0) {
        request_end(request, r);
        return 0;
    }
    request->writeback = (struct muse_writeback){.object_key = wire->object_key,
                                                 .object = request->object->user_object,
                                                 .first_page = wire->first_page,
                                                 .n_pages = wire->n_pages,
                                                 .page_bytes = request->cache->page_bytes,
                                                 .size_bytes = wire->size,
                                                 .fd = request->cache->memfd,
                                                 .user = driver->user};
    sdk_trace(driver, "request %llu: writeback of %#llx, pages %llu+%llu", ull(event->id),
              ull(wire->object_key), ull(wire->first_page), ull(wire->n_pages));
    request_begin(request);
    r = driver->ops.writeback(&request->writeback);
    request_end(request, r);
    return 0;
}

int hook_fsync(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__ObjectRef *wire = (const Muse__Wire__ObjectRef *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_FSYNC, event);
    int r;

    if (!request)
        return -ENOMEM;
    r = pin(request, wire->object_key, wire->object_id);
    if (r < 0 || !driver->ops.fsync) {
        request_end(request, r);
        return 0;
    }
    sdk_trace(driver, "request %llu: fsync of %#llx", ull(event->id), ull(wire->object_key));
    request_begin(request);
    r = driver->ops.fsync(driver->user, wire->object_key, request->object->user_object);
    request_end(request, r);
    return 0;
}

/* Return: the open file, in use by @request; NULL after the request was answered. */
static struct file *use_file(struct muse_request *request, uint64_t handle, bool has_hook)
{
    struct file *file = file_find(request->driver, handle);

    if (!file || !has_hook) {
        request_end(request, file ? -EOPNOTSUPP : -EBADF);
        return NULL;
    }
    request->file = file;
    file->n_users++;
    return file;
}

/* Before the server knows: a client may touch the new pages before RESIZED is read. */
void request_grown(struct muse_request *request)
{
    struct objects *objects = &request->driver->objects;

    if (request->kind == REQUEST_TRUNCATE) {
        const Muse__Wire__DriverTruncate *wire =
            (const Muse__Wire__DriverTruncate *)request->event->message;

        if (wire->size <= OBJECT_BYTES_MAX)
            objects_grow(objects, wire->object_key, wire->size);
    } else if (request->kind == REQUEST_FALLOCATE) {
        const Muse__Wire__DriverFallocate *wire =
            (const Muse__Wire__DriverFallocate *)request->event->message;

        if (!(wire->mode & FALLOC_FL_KEEP_SIZE) && wire->offset <= OBJECT_BYTES_MAX &&
            wire->length <= OBJECT_BYTES_MAX - wire->offset)
            objects_grow(objects, wire->object_key, wire->offset + wire->length);
    } else {
        for (unsigned i = 0; i < request->n_verbs; i++) {
            const struct muse_action *action = &request->verbs[i].action;

            if (action->type == SDK_VERB_GROW && action->length <= OBJECT_BYTES_MAX)
                objects_grow(objects, request->vma->pub.file->object_key, action->length);
        }
    }
}

int hook_truncate(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverTruncate *wire = (const Muse__Wire__DriverTruncate *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_TRUNCATE, event);
    struct file *file;
    int r;

    if (!request)
        return -ENOMEM;
    file = use_file(request, wire->handle, driver->ops.truncate);
    if (!file)
        return 0;
    sdk_trace(driver, "request %llu: truncate file %llu to %llu", ull(event->id), ull(file->pub.id),
              ull(wire->size));
    request_begin(request);
    r = driver->ops.truncate(driver->user, &file->pub, wire->size);
    request_end(request, r);
    return 0;
}

int hook_fallocate(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverFallocate *wire = (const Muse__Wire__DriverFallocate *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_FALLOCATE, event);
    struct file *file;
    int r;

    if (!request)
        return -ENOMEM;
    file = use_file(request, wire->handle, driver->ops.fallocate);
    if (!file)
        return 0;
    sdk_trace(driver, "request %llu: fallocate file %llu, mode %#x, %llu+%llu", ull(event->id),
              ull(file->pub.id), wire->mode, ull(wire->offset), ull(wire->length));
    request_begin(request);
    r = driver->ops.fallocate(driver->user, &file->pub, (int)wire->mode, wire->offset,
                              wire->length);
    request_end(request, r);
    return 0;
}

int hook_page_mkwrite(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__PageMkwrite *wire = (const Muse__Wire__PageMkwrite *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_PAGE_MKWRITE, event);
    const struct muse_vm_ops *vm_ops;
    struct vma *vma;
    int r;

    if (!request)
        return -ENOMEM;
    r = vma_get(driver, wire->vma, &vma);
    if (r < 0) {
        request_end(request, r);
        return 0;
    }
    vma->request = request;
    request->vma = vma;
    vm_ops = vma->pub.vm_ops;
    sdk_trace(driver, "request %llu: page_mkwrite VMA %llu, page %llu", ull(event->id),
              ull(wire->vma->vma_id), ull(wire->page));
    request_begin(request);
    if (vm_ops && vm_ops->page_mkwrite)
        r = vm_ops->page_mkwrite(&vma->pub, wire->page);
    request_end(request, r);
    return 0;
}
