/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of drivers/cramfs/cramfs_image.h on images that are damaged, hostile or no images at all.
 * Whatever the bytes, every call returns, with data or an error that says what and where; the
 * sanitizers watch for the rest. Part of it needs mkfs.cramfs (skipped with 77 where that is
 * missing). The seed is printed; MUSE_SEED=N repeats a run.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"
#include "drivers/cramfs/cramfs_image.h"
#include "tests/support/unit.h"
#include "tests/unit/cramfs_samples.h"

#define FLIP_ALL_BYTES 1500u /* at the start of an image, where its superblock and folders are */
#define N_RANDOM_FLIPS 500u
#define N_TRUNCATIONS  300u

/* What reading all of a damaged image met. */
struct tour {
    struct cramfs *fs; /* borrowed */
    unsigned int n_entries;
    unsigned int n_blocks;
    unsigned int n_errors;
};

static void tour_note(struct tour *tour, int r, const struct cramfs_error *err)
{
    UNIT_EXPECT(r <= 0);
    if (r == 0)
        return;
    UNIT_EXPECT(err->err == r);
    UNIT_EXPECT(err->text[0] != '\0');
    tour->n_errors++;
}

static int tour_entry(void *arg, const char *path, const struct cramfs_inode *inode)
{
    struct tour *tour = arg;
    struct cramfs_inode found;
    struct cramfs_error err;
    uint8_t page[PAGE];

    tour->n_entries++;
    tour_note(tour, cramfs_lookup(tour->fs, path, &found, &err), &err);
    if (S_ISLNK(inode->mode))
        tour_note(tour, cramfs_readlink(tour->fs, inode, (char *)page, &err), &err);
    for (uint32_t block = 0; block < inode->n_blocks; block++) {
        uint64_t limit = cramfs_info_get(tour->fs)->limit_bytes;
        uint64_t offset;
        uint32_t n_blocks;

        if (++tour->n_blocks > 300)
            break; /* a damaged size: the rest of its blocks would show nothing new */
        tour_note(tour, cramfs_read_block(tour->fs, inode, block, page, &err), &err);
        UNIT_EXPECT(cramfs_direct_run(tour->fs, inode, block, &offset, &n_blocks, &err) == 0);
        UNIT_EXPECT(offset + (uint64_t)n_blocks * PAGE <= limit);
        UNIT_EXPECT(n_blocks <= inode->n_blocks - block);
    }
    return 0;
}

/* Reads everything an image has. */
static struct tour tour_image(int fd)
{
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct tour tour = {0};
    struct cramfs_error err;
    int r = cramfs_open(fd, 0, &fs, &err);

    tour_note(&tour, r, &err);
    if (r < 0)
        return tour;
    tour.fs = fs;
    tour_note(&tour, cramfs_walk(fs, tour_entry, &tour, &err), &err);
    return tour;
}

static void expect_crc_error(int fd)
{
    struct cramfs *fs = NULL;
    struct cramfs_error err;

    UNIT_EXPECT(cramfs_open(fd, CRAMFS_OPEN_VERIFY_CRC, &fs, &err) < 0);
    UNIT_EXPECT(err.text[0] != '\0');
}

/* One byte of an image is changed, everything read, and the byte put back. */
static void try_flip(int fd, const struct image *image, size_t at, uint64_t *random)
{
    uint8_t changed = (uint8_t)(image->bytes[at] ^ (1 + unit_random(random) % 255));

    write_all(fd, &changed, 1, (off_t)at);
    (void)tour_image(fd);
    expect_crc_error(fd);
    write_all(fd, &image->bytes[at], 1, (off_t)at);
}

struct table_flips {
    const struct image *image; /* borrowed */
    uint64_t random;
    int fd;
};

static int flip_table(void *arg, const char *path, const struct cramfs_inode *inode)
{
    struct table_flips *flips = arg;

    (void)path;
    for (size_t i = 0; i < (size_t)inode->n_blocks * 4 && i < 40; i++)
        try_flip(flips->fd, flips->image, inode->data_offset + i, &flips->random);
    return 0;
}

/* Every byte of the block pointers. */
static void try_table_flips(int fd, const struct image *image, uint64_t random)
{
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct table_flips flips = {.image = image, .random = random, .fd = fd};

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_walk(fs, flip_table, &flips, NULL), 0);
}

