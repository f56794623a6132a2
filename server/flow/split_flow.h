/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks may_split for the edges of ranges before anything is cut, one question after the other; and
 * what making, cutting, merging and ending VMAs costs: references, charges, vm_open, close.
 */
#ifndef MUSE_SERVER_FLOW_SPLIT_FLOW_H
#define MUSE_SERVER_FLOW_SPLIT_FLOW_H

#include "server/driver/driver_link.h"
#include "server/flow/engine.h"
#include "server/flow/vma_ask.h"

#define SPLIT_EDGES_MAX 4u /* mremap cuts its source and what stands at its target */

struct split_check {
    struct vma_ask ask;
    struct {
        struct vma *vma;
        uint64_t addr;
    } edges[SPLIT_EDGES_MAX];
    unsigned n_edges, next;
    /* 0 all may be split; -errno of the first refusal, or -ETIMEDOUT: then space.refusal names
     * driver, object and reason, and the log has it. Not called from inside
     * split_check_start(). */
    void (*done)(struct split_check *check, int error);
};

/**
 * split_check_edges() - the edges of @range that cut a VMA whose driver wants to be asked
 *
 * Return: how many, 0..2.
 */
unsigned split_check_edges(struct split_check *check, struct vma_tree *tree, struct range range);

/** split_check_more() - the edges of one more range. Return: how many there are now. */
unsigned split_check_more(struct split_check *check, struct vma_tree *tree, struct range range);

/** split_check_start() - ask. Return: 0, done() will come; 1, nobody is to be asked (any more). */
MUST_CHECK int split_check_start(struct split_check *check);

/** split_check_cancel() - done() is not called any more; no-op when not running */
void split_check_cancel(struct split_check *check);

/**
 * vmas_gone() - close, release and free VMAs that vma_unmap_commit() took off the tree; the client
 * has confirmed, or is dead
 */
void vmas_gone(struct space *space, struct list *removed);

/** vmas_merged() - release and free VMAs that a merge took off the tree: no close */
void vmas_merged(struct space *space, struct list *removed);

/** vma_forget() - release and free one VMA that is in no tree */
void vma_forget(struct space *space, struct vma *vma);

/** vmas_split_opened() - @vma is a copy, in the tree or removed: its references, and vm_open */
void vmas_split_opened(struct vma *vma, uint64_t parent_id);

/** vma_take_refs() - @vma holds its file and object from now on; vma_forget() gives them back */
void vma_take_refs(struct vma *vma);

/** vma_wants_open() - whether its driver is to be told of copies */
bool vma_wants_open(const struct vma *vma);

/** vma_charge(), vma_uncharge() - one VMA of the space's user. Return: 0 or -ENOMEM. */
MUST_CHECK int vma_charge(struct space *space);
void vma_uncharge(struct space *space);

/** vma_reserve() - a detached VMA, charged. Return: 0 or -ENOMEM. */
MUST_CHECK int vma_reserve(struct space *space, struct vma **ret_vma);

/** vma_unreserve() - free one that was not needed, and set it to NULL; NULL is fine */
void vma_unreserve(struct space *space, struct vma **vma);

#endif
