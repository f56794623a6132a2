/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File data of a cramfs image: where a block lies, its bytes, and the runs of blocks that can be
 * mapped as they are. Owns nothing; uses the inflate stream and the buffer of the struct cramfs.
 * Called by the cramfs driver. Caches nothing: the pager's page cache is above it.
 *
 * A file with n blocks has a table of n pointers at its data_offset. Without flag bits a pointer is
 * the END of its block, which begins where the one before it ends (the first: after the table):
 *
 *     | ptr 0 | ptr 1 | ptr 2 | block 0 ... | block 1 ... | block 2 ... |
 *                                           ^ptr 0        ^ptr 1        ^ptr 2
 *
 * A block of no bytes is a hole. With CRAMFS_FLAG_EXT_BLOCK_POINTERS two bits change that:
 *
 *     UNCOMPRESSED           the bytes are the file's own
 *     DIRECT                 the pointer is the START / 4, and the block begins with its length in
 *                            16 bits
 *     DIRECT | UNCOMPRESSED  the pointer is the START / 4, and the length is that of the block
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "drivers/cramfs/cramfs_format.h"
#include "drivers/cramfs/cramfs_image.h"

/* Pointers read at once when looking for a run. Chosen: 4 MiB of file by one call and 4 KiB. */
#define RUN_CHUNK_POINTERS 1024u

/* Bytes of a compressed direct block's own length. */
#define DIRECT_LENGTH_SIZE 2u

/* Where a block's bytes are. */
struct extent {
    uint64_t start;
    uint64_t n_bytes; /* 0: a hole */
    bool is_packed;
};

/* How many bytes of the file a block holds. */
static uint32_t block_length(const struct cramfs_inode *inode, uint32_t block)
{
    uint32_t left = inode->size_bytes - block * CRAMFS_BLOCK_SIZE;

    return left < CRAMFS_BLOCK_SIZE ? left : CRAMFS_BLOCK_SIZE;
}

static uint64_t pointer_place(const struct cramfs_inode *inode, uint32_t block)
{
    return inode->data_offset + (uint64_t)block * CRAMFS_POINTER_SIZE;
}

static uint64_t direct_start(uint32_t pointer)
{
    return (uint64_t)(pointer & CRAMFS_POINTER_MASK) << CRAMFS_POINTER_SHIFT;
}

/* The extent of a compressed direct block, whose length is in the image. */
static int direct_packed_extent(const struct cramfs *fs, const struct cramfs_inode *inode,
                                uint32_t pointer, struct extent *ret_extent,
                                struct cramfs_error *err)
{
    uint64_t start = direct_start(pointer);
    uint8_t length[DIRECT_LENGTH_SIZE];
    int r = cramfs_read_at(fs, start, length, sizeof(length), inode->ino, err);

    if (r < 0)
        return r;
    *ret_extent = (struct extent){.start = start + DIRECT_LENGTH_SIZE,
                                  .n_bytes = (uint64_t)length[0] | (uint64_t)length[1] << 8,
                                  .is_packed = true};
    return 0;
}

/* Where a block ends, which is where the next one begins unless that has a direct pointer. */
static int block_end(const struct cramfs *fs, const struct cramfs_inode *inode, uint32_t pointer,
                     uint64_t *ret_end, struct cramfs_error *err)
{
    struct extent extent;
    int r;

    if (!(pointer & CRAMFS_POINTER_DIRECT)) {
        *ret_end = pointer & CRAMFS_POINTER_MASK;
        return 0;
    }
    if (pointer & CRAMFS_POINTER_UNCOMPRESSED) {
        *ret_end = direct_start(pointer) + CRAMFS_BLOCK_SIZE;
        return 0;
    }
    r = direct_packed_extent(fs, inode, pointer, &extent, err);
    if (r < 0)
        return r;
    *ret_end = extent.start + extent.n_bytes;
    return 0;
}

/* The extent of a block whose pointer is its end. */
static int chained_extent(const struct cramfs *fs, const struct cramfs_inode *inode, uint32_t block,
                          const uint32_t pointers[2], struct extent *ret_extent,
                          struct cramfs_error *err)
{
    uint64_t start = pointer_place(inode, inode->n_blocks);
    uint64_t end = pointers[1] & CRAMFS_POINTER_MASK;
    int r;

    if (block > 0) {
        r = block_end(fs, inode, pointers[0], &start, err);
        if (r < 0)
            return r;
    }
    if (end < start) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, pointer_place(inode, block),
                           "block %u ends at byte %llu, before it begins at %llu", block,
                           (unsigned long long)end, (unsigned long long)start);
    }
    *ret_extent = (struct extent){.start = start,
                                  .n_bytes = end - start,
                                  .is_packed = !(pointers[1] & CRAMFS_POINTER_UNCOMPRESSED)};
    return 0;
}

