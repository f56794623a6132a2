/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of what the cramfs driver decides: who may open what (access.h) and what of a mapping is
 * mapped directly (populate.h). Needs mkfs.cramfs (skipped with 77 where that is missing).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"
#include "drivers/cramfs/access.h"
#include "drivers/cramfs/cramfs_image.h"
#include "drivers/cramfs/populate.h"
#include "tests/support/unit.h"
#include "tests/unit/cramfs_samples.h"

/* Ids nobody has an account for, so that only the socket's gid counts. */
#define OTHER_UID 60001u
#define OTHER_GID 201u

static const char *const plain[] = {NULL};

static int try_open(struct cramfs *fs, const char *path, int oflags, uid_t uid, gid_t gid)
{
    const struct muse_open_args args = {.path = path, .oflags = oflags, .uid = uid, .gid = gid};
    struct cramfs_inode inode = {.mode = 1};
    int r = access_open(fs, "test", &args, &inode);

    UNIT_EXPECT(r == 0 ? S_ISREG(inode.mode) : inode.mode == 1);
    return r;
}

START_TEST(opening_answers_as_a_mounted_image_would)
{
    static const struct {
        const char *path;
        int oflags;
        int r;
    } cases[] = {
        {"empty", O_RDONLY, 0},
        {"/d//dd/ddd/7", O_RDONLY, 0},
        {"d/dd", O_RDONLY, -EISDIR},
        {"", O_RDONLY, -EISDIR},
        {"fifo", O_RDONLY, -ENODEV},
        {"dangling", O_RDONLY, -ELOOP},
        {"d/link", O_RDONLY, -ELOOP},
        {"d/link/x", O_RDONLY, -ELOOP},
        {"empty/x", O_RDONLY, -ENOTDIR},
        {"empty/", O_RDONLY, -ENOTDIR},
        {"nothing", O_RDONLY, -ENOENT},
        {"nothing/x", O_RDONLY, -ENOENT},
        {"d/../empty", O_RDONLY, -ENOENT},
        {"nothing", O_RDWR, -ENOENT},
        {"nothing", O_RDWR | O_CREAT, -EROFS},
        {"empty", O_RDWR, -EROFS},
        {"empty", O_WRONLY, -EROFS},
        {"empty", O_RDONLY | O_TRUNC, -EROFS},
        {"empty", O_RDONLY | O_CREAT, 0},
        {"empty", O_RDONLY | O_CREAT | O_EXCL, -EEXIST},
        {"d", O_RDWR, -EISDIR},
    };
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;

    add_small_tree(tree);
    fd = make_image(plain);
    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        int r = try_open(fs, cases[i].path, cases[i].oflags, 0, 0);

        ck_assert_msg(r == cases[i].r, "\"%s\" %#x: %d, not %d", cases[i].path, cases[i].oflags, r,
                      cases[i].r);
    }
}
END_TEST

START_TEST(permission_bits_count_for_everybody_but_root)
{
    CLEAN_FD int tree = open_tree();
    CLEAN_FD int fd = -1;
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;

    ck_assert_int_eq(mkdirat(tree, "closed", 0700), 0);
    ck_assert_int_eq(mkdirat(tree, "group", 0710), 0);
    add_file(tree, "closed/file", "x", 1, 0666);
    add_file(tree, "group/file", "y", 1, 0666);
    add_file(tree, "secret", "z", 1, 0600);
    add_file(tree, "for-group", "zz", 2, 0640);
    add_file(tree, "not-for-group", "zzz", 3, 0604);
    ck_assert_int_eq(fchownat(tree, "group", 0, OTHER_GID, 0), 0);
    ck_assert_int_eq(fchownat(tree, "for-group", 0, OTHER_GID, 0), 0);
    ck_assert_int_eq(fchownat(tree, "not-for-group", 0, OTHER_GID, 0), 0);
    ck_assert_int_eq(fchownat(tree, "secret", OTHER_UID, 0, 0), 0);
    fd = make_image(plain);
    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    ck_assert_int_eq(try_open(fs, "closed/file", O_RDONLY, 0, 0), 0);
    ck_assert_int_eq(try_open(fs, "closed/file", O_RDONLY, OTHER_UID, OTHER_GID), -EACCES);
    ck_assert_int_eq(try_open(fs, "group/file", O_RDONLY, OTHER_UID, OTHER_GID), 0);
    ck_assert_int_eq(try_open(fs, "group/file", O_RDONLY, OTHER_UID, 1), -EACCES);
    ck_assert_int_eq(try_open(fs, "secret", O_RDONLY, OTHER_UID, OTHER_GID), 0);
    ck_assert_int_eq(try_open(fs, "secret", O_RDONLY, OTHER_UID + 1, OTHER_GID), -EACCES);
    ck_assert_int_eq(try_open(fs, "secret", O_RDWR, OTHER_UID + 1, OTHER_GID), -EROFS);
    ck_assert_int_eq(try_open(fs, "for-group", O_RDONLY, OTHER_UID, OTHER_GID), 0);
    ck_assert_int_eq(try_open(fs, "for-group", O_RDONLY, OTHER_UID, 1), -EACCES);
    ck_assert_int_eq(try_open(fs, "not-for-group", O_RDONLY, OTHER_UID, OTHER_GID), -EACCES);
    ck_assert_int_eq(try_open(fs, "not-for-group", O_RDONLY, OTHER_UID, 1), 0);
}
END_TEST