static void try_flips(int fd, const struct image *image)
{
    uint64_t random = unit_seed();
    struct tour sound = tour_image(fd);

    ck_assert_uint_eq(sound.n_errors, 0);
    ck_assert_uint_gt(sound.n_blocks, 15);
    for (size_t at = 0; at < FLIP_ALL_BYTES && at < image->n_bytes; at++)
        try_flip(fd, image, at, &random);
    for (unsigned int i = 0; i < N_RANDOM_FLIPS; i++)
        try_flip(fd, image, unit_random(&random) % image->n_bytes, &random);
    try_table_flips(fd, image, random);
    ck_assert_uint_eq(tour_image(fd).n_blocks, sound.n_blocks);
}

/* An image of mkfs.cramfs in a memfd, and its bytes. */
static int made_image(struct image *ret_image)
{
    static const char *const options[] = {"-z", NULL};
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;

    add_small_tree(tree);
    fd = make_image(options);
    *ret_image = load_image(fd);
    return memfd_of(ret_image->bytes, ret_image->n_bytes);
}

START_TEST(a_flipped_byte_is_an_error_or_other_data)
{
    CLEAN(image_done_p) struct image image = {0};
    CLEAN_FD int fd = made_image(&image);

    try_flips(fd, &image);
}
END_TEST

START_TEST(a_flipped_byte_with_extended_pointers_is_an_error_or_other_data)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);

    try_flips(fd, &image);
}
END_TEST

START_TEST(random_words_in_the_tables_are_an_error_or_other_data)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    uint64_t random = unit_seed();

    for (unsigned int i = 0; i < N_RANDOM_FLIPS; i++) {
        for (unsigned int n = 0; n < 4; n++) {
            off_t at = (off_t)(SUPER_SIZE + unit_random(&random) % 600 / 4 * 4);
            uint64_t word = unit_random(&random) >> unit_random(&random) % 32;

            write_all(fd, &word, 4, at);
        }
        (void)tour_image(fd);
        if (i % 8 == 7)
            write_all(fd, image.bytes, image.n_bytes, 0);
    }
}
END_TEST

START_TEST(a_truncated_image_is_refused)
{
    CLEAN(image_done_p) struct image image = {0};
    CLEAN_FD int fd = made_image(&image);
    uint64_t random = unit_seed();

    for (unsigned int i = 0; i < N_TRUNCATIONS; i++) {
        size_t length = i < 100 ? i : unit_random(&random) % image.n_bytes;
        struct cramfs *fs = NULL;
        struct cramfs_error err;

        ck_assert_int_eq(ftruncate(fd, (off_t)length), 0);
        UNIT_EXPECT(cramfs_open(fd, 0, &fs, &err) == (length < SUPER_SIZE ? -EINVAL : -EIO));
        write_all(fd, image.bytes, image.n_bytes, 0);
    }
    ck_assert_uint_eq(tour_image(fd).n_errors, 0);
}
END_TEST

START_TEST(a_truncated_image_without_a_size_is_read_as_far_as_it_goes)
{
    CLEAN(image_done_p) struct image image = {0};
    CLEAN_FD int fd = made_image(&image);
    uint64_t random = unit_seed();
    struct cramfs *fs = NULL;

    put32(image.bytes + 8, get32(image.bytes + 8) & ~FLAG_FSID_V2);
    write_all(fd, image.bytes, image.n_bytes, 0);
    ck_assert_uint_eq(tour_image(fd).n_errors, 0);
    ck_assert_int_eq(cramfs_open(fd, CRAMFS_OPEN_VERIFY_CRC, &fs, NULL), -EOPNOTSUPP);
    for (unsigned int i = 0; i < N_TRUNCATIONS; i++) {
        ck_assert_int_eq(ftruncate(fd, (off_t)(unit_random(&random) % image.n_bytes)), 0);
        (void)tour_image(fd);
        write_all(fd, image.bytes, image.n_bytes, 0);
    }
}
END_TEST

START_TEST(an_image_that_shrinks_while_open_gives_errors)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    struct cramfs_error err;
    uint8_t page[PAGE];

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "full", &inode, NULL), 0);
    ck_assert_int_eq(ftruncate(fd, SUPER_SIZE), 0);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 0, page, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "shorter"));
    ck_assert_int_eq(cramfs_lookup(fs, "full", &inode, NULL), -EIO);
}
END_TEST

