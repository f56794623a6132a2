/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a map request: mmap_prepare and what it may answer, mmap_complete or the
 * legacy mmap, mmap_abort, close. Answers are decoded and checked here and become events; nothing
 * else of the driver's gets past this file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/ipc/fd.h"
#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "proto/status.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"
#include "server/flow/map_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/open_flow.h"
#include "server/flow/resize_flow.h"
#include "server/flow/stack_flow.h"
#include "server/session/peer.h"

#define PROT_ALL ((uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))

/* ---- counting: prepared = completed + aborted + in flight ---- */

static void count_prepared(struct map_request *request)
{
    request->driver->n.prepared++;
    request->driver->n.in_flight++;
    request->counted = true;
}

static void count_ended(struct map_request *request, uint64_t *counter)
{
    if (!request->counted)
        return;
    request->counted = false;
    request->driver->n.in_flight--;
    if (counter)
        (*counter)++;
}

/* ---- actions and verbs ---- */

static enum map_todo_kind todo_kind_of(Muse__Wire__Action__Type type)
{
    switch (type) {
    case MUSE__WIRE__ACTION__TYPE__REMAP:
    case MUSE__WIRE__ACTION__TYPE__IO_REMAP:
        return TODO_REMAP;
    case MUSE__WIRE__ACTION__TYPE__SUPPLY:
        return TODO_SUPPLY;
    case MUSE__WIRE__ACTION__TYPE__POISON:
        return TODO_POISON;
    case MUSE__WIRE__ACTION__TYPE__GROW:
        return TODO_GROW;
    case MUSE__WIRE__ACTION__TYPE__PREFAULT:
    case MUSE__WIRE__ACTION__TYPE__EXTENTS:
    case _MUSE__WIRE__ACTION__TYPE_IS_INT_SIZE:
        break;
    }
    return TODO_PREFAULT;
}

/* Return: 0; -errno with the error set. */
static int reserve_todos(struct map_request *request, size_t n)
{
    struct map_todo *todos;

    if (n > MAP_VERBS_MAX - request->n_todos) {
        map_set_error(request, -EINVAL, request->call.hook, "action: too many in one answer");
        return -EINVAL;
    }
    todos = n > 0 ? realloc(request->todos, (request->n_todos + n) * sizeof(*todos)) : NULL;
    if (n > 0 && !todos) {
        map_set_error(request, -ENOMEM, request->call.hook, "action: no memory for what is to do");
        return -ENOMEM;
    }
    request->todos = n > 0 ? todos : request->todos;
    return 0;
}

/* @fd: from the frame, -1: none. Return: the same fd, which is the request's now. */
static int keep_fd(struct map_request *request, int *fd)
{
    const int kept = fd_take(fd);

    if (kept >= 0) {
        MUST(request->n_todo_fds < N_ELEMENTS(request->todo_fds));
        request->todo_fds[request->n_todo_fds++] = kept;
    }
    return kept;
}

/* After reserve_todos(). It is about the object, not about a part of the mapping. */
static int add_grow(struct map_request *request, const Muse__Wire__Action *action)
{
    request->todos[request->n_todos++] = (struct map_todo){
        .kind = TODO_GROW, .range = request->target, .fd = -1, .size_bytes = action->length};
    return 0;
}

/* VM_REMAP_FLAGS of the kernel's remap_pfn_range(). In complete, a mapping that prepare has declared
 * MIXEDMAP gets single pages as by vmf_insert_mixed(), which leaves the flags alone. */
static uint32_t remap_flags(const struct map_request *request)
{
    if (request->txn.asked && (request->vma->flags & VMF_MIXEDMAP))
        return 0;
    return VMF_IO | VMF_PFNMAP | VMF_DONTEXPAND | VMF_DONTDUMP;
}

/* What is to replace others is made elsewhere and moved, and the client's kernel moves what is one mapping to
 * it. Pages that complete puts into a MIXEDMAP can come by fault instead. Return: 0; 1 it is left out;
 * -EFAULT with the error set. */
static int check_move(struct map_request *request, struct range addrs)
{
    if (!request->replace || range_equal(addrs, request->target))
        return 0;
    if (request->txn.asked && (request->vma->flags & VMF_MIXEDMAP) &&
        (request->driver->file_hooks & FILE_HOOK_FAULT))
        return 1;
    map_set_error(request, -EFAULT, request->call.hook,
                  "action: REMAP of a part, and the mapping has to be moved to replace others");
    return -EFAULT;
}

