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
    struct resize resize;
    struct sync sync;
    struct space *space; /* ref */
    struct file *file;   /* ref */
    struct range bytes;
    bool is_starting; /* what comes of it meanwhile is in @error */
    int error;
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

static void on_punched(struct resize *resize, int error, const char *text)
{
    struct punch *punch = CONTAINER_OF(resize, struct punch, resize);
    const struct flow_where where = {punch->space, punch->file->driver, punch->file->object->name,
                                     "fallocate"};

    if (error < 0)
        flow_error("punch.failed", &where, error, text);
    if (punch->is_starting)
        punch->error = error; /* punch_start() says so */
    else
        finish(punch, error);
}

/* Return: 0; -errno: it is over, and was not told; -ETIMEDOUT an earlier writeback is not answered. */
static int ask(struct punch *punch)
{
    if (punch->sync.error < 0)
        return punch->sync.error;
    punch->is_starting = true;
    resize_start_fallocate(&punch->resize, punch->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           punch->bytes);
    punch->is_starting = false;
    return punch->error;
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
    punch->resize.call.space_id = space->id;
    punch->resize.done = on_punched;
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
