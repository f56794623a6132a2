/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Anonymous memory. No driver, no object, no userfaultfd: the client's kernel serves it alone. It is
 * in the tree so that placement, munmap, mprotect, mremap and MAP_FIXED know of it.
 *
 *   anon_map()    arguments -> the space's write lock -> address
 *   may_split     for the edges of what MAP_FIXED replaces
 *   the client    one mmap(MAP_FIXED), which replaces what stands there, if anything, in one step
 *   commit        what was there leaves the tree and is closed; the VMA enters it, or a neighbour
 *                 grows
 */
#include "server/flow/anon_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "server/flow/fault_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/mm_lock.h"
#include "server/flow/split_flow.h"
#include "server/flow/unmap_flow.h"
#include "server/map/map_check.h"

/* What of the caller's flags is the kernel's business. */
#define KERNEL_FLAGS ((uint32_t)(MAP_POPULATE | MAP_NONBLOCK | MAP_LOCKED | MAP_STACK))

struct anon_request {
    struct mm_request mm;
    struct map_args args;
    struct map_plan plan;
    struct range target;
    bool replaces;         /* MAP_FIXED over mappings of the tree */
    struct vma *vma;       /* owned, charged; in the tree as PENDING unless it replaces */
    struct vma *spares[2]; /* owned, charged */
    struct split_check split;
};

struct mem_op anon_op(const struct vma *vma, struct range range, uint32_t extra)
{
    return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_ANON,
                           .range = range,
                           .prot = vma_prot(vma),
                           .flags = ((vma->flags & VMF_SHARED) ? MAP_SHARED : MAP_PRIVATE) |
                                    ((vma->flags & VMF_NORESERVE) ? MAP_NORESERVE : 0u) | extra,
                           .fd = -1};
}

void anon_fill_in(struct space *space, struct vma *vma, struct range range, uint32_t flags)
{
    const bool shared = flags & VMF_SHARED;

    vma->flags = flags;
    vma->prot_narrow = PROT_READ | PROT_WRITE | PROT_EXEC;
    vma->pgoff = shared ? 0 : range.start >> VMA_PAGE_SHIFT;
    vma->private_data = shared ? vma->id : 0; /* whose memory it is */
    vma->owner = space;
    vma->direct = true;
    vma->outside_arena = aspace_is_outside(&space->aspace, range);
}

/* ---- the ends ---- */

static void request_free(struct anon_request *request)
{
    struct space *space = request->mm.space;

    session_orphan(space, request);
    split_check_cancel(&request->split);
    for (unsigned i = 0; i < 2; i++)
        vma_unreserve(space, &request->spares[i]);
    if (request->vma && request->vma->in_tree && !space->dead)
        aspace_release(&space->aspace, request->vma);
    if (request->vma && request->vma->in_tree)
        request->vma = NULL; /* a placeholder goes with the dead client's space */
    vma_unreserve(space, &request->vma);
    mm_unlock(&request->mm);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(request);
    space_unref(space);
}

static void fail(struct anon_request *request, int error, const char *text)
{
    struct space *space = request->mm.space;
    const struct flow_where where = {.space = space, .hook = "mmap"};

    space->engine->stats.map_failures++;
    flow_error("map.failed", &where, error, text);
    space_fail(space, request->mm.id, error, text);
    request_free(request);
}

/* ---- the client, and the commit ---- */

static void commit(struct anon_request *request)
{
    struct space *space = request->mm.space;
    struct vma_tree *tree = &space->aspace.vmas;
    struct vma *vma = request->vma;
    struct vma *prev, *next, *merged = NULL;
    struct list removed = LIST_INIT(removed);
    enum vma_merge_kind kind;

    if (request->replaces) {
        unmap_commit(space, request->target, request->spares, &removed);
        vmas_gone(space, &removed);
    } else {
        vma_tree_remove(tree, vma);
    }
    request->vma = NULL;
    vma->kind = VMA_MAPPED;
    vma->start = request->target.start;
    vma->end = request->target.end;
    kind = vma_merge_new_decide(tree, vma, &prev, &next);
    if (kind == VMA_MERGE_NONE) {
        MUST(vma_tree_insert(tree, vma) == 0);
        return;
    }
    (void)vma_merge_new_commit(tree, kind, prev, next, request->target, &merged);
    space->engine->stats.merges++;
    vma_forget(space, vma);
    if (merged)
        vma_forget(space, merged);
}