/* After reserve_todos(). @fd: the request's, or -1 */
static int add_todo(struct map_request *request, const Muse__Wire__Action *action,
                    struct range within, int fd)
{
    struct map_todo *todo = &request->todos[request->n_todos];
    const bool is_remap = action->type == MUSE__WIRE__ACTION__TYPE__REMAP ||
                          action->type == MUSE__WIRE__ACTION__TYPE__IO_REMAP;
    struct map_action check = {.is_remap = is_remap,
                               .start = within.start,
                               .end = within.end,
                               .address = action->has_address ? action->address : within.start,
                               .fd_offset = action->fd_offset,
                               .can_cow = (request->vma->flags & (VMF_SHARED | VMF_MAYWRITE)) ==
                                          VMF_MAYWRITE};
    const char *why;

    if (action->type == MUSE__WIRE__ACTION__TYPE__GROW)
        return add_grow(request, action);
    check.length = action->has_length ? action->length : within.end - check.address;
    if (!is_remap && action->has_n_pages) {
        check.length = action->n_pages > UINT64_MAX / VMA_PAGE_BYTES
                           ? UINT64_MAX
                           : action->n_pages * VMA_PAGE_BYTES;
    }
    if (map_check_action(&check, &why) < 0) {
        map_set_error(request, -EINVAL, request->call.hook, why);
        return -EINVAL;
    }
    if (is_remap && fd < 0) {
        map_set_error(request, -EINVAL, request->call.hook, "action: REMAP without an fd");
        return -EINVAL;
    }
    todo->range = range_make(check.address, check.address + check.length);
    if (is_remap) {
        const int r = check_move(request, todo->range);

        if (r != 0)
            return r < 0 ? r : 0;
        request->vma->flags |= remap_flags(request);
        request->merge = VMA_MERGE_NONE; /* such a mapping never merges */
    }
    todo->kind = todo_kind_of(action->type);
    todo->error = status_is_legal(action->error) ? (int)action->error : EIO;
    todo->fd = is_remap ? fd : -1;
    todo->fd_offset = check.fd_offset;
    request->n_todos++;
    return 0;
}

static int add_only_todo(struct map_request *request, const Muse__Wire__Action *action,
                         struct frame *frame)
{
    int r = reserve_todos(request, 1);

    return r < 0 ? r : add_todo(request, action, request->target, keep_fd(request, &frame->fds[0]));
}

/* The one action mmap_prepare may declare. */
int map_take_action(struct map_request *request, const Muse__Wire__Action *action,
                    struct frame *frame)
{
    const char *why;
    int r;

    switch (action->type) {
    case MUSE__WIRE__ACTION__TYPE__EXTENTS:
        r = object_set_extents(request->vm_file->object, action->extents, action->n_extents, frame,
                               &why);
        if (r < 0)
            map_set_error(request, r == -EREMOTEIO ? -EINVAL : r, request->call.hook, why);
        else
            request->extents_of = object_ref(request->vm_file->object);
        return r;
    case MUSE__WIRE__ACTION__TYPE__REMAP:
    case MUSE__WIRE__ACTION__TYPE__IO_REMAP:
    case MUSE__WIRE__ACTION__TYPE__PREFAULT:
        return add_only_todo(request, action, frame);
    case MUSE__WIRE__ACTION__TYPE__SUPPLY:
    case MUSE__WIRE__ACTION__TYPE__POISON:
    case MUSE__WIRE__ACTION__TYPE__GROW:
        if (request->txn.legacy)
            return add_only_todo(request, action, frame);
        map_set_error(request, -EINVAL, request->call.hook,
                      "action: SUPPLY, POISON and GROW are verbs of mmap_complete");
        return -EINVAL;
    case _MUSE__WIRE__ACTION__TYPE_IS_INT_SIZE:
        break;
    }
    map_set_error(request, -EINVAL, request->call.hook, "action: unknown type");
    return -EINVAL;
}

void map_note_poison_text(struct map_request *request, const char *text)
{
    (void)snprintf(request->poison_text, sizeof(request->poison_text), "%s", text ? text : "");
}