START_TEST(bytes_after_the_image_are_not_part_of_it)
{
    CLEAN(image_done_p) struct image image = new_image();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    struct cramfs_error err;
    uint8_t page[PAGE];
    uint64_t offset;
    uint32_t n_blocks;

    image.n_bytes = (size_t)3 * PAGE;
    put_inode(image.bytes + SUPER_SIZE, S_IFREG | 0644, 4 * PAGE, PAGE, "f");
    for (uint32_t i = 0; i < 4; i++) {
        put32(image.bytes + PAGE + (size_t)i * 4,
              (i + 1) * (PAGE / 4) | PTR_UNCOMPRESSED | PTR_DIRECT);
    }
    put_super(&image, FLAG_FSID_V2 | FLAG_EXT_POINTERS, entry_size("f"));
    fd = memfd_of(image.bytes, IMAGE_MAX);
    ck_assert_int_eq(cramfs_open(fd, CRAMFS_OPEN_VERIFY_CRC, &fs, NULL), 0);
    ck_assert_uint_eq(cramfs_info_get(fs)->limit_bytes, (uint64_t)3 * PAGE);
    ck_assert_int_eq(cramfs_lookup(fs, "f", &inode, NULL), 0);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 1, page, &err), 0);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 2, page, &err), -EIO);
    ck_assert_uint_eq(err.inode, inode.ino);
    ck_assert_uint_eq(err.offset, (uint64_t)3 * PAGE);
    ck_assert_int_eq(cramfs_direct_run(fs, &inode, 0, &offset, &n_blocks, NULL), 0);
    ck_assert_uint_eq(n_blocks, 2);
}
END_TEST

START_TEST(a_damaged_block_is_named_and_its_neighbours_still_read)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    struct cramfs_error err = {0};
    uint8_t page[PAGE];
    uint8_t zero[8] = {0};
    uint64_t start;

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "packed", &inode, NULL), 0);
    start = inode.data_offset + 12; /* after three pointers */
    write_all(fd, zero, sizeof(zero), (off_t)start + 20);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 0, page, &err), -EIO);
    ck_assert_int_eq(err.err, -EIO);
    ck_assert_uint_eq(err.inode, inode.ino);
    ck_assert_uint_eq(err.offset, start);
    ck_assert_ptr_nonnull(strstr(err.text, "block 0"));
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 1, page, NULL), 0);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 2, page, NULL), 0);
}
END_TEST

START_TEST(a_block_that_cannot_be_is_named)
{
    /* @pointer replaces that of the block; it counts from the end of the table. */
    static const struct {
        const char *name;
        uint32_t block;
        uint32_t pointer;
        uint32_t flags;
        const char *text;
    } cases[] = {
        {"packed", 0, 8193, 0, "8193 compressed bytes"},
        {"packed", 0, (uint32_t)-4, 0, "before it begins"},
        {"packed", 0, 0x30000000, 0, "805306368 compressed bytes"},
        {"packed", 0, 1, 0, "cannot be decompressed"},
        {"packed", 0, 100, PTR_UNCOMPRESSED, "100 uncompressed bytes instead of 4096"},
        {"start", 1, 4096 + 1, PTR_UNCOMPRESSED, "1 uncompressed bytes instead of 4096"},
        {"start", 1, 4095, 0, "before it begins"},
    };
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct cramfs_error err = {0};
        struct cramfs_inode inode;
        uint8_t page[PAGE];
        uint8_t word[4];

        ck_assert_int_eq(cramfs_lookup(fs, cases[i].name, &inode, NULL), 0);
        put32(word, ((uint32_t)inode.data_offset + inode.n_blocks * 4 + cases[i].pointer) |
                        cases[i].flags);
        write_all(fd, word, sizeof(word), (off_t)inode.data_offset + (off_t)cases[i].block * 4);
        ck_assert_int_eq(cramfs_read_block(fs, &inode, cases[i].block, page, &err), -EIO);
        ck_assert_msg(strstr(err.text, cases[i].text) != NULL, "%s: %s", cases[i].text, err.text);
        ck_assert_uint_eq(err.inode, inode.ino);
        write_all(fd, image.bytes, image.n_bytes, 0);
    }
}
END_TEST

