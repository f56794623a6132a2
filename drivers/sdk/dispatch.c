/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From frames to hooks: one table says which message a frame holds and who handles it. Decides when
 * a hook may run: hooks of one VMA one after the other, release of a file after everything that
 * names it. Main thread only.
 */
#include <errno.h>
#include <stdlib.h>

#include "drivers/sdk/sdk.h"

static int take_object(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverObject *object = (const Muse__Wire__DriverObject *)event->message;
    CLEAN(fd_close_p) int memfd = frame_fd_take(event->frame, 0);
    int r = objects_attach(&driver->objects, object->object_key, object->object_id, object->size,
                           object->page_bytes, &memfd);

    (void)event_free(event);
    return r;
}

static int drop_object(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverObjectGone *gone = (const Muse__Wire__DriverObjectGone *)event->message;

    objects_detach(&driver->objects, gone->object_key, gone->object_id);
    (void)event_free(event);
    return 0;
}

static int take_resized(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__DriverResized *resized = (const Muse__Wire__DriverResized *)event->message;
    struct object *object = NULL;

    if (resized->size <= OBJECT_BYTES_MAX)
        object = objects_resize(&driver->objects, resized->object_key, resized->object_id,
                                resized->size);
    if (object && driver->ops.resized)
        driver->ops.resized(driver->user, resized->object_key, object->user_object, resized->size);
    (void)event_free(event);
    return 0;
}

static int take_completed(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Completed *completed = (const Muse__Wire__Completed *)event->message;

    invalidations_answer(driver, event->id, completed->error);
    (void)event_free(event);
    return 0;
}

static int tell_held(struct muse_driver *driver, struct event *event)
{
    Muse__Wire__DebugHeldIs held = MUSE__WIRE__DEBUG_HELD_IS__INIT;
    char text[ERROR_TEXT_BYTES_MAX] = "";
    int r;

    if (driver->ops.debug_held)
        held.n_held = driver->ops.debug_held(driver->user, text, sizeof(text));
    held.text = text;
    r = sdk_send(driver, FRAME_DEBUG_HELD_IS, event->id, &held.base, NULL, 0);
    (void)event_free(event);
    return r == -ENODEV ? 0 : r;
}

static const struct handler {
    uint16_t type;
    uint8_t n_fds;
    const ProtobufCMessageDescriptor *message;
    int (*run)(struct muse_driver *driver, struct event *event); /* takes the event */
} handlers[] = {
    {FRAME_DRIVER_OPEN, 0, &muse__wire__driver_open__descriptor, hook_open},
    {FRAME_DRIVER_RELEASE, 0, &muse__wire__handle_ref__descriptor, hook_release},
    {FRAME_DRIVER_GETATTR, 0, &muse__wire__handle_ref__descriptor, hook_getattr},
    {FRAME_DRIVER_OBJECT, 1, &muse__wire__driver_object__descriptor, take_object},
    {FRAME_DRIVER_OBJECT_GONE, 0, &muse__wire__driver_object_gone__descriptor, drop_object},
    {FRAME_PREPARE, 0, &muse__wire__prepare__descriptor, hook_prepare},
    {FRAME_COMPLETE, 0, &muse__wire__complete__descriptor, hook_complete},
    {FRAME_ABORT, 0, &muse__wire__abort__descriptor, hook_abort},
    {FRAME_LEGACY_MMAP, 0, &muse__wire__complete__descriptor, hook_legacy_mmap},
    {FRAME_VMA_OPEN, 0, &muse__wire__vma_event__descriptor, hook_vma_open},
    {FRAME_VMA_CLOSE, 0, &muse__wire__vma_event__descriptor, hook_vma_close},
    {FRAME_MAY_SPLIT, 0, &muse__wire__vma_event__descriptor, hook_may_split},
    {FRAME_MPROTECT, 0, &muse__wire__vma_event__descriptor, hook_mprotect},
    {FRAME_MREMAP, 0, &muse__wire__vma_event__descriptor, hook_mremap},
    {FRAME_DRIVER_ACCESS, 0, &muse__wire__driver_access__descriptor, hook_access},
    {FRAME_VMA_NAME, 0, &muse__wire__vma_event__descriptor, hook_name},
    {FRAME_COMPLETED, 0, &muse__wire__completed__descriptor, take_completed},
    {FRAME_WRITEBACK, 0, &muse__wire__writeback__descriptor, hook_writeback},
    {FRAME_DRIVER_FSYNC, 0, &muse__wire__object_ref__descriptor, hook_fsync},
    {FRAME_DRIVER_TRUNCATE, 0, &muse__wire__driver_truncate__descriptor, hook_truncate},
    {FRAME_DRIVER_FALLOCATE, 0, &muse__wire__driver_fallocate__descriptor, hook_fallocate},
    {FRAME_PAGE_MKWRITE, 0, &muse__wire__page_mkwrite__descriptor, hook_page_mkwrite},
    {FRAME_DRIVER_RESIZED, 0, &muse__wire__driver_resized__descriptor, take_resized},
    {FRAME_DEBUG_HELD, 0, &muse__wire__debug_held__descriptor, tell_held},
    {FRAME_DRIVER_STATAT, 0, &muse__wire__path_ask__descriptor, hook_path},
    {FRAME_DRIVER_READDIR, 0, &muse__wire__path_ask__descriptor, hook_path},
    {FRAME_DRIVER_READLINK, 0, &muse__wire__path_ask__descriptor, hook_path},
    {FRAME_DRIVER_UNLINK, 0, &muse__wire__path_ask__descriptor, hook_path},
    {FRAME_DRIVER_RENAME, 0, &muse__wire__path_ask__descriptor, hook_path},
    {FRAME_DRIVER_MKDIR, 0, &muse__wire__path_ask__descriptor, hook_path},
    {FRAME_DRIVER_SETATTR, 0, &muse__wire__path_ask__descriptor, hook_path},
};

