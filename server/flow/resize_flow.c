/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An object gets another size.
 *
 *   request_truncate()  opened for writing? a size that can be?
 *   the driver          truncate: its file has the new size
 *   shrink              pages behind the end are forgotten, whoever waits for one gets SIGBUS, the tail
 *                       of the last page is zero
 *   the page cache      the file of shared memory, the page-state table, extents that reached to the end
 *   the driver          is told (resized) that the cache has the new size now; or which one it has, when a
 *                       size that the driver has agreed to came to nothing
 *
 * The page-state table only grows: runs in flight behind a new end find their pages still, and what
 * they bring is dropped (their run is stale). object_n_pages() says where the object ends.
 *
 * fallocate goes to the driver, which changes its file; a punched or zeroed range is then zero here,
 * dirty or not. Growing it without KEEP_SIZE is a resize.
 */
#include "server/flow/resize_flow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/hooks.h"
#include "proto/limits.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/object_flow.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/waits.h"
#include "server/flow/writeback.h"

bool resize_is_possible(const struct object *object)
{
    return (object->driver->file_hooks & FILE_HOOK_TRUNCATE) && object->driver->alive;
}

/* ---- the page cache ---- */

/* The table for more pages. Return: 0 or -ENOMEM. */
static int grow_table(struct object *object, uint64_t n_pages)
{
    struct store *store = &object->engine->store;
    struct page_table *table = &object->pages;
    _Atomic uint8_t *states;
    int r;

    if (n_pages <= table->n_pages)
        return 0;
    r = store_states_new(store, n_pages, &states);
    if (r < 0)
        return r;
    for (uint64_t page = 0; page < table->n_pages; page++)
        atomic_store_explicit(&states[page], (uint8_t)page_table_get(table, page),
                              memory_order_relaxed);
    store_states_free(store, table->states, table->n_pages);
    table->states = states;
    table->n_pages = n_pages;
    return 0;
}

/* An extent that reached to the object's end, or beyond it since it was cut off before this extent, reaches
 * to the new one: the driver's file has grown. */
static void move_last_extent(struct object *object, uint64_t old_size)
{
    struct object_extent *last =
        object->n_extents > 0 ? &object->extents[object->n_extents - 1] : NULL;

    if (last && last->object_offset + last->length >= old_size &&
        object->size_bytes > last->object_offset)
        last->length = object->size_bytes - last->object_offset;
}

/* From @size on nothing is part of the object any more. */
static void cut_off(struct object *object, uint64_t size)
{
    const uint64_t page_bytes = object_page_bytes(object);
    const struct range gone = {(size + page_bytes - 1) >> object->page_shift,
                               object->pages.n_pages};

    fill_discard(object, gone);
    if (size % page_bytes != 0)
        fill_zero_bytes(object, (struct range){size, (size / page_bytes + 1) * page_bytes});
}

/* The object grows: what was stored behind its old end, in the last page, does not become part of it. The
 * driver has never been given it. */
static void clear_tail(struct object *object, uint64_t old_size)
{
    const uint64_t page_bytes = object_page_bytes(object);

    if (old_size % page_bytes != 0)
        fill_zero_bytes(object, (struct range){old_size, (old_size / page_bytes + 1) * page_bytes});
}

/* Who met the old end in the moment of a change has poison there: with the pages it goes. */
static void ask_poisoned(struct object *object, uint64_t old_size)
{
    struct range grown = {old_size >> object->page_shift, object_n_pages(object)};

    while (grown.start < grown.end) {
        grown.start = page_table_find(&object->pages, grown, PAGE_BIT(PAGE_POISONED));
        if (grown.start < grown.end)
            (void)!fill_retry(object, grown.start++);
    }
}

static int set_size(struct object *object, uint64_t size)
{
    const uint64_t old = object->size_bytes;
    const uint64_t n_pages = (size + object_page_bytes(object) - 1) >> object->page_shift;
    int r = grow_table(object, n_pages);

    object->was_resized = true;
    if (r < 0)
        return r;
    /* what was complete need not be any more; and a native mapping would not report its new part */
    if (!fault_show_track(object, page_table_range(&object->pages)))
        return -ENOMEM;
    object->size_bytes = size;
    if (size < old)
        cut_off(object, size);
    else if (size > old)
        clear_tail(object, old);
    r = backing_resize(&object->backing, size);
    if (r < 0) {
        object->size_bytes = old;
        return r;
    }
    move_last_extent(object, old);
    ask_poisoned(object, old);
    hook_resized(object->driver, object);
    return 0;
}

void resize_tell(struct object *object)
{
    if (!resize_is_possible(object))
        return;
    object->was_resized = true;
    hook_resized(object->driver, object);
}