/* complete's verbs; several REMAPs may be of one fd. */
int map_take_verbs(struct map_request *request, const Muse__Wire__Completed *answer,
                   struct frame *frame, struct range within)
{
    const unsigned first_fd = request->n_todo_fds;
    uint32_t n_remaps = 0;
    int r = reserve_todos(request, answer->n_actions);

    if (r < 0)
        return r;
    map_note_poison_text(request, answer->text);
    for (unsigned i = 0; i < frame->header.n_fds; i++)
        (void)keep_fd(request, &frame->fds[i]);
    for (size_t i = 0; i < answer->n_actions; i++) {
        const Muse__Wire__Action *action = answer->actions[i];
        int fd = -1;

        if (action->type == MUSE__WIRE__ACTION__TYPE__EXTENTS) {
            map_set_error(request, -EINVAL, request->call.hook,
                          "action: EXTENTS belongs into mmap_prepare");
            return -EINVAL;
        }
        if (todo_kind_of(action->type) == TODO_REMAP) {
            const uint32_t index = action->has_fd_index ? action->fd_index : n_remaps;

            n_remaps++;
            if (index < request->n_todo_fds - first_fd)
                fd = request->todo_fds[first_fd + index];
        }
        r = add_todo(request, action, within, fd);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- vm_ops, vm_file, private data ---- */

static const struct driver_vm_ops *find_vm_ops(const struct driver *driver, uint32_t id)
{
    for (uint32_t i = 0; i < driver->n_vm_ops; i++)
        if (driver->vm_ops[i].id == id)
            return &driver->vm_ops[i];
    return NULL;
}

int map_set_vm_ops(struct map_request *request, const struct driver *driver, uint32_t id)
{
    const struct driver_vm_ops *ops = find_vm_ops(driver, id);
    struct vma *vma = request->vma;

    if (id != 0 && !ops) {
        map_set_error(request, -EINVAL, request->call.hook,
                      "vm_ops: a table the driver has not registered");
        return -EINVAL;
    }
    vma->ops_set = true;
    vma->ops_id = id;
    vma->has_open = ops && (ops->hooks & VM_HOOK_OPEN);
    vma->has_close = ops && (ops->hooks & VM_HOOK_CLOSE);
    vma->has_mkwrite = ops && (ops->hooks & VM_HOOK_PAGE_MKWRITE);
    vma->has_may_split = ops && (ops->hooks & VM_HOOK_MAY_SPLIT);
    vma->has_mprotect = ops && (ops->hooks & VM_HOOK_MPROTECT);
    vma->has_mremap = ops && (ops->hooks & VM_HOOK_MREMAP);
    vma->has_access = ops && (ops->hooks & VM_HOOK_ACCESS);
    vma->has_name = ops && (ops->hooks & VM_HOOK_NAME);
    return 0;
}

/* A file that some client holds open. */
static struct file *find_held_file(const struct driver *driver, uint64_t handle)
{
    const struct space *space;
    size_t cursor = 0;

    while ((space = idmap_next(&driver->engine->spaces, &cursor))) {
        struct file *file;
        size_t at = 0;

        while ((file = idmap_next(&space->files, &at)))
            if (file->driver == driver && file->handle == handle)
                return file;
    }
    return NULL;
}

/* A file that only a mapping still holds: for the driver it is as open as any. */
static struct file *find_mapped_file(const struct driver *driver, uint64_t handle)
{
    struct object *object;
    size_t cursor = 0;

    while ((object = idmap_next(&driver->objects, &cursor))) {
        struct list *pos;

        list_for_each(pos, &object->mappings) {
            struct file *file = vma_file(vma_from_object_link(pos));

            if (file->driver == driver && file->handle == handle)
                return file;
        }
    }
    return NULL;
}

/* The driver put another of its files into the desc; the file reference is then the VMA's. */
static int swap_file(struct map_request *request, uint64_t handle)
{
    struct file *file;

    if (handle == request->file->handle)
        return 0;
    file = find_held_file(request->driver, handle);
    if (!file)
        file = find_mapped_file(request->driver, handle);
    if (!file || object_page_bytes(file->object) != request->args.page_bytes) {
        map_set_error(request, -EINVAL, request->call.hook,
                      "vm_file: not an open file of this driver with the same page size");
        return -EINVAL;
    }
    if ((request->plan.vm_flags & VMF_SHARED) && (file->oflags & O_ACCMODE) == O_RDONLY) {
        map_set_error(request, -EINVAL, request->call.hook,
                      "vm_file: read-only under a shared writable mapping");
        return -EINVAL;
    }
    file_unref(request->vm_file);
    request->vm_file = file_ref(file);
    return 0;
}

/* The driver made a file for this mapping. It is released when the mapping is, or the request. */
static int take_new_file(struct map_request *request, const Muse__Wire__Prepared *answer,
                         struct frame *frame)
{
    const struct open_ask ask = {.space = request->mm.space,
                                 .driver = request->driver,
                                 .path = answer->opened_path,
                                 .oflags = request->file->oflags};
    const char *why = "opened: it has no name, or extents, or another page size";
    struct file *file;
    int r = -EINVAL;

    if (!ask.path || strlen(ask.path) >= NAME_BYTES_MAX || answer->opened->n_extents > 0 ||
        answer->opened->page_bytes != request->args.page_bytes)
        open_drop_made(request->driver, answer);
    else
        r = file_new(&ask, answer->opened, frame, &file, &why);
    if (r < 0) {
        map_set_error(request, r, request->call.hook, why);
        return r;
    }
    file_unref(request->vm_file);
    request->vm_file = file;
    return 0;
}

/* ---- mmap_prepare ---- */

void map_ask_lock_limit(const struct map_request *request, struct map_answer *answer)
{
    uint64_t room;

    answer->may_lock = request->plan.locked;
    if (answer->may_lock || !(answer->new_flags & ~answer->old_flags & VMF_LOCKED))
        return;
    answer->lock_unknown = peer_lock_room(request->mm.space->pid, &room) < 0;
    answer->may_lock = !answer->lock_unknown && room >= request->plan.length;
}

static enum map_event judge_prepared(struct map_request *request,
                                     const Muse__Wire__Prepared *answer, struct frame *frame)
{
    struct map_answer check = {
        .old_flags = request->plan.vm_flags,
        .new_flags = answer->has_vm_flags ? answer->vm_flags : request->plan.vm_flags,
        .old_prot = request->plan.prot,
        .new_prot = answer->has_page_prot ? answer->page_prot : request->plan.prot,
        .new_pgoff = answer->has_pgoff ? answer->pgoff : request->plan.pgoff,
        .length = request->plan.length,
    };
    const char *why;

    if (answer->opened && take_new_file(request, answer, frame) < 0)
        return MAP_EV_PREPARE_BAD;
    map_ask_lock_limit(request, &check);
    if (map_check_answer(&check, &why) < 0) {
        map_set_error(request, -EINVAL, "mmap_prepare", why);
        return MAP_EV_PREPARE_BAD;
    }
    if ((check.new_pgoff * VMA_PAGE_BYTES) % request->args.page_bytes != 0) {
        map_set_error(request, -EINVAL, "mmap_prepare",
                      "pgoff: not a multiple of the object's page size");
        return MAP_EV_PREPARE_BAD;
    }
    request->plan.pgoff = check.new_pgoff;
    request->vma->flags = (uint32_t)check.new_flags;
    /* what was not asked for may still be asked of mprotect; what was taken away stays away */
    request->vma->prot_narrow = PROT_ALL & ~(check.old_prot & ~check.new_prot);
    request->vma->private_data = answer->private_data;
    if (answer->has_vm_file && swap_file(request, answer->vm_file) < 0)
        return MAP_EV_PREPARE_BAD;
    if (answer->has_vm_ops && map_set_vm_ops(request, request->driver, answer->vm_ops) < 0)
        return MAP_EV_PREPARE_BAD;
    if (answer->forward) {
        map_set_error(request, -EINVAL, "mmap_prepare",
                      "an mmap_prepare cannot be passed on to another driver");
        return MAP_EV_PREPARE_BAD;
    }
    if (answer->action && map_take_action(request, answer->action, frame) < 0)
        return MAP_EV_PREPARE_BAD;
    return MAP_EV_PREPARE_OK;
}

/* What was said of an error: the driver's sentence, else ours. */
static void set_driver_error(struct map_request *request, int error, const char *text,
                             const char *otherwise)
{
    map_set_error(request, error, request->call.hook, text && text[0] ? text : otherwise);
}

/* The call ended because its driver is gone. */
static void set_lost(struct map_request *request)
{
    const char *why;
    const int error = driver_gone_error(request->driver, &why);

    map_set_error(request, error, request->call.hook, why);
}

/* What does not decode ends the connection, as everywhere. */
static void undecodable(struct map_request *request)
{
    map_set_error(request, -EREMOTEIO, request->call.hook, "the driver's answer does not decode");
    driver_misbehaved(request->driver, request->mm.space, request->call.hook, request->text);
}

/* The end of a call of the driver's: counted, traced, remembered. */
static void note_end(struct map_request *request, int result)
{
    hook_ended(request->driver, &request->call, result);
    if (result < 0)
        driver_note_error(request->driver, request->call.hook, result, request->text);
}

static enum map_event read_prepared(struct map_request *request, struct frame *frame, bool late)
{
    Muse__Wire__Prepared *answer = NULL;
    enum map_event event;

    if (frame->header.type == FRAME_PREPARED)
        answer = muse__wire__prepared__unpack(NULL, frame->n_payload, frame->payload);
    if (!answer) {
        undecodable(request);
        return MAP_EV_PREPARE_ERR;
    }
    if (answer->error != 0 || late)
        open_drop_made(request->driver, answer);
    if (answer->error != 0) {
        if (status_is_legal(answer->error)) {
            set_driver_error(request, -answer->error, answer->text, "the driver refused");
        } else {
            set_driver_error(request, -EINVAL, NULL,
                             "the driver returned a number that is no errno");
        }
        event = status_is_legal(answer->error) ? MAP_EV_PREPARE_ERR : MAP_EV_PREPARE_BAD;
        if (event == MAP_EV_PREPARE_BAD) /* nobody can tell whether it prepared: it is told abort */
            count_prepared(request);
    } else {
        count_prepared(request);
        request->private_data = answer->private_data;
        request->context = answer->context;
        event = late ? MAP_EV_PREPARE_OK : judge_prepared(request, answer, frame);
    }
    muse__wire__prepared__free_unpacked(answer, NULL);
    return event;
}

static void on_prepare_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct map_request *request = CONTAINER_OF(call, struct map_request, call);
    const bool owed = request->txn.state == MAP_OWED_PREPARE;
    enum map_event event = MAP_EV_DRIVER_GONE;

    switch (end) {
    case CALL_ANSWERED:
    case CALL_LATE:
        event = read_prepared(request, frame, owed);
        note_end(request, event == MAP_EV_PREPARE_OK ? 0 : request->error);
        break;
    case CALL_DEADLINE:
        map_set_error(request, -ETIMEDOUT, call->hook, "the driver did not answer in time");
        note_end(request, -ETIMEDOUT);
        request->driver->n.late++;
        event = MAP_EV_DEADLINE;
        break;
    case CALL_LOST:
        set_lost(request);
        note_end(request, request->error);
        break;
    }
    map_event(request, event);
}

void map_ask_prepare(struct map_request *request)
{
    const struct hook_prepare prepare = {.space = request->mm.space,
                                         .handle = request->file->handle,
                                         .range = request->target,
                                         .pgoff = request->plan.pgoff,
                                         .vm_flags = request->plan.vm_flags,
                                         .page_prot = request->plan.prot};
    int r;

    request->call.end = on_prepare_end;
    request->call.wants_late = true;
    r = hook_mmap_prepare(request->driver, &request->call, &prepare);
    if (r == -EBUSY) {
        map_set_error(request, -EAGAIN, "mmap_prepare", "the driver has too much unread already");
        map_event(request, MAP_EV_PREPARE_ERR);
        return;
    }
    if (r < 0) {
        map_set_error(request, -EIO, "mmap_prepare", "the driver is dying");
        map_event(request, MAP_EV_DRIVER_GONE);
        return;
    }
    request->prepare_id = request->call.id;
}

/* ---- mmap_complete, or the legacy mmap ---- */

static enum map_event judge_error(struct map_request *request, int32_t error, const char *text)
{
    if (status_is_legal(error)) {
        set_driver_error(request, -error, text, "the driver refused");
    } else {
        set_driver_error(request, -EREMOTEIO, NULL,
                         "the driver returned a number that is no errno");
    }
    return MAP_EV_COMPLETE_ERR;
}

enum map_event map_after_complete(const struct map_request *request)
{
    if (request->todo_next < request->n_todos)
        return MAP_EV_COMPLETE_VERBS;
    return map_needs_commit(request) ? MAP_EV_COMPLETE_COMMIT : MAP_EV_COMPLETE_OK;
}

static enum map_event read_completed(struct map_request *request, struct frame *frame, bool late)
{
    Muse__Wire__Completed *answer =
        muse__wire__completed__unpack(NULL, frame->n_payload, frame->payload);
    enum map_event event;

