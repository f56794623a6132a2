/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * msync and fsync, step by step:
 *
 *   request_msync()   mapping by mapping, as msync(2): what is dirty in it is written back
 *   request_fsync()   all of the file's object
 *   sync              writeback.c: what was dirty when it began is with the driver
 *   fsync             the driver makes it durable, where it has the hook
 *   the error         of writing back, once for each file (file_take_error)
 *
 * A hole in the range is ENOMEM at the end, and what is mapped is synced all the same; an error ends
 * the call. Neither takes the space's lock: what is unmapped meanwhile is written back anyway.
 *
 * Owns struct sync_request (malloc'ed, charged to the uid); it outlives its client, whose answer is
 * then sent to nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/hooks.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fill.h"
#include "server/flow/flow_log.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/writeback.h"

struct sync_request {
    struct sync sync;
    struct driver_call call; /* fsync */
    struct space *space;     /* ref */
    struct file *file;       /* ref: whose object is synced now; NULL between two mappings */
    uint64_t id;
    const char *what;
    uint32_t flags;     /* MS_* */
    struct range addrs; /* what is left of the range; empty for fsync */
    bool has_hole;
};

static void step(struct sync_request *request);

static void finish(struct sync_request *request, int error, const char *text)
{
    struct space *space = request->space;

    if (error < 0) {
        const struct flow_where where = {space, request->file ? request->file->driver : NULL,
                                         request->file ? request->file->object->name : NULL,
                                         request->what};
        char sentence[ERROR_TEXT_BYTES_MAX];

        flow_error("sync.failed", &where, error, text);
        space_fail(space, request->id, error,
                   flow_sentence(&where, text, sentence, sizeof(sentence)));
    } else {
        space_reply(space, request->id, FRAME_DONE, NULL);
    }
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    file_unref(request->file);
    free(request);
    space_unref(space);
}

/* The object is written back, and durable as far as its driver can tell. */
static void file_synced(struct sync_request *request, int error, const char *text)
{
    int kept = file_take_error(request->file);

    if (error == 0 && kept < 0) {
        error = kept;
        text = "writing back failed";
    }
    if (error == 0 && request->sync.error < 0) {
        error = request->sync.error;
        text = "an earlier writeback of these pages is not answered";
    }
    if (error == 0 && request->file->object->lost) {
        error = -EIO;
        text = "the driver died";
    }
    if (error < 0) {
        finish(request, error, text);
        return;
    }
    file_unref(request->file);
    request->file = NULL;
    step(request);
}

static void on_fsync_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct sync_request *request = CONTAINER_OF(call, struct sync_request, call);
    char text[ERROR_TEXT_BYTES_MAX / 2] = "the driver died";
    int error = -EIO;

    if (end == CALL_ANSWERED) {
        (void)snprintf(text, sizeof(text), "the driver could not make it durable");
        error =
            hook_completed(request->file->driver, call, request->space, frame, text, sizeof(text));
    } else if (end == CALL_DEADLINE) {
        (void)snprintf(text, sizeof(text), "the driver did not answer fsync in time");
        error = -ETIMEDOUT;
    }
    hook_ended(request->file->driver, call, error);
    file_synced(request, error, text);
}

static void make_durable(struct sync_request *request)
{
    struct driver *driver = request->file->driver;

    if (!(driver->file_hooks & FILE_HOOK_FSYNC) || !driver->alive) {
        file_synced(request, 0, NULL);
        return;
    }
    request->call.end = on_fsync_end;
    request->call.space_id = request->space->id;
    if (hook_fsync(driver, &request->call, request->file->object) < 0)
        file_synced(request, -EIO, "the driver cannot be asked for fsync");
}

static void on_written_back(struct sync *sync)
{
    make_durable(CONTAINER_OF(sync, struct sync_request, sync));
}

static void sync_pages(struct sync_request *request, struct file *file, struct range pages)
{
    request->file = file_ref(file);
    request->sync.done = on_written_back;
    request->sync.what = request->what;
    request->sync.space = request->space;
    if (!sync_start(&request->sync, file->object, pages))
        make_durable(request);
}

