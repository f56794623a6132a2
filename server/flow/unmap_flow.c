/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * munmap, step by step:
 *
 *   request_unmap()  arguments -> the space's write lock
 *   may_split        for the edges, before anything is cut; a refusal fails the call with its
 *                    errno, nothing changed
 *   the client       gives the range back to the arena (or really unmaps it outside)
 *   commit           VMAs leave the tree, threads that wait there are woken, drivers get close,
 *                    in address order
 *
 * A client that can returns once it has done so: whatever it asks next comes after its confirmation,
 * and what it has unmapped causes no faults.
 *
 * The VMAs stay until the client confirmed, so a failure changes nothing, and nobody is placed
 * there before.
 */
#include "server/flow/unmap_flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "server/flow/fault_flow.h"
#include "server/flow/flow_log.h"
#include "server/flow/mm_lock.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/flow/split_flow.h"
#include "server/map/map_check.h"

struct unmap_op {
    struct space *space; /* ref */
    uint64_t id;
    struct range range;
    uint64_t told;         /* what lies below the client has been told */
    bool ends_call;        /* the last instruction is the answer */
    struct vma *spares[2]; /* owned, charged */
    struct split_check split;
    struct list link; /* in space.unmap_ops */
    void (*done)(void *ctx, int error);
    void *ctx;
};

static void op_free(struct unmap_op *op)
{
    for (unsigned i = 0; i < 2; i++)
        vma_unreserve(op->space, &op->spares[i]);
    split_check_cancel(&op->split);
    list_del(&op->link);
    space_unref(op->space);
    free(op);
}

static void op_done(struct unmap_op *op, int error)
{
    void (*done)(void *ctx, int error) = op->done;
    void *ctx = op->ctx;

    op_free(op);
    done(ctx, error);
}

void unmap_commit(struct space *space, struct range range, struct vma *spares[2],
                  struct list *removed)
{
    struct vma_tree *tree = &space->aspace.vmas;
    struct vma_unmap_plan plan;
    uint64_t parents[2] = {0, 0};

    vma_unmap_plan(tree, range, &plan);
    MUST(plan.n_splits <= 2);
    parents[0] = plan.cut_start ? plan.cut_start->id : (plan.cut_end ? plan.cut_end->id : 0);
    if (plan.n_splits == 2) /* both in one VMA: the first new half is cut again */
        parents[1] = plan.cut_end == plan.cut_start ? spares[0]->id : plan.cut_end->id;
    vma_unmap_commit(tree, range, spares[0], spares[1], removed);
    for (unsigned i = 0; i < plan.n_splits; i++) {
        vmas_split_opened(spares[i], parents[i]);
        spares[i] = NULL; /* the tree's, or among the removed */
    }
}

static int tell_client(struct unmap_op *op);

static void on_unmapped(void *ctx, enum client_end end, int error)
{
    struct unmap_op *op = ctx;
    struct list removed = LIST_INIT(removed);

    if (end == CLIENT_LOST) {
        op_free(op);
        return;
    }
    if (error == 0 && op->told < op->range.end) {
        error = tell_client(op);
        if (error == 0)
            return;
    }
    if (error == 0) {
        unmap_commit(op->space, op->range, op->spares, &removed);
        vmas_gone(op->space, &removed);
    }
    op_done(op, error);
}

/* One op for what lies in the arena, one for each mapping outside of it; from op->told on, as many
 * as one frame holds. */
static unsigned build_ops(struct unmap_op *op, struct mem_op *ops)
{
    struct aspace *aspace = &op->space->aspace;
    const struct range rest = {op->told, op->range.end};
    const struct range inside = range_intersect(rest, aspace->arena);
    unsigned n = 0;
    struct vma *vma;

    op->told = rest.end;
    if (!range_is_empty(inside))
        ops[n++] = (struct mem_op){
            .kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_RESERVE, .range = inside, .fd = -1};
    vma_for_each_in(vma, &aspace->vmas, rest.start, rest.end) {
        if (!vma->outside_arena || vma->kind != VMA_MAPPED)
            continue;
        if (n == MEM_OPS_MAX) {
            op->told = vma->start;
            break;
        }
        ops[n++] = (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MUNMAP,
                                   .range = range_intersect(rest, vma_range(vma)),
                                   .fd = -1};
    }
    return n;
}

