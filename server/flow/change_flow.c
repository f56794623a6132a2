/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A range of a space is changed, VMA by VMA, as mprotect(2) and its relatives do it:
 *
 *   change_start()  the space's write lock (FIFO)
 *   walk()          the next VMA of the range; a hole ends the call, or is stepped over
 *     plan()        the story: an errno, new flags, an op for the client
 *     mprotect      the driver is asked, when the story says so
 *     may_split     for the edges, when the part has to be cut out
 *     the client    does its share: mprotect(2), madvise(2), mlock(2) of the part
 *     commit        the part is cut out, or becomes part of a neighbour, with its new flags
 *     copies        the client brings in the part's pages to write to, when the story says so
 *   last()          one more op for the whole range, and the answer
 *
 * An error ends the call; what lies below is changed and stays so, as in the kernel. Nothing of a
 * VMA is changed before the client has done its share, and nothing can fail afterwards: spares are
 * reserved before. Pages and faults are not touched: a fault in the part is served by whatever the
 * tree says when it comes.
 */
#include "server/flow/change_flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "server/flow/evict_flow.h"
#include "server/flow/flow_log.h"

static void walk(struct change_request *request);

/* ---- the end ---- */

static void request_free(struct change_request *request)
{
    struct space *space = request->mm.space;

    session_orphan(space, request);
    vma_ask_cancel(&request->ask);
    split_check_cancel(&request->split);
    if (request->punch)
        punch_orphan(request->punch);
    for (unsigned i = 0; i < 2; i++)
        vma_unreserve(space, &request->spares[i]);
    mm_unlock(&request->mm);
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(request);
    space_unref(space);
}

static const char *reason_of(const struct change_request *request, int error)
{
    if (request->mm.space->refusal[0])
        return request->mm.space->refusal;
    if (error == -ENOMEM && request->at < request->range.end)
        return "a part of the range is not mapped, or the limit of mappings is reached";
    if (request->state == CHANGE_TELLING || request->state == CHANGE_LAST)
        return "the client's kernel refused";
    if (request->state == CHANGE_PUNCHING)
        return error == -EOPNOTSUPP ? "objects of this driver cannot have holes punched"
                                    : "the driver refused to punch a hole";
    return error == -ENOMEM ? "a part of the range is not mapped"
                            : "not possible for a mapping there";
}

static void finish(struct change_request *request, int error)
{
    struct space *space = request->mm.space;

    if (error == 0 && request->hole)
        error = -ENOMEM;
    if (error < 0) {
        const struct flow_where where = {.space = space, .hook = request->story->what};
        const char *reason = reason_of(request, error);
        char text[ERROR_TEXT_BYTES_MAX];

        if (reason != space->refusal) /* a refusal has its line */
            flow_error("change.failed", &where, error, reason);
        (void)snprintf(text, sizeof(text), "%s: %s", request->story->what, reason);
        space_fail(space, request->mm.id, error, text);
    } else {
        space_reply(space, request->mm.id, FRAME_DONE, NULL);
    }
    request_free(request);
}

/* ---- one part ---- */

static bool changes_flags(const struct change_request *request)
{
    return request->step.flags != request->vma->flags;
}

static enum vma_merge_kind merge_kind(const struct change_request *request)
{
    const struct vma_change change = {.range = request->part,
                                      .flags = request->step.flags,
                                      .prot_narrow = request->vma->prot_narrow};

    return vma_merge_existing_decide(&request->mm.space->aspace.vmas, request->vma, &change);
}

/* vm_open for what cutting made, each a copy of what lies below it. */
static void tell_cuts(struct change_request *request, uint64_t vma_id)
{
    uint64_t below = vma_id;

    for (unsigned i = 0; i < 2; i++) {
        struct vma *spare = request->spares[i];

        if (!spare || !spare->in_tree)
            continue;
        vmas_split_opened(spare, below);
        below = spare->id;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (request->spares[i] && request->spares[i]->in_tree)
            request->spares[i] = NULL; /* the tree's */
    }
}