    if (!answer) {
        undecodable(request);
        return MAP_EV_COMPLETE_ERR;
    }
    if (answer->error != 0)
        event = judge_error(request, answer->error, answer->text);
    else if (late)
        event = MAP_EV_COMPLETE_OK;
    else if (map_take_verbs(request, answer, frame, request->target) < 0)
        event = MAP_EV_COMPLETE_ERR;
    else
        event = map_after_complete(request);
    muse__wire__completed__free_unpacked(answer, NULL);
    return event;
}

/* The legacy hook sees an established mapping: of the fields it may still change, only flags. */
static int take_legacy_changes(struct map_request *request, const Muse__Wire__Prepared *answer)
{
    struct map_answer check = {.old_flags = request->vma->flags,
                               .new_flags =
                                   answer->has_vm_flags ? answer->vm_flags : request->vma->flags,
                               .new_pgoff = request->vma->pgoff,
                               .length = request->plan.length};
    const char *why = "pgoff, page_prot: the mapping is established already";

    map_ask_lock_limit(request, &check);
    if (answer->has_pgoff || answer->has_page_prot || answer->has_vm_file || answer->opened ||
        map_check_answer(&check, &why) < 0) {
        map_set_error(request, -EINVAL, request->call.hook, why);
        return -EINVAL;
    }
    request->vma->flags = (uint32_t)check.new_flags;
    return 0;
}

static bool answer_has_close(const struct map_request *request, const Muse__Wire__Prepared *answer)
{
    const struct driver_vm_ops *ops =
        answer->has_vm_ops ? find_vm_ops(request->driver, answer->vm_ops) : NULL;

    return ops && (ops->hooks & VM_HOOK_CLOSE);
}

/* The mapping is gone: what the hook has set up is closed, unless it was to be another driver's. */
static enum map_event late_legacy(struct map_request *request, const Muse__Wire__Prepared *answer)
{
    if (answer->forward)
        return MAP_EV_COMPLETE_ERR;
    request->seen.vm_ops = answer->vm_ops;
    request->seen.private_data = answer->private_data;
    request->close_due = answer_has_close(request, answer);
    return MAP_EV_COMPLETE_OK;
}

/* The hook succeeded, but its answer is not allowed: closed, as a VMA whose mmap succeeded. */
static enum map_event close_refused(struct map_request *request, const Muse__Wire__Prepared *answer)
{
    request->seen.vm_ops = answer->vm_ops;
    request->seen.private_data = answer->private_data;
    if (answer_has_close(request, answer))
        hook_vm_close(request->driver, &request->seen);
    return MAP_EV_COMPLETE_ERR;
}

/* MAP_EVENT_N: the mapping was forwarded, the event comes from there. */
static enum map_event read_legacy(struct map_request *request, struct frame *frame, bool late)
{
    Muse__Wire__Prepared *answer =
        muse__wire__prepared__unpack(NULL, frame->n_payload, frame->payload);
    enum map_event event;

