/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides between direct mapping and paging. Owns nothing; carries nothing out. */
#include "drivers/cramfs/populate.h"

struct populate populate_decide(const struct cramfs *fs, const struct cramfs_inode *inode,
                                const struct muse_vma_desc *desc)
{
    const struct populate none = {.mode = POPULATE_NONE};
    const uint64_t n_wanted = muse_vma_desc_pages(desc);
    uint64_t image_offset;
    uint32_t n_blocks;

    if ((desc->vm_flags & MUSE_VM_WRITE) || desc->pgoff >= inode->n_blocks)
        return none;
    if (cramfs_direct_run(fs, inode, (uint32_t)desc->pgoff, &image_offset, &n_blocks, NULL) < 0)
        return none; /* the fault that reads the block names the damage */
    if (n_blocks == 0)
        return none;
    if (n_blocks >= n_wanted) {
        return (struct populate){
            .mode = POPULATE_WHOLE, .n_pages = n_wanted, .image_offset = image_offset};
    }
    if (muse_desc_can_cow(desc))
        return none;
    return (struct populate){
        .mode = POPULATE_PREFIX, .n_pages = n_blocks, .image_offset = image_offset};
}
