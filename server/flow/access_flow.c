/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ACCESS: muse_copy_from() has met a page that is no memory, and the mapping's driver may have the
 * bytes all the same.
 *
 *   ask -> is that a mapping with access, and not in the page cache? -> one call to its driver
 *       -> its bytes, at most as many as asked for, to the client
 *
 * Nothing is kept: the bytes go into no page cache. One page of 4 KiB at a time, because the one
 * behind it may be memory, with what the client has written there. The space's lock is not taken; a
 * mapping that is being made or moved is not asked about.
 */
#include "server/flow/access_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/client.pb-c.h"
#include "proto/driver.pb-c.h"
#include "proto/limits.h"
#include "proto/status.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/fill.h"
#include "server/flow/flow_log.h"
#include "server/flow/loss_flow.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"

struct access_request {
    struct driver_call call;
    struct space *space;   /* ref */
    struct object *object; /* ref, and thereby of its driver */
    uint64_t id;
    uint32_t length; /* bytes that were asked for */
};

static void access_free(struct access_request *request)
{
    struct space *space = request->space;

    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    object_unref(request->object);
    space_unref(space);
    free(request);
}

/* What is valid in the page cache is newer than anything the driver has, or as new. Of parts that
 * are mapped from a file of the driver's own the page cache knows nothing. */
static bool is_cached(const struct vma *vma, uint64_t addr)
{
    const struct object *object = vma_object(vma);
    const uint64_t page = vma_page_at(vma, object, addr);

    return !vma->direct && !(vma->flags & VMF_PFNMAP) && page < object->pages.n_pages &&
           page_state_is_valid(page_table_get(&object->pages, page));
}

bool access_is_offered(const struct vma *vma, uint64_t addr)
{
    return vma->has_access && !vma->write_locked && vma_prot(vma) != 0 &&
           vma_file(vma)->driver->alive && !is_cached(vma, addr);
}

/* ---- the answer ---- */

static void access_fail(struct access_request *request, int error, const char *text)
{
    char sentence[ERROR_TEXT_BYTES_MAX];
    const struct flow_where where = {request->space, request->object->driver, request->object->name,
                                     request->call.hook};

    flow_error("access.failed", &where, error, text);
    space_fail(request->space, request->id, error,
               flow_sentence(&where, text, sentence, sizeof(sentence)));
}

static void on_refused(struct access_request *request, struct frame *frame)
{
    Muse__Wire__DriverFailed *failed =
        muse__wire__driver_failed__unpack(NULL, frame->n_payload, frame->payload);
    const int error =
        failed && failed->error ? status_to_result(failed->error, -EREMOTEIO) : -EREMOTEIO;
    const char *known = strerrordesc_np(-error);

    hook_ended(request->object->driver, &request->call, error);
    if (failed && failed->text && failed->text[0])
        known = failed->text;
    access_fail(request, error, known ? known : "the driver refused");
    if (failed)
        muse__wire__driver_failed__free_unpacked(failed, NULL);
}

static void on_nonsense(struct access_request *request, const char *what)
{
    hook_ended(request->object->driver, &request->call, -EREMOTEIO);
    access_fail(request, -EREMOTEIO, what);
    driver_misbehaved(request->object->driver, request->space, request->call.hook, what);
}

static void on_answered(struct access_request *request, struct frame *frame)
{
    Muse__Wire__Accessed reply = MUSE__WIRE__ACCESSED__INIT;
    Muse__Wire__DriverAccessed *answer;

    if (frame->header.type == FRAME_DRIVER_FAILED) {
        on_refused(request, frame);
        return;
    }
    answer = muse__wire__driver_accessed__unpack(NULL, frame->n_payload, frame->payload);
    if (!answer) {
        on_nonsense(request, "its answer does not decode");
    } else if (answer->data.len > request->length) {
        on_nonsense(request, "it answered more bytes than it was asked for");
    } else {
        hook_ended(request->object->driver, &request->call, 0);
        reply.data = answer->data;
        space_reply(request->space, request->id, FRAME_ACCESSED, &reply.base);
    }
    if (answer)
        muse__wire__driver_accessed__free_unpacked(answer, NULL);
}

static void on_end(struct driver_call *call, enum call_end end, struct frame *frame)
{
    struct access_request *request = CONTAINER_OF(call, struct access_request, call);
    struct driver *driver = request->object->driver;
    const char *why;
    int error;

    switch (end) {
    case CALL_DEADLINE:
        hook_ended(driver, call, -ETIMEDOUT);
        access_fail(request, -ETIMEDOUT, "the driver did not answer in time");
        break;
    case CALL_LOST:
        error = driver_gone_error(driver, &why);
        access_fail(request, error, why);
        break;
    case CALL_ANSWERED:
        on_answered(request, frame);
        break;
    case CALL_LATE: /* not wanted, so not called */
        break;
    }
    access_free(request);
}

/* ---- the request ---- */

static int access_start(struct space *space, uint64_t id, const struct vma *vma, uint64_t addr,
                        uint32_t length)
{
    struct access_request *request;
    int r;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -EAGAIN;
    request = calloc(1, sizeof(*request));
    if (!request) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    request->space = space_ref(space);
    request->object = object_ref(vma_object(vma));
    request->id = id;
    request->length = length;
    request->call.end = on_end;
    r = hook_access(vma_file(vma)->driver, &request->call, vma, addr, length);
    if (r < 0)
        access_free(request);
    return r == -EBUSY ? -EAGAIN : r;
}

static int access_check(struct space *space, uint64_t addr, uint64_t length, struct vma **ret_vma)
{
    struct vma *vma = vma_tree_find(&space->aspace.vmas, addr);

    if (length == 0 || length > VMA_PAGE_BYTES - addr % VMA_PAGE_BYTES)
        return -EINVAL;
    if (!vma || vma->kind != VMA_MAPPED || vma_is_anon(vma) || !access_is_offered(vma, addr))
        return -EFAULT;
    *ret_vma = vma;
    return 0;
}

int request_access(struct space *space, struct frame *frame)
{
    Muse__Wire__Access *message =
        muse__wire__access__unpack(NULL, frame->n_payload, frame->payload);
    struct vma *vma;
    int r;

    if (!message)
        return -EPROTO;
    r = access_check(space, message->addr, message->length, &vma);
    if (r == 0)
        r = access_start(space, frame->header.id, vma, message->addr, message->length);
    if (r < 0)
        space_fail(space, frame->header.id, r, strerrordesc_np(-r));
    muse__wire__access__free_unpacked(message, NULL);
    return 0;
}
