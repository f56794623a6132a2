/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mremap, top to bottom: what the kernel's do_mremap() decides, in its order.
 *
 *   request_remap()  arguments -> the space's write lock
 *   same size        nothing to do
 *   smaller          the tail is unmapped (unmap_flow.c)
 *   larger           in place when nothing is behind; else moved, when it may move
 *   a target         FIXED: the tail is unmapped, then it is moved, over whatever stands there;
 *                    lengths equal: every mapping of the range, with the gaps between them.
 *                    DONTUNMAP: the source stays. Old length 0: a second mapping
 *   one mapping      remap_unit.c
 *   reply            the new address of the first
 *
 * Unlike the kernel nothing at the target is unmapped before it is known that the move will happen,
 * but where something has to be mapped anew there: growth and duplicates.
 */
#include "server/flow/remap_flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "server/flow/flow_log.h"
#include "server/flow/requests.h"
#include "server/flow/unmap_flow.h"
#include "server/vm/vma_parts.h"

/* Source: check_mremap_params(): move_vma() wants to stay four mappings below the limit. */
#define LIMIT_DISTANCE 5u

/* ---- the end ---- */

static void request_free(struct remap_request *request)
{
    struct space *space = request->mm.space;

    session_orphan(space, request);
    mm_unlock(&request->mm);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(request);
    space_unref(space);
}

static void fail(struct remap_request *request, int error, const char *reason)
{
    struct space *space = request->mm.space;
    const struct flow_where where = {.space = space, .hook = "mremap"};
    char text[ERROR_TEXT_BYTES_MAX];

    if (space->refusal[0])
        reason = space->refusal; /* which has its line */
    else
        flow_error("remap.failed", &where, error, reason);
    (void)snprintf(text, sizeof(text), "mremap: %s", reason);
    space_fail(space, request->mm.id, error, text);
    request_free(request);
}

static void reply(struct remap_request *request)
{
    Muse__Wire__Mapped message = MUSE__WIRE__MAPPED__INIT;

    message.addr = request->result;
    space_reply(request->mm.space, request->mm.id, FRAME_MAPPED, &message.base);
    request_free(request);
}

static void on_populated(void *ctx, enum client_end end, int error)
{
    (void)error; /* as in the kernel: the pages come when they are touched, or fail then */
    if (end != CLIENT_LOST)
        reply(ctx);
}

static void finish(struct remap_request *request)
{
    const struct mem_op op = {
        .kind = MUSE__WIRE__MEM_OPS__KIND__MLOCK, .range = request->lock, .fd = -1};

    request->state = REMAP_POPULATING;
    if (range_is_empty(request->lock) ||
        session_mem_ops(request->mm.space, request->mm.id, &op, 1, 0, on_populated, request) < 0)
        reply(request);
}

/* ---- what is there ---- */

static struct vma *find_source(const struct remap_request *request, uint64_t addr)
{
    struct vma *vma = vma_tree_find(&request->mm.space->aspace.vmas, addr);

    return vma && vma->kind == VMA_MAPPED ? vma : NULL;
}

static int check_source(const struct remap_request *request, const struct remap_args *args,
                        const struct vma *vma)
{
    const struct remap_vma found = {
        .flags = vma->flags,
        .start = vma->start,
        .end = vma->end,
        .pgoff = vma->pgoff,
        .anonymous = vma_is_anon(vma),
        .page_bytes = vma_is_anon(vma) ? VMA_PAGE_BYTES : object_page_bytes(vma_object(vma)),
    };

    int r = range_check_remap_vma(args, &found);

    return r < 0 ? r : range_check_remap_data(args, vma->flags, request->data_room);
}

static bool is_fixed(const struct remap_request *request)
{
    return request->args.flags & MREMAP_FIXED;
}

/* ---- munmap on the way ---- */

static void on_cleared(void *ctx, int error)
{
    struct remap_request *request = ctx;

    if (error < 0)
        fail(request, error, "what is in the way cannot be unmapped");
    else
        request->cleared(request);
}

/* @then goes on when nothing of ours is mapped in @range any more. */
static void clear(struct remap_request *request, struct range range,
                  void (*then)(struct remap_request *request))
{
    struct vma_unmap_plan plan;
    int r;

    vma_unmap_plan(&request->mm.space->aspace.vmas, range, &plan);
    if (plan.n_vmas == 0) {
        then(request);
        return;
    }
    request->state = REMAP_CLEARING;
    request->cleared = then;
    r = unmap_locked(request->mm.space, request->mm.id, range, false, on_cleared, request);
    if (r < 0)
        fail(request, r, "what is in the way cannot be unmapped");
}

/* ---- one mapping ---- */

static enum remap_how how_of(const struct remap_request *request)
{
    const bool shared = request->vma->flags & (VMF_SHARED | VMF_MAYSHARE);

