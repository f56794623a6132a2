/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a cramfs image: its superblock, its checksum, and the decoding of inodes. Owns the struct
 * cramfs and its inflate stream; the fd is the caller's. Called by the cramfs driver. Directories
 * are in cramfs_dir.c, file data in cramfs_block.c.
 */
#include "drivers/cramfs/cramfs_image.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/cramfs/cramfs_format.h"

/* Bytes read at once for the checksum. Chosen: few calls, and still cheap to allocate. */
#define CRC_CHUNK_BYTES 65536u

void cramfs_error_set(struct cramfs_error *err, int code, uint64_t inode, uint64_t offset,
                      const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return;
    err->err = code;
    err->inode = inode;
    err->offset = offset;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
}

int cramfs_read_at(const struct cramfs *fs, uint64_t offset, void *ret_buf, size_t n_bytes,
                   uint64_t inode, struct cramfs_error *err)
{
    uint64_t limit = fs->info.limit_bytes;
    uint8_t *buf = ret_buf;
    size_t done = 0;

    if (offset > limit || n_bytes > limit - offset) {
        return CRAMFS_FAIL(err, -EIO, inode, offset, "%zu bytes reach past the image's end at %llu",
                           n_bytes, (unsigned long long)limit);
    }
    while (done < n_bytes) {
        ssize_t n = pread(fs->fd, buf + done, n_bytes - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int code = -errno;

            return CRAMFS_FAIL(err, code, inode, offset + done, "cannot read %zu bytes: errno %d",
                               n_bytes - done, -code);
        }
        if (n == 0) {
            return CRAMFS_FAIL(err, -EIO, inode, offset + done,
                               "the image became shorter than it was when opened");
        }
        done += (size_t)n;
    }
    return 0;
}

/* The size of the file or device behind the fd. */
static int file_size(int fd, uint64_t *ret_bytes, struct cramfs_error *err)
{
    struct stat st;
    uint64_t bytes;

    if (fstat(fd, &st) < 0) {
        int code = -errno;

        return CRAMFS_FAIL(err, code, 0, 0, "cannot stat the image: errno %d", -code);
    }
    if (S_ISREG(st.st_mode)) {
        *ret_bytes = (uint64_t)st.st_size;
        return 0;
    }
    if (!S_ISBLK(st.st_mode))
        return CRAMFS_FAIL(err, -EINVAL, 0, 0, "the image is no regular file or block device");
    if (ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
        int code = -errno;

        return CRAMFS_FAIL(err, code, 0, 0, "cannot get the device's size: errno %d", -code);
    }
    *ret_bytes = bytes;
    return 0;
}

static bool is_magic(const uint8_t *super)
{
    return cramfs_le32(super) == CRAMFS_MAGIC;
}

static bool is_swapped_magic(const uint8_t *super)
{
    return cramfs_le32(super) == __builtin_bswap32(CRAMFS_MAGIC);
}

/* Finds the superblock at one of its two places; fills only base_offset. */
static int find_super(struct cramfs *fs, uint8_t *ret_super, struct cramfs_error *err)
{
    static const uint64_t places[] = {0, CRAMFS_PAD_SIZE};

    if (fs->info.limit_bytes < CRAMFS_SUPER_SIZE) {
        return CRAMFS_FAIL(err, -EINVAL, 0, 0, "%llu bytes are too few for a cramfs superblock",
                           (unsigned long long)fs->info.limit_bytes);
    }
    for (size_t i = 0; i < N_ELEMENTS(places); i++) {
        int r;

        if (fs->info.limit_bytes < places[i] + CRAMFS_SUPER_SIZE)
            break;
        r = cramfs_read_at(fs, places[i], ret_super, CRAMFS_SUPER_SIZE, 0, err);
        if (r < 0)
            return r;
        fs->info.base_offset = places[i];
        if (is_magic(ret_super))
            return 0;
        if (is_swapped_magic(ret_super)) {
            return CRAMFS_FAIL(err, -EINVAL, 0, places[i],
                               "the image is big-endian; only little-endian images can be read");
        }
    }
    return CRAMFS_FAIL(err, -EINVAL, 0, 0, "no cramfs magic number at byte 0 or 512");
}

