/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mlock and munlock. The client's kernel locks the pages; here is which mappings are locked, because
 * madvise and others behave differently there, and because the kernel cannot tell holes of the
 * arena from mappings.
 *
 *   each VMA   mlock2(MLOCK_ONFAULT): the mapping is locked, no page comes
 *   then all   mlock2(0): all pages come, through the fault path. What cannot be had fails the call,
 *              and the mappings stay locked, as in the kernel.
 */
#include <errno.h>
#include <sys/mman.h>

#include "proto/client.pb-c.h"
#include "server/flow/change_flow.h"
#include "server/flow/requests.h"
#include "server/map/range_check.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/* Source: mlock_fixup(): such mappings are left out, and that is no error. */
static bool is_never_locked(const struct vma *vma)
{
    return (vma->flags & VMF_SPECIAL) ||
           (!vma_is_anon(vma) && object_page_bytes(vma_object(vma)) > VMA_PAGE_BYTES);
}

static int plan_lock(struct change_request *request, const struct vma *vma, struct range part,
                     struct change_step *step)
{
    (void)request;
    (void)part;
    if (is_never_locked(vma) || (vma->flags & VMF_LOCKED))
        return 0;
    step->flags = vma->flags | VMF_LOCKED;
    step->has_op = true;
    step->op.kind = MUSE__WIRE__MEM_OPS__KIND__MLOCK;
    step->op.flags = MLOCK_ONFAULT;
    return 0;
}

static bool last_lock(const struct change_request *request, struct mem_op *op)
{
    (void)request;
    op->kind = MUSE__WIRE__MEM_OPS__KIND__MLOCK;
    return true;
}

static int plan_unlock(struct change_request *request, const struct vma *vma, struct range part,
                       struct change_step *step)
{
    (void)request;
    (void)part;
    if (!(vma->flags & VMF_LOCKED))
        return 0;
    step->flags = vma->flags & ~(uint32_t)VMF_LOCKED;
    step->has_op = true;
    step->op.kind = MUSE__WIRE__MEM_OPS__KIND__MUNLOCK;
    return 0;
}

static const struct change_story lock_story = {
    .what = "mlock", .limit_error = -ENOMEM, .plan = plan_lock, .last = last_lock};
static const struct change_story unlock_story = {
    .what = "munlock", .limit_error = -ENOMEM, .plan = plan_unlock};

/* Bytes of @range that are not locked yet; holes count, as in the kernel. */
static uint64_t bytes_to_lock(const struct space *space, struct range range)
{
    uint64_t n_bytes = range_len(range);
    const struct vma *vma;

    vma_for_each_in(vma, &space->aspace.vmas, range.start, range.end) {
        if (vma->kind == VMA_MAPPED && (vma->flags & VMF_LOCKED))
            n_bytes -= range_len(range_intersect(range, vma_range(vma)));
    }
    return n_bytes;
}

int request_lock(struct space *space, struct frame *frame)
{
    Muse__Wire__Lock *message = muse__wire__lock__unpack(NULL, frame->n_payload, frame->payload);
    uint64_t room_bytes;
    struct range range;
    bool unlock;
    int r;

    if (!message)
        return -EPROTO;
    unlock = message->unlock;
    room_bytes = message->room_bytes;
    r = range_check_lock(message->addr, message->length, &range);
    muse__wire__lock__free_unpacked(message, NULL);
    if (r < 0) {
        space_fail(space, frame->header.id, r, "mlock: the range wraps around");
    } else if (!unlock && bytes_to_lock(space, range) > room_bytes) {
        space_fail(space, frame->header.id, -ENOMEM, "mlock: over the limit of locked memory");
    } else {
        change_start(space, frame->header.id, unlock ? &unlock_story : &lock_story, range, 0);
    }
    return 0;
}
