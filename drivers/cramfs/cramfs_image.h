/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reader of cramfs images, as mkfs.cramfs makes them and Linux mounts them.
 *
 * The image is untrusted: every read is a bounded pread() inside the file and inside the size its
 * superblock gives, nothing recurses, and the work of every call is bounded by the size of the
 * image. Damage is reported as -EIO, never as wrong bytes that the format lets us notice.
 *
 * Images are little-endian with 4096-byte blocks; a big-endian image is refused by name. Symbolic
 * links are shown, never followed. Nothing here knows about drivers, mappings or paths outside the
 * image. One struct cramfs is used by one thread at a time: it holds one inflate stream.
 *
 * Source of the format: Linux fs/cramfs/README, fs/cramfs/inode.c (6.10), linux/cramfs_fs.h.
 */
#ifndef MUSE_DRIVERS_CRAMFS_IMAGE_H
#define MUSE_DRIVERS_CRAMFS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/base/own.h"

/* The block size of every image mkfs.cramfs makes on a machine with 4 KiB pages. */
#define CRAMFS_BLOCK_SIZE 4096u

/* Deepest nesting cramfs_walk() enters. Chosen: far above real trees, and it bounds its memory. */
#define CRAMFS_MAX_DEPTH 256u

/* Longest path inside an image, with its NUL: PATH_MAX of Linux. */
#define CRAMFS_PATH_MAX 4096u

struct cramfs;

/* Options of cramfs_open(), or-ed together. */
enum cramfs_open_option {
    CRAMFS_OPEN_VERIFY_CRC = 1u << 0, /* read the whole image once and check its CRC-32 */
};

/* What went wrong, filled by every function that fails (and by none that succeeds). */
struct cramfs_error {
    int err;         /* the negative errno that was returned */
    uint64_t inode;  /* number of the inode concerned; 0: the image as a whole */
    uint64_t offset; /* byte in the image where the trouble is */
    char text[200];  /* one sentence without a full stop; holds no bytes taken from the image */
};

/* What the superblock says. */
struct cramfs_info {
    uint64_t base_offset; /* of the superblock: 0, or 512 after a boot sector */
    uint64_t limit_bytes; /* end of the image; nothing at or after it is ever read */
    uint32_t flags;       /* CRAMFS_FLAG_* of linux/cramfs_fs.h */
    uint32_t crc;         /* the four fields of the fsid: zero in images of the first version */
    uint32_t edition;
    uint32_t n_blocks;
    uint32_t n_files;
    char name[17]; /* volume name: raw bytes of the image, NUL-terminated */
};

/* One inode. A plain copy: valid for as long as its struct cramfs, and owned by whoever has it. */
struct cramfs_inode {
    uint32_t mode; /* type and permissions, as st_mode */
    uint32_t uid;
    uint32_t gid;         /* mkfs.cramfs keeps only the low 8 bits */
    uint32_t size_bytes;  /* of file, link target or directory table; 0 for all other types */
    uint32_t rdev;        /* of device nodes, in the old 16-bit encoding; else 0 */
    uint32_t n_blocks;    /* of 4096 bytes, of files and links; the last may be partial */
    uint64_t data_offset; /* byte in the image of the pointer or entry table; 0: no data */
    uint64_t ino;         /* the number Linux gives: data_offset, or place of the inode + 1 */
};

/**
 * cramfs_walk_fn() - called by cramfs_walk() for one entry
 * @arg:   as passed to cramfs_walk()
 * @path:  from the root, without a leading slash, NUL-terminated; valid during the call
 * @inode: valid during the call
 *
 * May read blocks of the same image.
 * Return: 0 to go on; anything else ends the walk, which then returns it.
 */
typedef int cramfs_walk_fn(void *arg, const char *path, const struct cramfs_inode *inode);

/**
 * cramfs_list_fn() - called by cramfs_list() for one entry
 * @arg:   as passed to cramfs_list()
 * @name:  NUL-terminated; valid during the call
 * @inode: valid during the call
 *
 * Return: 0 to go on; anything else ends the listing, which then returns it.
 */
typedef int cramfs_list_fn(void *arg, const char *name, const struct cramfs_inode *inode);

/**
 * cramfs_open() - read and check the superblock of an image
 * @fd:      regular file, memfd or block device opened for reading; borrowed, outlives *@ret_fs
 * @options: CRAMFS_OPEN_* or-ed; 0 for none
 * @ret_fs:  the caller's; cramfs_close()
 * @err:     says what is wrong; NULL if the caller does not care
 *
 * Unknown bits among the low eight flags are accepted: the format reserves them for changes that
 * old readers need not know. Unlike Linux this checks the signature (unless the image has
 * CRAMFS_FLAG_WRONG_SIGNATURE) and refuses an image shorter than its superblock says.
 *
 * Return: 0; -EINVAL not a cramfs image, of the other byte order, with unknown flags, or options
 * unknown; -EIO damaged or truncated; -EOPNOTSUPP the CRC was asked for and the image has none;
 * -ENOMEM; what fstat(2), pread(2) or the BLKGETSIZE64 ioctl returned.
 */