    if (!answer) {
        undecodable(request);
        return MAP_EV_COMPLETE_ERR;
    }
    open_drop_made(request->driver, answer); /* there is a mapping already: it is refused */
    if (answer->error != 0) {
        event = judge_error(request, answer->error, answer->text);
    } else if (late) {
        event = late_legacy(request, answer);
    } else {
        request->vma->private_data = answer->private_data;
        map_note_poison_text(request, answer->text);
        if (take_legacy_changes(request, answer) < 0 ||
            (answer->has_vm_ops && map_set_vm_ops(request, request->driver, answer->vm_ops) < 0) ||
            (answer->action && map_take_action(request, answer->action, frame) < 0))
            event = close_refused(request, answer);
        else if (answer->forward)
            event = stack_start(request, answer->forward) < 0 ? MAP_EV_COMPLETE_ERR : MAP_EVENT_N;
        else
            event = map_after_complete(request);
        request->seen.vm_ops = (uint32_t)request->vma->ops_id;
        request->seen.private_data = request->vma->private_data;
    }
    muse__wire__prepared__free_unpacked(answer, NULL);
    return event;
}

static void end_completing(struct map_request *request)
{
    struct object *object = request->vm_file->object;

    if (!request->completing)
        return;
    request->completing = false;
    object->n_completing--;
    if (object->n_completing == 0)
        object_completed(object);
}

static void on_complete_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct map_request *request = CONTAINER_OF(call, struct map_request, call);
    const bool owed = request->txn.state == MAP_OWED_COMPLETE;
    enum map_event event = MAP_EV_DRIVER_GONE;

