/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One mapping is grown in place, moved, duplicated, or split off:
 *
 *   reserve()    the new VMA, held at its place; spares for every cut; a place for the quarantine
 *   may_split    for the edges of the source, and of what is replaced
 *   vm_open      of the copy, unless it becomes part of a neighbour; then the driver's mremap, which
 *                may refuse
 *   install()    the client maps what is new (growth, a duplicate); it is watched from then on. For
 *                an address that was named it is made elsewhere, and moved there: shift()
 *   move()       the client moves the pages in one mremap(2); faults at the target wait
 *   commit()     the copy enters the tree; source and what was replaced leave it, and are closed
 *   quarantine   the source's addresses are nobody's until the client has made them arena again
 *
 * Everything that can fail comes before move(), which is one system call and moves all or nothing. So
 * undo is: close the copy that was opened, have the client take back what was new.
 *
 * Pages move with the kernel's own mremap. Its userfaultfd registration moves along, but the
 * mapping is watched (not native) meanwhile: whether all its pages are valid may change before the
 * tree knows the new address.
 */
#include <errno.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "proto/client.pb-c.h"
#include "server/flow/fault_flow.h"
#include "server/flow/remap_flow.h"
#include "server/flow/unmap_flow.h"

static struct space *space_of(const struct remap_request *request)
{
    return request->mm.space;
}

/* ---- the ways back ---- */

static void drop_refs(struct vma *vma)
{
    struct file *file = vma_file(vma);
    struct object *object = vma_object(vma);

    vma->file = NULL;
    vma->object = NULL;
    file_unref(file);
    object_unref(object);
}

static void drop_spares(struct remap_request *request)
{
    for (unsigned i = 0; i < REMAP_SPARES; i++)
        vma_unreserve(space_of(request), &request->spares[i]);
    vma_unreserve(space_of(request), &request->hole);
}

/* vm_open is followed by close, and what the copy holds is let go. */
static void close_copy(struct remap_request *request)
{
    struct vma *copy = request->copy;

    if (request->opened && copy->has_close) {
        const struct hook_vma as_seen = hook_vma_of(copy);

        hook_vm_close(vma_file(copy)->driver, &as_seen);
    }
    request->opened = false;
    drop_refs(copy);
}

/* A placeholder that nobody needs any more. @told: the client may have something there. */
static void give_up(struct remap_request *request, struct vma **placeholder, bool told)
{
    struct space *space = space_of(request);
    struct vma *vma = *placeholder;

    *placeholder = NULL;
    if (!vma)
        return;
    fault_flow_range_gone(space, vma_range(vma));
    if (told) {
        unmap_undo(space, request->mm.id, vma);
        return;
    }
    if (vma->in_tree)
        aspace_release(&space->aspace, vma);
    vma_unreserve(space, &vma);
}

static void fail(struct remap_request *request, int error, const char *text)
{
    struct space *space = space_of(request);
    const bool is_there = request->told && (!request->elsewhere || request->shifted);

    if (request->replaces)
        fault_flow_range_ready(space, fault_flow_hold_range(space, request->to, false));
    if (request->state == REMAP_MOVING) {
        request->vma->write_locked = false;
        fault_flow_vma_ready(space, request->vma);
    }
    if (request->copy)
        close_copy(request);
    if (request->copy && request->replaces) {
        /* one call failed, and changed nothing; what was mapped anew outside goes */
        request->copy->start = request->fresh.start;
        request->copy->end = request->fresh.end;
        give_up(request, &request->copy, is_there && !range_is_empty(request->fresh));
    } else {
        give_up(request, &request->copy, is_there);
    }
    give_up(request, &request->scratch, request->told);
    drop_spares(request);
    remap_unit_done(request, error, text);
}

static void end_growing(struct remap_request *request)
{
    struct space *space = space_of(request);

    space->growing = NULL;
    deadline_clear(&space->engine->loop, &request->seen);
}

void remap_unit_drop(struct remap_request *request)
{
    struct vma **const places[] = {&request->copy, &request->scratch};

    vma_ask_cancel(&request->ask);
    split_check_cancel(&request->split);
    end_growing(request);
    if (request->copy)
        close_copy(request);
    for (unsigned i = 0; i < 2; i++) {
        if (*places[i] && (*places[i])->in_tree)
            *places[i] = NULL; /* goes with the space */
        vma_unreserve(space_of(request), places[i]);
    }
    drop_spares(request);
}