int resize_grow(struct object *object, uint64_t size)
{
    if (size <= object->size_bytes)
        return 0;
    if (!resize_is_possible(object) || object->page_shift != VMA_PAGE_SHIFT)
        return -EOPNOTSUPP;
    return size > OBJECT_BYTES_MAX ? -EFBIG : set_size(object, size);
}

/* ---- the driver first ---- */

static struct resize *first_resize(const struct object *object)
{
    struct list *first = list_first(&object->resizes);

    return first ? CONTAINER_OF(first, struct resize, node) : NULL;
}

static void finish(struct resize *resize, int error, const char *text)
{
    struct file *file = resize->file;

    resize->file = NULL;
    list_del(&resize->node);
    resize->done(resize, error, text);
    writeback_go_on(file->object);
    resize_go_on(file->object);
    file_unref(file);
}

/* Whole pages are asked for again, and are zero then; the edges are zeroed in place. */
static void make_hole(struct object *object, struct range bytes)
{
    const uint64_t page_bytes = object_page_bytes(object);
    const uint64_t end =
        object_n_pages(object) * page_bytes; /* with what lies behind the object's */
    struct range inner;

    if (bytes.end > end)
        bytes.end = end;
    if (range_is_empty(bytes) || bytes.start >= bytes.end)
        return;
    inner = range_align_in(bytes, page_bytes);
    if (range_is_empty(inner)) {
        fill_zero_bytes(object, bytes);
        return;
    }
    fill_zero_bytes(object, (struct range){bytes.start, inner.start});
    fill_zero_bytes(object, (struct range){inner.end, bytes.end});
    fill_discard(
        object, (struct range){inner.start >> object->page_shift, inner.end >> object->page_shift});
}

