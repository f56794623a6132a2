/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks may_split for the edges of a range before anything is cut (munmap, MAP_FIXED): at most two
 * questions, one after the other. */
#ifndef MUSE_SERVER_FLOW_SPLIT_FLOW_H
#define MUSE_SERVER_FLOW_SPLIT_FLOW_H

#include "server/driver/driver_link.h"
#include "server/flow/engine.h"

struct split_check {
    struct driver_call call;
    struct {
        struct vma *vma;
        uint64_t addr;
    } edges[2];
    unsigned n_edges, next;
    struct driver *asked; /* ref while a question is out */
    bool running;
    /* 0 all may be split; -errno of the first refusal, -ETIMEDOUT, -EIO the driver died: then
     * space.refusal names driver, object and reason, and the log has it. Not called from inside
     * split_check_start(). */
    void (*done)(struct split_check *check, int error);
};

/** split_check_edges() - the edges of @range that cut a VMA whose driver wants to be asked.
 * Return: how many, 0..2. */
unsigned split_check_edges(struct split_check *check, struct vma_tree *tree, struct range range);

/** split_check_start() - ask; split_check_edges() was > 0. Return: 0, done() will come; -EIO. */
MUST_CHECK int split_check_start(struct split_check *check);

/** split_check_cancel() - done() is not called any more; no-op when not running */
void split_check_cancel(struct split_check *check);

/** vmas_gone() - close, release and free what vma_unmap_commit() took off the tree; the client has
 * confirmed, or is dead */
void vmas_gone(struct space *space, struct list *removed);

/** vmas_split_opened() - tell the drivers of VMAs that @spares became: vm_open for each one that is
 * in the tree or on @removed */
void vmas_split_opened(struct vma *vma, uint64_t parent_id);

/** vma_charge(), vma_uncharge() - one VMA of the space's user. Return: 0 or -ENOMEM. */
MUST_CHECK int vma_charge(struct space *space);
void vma_uncharge(struct space *space);

#endif
