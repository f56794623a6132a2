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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/client.pb-c.h"
#include "proto/driver.pb-c.h"
#include "proto/status.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fault_flow.h"
#include "server/flow/flow_log.h"
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
    bool accepted;        /* its hook succeeded: what fails afterwards is closed */
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

/* One line about the inner driver; @buf: the sentence for the client of the outer one's. */
static const char *say(const struct stack_request *stack, int error, const char *hook,
                       const char *text, char *buf, size_t size)
{
    char object[192];
    const struct flow_where where = {stack->space, stack->driver, object, hook};

    (void)snprintf(object, sizeof(object), "%s/%.140s", stack->driver->name, stack->path);
    if (!text || !text[0])
        text = strerrordesc_np(-error) ? strerrordesc_np(-error) : "an error of no name";
    if (error != -ECANCELED)
        flow_error("stack.failed", &where, error, text);
    driver_note_error(stack->driver, hook, error, text);
    return flow_sentence(&where, text, buf, size);
}

/* The outer mmap hook has failed, or succeeded, with this. @text: may be NULL. */
static void finish(struct stack_request *stack, int error, const char *hook, const char *text)
{
    struct map_request *outer = stack->outer;
    char sentence[MAP_TEXT_BYTES];

    if (error < 0)
        (void)say(stack, error, hook, text, sentence, sizeof(sentence));
    stack_free(stack);
    if (!outer)
        return;
    if (error < 0) {
        map_set_error(outer, error, "mmap", sentence);
        map_event(outer, MAP_EV_COMPLETE_ERR);
    } else {
        map_event(outer, map_after_complete(outer));
    }
}

/* The outer call fails now; what the inner driver owes is still awaited, and undone without it. */
static void give_up(struct stack_request *stack)
{
    struct map_request *outer = stack->outer;
    char sentence[MAP_TEXT_BYTES];

    (void)say(stack, -ETIMEDOUT, stack->call.hook, "the inner driver did not answer in time",
              sentence, sizeof(sentence));
    stack->outer = NULL;
    if (!outer)
        return;
    outer->stack = NULL;
    map_set_error(outer, -ETIMEDOUT, "mmap", sentence);
    map_event(outer, MAP_EV_COMPLETE_ERR);
}

/* A call that was not answered. Return: -errno, what it is to the client. */
static int call_failed(const struct stack_request *stack, enum call_end end, const char **ret_text)
{
    *ret_text = "the inner driver did not answer in time";
    return end == CALL_DEADLINE ? -ETIMEDOUT : driver_gone_error(stack->driver, ret_text);
}

/* The hook's own error. @text: its sentence, or NULL. Return: as -errno. */
static int hook_error(int32_t error, const char *text, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s",
                   !status_is_legal(error) ? "the driver returned a number that is no errno"
                   : text                  ? text
                                           : "");
    return status_to_result(error, -EREMOTEIO);
}