/* Reads a block's pointer into ret_pointers[1], and the one before it (or 0) into [0]. */
static int read_pointers(const struct cramfs *fs, const struct cramfs_inode *inode, uint32_t block,
                         uint32_t ret_pointers[2], struct cramfs_error *err)
{
    uint8_t raw[2 * CRAMFS_POINTER_SIZE] = {0};
    uint32_t n_before = block > 0 ? 1 : 0;
    uint64_t place = pointer_place(inode, block - n_before);
    int r = cramfs_read_at(fs, place, n_before ? raw : raw + CRAMFS_POINTER_SIZE,
                           (size_t)(n_before + 1) * CRAMFS_POINTER_SIZE, inode->ino, err);

    if (r < 0)
        return r;
    ret_pointers[0] = cramfs_le32(raw);
    ret_pointers[1] = cramfs_le32(raw + CRAMFS_POINTER_SIZE);
    if (fs->info.flags & CRAMFS_FLAG_EXT_BLOCK_POINTERS)
        return 0;
    if ((ret_pointers[0] | ret_pointers[1]) & CRAMFS_POINTER_FLAGS) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, place,
                           "block %u has a pointer with flags, and the image does not allow them",
                           block);
    }
    return 0;
}

/* Finds out where a block is, and that its length is possible. */
static int find_extent(const struct cramfs *fs, const struct cramfs_inode *inode, uint32_t block,
                       struct extent *ret_extent, struct cramfs_error *err)
{
    uint32_t expected = block_length(inode, block);
    uint32_t pointers[2];
    struct extent extent;
    int r = read_pointers(fs, inode, block, pointers, err);

    if (r < 0)
        return r;
    if (!(pointers[1] & CRAMFS_POINTER_DIRECT)) {
        r = chained_extent(fs, inode, block, pointers, &extent, err);
    } else if (!(pointers[1] & CRAMFS_POINTER_UNCOMPRESSED)) {
        r = direct_packed_extent(fs, inode, pointers[1], &extent, err);
    } else {
        extent = (struct extent){.start = direct_start(pointers[1]), .n_bytes = expected};
    }
    if (r < 0)
        return r;
    if (extent.is_packed && extent.n_bytes > CRAMFS_PACKED_MAX) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, extent.start,
                           "block %u has %llu compressed bytes, more than %u", block,
                           (unsigned long long)extent.n_bytes, CRAMFS_PACKED_MAX);
    }
    if (!extent.is_packed && extent.n_bytes != 0 && extent.n_bytes != expected) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, extent.start,
                           "block %u has %llu uncompressed bytes instead of %u", block,
                           (unsigned long long)extent.n_bytes, expected);
    }
    *ret_extent = extent;
    return 0;
}

/* Decompresses a block that is in fs->packed into a page. */
static int unpack(struct cramfs *fs, const struct cramfs_inode *inode, uint32_t block,
                  const struct extent *extent, uint8_t *ret_page, struct cramfs_error *err)
{
    uint32_t expected = block_length(inode, block);
    z_stream *z = &fs->inflater;
    int r;

    MUST(inflateReset(z) == Z_OK); /* fails for a stream that was never set up */
    z->next_in = fs->packed;
    z->avail_in = (uInt)extent->n_bytes;
    z->next_out = ret_page;
    z->avail_out = CRAMFS_BLOCK_SIZE;
    r = inflate(z, Z_FINISH);
    if (r == Z_MEM_ERROR)
        return CRAMFS_FAIL(err, -ENOMEM, inode->ino, extent->start, "no memory to decompress");
    if (r != Z_STREAM_END) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, extent->start,
                           "block %u cannot be decompressed: %s", block,
                           z->msg != NULL ? z->msg : "it is incomplete or too long");
    }
    if (z->total_out != expected) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, extent->start,
                           "block %u decompresses to %lu bytes instead of %u", block, z->total_out,
                           expected);
    }
    return 0;
}

int cramfs_read_block(struct cramfs *fs, const struct cramfs_inode *inode, uint32_t block,
                      void *ret_page, struct cramfs_error *err)
{
    struct extent extent;
    uint8_t *page = ret_page;
    int r;

    if (block >= inode->n_blocks) {
        return CRAMFS_FAIL(err, -EINVAL, inode->ino, inode->data_offset,
                           "the inode has %u blocks, none with number %u", inode->n_blocks, block);
    }
    r = find_extent(fs, inode, block, &extent, err);
    if (r < 0)
        return r;
    if (extent.n_bytes == 0) {
        memset(page, 0, CRAMFS_BLOCK_SIZE);
        return 0;
    }
    r = cramfs_read_at(fs, extent.start, extent.is_packed ? fs->packed : page,
                       (size_t)extent.n_bytes, inode->ino, err);
    if (r == 0 && extent.is_packed)
        r = unpack(fs, inode, block, &extent, page, err);
    if (r < 0)
        return r;
    memset(page + block_length(inode, block), 0, CRAMFS_BLOCK_SIZE - block_length(inode, block));
    return 0;
}

