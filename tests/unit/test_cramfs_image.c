/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of drivers/cramfs/cramfs_image.h on sound images: of real files, made by mkfs.cramfs
 * (skipped with 77 where that is missing), and with extended block pointers. Damaged ones are in
 * test_cramfs_damage.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"
#include "drivers/cramfs/blocksize.h"
#include "drivers/cramfs/cramfs_image.h"
#include "tests/support/unit.h"
#include "tests/unit/cramfs_samples.h"

#define N_REAL   50u    /* files taken from this machine */
#define REAL_MAX 300000 /* bytes of the largest one taken */

static int real_tree = -1; /* for add_real(), which nftw() gives no argument */
static unsigned int n_real;

static int add_real(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    CLEAN(free_p) uint8_t *bytes = NULL;
    CLEAN_FD int fd = -1;
    char name[300];

    if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size == 0 || st->st_size > REAL_MAX)
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    bytes = malloc((size_t)st->st_size);
    ck_assert_ptr_nonnull(bytes);
    if (pread(fd, bytes, (size_t)st->st_size, 0) != st->st_size)
        return 0;
    (void)snprintf(name, sizeof(name), "real/%u/%u-%.200s", n_real % 5, n_real, path + ftw->base);
    add_file(real_tree, name, bytes, (size_t)st->st_size, st->st_mode & 07777);
    return ++n_real % (N_REAL / 3 + 1) == 0;
}

/* Files of this machine, in five folders. */
static void add_real_files(int tree)
{
    static const char *const sources[] = {"/etc", "/usr/share/doc", "/usr/include"};

    ck_assert_int_eq(mkdirat(tree, "real", 0755), 0);
    for (int i = 0; i < 5; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "real/%d", i);
        ck_assert_int_eq(mkdirat(tree, name, 0750), 0);
    }
    real_tree = tree;
    n_real = 0;
    for (size_t i = 0; i < N_ELEMENTS(sources); i++)
        (void)nftw(sources[i], add_real, 16, FTW_PHYS); /* ends early when it has enough */
    ck_assert_uint_gt(n_real, 10);
}

/* ---- comparing an image with the tree it was made from ---- */

struct comparison {
    struct cramfs *fs; /* borrowed, as all here */
    int tree;
    unsigned int n_entries;
};

static void compare_data(struct cramfs *fs, int fd, const struct cramfs_inode *inode)
{
    struct cramfs_error err;
    uint8_t expected[PAGE];
    uint8_t got[PAGE];

    for (uint32_t block = 0; block < inode->n_blocks; block++) {
        memset(expected, 0, sizeof(expected));
        ck_assert_int_ge(pread(fd, expected, PAGE, (off_t)block * PAGE), 1);
        memset(got, 0xaa, sizeof(got));
        ck_assert_int_eq(cramfs_read_block(fs, inode, block, got, &err), 0);
        UNIT_EXPECT(memcmp(got, expected, PAGE) == 0);
    }
    ck_assert_int_eq(cramfs_read_block(fs, inode, inode->n_blocks, got, &err), -EINVAL);
}

static void compare_link(struct cramfs *fs, int tree, const char *path,
                         const struct cramfs_inode *inode)
{
    char expected[PAGE] = {0};
    char got[PAGE];

    ck_assert_int_gt(readlinkat(tree, path, expected, sizeof(expected) - 1), 0);
    ck_assert_int_eq(cramfs_readlink(fs, inode, got, NULL), 0);
    ck_assert_str_eq(got, expected);
}

static void compare_stat(const struct cramfs_inode *inode, const struct stat *st)
{
    bool has_data = S_ISREG(st->st_mode) || S_ISLNK(st->st_mode);

    UNIT_EXPECT(inode->mode == st->st_mode);
    UNIT_EXPECT(inode->uid == (st->st_uid & 0xffff));
    UNIT_EXPECT(inode->gid == (st->st_gid & 0xff));
    UNIT_EXPECT(inode->rdev == (S_ISCHR(st->st_mode) ? 1u << 8 | 3u : 0));
    UNIT_EXPECT(!has_data || inode->size_bytes == (uint64_t)st->st_size);
}

