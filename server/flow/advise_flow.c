/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * madvise: what becomes of one VMA. Hints about reading are the server's own, because it does the
 * reading ahead. What drops, locks in or marks pages the client's kernel does: they are in its page
 * tables. Source of errno and order: madvise_vma_behavior() of Linux 6.18.
 *
 * DONTFORK and DOFORK are only remembered: the library keeps all mappings from children, but for
 * those that the server names when the client forks.
 */
#include <errno.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"
#include "proto/client.pb-c.h"
#include "server/flow/change_flow.h"
#include "server/flow/evict_flow.h"
#include "server/flow/fill_flow.h"
#include "server/flow/requests.h"
#include "server/map/range_check.h"

static bool is_huge(const struct vma *vma)
{
    return !vma_is_anon(vma) && object_page_bytes(vma_object(vma)) > VMA_PAGE_BYTES;
}

static bool is_private_anon(const struct vma *vma)
{
    return vma_is_anon(vma) && !(vma->flags & VMF_SHARED);
}

/* The object's pages at @addrs; empty where there are none. */
static struct range pages_at(const struct vma *vma, struct range addrs)
{
    const struct object *object = vma_object(vma);
    struct range pages;
    unsigned down;

    if (!object || vma->direct)
        return (struct range){0, 0};
    down = object->page_shift - VMA_PAGE_SHIFT;
    pages = (struct range){vma_pgoff_at(vma, addrs.start) >> down,
                           (vma_pgoff_at(vma, addrs.end - 1) >> down) + 1};
    return range_intersect(pages, (struct range){0, object_n_pages(object)});
}

/* A hint: what cannot be had now is had when it is touched. */
static void will_need(const struct vma *vma, struct range addrs)
{
    const struct range pages = pages_at(vma, addrs);

    if (!range_is_empty(pages))
        (void)!fill_ask(vma_object(vma), pages, 0);
}

/* ---- advice that is remembered as a flag ---- */

static const struct flag_advice {
    int advice;
    uint32_t set, clear;
} flag_advices[] = {
    {MADV_NORMAL, 0, VMF_RAND_READ | VMF_SEQ_READ},
    {MADV_RANDOM, VMF_RAND_READ, VMF_SEQ_READ},
    {MADV_SEQUENTIAL, VMF_SEQ_READ, VMF_RAND_READ},
    {MADV_DONTFORK, VMF_DONTCOPY, 0},
    {MADV_DOFORK, 0, VMF_DONTCOPY},
    {MADV_WIPEONFORK, VMF_WIPEONFORK, 0},
    {MADV_KEEPONFORK, 0, VMF_WIPEONFORK},
    {MADV_DONTDUMP, VMF_DONTDUMP, 0},
    {MADV_DODUMP, 0, VMF_DONTDUMP},
    {MADV_HUGEPAGE, VMF_HUGEPAGE, VMF_NOHUGEPAGE},
    {MADV_NOHUGEPAGE, VMF_NOHUGEPAGE, VMF_HUGEPAGE},
};

static const struct flag_advice *find_flags(uint32_t advice)
{
    for (unsigned i = 0; i < sizeof(flag_advices) / sizeof(flag_advices[0]); i++) {
        if ((uint32_t)flag_advices[i].advice == advice)
            return &flag_advices[i];
    }
    return NULL;
}

/* Whether the client's kernel has to know as well. */
static bool is_kernels(const struct vma *vma, uint32_t advice)
{
    switch (advice) {
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
        return true;
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
        return is_private_anon(vma);
    default: /* a number of the kernel's, not an enum of ours */
        return false;
    }
}

static int plan_flags(const struct vma *vma, const struct flag_advice *flags,
                      struct change_step *step)
{
    const bool is_special = vma->flags & VMF_SPECIAL;

