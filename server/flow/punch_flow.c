/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MADV_REMOVE of a mapping: write back what is dirty there, ask the driver to punch, forget the pages.
 * The same as fallocate(2) with FALLOC_FL_PUNCH_HOLE in resize_flow.c, which makes the hole.
 *
 * Owns its punches: malloc'ed, charged to the space's uid as a request. They outlive a client that
 * dies: what the driver has punched must not stay in the page cache. Called by the walk over a
 * space's mappings.
 */
#include "server/flow/punch_flow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "proto/hooks.h"
#include "proto/limits.h"
#include "server/driver/driver_link.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/flow_log.h"
#include "server/flow/resize_flow.h"
#include "server/flow/writeback.h"

struct punch {
    struct driver_call call;
    struct sync sync;
    struct space *space; /* ref */
    struct file *file;   /* ref */
    struct range bytes;
    void (*done)(void *ctx, int error); /* NULL: nobody wants to hear of it any more */
    void *ctx;
};

static void punch_free(struct punch *punch)
{
    struct space *space = punch->space;

    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    file_unref(punch->file);
    free(punch);
    space_unref(space);
}

static void finish(struct punch *punch, int error)
{
    void (*done)(void *ctx, int error) = punch->done;
    void *ctx = punch->ctx;

    punch_free(punch);
    if (done)
        done(ctx, error);
}

static void on_punched(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct punch *punch = CONTAINER_OF(call, struct punch, call);
    struct object *object = punch->file->object;
    const struct flow_where where = {punch->space, punch->file->driver, object->name, "fallocate"};
    char text[ERROR_TEXT_BYTES_MAX / 2] = "the driver died, or did not answer in time";
    int error = -EIO;

    if (end == CALL_ANSWERED)
        error = hook_completed(punch->file->driver, call, punch->space, frame, text, sizeof(text));
    else if (end == CALL_DEADLINE)
        error = -ETIMEDOUT;
    hook_ended(punch->file->driver, call, error);
    if (error == 0)
        resize_make_hole(object, punch->bytes);
    else
        flow_error("punch.failed", &where, error, text);
    finish(punch, error);
}

/* Return: 0; -EIO; -ETIMEDOUT an earlier writeback of these pages is not answered. */
static int ask(struct punch *punch)
{
    if (punch->sync.error < 0)
        return punch->sync.error;
    punch->call.end = on_punched;
    return hook_fallocate(punch->file->driver, &punch->call, punch->file,
                          FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, punch->bytes) < 0
               ? -EIO
               : 0;
}

static void on_synced(struct sync *sync)
{
    struct punch *punch = CONTAINER_OF(sync, struct punch, sync);

    if (!punch->done || ask(punch) < 0)
        finish(punch, -EIO);
}

static int punch_new(struct file *file, struct range bytes, struct space *space,
                     struct punch **ret_punch)
{
    struct punch *punch;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -EAGAIN;
    punch = calloc(1, sizeof(*punch));
    if (!punch) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    punch->space = space_ref(space);
    punch->file = file_ref(file);
    punch->bytes = bytes;
    punch->call.space_id = space->id;
    punch->sync = (struct sync){.done = on_synced, .what = "madvise", .space = space};
    *ret_punch = punch;
    return 0;
}

int punch_start(struct file *file, struct range bytes, struct space *space,
                void (*done)(void *ctx, int error), void *ctx, struct punch **ret_punch)
{
    struct object *object = file->object;
    const unsigned shift = object->page_shift;
    struct punch *punch;
    struct range pages;
    int r;

    if (!(object->driver->file_hooks & FILE_HOOK_FALLOCATE))
        return -EOPNOTSUPP;
    /* what was stored behind the end, in the last page, goes with that page */
    bytes = range_intersect(bytes, (struct range){0, object_n_pages(object) << shift});
    if (range_is_empty(bytes))
        return 1;
    r = punch_new(file, bytes, space, &punch);
    if (r < 0)
        return r;
    punch->done = done;
    punch->ctx = ctx;
    pages = (struct range){bytes.start >> shift, ((bytes.end - 1) >> shift) + 1};
    if (!sync_start(&punch->sync, object, pages))
        r = ask(punch);
    if (r < 0)
        punch_free(punch);
    else
        *ret_punch = punch;
    return r;
}

void punch_orphan(struct punch *punch)
{
    punch->done = NULL;
}
