/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mkfs.cramfs -b makes blocks of another size than 4096. A reader that does not know it takes
 * compressed bytes for pointers, and may show zeros where a file has bytes; so such an image is
 * refused when the driver starts. Owns nothing.
 */
#include "drivers/cramfs/blocksize.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/base/own.h"
#include "drivers/cramfs/cramfs_format.h"

/* Chosen: what mkfs.cramfs takes is the page size of some machine, with room on both sides. */
#define BLOCK_BYTES_MIN 512u
#define BLOCK_BYTES_MAX 65536u
/* Chosen: an image of small files only is not read to its end. */
#define SMALL_FILES_MAX 256u

struct check {
    struct cramfs *fs;
    uint8_t *packed;      /* owned, 2 * BLOCK_BYTES_MAX */
    uint8_t *block;       /* owned, BLOCK_BYTES_MAX */
    uint32_t block_bytes; /* found; 0: nothing else than 4096 */
    bool or_more;         /* the file has one block, and would have with larger ones, too */
    unsigned n_fit;       /* small files that are the same either way */
};

enum { GO_ON = 0, DECIDED = 1 };

/* Does the first block of the file inflate to what blocks of @block_bytes would hold? */
static bool fits(const struct check *check, const struct cramfs_inode *inode, uint32_t block_bytes)
{
    const uint32_t n_blocks = (inode->size_bytes + block_bytes - 1) / block_bytes;
    const uint64_t start = inode->data_offset + (uint64_t)n_blocks * CRAMFS_POINTER_SIZE;
    const uint32_t expected = inode->size_bytes < block_bytes ? inode->size_bytes : block_bytes;
    uLongf n_out = expected;
    uint8_t raw[CRAMFS_POINTER_SIZE];
    uint64_t end;

    if (cramfs_read_at(check->fs, inode->data_offset, raw, sizeof(raw), inode->ino, NULL) < 0)
        return false;
    end = cramfs_le32(raw);
    if (end <= start || end - start > 2ull * BLOCK_BYTES_MAX ||
        cramfs_read_at(check->fs, start, check->packed, (size_t)(end - start), inode->ino, NULL) <
            0)
        return false;
    return uncompress(check->block, &n_out, check->packed, (uLong)(end - start)) == Z_OK &&
           n_out == expected;
}

static int on_inode(void *arg, const char *path, const struct cramfs_inode *inode)
{
    struct check *check = arg;

    (void)path;
    if (!S_ISREG(inode->mode) || inode->size_bytes <= BLOCK_BYTES_MIN)
        return GO_ON;
    if (fits(check, inode, CRAMFS_BLOCK_SIZE)) {
        /* a file of one block is one of one block with larger ones, too */
        return inode->size_bytes > CRAMFS_BLOCK_SIZE || ++check->n_fit == SMALL_FILES_MAX ? DECIDED
                                                                                          : GO_ON;
    }
    for (uint32_t n = BLOCK_BYTES_MIN; n <= BLOCK_BYTES_MAX; n *= 2) {
        if (fits(check, inode, n)) {
            check->block_bytes = n;
            check->or_more = inode->size_bytes <= n;
            return DECIDED;
        }
    }
    return GO_ON; /* holes, or damaged */
}

int cramfs_check_block_size(struct cramfs *fs, struct cramfs_error *err)
{
    CLEAN(free_p) uint8_t *packed = malloc((size_t)2 * BLOCK_BYTES_MAX);
    CLEAN(free_p) uint8_t *block = malloc(BLOCK_BYTES_MAX);
    struct check check = {.fs = fs, .packed = packed, .block = block};

    if (!packed || !block)
        return CRAMFS_FAIL(err, -ENOMEM, 0, 0, "no memory to look at the block size");
    if (cramfs_info_get(fs)->flags & CRAMFS_FLAG_EXT_BLOCK_POINTERS)
        return 0;                                   /* each block says where it is */
    (void)!cramfs_walk(fs, on_inode, &check, NULL); /* damage is named when it is met */
    if (check.block_bytes == 0)
        return 0;
    return CRAMFS_FAIL(err, -EOPNOTSUPP, 0, cramfs_info_get(fs)->base_offset,
                       "its blocks are of %u bytes%s (mkfs.cramfs -b), and only blocks of %u are "
                       "served",
                       check.block_bytes, check.or_more ? " or more" : "", CRAMFS_BLOCK_SIZE);
}
