/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the client is told to do when a mapping is grown, moved or duplicated: one list of calls for what
 * is new, one call for what moves. Decides nothing, keeps nothing.
 */
#include <errno.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "proto/client.pb-c.h"
#include "server/flow/anon_flow.h"
#include "server/flow/object_flow.h"
#include "server/flow/remap_flow.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

bool remap_is_shared_anon(const struct vma *vma)
{
    return vma_is_anon(vma) && (vma->flags & VMF_SHARED);
}

struct range remap_made_at(const struct remap_request *request)
{
    return request->elsewhere ? vma_range(request->scratch) : request->fresh;
}

/* ---- what is new ---- */

/* More of an object. Return: the op, with op.fd -1 when there is no fd for it. */
static struct mem_op file_op(const struct remap_request *request)
{
    const struct vma *vma = request->vma;
    const struct vma *copy = request->copy;
    struct object *object = vma_object(vma);
    const bool shared = vma->flags & VMF_SHARED;
    const bool unaccounted = vma->flags & (VMF_MAYSHARE | VMF_NORESERVE);

    return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_FILE,
                           .range = remap_made_at(request),
                           .prot = vma_prot(vma),
                           .flags = (uint32_t)(shared ? MAP_SHARED : MAP_PRIVATE) |
                                    (unaccounted ? (uint32_t)MAP_NORESERVE : 0),
                           .offset = vma_pgoff_at(copy, request->fresh.start) * VMA_PAGE_BYTES,
                           .fd = shared ? object_writable_fd(object, request->mm.space->uid)
                                        : backing_readonly_fd(&object->backing)};
}

/* The memory that the source shows from its start on, once more at @to. */
static struct mem_op duplicate_op(const struct remap_request *request, struct range to)
{
    return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__DUPLICATE,
                           .range = {request->from.start, request->from.start + VMA_PAGE_BYTES},
                           .to = to.start,
                           .new_length = range_len(to),
                           .fd = -1};
}

/*
 * Growing shared anonymous memory means more of the same, also beyond its end (SIGBUS). All of it is
 * mapped once more at a scratch address, what is new is moved behind the old, and the rest goes.
 */
static unsigned grow_shared_ops(const struct remap_request *request, struct mem_op *ops)
{
    const struct range scratch = vma_range(request->scratch);
    const uint64_t border = scratch.start + range_len(request->from);

    ops[0] = duplicate_op(request, scratch);
    ops[1] = (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MOVE,
                             .range = {border, scratch.end},
                             .to = request->fresh.start,
                             .fd = -1};
    ops[2] = (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MMAP_RESERVE,
                             .range = {scratch.start, border},
                             .fd = -1};
    return 3;
}

static void add_advice(struct mem_op *ops, unsigned *n, struct range range, uint32_t advice)
{
    ops[(*n)++] = (struct mem_op){
        .kind = MUSE__WIRE__MEM_OPS__KIND__MADVISE, .range = range, .advice = advice, .fd = -1};
}

/* What madvise and mlock have said about the mapping holds for what is new, too. */
static void add_properties(const struct remap_request *request, struct mem_op *ops, unsigned *n)
{
    static const struct {
        uint32_t flag, advice;
    } kept[] = {
        {VMF_DONTDUMP, MADV_DONTDUMP},
        {VMF_HUGEPAGE, MADV_HUGEPAGE},
        {VMF_NOHUGEPAGE, MADV_NOHUGEPAGE},
        {VMF_WIPEONFORK, MADV_WIPEONFORK},
    };
    const struct vma *vma = request->vma;

    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (vma->flags & kept[i].flag)
            add_advice(ops, n, remap_made_at(request), kept[i].advice);
    }
    if (vma->flags & VMF_LOCKED) {
        ops[(*n)++] = (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__MLOCK,
                                      .range = remap_made_at(request),
                                      .flags = MLOCK_ONFAULT,
                                      .fd = -1};
    }
}

/* Outside of the arena the kernel knows what is behind, and grows the mapping by itself. */
static struct mem_op grow_op(const struct remap_request *request)
{
    return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__GROW,
                           .range = {request->fresh.start - VMA_PAGE_BYTES, request->fresh.start},
                           .flags = vma_is_anon(request->vma) ? MAP_ANONYMOUS : 0u,
                           .new_length = VMA_PAGE_BYTES + range_len(request->fresh),
                           .fd = -1};
}

int remap_install_ops(const struct remap_request *request, struct mem_op *ops)
{
    const struct vma *vma = request->vma;
    unsigned n = 1;

    if (request->how == REMAP_GROW && vma->outside_arena) {
        ops[0] = grow_op(request);
        return 1;
    }
    if (!vma_is_anon(vma)) {
        ops[0] = file_op(request);
        if (ops[0].fd < 0)
            return -EMFILE;
    } else if (request->how == REMAP_COPY) {
        ops[0] = duplicate_op(request, request->to);
    } else if (remap_is_shared_anon(vma)) {
        n = grow_shared_ops(request, ops);
    } else {
        ops[0] = anon_op(vma, request->fresh, 0);
    }
    add_properties(request, ops, &n);
    return (int)n;
}

/* ---- what moves ---- */

struct mem_op remap_move_op(const struct remap_request *request)
{
    const struct vma *vma = request->vma;
    const bool native = vma_is_anon(vma); /* no registration: the kernel grows it, too */

    if (request->how == REMAP_SPLIT_OFF) {
        return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__SPLIT_OFF,
                               .range = request->from,
                               .prot = vma_prot(vma),
                               .to = request->to.start,
                               .closed = true,
                               .fd = -1};
    }
    return (struct mem_op){.kind = MUSE__WIRE__MEM_OPS__KIND__REMAP,
                           .range = request->from,
                           .to = request->to.start,
                           .new_length = native ? range_len(request->to) : range_len(request->from),
                           .fd = -1};
}
