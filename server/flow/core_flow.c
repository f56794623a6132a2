/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mincore: which pages of a range are valid in their page caches. A snapshot: nothing is locked,
 * nothing waits. What the client's own page tables hold it adds itself.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "proto/client.pb-c.h"
#include "proto/limits.h"
#include "server/flow/fill.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"

/* Pages in one answer: half of a frame. */
#define CORE_PAGES_MAX (FRAME_BYTES_MAX / 2)

enum { CORE_ABSENT, CORE_VALID, CORE_ANONYMOUS };

static uint8_t core_of(const struct vma *vma, uint64_t addr)
{
    const struct object *object = vma_object(vma);
    uint64_t page;

    if (!object || vma->direct)
        return CORE_ANONYMOUS;
    page = vma_page_at(vma, object, addr);
    return page < object->pages.n_pages && page_state_is_valid(page_table_get(&object->pages, page))
               ? CORE_VALID
               : CORE_ABSENT;
}

/* Return: how many pages from @range.start on are mapped, at most @n_max; @pages tells about them. */
static size_t look_at(const struct space *space, struct range range, uint8_t *pages, size_t n_max)
{
    uint64_t addr = range.start;
    const struct vma *vma;
    size_t n = 0;

    vma_for_each_in(vma, &space->aspace.vmas, range.start, range.end) {
        if (vma->kind != VMA_MAPPED || vma->start > addr)
            break;
        for (; addr < vma->end && addr < range.end && n < n_max; addr += VMA_PAGE_BYTES)
            pages[n++] = core_of(vma, addr);
    }
    return n;
}

int request_mincore(struct space *space, struct frame *frame)
{
    Muse__Wire__Mincore *message =
        muse__wire__mincore__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__Resident answer = MUSE__WIRE__RESIDENT__INIT;
    CLEAN(free_p) uint8_t *pages = NULL;
    struct range range;
    bool is_sane;

    if (!message)
        return -EPROTO;
    is_sane = range_from_len(message->addr, message->length, &range) == 0 &&
              range_is_aligned(range, VMA_PAGE_BYTES) && !range_is_empty(range);
    muse__wire__mincore__free_unpacked(message, NULL);
    if (!is_sane) {
        space_fail(space, frame->header.id, -EINVAL, "mincore: the range is not page aligned");
        return 0;
    }
    pages = malloc(CORE_PAGES_MAX);
    if (!pages) {
        space_fail(space, frame->header.id, -EAGAIN, "the server is out of memory");
        return 0;
    }
    answer.pages.data = pages;
    answer.pages.len = look_at(space, range, pages, CORE_PAGES_MAX);
    if (answer.pages.len == 0)
        space_fail(space, frame->header.id, -ENOMEM, "mincore: nothing is mapped there");
    else
        space_reply(space, frame->header.id, FRAME_RESIDENT, &answer.base);
    return 0;
}