START_TEST(a_block_of_another_length_than_its_file_has_is_refused)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    struct cramfs_error err;
    uint8_t page[PAGE];

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "packed", &inode, NULL), 0);
    inode.size_bytes++;
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 2, page, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "decompresses to 1 bytes instead of 2"));
}
END_TEST

START_TEST(a_link_without_a_proper_target_is_refused)
{
    static const uint32_t sizes[] = {0, 10, PAGE - 1, PAGE, 3 * PAGE};

    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        CLEAN(image_done_p) struct image image = new_image();
        CLEAN_FD int fd = -1;
        CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
        struct cramfs_error err = {0};
        struct cramfs_inode inode;
        char target[PAGE];

        image.n_bytes = PAGE;
        put_inode(image.bytes + SUPER_SIZE, S_IFLNK | 0777, sizes[i], 200, "l");
        put32(image.bytes + 200, 204); /* a hole: nothing but NULs */
        put_super(&image, FLAG_FSID_V2, entry_size("l"));
        fd = memfd_of(image.bytes, image.n_bytes);
        ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
        ck_assert_int_eq(cramfs_lookup(fs, "l", &inode, NULL), 0);
        ck_assert_int_eq(cramfs_readlink(fs, &inode, target, &err), -EIO);
        ck_assert_ptr_nonnull(strstr(err.text, "symbolic link"));
    }
}
END_TEST

START_TEST(a_superblock_that_is_not_one_is_refused)
{
    static const struct {
        uint32_t at;
        uint32_t word;
        int r;
        const char *text;
    } cases[] = {
        {0, 0x12345678, -EINVAL, "magic"},
        {0, 0x453dcd28, -EINVAL, "big-endian"},
        {4, 75, -EIO, "size"},
        {4, 0x7fffffff, -EIO, "truncated"},
        {8, FLAG_FSID_V2 | 0x1000, -EINVAL, "unknown feature flags 0x1000"},
        {8, FLAG_FSID_V2 | 0x80000000, -EINVAL, "unknown feature flags"},
        {16, 0x21212121, -EINVAL, "signature"},
        {32, 1, -EIO, "checksum"},
        {64, S_IFREG | 0644, -EIO, "no directory"},
        {72, 80u / 4 << 6, -EIO, "not after the superblock"},
        {72, 0, -EIO, "no offset"},
        {68, 0xffffff, -EIO, "past the image's end"},
    };
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);

    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct cramfs *fs = NULL;
        struct cramfs_error err = {0};
        bool is_crc = cases[i].at == 32;
        uint8_t word[4];

        put32(word, cases[i].word);
        write_all(fd, word, sizeof(word), cases[i].at);
        ck_assert_int_eq(cramfs_open(fd, is_crc ? CRAMFS_OPEN_VERIFY_CRC : 0, &fs, &err),
                         cases[i].r);
        ck_assert_msg(strstr(err.text, cases[i].text) != NULL, "%s: %s", cases[i].text, err.text);
        ck_assert_ptr_null(fs);
        write_all(fd, image.bytes, image.n_bytes, 0);
    }
}
END_TEST

START_TEST(flags_that_allow_something_are_obeyed)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS | FLAG_WRONG_SIGNATURE);
    CLEAN_FD int fd = -1;

    memset(image.bytes + 16, 'x', 16);
    fd = memfd_of(image.bytes, image.n_bytes);
    ck_assert_uint_eq(tour_image(fd).n_errors, 0);
    put32(image.bytes + 8, get32(image.bytes + 8) | 0xf0); /* compatible by definition */
    write_all(fd, image.bytes, image.n_bytes, 0);
    ck_assert_uint_eq(tour_image(fd).n_errors, 0);
}
END_TEST

START_TEST(what_is_no_file_or_has_unknown_options_is_refused)
{
    CLEAN_FD int fd = memfd_of("", 0);
    struct cramfs *fs = NULL;
    int ends[2];

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), -EINVAL);
    ck_assert_int_eq(cramfs_open(fd, 0x80, &fs, NULL), -EINVAL);
    ck_assert_int_eq(cramfs_open(-1, 0, &fs, NULL), -EBADF);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(cramfs_open(ends[0], 0, &fs, NULL), -EINVAL);
    (void)close(ends[0]);
    (void)close(ends[1]);
    ck_assert_ptr_null(cramfs_close(NULL));
}
END_TEST