static int undecodable(const struct stack_request *stack, char *buf, size_t size)
{
    (void)snprintf(buf, size, "its answer to %s does not decode", stack->call.hook);
    driver_misbehaved(stack->driver, stack->space, stack->call.hook, buf);
    return -EREMOTEIO;
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

/* What the server does for the inner driver's mapping is done in the outer request. */
static int take_completed(struct stack_request *stack, struct frame *frame, char *buf, size_t size)
{
    Muse__Wire__Completed *answer =
        muse__wire__completed__unpack(NULL, frame->n_payload, frame->payload);
    struct map_request *outer = stack->outer;
    int r;

    if (!answer)
        return undecodable(stack, buf, size);
    if (answer->error != 0) {
        r = hook_error(answer->error, answer->text, buf, size);
        muse__wire__completed__free_unpacked(answer, NULL);
        return r;
    }
    stack->accepted = true;
    r = -ECANCELED; /* too late: the mapping is gone already */
    if (is_wanted(stack)) {
        r = hand_over(stack);
        if (r == 0)
            r = map_take_verbs(outer, answer, frame, outer->target);
        (void)snprintf(buf, size, "%s", r < 0 ? outer->text : "");
    }
    muse__wire__completed__free_unpacked(answer, NULL);
    return r;
}

/* What an inner legacy hook may still change; what it may not fails the map. */
static int judge_legacy(struct stack_request *stack, const Muse__Wire__Prepared *answer,
                        const char **ret_why)
{
    struct map_answer check = {
        .old_flags = stack->vm_flags,
        .new_flags = answer->has_vm_flags ? answer->vm_flags : stack->vm_flags,
        .new_pgoff = stack->outer->vma->pgoff,
        .length = stack->outer->plan.length,
    };

    *ret_why = "a mapping that was passed on once cannot be passed on again";
    if (answer->forward)
        return -EOPNOTSUPP;
    *ret_why = "pgoff, page_prot: the mapping is established already";
    if (answer->has_pgoff || answer->has_page_prot || answer->has_vm_file || answer->opened)
        return -EINVAL;
    map_ask_lock_limit(stack->outer, &check);
    if (map_check_answer(&check, ret_why) < 0)
        return -EINVAL;
    stack->vm_flags = check.new_flags;
    return 0;
}

static int take_legacy(struct stack_request *stack, struct frame *frame, char *buf, size_t size)
{
    Muse__Wire__Prepared *answer =
        muse__wire__prepared__unpack(NULL, frame->n_payload, frame->payload);
    const char *why = "";
    int r;

    if (!answer)
        return undecodable(stack, buf, size);
    open_drop_made(stack->driver, answer); /* there is a mapping already: it is refused */
    if (answer->error != 0) {
        r = hook_error(answer->error, answer->text, buf, size);
        muse__wire__prepared__free_unpacked(answer, NULL);
        return r;
    }
    stack->accepted = true;
    stack->private_data = stack->seen.private_data = answer->private_data;
    stack->vm_ops_set = answer->has_vm_ops;
    stack->vm_ops = stack->seen.vm_ops = answer->vm_ops;
    r = is_wanted(stack) ? judge_legacy(stack, answer, &why) : -ECANCELED;
    if (r == 0) {
        r = hand_over(stack);
        map_note_poison_text(stack->outer, answer->text);
        if (r == 0 && answer->action)
            r = map_take_action(stack->outer, answer->action, frame);
        why = r < 0 ? stack->outer->text : "";
    }
    (void)snprintf(buf, size, "%s", why);
    muse__wire__prepared__free_unpacked(answer, NULL);
    return r;
}

static int read_complete_end(struct stack_request *stack, enum call_end end, struct frame *frame,
                             char *buf, size_t size)
{
    const char *why;
    int error;

    if ((end == CALL_ANSWERED || end == CALL_LATE) && frame->header.type == FRAME_DRIVER_FAILED)
        return hook_error(-1, NULL, buf, size);
    if (end == CALL_ANSWERED || end == CALL_LATE)
        return stack->legacy ? take_legacy(stack, frame, buf, size)
                             : take_completed(stack, frame, buf, size);
    error = call_failed(stack, end, &why);
    (void)snprintf(buf, size, "%s", why);
    return error;
}

static void on_inner_complete(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct stack_request *stack = CONTAINER_OF(call, struct stack_request, call);
    char text[MAP_TEXT_BYTES] = "";
    const int error = read_complete_end(stack, end, frame, text, sizeof(text));

    hook_ended(stack->driver, call, error == -ECANCELED ? 0 : error);
    if (end == CALL_DEADLINE) {
        give_up(stack);
        return;
    }
    /* as for every driver: a legacy hook that refuses has no close, a complete that fails has */
    if (error < 0 && end != CALL_LOST && (stack->accepted || !stack->legacy) &&
        has_close(stack->driver, stack->vm_ops))
        hook_vm_close(stack->driver, &stack->seen);
    finish(stack, error, call->hook, text);
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
        finish(stack, r, "mmap_prepare", r < 0 ? stack->outer->text : NULL);
    }
}

/* ---- PREPARING ---- */

static int judge_prepared(const struct stack_request *stack, const Muse__Wire__Prepared *answer,
                          const char **ret_why)
{
    const struct map_request *outer = stack->outer;
    struct map_answer check = {
        .old_flags = outer->vma->flags,
        .new_flags = answer->has_vm_flags ? answer->vm_flags : outer->vma->flags,
        .old_prot = outer->vma->prot_narrow,
        .new_prot = answer->has_page_prot ? answer->page_prot : outer->vma->prot_narrow,
        .new_pgoff = outer->vma->pgoff,
        .length = outer->plan.length,
    };

    *ret_why = "it did not say whether it prepared: a number that is no errno";
    if (answer->error != 0)
        return -EINVAL;
    *ret_why = "an action of mmap_prepare cannot be carried out on a mapping that was passed on";
    if (answer->action)
        return -EOPNOTSUPP;
    /* the mapping is installed already: what would change it comes too late on this path */
    *ret_why = "pgoff, page_prot, vm_file: the mapping that was passed on is installed already";
    if ((answer->has_pgoff && answer->pgoff != outer->vma->pgoff) || answer->has_vm_file ||
        answer->opened || check.new_prot != check.old_prot)
        return -EINVAL;
    map_ask_lock_limit(outer, &check);
    return map_check_answer(&check, ret_why);
}

/* It has prepared, for all that is known: now complete, or abort. */
static void prepared(struct stack_request *stack, const Muse__Wire__Prepared *answer)
{
    const char *why = "the mapping is gone already";
    int r = -ECANCELED;

    stack->driver->n.prepared++;
    stack->private_data = answer->private_data;
    stack->context = answer->context;
    if (is_wanted(stack))
        r = judge_prepared(stack, answer, &why);
    if (r == 0) {
        stack->vm_flags = answer->has_vm_flags ? answer->vm_flags : stack->outer->vma->flags;
        stack->vm_ops_set = answer->has_vm_ops;
        stack->vm_ops = answer->vm_ops;
        stack->driver->n.completed++;
        ask_complete(stack);
        return;
    }
    stack->driver->n.aborted++;
    if (stack->driver->file_hooks & FILE_HOOK_MMAP_ABORT)
        hook_mmap_abort(stack->driver, stack->file->handle, stack->private_data, stack->context,
                        stack->prepare_id);
    finish(stack, r, "mmap_prepare", why);
}