    switch (end) {
    case CALL_ANSWERED:
    case CALL_LATE:
        if (frame->header.type == FRAME_DRIVER_FAILED)
            event = judge_error(request, -1, NULL);
        else
            event = request->txn.legacy ? read_legacy(request, frame, owed)
                                        : read_completed(request, frame, owed);
        note_end(request, event == MAP_EV_COMPLETE_ERR ? request->error : 0);
        break;
    case CALL_DEADLINE:
        map_set_error(request, -ETIMEDOUT, call->hook, "the driver did not answer in time");
        note_end(request, -ETIMEDOUT);
        request->driver->n.late++;
        event = MAP_EV_DEADLINE;
        break;
    case CALL_LOST:
        set_lost(request);
        note_end(request, request->error);
        break;
    }
    if (end != CALL_DEADLINE)
        end_completing(request);
    if (event != MAP_EVENT_N)
        map_event(request, event);
}

/* What complete shall see: the mapping at its final place; merged, when it is to be merged. */
static struct hook_vma final_view(const struct map_request *request)
{
    struct hook_vma view = hook_vma_of(request->vma);

    view.range = request->target;
    if (request->merge == VMA_MERGE_NONE)
        return view;
    if (request->merge_prev) {
        view.id = request->merge_prev->id;
        view.range.start = request->merge_prev->start;
        view.pgoff = request->merge_prev->pgoff;
    } else {
        MUST(request->merge_next); /* VMA_MERGE_RIGHT */
        view.id = request->merge_next->id;
    }
    if (request->merge_next)
        view.range.end = request->merge_next->end;
    return view;
}