    if (flags->advice == MADV_WIPEONFORK && !is_private_anon(vma))
        return -EINVAL;
    if ((flags->advice == MADV_DOFORK && is_special) ||
        (flags->advice == MADV_DODUMP && is_special && !is_huge(vma)))
        return -EINVAL;
    step->flags = (vma->flags & ~flags->clear) | flags->set;
    step->has_op = is_kernels(vma, (uint32_t)flags->advice);
    return 0;
}

/* ---- advice about pages ---- */

/* Source: madvise_remove(). */
static int plan_remove(const struct vma *vma, struct change_step *step)
{
    if ((vma->flags & VMF_LOCKED) || is_private_anon(vma))
        return -EINVAL;
    if ((vma->flags & (VMF_SHARED | VMF_MAYWRITE)) != (VMF_SHARED | VMF_MAYWRITE))
        return -EACCES;
    step->has_op = vma_is_anon(vma);
    step->punches = !vma_is_anon(vma);
    return 0;
}

/* Source: madvise_dontneed_free_valid_vma(), madvise_free_single_vma(). */
static int plan_drop(const struct vma *vma, uint32_t advice, struct change_step *step)
{
    const uint32_t forbidden =
        VMF_PFNMAP | (advice == MADV_DONTNEED_LOCKED ? 0u : (uint32_t)VMF_LOCKED);

    if ((vma->flags & forbidden) || (advice == MADV_FREE && !is_private_anon(vma)))
        return -EINVAL;
    step->has_op = true;
    return 0;
}

/* The object's pages are the server's to evict, private copies the kernel's. Source:
 * can_madv_lru_vma(). */
static int plan_cold(const struct vma *vma, struct range part, bool now, struct change_step *step)
{
    const struct range pages = pages_at(vma, part);

    if ((vma->flags & (VMF_LOCKED | VMF_PFNMAP)) || is_huge(vma))
        return -EINVAL;
    if (!range_is_empty(pages))
        evict_hint(vma_object(vma), pages, now);
    step->has_op = true;
    return 0;
}

static int plan(struct change_request *request, const struct vma *vma, struct range part,
                struct change_step *step)
{
    const struct flag_advice *flags = find_flags(request->arg);

    step->op.kind = MUSE__WIRE__MEM_OPS__KIND__MADVISE;
    step->op.advice = request->arg;
    if (flags)
        return plan_flags(vma, flags, step);
    switch (request->arg) {
    case MADV_WILLNEED:
        will_need(vma, part);
        return 0;
    case MADV_REMOVE:
        return plan_remove(vma, step);
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE:
        return plan_drop(vma, request->arg, step);
    case MADV_COLD:
    case MADV_PAGEOUT:
        return plan_cold(vma, part, request->arg == MADV_PAGEOUT, step);
    default: /* POPULATE_READ, POPULATE_WRITE: the pages come through the fault path */
        step->has_op = true;
        return 0;
    }
}

/* Out of VMAs is EAGAIN: it may work later. */
static const struct change_story advise_story = {
    .what = "madvise", .over_holes = true, .limit_error = -EAGAIN, .plan = plan};
/* Source: madvise_populate(). */
static const struct change_story populate_story = {
    .what = "madvise", .limit_error = -EAGAIN, .plan = plan};

int request_madvise(struct space *space, struct frame *frame)
{
    Muse__Wire__Madvise *message =
        muse__wire__madvise__unpack(NULL, frame->n_payload, frame->payload);
    struct range range;
    uint32_t advice;
    int r;

    if (!message)
        return -EPROTO;
    advice = message->advice;
    r = range_check_advise(message->addr, message->length, advice, &range);
    muse__wire__madvise__free_unpacked(message, NULL);
    if (r < 0) {
        space_fail(space, frame->header.id, r, "madvise: this advice or range makes no sense");
        return 0;
    }
    change_start(space, frame->header.id,
                 advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE ? &populate_story
                                                                               : &advise_story,
                 range, advice);
    return 0;
}
