/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stacked drivers: an outer driver's legacy mmap hook passes the mapping on to a file of another
 * driver (an overlay, Linux's pde_mmap()). The inner driver runs mmap_prepare and, at once,
 * mmap_complete (Linux: compat_vma_mmap_prepare()).
 */
#ifndef MUSE_SERVER_FLOW_STACK_FLOW_H
#define MUSE_SERVER_FLOW_STACK_FLOW_H

#include "server/flow/map_flow.h"

/**
 * stack_start() - the outer mmap hook answered "forward to @name"
 * @request: in state COMPLETING; COMPLETE_OK or COMPLETE_ERR comes later, never from inside here
 *
 * Return: 0; -errno with the request's error set: nothing was started.
 */
MUST_CHECK int stack_start(struct map_request *request, const char *name);

/** stack_call() - what the inner driver has been asked and not answered; borrowed; NULL: nothing */
const struct driver_call *stack_call(const struct map_request *request);

/** stack_abandon() - the request is over; what the inner driver still owes is undone without it */
void stack_abandon(struct map_request *request);

#endif
