/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second walk: a touched page. Messages of a userfaultfd -> VMA -> page state -> show, join,
 * ask, or poison. Everything here is asynchronous; nothing waits for a peer.
 */
#ifndef MUSE_SERVER_FLOW_FAULT_FLOW_H
#define MUSE_SERVER_FLOW_FAULT_FLOW_H

#include "server/flow/engine.h"
#include "server/uffd/uffd_port.h"

/** fault_flow_uffd_ops - what a space's uffd port calls; port->owner is the struct space, of which
 * the port holds a ref: closed() drops it */
extern const struct uffd_port_ops fault_flow_uffd_ops;

/** fault_flow_vma_ready() - @vma is write-locked no longer: serve the faults parked on it */
void fault_flow_vma_ready(struct space *space, struct vma *vma);

/** fault_flow_range_ready() - the same, for the addresses of a move that ended (space.moving) */
void fault_flow_range_ready(struct space *space, struct range range);

/**
 * fault_flow_hold_range() - the client replaces what is mapped at @range by one call
 * @hold: before it is told; else afterwards, before the tree is changed
 *
 * From that call on the addresses show something new, but the tree says so only once the client has
 * answered. Faults there wait meanwhile, and nothing of the old mappings is shown there: it would be
 * taken for a page of the new one.
 *
 * Return: the range to be given to fault_flow_range_ready() after the second call.
 */
struct range fault_flow_hold_range(struct space *space, struct range range, bool hold);

/**
 * fault_flow_watch() - every touch in @vma that needs a page is reported from now on, because its
 * addresses are about to change
 *
 * Return: 0 or the -errno of uffd_port_register().
 */
MUST_CHECK int fault_flow_watch(struct space *space, struct vma *vma);

/**
 * fault_flow_range_gone() - [start,end) is not mapped any more: the client confirmed, or is dead
 *
 * Forgets waiters and parked faults in it; wakes threads that wait there, so that they meet the new
 * mapping or SIGSEGV.
 */
void fault_flow_range_gone(struct space *space, struct range range);

/**
 * fault_flow_register() - register a new mapping with the client's uffd
 * @watched: every first touch is to be reported, because the mapping is write-locked for some time;
 *           else native when all of its pages are valid
 *
 * Sets vma->graduated. Return: 0 or the -errno of uffd_port_register().
 */
MUST_CHECK int fault_flow_register(struct space *space, struct vma *vma, bool watched);

/**
 * fault_flow_register_all() - register every mapping of a space whose client has just got it
 * (a forked child), each as fault_flow_register() would
 *
 * Sets vma->graduated. Return: 0 or the -errno of uffd_port_register(): then the space has to go.
 */
MUST_CHECK int fault_flow_register_all(struct space *space);

/**
 * fault_flow_register_part() - watch a part of @vma, or addresses that are about to become one, as
 * the rest of it is watched
 *
 * Return: 0 or the -errno of uffd_port_register().
 */
MUST_CHECK int fault_flow_register_part(struct space *space, const struct vma *vma,
                                        struct range part);

/** fault_flow_will_graduate() - what fault_flow_settle() would make of @vma now */
bool fault_flow_will_graduate(const struct vma *vma);

/** fault_flow_settle() - @vma's transaction is over: native when all of its pages are valid, else
 * watched. @merged: it has grown. */
void fault_flow_settle(struct space *space, struct vma *vma, bool merged);

/**
 * fault_flow_show() - map the pages of @range (bytes, in @vma) that are valid now: no touch faults
 *
 * For MAP_POPULATE and prefault, once fill_wait said that the pages are valid. Bounded: of a larger
 * range the first 64 MiB.
 */
void fault_flow_show(struct space *space, struct vma *vma, struct range range);

/** fault_flow_space_init() - the fault path's part of a new space, in place */
void fault_flow_space_init(struct space *space);

/** fault_flow_space_gone() - the client died: drop everything that waits for it */
void fault_flow_space_gone(struct space *space);

#endif