/* ---- the commit ---- */

/* The new VMA takes its place: by itself, or as part of a neighbour. Return: the one that has it. */
static struct vma *enter_copy(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct vma_tree *tree = &space->aspace.vmas;
    struct vma *copy = request->copy;
    struct vma *prev, *next, *removed = NULL;
    enum vma_merge_kind kind = VMA_MERGE_NONE;

    request->copy = NULL;
    copy->kind = VMA_MAPPED;
    if (request->merges)
        kind = vma_merge_new_decide(tree, copy, &prev, &next);
    if (kind != VMA_MERGE_NONE) {
        struct vma *survivor =
            vma_merge_new_commit(tree, kind, prev, next, vma_range(copy), &removed);

        space->engine->stats.merges++;
        vma_forget(space, copy);
        if (removed)
            vma_forget(space, removed);
        return survivor;
    }
    if (request->merges && vma_wants_open(copy)) { /* the neighbour has changed meanwhile */
        const struct hook_vma as_seen = hook_vma_of(copy);

        hook_vm_open(vma_file(copy)->driver, &as_seen, request->vma->id);
    }
    MUST(vma_tree_insert(tree, copy) == 0);
    if (!vma_is_anon(copy))
        list_add_tail(&vma_object(copy)->mappings, &copy->object_link);
    return copy;
}

/* The source's addresses: the client makes them arena again, which fails when another thread's mmap
 * was given the hole; then they are never used again. */
static void quarantine_source(struct remap_request *request)
{
    struct space *space = space_of(request);
    const struct mem_op op = {
        .kind = MUSE__WIRE__MEM_OPS__KIND__RESERVE_FREE, .range = request->from, .fd = -1};
    struct vma *hole = request->hole;

    if (aspace_is_outside(&space->aspace, request->from))
        return; /* the client's own */
    request->hole = NULL;
    hole->start = request->from.start;
    hole->end = request->from.end;
    hole->owner = space;
    unmap_confirm(space, request->mm.id, &op, hole);
}

static void commit_move(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct list replaced = LIST_INIT(replaced);
    struct list moved = LIST_INIT(moved);
    const bool moves = request->how == REMAP_MOVE;
    const bool grows = !range_is_empty(request->fresh);
    const struct range source = vma_range(request->vma);
    struct range held = request->to;
    struct vma *vma;

    request->vma->write_locked = false;
    if (request->replaces) {
        held = fault_flow_hold_range(space, request->to, false);
        unmap_commit(space, request->to, &request->spares[2], &replaced);
    } else {
        aspace_release(&space->aspace, request->copy);
    }
    vma = enter_copy(request);
    fault_flow_settle(space, vma, grows || request->merges);
    if (moves) /* anonymous memory may have become part of what it came from: @vma ends here */
        unmap_commit(space, request->from, &request->spares[0], &moved);
    vmas_gone(space, &replaced);
    vmas_gone(space, &moved);
    if (moves)
        quarantine_source(request);
    fault_flow_range_ready(space, held);
    fault_flow_range_ready(space, source); /* what is left of it */
}

static void commit_grow(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct vma *proposed = request->copy;
    struct vma *prev, *next, *removed = NULL;
    struct vma *vma;
    enum vma_merge_kind kind;

    aspace_release(&space->aspace, proposed);
    proposed->graduated = request->vma->graduated;
    kind = vma_merge_new_decide(&space->aspace.vmas, proposed, &prev, &next);
    MUST(prev == request->vma); /* it was so before, and the source's flags are its own */
    vma = vma_merge_new_commit(&space->aspace.vmas, kind, prev, next, request->to, &removed);
    request->copy = NULL;
    vma_forget(space, proposed);
    if (removed)
        vma_forget(space, removed);
    fault_flow_settle(space, vma, true);
    fault_flow_range_ready(space, request->to);
}

/* Not within the fault, whose neighbours may be looking at the mapping behind. */
static void on_growth_seen(struct deadline *deadline)
{
    struct remap_request *request = CONTAINER_OF(deadline, struct remap_request, seen);

    end_growing(request);
    request->grown = true;
    commit_grow(request);
}

void remap_growth_seen(struct space *space, uint64_t addr)
{
    struct remap_request *request = space->growing;

    if (request && range_contains(request->to, addr) && !request->seen.is_set)
        deadline_set(&space->engine->loop, &request->seen, loop_now_ns());
}

