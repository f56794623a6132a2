/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls the driver's hooks: one function for each, from a decoded event to the hook's arguments.
 * Runs on the main thread only. What a hook answered is sent by answers.c; when it may run is
 * decided by dispatch.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"

static unsigned long long ull(uint64_t number)
{
    return number;
}

static void use_file(struct muse_request *request, struct file *file)
{
    request->file = file;
    if (file)
        file->n_users++;
}

int hook_open(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverOpen *open = (const Muse__Wire__DriverOpen *)event->message;
    struct muse_request *request = request_new(driver, REQUEST_OPEN, event);
    struct file *file;
    int r;

    if (!request)
        return -ENOMEM;
    r = file_new(driver, &file);
    if (r < 0) {
        request_end(request, r);
        return 0;
    }
    use_file(request, file);
    request->open_args = (struct muse_open_args){.path = open->path,
                                                 .oflags = (int)open->oflags,
                                                 .mode = open->mode,
                                                 .uid = open->uid,
                                                 .gid = open->gid,
                                                 .pid = (pid_t)open->pid};
    sdk_trace(driver, "request %llu: open %s", ull(event->id), open->path);
    request_begin(request);
    r = driver->ops.open
            ? driver->ops.open(driver->user, &request->open_args, &request->open_result)
            : -ENODEV;
    request_end(request, r);
    return 0;
}

int hook_getattr(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__HandleRef *ref = (const Muse__Wire__HandleRef *)event->message;
    struct file *file = file_find(driver, ref->handle);
    struct muse_request *request = request_new(driver, REQUEST_GETATTR, event);
    int r = 0;

    if (!request)
        return -ENOMEM;
    use_file(request, file);
    if (!file) {
        request_end(request, -EBADF);
        return 0;
    }
    request->attr = file->attr;
    sdk_trace(driver, "request %llu: getattr file %llu", ull(event->id), ull(file->pub.id));
    request_begin(request);
    if (driver->ops.getattr)
        r = driver->ops.getattr(driver->user, &file->pub, &request->attr);
    request_end(request, r);
    return 0;
}

static void fill_desc(struct muse_request *request, const Muse__Wire__Prepare *prepare)
{
    request->desc = (struct muse_vma_desc){
        .space_id = prepare->space_id,
        .file = &request->file->pub,
        .start = prepare->start,
        .end = prepare->end,
        .uid = prepare->uid,
        .pid = (pid_t)prepare->pid,
        .pgoff = prepare->pgoff,
        .vm_file = &request->file->pub,
        .vm_flags = prepare->vm_flags,
        .page_prot = prepare->page_prot,
        .vm_ops = MUSE_VM_OPS_UNSET,
        .action = {.fd = -1},
    };
}

/* Only drivers with mmap_complete are told how a mapping call ends. Return: 0; -ENOMEM. */
static int prepare_map_call(struct muse_request *request, const Muse__Wire__Prepare *prepare)
{
    struct map_call *call;

    if (!request->driver->ops.mmap_complete)
        return 0;
    call = calloc(1, sizeof(*call));
    if (!call)
        return -ENOMEM;
    *call = (struct map_call){.prepare_id = request->id,
                              .space_id = prepare->space_id,
                              .start = prepare->start,
                              .end = prepare->end,
                              .file = request->file};
    list_init(&call->node);
    request->map_call = call;
    return 0;
}

static struct map_call *map_call_free(struct map_call *call)
{
    list_del(&call->node);
    call->file->n_users--;
    free(call);
    return NULL;
}

/* A merge ends a call without a word when the server keeps the contract of kernel-v1; for a driver
 * without mmap_abort the space's next call then says so: it has one at a time. */
static void forget_unended_calls(struct muse_driver *driver, uint64_t space_id)
{
    struct list *pos, *tmp;

    if (driver->ops.mmap_abort)
        return;
    list_for_each_safe(pos, tmp, &driver->map_calls) {
        struct map_call *call = LIST_ENTRY(pos, struct map_call, node);

        if (call->space_id == space_id)
            (void)map_call_free(call);
    }
}