static const struct handler *find_handler(uint16_t type)
{
    for (size_t i = 0; i < N_ELEMENTS(handlers); i++) {
        if (handlers[i].type == type)
            return &handlers[i];
    }
    return NULL;
}

struct event *event_free(struct event *event)
{
    if (event) {
        if (event->message)
            protobuf_c_message_free_unpacked(event->message, NULL);
        free(event);
    }
    return NULL;
}

/* The VMA an event is about. NULL: none. */
static const Muse__Wire__Vma *vma_of(const struct event *event)
{
    switch (event->type) {
    case FRAME_COMPLETE:
    case FRAME_LEGACY_MMAP:
        return ((const Muse__Wire__Complete *)event->message)->vma;
    case FRAME_VMA_OPEN:
    case FRAME_VMA_CLOSE:
    case FRAME_MAY_SPLIT:
    case FRAME_MPROTECT:
    case FRAME_MREMAP:
    case FRAME_VMA_NAME:
        return ((const Muse__Wire__VmaEvent *)event->message)->vma;
    case FRAME_DRIVER_ACCESS:
        return ((const Muse__Wire__DriverAccess *)event->message)->vma;
    case FRAME_PAGE_MKWRITE:
        return ((const Muse__Wire__PageMkwrite *)event->message)->vma;
    default: /* a number from the wire, not an enum of ours */
        return NULL;
    }
}

/* Something that came earlier has to end first. */
static bool must_wait(struct muse_driver *driver, const struct event *event)
{
    const Muse__Wire__Vma *wire = vma_of(event);
    const struct file *file;
    const struct vma *vma;

    if (wire) {
        vma = vma_find(driver, wire->vma_id);
        return vma && (vma->request || (!event->parked && vma->n_parked > 0));
    }
    if (event->type != FRAME_DRIVER_RELEASE)
        return false;
    file = file_find(driver, ((const Muse__Wire__HandleRef *)event->message)->handle);
    return file && file->n_users > 0;
}

static void park(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Vma *wire = vma_of(event);

    event->parked = true;
    event->frame = NULL;
    list_add_tail(&driver->parked, &event->node);
    if (!wire)
        return;
    vma_find(driver, wire->vma_id)->n_parked++; /* it is there: it is what the event waits for */
    event->parked_file = file_find(driver, wire->handle);
    if (event->parked_file)
        event->parked_file->n_users++;
}

static void unpark(struct muse_driver *driver, struct event *event)
{
    const Muse__Wire__Vma *wire = vma_of(event);

    list_del(&event->node);
    event->parked = false;
    if (wire)
        vma_find(driver, wire->vma_id)->n_parked--;
    if (event->parked_file)
        event->parked_file->n_users--;
}

static int run_event(struct muse_driver *driver, struct event *event)
{
    return find_handler(event->type)->run(driver, event);
}

/* Return: 0; -EPROTO not a frame for a driver; -ENOMEM. */
static int decode(struct frame *frame, struct event **ret_event)
{
    const struct handler *handler = find_handler(frame->header.type);
    struct event *event;

    if (!handler || frame->header.n_fds != handler->n_fds)
        return -EPROTO;
    event = calloc(1, sizeof(*event));
    if (!event)
        return -ENOMEM;
    list_init(&event->node);
    event->type = frame->header.type;
    event->id = frame->header.id;
    event->frame = frame;
    event->message =
        protobuf_c_message_unpack(handler->message, NULL, frame->n_payload, frame->payload);
    if (!event->message) {
        (void)event_free(event);
        return -EPROTO;
    }
    *ret_event = event;
    return 0;
}

int dispatch_frame(struct muse_driver *driver, struct frame *frame)
{
    struct event *event;
    int r = decode(frame, &event);

    if (r < 0)
        return r;
    if (must_wait(driver, event)) {
        park(driver, event);
        return 0;
    }
    r = run_event(driver, event);
    hook_objects_gone(driver);
    return r;
}

static bool retire_replied(struct muse_driver *driver)
{
    struct list replied = LIST_INIT(replied);
    struct list *node;
    bool any;

    (void)pthread_mutex_lock(&driver->lock);
    list_move_all(&replied, &driver->replied);
    (void)pthread_mutex_unlock(&driver->lock);
    any = !list_is_empty(&replied);
    while ((node = list_take_first(&replied)) != NULL)
        request_retire(LIST_ENTRY(node, struct muse_request, node));
    return any;
}

/* In the order of arrival. Return: whether any ran. */
static bool run_parked(struct muse_driver *driver)
{
    struct list *pos, *tmp;
    bool any = false;

    list_for_each_safe(pos, tmp, &driver->parked) {
        struct event *event = LIST_ENTRY(pos, struct event, node);
        int r;

        if (must_wait(driver, event))
            continue;
        unpark(driver, event);
        any = true;
        r = run_event(driver, event);
        if (r < 0) {
            sdk_complain("a hook that had to wait: %s", strerror(-r));
            sdk_connection_lost(driver);
        }
    }
    return any;
}

void dispatch_retire(struct muse_driver *driver)
{
    bool any = true;

    while (any) {
        any = retire_replied(driver);
        any = run_parked(driver) || any;
    }
    hook_objects_gone(driver);
}