static void on_mapped(void *ctx, enum client_end end, int error)
{
    struct anon_request *request = ctx;
    struct space *space = request->mm.space;
    struct range held = request->target;
    Muse__Wire__Mapped message = MUSE__WIRE__MAPPED__INIT;

    if (end == CLIENT_LOST)
        return;
    if (request->replaces)
        held = fault_flow_hold_range(space, request->target, false);
    if (error == 0)
        commit(request);
    fault_flow_range_ready(space, held);
    if (error < 0) {
        fail(request, error, "the client could not map anonymous memory");
        return;
    }
    space->stats.maps++;
    space->engine->stats.maps++;
    message.addr = request->target.start;
    space_reply(space, request->mm.id, FRAME_MAPPED, &message.base);
    request_free(request);
}

static void tell(struct anon_request *request)
{
    struct space *space = request->mm.space;
    const struct mem_op op =
        anon_op(request->vma, request->target, request->args.flags & KERNEL_FLAGS);

    if (request->replaces)
        (void)fault_flow_hold_range(space, request->target, true);
    if (session_mem_ops(space, request->mm.id, &op, 1, 0, on_mapped, request) == 0)
        return;
    if (request->replaces)
        fault_flow_range_ready(space, fault_flow_hold_range(space, request->target, false));
    fail(request, -EIO, "the client could not be told to map");
}

static void on_split_checked(struct split_check *check, int error)
{
    struct anon_request *request = CONTAINER_OF(check, struct anon_request, split);

    if (error < 0)
        fail(request, error, request->mm.space->refusal);
    else
        tell(request);
}

/* ---- the lock is ours ---- */

static int choose(struct anon_request *request)
{
    struct aspace *aspace = &request->mm.space->aspace;
    int flags = 0;
    int r;

    if (request->plan.fixed)
        flags = request->plan.noreplace ? MAP_FIXED_NOREPLACE : MAP_FIXED;
    r = aspace_choose(aspace, request->args.addr, request->plan.length, VMA_PAGE_BYTES, flags,
                      &request->target);
    if (r == ASPACE_E_BUSY)
        return -EAGAIN;
    request->replaces = r == 0 && vma_tree_overlaps(&aspace->vmas, request->target);
    if (r == 0)
        r = aspace_check_map(aspace);
    if (r < 0 || aspace_is_outside(aspace, request->target))
        return r; /* there the client's kernel keeps the limit of data */
    return map_check_data(&request->args, &request->plan,
                          aspace_mapped_bytes(aspace, request->target));
}

static int reserve(struct anon_request *request)
{
    struct space *space = request->mm.space;
    int r = choose(request);

    if (r == 0)
        r = vma_reserve(space, &request->vma);
    for (unsigned i = 0; r == 0 && request->replaces && i < 2; i++)
        r = vma_reserve(space, &request->spares[i]);
    if (r < 0)
        return r;
    anon_fill_in(space, request->vma, request->target, request->plan.vm_flags);
    if (request->replaces)
        return 0;
    return aspace_hold(&space->aspace, request->target, request->vma) == 0 ? 0 : -ENOMEM;
}

static void on_granted(struct mm_request *mm)
{
    struct anon_request *request = CONTAINER_OF(mm, struct anon_request, mm);
    int r = reserve(request);

    mm->space->refusal[0] = '\0';
    if (r < 0) {
        fail(request, r,
             r == -EAGAIN ? "an earlier mapping there has not been confirmed gone"
                          : "no such address range is free, or over a limit");
        return;
    }
    request->split.done = on_split_checked;
    if (request->replaces)
        (void)split_check_edges(&request->split, &mm->space->aspace.vmas, request->target);
    if (split_check_start(&request->split) > 0)
        tell(request);
}

static void on_client_gone(struct mm_request *mm)
{
    request_free(CONTAINER_OF(mm, struct anon_request, mm));
}

static void start(struct space *space, uint64_t id, const struct map_args *args,
                  const struct map_plan *plan)
{
    struct anon_request *request = NULL;

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
                                      .what = "mmap anonymous",
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->mm.queued);
    request->args = *args;
    request->plan = *plan;
    mm_lock(&request->mm);
}

void anon_map(struct space *space, uint64_t id, const Muse__Wire__Map *message)
{
    struct map_args args = {.addr = message->addr,
                            .length = message->length,
                            .prot = message->prot,
                            .flags = message->flags,
                            .offset = message->offset,
                            .anonymous = true,
                            .data_room = message->has_data_room ? message->data_room : UINT64_MAX,
                            .page_bytes = VMA_PAGE_BYTES};
    struct map_plan plan;
    struct range range;
    const char *why;
    int r;

    args.is_taken = range_from_len(args.addr, args.length, &range) == 0 &&
                    range_align_out(range, VMA_PAGE_BYTES, &range) == 0 &&
                    vma_tree_overlaps(&space->aspace.vmas, range);
    r = map_check_args(&args, &plan, &why);
    if (r < 0) {
        const struct flow_where where = {.space = space, .hook = "mmap"};

        flow_error("map.refused", &where, r, why);
        space_fail(space, id, r, why);
        return;
    }
    start(space, id, &args, &plan);
}