/* Opens a one-page image whose directories the test has written; @root_size is that of the root. */
static struct cramfs *open_folders(struct image *image, uint32_t root_size, int *ret_fd)
{
    struct cramfs *fs = NULL;

    put_super(image, FLAG_FSID_V2, root_size);
    *ret_fd = memfd_of(image->bytes, image->n_bytes);
    ck_assert_int_eq(cramfs_open(*ret_fd, 0, &fs, NULL), 0);
    return fs;
}

static int count(void *arg, const char *path, const struct cramfs_inode *inode)
{
    unsigned int *n = arg;

    (void)path;
    (void)inode;
    ++*n;
    return 0;
}

static int stop(void *arg, const char *path, const struct cramfs_inode *inode)
{
    return count(arg, path, inode) + 7;
}

START_TEST(a_directory_that_contains_itself_ends_the_walk)
{
    CLEAN(image_done_p) struct image image = new_image();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    char path[CRAMFS_PATH_MAX];
    struct cramfs_inode inode;
    struct cramfs_error err;
    unsigned int n = 0;

    image.n_bytes = PAGE;
    put_inode(image.bytes + SUPER_SIZE, S_IFDIR | 0755, entry_size("a"), SUPER_SIZE, "a");
    fs = open_folders(&image, entry_size("a"), &fd);
    ck_assert_int_eq(cramfs_walk(fs, count, &n, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "contains itself"));
    ck_assert_uint_eq(err.inode, SUPER_SIZE);
    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = "a/"[i % 2];
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(cramfs_lookup(fs, path, &inode, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "overlap"));
}
END_TEST

START_TEST(directories_that_share_their_entries_end_the_walk)
{
    CLEAN(image_done_p) struct image image = new_image();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    uint32_t size = 2 * entry_size("a");
    struct cramfs_error err;
    unsigned int n = 0;
    uint8_t *last;

    /* Level k has two entries, and both are level k + 1: two to the 60th paths. */
    image.n_bytes = PAGE;
    for (uint32_t k = 0; k < 60; k++) {
        uint32_t at = SUPER_SIZE + k * size;

        put_inode(image.bytes + at, S_IFDIR | 0755, size, at + size, "a");
        put_inode(image.bytes + at + size / 2, S_IFDIR | 0755, size, at + size, "b");
    }
    last = image.bytes + SUPER_SIZE + (size_t)60 * size;
    put_inode(last, S_IFIFO, 0, 0, "a");
    put_inode(last + size / 2, S_IFIFO, 0, 0, "b");
    fs = open_folders(&image, size, &fd);
    ck_assert_int_eq(cramfs_walk(fs, count, &n, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "overlap"));
    ck_assert_uint_le(n, PAGE / entry_size("a"));
}
END_TEST

START_TEST(nesting_has_a_limit)
{
    CLEAN(image_done_p) struct image image = new_image();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    uint32_t size = entry_size("a");
    char deep[2 * 300 + 1];
    struct cramfs_inode inode;
    struct cramfs_error err;
    unsigned int n = 0;

    image.n_bytes = (size_t)2 * PAGE;
    for (uint32_t k = 0; k < 300; k++) {
        uint32_t at = SUPER_SIZE + k * size;

        put_inode(image.bytes + at, S_IFDIR | 0755, k < 299 ? size : 0, k < 299 ? at + size : 0,
                  "a");
        memcpy(deep + (size_t)2 * k, "a/", 3);
    }
    fs = open_folders(&image, size, &fd);
    ck_assert_int_eq(cramfs_walk(fs, count, &n, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "nested"));
    ck_assert_uint_eq(n, CRAMFS_MAX_DEPTH);
    ck_assert_int_eq(cramfs_lookup(fs, deep, &inode, NULL), 0);
}
END_TEST