static int compare_entry(void *arg, const char *path, const struct cramfs_inode *inode)
{
    struct comparison *c = arg;
    struct cramfs_inode found;
    char target[PAGE];
    struct stat st;

    c->n_entries++;
    UNIT_EXPECT(fstatat(c->tree, path, &st, AT_SYMLINK_NOFOLLOW) == 0);
    compare_stat(inode, &st);
    UNIT_EXPECT(cramfs_lookup(c->fs, path, &found, NULL) == 0);
    UNIT_EXPECT(memcmp(&found, inode, sizeof(found)) == 0);
    if (S_ISLNK(st.st_mode)) {
        compare_link(c->fs, c->tree, path, inode);
    } else {
        UNIT_EXPECT(cramfs_readlink(c->fs, inode, target, NULL) == -EINVAL);
    }
    if (S_ISREG(st.st_mode)) {
        CLEAN_FD int fd = openat(c->tree, path, O_RDONLY | O_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        compare_data(c->fs, fd, inode);
    }
    return 0;
}

static unsigned int n_counted;

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)type;
    n_counted += ftw->level > 0;
    return 0;
}

static unsigned int count_tree(void)
{
    char path[96];

    n_counted = 0;
    (void)snprintf(path, sizeof(path), "%s/tree", temp_dir);
    ck_assert_int_eq(nftw(path, count_entry, 16, FTW_PHYS), 0);
    return n_counted;
}

static const char *const image_options[][3] = {
    {NULL}, {"-z", NULL}, {"-p", "-z", NULL}, {"-i", "/etc/passwd", NULL}};

START_TEST(an_image_of_real_files_reads_back_byte_for_byte)
{
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_error err = {0};
    struct comparison c = {.tree = tree};

    add_odd_files(tree);
    add_real_files(tree);
    fd = make_image(image_options[_i]);
    ck_assert_msg(cramfs_open(fd, CRAMFS_OPEN_VERIFY_CRC, &fs, &err) == 0, "%s", err.text);
    c.fs = fs;
    ck_assert_msg(cramfs_walk(fs, compare_entry, &c, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(c.n_entries, count_tree());
    ck_assert_str_eq(cramfs_info_get(fs)->name, "Compressed");
    ck_assert_uint_eq(cramfs_info_get(fs)->n_files, c.n_entries + 1);
}
END_TEST

START_TEST(a_boot_sector_before_the_image_is_skipped)
{
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct comparison c = {.tree = tree};
    uint8_t boot[512];

    add_small_tree(tree);
    fd = make_image(image_options[2]);
    memset(boot, 0x90, sizeof(boot));
    write_all(fd, boot, sizeof(boot), 0);
    ck_assert_int_eq(cramfs_open(fd, CRAMFS_OPEN_VERIFY_CRC, &fs, NULL), 0);
    ck_assert_uint_eq(cramfs_info_get(fs)->base_offset, 512);
    c.fs = fs;
    ck_assert_int_eq(cramfs_walk(fs, compare_entry, &c, NULL), 0);
    ck_assert_uint_eq(c.n_entries, count_tree());
}
END_TEST

START_TEST(files_with_the_same_bytes_have_the_same_number)
{
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode a;
    struct cramfs_inode b;

    add_small_tree(tree);
    fd = make_image(image_options[0]);
    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "size-4096", &a, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "same-as-size-4096", &b, NULL), 0);
    ck_assert_uint_eq(a.ino, b.ino);
    ck_assert_uint_eq(a.ino, a.data_offset);
    ck_assert_int_eq(cramfs_lookup(fs, "empty", &b, NULL), 0);
    ck_assert_uint_eq(b.ino % 4, 1);
}
END_TEST

START_TEST(a_lookup_says_why_it_fails)
{
    static const struct {
        const char *path;
        int r;
    } cases[] = {
        {"", 0},
        {"/", 0},
        {"//d///dd/", 0},
        {"d/link", 0},
        {"empty-dir/", 0},
        {"nothing", -ENOENT},
        {"d/nothing", -ENOENT},
        {"empty-dir/x", -ENOENT},
        {"zzz", -ENOENT},
        {"d/../empty", -ENOENT},
        {"./empty", -ENOENT},
        {"empty/", -ENOTDIR},
        {"empty/x", -ENOTDIR},
        {"d/link/", -ENOTDIR},
        {"d/link/x", -ENOTDIR},
        {"fifo/x", -ENOTDIR},
    };
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    char too_long[CRAMFS_PATH_MAX + 1];
    struct cramfs_inode inode;
    struct cramfs_error err;

    add_small_tree(tree);
    fd = make_image(image_options[0]);
    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        memset(&err, 0, sizeof(err));
        ck_assert_int_eq(cramfs_lookup(fs, cases[i].path, &inode, &err), cases[i].r);
        ck_assert_int_eq(err.err, cases[i].r);
    }
    ck_assert_int_eq(cramfs_lookup(fs, "d/link", &inode, NULL), 0);
    ck_assert(S_ISLNK(inode.mode));
    memset(too_long, '/', sizeof(too_long));
    too_long[CRAMFS_PATH_MAX] = '\0';
    ck_assert_int_eq(cramfs_lookup(fs, too_long, &inode, NULL), -ENAMETOOLONG);
    too_long[CRAMFS_PATH_MAX - 1] = '\0';
    ck_assert_int_eq(cramfs_lookup(fs, too_long, &inode, NULL), 0);
}
END_TEST