/* Everything is decided, and nothing can fail any more. */
static void enter(struct remap_request *request)
{
    if ((request->vma->flags & VMF_LOCKED) && !range_is_empty(request->fresh))
        request->lock = request->fresh;
    if (request->how != REMAP_GROW)
        commit_move(request);
    else if (!request->grown)
        commit_grow(request);
    give_up(request, &request->scratch, false);
    drop_spares(request);
}

static void commit(struct remap_request *request)
{
    enter(request);
    remap_unit_done(request, 0, NULL);
}

/* ---- MREMAP_DONTUNMAP: private memory is watched again, and the source is not locked any more ---- */

static void on_restored(void *ctx, enum client_end end, int error)
{
    if (end != CLIENT_LOST)
        remap_unit_done(ctx, error, "the client's kernel refused the protection");
}

static struct mem_op protect_op(struct range range, uint32_t prot)
{
    return (struct mem_op){
        .kind = MUSE__WIRE__MEM_OPS__KIND__MPROTECT, .range = range, .prot = prot, .fd = -1};
}

/* Both places are served by now: of what another thread has locked meanwhile, mprotect(2) brings in
 * pages before it returns. A source that cannot be watched stays without access: nobody reads zeros. */
static void restore(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct vma *vma = request->vma;
    const struct range whole = vma_range(vma);
    const bool is_locked = vma->flags & VMF_LOCKED;
    const uint32_t prot = vma_prot(vma);
    struct mem_op ops[3];
    unsigned n_ops = 0;

    if (request->how == REMAP_SPLIT_OFF) {
        ops[n_ops++] = protect_op(request->to, prot);
        if (vma->direct || fault_flow_register_part(space, vma, request->from) == 0)
            ops[n_ops++] = protect_op(request->from, prot);
    }
    if (is_locked) {
        ops[n_ops++] =
            (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MUNLOCK, .range = whole, .fd = -1};
    }
    vma->flags &= ~(uint32_t)VMF_LOCKED; /* as the kernel does, for all of it */
    request->state = REMAP_RESTORING;
    enter(request);
    if (session_mem_ops(space, request->mm.id, ops, n_ops, 0, on_restored, request) < 0)
        remap_unit_done(request, -EIO, "the client could not be told to restore its access");
}

static bool leaves_unlocked(const struct remap_request *request)
{
    return request->how == REMAP_COPY && (request->args.flags & MREMAP_DONTUNMAP) &&
           (request->vma->flags & VMF_LOCKED);
}

/* ---- move: one call ---- */

static void on_moved(void *ctx, enum client_end end, int error)
{
    struct remap_request *request = ctx;

    if (end == CLIENT_LOST)
        return; /* loss_client_gone() tells the request */
    if (error < 0)
        fail(request, error, "the client's kernel refused to move the mapping");
    else if (request->how == REMAP_SPLIT_OFF)
        restore(request);
    else
        commit(request);
}

/* Until the client has answered nobody knows where the source's pages are: faults wait, and nothing
 * is written back meanwhile. */
static void move(struct remap_request *request)
{
    struct space *space = space_of(request);
    const struct mem_op op = remap_move_op(request);

    request->state = REMAP_MOVING;
    request->vma->write_locked = true;
    if (request->replaces)
        (void)fault_flow_hold_range(space, request->to, true);
    request->told = true;
    if (session_mem_ops(space, request->mm.id, &op, 1, 0, on_moved, request) < 0)
        fail(request, -EIO, "the client could not be told to move");
}

/* ---- install: what is new ---- */

static void after_install(struct remap_request *request)
{
    if (request->how == REMAP_MOVE)
        move(request);
    else if (leaves_unlocked(request))
        restore(request);
    else
        commit(request);
}

static void on_shifted(void *ctx, enum client_end end, int error)
{
    struct remap_request *request = ctx;

    if (end == CLIENT_LOST)
        return;
    if (error < 0) {
        fail(request, error, "the client's kernel refused to move what is new into place");
        return;
    }
    request->shifted = true;
    after_install(request);
}

/* To an address that others may know: they touch it once it is watched. */
static void shift(struct remap_request *request)
{
    const struct mem_op op = {.kind = MUSE__WIRE__MEM_OPS__KIND__MOVE,
                              .range = vma_range(request->scratch),
                              .to = request->fresh.start,
                              .fd = -1};

    if (session_mem_ops(space_of(request), request->mm.id, &op, 1, 0, on_shifted, request) < 0)
        fail(request, -EIO, "the client could not be told to map");
}