    if (request->args.old_length == 0)
        return REMAP_COPY;
    if (!(request->args.flags & MREMAP_DONTUNMAP))
        return REMAP_MOVE;
    return shared ? REMAP_COPY : REMAP_SPLIT_OFF; /* shared memory has no pages to be moved */
}

static const char *why_no_place(int error)
{
    return error == -EAGAIN ? "an earlier mapping at the target has not been confirmed gone"
                            : "no such address range is free";
}

/* Where it goes. Return: 0 or -errno. */
static int choose_target(struct remap_request *request, uint64_t hint, uint64_t length)
{
    struct vma *vma = request->vma;
    uint64_t align = vma_is_anon(vma) ? VMA_PAGE_BYTES : object_page_bytes(vma_object(vma));
    int r;

    if (!vma_is_anon(vma) && !is_fixed(request)) /* as where it was mapped first */
        align = vma_file(vma)->map_align;
    r = aspace_choose(&request->mm.space->aspace, hint, length, align,
                      is_fixed(request) ? MAP_FIXED : 0, &request->to);

    return r == ASPACE_E_BUSY ? -EAGAIN : r;
}

/* The target is free of what may not be there; the source may have been cut meanwhile. */
static void start_moving(struct remap_request *request)
{
    request->vma = find_source(request, request->from.start);
    if (!request->vma)
        fail(request, -EFAULT, "nothing is mapped at the old address any more");
    else
        remap_unit_start(request);
}

/* request->vma and from are set. */
static void move_to(struct remap_request *request, uint64_t hint, uint64_t new_length)
{
    struct vma_tree *tree = &request->mm.space->aspace.vmas;
    int r;

    request->how = how_of(request);
    if (request->how != REMAP_COPY && !vma_parts_is_one(request->vma, request->from)) {
        fail(request, -EFAULT, "it shows its driver's fd in part, and cannot be moved at once");
        return;
    }
    r = choose_target(request, hint, new_length);
    if (r < 0) {
        fail(request, r, why_no_place(r));
        return;
    }
    if (!request->all)
        request->result = request->to.start;
    if (vma_tree_overlaps(tree, request->to) &&
        (request->how == REMAP_COPY || new_length > range_len(request->from)))
        clear(request, request->to, start_moving);
    else
        start_moving(request);
}

/* ---- every mapping of a range ---- */

/* Source: remap_move(). */
static void move_next(struct remap_request *request)
{
    const struct remap_args *args = &request->args;
    const uint64_t end = args->addr + args->old_length;
    struct vma *vma = vma_tree_find_next(&request->mm.space->aspace.vmas, request->at);
    struct remap_args part = *args;
    int r;

    while (vma && vma->kind != VMA_MAPPED)
        vma = vma_next(vma);
    if (!vma || vma->start >= end || request->at >= end) {
        if (request->at == args->addr)
            fail(request, -EFAULT, "nothing is mapped at the old address");
        else
            finish(request);
        return;
    }
    part.addr = vma->start > request->at ? vma->start : request->at;
    part.old_length = part.new_length = (vma->end < end ? vma->end : end) - part.addr;
    part.new_addr = args->new_addr + (part.addr - args->addr);
    r = request->at == args->addr && part.addr != args->addr ? -EFAULT
                                                             : check_source(request, &part, vma);
    if (r < 0) {
        fail(request, r, "this mapping cannot be moved so");
        return;
    }
    request->vma = vma;
    request->from = range_make(part.addr, part.addr + part.old_length);
    request->at = request->from.end;
    move_to(request, part.new_addr, part.new_length);
}

/* ---- one mapping ---- */

static void move_shrunk(struct remap_request *request)
{
    request->vma = find_source(request, request->args.addr);
    request->from = range_make(request->args.addr, request->args.addr + request->args.new_length);
    if (request->vma)
        move_to(request, request->args.new_addr, request->args.new_length);
    else
        fail(request, -EFAULT, "nothing is mapped at the old address any more");
}

static void reply_shrunk(struct remap_request *request)
{
    request->result = request->args.addr;
    reply(request);
}

/* Whether nothing is in the way, as far as we know: what lies outside of the arena the client's
 * kernel knows. */
static bool can_grow(const struct remap_request *request)
{
    const struct aspace *aspace = &request->mm.space->aspace;
    const struct remap_args *args = &request->args;
    const struct vma *vma = request->vma;
    struct range behind;

    if (args->addr + args->old_length != vma->end)
        return false;
    behind = range_make(vma->end, args->addr + args->new_length);
    if (behind.end < behind.start || behind.end > ASPACE_TASK_END ||
        vma_tree_overlaps(&aspace->vmas, behind))
        return false;
    if (!vma->outside_arena)
        return range_contains_range(aspace->arena, behind);
    /* the kernel would touch the pages of a locked mapping while we are not ready for that */
    return aspace_is_outside(aspace, behind) && (vma_is_anon(vma) || !(vma->flags & VMF_LOCKED));
}

