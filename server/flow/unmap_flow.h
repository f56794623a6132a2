/* SPDX-License-Identifier: BSD-3-Clause */
/* munmap: may_split, then the client unmaps, then the VMAs leave the tree and are closed. Nothing
 * changes before the client did it. */
#ifndef MUSE_SERVER_FLOW_UNMAP_FLOW_H
#define MUSE_SERVER_FLOW_UNMAP_FLOW_H

#include "server/flow/engine.h"
#include "server/flow/session_flow.h"

/**
 * unmap_locked() - unmap a range for somebody who holds the space's write lock
 * @id:    the client's request in whose dialogue the client is told
 * @range: page aligned
 * @ends_call: its call succeeds when it has unmapped: no answer is to follow then
 * @done:  0 or -errno; not called when the client dies meanwhile
 *
 * Return: 0: @done will be called; -errno: nothing was started.
 */
MUST_CHECK int unmap_locked(struct space *space, uint64_t id, struct range range, bool ends_call,
                            void (*done)(void *ctx, int error), void *ctx);

/**
 * unmap_commit() - take @range off the tree; drivers hear of new halves (vm_open)
 * @spares:  detached, charged, as many as the plan wants; those used become NULL
 * @removed: head; see vma_unmap_commit(); then vmas_gone()
 */
void unmap_commit(struct space *space, struct range range, struct vma *spares[2],
                  struct list *removed);

/** unmap_op_of() - the op that gives a range back: to the arena, or to the client outside of it */
struct mem_op unmap_op_of(const struct space *space, struct range range);

/**
 * unmap_undo() - the client was told to map something at a range and shall take it back
 * @id:  the client's request in whose dialogue it is told
 * @vma: takes: PENDING in the space or detached, charged, without references; in quarantine until
 *       the client has confirmed
 *
 * Cannot fail: without memory, or when the client refuses, the range stays in quarantine.
 */
void unmap_undo(struct space *space, uint64_t id, struct vma *vma);

/** unmap_confirm() - the same by another op of the client's */
void unmap_confirm(struct space *space, uint64_t id, const struct mem_op *op, struct vma *vma);

/** unmap_client_gone() - drop what waits for the dead client */
void unmap_client_gone(struct space *space);

#endif