MUST_CHECK int cramfs_open(int fd, unsigned int options, struct cramfs **ret_fs,
                           struct cramfs_error *err);

/**
 * cramfs_close() - free what cramfs_open() made; the fd stays the caller's
 * @fs: takes; NULL does nothing
 *
 * Return: NULL.
 */
struct cramfs *cramfs_close(struct cramfs *fs);

DEFINE_CLEANUP(struct cramfs *, cramfs_close);

/**
 * cramfs_info_get() - what the superblock says
 * @fs: borrowed
 *
 * Return: borrowed from @fs.
 */
const struct cramfs_info *cramfs_info_get(const struct cramfs *fs);

/**
 * cramfs_lookup() - find an inode by its path
 * @fs:        borrowed
 * @path:      names joined by one or more '/', NUL-terminated; a leading '/' means nothing, "" is
 *             the root directory, "." and ".." are names like any other (so: not there)
 * @ret_inode: the inode, of any type: a symbolic link is not followed
 * @err:       as in cramfs_open()
 *
 * Return: 0; -ENOENT; -ENOTDIR a name before the last is no directory (a symbolic link is none), or
 * @path ends in '/' and names none; -ENAMETOOLONG @path has CRAMFS_PATH_MAX bytes or more; -EIO
 * damaged on the way; what pread(2) returned.
 */
MUST_CHECK int cramfs_lookup(const struct cramfs *fs, const char *path,
                             struct cramfs_inode *ret_inode, struct cramfs_error *err);

/**
 * cramfs_walk() - visit every entry, a directory before what is in it, in the order of the image
 * @fs:   borrowed
 * @fn:   called for each entry but the root
 * @arg:  for @fn; opaque
 * @err:  as in cramfs_open(); not filled when @fn ended the walk
 *
 * A directory that contains itself, and directories that share entries, end the walk.
 *
 * Return: 0; what @fn returned; -EIO damaged; -ENOMEM; what pread(2) returned.
 */
MUST_CHECK int cramfs_walk(const struct cramfs *fs, cramfs_walk_fn *fn, void *arg,
                           struct cramfs_error *err);

/**
 * cramfs_list() - the entries of one directory, in the order of the image
 * @fs:    borrowed
 * @dir:   of this image
 * @fn:    called for each entry
 * @arg:   for @fn; opaque
 * @err:   as in cramfs_open(); not filled when @fn ended the listing
 *
 * Return: 0; what @fn returned; -ENOTDIR; -EIO damaged; what pread(2) returned.
 */
MUST_CHECK int cramfs_list(const struct cramfs *fs, const struct cramfs_inode *dir,
                           cramfs_list_fn *fn, void *arg, struct cramfs_error *err);

/**
 * cramfs_readlink() - the target of a symbolic link
 * @fs:         borrowed
 * @inode:      of this image
 * @ret_target: NUL-terminated; undefined after an error
 * @err:        as in cramfs_open()
 *
 * Return: 0; -EINVAL @inode is no link; -EIO damaged; -ENOMEM; what pread(2) returned.
 */
MUST_CHECK int cramfs_readlink(struct cramfs *fs, const struct cramfs_inode *inode,
                               char ret_target[CRAMFS_BLOCK_SIZE], struct cramfs_error *err);

/**
 * cramfs_read_block() - the bytes of one block of a file or link
 * @fs:       borrowed
 * @inode:    of this image
 * @block:    number, 0..n_blocks-1
 * @ret_page: CRAMFS_BLOCK_SIZE bytes; zeros for a hole and after the end of the file; undefined
 *            after an error
 * @err:      as in cramfs_open()
 *
 * A last block that is whole, uncompressed and direct is read as README says; Linux (6.10) takes
 * its length from the size modulo 4096 and shows zeros.
 *
 * Return: 0; -EINVAL no such block; -EIO damaged; -ENOMEM; what pread(2) returned.
 */
MUST_CHECK int cramfs_read_block(struct cramfs *fs, const struct cramfs_inode *inode,
                                 uint32_t block, void *ret_page, struct cramfs_error *err);

/**
 * cramfs_direct_run() - how much of a file lies in the image just as a mapping would show it
 * @fs:               borrowed
 * @inode:            of this image
 * @first_block:      where the run begins
 * @ret_image_offset: byte in the image of @first_block, a multiple of 4096; 0 when there is no run
 * @ret_n_blocks:     length of the run; 0: none, use cramfs_read_block()
 * @err:              as in cramfs_open()
 *
 * The run consists of uncompressed direct blocks, one after the other, wholly inside the image. A
 * partial last block is in it only if what follows the file in that page is zero. A damaged
 * pointer ends the run; cramfs_read_block() then names the damage.
 *
 * Source: cramfs_get_block_range() and cramfs_last_page_is_shared() of Linux.
 * Return: 0; -EIO image shorter than at open; what pread(2) returned.
 */
MUST_CHECK int cramfs_direct_run(const struct cramfs *fs, const struct cramfs_inode *inode,
                                 uint32_t first_block, uint64_t *ret_image_offset,
                                 uint32_t *ret_n_blocks, struct cramfs_error *err);

#endif