START_TEST(names_that_no_directory_can_have_are_refused)
{
    static const struct {
        const char *bytes;
        uint32_t n_words;
        bool is_good;
    } cases[] = {
        {"a\0\0\0", 1, true},     {"abcd", 1, true},     {"\0\0\0\0", 1, false},
        {"a/b\0", 1, false},      {".\0\0\0", 1, false}, {"..\0\0", 1, false},
        {"...\0", 1, true},       {"a\0b\0", 1, false},  {"abcd\0\0\0\0", 2, false},
        {"abcde\0\0\0", 2, true}, {"", 0, false},
    };
    CLEAN(image_done_p) struct image image = new_image();

    image.n_bytes = PAGE;
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        CLEAN_FD int fd = -1;
        CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
        uint8_t *entry = image.bytes + SUPER_SIZE;
        struct cramfs_error err = {0};
        unsigned int n = 0;

        memset(entry, 0, 64);
        put_inode(entry, S_IFIFO | 0644, 0, 0, "");
        put32(entry + 8, cases[i].n_words);
        memcpy(entry + 12, cases[i].bytes, (size_t)cases[i].n_words * 4);
        fs = open_folders(&image, 12 + cases[i].n_words * 4, &fd);
        ck_assert_int_eq(cramfs_walk(fs, count, &n, &err), cases[i].is_good ? 0 : -EIO);
        ck_assert_uint_eq(n, cases[i].is_good);
    }
}
END_TEST

START_TEST(an_entry_that_leaves_its_directory_is_refused)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);

    for (uint32_t root_size = 1; root_size < entry_size("aligned"); root_size++) {
        CLEAN_FD int fd = -1;
        CLEAN(cramfs_close_p) struct cramfs *fs = open_folders(&image, root_size, &fd);
        struct cramfs_error err;
        unsigned int n = 0;

        ck_assert_int_eq(cramfs_walk(fs, count, &n, &err), -EIO);
        ck_assert_ptr_nonnull(strstr(err.text, "past its directory's end"));
        ck_assert_uint_eq(n, 0);
    }
}
END_TEST

START_TEST(the_walk_stops_when_told)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    unsigned int n = 0;

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_walk(fs, count, &n, NULL), 0);
    ck_assert_uint_eq(n, N_ELEMENTS(samples));
    ck_assert_int_eq(cramfs_walk(fs, stop, &n, NULL), 7);
    ck_assert_uint_eq(n, N_ELEMENTS(samples) + 1);
}
END_TEST

static void add_hostile_tests(TCase *tcase)
{
    tcase_add_test(tcase, a_directory_that_contains_itself_ends_the_walk);
    tcase_add_test(tcase, directories_that_share_their_entries_end_the_walk);
    tcase_add_test(tcase, nesting_has_a_limit);
    tcase_add_test(tcase, names_that_no_directory_can_have_are_refused);
    tcase_add_test(tcase, an_entry_that_leaves_its_directory_is_refused);
    tcase_add_test(tcase, the_walk_stops_when_told);
}

int main(void)
{
    TCase *tcase = tcase_create("cramfs_damage");

    if (access(mkfs, X_OK) < 0) {
        (void)fprintf(stderr, "skipped: %s is missing (util-linux)\n", mkfs);
        return 77;
    }
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, temp_set_up, temp_tear_down);
    tcase_add_test(tcase, a_flipped_byte_is_an_error_or_other_data);
    tcase_add_test(tcase, a_flipped_byte_with_extended_pointers_is_an_error_or_other_data);
    tcase_add_test(tcase, random_words_in_the_tables_are_an_error_or_other_data);
    tcase_add_test(tcase, a_truncated_image_is_refused);
    tcase_add_test(tcase, a_truncated_image_without_a_size_is_read_as_far_as_it_goes);
    tcase_add_test(tcase, an_image_that_shrinks_while_open_gives_errors);
    tcase_add_test(tcase, bytes_after_the_image_are_not_part_of_it);
    tcase_add_test(tcase, a_damaged_block_is_named_and_its_neighbours_still_read);
    tcase_add_test(tcase, a_block_that_cannot_be_is_named);
    tcase_add_test(tcase, a_block_of_another_length_than_its_file_has_is_refused);
    tcase_add_test(tcase, a_link_without_a_proper_target_is_refused);
    tcase_add_test(tcase, a_superblock_that_is_not_one_is_refused);
    tcase_add_test(tcase, flags_that_allow_something_are_obeyed);
    tcase_add_test(tcase, what_is_no_file_or_has_unknown_options_is_refused);
    add_hostile_tests(tcase);
    return unit_run("cramfs_damage", tcase);
}