int hook_prepare(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Prepare *prepare = (const Muse__Wire__Prepare *)event->message;
    struct file *file = file_find(driver, prepare->handle);
    struct muse_request *request = request_new(driver, REQUEST_PREPARE, event);
    int r;

    if (!request)
        return -ENOMEM;
    use_file(request, file);
    if (!file || !driver->ops.mmap_prepare) {
        request_end(request, file ? -ENODEV : -EBADF);
        return 0;
    }
    forget_unended_calls(driver, prepare->space_id);
    fill_desc(request, prepare);
    r = prepare_map_call(request, prepare);
    if (r < 0) {
        request_end(request, r);
        return 0;
    }
    sdk_trace(driver, "request %llu: mmap_prepare [%#llx, %#llx) of file %llu", ull(event->id),
              ull(prepare->start), ull(prepare->end), ull(file->pub.id));
    request_begin(request);
    r = driver->ops.mmap_prepare(&request->desc);
    request_end(request, r);
    return 0;
}

/* A space has one mapping call at a time, so range and context name it. Newest first. */
static struct map_call *find_call(struct muse_driver *driver, const Muse__Wire__Complete *complete)
{
    struct list *pos;

    list_for_each(pos, &driver->map_calls) {
        struct map_call *call = LIST_ENTRY(pos, struct map_call, node);

        if (call->space_id == complete->vma->space_id && call->start == complete->part_start &&
            call->end == complete->part_end && sdk_number(call->context) == complete->context)
            return call;
    }
    return NULL;
}

/* Return: 0, @ret_vma busy with @request; -ENOMEM. */
static int use_vma(struct muse_request *request, const Muse__Wire__Vma *wire)
{
    struct vma *vma;
    int r = vma_get(request->driver, wire, &vma);

    if (r < 0)
        return r;
    vma->request = request;
    request->vma = vma;
    return 0;
}

int hook_complete(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Complete *complete = (const Muse__Wire__Complete *)event->message;
    struct map_call *call = find_call(driver, complete);
    struct file *file = call ? call->file : file_find(driver, complete->vma->handle);
    struct muse_request *request = request_new(driver, REQUEST_COMPLETE, event);
    int r;

    if (!request)
        return -ENOMEM;
    use_file(request, file);
    r = use_vma(request, complete->vma);
    if (r == 0 && (!file || !driver->ops.mmap_complete))
        r = file ? -ENODEV : -EBADF;
    if (call)
        (void)map_call_free(call);
    if (r < 0) {
        request_end(request, r);
        return 0;
    }
    request->vma->pub.part_start = complete->part_start;
    request->vma->pub.part_end = complete->part_end;
    request->context = sdk_pointer(complete->context);
    vma_set_live(request->vma, true);
    sdk_trace(driver, "request %llu: mmap_complete VMA %llu [%#llx, %#llx)", ull(event->id),
              ull(complete->vma->vma_id), ull(complete->part_start), ull(complete->part_end));
    request_begin(request);
    r = driver->ops.mmap_complete(&file->pub, &request->vma->pub, request->context);
    request_end(request, r);
    return 0;
}

int hook_legacy_mmap(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Complete *complete = (const Muse__Wire__Complete *)event->message;
    struct file *file = file_find(driver, complete->vma->handle);
    struct muse_request *request = request_new(driver, REQUEST_LEGACY_MMAP, event);
    int r;

    if (!request)
        return -ENOMEM;
    use_file(request, file);
    r = use_vma(request, complete->vma);
    if (r == 0 && (!file || !driver->ops.mmap))
        r = file ? -ENODEV : -EBADF;
    if (r < 0) {
        request_end(request, r);
        return 0;
    }
    request->vma->pub.vm_ops = MUSE_VM_OPS_UNSET;
    request->vma->pub.part_start = complete->part_start;
    request->vma->pub.part_end = complete->part_end;
    request->before = request->vma->pub;
    sdk_trace(driver, "request %llu: mmap VMA %llu [%#llx, %#llx)", ull(event->id),
              ull(complete->vma->vma_id), ull(complete->part_start), ull(complete->part_end));
    request_begin(request);
    r = driver->ops.mmap(&file->pub, &request->vma->pub);
    request_end(request, r);
    return 0;
}

/* A vm operation that has an answer begins. @ret_request: NULL when it is answered already. Return:
 * 0; -ENOMEM. */
static int begin_vm_op_at(struct muse_driver *driver, struct event *event, enum request_kind kind,
                          const char *hook, const Muse__Wire__Vma *wire, uint64_t addr,
                          struct muse_request **ret_request)
{
    struct muse_request *request = request_new(driver, kind, event);
    int r;