static int check_super(struct cramfs *fs, const uint8_t *super, struct cramfs_error *err)
{
    struct cramfs_info *info = &fs->info;
    uint32_t unknown = info->flags & ~CRAMFS_FLAGS_KNOWN;
    uint32_t size = cramfs_le32(super + 4);

    if (!(info->flags & CRAMFS_FLAG_WRONG_SIGNATURE) &&
        memcmp(super + 16, CRAMFS_SIGNATURE, CRAMFS_SIGNATURE_SIZE) != 0) {
        return CRAMFS_FAIL(err, -EINVAL, 0, info->base_offset + 16,
                           "the superblock's signature is not \"" CRAMFS_SIGNATURE "\"");
    }
    if (unknown) {
        return CRAMFS_FAIL(err, -EINVAL, 0, info->base_offset + 8,
                           "the image has unknown feature flags %#x", unknown);
    }
    if (!(info->flags & CRAMFS_FLAG_FSID_VERSION_2))
        return 0; /* its size word is not to be relied on: the file's length is the limit */
    if (size < info->base_offset + CRAMFS_SUPER_SIZE) {
        return CRAMFS_FAIL(err, -EIO, 0, info->base_offset + 4,
                           "the superblock gives a size of only %u bytes", size);
    }
    if (size > info->limit_bytes) {
        return CRAMFS_FAIL(err, -EIO, 0, info->limit_bytes,
                           "the image is truncated: it has %llu bytes of %u",
                           (unsigned long long)info->limit_bytes, size);
    }
    info->limit_bytes = size;
    return 0;
}

static void fill_info(struct cramfs_info *info, const uint8_t *super)
{
    info->flags = cramfs_le32(super + 8);
    if (info->flags & CRAMFS_FLAG_FSID_VERSION_2) {
        info->crc = cramfs_le32(super + CRAMFS_SUPER_CRC);
        info->edition = cramfs_le32(super + 36);
        info->n_blocks = cramfs_le32(super + 40);
        info->n_files = cramfs_le32(super + 44);
    }
    memcpy(info->name, super + CRAMFS_SUPER_NAME, CRAMFS_SUPER_NAME_SIZE);
    info->name[CRAMFS_SUPER_NAME_SIZE] = '\0';
}

/* The checksum is taken from the superblock to the end, with its own field as zero. */
static int check_crc(const struct cramfs *fs, struct cramfs_error *err)
{
    const struct cramfs_info *info = &fs->info;
    uint32_t crc = (uint32_t)crc32(0, NULL, 0);
    uint64_t at = info->base_offset;
    CLEAN(free_p) uint8_t *chunk = NULL;

    if (!(info->flags & CRAMFS_FLAG_FSID_VERSION_2)) {
        return CRAMFS_FAIL(err, -EOPNOTSUPP, 0, info->base_offset,
                           "the image is of the first version, which has no checksum");
    }
    chunk = malloc(CRC_CHUNK_BYTES);
    if (chunk == NULL)
        return CRAMFS_FAIL(err, -ENOMEM, 0, at, "no memory for the checksum");
    while (at < info->limit_bytes) {
        uint64_t left = info->limit_bytes - at;
        uint32_t n = left < CRC_CHUNK_BYTES ? (uint32_t)left : CRC_CHUNK_BYTES;
        int r = cramfs_read_at(fs, at, chunk, n, 0, err);

        if (r < 0)
            return r;
        if (at == info->base_offset)
            memset(chunk + CRAMFS_SUPER_CRC, 0, sizeof(uint32_t));
        crc = (uint32_t)crc32(crc, chunk, n);
        at += n;
    }
    if (crc != info->crc) {
        return CRAMFS_FAIL(err, -EIO, 0, info->base_offset + CRAMFS_SUPER_CRC,
                           "the checksum is %#010x and should be %#010x", crc, info->crc);
    }
    return 0;
}

static int check_root(struct cramfs *fs, const uint8_t *super, struct cramfs_error *err)
{
    uint64_t place = fs->info.base_offset + CRAMFS_SUPER_ROOT;
    uint64_t data;
    int r = cramfs_inode_decode(fs, super + CRAMFS_SUPER_ROOT, 0, &fs->root, err);

    if (r < 0)
        return r;
    if (!S_ISDIR(fs->root.mode))
        return CRAMFS_FAIL(err, -EIO, fs->root.ino, place, "the root inode is no directory");
    fs->root.mode |= 0555; /* as Linux does: some versions of mkcramfs left them out */
    data = fs->root.data_offset;
    if (fs->info.flags & CRAMFS_FLAG_SHIFTED_ROOT_OFFSET || data == 0)
        return 0;
    if (data != CRAMFS_SUPER_SIZE && data != CRAMFS_PAD_SIZE + CRAMFS_SUPER_SIZE) {
        return CRAMFS_FAIL(err, -EIO, fs->root.ino, place,
                           "the root directory is at byte %llu, not after the superblock",
                           (unsigned long long)data);
    }
    return 0;
}

