/* SPDX-License-Identifier: BSD-3-Clause */
/* The write window of a mapping: doubled while writes follow each other. Owns nothing: its state is
 * part of the VMA. Called by server/flow/write_flow.c. */
#include "server/fault/writeahead.h"

uint64_t writeahead_touch(struct vma_writes *writes, uint64_t page)
{
    const bool goes_on = writes->window > 0 && page == writes->end;

    if (!goes_on)
        writes->window = 1;
    else if (writes->window < WRITEAHEAD_MAX_PAGES)
        writes->window *= 2;
    writes->end = page + writes->window;
    return writes->window;
}
