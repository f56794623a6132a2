/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One question to the driver of a VMA that ends in yes or an errno: may_split, mprotect, mremap.
 * Embedded in who asks; one at a time.
 */
#ifndef MUSE_SERVER_FLOW_VMA_ASK_H
#define MUSE_SERVER_FLOW_VMA_ASK_H

#include "server/driver/driver_link.h"
#include "server/flow/driver_hooks.h"
#include "server/flow/engine.h"

struct vma_ask {
    struct driver_call call;
    struct driver *asked;  /* ref while the question is out */
    const struct vma *vma; /* borrowed: it stays as long as the space's write lock is held */
    bool running;
    /* 0: yes, or the driver died and has nothing against it; -errno as it says, or -ETIMEDOUT: then
     * space.refusal names driver, object and reason, and the log has it. May free the ask. */
    void (*done)(struct vma_ask *ask, int error);
};

/*
 * Return: 0: done() will come, not from inside here; 1: the VMA's driver has no such operation, or
 * is dead, or the memory is anonymous: done() will not come, nobody has anything against it.
 */
MUST_CHECK int vma_ask_split(struct vma_ask *ask, const struct vma *vma, uint64_t addr);
MUST_CHECK int vma_ask_protect(struct vma_ask *ask, const struct vma *vma, struct range range,
                               uint64_t new_flags);
/* @view: the VMA as it will be; @parent: which is to be moved */
MUST_CHECK int vma_ask_remap(struct vma_ask *ask, const struct vma *parent,
                             const struct hook_vma *view);

/** vma_ask_cancel() - done() is not called any more; no-op when nothing is asked */
void vma_ask_cancel(struct vma_ask *ask);

#endif
