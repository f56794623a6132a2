/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the cramfs reader share: folders and images in a temporary folder, made by
 * mkfs.cramfs, and images with extended block pointers, written here after Linux fs/cramfs/README
 * since mkfs.cramfs makes none. Header only, like tests/support/unit.h.
 */
#ifndef MUSE_TESTS_UNIT_CRAMFS_SAMPLES_H
#define MUSE_TESTS_UNIT_CRAMFS_SAMPLES_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <check.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"
#include "drivers/cramfs/cramfs_image.h"
#include "tests/support/unit.h"

#ifndef PAGE /* tests/support/client.h has the same */
#define PAGE CRAMFS_BLOCK_SIZE
#endif
#define SUPER_SIZE 76u

/* flags of the superblock and of block pointers, as in linux/cramfs_fs.h */
#define FLAG_FSID_V2         0x001u
#define FLAG_SORTED          0x002u
#define FLAG_HOLES           0x100u
#define FLAG_WRONG_SIGNATURE 0x200u
#define FLAG_EXT_POINTERS    0x800u
#define PTR_UNCOMPRESSED     0x80000000u
#define PTR_DIRECT           0x40000000u

static char mkfs[] = "/usr/sbin/mkfs.cramfs";
static char temp_dir[64]; /* set up and removed around every test */

/* An image in memory. */
struct image {
    uint8_t *bytes; /* owned */
    size_t n_bytes;
};

static inline void image_done_p(struct image *image)
{
    free(image->bytes);
}

static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value);
    put16(at + 2, value >> 16);
}

static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void write_all(int fd, const void *bytes, size_t n_bytes, off_t offset)
{
    ck_assert_int_eq(pwrite(fd, bytes, n_bytes, offset), (ssize_t)n_bytes);
}

static inline int memfd_of(const void *bytes, size_t n_bytes)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    if (n_bytes)
        write_all(fd, bytes, n_bytes, 0);
    return fd;
}

