/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * madvise's hints about reading: how a mapping is going to be read, and what will be needed soon.
 * They change no contents and no layout, so no lock is taken and no driver is asked. A hint for a
 * part of a mapping is not split off: the pattern hints apply to mappings that lie wholly in the
 * range.
 */
#include <errno.h>
#include <sys/mman.h>

#include "proto/client.pb-c.h"
#include "server/flow/fill_flow.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/map/map_check.h"

static void set_pattern(struct vma *vma, uint32_t advice)
{
    vma->flags &= ~(uint32_t)(VMF_RAND_READ | VMF_SEQ_READ);
    if (advice == MADV_RANDOM)
        vma->flags |= VMF_RAND_READ;
    else if (advice == MADV_SEQUENTIAL)
        vma->flags |= VMF_SEQ_READ;
}

static void will_need(struct vma *vma, struct range addrs)
{
    struct object *object = vma_object(vma);
    const unsigned down = object->page_shift - VMA_PAGE_SHIFT;
    struct range pages = {vma_pgoff_at(vma, addrs.start) >> down,
                          (vma_pgoff_at(vma, addrs.end - 1) >> down) + 1};

    if (pages.end > object_n_pages(object))
        pages.end = object_n_pages(object);
    if (pages.start < pages.end && !vma->direct)
        (void)!fill_ask(object, pages,
                        0); /* a hint: what cannot be had now is had when it is touched */
}

/* Return: 0; -ENOMEM a part is not mapped, the rest was advised all the same (madvise(2)). */
static int advise(struct space *space, struct range range, uint32_t advice)
{
    uint64_t at = range.start;
    bool hole = false;
    struct vma *vma;

    vma_for_each_in(vma, &space->aspace.vmas, range.start, range.end) {
        if (vma->kind != VMA_MAPPED)
            continue;
        hole = hole || vma->start > at;
        at = vma->end;
        if (advice == MADV_WILLNEED)
            will_need(vma, range_intersect(range, vma_range(vma)));
        else if (range_contains_range(range, vma_range(vma)))
            set_pattern(vma, advice);
    }
    return hole || at < range.end ? -ENOMEM : 0;
}

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
    r = map_check_unmap(message->addr, message->length, &range);
    muse__wire__madvise__free_unpacked(message, NULL);
    if (advice != MADV_NORMAL && advice != MADV_RANDOM && advice != MADV_SEQUENTIAL &&
        advice != MADV_WILLNEED)
        r = -EINVAL;
    if (r == 0)
        r = advise(space, range, advice);
    if (r < 0) {
        space_fail(space, frame->header.id, r,
                   r == -ENOMEM ? "madvise: a part of the range is not mapped"
                                : "madvise: this advice or range makes no sense");
    } else {
        space_reply(space, frame->header.id, FRAME_DONE, NULL);
    }
    return 0;
}