START_TEST(a_big_endian_image_is_refused_by_name)
{
    static const char *const options[][4] = {{"-N", "big", NULL}, {"-N", "big", "-p", NULL}};
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    struct cramfs *fs = NULL;
    struct cramfs_error err;

    add_small_tree(tree);
    fd = make_image(options[_i]);
    ck_assert_int_eq(cramfs_open(fd, 0, &fs, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "big-endian"));
    ck_assert_uint_eq(err.offset, _i ? 512 : 0);
}
END_TEST

START_TEST(every_kind_of_block_pointer_is_read)
{
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_error err = {0};
    struct cramfs_inode inode;
    uint8_t expected[PAGE];
    uint8_t got[PAGE];

    ck_assert_msg(cramfs_open(fd, CRAMFS_OPEN_VERIFY_CRC, &fs, &err) == 0, "%s", err.text);
    for (size_t i = 0; i < N_ELEMENTS(samples); i++) {
        ck_assert_int_eq(cramfs_lookup(fs, samples[i].name, &inode, &err), 0);
        ck_assert_uint_eq(inode.size_bytes, samples[i].size);
        ck_assert_uint_eq(inode.n_blocks, strlen(samples[i].kinds));
        for (uint32_t block = 0; block < inode.n_blocks; block++) {
            memset(got, 0xaa, sizeof(got));
            ck_assert_msg(cramfs_read_block(fs, &inode, block, got, &err) == 0, "%s[%u]: %s",
                          samples[i].name, block, err.text);
            sample_block(&samples[i], block, expected);
            ck_assert_mem_eq(got, expected, PAGE);
        }
    }
}
END_TEST

START_TEST(direct_runs_are_aligned_contiguous_and_free_of_other_data)
{
    static const struct {
        const char *name;
        uint32_t first;
        uint32_t n_blocks;
    } cases[] = {
        {"aligned", 0, 6}, {"aligned", 2, 4}, {"aligned", 5, 1}, {"aligned", 6, 0},
        {"dirty", 0, 2},   {"dirty", 1, 1},   {"dirty", 2, 0},   {"full", 0, 3},
        {"gap", 0, 2},     {"gap", 1, 1},     {"gap", 2, 2},     {"holes", 0, 0},
        {"mixed", 0, 1},   {"mixed", 1, 0},   {"mixed", 2, 0},   {"mixed", 3, 1},
        {"mixed", 4, 0},   {"mixed", 7, 0},   {"mixed", 8, 0},   {"packed", 0, 0},
        {"start", 0, 0},   {"tiny", 0, 0},    {"zero", 0, 0},    {"aligned", UINT32_MAX, 0},
    };
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    uint8_t page[PAGE];

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        uint64_t offset = 1;
        uint32_t n_blocks = 99;

        ck_assert_int_eq(cramfs_lookup(fs, cases[i].name, &inode, NULL), 0);
        ck_assert_int_eq(cramfs_direct_run(fs, &inode, cases[i].first, &offset, &n_blocks, NULL),
                         0);
        ck_assert_msg(n_blocks == cases[i].n_blocks, "%s from %u: %u", cases[i].name,
                      cases[i].first, n_blocks);
        ck_assert_uint_eq(offset % PAGE, 0);
        ck_assert_int_eq(offset == 0, n_blocks == 0);
        for (uint32_t b = 0; b < n_blocks; b++) {
            ck_assert_int_eq(cramfs_read_block(fs, &inode, cases[i].first + b, page, NULL), 0);
            ck_assert_mem_eq(image.bytes + offset + (size_t)b * PAGE, page, PAGE);
        }
    }
}
END_TEST