/* What the driver has done. Return: 0; -ENOMEM; -EIO: the page cache is stuck, and shows what it did. */
static int carry_out(const struct resize *resize)
{
    struct object *object = resize->file->object;
    uint64_t size = resize->size;
    int r;

    if (resize->is_fallocate) {
        if (resize->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
            make_hole(object, resize->bytes);
        if (object->backing.is_stuck)
            return -EIO;
        if ((resize->mode & FALLOC_FL_KEEP_SIZE) || resize->bytes.end <= object->size_bytes)
            return 0;
        size = resize->bytes.end;
    }
    r = set_size(object, size);
    if (r < 0)
        resize_tell(object);
    return r;
}

static void on_answered(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct resize *resize = CONTAINER_OF(call, struct resize, call);
    char text[ERROR_TEXT_BYTES_MAX / 2] = "the driver died";
    int error = -EIO;

    if (end == CALL_ANSWERED) {
        (void)snprintf(text, sizeof(text), "the driver refused");
        error = hook_completed(resize->file->driver, call, NULL, frame, text, sizeof(text));
    } else if (end == CALL_DEADLINE) {
        (void)snprintf(text, sizeof(text), "the driver did not answer %s in time", call->hook);
        error = -ETIMEDOUT;
    }
    hook_ended(resize->file->driver, call, error);
    if (error == 0) {
        error = carry_out(resize);
        (void)snprintf(text, sizeof(text), "%s",
                       resize->file->object->backing.is_stuck
                           ? OBJECT_STUCK_TEXT
                           : "no memory for a page cache of that size");
    }
    finish(resize, error, text);
}

static int ask_driver(struct resize *resize)
{
    struct driver *driver = resize->file->driver;

    resize->is_asked = true;
    resize->call.end = on_answered;
    if (resize->is_fallocate)
        return hook_fallocate(driver, &resize->call, resize->file, resize->mode, resize->bytes);
    resize->file->object->was_resized = true;
    return hook_truncate(driver, &resize->call, resize->file, resize->size);
}

/* Nothing is written back from the new end on: a driver that is late with it would make its own file
 * longer again; or what was written before it became a hole would be there again. */
static void ask(struct resize *resize)
{
    struct object *object = resize->file->object;
    struct range pages = {resize->size >> object->page_shift, UINT64_MAX};
    int r;

    if (resize->is_fallocate)
        pages.end = ((resize->bytes.end - 1) >> object->page_shift) + 1;
    if (resize->only_grows && resize->size <= object->size_bytes) {
        finish(resize, 0, NULL);
        return;
    }
    if (object->backing.is_stuck) {
        finish(resize, -EIO,
               OBJECT_STUCK_TEXT); /* before the driver changes what cannot be shown */
        return;
    }
    r = writeback_is_busy(object, pages);
    if (r > 0)
        return; /* resize_go_on() */
    if (r < 0) {
        finish(resize, r, "an earlier writeback of these pages is not answered");
        return;
    }
    r = ask_driver(resize);
    if (r < 0)
        finish(resize, r == -EBUSY ? -EAGAIN : r, "the driver cannot be asked");
}

void resize_go_on(struct object *object)
{
    struct resize *resize = first_resize(object);

    if (resize && !resize->is_asked)
        ask(resize);
}

/* The size that an object of @end bytes has after it. */
static uint64_t end_after(const struct resize *resize, uint64_t end)
{
    const bool keeps = resize->is_fallocate && (resize->mode & FALLOC_FL_KEEP_SIZE);
    const uint64_t size = resize->is_fallocate ? resize->bytes.end : resize->size;

    if (keeps || ((resize->is_fallocate || resize->only_grows) && size < end))
        return end;
    return size;
}

uint64_t resize_end(const struct object *object)
{
    uint64_t end = object->size_bytes;
    const struct list *node;

    list_for_each(node, &object->resizes)
        end = end_after(CONTAINER_OF_CONST(node, struct resize, node), end);
    return end;
}

uint64_t resize_border(const struct object *object)
{
    const struct resize *resize = first_resize(object);

    return resize ? resize->size >> object->page_shift : UINT64_MAX;
}

static void start(struct resize *resize, struct file *file)
{
    resize->file = file_ref(file);
    resize->since_ns = loop_now_ns();
    resize->is_asked = false;
    list_add_tail(&file->object->resizes, &resize->node);
    resize_go_on(file->object);
}

int resize_start(struct resize *resize, struct file *file, uint64_t size)
{
    if (!resize_is_possible(file->object) || file->object->page_shift != VMA_PAGE_SHIFT)
        return -EOPNOTSUPP;
    if (size > OBJECT_BYTES_MAX)
        return -EFBIG;
    resize->size = size;
    resize->is_fallocate = false;
    start(resize, file);
    return 0;
}

void resize_start_fallocate(struct resize *resize, struct file *file, uint32_t mode,
                            struct range bytes)
{
    resize->size = bytes.start;
    resize->bytes = bytes;
    resize->mode = mode;
    resize->is_fallocate = true;
    start(resize, file);
}

static const char *what_it_is(const struct resize *resize)
{
    if (resize->is_fallocate)
        return "fallocate";
    return resize->only_grows ? "pwrite" : "truncate";
}

bool wait_of_resize(const struct list *node, struct wait_view *ret_view)
{
    const struct resize *resize = CONTAINER_OF_CONST(node, struct resize, node);
    const struct object *object = resize->file->object;
    const bool is_first = first_resize(object) == resize;

    if (resize->is_asked)
        return false; /* its call is one */
    *ret_view = (struct wait_view){
        .what = what_it_is(resize),
        .stage = is_first ? "writeback" : "queued",
        .space = idmap_get(&object->engine->spaces, resize->call.space_id),
        .object = object,
        .whom = is_first ? WAITS_FOR_WRITEBACK : WAITS_FOR_RESIZE,
        .driver = object->driver,
        .since_ns = resize->since_ns,
        .stage_since_ns = resize->since_ns,
    };
    return true;
}

/* ---- the requests ---- */

struct size_request {
    struct resize resize;
    struct sync sync;
    struct space *space; /* ref */
    struct file *file;   /* ref */
    uint64_t id;
    const char *what;
    uint32_t mode; /* FALLOC_FL_* */
    struct range bytes;
};

static void end(struct size_request *request, int error, const char *text)
{
    struct space *space = request->space;
    const struct flow_where where = {space, request->file->driver, request->file->object->name,
                                     request->what};
    char sentence[ERROR_TEXT_BYTES_MAX];

    if (error == 0) {
        space_reply(space, request->id, FRAME_DONE, NULL);
    } else {
        flow_error("resize.failed", &where, error, text);
        space_fail(space, request->id, error,
                   flow_sentence(&where, text, sentence, sizeof(sentence)));
    }
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    file_unref(request->file);
    free(request);
    space_unref(space);
}

static bool is_read_only(const struct file *file)
{
    return (file->oflags & O_ACCMODE) == O_RDONLY;
}

/* Return: NULL after the client was answered. */
static struct size_request *request_new(struct space *space, uint64_t id, uint64_t file_id,
                                        const char *what)
{
    struct file *file = idmap_get(&space->files, file_id);
    struct size_request *request = NULL;

    if (!file) {
        space_fail(space, id, -EBADF, "no such open file");
        return NULL;
    }
    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) == 0) {
        request = calloc(1, sizeof(*request));
        if (!request)
            charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    }
    if (!request) {
        space_fail(space, id, -ENOMEM, "too many requests in flight, or out of memory");
        return NULL;
    }
    request->space = space_ref(space);
    request->file = file_ref(file);
    request->id = id;
    request->what = what;
    request->resize.call.space_id = space->id;
    return request;
}