static void cut_or_merge(struct change_request *request)
{
    struct space *space = request->mm.space;
    struct vma_tree *tree = &space->aspace.vmas;
    struct vma *vma = request->vma;
    const uint64_t id = vma->id;
    const enum vma_merge_kind kind = merge_kind(request);
    struct list removed = LIST_INIT(removed);

    if (kind != VMA_MERGE_NONE) {
        (void)vma_merge_existing_commit(tree, kind, vma, request->part, &removed);
        space->engine->stats.merges++;
        vmas_merged(space, &removed);
        return;
    }
    vma = vma_isolate(tree, vma, request->part, request->spares[0], request->spares[1]);
    tell_cuts(request, id);
    vma->flags = request->step.flags;
}

static void commit(struct change_request *request)
{
    const bool unlocks = request->vma->flags & ~request->step.flags & VMF_LOCKED;

    request->at = request->part.end;
    if (changes_flags(request))
        cut_or_merge(request);
    if (unlocks)
        evict_flow_changed(request->mm.space->engine);
}

/* As many as there are, as populate_vma_page_range() does in mprotect_fixup(). */
static void on_copied(void *ctx, enum client_end end, int error)
{
    (void)error;
    if (end != CLIENT_LOST)
        walk(ctx);
}

static void make_copies(struct change_request *request)
{
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__MADVISE,
                              .range = request->part,
                              .advice = MADV_POPULATE_WRITE,
                              .fd = -1};

    request->state = CHANGE_COPYING;
    if (session_mem_ops(request->mm.space, request->mm.id, &op, 1, 0, on_copied, request) < 0)
        walk(request); /* what is changed is changed: copies are not worth an error */
}

static void on_told(void *ctx, enum client_end end, int error)
{
    struct change_request *request = ctx;

    if (end == CLIENT_LOST)
        return; /* loss_client_gone() tells the request */
    if (error < 0) {
        finish(request, error);
        return;
    }
    commit(request);
    if (request->step.makes_copies)
        make_copies(request);
    else
        walk(request);
}

static void on_punched(void *ctx, int error)
{
    struct change_request *request = ctx;

    request->punch = NULL;
    if (error < 0) {
        finish(request, error);
        return;
    }
    commit(request);
    walk(request);
}

/* Return: as tell(). */
static int punch(struct change_request *request)
{
    const uint64_t start = vma_pgoff_at(request->vma, request->part.start) << VMA_PAGE_SHIFT;
    int r;

    request->state = CHANGE_PUNCHING;
    r = punch_start(vma_file(request->vma), (struct range){start, start + range_len(request->part)},
                    request->mm.space, on_punched, request, &request->punch);
    if (r > 0)
        commit(request);
    return r;
}

/* The client's share. Return: 1 the part is done; 0 waits; -errno. */
static int tell(struct change_request *request)
{
    if (request->step.punches)
        return punch(request);
    if (!request->step.has_op) {
        commit(request);
        return 1;
    }
    request->state = CHANGE_TELLING;
    return session_mem_ops(request->mm.space, request->mm.id, &request->step.op, 1, 0, on_told,
                           request);
}

static void go_on(struct change_request *request, int r)
{
    if (r < 0)
        finish(request, r);
    else if (r > 0)
        walk(request);
}

static void on_split_checked(struct split_check *check, int error)
{
    struct change_request *request = CONTAINER_OF(check, struct change_request, split);

    go_on(request, error < 0 ? error : tell(request));
}

/* Whether the part has to be cut out is known only at the commit, as neighbours may graduate
 * meanwhile: spares are there in any case. Return: 0 or -errno. */
static int reserve_cuts(struct change_request *request)
{
    const struct aspace *aspace = &request->mm.space->aspace;
    const struct vma *vma = request->vma;
    const unsigned n_cuts =
        (vma->start < request->part.start ? 1U : 0U) + (request->part.end < vma->end ? 1U : 0U);

    request->split.n_edges = request->split.next = 0;
    if (!changes_flags(request) || n_cuts == 0)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        int r = request->spares[i] ? 0 : vma_reserve(request->mm.space, &request->spares[i]);

        if (r < 0)
            return request->story->limit_error;
    }
    if (merge_kind(request) != VMA_MERGE_NONE)
        return 0;
    if (vma_tree_count(&aspace->vmas) + n_cuts > aspace->max_vmas)
        return request->story->limit_error;
    (void)split_check_edges(&request->split, &request->mm.space->aspace.vmas, request->part);
    return 0;
}