static struct range pages_of(const struct vma *vma, struct range addrs)
{
    const unsigned down = vma_object(vma)->page_shift - VMA_PAGE_SHIFT;

    return range_make(vma_pgoff_at(vma, addrs.start) >> down,
                      (vma_pgoff_at(vma, addrs.end - 1) >> down) + 1);
}

/* The next mapping of the range. Source of the order: SYSCALL_DEFINE3(msync) of mm/msync.c. */
static void step(struct sync_request *request)
{
    while (!range_is_empty(request->addrs)) {
        struct vma *vma = vma_tree_find_next(&request->space->aspace.vmas, request->addrs.start);
        struct range part;

        if (!vma || vma->start >= request->addrs.end) {
            request->has_hole = true;
            break;
        }
        part = range_intersect(request->addrs, vma_range(vma));
        request->has_hole |= part.start > request->addrs.start || vma->kind != VMA_MAPPED;
        request->addrs.start = part.end;
        if (vma->kind != VMA_MAPPED)
            continue;
        if ((request->flags & MS_INVALIDATE) && (vma->flags & VMF_LOCKED)) {
            finish(request, -EBUSY, "MS_INVALIDATE of a locked mapping");
            return;
        }
        if (!vma->tracks_writes)
            continue;
        if (request->flags & MS_SYNC) {
            sync_pages(request, vma_file(vma), pages_of(vma, part));
            return;
        }
    }
    finish(request, request->has_hole ? -ENOMEM : 0, "a part of the range is not mapped");
}

static struct sync_request *request_new(struct space *space, uint64_t id, const char *what)
{
    struct sync_request *request = NULL;

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
    request->id = id;
    request->what = what;
    return request;
}

/* Return: 0; -EINVAL, -ENOMEM as msync(2). */
static int check(const Muse__Wire__Msync *message, struct range *ret_range)
{
    if (message->addr % VMA_PAGE_BYTES != 0 ||
        (message->flags & ~(uint32_t)(MS_ASYNC | MS_SYNC | MS_INVALIDATE)) ||
        (message->flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
        return -EINVAL;
    /* the kernel's own arithmetic: a length that wraps when it is rounded up is none */
    ret_range->start = message->addr;
    ret_range->end =
        message->addr + ((message->length + VMA_PAGE_BYTES - 1) & ~(VMA_PAGE_BYTES - 1));
    if (ret_range->end < ret_range->start)
        return -ENOMEM;
    return 0;
}

int request_msync(struct space *space, struct frame *frame)
{
    Muse__Wire__Msync *message = muse__wire__msync__unpack(NULL, frame->n_payload, frame->payload);
    struct sync_request *request;
    struct range range = {0, 0};
    uint32_t flags;
    int r;

    if (!message)
        return -EPROTO;
    flags = message->flags;
    r = check(message, &range);
    muse__wire__msync__free_unpacked(message, NULL);
    if (r < 0) {
        space_fail(space, frame->header.id, r, "msync: these flags or this range make no sense");
        return 0;
    }
    request = request_new(space, frame->header.id, "msync");
    if (!request)
        return 0;
    request->flags = flags;
    request->addrs = range;
    step(request);
    return 0;
}

int request_fsync(struct space *space, struct frame *frame)
{
    Muse__Wire__FileRef *message =
        muse__wire__file_ref__unpack(NULL, frame->n_payload, frame->payload);
    struct sync_request *request;
    struct file *file;

    if (!message)
        return -EPROTO;
    file = idmap_get(&space->files, message->file_id);
    muse__wire__file_ref__free_unpacked(message, NULL);
    if (!file) {
        space_fail(space, frame->header.id, -EBADF, "no such open file");
        return 0;
    }
    request = request_new(space, frame->header.id, "fsync");
    if (request)
        sync_pages(request, file, page_table_range(&file->object->pages));
    return 0;
}
