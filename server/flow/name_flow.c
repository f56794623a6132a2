/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The name of a mapping: asked once, when the mapping has come into being, and waited for by nobody,
 * so that `musectl maps` answers at once whatever the driver does. The question holds the name, not
 * the VMA: that may be cut, moved, copied by a fork or gone when the answer comes. A mapping that
 * becomes part of a neighbour is part of what that one is called.
 *
 * Charged as a request of the client whose mapping it is.
 */
#include "server/flow/name_flow.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/driver.pb-c.h"
#include "proto/status.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"

struct name_ask {
    struct driver_call call;
    struct driver *driver; /* ref */
    struct vma_name *name; /* ref */
    uid_t uid;             /* who is charged */
};

static void name_free(struct name_ask *ask)
{
    charge_drop(&ask->driver->engine->quotas, ask->uid, QUOTA_REQUESTS, 1);
    driver_unref(ask->driver);
    (void)vma_name_unref(ask->name);
    free(ask);
}

static int read_refusal(const struct frame *frame)
{
    Muse__Wire__DriverFailed *failed =
        muse__wire__driver_failed__unpack(NULL, frame->n_payload, frame->payload);
    const int error =
        failed && failed->error ? status_to_result(failed->error, -EREMOTEIO) : -EREMOTEIO;

    if (failed)
        muse__wire__driver_failed__free_unpacked(failed, NULL);
    return error;
}

/* Return: 0 or the driver's -errno. */
static int read_name(struct name_ask *ask, const struct frame *frame)
{
    Muse__Wire__VmaNamed *answer;

    if (frame->header.type == FRAME_DRIVER_FAILED)
        return read_refusal(frame);
    answer = muse__wire__vma_named__unpack(NULL, frame->n_payload, frame->payload);
    if (!answer) {
        driver_misbehaved(ask->driver, NULL, ask->call.hook, "its answer does not decode");
        return -EREMOTEIO;
    }
    if (answer->name)
        vma_name_set(ask->name, answer->name);
    muse__wire__vma_named__free_unpacked(answer, NULL);
    return 0;
}

static void on_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct name_ask *ask = CONTAINER_OF(call, struct name_ask, call);
    const struct flow_where where = {.driver = ask->driver, .hook = call->hook};
    int error = end == CALL_DEADLINE ? -ETIMEDOUT : 0;

    if (end == CALL_ANSWERED)
        error = read_name(ask, frame);
    if (end != CALL_LOST) /* told of once, where the driver is lost */
        hook_ended(ask->driver, call, error);
    if (error < 0)
        flow_error("name.failed", &where, error, "the mapping has no name");
    name_free(ask);
}

void name_start(struct vma *vma)
{
    struct space *space = vma_space(vma);
    struct driver *driver;
    struct name_ask *ask;

    if (!vma->has_name || charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return;
    ask = calloc(1, sizeof(*ask));
    if (!ask || vma_name_new(&ask->name) < 0) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        free(ask);
        return;
    }
    driver = vma_file(vma)->driver;
    ask->driver = driver_ref(driver);
    ask->uid = space->uid;
    ask->call.end = on_end;
    if (hook_name(driver, &ask->call, vma) < 0)
        name_free(ask);
    else
        vma->name = vma_name_ref(ask->name);
}
