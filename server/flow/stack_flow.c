/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One forwarded mapping, step by step; each step is a named wait:
 *
 *   OPENING     the inner driver's open
 *   INSTALLING  the client maps the inner object's memfd over the place; the range is registered
 *   PREPARING   the inner mmap_prepare (a legacy inner driver has none)
 *   COMPLETING  the inner mmap_complete, or legacy mmap: sent in the same breath as prepare was
 *               answered
 *
 * Everything that can fail comes before PREPARING, so the inner mmap_abort is called only when the
 * inner driver's answer is not allowed, or when the outer request ended meanwhile (the promise
 * holds for inner drivers, too).
 */
#include "server/flow/stack_flow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/client.pb-c.h"
#include "proto/driver.pb-c.h"
#include "proto/status.h"
#include "server/flow/fault_flow.h"
#include "server/flow/loss_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/open_flow.h"
#include "server/flow/session_flow.h"

struct stack_request {
    struct map_request *outer; /* NULL: it is over */
    struct driver *driver;     /* ref: the inner one */
    struct space *space;       /* ref */
    struct file *file;         /* ref: the inner one, from OPENING's end on */
    struct driver_call call;
    char *path;      /* owned */
    uint32_t oflags; /* the outer file's */
    bool legacy;
    uint64_t prepare_id, private_data, context;
    uint64_t vm_flags;
    uint32_t vm_ops;
    bool vm_ops_set;
    bool completing;      /* counted in object.n_completing */
    struct hook_vma seen; /* as complete saw it: what a close will name */
};

/* Does the request still want the mapping? Not when it is over, or only waits for what is owed. */
static bool is_wanted(const struct stack_request *stack)
{
    return stack->outer && stack->outer->vma && !stack->space->dead;
}

static bool has_close(const struct driver *driver, uint32_t id)
{
    for (uint32_t i = 0; i < driver->n_vm_ops; i++)
        if (driver->vm_ops[i].id == id)
            return driver->vm_ops[i].hooks & VM_HOOK_CLOSE;
    return false;
}

static void end_completing(struct stack_request *stack)
{
    struct object *object;

    if (!stack->completing)
        return;
    MUST(stack->file);
    object = stack->file->object;
    stack->completing = false;
    if (--object->n_completing == 0)
        object_completed(object);
}

static void stack_free(struct stack_request *stack)
{
    end_completing(stack);
    if (stack->outer)
        stack->outer->stack = NULL;
    session_orphan(stack->space, stack);
    file_unref(stack->file);
    space_unref(stack->space);
    driver_unref(stack->driver);
    free(stack->path);
    free(stack);
}

/* The outer mmap hook has failed, or succeeded, with this. */
static void finish(struct stack_request *stack, int error, const char *hook, const char *text)
{
    struct map_request *outer = stack->outer;

    stack_free(stack);
    if (!outer)
        return;
    if (error < 0) {
        map_set_error(outer, error, hook, text);
        map_event(outer, MAP_EV_COMPLETE_ERR);
    } else {
        map_event(outer, outer->replace ? MAP_EV_COMPLETE_COMMIT : MAP_EV_COMPLETE_OK);
    }
}

/* The outer call fails now; what the inner driver owes is still awaited, and undone without it. */
static void give_up(struct stack_request *stack)
{
    struct map_request *outer = stack->outer;

    stack->outer = NULL;
    if (!outer)
        return;
    outer->stack = NULL;
    map_set_error(outer, -ETIMEDOUT, stack->call.hook, "the inner driver did not answer in time");
    map_event(outer, MAP_EV_COMPLETE_ERR);
}

static int call_failed(enum call_end end)
{
    return end == CALL_DEADLINE ? -ETIMEDOUT : -EIO;
}

static struct hook_vma inner_view(const struct stack_request *stack)
{
    struct hook_vma view = hook_vma_of(stack->outer->vma);