static int tell_client(struct unmap_op *op)
{
    struct mem_op ops[MEM_OPS_MAX];
    const unsigned n_ops = build_ops(op, ops);

    if (op->ends_call && op->told == op->range.end)
        return session_last_ops(op->space, op->id, ops, n_ops, on_unmapped, op);
    return session_mem_ops(op->space, op->id, ops, n_ops, 0, on_unmapped, op);
}

static void on_split_checked(struct split_check *check, int error)
{
    struct unmap_op *op = CONTAINER_OF(check, struct unmap_op, split);

    if (error == 0)
        error = tell_client(op);
    if (error < 0)
        op_done(op, error);
}

static int reserve_spares(struct unmap_op *op, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int r = vma_reserve(op->space, &op->spares[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

int unmap_locked(struct space *space, uint64_t id, struct range range, bool ends_call,
                 void (*done)(void *ctx, int error), void *ctx)
{
    struct unmap_op *op = calloc(1, sizeof(*op));
    struct vma_unmap_plan plan;
    int r;

    if (!op)
        return -ENOMEM;
    space->refusal[0] = '\0';
    op->space = space_ref(space);
    op->id = id;
    op->range = range;
    op->told = range.start;
    op->ends_call = ends_call;
    op->done = done;
    op->ctx = ctx;
    op->split.done = on_split_checked;
    list_add_tail(&space->unmap_ops, &op->link);
    vma_unmap_plan(&space->aspace.vmas, range, &plan);
    r = aspace_check_unmap(&space->aspace, &plan);
    if (r == 0)
        r = reserve_spares(op, plan.n_splits);
    if (r == 0) {
        (void)split_check_edges(&op->split, &space->aspace.vmas, range);
        r = split_check_start(&op->split);
    }
    if (r > 0)
        r = tell_client(op);
    if (r < 0)
        op_free(op);
    return r;
}

void unmap_client_gone(struct space *space)
{
    struct list *node;

    while ((node = list_first(&space->unmap_ops)))
        op_free(CONTAINER_OF(node, struct unmap_op, link));
}

/* ---- undoing what the client was told to map ---- */

struct undo {
    struct space *space; /* ref */
    struct vma *vma;     /* in the tree, QUARANTINE */
};

static void on_undone(void *ctx, enum client_end end, int error)
{
    struct undo *undo = ctx;
    struct space *space = undo->space;

    if (end == CLIENT_ANSWERED && error == 0) {
        aspace_release(&space->aspace, undo->vma);
        fault_flow_range_gone(space, vma_range(undo->vma));
        (void)vma_free(undo->vma);
        vma_uncharge(space);
    } else if (end == CLIENT_ANSWERED) { /* stays in quarantine until the client dies */
        const struct flow_where where = {.space = space};

        flow_error("map.undo", &where, error,
                   "the client could not undo its mmap; the range stays in quarantine");
    }
    space_unref(space);
    free(undo);
}

struct mem_op unmap_op_of(const struct space *space, struct range range)
{
    const bool outside = aspace_is_outside(&space->aspace, range);

    return (struct mem_op){.kind = outside ? MUSE__WIRE__MEM_OPS__KIND__MUNMAP
                                           : MUSE__WIRE__MEM_OPS__KIND__MMAP_RESERVE,
                           .range = range,
                           .fd = -1};
}

void unmap_undo(struct space *space, uint64_t id, struct vma *vma)
{
    const struct mem_op op = unmap_op_of(space, vma_range(vma));

    unmap_confirm(space, id, &op, vma);
}

void unmap_confirm(struct space *space, uint64_t id, const struct mem_op *op, struct vma *vma)
{
    struct undo *undo = calloc(1, sizeof(*undo));

    /* still registered: a touch before the client has undone it is reported, and becomes poison */
    aspace_quarantine(&space->aspace, vma);
    if (!undo)
        return; /* no memory to wait for it: in quarantine until the client dies */
    *undo = (struct undo){.space = space_ref(space), .vma = vma};
    if (session_mem_ops(space, id, op, 1, 0, on_undone, undo) < 0) {
        space_unref(space);
        free(undo);
    }
}

/* ---- the request ---- */

struct unmap_request {
    struct mm_request mm;
    struct range range;
    bool ends_call; /* the client needs no answer when it has unmapped */
};

static void request_free(struct unmap_request *request)
{
    struct space *space = request->mm.space;

    mm_unlock(&request->mm);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(request);
    space_unref(space);
}

/* A refused split, or what else it can be. */
static const char *why_failed(const struct space *space, int error)
{
    if (space->refusal[0])
        return space->refusal;
    switch (error) {
    case -ENOMEM:
        return "it would make one mapping more than the limit, or memory is short";
    case -EIO:
    case -ENOTCONN:
        return "the client could not be told";
    default:
        return "the client could not unmap";
    }
}

static void on_done(void *ctx, int error)
{
    struct unmap_request *request = ctx;
    struct space *space = request->mm.space;

    if (error < 0) {
        const struct flow_where where = {.space = space, .hook = "munmap"};
        char text[ERROR_TEXT_BYTES_MAX];

        (void)snprintf(text, sizeof(text), "munmap: %s", why_failed(space, error));
        if (!space->refusal[0]) /* a refusal has its line */
            flow_error("unmap.failed", &where, error, text);
        space_fail(space, request->mm.id, error, text);
    } else {
        space->stats.unmaps++;
        space->engine->stats.unmaps++;
        if (!request->ends_call)
            space_reply(space, request->mm.id, FRAME_DONE, NULL);
    }
    request_free(request);
}

static void on_granted(struct mm_request *mm)
{
    struct unmap_request *request = CONTAINER_OF(mm, struct unmap_request, mm);
    struct vma_unmap_plan plan;
    int r;

    vma_unmap_plan(&mm->space->aspace.vmas, request->range, &plan);
    if (plan.n_vmas == 0) { /* nothing mapped there: success, as in the kernel */
        request->ends_call = false;
        on_done(request, 0);
        return;
    }
    r = unmap_locked(mm->space, mm->id, request->range, request->ends_call, on_done, request);
    if (r < 0)
        on_done(request, r);
}

static void on_client_gone(struct mm_request *mm)
{
    request_free(CONTAINER_OF(mm, struct unmap_request, mm));
}

static void start(struct space *space, uint64_t id, struct range range, bool ends_call)
{
    struct unmap_request *request = NULL;

    if (charge_take(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1) == 0) {
        request = calloc(1, sizeof(*request));
        if (!request)
            charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    }
    if (!request) {
        space_fail(space, id, -ENOMEM, "too many requests in flight, or out of memory");
        return;
    }
    request->mm = (struct mm_request){.space = space_ref(space),
                                      .id = id,
                                      .what = "unmap",
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->mm.queued);
    request->range = range;
    request->ends_call = ends_call;
    mm_lock(&request->mm);
}

int request_unmap(struct space *space, struct frame *frame)
{
    Muse__Wire__Unmap *message = muse__wire__unmap__unpack(NULL, frame->n_payload, frame->payload);
    struct range range;
    bool ends_call;
    int r;

    if (!message)
        return -EPROTO;
    r = map_check_unmap(message->addr, message->length, &range);
    ends_call = message->has_may_end_with_ops && message->may_end_with_ops;
    muse__wire__unmap__free_unpacked(message, NULL);
    if (r < 0) {
        space_fail(space, frame->header.id, r,
                   "munmap: the range is not page aligned, empty, or beyond the address space");
    } else {
        start(space, frame->header.id, range, ends_call);
    }
    return 0;
}