/* Counts how many pointers of a chunk go on with a run that begins at @start. */
static uint32_t count_run(const uint8_t *raw, uint32_t n_pointers, uint64_t start, uint64_t limit)
{
    for (uint32_t i = 0; i < n_pointers; i++) {
        uint64_t at = start + (uint64_t)i * CRAMFS_BLOCK_SIZE;
        uint32_t pointer = cramfs_le32(raw + (size_t)i * CRAMFS_POINTER_SIZE);

        if ((pointer & CRAMFS_POINTER_FLAGS) != CRAMFS_POINTER_FLAGS ||
            direct_start(pointer) != at || at + CRAMFS_BLOCK_SIZE > limit)
            return i;
    }
    return n_pointers;
}

/* Follows the pointers from first_block for as long as they make a run. */
static int find_run(const struct cramfs *fs, const struct cramfs_inode *inode, uint32_t first_block,
                    uint64_t *ret_start, uint32_t *ret_n_blocks, struct cramfs_error *err)
{
    uint8_t raw[RUN_CHUNK_POINTERS * CRAMFS_POINTER_SIZE];
    uint32_t n_blocks = 0;
    uint64_t start = 0;

    while (first_block + n_blocks < inode->n_blocks) {
        uint32_t left = inode->n_blocks - first_block - n_blocks;
        uint32_t n = left < RUN_CHUNK_POINTERS ? left : RUN_CHUNK_POINTERS;
        uint32_t n_good;
        int r = cramfs_read_at(fs, pointer_place(inode, first_block + n_blocks), raw,
                               (size_t)n * CRAMFS_POINTER_SIZE, inode->ino, err);

        if (r < 0)
            return r;
        if (n_blocks == 0)
            start = direct_start(cramfs_le32(raw));
        n_good =
            count_run(raw, n, start + (uint64_t)n_blocks * CRAMFS_BLOCK_SIZE, fs->info.limit_bytes);
        n_blocks += n_good;
        if (n_good < n)
            break;
    }
    *ret_start = start;
    *ret_n_blocks = n_blocks;
    return 0;
}

/* Whether the page of a partial last block holds anything but zeros after the file's end. */
static int tail_is_shared(const struct cramfs *fs, const struct cramfs_inode *inode,
                          uint64_t page_start, bool *ret_is_shared, struct cramfs_error *err)
{
    static const uint8_t zeros[CRAMFS_BLOCK_SIZE];
    uint32_t used = block_length(inode, inode->n_blocks - 1);
    uint8_t tail[CRAMFS_BLOCK_SIZE];
    int r = cramfs_read_at(fs, page_start + used, tail, CRAMFS_BLOCK_SIZE - used, inode->ino, err);

    if (r < 0)
        return r;
    *ret_is_shared = memcmp(tail, zeros, CRAMFS_BLOCK_SIZE - used) != 0;
    return 0;
}

int cramfs_direct_run(const struct cramfs *fs, const struct cramfs_inode *inode,
                      uint32_t first_block, uint64_t *ret_image_offset, uint32_t *ret_n_blocks,
                      struct cramfs_error *err)
{
    uint64_t start = 0;
    uint32_t n_blocks = 0;
    int r;

    if (fs->info.flags & CRAMFS_FLAG_EXT_BLOCK_POINTERS && S_ISREG(inode->mode) &&
        first_block < inode->n_blocks) {
        r = find_run(fs, inode, first_block, &start, &n_blocks, err);
        if (r < 0)
            return r;
    }
    if (start == 0 || start % CRAMFS_BLOCK_SIZE != 0)
        n_blocks = 0;
    if (n_blocks > 0 && first_block + n_blocks == inode->n_blocks) {
        uint64_t last = start + (uint64_t)(n_blocks - 1) * CRAMFS_BLOCK_SIZE;
        bool is_shared;

        r = tail_is_shared(fs, inode, last, &is_shared, err);
        if (r < 0)
            return r;
        n_blocks -= is_shared ? 1 : 0;
    }
    *ret_image_offset = n_blocks > 0 ? start : 0;
    *ret_n_blocks = n_blocks;
    return 0;
}

int cramfs_readlink(struct cramfs *fs, const struct cramfs_inode *inode,
                    char ret_target[CRAMFS_BLOCK_SIZE], struct cramfs_error *err)
{
    int r;

    if (!S_ISLNK(inode->mode)) {
        return CRAMFS_FAIL(err, -EINVAL, inode->ino, inode->data_offset,
                           "the inode is no symbolic link");
    }
    if (inode->size_bytes == 0 || inode->size_bytes >= CRAMFS_BLOCK_SIZE) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, inode->data_offset,
                           "a symbolic link has a target of %u bytes", inode->size_bytes);
    }
    r = cramfs_read_block(fs, inode, 0, ret_target, err);
    if (r < 0)
        return r;
    if (strlen(ret_target) != inode->size_bytes) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, inode->data_offset,
                           "the target of a symbolic link contains a NUL");
    }
    return 0;
}
