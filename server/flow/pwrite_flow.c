/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pwrite: a client writes to an object without a mapping, coherent with all mappings.
 *
 *   request_pwrite()   opened for writing? grow the object first, where its driver can
 *   fill_wait          the pages come in, so that what is not overwritten is right
 *   hold               they are dirty, and stay dirty whatever is written back meanwhile
 *   the client         writes into the file of the page cache itself: no byte over a socket
 *   unhold, reply
 *
 * A client that dies in between has written some of it or nothing; the pages are dirty either way.
 * One that does not confirm in time is not waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "server/config/config.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/requests.h"
#include "server/flow/resize_flow.h"
#include "server/flow/session_flow.h"
#include "server/flow/writeback.h"

struct pwrite_request {
    struct fill_wait wait;
    struct resize resize;
    struct wb_hold hold;
    struct evict_pin pin; /* until they are dirty: into a hole that eviction made nothing may go */
    struct space *space;  /* ref */
    struct file *file;    /* ref */
    uint64_t id;
    struct range bytes;
    bool is_append;
};

static void request_free(struct pwrite_request *request)
{
    struct space *space = request->space;

    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    evict_pin_end(&request->pin);
    file_unref(request->file);
    free(request);
    space_unref(space);
}

static void fail(struct pwrite_request *request, int error, const char *text)
{
    const struct flow_where where = {request->space, request->file->driver,
                                     request->file->object->name, "pwrite"};
    char sentence[ERROR_TEXT_BYTES_MAX];

    flow_error("pwrite.failed", &where, error, text);
    space_fail(request->space, request->id, error,
               flow_sentence(&where, text, sentence, sizeof(sentence)));
    request_free(request);
}

static void on_client_wrote(void *ctx, enum client_end end, int error)
{
    struct pwrite_request *request = ctx;
    Muse__Wire__Written message = MUSE__WIRE__WRITTEN__INIT;

    writeback_unhold(request->file->object, &request->hold);
    if (end == CLIENT_DEADLINE) {
        session_orphan(request->space, request);
        error = -ETIMEDOUT;
    }
    if (end == CLIENT_LOST) {
        request_free(request);
    } else if (error < 0) {
        fail(request, error, "the client could not write");
    } else {
        message.length = range_len(request->bytes);
        message.has_offset = request->is_append;
        message.offset = request->bytes.start;
        space_reply(request->space, request->id, FRAME_WRITTEN, &message.base);
        request_free(request);
    }
}

static struct range pages_of(const struct pwrite_request *request)
{
    const unsigned shift = request->file->object->page_shift;

    return range_make(request->bytes.start >> shift, ((request->bytes.end - 1) >> shift) + 1);
}

static void let_client_write(struct pwrite_request *request)
{
    struct space *space = request->space;
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__PWRITE,
                              .range = request->bytes,
                              .offset = request->bytes.start,
                              .file_id = request->file->id,
                              .fd = -1};
    int r;

    writeback_hold(request->file->object, &request->hold, pages_of(request));
    r = session_mem_ops(space, request->id, &op, 1, space->engine->config->install_deadline_ns,
                        on_client_wrote, request);
    if (r < 0) {
        writeback_unhold(request->file->object, &request->hold);
        fail(request, r == -ENOTCONN ? -EIO : r, "the client could not be told to write");
    }
}

/* Have the pages come; again, when the driver took back one while another one was on its way. */
static void wait_for_pages(struct pwrite_request *request)
{
    int r = fill_wait_start(request->file->object, pages_of(request), &request->wait);

    if (r > 0)
        let_client_write(request);
    else if (r < 0)
        fail(request, r, "a page cannot be had");
}

static void on_filled(struct fill_wait *wait, int error, uint64_t failed_page)
{
    struct pwrite_request *request = CONTAINER_OF(wait, struct pwrite_request, wait);
    const struct object *object = request->file->object;
    const struct poison_record *record = poison_find(&object->poison, failed_page);

    if (error < 0)
        fail(request, error, record ? record->text : "a page cannot be had");
    else if (page_table_is_valid(&object->pages, pages_of(request)))
        let_client_write(request);
    else
        wait_for_pages(request);
}

static void fill(struct pwrite_request *request)
{
    evict_pin_begin(&request->pin, request->file->object, pages_of(request), NULL);
    request->wait.done = on_filled;
    request->wait.what = "pwrite";
    request->wait.space = request->space;
    wait_for_pages(request);
}

static void on_grown(struct resize *resize, int error, const char *text)
{
    struct pwrite_request *request = CONTAINER_OF(resize, struct pwrite_request, resize);

    if (error < 0)
        fail(request, error, text);
    else
        fill(request);
}

/* Return: 0 or -errno; the object's end is where a write ends that cannot grow it. */
static int start(struct pwrite_request *request, const char **ret_why)
{
    struct file *file = request->file;
    const uint64_t size = file->object->size_bytes;

    if (request->bytes.end > size && resize_is_possible(file->object)) {
        request->resize.done = on_grown;
        request->resize.only_grows = true; /* somebody else may be growing it further right now */
        request->resize.call.space_id = request->space->id;
        return resize_start(&request->resize, file, request->bytes.end);
    }
    if (request->bytes.end > size)
        request->bytes.end = size;
    if (range_is_empty(request->bytes) || request->bytes.start >= request->bytes.end) {
        *ret_why = "this driver's objects cannot grow";
        return -ENOSPC;
    }
    fill(request);
    return 0;
}

/* Two that append at a time have different places: the first one's growth is in the queue, or done, when the second one is
 * looked at. */
static uint64_t place_of(const Muse__Wire__Pwrite *message, const struct file *file)
{
    return message->append && file ? resize_end(file->object) : message->offset;
}

static int check(const struct file *file, uint64_t offset, uint64_t length, struct range *ret_bytes,
                 const char **ret_why)
{
    *ret_why = "the file is not open for writing";
    if (!file || (file->oflags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    *ret_why = "no object can be that large";
    if (offset > OBJECT_BYTES_MAX || length > PREAD_BYTES_MAX || offset + length > OBJECT_BYTES_MAX)
        return -EFBIG;
    *ret_bytes = range_make(offset, offset + length);
    return 0;
}

int request_pwrite(struct space *space, struct frame *frame)
{
    Muse__Wire__Pwrite *message =
        muse__wire__pwrite__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__Written nothing = MUSE__WIRE__WRITTEN__INIT;
    struct pwrite_request *request = NULL;
    struct range bytes = {0, 0};
    bool is_append;
    const char *why;
    struct file *file;
    int r;

    if (!message)
        return -EPROTO;
    file = idmap_get(&space->files, message->file_id);
    is_append = message->append;
    r = check(file, place_of(message, file), message->length, &bytes, &why);
    muse__wire__pwrite__free_unpacked(message, NULL);
    if (r == 0 && range_is_empty(bytes)) {
        space_reply(space, frame->header.id, FRAME_WRITTEN, &nothing.base);
        return 0;
    }
    if (r == 0 && charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) == 0) {
        request = calloc(1, sizeof(*request));
        if (!request)
            charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    }
    if (!request) {
        space_fail(space, frame->header.id, r < 0 ? r : -ENOMEM,
                   r < 0 ? why : "too many requests in flight, or out of memory");
        return 0;
    }
    request->space = space_ref(space);
    request->file = file_ref(file);
    request->id = frame->header.id;
    bytes.end = bytes.start + evict_flow_clip(file->object, bytes.start, range_len(bytes));
    request->bytes = bytes;
    request->is_append = is_append;
    r = start(request, &why);
    if (r < 0)
        fail(request, r, why);
    return 0;
}