/* ---- ftruncate ---- */

static void on_resized(struct resize *resize, int error, const char *text)
{
    end(CONTAINER_OF(resize, struct size_request, resize), error, text);
}

int request_truncate(struct space *space, struct frame *frame)
{
    Muse__Wire__Truncate *message =
        muse__wire__truncate__unpack(NULL, frame->n_payload, frame->payload);
    struct size_request *request;
    uint64_t size;
    int r;

    if (!message)
        return -EPROTO;
    size = message->size;
    request = request_new(space, frame->header.id, message->file_id, "truncate");
    muse__wire__truncate__free_unpacked(message, NULL);
    if (!request)
        return 0;
    request->resize.done = on_resized;
    if (is_read_only(request->file)) {
        end(request, -EINVAL, "the file is not open for writing");
        return 0;
    }
    request->resize.only_grows = false;
    r = resize_start(&request->resize, request->file, size);
    if (r < 0) {
        end(request, r,
            r == -EFBIG ? "no object can be that large"
                        : "objects of this driver cannot change their size");
    }
    return 0;
}

/* ---- fallocate ---- */

/* What was dirty is with the driver. */
static void ask_fallocate(struct size_request *request)
{
    if (request->sync.error < 0)
        end(request, request->sync.error, "an earlier writeback of these pages is not answered");
    else
        resize_start_fallocate(&request->resize, request->file, request->mode, request->bytes);
}

static void on_synced(struct sync *sync)
{
    ask_fallocate(CONTAINER_OF(sync, struct size_request, sync));
}

/* What vfs_fallocate() of fs/open.c refuses before it looks at the file. */
static bool is_sane_mode(uint32_t mode)
{
    switch (mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE) {
    case 0:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_UNSHARE_RANGE:
        return true;
    case FALLOC_FL_PUNCH_HOLE:
        return mode & FALLOC_FL_KEEP_SIZE;
    case FALLOC_FL_COLLAPSE_RANGE:
    case FALLOC_FL_INSERT_RANGE:
        return !(mode & FALLOC_FL_KEEP_SIZE);
    default: /* flags of a call, not an enum of ours */
        return false;
    }
}

/* Source: vfs_fallocate() of fs/open.c. */
static int check_fallocate(const struct file *file, const Muse__Wire__Fallocate *message,
                           const char **ret_why)
{
    static const uint32_t modes[] = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
        FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    bool is_known = false;

    *ret_why = "the range is empty or negative";
    if (message->offset > INT64_MAX || message->length == 0 || message->length > INT64_MAX)
        return -EINVAL;
    *ret_why = "no such mode of fallocate";
    if (!is_sane_mode(message->mode))
        return -EOPNOTSUPP;
    *ret_why = "the file is not open for writing";
    if (is_read_only(file))
        return -EBADF;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        is_known = is_known || message->mode == modes[i];
    *ret_why = "this mode, or fallocate of this driver's objects, is not supported";
    if (!is_known || !(file->object->driver->file_hooks & FILE_HOOK_FALLOCATE))
        return -EOPNOTSUPP;
    *ret_why = "no object can be that large";
    if (message->offset + message->length > OBJECT_BYTES_MAX)
        return -EFBIG;
    *ret_why = "an object with 2 MiB pages keeps its size";
    if (!(message->mode & FALLOC_FL_KEEP_SIZE) && file->object->page_shift != VMA_PAGE_SHIFT &&
        message->offset + message->length > file->object->size_bytes)
        return -EOPNOTSUPP;
    return 0;
}

int request_fallocate(struct space *space, struct frame *frame)
{
    Muse__Wire__Fallocate *message =
        muse__wire__fallocate__unpack(NULL, frame->n_payload, frame->payload);
    struct size_request *request;
    const char *why;
    int r;

    if (!message)
        return -EPROTO;
    request = request_new(space, frame->header.id, message->file_id, "fallocate");
    if (request) {
        const unsigned shift = request->file->object->page_shift;

        r = check_fallocate(request->file, message, &why);
        request->mode = message->mode;
        request->bytes =
            range_make(message->offset, message->offset + (r < 0 ? 0 : message->length));
        request->resize.done = on_resized;
        request->sync.done = on_synced;
        request->sync.what = request->what;
        request->sync.space = request->space;
        if (r < 0)
            end(request, r, why);
        else if (!sync_start(&request->sync, request->file->object,
                             (struct range){request->bytes.start >> shift,
                                            ((request->bytes.end - 1) >> shift) + 1}))
            ask_fallocate(request);
    }
    muse__wire__fallocate__free_unpacked(message, NULL);
    return 0;
}