    view.handle = stack->file->handle;
    view.range = stack->outer->target;
    view.private_data = stack->private_data;
    view.vm_flags = stack->vm_flags;
    view.vm_ops = stack->vm_ops;
    return view;
}

/* ---- COMPLETING ---- */

/* The VMA is the inner driver's from now on. */
static int hand_over(struct stack_request *stack)
{
    struct map_request *outer = stack->outer;
    struct vma *vma = outer->vma;

    outer->seen = stack->seen;
    vma->flags = (uint32_t)stack->vm_flags;
    vma->private_data = stack->private_data;
    return map_set_vm_ops(outer, stack->driver, stack->vm_ops_set ? stack->vm_ops : 0);
}

static int read_status(struct frame *frame, bool legacy)
{
    Muse__Wire__Completed *completed;
    Muse__Wire__Prepared *prepared;
    int error = -EREMOTEIO;

    if (frame->header.type == FRAME_DRIVER_FAILED)
        return -EREMOTEIO;
    if (legacy) {
        prepared = muse__wire__prepared__unpack(NULL, frame->n_payload, frame->payload);
        if (prepared) {
            error = status_to_result(prepared->error, -EREMOTEIO);
            muse__wire__prepared__free_unpacked(prepared, NULL);
        }
        return error;
    }
    completed = muse__wire__completed__unpack(NULL, frame->n_payload, frame->payload);
    if (completed) {
        error = status_to_result(completed->error, -EREMOTEIO);
        muse__wire__completed__free_unpacked(completed, NULL);
    }
    return error;
}

static void on_inner_complete(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct stack_request *stack = CONTAINER_OF(call, struct stack_request, call);
    int error = end == CALL_ANSWERED || end == CALL_LATE ? read_status(frame, stack->legacy)
                                                         : call_failed(end);

    hook_ended(stack->driver, call, error);
    if (end == CALL_DEADLINE) {
        give_up(stack);
        return;
    }
    if (error == 0 && is_wanted(stack))
        error = hand_over(stack);
    else if (error == 0)
        error = -ECANCELED; /* too late: the mapping is gone already */
    if (error < 0 && end != CALL_LOST && !stack->legacy && has_close(stack->driver, stack->vm_ops))
        hook_vm_close(stack->driver, &stack->seen);
    finish(stack, error, "mmap", "the inner driver refused");
}

static void ask_complete(struct stack_request *stack)
{
    const struct hook_vma view = inner_view(stack);
    int r;

    stack->seen = view;
    stack->file->object->n_completing++; /* a revoke waits for it */
    stack->completing = true;
    stack->call.end = on_inner_complete;
    stack->call.wants_late = true;
    if (stack->legacy)
        r = hook_legacy_mmap(stack->driver, &stack->call, &view);
    else if (stack->driver->file_hooks & FILE_HOOK_MMAP_COMPLETE)
        r = hook_mmap_complete(stack->driver, &stack->call, &view, view.range, stack->context);
    else
        r = 1; /* nothing to ask */
    if (r < 0) {
        finish(stack, -EIO, "mmap_complete", "the inner driver is dying");
    } else if (r > 0) {
        r = hand_over(stack);
        finish(stack, r, "mmap_prepare", "the inner driver's vm_ops are not registered");
    }
}

/* ---- PREPARING ---- */

static bool answer_is_allowed(const struct stack_request *stack, const Muse__Wire__Prepared *answer)
{
    const struct map_request *outer = stack->outer;
    const struct map_answer check = {
        .old_flags = outer->vma->flags,
        .new_flags = answer->has_vm_flags ? answer->vm_flags : outer->vma->flags,
        .old_prot = outer->vma->prot_narrow,
        .new_prot = answer->has_page_prot ? answer->page_prot : outer->vma->prot_narrow,
        .new_pgoff = outer->vma->pgoff,
        .length = outer->plan.length,
        .may_lock = outer->plan.locked,
    };
    const char *why;

    /* the mapping is installed already: what would change it comes too late on this path */
    if ((answer->has_pgoff && answer->pgoff != outer->vma->pgoff) || answer->has_vm_file ||
        answer->action || check.new_prot != check.old_prot)
        return false;
    return map_check_answer(&check, &why) == 0;
}

