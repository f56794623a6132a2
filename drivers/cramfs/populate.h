/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of a mapping can show the image itself instead of copies of its pages: the decision of
 * cramfs_physmem_mmap() in Linux, as split by mmap_prepare into deciding and doing. Reads block
 * pointers, changes nothing.
 */
#ifndef MUSE_DRIVERS_CRAMFS_POPULATE_H
#define MUSE_DRIVERS_CRAMFS_POPULATE_H

#include <muse/driver.h>

#include "drivers/cramfs/cramfs_image.h"

enum populate_mode {
    POPULATE_NONE,   /* ordinary paging */
    POPULATE_WHOLE,  /* all of the mapping is the image: PFNMAP of Linux */
    POPULATE_PREFIX, /* its first pages are, the others come by faults: MIXEDMAP of Linux */
};

struct populate {
    enum populate_mode mode;
    uint64_t n_pages;      /* that are mapped directly; 0 with POPULATE_NONE */
    uint64_t image_offset; /* of the first one, a multiple of 4096 */
};

/**
 * populate_decide() - what of a mapping can be mapped directly
 * @fs:    the main thread's
 * @inode: the file's
 * @desc:  range, page offset and flags of the mapping
 *
 * None: the mapping is writable, begins after the file's end, or its first block is compressed, not
 * at a page of the image, or a last page that holds other data behind the file's end. Linux also
 * maps a prefix of a mapping that may become copy-on-write; here that is none, too, because such a
 * mapping is remapped as a whole or not at all (docs/contract.md, section 5).
 */
struct populate populate_decide(const struct cramfs *fs, const struct cramfs_inode *inode,
                                const struct muse_vma_desc *desc);

#endif
