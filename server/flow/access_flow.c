/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ACCESS: muse_copy_from() has met a page that is no memory, and the mapping's driver may have the
 * bytes all the same.
 *
 *   ask -> is the mapping being made or moved? then behind whoever does that, as access_remote_vm() of
 *          Linux waits for the mmap lock
 *       -> is that a mapping with access, and not in the page cache? -> one call to its driver
 *       -> its bytes, at most as many as asked for, to the client
 *
 * Nothing is kept: the bytes go into no page cache. One page of 4 KiB at a time, because the one
 * behind it may be memory, with what the client has written there.
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
#include "server/flow/mm_lock.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/vm/vma_parts.h"

struct access_request {
    struct mm_request mm; /* while it waits for the lock; its space is a ref */
    struct driver_call call;
    struct list of_space;  /* in space.accesses while the driver is asked */
    struct object *object; /* ref, and thereby of its driver; NULL: not asked yet */
    uint64_t addr;
    uint32_t length; /* bytes that were asked for */
};

static void access_free(struct access_request *request)
{
    struct space *space = request->mm.space;

    list_del(&request->of_space);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    if (request->object)
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

    return !vma_shows_fd(vma) && page < object->pages.n_pages &&
           page_state_is_valid(page_table_get(&object->pages, page));
}

bool access_is_offered(const struct vma *vma, uint64_t addr)
{
    return vma->has_access && vma_prot(vma) != 0 && vma_file(vma)->driver->alive &&
           !is_cached(vma, addr);
}

/* ---- the answer ---- */

static void access_fail(struct access_request *request, int error, const char *text)
{
    char sentence[ERROR_TEXT_BYTES_MAX];
    const struct flow_where where = {request->mm.space, request->object->driver,
                                     request->object->name, request->call.hook};

    flow_error("access.failed", &where, error, text);
    space_fail(request->mm.space, request->mm.id, error,
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
    driver_misbehaved(request->object->driver, request->mm.space, request->call.hook, what);
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
        space_reply(request->mm.space, request->mm.id, FRAME_ACCESSED, &reply.base);
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

void access_space_gone(struct space *space)
{
    struct list *node;

    while ((node = list_take_first(&space->accesses))) {
        struct access_request *request = CONTAINER_OF(node, struct access_request, of_space);

        driver_link_forget(&request->call);
        access_free(request);
    }
}

/* ---- the request ---- */

static int access_check(struct space *space, uint64_t addr, struct vma **ret_vma)
{
    struct vma *vma = vma_tree_find(&space->aspace.vmas, addr);

    if (!vma || vma->kind != VMA_MAPPED || vma_is_anon(vma) || !access_is_offered(vma, addr))
        return -EFAULT;
    *ret_vma = vma;
    return 0;
}

/* Ends the request when there is nobody to ask. */
static void access_ask(struct access_request *request)
{
    struct space *space = request->mm.space;
    struct vma *vma;
    int r = access_check(space, request->addr, &vma);

    if (r == 0) {
        request->object = object_ref(vma_object(vma));
        request->call.end = on_end;
        r = hook_access(vma_file(vma)->driver, &request->call, vma, request->addr, request->length);
    }
    if (r == 0) {
        list_add_tail(&space->accesses, &request->of_space);
        return;
    }
    r = r == -EBUSY ? -EAGAIN : r;
    space_fail(space, request->mm.id, r, strerrordesc_np(-r));
    access_free(request);
}

/* It only waits for the lock: what it asks about cannot change while it looks. */
static void on_granted(struct mm_request *mm)
{
    struct access_request *request = CONTAINER_OF(mm, struct access_request, mm);

    mm_unlock(mm);
    access_ask(request);
}

static void on_client_gone(struct mm_request *mm)
{
    mm_unlock(mm);
    access_free(CONTAINER_OF(mm, struct access_request, mm));
}

/* Whether somebody is changing what is mapped there, or a new mapping is on its way to that place. */
static bool is_changing(struct space *space, uint64_t addr)
{
    const struct vma *vma = vma_tree_find(&space->aspace.vmas, addr);

    return space->writer && (range_contains(space->moving, addr) || (vma && vma->write_locked));
}

/* Return: 0; -EAGAIN; -ENOMEM. */
static int access_start(struct space *space, uint64_t id, uint64_t addr, uint32_t length)
{
    struct access_request *request;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return -EAGAIN;
    request = calloc(1, sizeof(*request));
    if (!request) {
        charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
        return -ENOMEM;
    }
    request->mm = (struct mm_request){.space = space_ref(space),
                                      .id = id,
                                      .what = "access",
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->of_space);
    request->addr = addr;
    request->length = length;
    if (is_changing(space, addr))
        mm_lock(&request->mm);
    else
        access_ask(request);
    return 0;
}

int request_access(struct space *space, struct frame *frame)
{
    Muse__Wire__Access *message =
        muse__wire__access__unpack(NULL, frame->n_payload, frame->payload);
    int r = -EINVAL;

    if (!message)
        return -EPROTO;
    if (message->length > 0 && message->length <= VMA_PAGE_BYTES - message->addr % VMA_PAGE_BYTES)
        r = access_start(space, frame->header.id, message->addr, (uint32_t)message->length);
    if (r < 0)
        space_fail(space, frame->header.id, r, strerrordesc_np(-r));
    muse__wire__access__free_unpacked(message, NULL);
    return 0;
}
