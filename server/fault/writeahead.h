/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * writeahead.h - how many pages become writable with the one that is written to
 *
 * Each first write to a clean page is a fault. A mapping that is written to in order gets twice as
 * many pages with each fault, so that a megabyte costs a few faults instead of 256; one that is
 * written to here and there gets the page alone. What is writable ahead counts as dirty: it is
 * written back although nobody may have written to it. Pure arithmetic.
 */
#ifndef MUSE_SERVER_FAULT_WRITEAHEAD_H
#define MUSE_SERVER_FAULT_WRITEAHEAD_H

#include <stdint.h>

#include "server/vm/vma.h"

#define WRITEAHEAD_MAX_PAGES 256u /* chosen: 1 MiB; two more faults a window of readahead */

/**
 * writeahead_touch() - a page is written to for the first time since it was clean
 * @writes: of the VMA; zeroed when fresh
 * @page:   of the object
 *
 * Return: how many pages from @page on are to become writable, at least 1.
 */
uint64_t writeahead_touch(struct vma_writes *writes, uint64_t page);

#endif