/* may_split, then the client. Return: as tell(). */
static int cut(struct change_request *request)
{
    int r = reserve_cuts(request);

    if (r < 0)
        return r;
    request->state = CHANGE_SPLITTING;
    request->split.done = on_split_checked;
    r = split_check_start(&request->split);
    return r > 0 ? tell(request) : r;
}

static void on_protect_answer(struct vma_ask *ask, int error)
{
    struct change_request *request = CONTAINER_OF(ask, struct change_request, ask);

    go_on(request, error < 0 ? error : cut(request));
}

/* Return: 1 the part is done; 0 waits; -errno. */
static int begin_part(struct change_request *request)
{
    struct change_step *step = &request->step;
    int r;

    *step = (struct change_step){.flags = request->vma->flags,
                                 .op = {.range = request->part, .fd = -1}};
    request->state = CHANGE_QUEUED;
    r = request->story->plan(request, request->vma, request->part, step);
    if (r < 0)
        return r;
    if (!step->asks_mprotect)
        return cut(request);
    request->state = CHANGE_ASKING;
    request->ask.done = on_protect_answer;
    r = vma_ask_protect(&request->ask, request->vma, request->part, step->flags);
    return r > 0 ? cut(request) : r;
}

/* ---- the walk ---- */

/* Return: 0 request->vma and part are set; 1 the range is done; -ENOMEM a hole ends it. */
static int next_part(struct change_request *request)
{
    struct vma_tree *tree = &request->mm.space->aspace.vmas;
    struct vma *vma = vma_tree_find_next(tree, request->at);

    while (vma && vma->kind != VMA_MAPPED)
        vma = vma_next(vma);
    if (request->at >= request->range.end)
        return 1;
    if (!vma || vma->start > request->at) {
        if (!request->story->over_holes)
            return -ENOMEM;
        request->hole = true;
        if (!vma || vma->start >= request->range.end)
            return 1;
        request->at = vma->start;
    }
    request->vma = vma;
    request->part = range_intersect(request->range, vma_range(vma));
    return 0;
}

static void on_last(void *ctx, enum client_end end, int error)
{
    if (end != CLIENT_LOST)
        finish(ctx, error);
}

static void end_walk(struct change_request *request)
{
    struct mem_op op = {.range = request->range, .fd = -1};
    int r;

    if (!request->story->last || !request->story->last(request, &op)) {
        finish(request, 0);
        return;
    }
    request->state = CHANGE_LAST;
    r = session_mem_ops(request->mm.space, request->mm.id, &op, 1, 0, on_last, request);
    if (r < 0)
        finish(request, r);
}

static void walk(struct change_request *request)
{
    int r;

    do {
        r = next_part(request);
        if (r > 0) {
            end_walk(request);
            return;
        }
        if (r == 0)
            r = begin_part(request);
    } while (r > 0);
    if (r < 0)
        finish(request, r);
}

/* ---- the request ---- */

static void on_granted(struct mm_request *mm)
{
    mm->space->refusal[0] = '\0';
    walk(CONTAINER_OF(mm, struct change_request, mm));
}

static void on_client_gone(struct mm_request *mm)
{
    request_free(CONTAINER_OF(mm, struct change_request, mm));
}

void change_start(struct space *space, uint64_t id, const struct change_story *story,
                  struct range range, uint32_t arg)
{
    struct change_request *request = NULL;

    if (range_is_empty(range)) {
        space_reply(space, id, FRAME_DONE, NULL);
        return;
    }
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
                                      .what = story->what,
                                      .since_ns = loop_now_ns(),
                                      .granted = on_granted,
                                      .client_gone = on_client_gone};
    list_init(&request->mm.queued);
    request->story = story;
    request->arg = arg;
    request->range = range;
    request->at = range.start;
    mm_lock(&request->mm);
}
