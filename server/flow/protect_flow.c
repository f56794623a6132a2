/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mprotect: what becomes of one VMA. The new rights must lie within the MAY flags, the driver may
 * refuse, what the driver narrowed stays narrowed.
 */
#include <errno.h>
#include <sys/mman.h>

#include "proto/client.pb-c.h"
#include "server/flow/change_flow.h"
#include "server/flow/requests.h"
#include "server/map/range_check.h"

#define MAY_SHIFT 4 /* VMF_READ << 4 is VMF_MAYREAD, and so on */

static uint32_t access_flags(uint32_t prot)
{
    return ((prot & PROT_READ) ? VMF_READ : 0u) | ((prot & PROT_WRITE) ? VMF_WRITE : 0u) |
           ((prot & PROT_EXEC) ? VMF_EXEC : 0u);
}

/* Source: mprotect_fixup(), "trigger cow to avoid major fault later". It does so itself for pages that are
 * there; for one that has to come it does not wait. Anonymous memory has no others. */
static bool makes_copies(const struct vma *vma, uint32_t flags, uint32_t prot)
{
    return !vma_is_anon(vma) && !vma->direct && (flags & VMF_LOCKED) && (prot & PROT_WRITE) &&
           !(vma->flags & (VMF_WRITE | VMF_SHARED));
}

/* Source: do_mprotect_pkey(): rights, the driver's hook, then mprotect_fixup(), which does nothing
 * when nothing changes. */
static int plan(struct change_request *request, const struct vma *vma, struct range part,
                struct change_step *step)
{
    const uint32_t wanted = access_flags(request->arg);

    (void)part;
    if (wanted & ~(vma->flags >> MAY_SHIFT))
        return -EACCES;
    step->flags = (vma->flags & ~VMF_ACCESS) | wanted;
    step->asks_mprotect = true;
    step->has_op = step->flags != vma->flags;
    step->op.kind = MUSE__WIRE__MEM_OPS__KIND__MPROTECT;
    step->op.prot = request->arg & (PROT_READ | PROT_WRITE | PROT_EXEC) & vma->prot_narrow;
    step->makes_copies = makes_copies(vma, step->flags, step->op.prot);
    return 0;
}

static const struct change_story protect_story = {
    .what = "mprotect", .limit_error = -ENOMEM, .plan = plan};

int request_protect(struct space *space, struct frame *frame)
{
    Muse__Wire__Protect *message =
        muse__wire__protect__unpack(NULL, frame->n_payload, frame->payload);
    struct range range;
    bool grows;
    uint32_t prot;
    int r;

    if (!message)
        return -EPROTO;
    prot = message->prot;
    r = range_check_protect(message->addr, message->length, prot, &range, &grows);
    muse__wire__protect__free_unpacked(message, NULL);
    if (r == 0 && grows) { /* no mapping here is a stack */
        const struct vma *vma = vma_tree_find_next(&space->aspace.vmas, range.start);

        r = vma && vma->start < range.end ? -EINVAL : -ENOMEM;
    }
    if (r < 0)
        space_fail(space, frame->header.id, r, "mprotect: the arguments make no sense");
    else
        change_start(space, frame->header.id, &protect_story, range, prot);
    return 0;
}