int cramfs_open(int fd, unsigned int options, struct cramfs **ret_fs, struct cramfs_error *err)
{
    uint8_t super[CRAMFS_SUPER_SIZE];
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    int r;

    if (options & ~(unsigned int)CRAMFS_OPEN_VERIFY_CRC)
        return CRAMFS_FAIL(err, -EINVAL, 0, 0, "unknown options %#x", options);
    fs = calloc(1, sizeof(*fs));
    if (fs == NULL)
        return CRAMFS_FAIL(err, -ENOMEM, 0, 0, "no memory for the image");
    fs->fd = fd;
    r = file_size(fd, &fs->info.limit_bytes, err);
    if (r < 0)
        return r;
    r = find_super(fs, super, err);
    if (r < 0)
        return r;
    fill_info(&fs->info, super);
    r = check_super(fs, super, err);
    if (r < 0)
        return r;
    if (options & CRAMFS_OPEN_VERIFY_CRC) {
        r = check_crc(fs, err);
        if (r < 0)
            return r;
    }
    r = check_root(fs, super, err);
    if (r < 0)
        return r;
    if (inflateInit(&fs->inflater) != Z_OK)
        return CRAMFS_FAIL(err, -ENOMEM, 0, 0, "no memory for the decompressor");
    fs->has_inflater = true;
    *ret_fs = TAKE(fs);
    return 0;
}

struct cramfs *cramfs_close(struct cramfs *fs)
{
    if (fs == NULL)
        return NULL;
    if (fs->has_inflater)
        (void)inflateEnd(&fs->inflater); /* says only that the stream was discarded early */
    free(fs);
    return NULL;
}

const struct cramfs_info *cramfs_info_get(const struct cramfs *fs)
{
    return &fs->info;
}

/* The table an inode points to, n_bytes long, has to be inside the image. */
static int check_table(const struct cramfs *fs, const struct cramfs_inode *inode, uint64_t n_bytes,
                       struct cramfs_error *err)
{
    uint64_t limit = fs->info.limit_bytes;

    if (inode->data_offset > limit || n_bytes > limit - inode->data_offset) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, inode->data_offset,
                           "the inode's table of %llu bytes reaches past the image's end at %llu",
                           (unsigned long long)n_bytes, (unsigned long long)limit);
    }
    return 0;
}

/* Completes an inode of one of the three types that have data. */
static int decode_data(const struct cramfs *fs, uint64_t place, uint64_t data_offset,
                       struct cramfs_inode *inode, struct cramfs_error *err)
{
    if (inode->size_bytes == 0)
        return 0;
    if (data_offset == 0) {
        return CRAMFS_FAIL(err, -EIO, inode->ino, place,
                           "the inode has %u bytes of data, but no offset for them",
                           inode->size_bytes);
    }
    inode->data_offset = data_offset;
    inode->ino = data_offset;
    if (S_ISDIR(inode->mode))
        return check_table(fs, inode, inode->size_bytes, err);
    inode->n_blocks = (inode->size_bytes + CRAMFS_BLOCK_SIZE - 1) / CRAMFS_BLOCK_SIZE;
    return check_table(fs, inode, (uint64_t)inode->n_blocks * CRAMFS_POINTER_SIZE, err);
}

int cramfs_inode_decode(const struct cramfs *fs, const uint8_t *raw, uint64_t place,
                        struct cramfs_inode *ret_inode, struct cramfs_error *err)
{
    uint32_t owner = cramfs_le32(raw);
    uint32_t size = cramfs_le32(raw + 4);
    uint64_t data_offset = (uint64_t)(cramfs_le32(raw + 8) >> 6) * 4;
    struct cramfs_inode inode = {
        .mode = owner & 0xffff, .uid = owner >> 16, .gid = size >> 24, .ino = place + 1};
    int r;

    switch (inode.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
        inode.size_bytes = size & 0xffffff;
        r = decode_data(fs, place, data_offset, &inode, err);
        if (r < 0)
            return r;
        break;
    case S_IFCHR:
    case S_IFBLK:
        inode.rdev = size & 0xffffff;
        break;
    case S_IFIFO:
    case S_IFSOCK:
        break;
    default:
        return CRAMFS_FAIL(err, -EIO, inode.ino, place, "the inode's mode %#o is of no file type",
                           inode.mode);
    }
    *ret_inode = inode;
    return 0;
}