static void on_inner_prepared(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct stack_request *stack = CONTAINER_OF(call, struct stack_request, call);
    Muse__Wire__Prepared *answer = NULL;
    int error = call_failed(end);
    bool allowed;

    if ((end == CALL_ANSWERED || end == CALL_LATE) && frame->header.type == FRAME_PREPARED)
        answer = muse__wire__prepared__unpack(NULL, frame->n_payload, frame->payload);
    if (answer)
        error = status_to_result(answer->error, -EREMOTEIO);
    hook_ended(stack->driver, call, error);
    if (end == CALL_DEADLINE) {
        give_up(stack);
        return;
    }
    if (error < 0 || !answer) {
        finish(stack, error, "mmap_prepare",
               answer && answer->text ? answer->text : "the inner driver refused");
        if (answer)
            muse__wire__prepared__free_unpacked(answer, NULL);
        return;
    }
    stack->driver->n.prepared++;
    stack->private_data = answer->private_data;
    stack->context = answer->context;
    allowed = is_wanted(stack) && answer_is_allowed(stack, answer);
    if (allowed) {
        stack->vm_flags = answer->has_vm_flags ? answer->vm_flags : stack->outer->vma->flags;
        stack->vm_ops_set = answer->has_vm_ops;
        stack->vm_ops = answer->vm_ops;
    }
    muse__wire__prepared__free_unpacked(answer, NULL);
    if (!allowed) {
        stack->driver->n.aborted++;
        if (stack->driver->file_hooks & FILE_HOOK_MMAP_ABORT)
            hook_mmap_abort(stack->driver, stack->file->handle, stack->private_data, stack->context,
                            stack->prepare_id);
        finish(stack, -EINVAL, "mmap_prepare",
               "the inner driver changed what cannot be changed any more");
        return;
    }
    stack->driver->n.completed++;
    ask_complete(stack);
}

static void ask_prepare(struct stack_request *stack)
{
    const struct map_request *outer = stack->outer;
    const struct hook_prepare prepare = {.space = stack->space,
                                         .handle = stack->file->handle,
                                         .range = outer->target,
                                         .pgoff = outer->vma->pgoff,
                                         .vm_flags = outer->vma->flags,
                                         .page_prot = outer->vma->prot_narrow};

    stack->vm_flags = outer->vma->flags;
    if (stack->legacy || !(stack->driver->file_hooks & FILE_HOOK_MMAP_PREPARE)) {
        ask_complete(stack);
        return;
    }
    stack->call.end = on_inner_prepared;
    stack->call.wants_late = true;
    if (hook_mmap_prepare(stack->driver, &stack->call, &prepare) < 0)
        finish(stack, -EIO, "mmap_prepare", "the inner driver is dying");
    else
        stack->prepare_id = stack->call.id;
}

/* ---- INSTALLING ---- */

/* The VMA shows the inner object now: references, the object's list, registration. */
static int switch_object(struct stack_request *stack)
{
    struct map_request *outer = stack->outer;
    struct vma *vma = outer->vma;

    list_del(&vma->object_link);
    object_unref(vma_object(vma));
    file_unref(vma_file(vma));
    file_unref(outer->vm_file);
    outer->vm_file = file_ref(stack->file);
    vma->file = file_ref(stack->file);
    vma->object = object_ref(stack->file->object);
    list_add_tail(&stack->file->object->mappings, &vma->object_link);
    return fault_flow_register(stack->space, vma, true);
}