START_TEST(an_image_is_public_when_its_folders_are)
{
    char folder[96];
    char path[128];

    (void)snprintf(folder, sizeof(folder), "%s/folder", temp_dir);
    (void)snprintf(path, sizeof(path), "%s/image", folder);
    ck_assert_int_eq(chmod(temp_dir, 0755), 0);
    ck_assert_int_eq(mkdir(folder, 0711), 0);
    ck_assert(!access_image_is_public(path, 0644)); /* not there */
    (void)close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    ck_assert(access_image_is_public(path, 0644));
    ck_assert(!access_image_is_public(path, 0640));
    ck_assert_int_eq(chmod(folder, 0750), 0);
    ck_assert(!access_image_is_public(path, 0644));
}
END_TEST

#define READ_SHARED (MUSE_VM_READ | MUSE_VM_MAYREAD | MUSE_VM_MAYSHARE)
#define READ_COW    (MUSE_VM_READ | MUSE_VM_MAYREAD | MUSE_VM_MAYWRITE)
#define WRITE_COW   (READ_COW | MUSE_VM_WRITE)

START_TEST(only_aligned_uncompressed_runs_are_mapped_directly)
{
    static const struct {
        const char *name;
        uint64_t vm_flags;
        uint64_t pgoff;
        uint64_t n_pages;
        enum populate_mode mode;
        uint64_t n_direct;
    } cases[] = {
        {"aligned", READ_SHARED, 0, 6, POPULATE_WHOLE, 6},
        {"aligned", READ_SHARED, 2, 3, POPULATE_WHOLE, 3},
        {"aligned", READ_SHARED, 0, 9, POPULATE_PREFIX, 6}, /* longer than the file */
        {"aligned", READ_SHARED, 6, 1, POPULATE_NONE, 0},   /* at the end of the file */
        {"aligned", READ_SHARED, UINT64_C(1) << 40, 1, POPULATE_NONE, 0},
        {"aligned", READ_COW, 0, 6, POPULATE_WHOLE, 6},
        {"aligned", READ_COW, 0, 9, POPULATE_NONE, 0},
        {"aligned", WRITE_COW, 0, 6, POPULATE_NONE, 0},
        {"dirty", READ_SHARED, 0, 3, POPULATE_PREFIX, 2}, /* last page holds other data */
        {"dirty", READ_SHARED, 0, 2, POPULATE_WHOLE, 2},
        {"dirty", READ_SHARED, 1, 2, POPULATE_PREFIX, 1},
        {"dirty", READ_SHARED, 2, 1, POPULATE_NONE, 0}, /* one page fewer is none */
        {"gap", READ_SHARED, 0, 4, POPULATE_PREFIX, 2},
        {"gap", READ_SHARED, 2, 2, POPULATE_WHOLE, 2},
        {"mixed", READ_SHARED, 0, 9, POPULATE_PREFIX, 1},
        {"packed", READ_SHARED, 0, 3, POPULATE_NONE, 0},
        {"tiny", READ_SHARED, 0, 1, POPULATE_NONE, 0}, /* not at a page of the image */
        {"odd", READ_SHARED, 0, 3, POPULATE_NONE, 0},
        {"odd", READ_SHARED, 1, 1, POPULATE_NONE, 0},
        {"holes", READ_SHARED, 0, 3, POPULATE_NONE, 0},
        {"zero", READ_SHARED, 0, 1, POPULATE_NONE, 0},
    };
    CLEAN(image_done_p) struct image image = sample_image(FLAG_EXT_POINTERS);
    CLEAN_FD int fd = memfd_of(image.bytes, image.n_bytes);
    CLEAN(cramfs_close_p) struct cramfs *fs = NULL;
    struct cramfs_inode inode;
    uint8_t page[PAGE];

    ck_assert_int_eq(cramfs_open(fd, 0, &fs, NULL), 0);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct muse_vma_desc desc = {.start = 1 << 20,
                                     .end = (1 << 20) + cases[i].n_pages * PAGE,
                                     .pgoff = cases[i].pgoff,
                                     .vm_flags = cases[i].vm_flags};
        struct populate got;

        ck_assert_int_eq(cramfs_lookup(fs, cases[i].name, &inode, NULL), 0);
        got = populate_decide(fs, &inode, &desc);
        ck_assert_msg(got.mode == cases[i].mode && got.n_pages == cases[i].n_direct,
                      "case %zu, %s: mode %d, %u pages", i, cases[i].name, (int)got.mode,
                      (unsigned int)got.n_pages);
        for (uint64_t p = 0; p < got.n_pages; p++) {
            ck_assert_int_eq(
                cramfs_read_block(fs, &inode, (uint32_t)(cases[i].pgoff + p), page, NULL), 0);
            ck_assert_mem_eq(image.bytes + got.image_offset + p * PAGE, page, PAGE);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("hooks");

    if (access(mkfs, X_OK) < 0) {
        (void)fprintf(stderr, "skipped: %s is missing (util-linux)\n", mkfs);
        return 77;
    }
    tcase_add_checked_fixture(tcase, temp_set_up, temp_tear_down);
    tcase_add_test(tcase, opening_answers_as_a_mounted_image_would);
    if (geteuid() == 0) /* others cannot give files away */
        tcase_add_test(tcase, permission_bits_count_for_everybody_but_root);
    tcase_add_test(tcase, an_image_is_public_when_its_folders_are);
    tcase_add_test(tcase, only_aligned_uncompressed_runs_are_mapped_directly);
    return unit_run("cramfs_hooks", tcase);
}