static void on_installed(void *ctx, enum client_end end, int error)
{
    struct remap_request *request = ctx;
    struct space *space = space_of(request);

    if (end == CLIENT_LOST)
        return;
    end_growing(request);
    /* more of a locked mapping than the limit allows */
    if (error == -ENOMEM && (request->vma->flags & VMF_LOCKED) && request->told)
        error = -EAGAIN;
    if (error == 0 && !request->vma->direct && request->told)
        error = fault_flow_register_part(space, request->vma, remap_made_at(request));
    if (error < 0)
        fail(request, error, "the client's kernel refused to map what is new");
    else if (request->elsewhere)
        shift(request);
    else
        after_install(request);
}

static void install(struct remap_request *request)
{
    struct mem_op ops[MEM_OPS_MAX];
    int n = remap_install_ops(request, ops);

    request->state = REMAP_INSTALLING;
    /* the kernel's own growth is done or not; others may leave something behind */
    request->told = n > 0 && ops[0].kind != MUSE__WIRE__MEM_OPS__KIND__GROW;
    if (request->replaces)
        (void)fault_flow_hold_range(space_of(request), request->to, true);
    request->seen.fn = on_growth_seen;
    space_of(request)->growing = request->told ? NULL : request;
    if (n > 0)
        n = session_mem_ops(space_of(request), request->mm.id, ops, (unsigned)n, 0, on_installed,
                            request);
    if (n < 0)
        end_growing(request);
    if (n < 0)
        fail(request, n == -ENOTCONN ? -EIO : n, "the client could not be told to map");
}

/* ---- the driver ---- */

static void tell_client(struct remap_request *request)
{
    int r = fault_flow_watch(space_of(request), request->vma);

    if (r < 0)
        fail(request, r, "the mapping cannot be watched");
    else if (range_is_empty(request->fresh))
        move(request);
    else
        install(request);
}

static void on_remap_answer(struct vma_ask *ask, int error)
{
    struct remap_request *request = CONTAINER_OF(ask, struct remap_request, ask);

    if (error < 0)
        fail(request, error, "the driver refused to have the mapping moved");
    else
        tell_client(request);
}

/* As the driver shall see it: the copy, or the neighbour that it becomes part of. */
static struct hook_vma copy_view(const struct remap_request *request)
{
    struct vma_tree *tree = &space_of(request)->aspace.vmas;
    struct hook_vma view = hook_vma_of(request->copy);
    struct vma *prev, *next;

    if (!request->merges || vma_merge_new_decide(tree, request->copy, &prev, &next) == 0)
        return view;
    view.id = prev ? prev->id : next->id;
    view.range.start = prev ? prev->start : view.range.start;
    view.range.end = next ? next->end : view.range.end;
    view.pgoff = prev ? prev->pgoff : view.pgoff;
    return view;
}

static void ask_driver(struct remap_request *request)
{
    struct hook_vma view;

    if (request->how == REMAP_GROW || vma_is_anon(request->vma)) {
        tell_client(request);
        return;
    }
    view = copy_view(request);
    if (!request->merges && vma_wants_open(request->copy)) {
        hook_vm_open(vma_file(request->copy)->driver, &view, request->vma->id);
        request->opened = true;
    }
    request->state = REMAP_ASKING;
    request->ask.done = on_remap_answer;
    if (vma_ask_remap(&request->ask, request->vma, &view) > 0)
        tell_client(request);
}

static void on_split_checked(struct split_check *check, int error)
{
    struct remap_request *request = CONTAINER_OF(check, struct remap_request, split);

    if (error < 0)
        fail(request, error, "the driver does not let the mapping be split");
    else
        ask_driver(request);
}

/* ---- reserve ---- */

static void fill_in_copy(struct remap_request *request)
{
    struct space *space = space_of(request);
    const struct vma *vma = request->vma;
    struct vma *copy = request->copy;
    const bool private_anon = vma_is_anon(vma) && !remap_is_shared_anon(vma);

    vma_copy_identity(copy, vma);
    copy->start = request->to.start;
    copy->end = request->to.end;
    copy->pgoff =
        vma_pgoff_at(vma, request->how == REMAP_GROW ? request->to.start : request->from.start);
    if (private_anon)
        copy->pgoff = request->to.start >> VMA_PAGE_SHIFT;
    copy->graduated = false; /* watched from before it is told to the client */
    copy->write_locked = false;
    copy->outside_arena = aspace_is_outside(&space->aspace, request->to);
    vma_take_refs(copy);
}