static void grow_elsewhere(struct remap_request *request)
{
    const struct remap_args *args = &request->args;

    request->from = range_make(args->addr, args->addr + args->old_length);
    if (args->flags & MREMAP_MAYMOVE)
        move_to(request, 0, args->new_length);
    else
        fail(request, -ENOMEM, "something is in the way, and the mapping may not move");
}

static void grow(struct remap_request *request)
{
    const struct remap_args *args = &request->args;

    if (!can_grow(request)) {
        grow_elsewhere(request);
        return;
    }
    request->how = REMAP_GROW;
    request->from = range_make(args->addr, request->vma->end);
    request->to = range_make(request->vma->end, args->addr + args->new_length);
    request->result = args->addr;
    remap_unit_start(request);
}

/* Source: mremap_to(), mremap_at(). */
static void change_one(struct remap_request *request)
{
    const struct remap_args *args = &request->args;
    const bool shrinks = args->new_length < args->old_length;
    const struct range tail = {args->addr + args->new_length, args->addr + args->old_length};
    int r = -EFAULT;

    request->vma = find_source(request, args->addr);
    if (request->vma)
        r = check_source(request, args, request->vma);
    if (r < 0) {
        fail(request, r,
             request->vma ? "this mapping cannot be changed so"
                          : "nothing is mapped at the old address");
        return;
    }
    request->from = range_make(args->addr, args->addr + args->old_length);
    if (shrinks)
        clear(request, tail, remap_names_target(args) ? move_shrunk : reply_shrunk);
    else if (remap_names_target(args))
        move_to(request, args->new_addr, args->new_length);
    else if (args->new_length == args->old_length)
        reply_shrunk(request);
    else if (args->old_length == 0)
        grow_elsewhere(request);
    else
        grow(request);
}

void remap_unit_done(struct remap_request *request, int error, const char *text)
{
    if (error == -ENOMEM && request->how == REMAP_GROW && request->vma->outside_arena)
        grow_elsewhere(request); /* the client's kernel says that something is behind it */
    else if (error < 0)
        fail(request, error, text);
    else if (request->all)
        move_next(request);
    else
        finish(request);
}

/* ---- the request ---- */

static void on_granted(struct mm_request *mm)
{
    struct remap_request *request = CONTAINER_OF(mm, struct remap_request, mm);
    const struct aspace *aspace = &mm->space->aspace;

    mm->space->refusal[0] = '\0';
    if (remap_names_target(&request->args) &&
        vma_tree_count(&aspace->vmas) + LIMIT_DISTANCE >= aspace->max_vmas) {
        fail(request, -ENOMEM, "over the limit of mappings");
        return;
    }
    if (request->all) {
        request->at = request->args.addr;
        request->result = request->args.new_addr;
        move_next(request);
    } else {
        change_one(request);
    }
}

static void on_client_gone(struct mm_request *mm)
{
    struct remap_request *request = CONTAINER_OF(mm, struct remap_request, mm);

    remap_unit_drop(request);
    request_free(request);
}

static void start(struct space *space, uint64_t id, const struct remap_args *args,
                  uint64_t data_room)
{
    struct remap_request *request = NULL;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) == 0) {
        request = calloc(1, sizeof(*request));
        if (!request)
            charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    }
    if (!request) {
        space_fail(space, id, -EAGAIN, "too many requests in flight, or out of memory");
        return;
    }
    request->mm = (struct mm_request){.space = space_ref(space),
                                      .id = id,
                                      .what = "mremap",
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->mm.queued);
    request->args = *args;
    request->data_room = data_room;
    request->all = (args->flags & MREMAP_FIXED) && args->old_length == args->new_length;
    mm_lock(&request->mm);
}

int request_remap(struct space *space, struct frame *frame)
{
    Muse__Wire__Remap *message = muse__wire__remap__unpack(NULL, frame->n_payload, frame->payload);
    struct remap_args args;
    uint64_t data_room;
    int r;

    if (!message)
        return -EPROTO;
    args = (struct remap_args){.addr = message->addr,
                               .old_length = message->old_length,
                               .new_length = message->new_length,
                               .flags = message->flags,
                               .new_addr = message->new_addr};
    data_room = message->has_data_room ? message->data_room : UINT64_MAX;
    muse__wire__remap__free_unpacked(message, NULL);
    r = range_check_remap(&args);
    if (r < 0)
        space_fail(space, frame->header.id, r, "mremap: the arguments make no sense");
    else
        start(space, frame->header.id, &args, data_room);
    return 0;
}