    if (!request)
        return -ENOMEM;
    r = use_vma(request, wire);
    if (r < 0) {
        request_end(request, r);
        *ret_request = NULL;
        return 0;
    }
    sdk_trace(driver, "request %llu: %s VMA %llu at %#llx", ull(event->id), hook, ull(wire->vma_id),
              ull(addr));
    request_begin(request);
    *ret_request = request;
    return 0;
}

/* The same, for what has a VmaEvent. */
static int begin_vm_op(struct muse_driver *driver, struct event *event, enum request_kind kind,
                       const char *hook, struct muse_request **ret_request)
{
    const Muse__Wire__VmaEvent *vm_event = (const Muse__Wire__VmaEvent *)event->message;

    return begin_vm_op_at(driver, event, kind, hook, vm_event->vma,
                          vm_event->has_addr ? vm_event->addr : vm_event->vma->start, ret_request);
}

int hook_may_split(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__VmaEvent *split = (const Muse__Wire__VmaEvent *)event->message;
    const struct muse_vm_ops *vm_ops;
    struct muse_request *request;
    int r = begin_vm_op(driver, event, REQUEST_MAY_SPLIT, "may_split", &request);

    if (r < 0 || !request)
        return r;
    vm_ops = request->vma->pub.vm_ops;
    if (vm_ops && vm_ops->may_split)
        r = vm_ops->may_split(&request->vma->pub, split->addr);
    request_end(request, r);
    return 0;
}

int hook_mprotect(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__VmaEvent *change = (const Muse__Wire__VmaEvent *)event->message;
    const struct muse_vm_ops *vm_ops;
    struct muse_request *request;
    int r = begin_vm_op(driver, event, REQUEST_MPROTECT, "mprotect", &request);

    if (r < 0 || !request)
        return r;
    vm_ops = request->vma->pub.vm_ops;
    if (vm_ops && vm_ops->mprotect)
        r = vm_ops->mprotect(&request->vma->pub, change->addr, change->end, change->vm_flags);
    request_end(request, r);
    return 0;
}

int hook_mremap(struct muse_driver *driver, struct event *event)
{
    const struct muse_vm_ops *vm_ops;
    struct muse_request *request;
    int r = begin_vm_op(driver, event, REQUEST_MREMAP, "mremap", &request);

    if (r < 0 || !request)
        return r;
    vm_ops = request->vma->pub.vm_ops;
    if (vm_ops && vm_ops->mremap)
        r = vm_ops->mremap(&request->vma->pub);
    request_end(request, r);
    return 0;
}

/* Zeroed, so that nothing of the driver's memory leaves by a hook that counts more than it has
 * filled in. Return: 0; -errno. */
static int get_buf(struct muse_request *request, uint32_t length)
{
    if (length > ACCESS_BYTES_MAX)
        return -EINVAL;
    request->buf = calloc(1, length);
    return request->buf ? 0 : -ENOMEM;
}

int hook_access(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverAccess *access = (const Muse__Wire__DriverAccess *)event->message;
    const struct muse_vm_ops *vm_ops;
    struct muse_request *request;
    int r = begin_vm_op_at(driver, event, REQUEST_ACCESS, "access", access->vma, access->addr,
                           &request);

    if (r < 0 || !request)
        return r;
    vm_ops = request->vma->pub.vm_ops;
    r = vm_ops && vm_ops->access ? get_buf(request, access->length) : -EOPNOTSUPP;
    if (r == 0)
        r = vm_ops->access(&request->vma->pub, access->addr, request->buf, (int)access->length, 0);
    request_end(request, r);
    return 0;
}

int hook_name(struct muse_driver *driver, struct event *event)
{
    const struct muse_vm_ops *vm_ops;
    struct muse_request *request;
    const char *name = NULL;
    int r = begin_vm_op(driver, event, REQUEST_NAME, "name", &request);

    if (r < 0 || !request)
        return r;
    vm_ops = request->vma->pub.vm_ops;
    if (vm_ops && vm_ops->vma_name)
        name = vm_ops->vma_name(&request->vma->pub);
    if (!request->deferred)
        request->name = name;
    request_end(request, 0);
    return 0;
}

void hook_abort_call(struct muse_driver *driver, struct map_call *call)
{
    sdk_trace(driver, "mmap_abort [%#llx, %#llx) of file %llu", ull(call->start), ull(call->end),
              ull(call->file->pub.id));
    if (driver->ops.mmap_abort)
        driver->ops.mmap_abort(&call->file->pub, call->private_data, call->context);
    request_clear_thread_text();
    (void)map_call_free(call);
}