START_TEST(a_run_longer_than_one_read_of_pointers_is_found)
{
    const uint32_t n_blocks = 2500;
    const uint32_t first = 8;
    struct image image = {.bytes = calloc(first + n_blocks, PAGE),
                          .n_bytes = (size_t)(first + n_blocks) * PAGE};
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    uint64_t offset;
    uint32_t n;

    ck_assert_ptr_nonnull(image.bytes);
    put_inode(image.bytes + SUPER_SIZE, S_IFREG | 0644, n_blocks * PAGE, 4096, "big");
    for (uint32_t i = 0; i < n_blocks; i++) {
        put32(image.bytes + 4096 + (size_t)i * 4,
              (first + i) * (PAGE / 4) | PTR_UNCOMPRESSED | PTR_DIRECT);
    }
    put_super(&image, FLAG_FSID_V2 | FLAG_EXT_POINTERS, entry_size("big"));
    fd = memfd_of(image.bytes, image.n_bytes);
    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "big", &inode, NULL), 0);
    ck_assert_int_eq(cramfs_direct_run(fs, &inode, 3, &offset, &n, NULL), 0);
    ck_assert_uint_eq(n, n_blocks - 3);
    ck_assert_uint_eq(offset, (uint64_t)(first + 3) * PAGE);
    put32(image.bytes + 4096 + (size_t)2000 * 4, 0);
    write_all(fd, image.bytes, image.n_bytes, 0);
    ck_assert_int_eq(cramfs_direct_run(fs, &inode, 3, &offset, &n, NULL), 0);
    ck_assert_uint_eq(n, 2000 - 3);
    free(image.bytes);
}
END_TEST

START_TEST(extended_pointers_need_the_flag)
{
    CLEAN(image_done_p) struct image image = sample_image(0);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    struct cramfs_error err;
    uint8_t page[PAGE];
    uint64_t offset;
    uint32_t n_blocks;

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(cramfs_lookup(fs, "aligned", &inode, NULL), 0);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 0, page, &err), -EIO);
    ck_assert_uint_eq(err.inode, inode.ino);
    ck_assert_uint_eq(err.offset, inode.data_offset);
    ck_assert_int_eq(cramfs_direct_run(fs, &inode, 0, &offset, &n_blocks, NULL), 0);
    ck_assert_uint_eq(n_blocks, 0);
    ck_assert_int_eq(cramfs_lookup(fs, "holes", &inode, NULL), 0);
    ck_assert_int_eq(cramfs_read_block(fs, &inode, 2, page, NULL), 0);
}
END_TEST

START_TEST(an_image_of_another_block_size_is_refused_by_name)
{
    static const struct {
        const char *size;
        unsigned long n_bytes;
        int result;
    } cases[] = {{"4096", 4096, 0},
                 {"8192", 8192, -EOPNOTSUPP},
                 {"2048", 2048, -EOPNOTSUPP},
                 {"65536", 65536, -EOPNOTSUPP}};

    CLEAN_FD int tree = open_tree();

    add_small_tree(tree);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        const char *const options[] = {"-b", cases[i].size, NULL};
        CLEAN_FD int fd = make_image(options);
        CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
        struct cramfs_error err;
        unsigned long found;

        ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
        ck_assert_msg(cramfs_check_block_size(fs, &err) == cases[i].result, "%s", cases[i].size);
        if (cases[i].result == 0)
            continue;
        found = strtoul(err.text + strcspn(err.text, "0123456789"), NULL, 10);
        ck_assert_msg(strstr(err.text, "its blocks are of ") == err.text, "%s", err.text);
        ck_assert_msg(found == cases[i].n_bytes ||
                          (found < cases[i].n_bytes && strstr(err.text, "bytes or more")),
                      "%s: %s", cases[i].size, err.text);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("cramfs_image");

    if (access(mkfs, X_OK) < 0) {
        (void)fprintf(stderr, "skipped: %s is missing (util-linux)\n", mkfs);
        return 77;
    }
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, temp_set_up, temp_tear_down);
    tcase_add_loop_test(tcase, an_image_of_real_files_reads_back_byte_for_byte, 0,
                        (int)N_ELEMENTS(image_options));
    tcase_add_test(tcase, a_boot_sector_before_the_image_is_skipped);
    tcase_add_test(tcase, files_with_the_same_bytes_have_the_same_number);
    tcase_add_test(tcase, a_lookup_says_why_it_fails);
    tcase_add_loop_test(tcase, a_big_endian_image_is_refused_by_name, 0, 2);
    tcase_add_test(tcase, every_kind_of_block_pointer_is_read);
    tcase_add_test(tcase, direct_runs_are_aligned_contiguous_and_free_of_other_data);
    tcase_add_test(tcase, a_run_longer_than_one_read_of_pointers_is_found);
    tcase_add_test(tcase, extended_pointers_need_the_flag);
    tcase_add_test(tcase, an_image_of_another_block_size_is_refused_by_name);
    return unit_run("cramfs_image", tcase);
}
