/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hooks answered, as frames: turns the structs the driver filled in into messages and fds.
 * Passes nonsense on as it is where the wire can carry it, because judging drivers is the server's
 * business; what cannot travel becomes EINVAL.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"

struct fd_table {
    int fds[FRAME_FDS_MAX]; /* borrowed from the driver */
    unsigned n;
};

/* Return: the fd's index; -EBADF; -EMFILE. */
static int fd_table_append(struct fd_table *table, int fd)
{
    if (fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    if (table->n == FRAME_FDS_MAX)
        return -EMFILE;
    table->fds[table->n] = fd;
    return (int)table->n++;
}

static int fd_table_find_or_append(struct fd_table *table, int fd)
{
    for (unsigned i = 0; i < table->n; i++) {
        if (table->fds[i] == fd)
            return (int)i;
    }
    return fd_table_append(table, fd);
}

/* One allocation: the pointers protobuf-c wants, and behind them what they point to.
 * Return: 0; -errno. */
static int build_extents(const struct muse_extent *extents, size_t n_extents,
                         struct fd_table *table, Muse__Wire__Extent ***ret_pointers)
{
    CLEAN(free_p) Muse__Wire__Extent **pointers = NULL;
    Muse__Wire__Extent *wire;

    if (n_extents > OBJECT_EXTENTS_MAX)
        return -E2BIG;
    pointers = calloc(n_extents + 1, sizeof(Muse__Wire__Extent *) + sizeof(Muse__Wire__Extent));
    if (!pointers)
        return -ENOMEM;
    wire = (Muse__Wire__Extent *)(void *)(pointers + n_extents + 1);
    for (size_t i = 0; i < n_extents; i++) {
        int index = extents[i].fd < 0 ? -1 : fd_table_find_or_append(table, extents[i].fd);

        if (extents[i].fd >= 0 && index < 0)
            return index;
        muse__wire__extent__init(&wire[i]);
        wire[i].object_offset = extents[i].object_offset;
        wire[i].length = extents[i].length;
        wire[i].fd_index = index;
        wire[i].fd_offset = extents[i].fd_offset;
        pointers[i] = &wire[i];
    }
    *ret_pointers = TAKE(pointers);
    return 0;
}

static bool is_remap(const struct muse_action *action)
{
    return action->type == MUSE_ACTION_REMAP || action->type == MUSE_ACTION_IO_REMAP;
}

/* @ret_wire->extents is owned by the caller afterwards. */
static int build_action(const struct muse_action *action, struct fd_table *table,
                        Muse__Wire__Action *ret_wire)
{
    muse__wire__action__init(ret_wire);
    ret_wire->type = (Muse__Wire__Action__Type)action->type;
    ret_wire->has_address = action->address != 0;
    ret_wire->address = action->address;
    ret_wire->has_length = action->length != 0;
    ret_wire->length = action->length;
    if (is_remap(action)) {
        int r = fd_table_find_or_append(table, action->fd);

        if (r < 0)
            return r;
        ret_wire->has_fd_index = true;
        ret_wire->fd_index = (uint32_t)r;
        ret_wire->has_fd_offset = true;
        ret_wire->fd_offset = action->fd_offset;
    }
    ret_wire->has_n_pages = action->type == MUSE_ACTION_PREFAULT;
    ret_wire->n_pages = action->n_pages;
    if (action->type != MUSE_ACTION_EXTENTS)
        return 0;
    ret_wire->n_extents = action->n_extents;
    return build_extents(action->extents, action->n_extents, table, &ret_wire->extents);
}

static int build_verb(const struct muse_request *request, unsigned i, struct fd_table *table,
                      Muse__Wire__Action *ret_wire)
{
    const struct sdk_verb *verb = &request->verbs[i];
    int r = build_action(&verb->action, table, ret_wire);

    if (verb->action.type == SDK_VERB_POISON) {
        ret_wire->has_error = true;
        ret_wire->error = (uint32_t)sdk_wire_error(verb->error);
    }
    return r;
}

static char *text_of(struct muse_request *request)
{
    return request->text[0] ? request->text : NULL;
}

/* A vanished server is no failure: the shutdown tells the driver all it needs. */
static int send_answer(struct muse_request *request, uint16_t type, const ProtobufCMessage *message,
                       const struct fd_table *table)
{
    int r = sdk_send(request->driver, type, request->id, message, table ? table->fds : NULL,
                     table ? table->n : 0);

    return r == -ENODEV ? 0 : r;
}

static int send_failed(struct muse_request *request)
{
    Muse__Wire__DriverFailed failed = MUSE__WIRE__DRIVER_FAILED__INIT;

    failed.error = (uint32_t)sdk_wire_error(request->error);
    failed.text = text_of(request);
    return send_answer(request, FRAME_DRIVER_FAILED, &failed.base, NULL);
}

static void fill_attr(const struct muse_attr *attr, Muse__Wire__Attr *ret_wire)
{
    muse__wire__attr__init(ret_wire);
    ret_wire->size = attr->size;
    ret_wire->mode = attr->mode;
    ret_wire->inode = attr->inode;
    ret_wire->has_uid = ret_wire->has_gid = ret_wire->has_mtime_ns = ret_wire->has_nlink = true;
    ret_wire->uid = attr->uid;
    ret_wire->gid = attr->gid;
    ret_wire->mtime_ns = attr->mtime_ns;
    ret_wire->nlink = attr->nlink;
}

static void fill_file(struct muse_request *request)
{
    const struct muse_open_result *result = &request->open_result;
    struct file *file = request->file;

    file->pub.private_data = result->file_private;
    file->pub.object_key = result->object_key;
    file->pub.oflags = request->open_args.oflags;
    file->attr = result->attr;
}

/* All but the extents. @attr: the caller's, until it was sent. */
static void fill_opened(const struct muse_open_result *result, uint64_t handle,
                        Muse__Wire__Attr *attr, Muse__Wire__DriverOpened *ret_opened)
{
    muse__wire__driver_opened__init(ret_opened);
    fill_attr(&result->attr, attr);
    ret_opened->handle = handle;
    ret_opened->object_key = result->object_key;
    ret_opened->attr = attr;
    ret_opened->has_page_bytes = true;
    ret_opened->page_bytes = result->page_bytes ? result->page_bytes : MUSE_PAGE_BYTES;
    ret_opened->has_noexec = ret_opened->noexec = result->noexec;
    ret_opened->has_map_sync = ret_opened->map_sync = result->map_sync;
    ret_opened->has_map_align = result->map_align != 0;
    ret_opened->map_align = result->map_align;
}

static int send_opened(struct muse_request *request)
{
    const struct muse_open_result *result = &request->open_result;
    Muse__Wire__DriverOpened opened;
    CLEAN(free_p) Muse__Wire__Extent **extents = NULL;
    struct fd_table table = {.n = 0};
    Muse__Wire__Attr attr;
    int r;

    fill_file(request);
    r = build_extents(result->extents, result->extents ? result->n_extents : 0, &table, &extents);
    if (r < 0)
        return r;
    fill_opened(result, request->file->pub.id, &attr, &opened);
    opened.n_extents = result->extents ? result->n_extents : 0;
    opened.extents = extents;
    r = objects_open(&request->driver->objects, result->object_key, result->object);
    if (r < 0)
        return r;
    r = send_answer(request, FRAME_DRIVER_OPENED, &opened.base, &table);
    if (r < 0)
        (void)objects_release(&request->driver->objects, result->object_key);
    return r;
}

static int send_attr(struct muse_request *request)
{
    Muse__Wire__Attr attr;

    fill_attr(&request->attr, &attr);
    return send_answer(request, FRAME_DRIVER_ATTR, &attr.base, NULL);
}

/* A driver's attributes travel as they were filled in. */
static int send_path(struct muse_request *request)
{
    const ProtobufCMessage *message;
    uint16_t type;

    if (request->error != 0)
        return send_failed(request);
    if (request->event->type == FRAME_DRIVER_STATAT)
        return send_attr(request);
    message = path_answer(request, &type);
    return send_answer(request, type, message, NULL);
}

static void fill_vm_ops(const struct muse_driver *driver, const struct muse_vm_ops *vm_ops,
                        Muse__Wire__Prepared *ret_prepared)
{
    if (vm_ops == MUSE_VM_OPS_UNSET)
        return;
    ret_prepared->has_vm_ops = true;
    ret_prepared->vm_ops = vm_ops_id(driver, vm_ops);
}

static void fill_from_desc(struct muse_request *request, Muse__Wire__Prepared *ret_prepared)
{
    const Muse__Wire__Prepare *asked = (const Muse__Wire__Prepare *)request->event->message;
    const struct muse_vma_desc *desc = &request->desc;

    ret_prepared->has_pgoff = desc->pgoff != asked->pgoff;
    ret_prepared->pgoff = desc->pgoff;
    ret_prepared->has_vm_flags = desc->vm_flags != asked->vm_flags;
    ret_prepared->vm_flags = desc->vm_flags;
    ret_prepared->has_page_prot = desc->page_prot != asked->page_prot;
    ret_prepared->page_prot = desc->page_prot;
    ret_prepared->has_vm_file = desc->vm_file != &request->file->pub && !ret_prepared->opened;
    ret_prepared->vm_file = desc->vm_file ? desc->vm_file->id : 0;
    ret_prepared->has_private_data = true;
    ret_prepared->private_data = sdk_number(desc->private_data);
    ret_prepared->has_context = true;
    ret_prepared->context = sdk_number(desc->mmap_context);
    fill_vm_ops(request->driver, desc->vm_ops, ret_prepared);
}

static void fill_from_legacy(struct muse_request *request, Muse__Wire__Prepared *ret_prepared)
{
    const struct muse_vma *before = &request->before;
    const struct muse_vma *vma = &request->vma->pub;

    ret_prepared->has_pgoff = vma->pgoff != before->pgoff;
    ret_prepared->pgoff = vma->pgoff;
    ret_prepared->has_vm_flags = vma->vm_flags != before->vm_flags;
    ret_prepared->vm_flags = vma->vm_flags;
    ret_prepared->has_page_prot = vma->page_prot != before->page_prot;
    ret_prepared->page_prot = vma->page_prot;
    ret_prepared->has_private_data = true;
    ret_prepared->private_data = sdk_number(vma->private_data);
    ret_prepared->forward = request->forward;
    fill_vm_ops(request->driver, vma->vm_ops, ret_prepared);
}

static int send_prepared(struct muse_request *request)
{
    Muse__Wire__Prepared prepared = MUSE__WIRE__PREPARED__INIT;
    struct fd_table table = {.n = 0};
    Muse__Wire__DriverOpened opened;
    Muse__Wire__Action action;
    Muse__Wire__Attr attr;
    int r = 0;

    prepared.error = sdk_wire_error(request->error);
    prepared.text = text_of(request);
    muse__wire__action__init(&action);
    if (request->error == 0 && request->kind == REQUEST_PREPARE) {
        if (request->new_file && request->desc.vm_file == &request->new_file->pub) {
            fill_opened(&request->new_result, request->new_file->pub.id, &attr, &opened);
            prepared.opened = &opened;
            prepared.opened_path = request->new_name;
        }
        fill_from_desc(request, &prepared);
        if (request->desc.action.type != MUSE_ACTION_NONE) {
            r = build_action(&request->desc.action, &table, &action);
            prepared.action = &action;
        }
    } else if (request->error == 0) {
        fill_from_legacy(request, &prepared);
        if (request->n_verbs > 0) {
            r = build_verb(request, 0, &table, &action);
            prepared.action = &action;
        }
    }
    if (r == 0)
        r = send_answer(request, FRAME_PREPARED, &prepared.base, &table);
    free(action.extents);
    return r;
}

static int send_completed(struct muse_request *request)
{
    const unsigned n = request->error == 0 ? request->n_verbs : 0;
    Muse__Wire__Completed completed = MUSE__WIRE__COMPLETED__INIT;
    CLEAN(free_p) Muse__Wire__Action *actions = calloc(n + 1, sizeof(*actions));
    CLEAN(free_p) Muse__Wire__Action **pointers = calloc(n + 1, sizeof(Muse__Wire__Action *));
    struct fd_table table = {.n = 0};

    if (!actions || !pointers)
        return -ENOMEM;
    completed.error = sdk_wire_error(request->error);
    completed.text = text_of(request);
    completed.n_actions = n;
    completed.actions = pointers;
    for (unsigned i = 0; i < n; i++) {
        int r = build_verb(request, i, &table, &actions[i]);

        if (r < 0)
            return r;
        pointers[i] = &actions[i];
    }
    return send_answer(request, FRAME_COMPLETED, &completed.base, &table);
}

/* The hook's result is the number of bytes. */
static int send_accessed(struct muse_request *request)
{
    const Muse__Wire__DriverAccess *asked =
        (const Muse__Wire__DriverAccess *)request->event->message;
    Muse__Wire__DriverAccessed accessed = MUSE__WIRE__DRIVER_ACCESSED__INIT;

    if (request->error < 0)
        return send_failed(request);
    if ((uint32_t)request->error > asked->length)
        return -EMSGSIZE;
    accessed.data.data = request->buf;
    accessed.data.len = (size_t)request->error;
    return send_answer(request, FRAME_DRIVER_ACCESSED, &accessed.base, NULL);
}

static int send_named(struct muse_request *request)
{
    Muse__Wire__VmaNamed named = MUSE__WIRE__VMA_NAMED__INIT;
    char name[VMA_NAME_BYTES_MAX + 1];

    if (request->error != 0)
        return send_failed(request);
    if (request->name) {
        (void)snprintf(name, sizeof(name), "%s", request->name);
        named.name = name;
    }
    return send_answer(request, FRAME_VMA_NAMED, &named.base, NULL);
}

static int send_by_kind(struct muse_request *request)
{
    switch (request->kind) {
    case REQUEST_OPEN:
        return request->error == 0 ? send_opened(request) : send_failed(request);
    case REQUEST_GETATTR:
        return request->error == 0 ? send_attr(request) : send_failed(request);
    case REQUEST_PREPARE:
    case REQUEST_LEGACY_MMAP:
        return send_prepared(request);
    case REQUEST_COMPLETE:
    case REQUEST_MAY_SPLIT:
    case REQUEST_MPROTECT:
    case REQUEST_MREMAP:
    case REQUEST_WRITEBACK:
    case REQUEST_FSYNC:
    case REQUEST_TRUNCATE:
    case REQUEST_FALLOCATE:
    case REQUEST_PAGE_MKWRITE:
        return send_completed(request);
    case REQUEST_ACCESS:
        return send_accessed(request);
    case REQUEST_NAME:
        return send_named(request);
    case REQUEST_PATH:
        return send_path(request);
    }
    return -EINVAL;
}

int answer_send(struct muse_request *request)
{
    int r = send_by_kind(request);

    sdk_trace(request->driver, "request %llu: answered %d%s%s", (unsigned long long)request->id,
              request->error, request->text[0] ? ": " : "", request->text);
    if (r == 0)
        return 0;
    (void)snprintf(request->text, sizeof(request->text), "the driver's answer cannot be sent: %s",
                   strerror(-r));
    request->error = -EINVAL;
    (void)!send_by_kind(request); /* small and without fds: fails only when nobody is there */
    return r;
}
