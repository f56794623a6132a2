/* SPDX-License-Identifier: BSD-3-Clause */
/* A client writes to a shared mapping for the first time since the page was clean: the page becomes
 * dirty, then writable. */
#ifndef MUSE_SERVER_FLOW_WRITE_FLOW_H
#define MUSE_SERVER_FLOW_WRITE_FLOW_H

#include "server/flow/engine.h"

/* A write that waits for the driver's page_mkwrite. */
struct write_fault {
    struct space *space;
    struct vma *vma; /* tracks writes */
    struct object *object;
    uint64_t addr; /* of the page */
    uint64_t page;
    bool is_protected; /* the page is mapped there, read-only */
};

/**
 * write_flow_fault() - a write to a valid page of a mapping that tracks writes
 * @around: object pages that may be shown with it, protected; holds the page
 *
 * Marks the page, and more of them where the mapping is written to in order, dirty, and lets the
 * writer go on; first asks the driver where its vm operations have page_mkwrite and the page is
 * clean. The fault may be reported again before that is answered.
 */
void write_flow_fault(const struct write_fault *fault, struct range around);

/** write_flow_space_gone() - the client died: forget what waits for a driver on its behalf */
void write_flow_space_gone(struct space *space);

/** vma_set_tracking() - decide whether writes through @vma, whose other fields are set, are to be
 * seen: shared, perhaps writable, of a driver that takes pages back */
void vma_set_tracking(struct vma *vma);

#endif