void map_ask_complete(struct map_request *request)
{
    const struct hook_vma view = final_view(request);
    int r;

    request->seen = hook_vma_of(request->vma);
    request->seen.range = request->target;
    request->call.end = on_complete_end;
    request->call.wants_late = true;
    if (request->txn.legacy)
        r = hook_legacy_mmap(request->driver, &request->call, &view);
    else
        r = hook_mmap_complete(request->driver, &request->call, &view, request->target,
                               request->context);
    if (r < 0) {
        map_set_error(request, -EIO, "mmap_complete", "the driver is dying");
        map_event(request, MAP_EV_DRIVER_GONE);
        return;
    }
    count_ended(request, &request->driver->n.completed);
    request->completing = true;
    request->vm_file->object->n_completing++;
}

/* ---- the ends ---- */

void map_send_abort(struct map_request *request)
{
    if (request->driver->file_hooks & FILE_HOOK_MMAP_ABORT)
        hook_mmap_abort(request->driver, request->file->handle, request->private_data,
                        request->context, request->prepare_id);
    count_ended(request, &request->driver->n.aborted);
}

/* What complete has asked for may have come to nothing: that the object grows, too. */
void map_send_close(struct map_request *request)
{
    resize_tell(request->vm_file->object);
    if (request->vma ? request->vma->has_close : request->close_due)
        hook_vm_close(request->vm_file->driver,
                      &request->seen); /* the inner one's, when it was forwarded */
}

void map_count_live(struct map_request *request, bool leaked)
{
    count_ended(request, leaked ? NULL : &request->driver->n.completed);
}