/* Of shared anonymous memory that grows a second mapping; of an object what is new at an address that
 * was named. Return: bytes, or 0. */
static uint64_t scratch_bytes(const struct remap_request *request)
{
    if (request->elsewhere)
        return range_len(request->fresh);
    if (request->how != REMAP_GROW || !remap_is_shared_anon(request->vma) ||
        request->vma->outside_arena)
        return 0;
    return range_len(request->from) + range_len(request->to);
}

static int hold_scratch(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct aspace *aspace = &space->aspace;
    const uint64_t length = scratch_bytes(request);
    const uint64_t align =
        request->elsewhere ? object_page_bytes(vma_object(request->vma)) : VMA_PAGE_BYTES;
    struct range scratch;
    int r;

    if (length == 0)
        return 0;
    if (vma_tree_gap_topdown(&aspace->vmas, aspace->arena, length, align, &scratch.start) != 0)
        return -ENOMEM;
    scratch.end = scratch.start + length;
    r = vma_reserve(space, &request->scratch);
    if (r < 0)
        return r;
    return aspace_hold(aspace, scratch, request->scratch) == 0 ? 0 : -ENOMEM;
}

static int hold(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct vma *copy = NULL;
    int r = aspace_check_map(&space->aspace);

    if (r < 0)
        return r;
    r = vma_reserve(space, &copy);
    if (r < 0)
        return r;
    request->copy = copy;
    fill_in_copy(request);
    if (!request->replaces && aspace_hold(&space->aspace, request->to, copy) != 0)
        return -ENOMEM;
    return hold_scratch(request);
}

static int reserve(struct remap_request *request)
{
    struct space *space = space_of(request);
    int r = hold(request);

    for (unsigned i = 0; r == 0 && i < REMAP_SPARES; i++)
        r = vma_reserve(space, &request->spares[i]);
    if (r == 0)
        r = vma_reserve(space, &request->hole);
    return r;
}

static struct range fresh_of(const struct remap_request *request)
{
    const uint64_t border = request->to.start + range_len(request->from);

    switch (request->how) {
    case REMAP_GROW:
    case REMAP_COPY:
        return request->to;
    case REMAP_MOVE:
        if (!vma_is_anon(request->vma))
            return range_make(border, request->to.end);
        break;
    case REMAP_SPLIT_OFF:
        break;
    }
    return range_make(request->to.end, request->to.end);
}

void remap_unit_start(struct remap_request *request)
{
    struct space *space = space_of(request);
    struct vma_tree *tree = &space->aspace.vmas;
    struct vma *prev, *next;
    int r;

    request->opened = request->told = request->shifted = request->grown = request->merges = false;
    request->fresh = fresh_of(request);
    request->elsewhere = remap_names_target(&request->args) && request->how != REMAP_GROW &&
                         !vma_is_anon(request->vma) && !request->vma->direct &&
                         !range_is_empty(request->fresh);
    request->replaces =
        request->how != REMAP_GROW &&
        (vma_tree_overlaps(tree, request->to) || aspace_is_outside(&space->aspace, request->to));
    r = reserve(request);
    if (r < 0) {
        fail(request, r, "over the limit of mappings, or out of memory");
        return;
    }
    if (request->how == REMAP_GROW) { /* it grows, or cannot */
        request->copy->graduated = request->vma->graduated;
        (void)vma_merge_new_decide(tree, request->copy, &prev, &next);
        if (prev != request->vma) {
            fail(request, -ENOMEM, "this mapping cannot be extended");
            return;
        }
    } else {
        request->merges = vma_merge_new_decide(tree, request->copy, &prev, &next) != VMA_MERGE_NONE;
    }
    request->state = REMAP_SPLITTING;
    request->split.done = on_split_checked;
    request->split.n_edges = request->split.next = 0;
    if (request->replaces)
        (void)split_check_more(&request->split, tree, request->to);
    if (request->how == REMAP_MOVE || request->how == REMAP_SPLIT_OFF)
        (void)split_check_more(&request->split, tree, request->from);
    if (split_check_start(&request->split) > 0)
        ask_driver(request);
}
