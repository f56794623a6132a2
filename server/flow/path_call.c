/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/flow/path_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/limits.h"
#include "server/flow/flow_log.h"
#include "server/flow/open_flow.h"
#include "server/flow/session_flow.h"

int path_call_init(struct path_call *path_call, struct space *space, struct driver *driver,
                   uint64_t id, const char *name)
{
    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -EAGAIN;
    if (asprintf(&path_call->name, "%s/%s", driver->name, name) < 0) {
        path_call->name = NULL;
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    path_call->space = space_ref(space);
    path_call->driver = driver_ref(driver);
    path_call->id = id;
    return 0;
}

void path_call_done(struct path_call *path_call)
{
    struct space *space = path_call->space;

    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    space_unref(space);
    driver_unref(path_call->driver);
    free(path_call->name);
}

void path_call_fail(struct path_call *path_call, int error, const char *text)
{
    char sentence[ERROR_TEXT_BYTES_MAX];
    const struct flow_where where = {path_call->space, path_call->driver, path_call->name,
                                     path_call->hook};

    flow_refusal(path_call->event, &where, error, text);
    space_fail(path_call->space, path_call->id, error,
               flow_sentence(&where, text, sentence, sizeof(sentence)));
    path_call->over(path_call);
}

static void on_answered(struct path_call *path_call, struct frame *frame)
{
    char text[ERROR_TEXT_BYTES_MAX / 2];
    int error;

    if (frame->header.type != FRAME_DRIVER_FAILED) {
        path_call->answered(path_call, frame);
        return;
    }
    error = driver_failed_read(frame, text, sizeof(text));
    hook_ended(path_call->driver, &path_call->call, error);
    path_call_fail(path_call, error, text);
}

static void on_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct path_call *path_call = CONTAINER_OF(call, struct path_call, call);

    switch (end) {
    case CALL_DEADLINE:
        hook_ended(path_call->driver, call, -ETIMEDOUT);
        path_call_fail(path_call, -ETIMEDOUT, "the driver did not answer in time");
        break;
    case CALL_LOST:
        path_call_fail(path_call, -EIO, "the driver died before it answered");
        break;
    case CALL_ANSWERED:
        on_answered(path_call, frame);
        break;
    case CALL_LATE: /* not wanted, so not called */
        break;
    }
}

int path_call_ask(struct path_call *path_call, Muse__Wire__PathAsk *message, uint16_t type,
                  uint16_t answer_type)
{
    const struct space *space = path_call->space;
    int r;

    message->has_uid = message->has_gid = message->has_pid = true;
    message->uid = space->uid;
    message->gid = space->gid;
    message->pid = (uint32_t)space->pid;
    path_call->call.end = on_end;
    path_call->call.space_id = space->id;
    r = hook_path(path_call->driver, &path_call->call, space, message, type, answer_type,
                  path_call->hook);
    return r == -EBUSY ? -EAGAIN : r;
}