static void on_reinstalled(void *ctx, enum client_end end, int error)
{
    struct stack_request *stack = ctx;

    if (end == CLIENT_LOST || !is_wanted(stack)) {
        finish(stack, -EIO, "mmap", "the client died");
        return;
    }
    if (error == 0)
        error = switch_object(stack);
    if (error < 0)
        finish(stack, error, "mmap", "the inner object could not be mapped");
    else
        ask_prepare(stack);
}

static int reinstall(struct stack_request *stack)
{
    struct map_request *outer = stack->outer;
    struct backing *backing = &stack->file->object->backing;
    const bool shared = outer->vma->flags & VMF_SHARED;
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE,
                              .range = outer->place,
                              .prot = outer->plan.prot & outer->vma->prot_narrow,
                              .flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE,
                              .offset = outer->vma->pgoff * VMA_PAGE_BYTES,
                              .fd = shared ? backing->fd : backing_readonly_fd(backing)};

    return session_mem_ops(stack->space, outer->mm.id, &op, 1, 0, on_reinstalled, stack);
}

/* ---- OPENING ---- */

static void on_inner_opened(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct stack_request *stack = CONTAINER_OF(call, struct stack_request, call);
    Muse__Wire__DriverOpened *opened = NULL;
    const char *why = "the inner driver refused to open";
    int error = call_failed(end);

    if (end == CALL_DEADLINE) {
        give_up(stack);
        return;
    }
    if (end != CALL_LOST && frame->header.type == FRAME_DRIVER_OPENED)
        opened = muse__wire__driver_opened__unpack(NULL, frame->n_payload, frame->payload);
    else if (end != CALL_LOST)
        error = open_failed_errno(frame);
    if (opened) {
        const struct open_ask ask = {.space = stack->space,
                                     .driver = stack->driver,
                                     .path = stack->path,
                                     .oflags = stack->oflags};

        error = file_new(&ask, opened, frame, &stack->file, &why);
    }
    hook_ended(stack->driver, call, error);
    if (opened)
        muse__wire__driver_opened__free_unpacked(opened, NULL);
    if (error == 0 && !is_wanted(stack))
        error = -ECANCELED;
    if (error == 0 && object_page_bytes(stack->file->object) != stack->outer->args.page_bytes) {
        error = -EINVAL;
        why = "the inner object has another page size";
    }
    if (error == 0)
        error = reinstall(stack);
    if (error < 0)
        finish(stack, error, "open", why);
}

int stack_start(struct map_request *request, const char *name)
{
    const char *slash = strchr(name, '/');
    struct driver *driver =
        slash ? driver_find(request->driver->engine, name, (size_t)(slash - name)) : NULL;
    struct stack_request *stack;
    int r;

    if (!driver || driver == request->driver) {
        map_set_error(request, driver ? -ELOOP : -ENODEV, "mmap",
                      "forwarded to a driver that is not there, or to itself");
        return request->error;
    }
    stack = calloc(1, sizeof(*stack));
    if (!stack) {
        map_set_error(request, -ENOMEM, "mmap", "out of memory");
        return -ENOMEM;
    }
    stack->outer = request;
    stack->driver = driver_ref(driver);
    stack->space = space_ref(request->mm.space);
    stack->legacy = driver->file_hooks & FILE_HOOK_MMAP;
    stack->oflags = request->file->oflags;
    stack->path = strdup(slash + 1);
    stack->call.end = on_inner_opened;
    stack->call.wants_late = true;
    r = stack->path
            ? hook_open(driver, &stack->call, stack->space, stack->path, request->file->oflags, 0)
            : -ENOMEM;
    if (r < 0) {
        stack->outer = NULL;
        stack_free(stack);
        map_set_error(request, r, "open", "the inner driver is dying");
        return r;
    }
    request->stack = stack;
    return 0;
}

const struct driver_call *stack_call(const struct map_request *request)
{
    return request->stack && request->stack->call.link ? &request->stack->call : NULL;
}

void stack_abandon(struct map_request *request)
{
    if (request->stack)
        request->stack->outer = NULL;
    request->stack = NULL;
}