/* ---- the temporary folder and mkfs.cramfs ---- */

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void temp_set_up(void)
{
    (void)snprintf(temp_dir, sizeof(temp_dir), "/tmp/test-cramfs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(temp_dir));
}

static inline void temp_tear_down(void)
{
    ck_assert_int_eq(nftw(temp_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Runs mkfs.cramfs on temp_dir/tree; opts is NULL-terminated. Returns the opened image. */
static inline int make_image(const char *const opts[])
{
    char tree[96];
    char out[96];
    char *argv[8];
    char *envp[] = {NULL};
    size_t n = 0;
    posix_spawn_file_actions_t actions;
    int status;
    pid_t pid;
    int fd;

    (void)snprintf(tree, sizeof(tree), "%s/tree", temp_dir);
    (void)snprintf(out, sizeof(out), "%s/image", temp_dir);
    argv[n++] = mkfs;
    for (size_t i = 0; opts[i]; i++)
        argv[n++] = strdup(opts[i]);
    argv[n] = tree;
    argv[n + 1] = out;
    argv[n + 2] = NULL;
    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    ck_assert_int_eq(posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0), 0);
    ck_assert_int_eq(posix_spawn(&pid, mkfs, &actions, NULL, argv, envp), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 1; i < n; i++)
        free(argv[i]);
    fd = open(out, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline struct image load_image(int fd)
{
    struct image image = {0};
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    image.n_bytes = (size_t)st.st_size;
    image.bytes = malloc(image.n_bytes);
    ck_assert_ptr_nonnull(image.bytes);
    ck_assert_int_eq(pread(fd, image.bytes, image.n_bytes, 0), st.st_size);
    return image;
}

/* Opens temp_dir/tree, made if it is not there. */
static inline int open_tree(void)
{
    char path[96];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/tree", temp_dir);
    (void)mkdir(path, 0755); /* may be there already; the open tells */
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline void add_file(int tree, const char *name, const void *bytes, size_t n_bytes,
                            mode_t mode)
{
    int fd = openat(tree, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    if (n_bytes)
        write_all(fd, bytes, n_bytes, 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    (void)close(fd);
}

/* ---- a tree with everything a file can be, but for size ---- */

static inline void add_sized_files(int tree)
{
    static const size_t sizes[] = {1, PAGE - 1, PAGE, PAGE + 1, (size_t)3 * PAGE};
    uint8_t bytes[(size_t)5 * PAGE] = {0};
    char name[32];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        (void)snprintf(name, sizeof(name), "size-%zu", sizes[i]);
        add_file(tree, name, bytes, sizes[i], 0640);
    }
    add_file(tree, "same-as-size-4096", bytes, PAGE, 0644);
    memset(bytes + PAGE, 0, (size_t)3 * PAGE);
    add_file(tree, "hole", bytes, sizeof(bytes), 0444);
    memset(bytes, 0, sizeof(bytes));
    add_file(tree, "all-hole", bytes, (size_t)2 * PAGE + 7, 0444);
}

static inline void add_folders(int tree)
{
    static const char *const folders[] = {"d", "d/dd", "d/dd/ddd", "empty-dir"};
    static const int name_lengths[] = {1, 2, 3, 4, 5, 8, 9, 100, 240};
    char name[300];

    for (size_t i = 0; i < N_ELEMENTS(folders); i++)
        ck_assert_int_eq(mkdirat(tree, folders[i], 0751), 0);
    for (size_t i = 0; i < N_ELEMENTS(name_lengths); i++) {
        (void)snprintf(name, sizeof(name), "d/dd/ddd/%0*d", name_lengths[i], 7);
        add_file(tree, name, name, strlen(name), 0644);
    }
}

static inline void add_odd_files(int tree)
{
    add_sized_files(tree);
    add_folders(tree);
    add_file(tree, "empty", NULL, 0, 04755);
    add_file(tree, "\xc3\xa4\xff", "x", 1, 0600);
    ck_assert_int_eq(symlinkat("../size-1", tree, "d/link"), 0);
    ck_assert_int_eq(symlinkat("nowhere/at/all", tree, "dangling"), 0);
    ck_assert_int_eq(mkfifoat(tree, "fifo", 0622), 0);
    (void)mknodat(tree, "null", S_IFCHR | 0666, makedev(1, 3)); /* only root may */
    (void)fchownat(tree, "empty", 1000, 300, 0);                /* only root may */
}

static inline void add_small_tree(int tree)
{
    add_odd_files(tree);
    ck_assert_int_eq(mkdirat(tree, "real", 0755), 0);
    add_file(tree, "real/text", "some text", 9, 0644);
}

/* ---- images written here ---- */

#define IMAGE_MAX ((size_t)64 * PAGE)
#define GAP       0xee /* what lies between blocks, so that a byte too many is seen */

/*
 * A file of an image; its first 4096 bytes are block kinds[0], and so on:
 *     h hole   p compressed   r uncompressed, both behind the block before
 *     D compressed, d uncompressed, both at any place
 *     a uncompressed at the next page   A one page further   (both end at a page)
 */
struct sample {
    const char *name;
    const char *kinds;
    uint32_t size;
    bool has_dirty_tail; /* GAP follows a partial last block of kind 'a' */
};

/* In the order of the names, as the flag for sorted directories promises. */
static const struct sample samples[] = {
    {"aligned", "aaaaaa", 5 * PAGE + 100, false},
    {"dirty", "aaa", 2 * PAGE + 100, true},
    {"full", "aaa", 3 * PAGE, false},
    {"gap", "aaAa", 4 * PAGE, false},
    {"holes", "hhh", 3 * PAGE, false},
    {"mixed", "apraDhpdr", 8 * PAGE + 17, false},
    {"odd", "ddd", 3 * PAGE, false}, /* a run that does not begin at a page */
    {"packed", "pDp", 2 * PAGE + 1, false},
    {"start", "rh", 2 * PAGE, false},
    {"tiny", "d", 5, false},
    {"zero", "", 0, false},
};

static inline uint32_t sample_block_bytes(const struct sample *sample, uint32_t block)
{
    const uint32_t left = sample->size - block * CRAMFS_BLOCK_SIZE;

    return left < CRAMFS_BLOCK_SIZE ? left : CRAMFS_BLOCK_SIZE;
}

/* What a block of a sample should read as. */
static inline void sample_block(const struct sample *sample, uint32_t block, uint8_t ret_page[PAGE])
{
    const uint32_t n = sample_block_bytes(sample, block);

    memset(ret_page, 0, PAGE);
    for (uint32_t i = 0; sample->kinds[block] != 'h' && i < n; i++)
        ret_page[i] = (uint8_t)(i % 251 + block * 31 + sample->size + 1);
}

/* A text without its NUL. */
static inline void put_text(uint8_t *at, const char *text)
{
    for (size_t i = 0; text[i]; i++)
        at[i] = (uint8_t)text[i];
}

static inline void put_inode(uint8_t *at, uint32_t mode, uint32_t size, size_t data_offset,
                             const char *name)
{
    uint32_t n_words = (uint32_t)(strlen(name) + 3) / 4;

    put32(at, mode);
    put32(at + 4, size);
    put32(at + 8, n_words | (uint32_t)(data_offset / 4) << 6);
    put_text(at + 12, name);
}

static inline uint32_t entry_size(const char *name)
{
    return 12 + (uint32_t)(strlen(name) + 3) / 4 * 4;
}

/* Completes an image whose root directory follows the superblock. */
static inline void put_super(struct image *image, uint32_t flags, uint32_t root_size)
{
    uint8_t *b = image->bytes;

    put32(b, 0x28cd3d45);
    put32(b + 4, (uint32_t)image->n_bytes);
    put32(b + 8, flags);
    put_text(b + 16, "Compressed ROMFS");
    put_text(b + 48, "test");
    put_inode(b + 64, S_IFDIR | 0755, root_size, SUPER_SIZE, "");
    put32(b + 32, 0);
    put32(b + 32, (uint32_t)crc32(0, b, (uInt)image->n_bytes));
}

static inline struct image new_image(void)
{
    struct image image = {.bytes = calloc(1, IMAGE_MAX), .n_bytes = IMAGE_MAX};

    ck_assert_ptr_nonnull(image.bytes);
    return image;
}

static inline void pad_to(struct image *image, size_t unit)
{
    while (image->n_bytes % unit)
        image->bytes[image->n_bytes++] = GAP;
}

/* Writes one block at the end of the image. Returns its pointer. */
static inline uint32_t write_block(struct image *image, const struct sample *sample, uint32_t block)
{
    const uint32_t n = sample_block_bytes(sample, block);
    char kind = sample->kinds[block];
    uLongf n_packed = (uLongf)2 * PAGE;
    uint8_t page[PAGE];
    size_t start;

    sample_block(sample, block, page);
    if (kind == 'h')
        return (uint32_t)image->n_bytes;
    if (kind != 'p' && kind != 'r')
        pad_to(image, kind == 'a' || kind == 'A' ? PAGE : 4);
    image->n_bytes += kind == 'A' ? PAGE : kind == 'd' && image->n_bytes % PAGE == 0 ? 4 : 0;
    start = image->n_bytes + (kind == 'D' ? 2 : 0);
    if (kind != 'p' && kind != 'D') {
        memcpy(image->bytes + start, page, n);
        image->n_bytes += kind == 'r' ? n : PAGE;
        if (sample->has_dirty_tail)
            memset(image->bytes + start + n, GAP, PAGE - n);
        return kind == 'r' ? (uint32_t)image->n_bytes | PTR_UNCOMPRESSED
                           : (uint32_t)(start / 4) | PTR_UNCOMPRESSED | PTR_DIRECT;
    }
    ck_assert_int_eq(compress(image->bytes + start, &n_packed, page, n), Z_OK);
    image->n_bytes = start + n_packed;
    if (kind == 'p')
        return (uint32_t)image->n_bytes;
    put16(image->bytes + start - 2, (uint32_t)n_packed);
    return (uint32_t)(start - 2) / 4 | PTR_DIRECT;
}

static inline struct image sample_image(uint32_t extra_flags)
{
    struct image image = new_image();
    uint32_t root_size = 0;
    size_t entry = SUPER_SIZE;

    for (size_t i = 0; i < N_ELEMENTS(samples); i++)
        root_size += entry_size(samples[i].name);
    image.n_bytes = SUPER_SIZE + root_size;
    for (size_t i = 0; i < N_ELEMENTS(samples); i++) {
        const struct sample *sample = &samples[i];
        uint32_t n_blocks = (uint32_t)strlen(sample->kinds);
        size_t table;

        pad_to(&image, 4);
        table = image.n_bytes;
        put_inode(image.bytes + entry, S_IFREG | 0644, sample->size, n_blocks ? table : 0,
                  sample->name);
        entry += entry_size(sample->name);
        image.n_bytes += (size_t)n_blocks * 4;
        for (uint32_t block = 0; block < n_blocks; block++)
            put32(image.bytes + table + (size_t)block * 4, write_block(&image, sample, block));
    }
    pad_to(&image, PAGE);
    ck_assert_uint_le(image.n_bytes, IMAGE_MAX);
    put_super(&image, FLAG_FSID_V2 | FLAG_SORTED | FLAG_HOLES | extra_flags, root_size);
    return image;
}

#endif