static void on_inner_prepared(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct stack_request *stack = CONTAINER_OF(call, struct stack_request, call);
    Muse__Wire__Prepared *answer = NULL;
    char text[MAP_TEXT_BYTES] = "";
    const char *why = text;
    int error;

    if (end == CALL_ANSWERED || end == CALL_LATE) {
        if (frame->header.type == FRAME_PREPARED)
            answer = muse__wire__prepared__unpack(NULL, frame->n_payload, frame->payload);
        error = answer ? status_to_result(answer->error, -EINVAL)
                       : undecodable(stack, text, sizeof(text));
        if (answer && answer->text)
            (void)snprintf(text, sizeof(text), "%s", answer->text);
    } else {
        error = call_failed(stack, end, &why);
    }
    if (answer)
        open_drop_made(stack->driver, answer);
    hook_ended(stack->driver, call, error);
    if (end == CALL_DEADLINE)
        give_up(stack);
    else if (answer && (answer->error == 0 || !status_is_legal(answer->error)))
        prepared(stack, answer);
    else
        finish(stack, error, "mmap_prepare", why);
    if (answer)
        muse__wire__prepared__free_unpacked(answer, NULL);
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
    int r;

    stack->vm_flags = outer->vma->flags;
    if (stack->legacy || !(stack->driver->file_hooks & FILE_HOOK_MMAP_PREPARE)) {
        ask_complete(stack);
        return;
    }
    stack->call.end = on_inner_prepared;
    stack->call.wants_late = true;
    r = hook_mmap_prepare(stack->driver, &stack->call, &prepare);
    if (r == -EBUSY)
        finish(stack, -EAGAIN, "mmap_prepare", "the inner driver has too much unread already");
    else if (r < 0)
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
    struct object *object = stack->file->object;
    const bool shared = outer->vma->flags & VMF_SHARED;
    const bool unaccounted = outer->vma->flags & (VMF_MAYSHARE | VMF_NORESERVE);
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE,
                              .range = outer->place,
                              .prot = outer->plan.prot & outer->vma->prot_narrow,
                              .flags = (uint32_t)(shared ? MAP_SHARED : MAP_PRIVATE) |
                                       (unaccounted ? (uint32_t)MAP_NORESERVE : 0),
                              .offset = outer->vma->pgoff * VMA_PAGE_BYTES,
                              .fd = shared ? object_writable_fd(object, stack->space->uid)
                                           : backing_readonly_fd(&object->backing)};

    return session_mem_ops(stack->space, outer->mm.id, &op, 1, 0, on_reinstalled, stack);
}

/* ---- OPENING ---- */

static void on_inner_opened(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct stack_request *stack = CONTAINER_OF(call, struct stack_request, call);
    Muse__Wire__DriverOpened *opened = NULL;
    char text[MAP_TEXT_BYTES] = "";
    const char *why = text;
    int error = 0;

    if (end == CALL_DEADLINE || end == CALL_LOST) {
        error = call_failed(stack, end, &why);
    } else if (frame->header.type == FRAME_DRIVER_OPENED) {
        opened = muse__wire__driver_opened__unpack(NULL, frame->n_payload, frame->payload);
        if (!opened)
            error = undecodable(stack, text, sizeof(text));
    } else {
        error = driver_failed_read(frame, text, sizeof(text));
    }
    if (end == CALL_DEADLINE) {
        hook_ended(stack->driver, call, error);
        give_up(stack);
        return;
    }
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
    const struct hook_client client = hook_client_of(request->mm.space);
    struct stack_request *stack;
    char text[MAP_TEXT_BYTES];
    int r;

    if (!driver || driver == request->driver) {
        (void)snprintf(text, sizeof(text), "passed on to %.160s: %s", name,
                       driver ? "that is this driver itself" : "there is no such driver");
        map_set_error(request, driver ? -ELOOP : -ENODEV, "mmap", text);
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
            ? hook_open(driver, &stack->call, &client, stack->path, request->file->oflags, 0)
            : -ENOMEM;
    if (r < 0) {
        stack->outer = NULL;
        r = r == -EBUSY ? -EAGAIN : r;
        (void)say(stack, r, "open",
                  r == -EROFS    ? "the driver serves all its files read-only"
                  : r == -EAGAIN ? "the driver has too much unread already"
                  : r == -ENOMEM ? "out of memory"
                                 : "the driver is dying",
                  text, sizeof(text));
        stack_free(stack);
        map_set_error(request, r, "mmap", text);
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