static struct map_call *find_call_by_id(struct muse_driver *driver, uint64_t prepare_id)
{
    struct list *pos;

    list_for_each(pos, &driver->map_calls) {
        struct map_call *call = LIST_ENTRY(pos, struct map_call, node);

        if (call->prepare_id == prepare_id)
            return call;
    }
    return NULL;
}

/* A call that is not open here has had its end, or never began: the hook runs at most once. */
int hook_abort(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Abort *abort_event = (const Muse__Wire__Abort *)event->message;
    struct map_call *call = find_call_by_id(driver, abort_event->prepare_id);

    if (call) {
        hook_abort_call(driver, call);
    } else {
        sdk_trace(driver, "abort of request %llu, which is not open: ignored",
                  ull(abort_event->prepare_id));
    }
    (void)event_free(event);
    return 0;
}

/* A split gives one side to the copy: what the parent is told later, if only by a dying server,
 * shows what is left. */
static void trim_parent(struct muse_driver *driver, uint64_t parent_id, const struct muse_vma *copy)
{
    struct vma *parent = vma_find(driver, parent_id);
    struct muse_vma *pub = parent ? &parent->pub : NULL;

    if (!pub || pub->space_id != copy->space_id)
        return;
    if (copy->start == pub->start && copy->end < pub->end) {
        pub->pgoff += (copy->end - pub->start) / MUSE_PAGE_BYTES;
        pub->start = copy->end;
    } else if (copy->end == pub->end && copy->start > pub->start) {
        pub->end = copy->start;
    }
}

int hook_vma_open(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__VmaEvent *open = (const Muse__Wire__VmaEvent *)event->message;
    struct vma *vma;
    int r = vma_get(driver, open->vma, &vma);

    if (r == 0) {
        if (open->has_parent)
            trim_parent(driver, open->parent, &vma->pub);
        vma_set_live(vma, true);
        sdk_trace(driver, "vm_open VMA %llu", ull(vma->pub.id));
        if (vma->pub.vm_ops && vma->pub.vm_ops->open)
            vma->pub.vm_ops->open(&vma->pub);
        request_clear_thread_text();
        vma_settle(driver, vma);
    }
    (void)event_free(event);
    return r;
}

void hook_close_vma(struct muse_driver *driver, struct vma *vma)
{
    sdk_trace(driver, "vm_close VMA %llu", ull(vma->pub.id));
    if (vma_has_close(vma))
        vma->pub.vm_ops->close(&vma->pub);
    request_clear_thread_text();
    vma_set_live(vma, false);
}

int hook_vma_close(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__VmaEvent *close = (const Muse__Wire__VmaEvent *)event->message;
    struct vma *vma;
    int r = vma_get(driver, close->vma, &vma);

    if (r == 0) {
        hook_close_vma(driver, vma);
        vma_settle(driver, vma);
    }
    (void)event_free(event);
    return r;
}

void hook_release_file(struct muse_driver *driver, struct file *file)
{
    const uint64_t key = file->pub.object_key;
    const bool counted =
        file->open; /* one whose answer could not be sent was not counted in the object */

    sdk_trace(driver, "release file %llu", ull(file->pub.id));
    if (driver->ops.release)
        driver->ops.release(driver->user, &file->pub);
    request_clear_thread_text();
    (void)file_free(driver, file);
    if (counted && objects_release(&driver->objects, key))
        sdk_wake(driver);
}

int hook_release(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__HandleRef *ref = (const Muse__Wire__HandleRef *)event->message;
    struct file *file = file_find(driver, ref->handle);

    if (file)
        hook_release_file(driver, file);
    (void)event_free(event);
    return 0;
}

/* An open hook that is deferred may be about to name a dying object again: then later. */
void hook_objects_gone(struct muse_driver *driver)
{
    struct object *object;

    while (driver->n_deferred_opens == 0 &&
           (object = objects_take_gone(&driver->objects)) != NULL) {
        sdk_trace(driver, "object_gone %#llx", ull(object->key));
        if (driver->ops.object_gone)
            driver->ops.object_gone(driver->user, object->key, object->user_object);
        request_clear_thread_text();
        free(object);
    }
}
