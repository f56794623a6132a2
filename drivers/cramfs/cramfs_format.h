/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the cramfs image reader: the on-disk numbers, the opened image, and the two helpers all
 * its files use. Included by cramfs_image.c, cramfs_dir.c and cramfs_block.c only.
 *
 * Superblock, 76 bytes, all words 32 bits little-endian:
 *
 *     0 magic   4 size   8 flags   12 future   16 signature[16]   32 crc   36 edition
 *     40 blocks   44 files   48 name[16]   64 root inode
 *
 * Inode, 12 bytes, in a directory followed by its name, padded with NULs to a multiple of four:
 *
 *     0 mode:16 uid:16   4 size:24 gid:8   8 name_words:6 offset_words:26
 *
 * The kernel's header is not included: it declares a struct cramfs_inode of its own, with
 * bit-fields in the order of the host.
 */
#ifndef MUSE_DRIVERS_CRAMFS_FORMAT_H
#define MUSE_DRIVERS_CRAMFS_FORMAT_H

#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

#include "drivers/cramfs/cramfs_image.h"

#define CRAMFS_MAGIC          0x28cd3d45u
#define CRAMFS_SIGNATURE      "Compressed ROMFS"
#define CRAMFS_SIGNATURE_SIZE 16u

#define CRAMFS_SUPER_SIZE   76u
#define CRAMFS_INODE_SIZE   12u
#define CRAMFS_PAD_SIZE     512u /* mkfs.cramfs -p: room for a boot sector before the superblock */
#define CRAMFS_NAME_MAX     252u /* 63 words */
#define CRAMFS_POINTER_SIZE 4u

/* offsets in the superblock */
#define CRAMFS_SUPER_CRC       32u
#define CRAMFS_SUPER_NAME      48u
#define CRAMFS_SUPER_NAME_SIZE 16u
#define CRAMFS_SUPER_ROOT      64u

#define CRAMFS_FLAG_FSID_VERSION_2      0x001u
#define CRAMFS_FLAG_SORTED_DIRS         0x002u
#define CRAMFS_FLAG_HOLES               0x100u
#define CRAMFS_FLAG_WRONG_SIGNATURE     0x200u
#define CRAMFS_FLAG_SHIFTED_ROOT_OFFSET 0x400u
#define CRAMFS_FLAG_EXT_BLOCK_POINTERS  0x800u

/* The low eight flags are compatible by definition: linux/cramfs_fs.h, "Feature flags". */
#define CRAMFS_FLAGS_KNOWN                                                                         \
    (0xffu | CRAMFS_FLAG_HOLES | CRAMFS_FLAG_WRONG_SIGNATURE | CRAMFS_FLAG_SHIFTED_ROOT_OFFSET |   \
     CRAMFS_FLAG_EXT_BLOCK_POINTERS)

/* block pointers, with CRAMFS_FLAG_EXT_BLOCK_POINTERS */
#define CRAMFS_POINTER_UNCOMPRESSED 0x80000000u
#define CRAMFS_POINTER_DIRECT       0x40000000u /* start of the block / 4, instead of its end */
#define CRAMFS_POINTER_FLAGS        (CRAMFS_POINTER_UNCOMPRESSED | CRAMFS_POINTER_DIRECT)
#define CRAMFS_POINTER_MASK         (~CRAMFS_POINTER_FLAGS)
#define CRAMFS_POINTER_SHIFT        2

/* Longest compressed block Linux accepts: two blocks. */
#define CRAMFS_PACKED_MAX 8192u

struct cramfs {
    int fd; /* borrowed from the caller of cramfs_open(), outlived by it */
    struct cramfs_info info;
    struct cramfs_inode root;
    z_stream inflater; /* owned; valid if has_inflater */
    bool has_inflater;
    uint8_t packed[CRAMFS_PACKED_MAX]; /* compressed bytes of the block being read */
};

/** cramfs_le32() - a little-endian word at any alignment; @p has 4 bytes */
static inline uint32_t cramfs_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/**
 * cramfs_error_set() - fill a struct cramfs_error; use CRAMFS_FAIL()
 * @err:    NULL for nobody
 * @code:   negative errno
 * @inode:  number of the inode concerned, or 0
 * @offset: byte in the image
 * @format: printf format of the sentence
 */
__attribute__((format(printf, 5, 6))) void cramfs_error_set(struct cramfs_error *err, int code,
                                                            uint64_t inode, uint64_t offset,
                                                            const char *format, ...);

/**
 * CRAMFS_FAIL() - cramfs_error_set(), then the value of @code, for "return CRAMFS_FAIL(...)"
 * @code: evaluated twice. A macro so that compilers see that what is returned is negative.
 */
#define CRAMFS_FAIL(err, code, inode, offset, ...)                                                 \
    (cramfs_error_set((err), (code), (inode), (offset), __VA_ARGS__), (code))

/**
 * cramfs_read_at() - read bytes of the image, all or nothing
 * @fs:      only @fs->fd and @fs->info.limit_bytes are used
 * @offset:  byte in the image; may be any number
 * @ret_buf: @n_bytes long; partly written after an error
 * @n_bytes: may be 0
 * @inode:   for @err
 * @err:     NULL for nobody
 *
 * Return: 0; -EIO the range leaves the image, or the file became shorter; what pread(2) returned.
 */
MUST_CHECK int cramfs_read_at(const struct cramfs *fs, uint64_t offset, void *ret_buf,
                              size_t n_bytes, uint64_t inode, struct cramfs_error *err);

/**
 * cramfs_inode_decode() - check an on-disk inode and turn it into ours
 * @fs:        as for cramfs_read_at()
 * @raw:       CRAMFS_INODE_SIZE bytes
 * @place:     byte in the image the kernel counts the inode from: that of the directory entry, 0
 *             for the root
 * @ret_inode: its tables lie inside the image
 * @err:       NULL for nobody
 *
 * Return: 0; -EIO damaged.
 */
MUST_CHECK int cramfs_inode_decode(const struct cramfs *fs, const uint8_t *raw, uint64_t place,
                                   struct cramfs_inode *ret_inode, struct cramfs_error *err);

#endif
