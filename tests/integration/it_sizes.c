/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers that decide by the size of what is to be mapped, tests/sdk/size_driver.c: secretmem's limit
 * and flags, ntfs3's allocation in mmap_prepare.
 */
#include <errno.h>
#include <fcntl.h>
#include <muse/muse.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "tests/support/client.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

#define FILE_PAGES ((size_t)32)
#define RW         (PROT_READ | PROT_WRITE)

static struct rig rig;
static struct muse *muse;

static void begin(void)
{
    static char driver[256];
    static const char *const drivers[] = {driver, NULL};

    folder_write("sparse", "", 0);
    ck_assert_int_eq(truncate(folder_path("sparse"), (off_t)(FILE_PAGES * PAGE - 100)), 0);
    (void)snprintf(driver, sizeof(driver), "../tests/sdk_size_driver %s", folder);
    rig_start(&rig, NULL, drivers);
    muse = client_connect();
}

static void end(void)
{
    muse_disconnect(muse);
    rig_stop(&rig);
}

static unsigned char *map(const char *name, size_t n_pages, int prot, int flags, size_t first)
{
    return client_map_at(muse, name, O_RDWR,
                         (struct client_span){NULL, n_pages * PAGE, (off_t)(first * PAGE)}, prot,
                         flags);
}

START_TEST(a_secret_mapping_is_shared_locked_and_not_dumped)
{
    unsigned char *bytes;

    begin();
    ck_assert_ptr_eq(map("sizes/secret", 4, RW, MAP_PRIVATE, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EINVAL);
    bytes = map("sizes/secret", 4, RW, MAP_SHARED, 0);
    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert(client_vma_flag(&rig, bytes, "locked") && client_vma_flag(&rig, bytes, "dontdump"));
    bytes[0] = 1;
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
    end();
}
END_TEST

START_TEST(a_secret_mapping_over_the_limit_is_eagain)
{
    const struct rlimit few = {.rlim_cur = 8 * PAGE, .rlim_max = RLIM_INFINITY};
    struct muse_file *file;
    struct rlimit before;
    unsigned char *bytes;

    begin();
    ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){few.rlim_cur, before.rlim_max}), 0);
    file = client_open(muse, "sizes/secret", O_RDWR);
    ck_assert_ptr_eq(muse_mmap(muse, NULL, 9 * PAGE, RW, MAP_SHARED, file, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_ptr_nonnull(strstr(muse_last_error_text(), "9 pages"));
    ck_assert_int_eq(muse_close(file), 0);
    bytes = map("sizes/secret", 8, RW, MAP_SHARED, 0);
    ck_assert_msg(bytes != MAP_FAILED, "%s", muse_last_error_text());
    ck_assert_int_eq(muse_munmap(muse, bytes, 8 * PAGE), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &before), 0);
    end();
}
END_TEST

static uint64_t allocated_bytes(void)
{
    struct stat stat;

    ck_assert_int_eq(lstat(folder_path("sparse"), &stat), 0);
    return (uint64_t)stat.st_blocks * 512;
}

START_TEST(what_a_shared_writable_mapping_may_reach_is_allocated_before_it_is_made)
{
    unsigned char *bytes;

    begin();
    bytes = map("sizes/sparse", 4, PROT_READ, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
    bytes = map("sizes/sparse", 4, RW, MAP_PRIVATE, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
    ck_assert_uint_eq(allocated_bytes(), 0);
    bytes = map("sizes/sparse", 4, RW, MAP_SHARED, 2);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_uint_eq(allocated_bytes(), 4 * PAGE);
    ck_assert_uint_eq(bytes[PAGE], 0);
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * PAGE), 0);
    bytes = map("sizes/sparse", 4 * FILE_PAGES, RW, MAP_SHARED, 0); /* to the file's end */
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_uint_eq(allocated_bytes(), FILE_PAGES * PAGE);
    ck_assert_int_eq(muse_munmap(muse, bytes, 4 * FILE_PAGES * PAGE), 0);
    end();
}
END_TEST

START_TEST(errors_of_the_file_system_are_the_callers)
{
    unsigned char *bytes;

    begin();
    ck_assert_ptr_eq(map("sizes/sparse:shut", 1, PROT_READ, MAP_SHARED, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EIO);
    ck_assert_ptr_eq(map("sizes/sparse:packed", 1, RW, MAP_SHARED, 0), MAP_FAILED);
    ck_assert_int_eq(errno, EOPNOTSUPP);
    bytes = map("sizes/sparse:packed", 1, PROT_READ, MAP_SHARED, 0);
    ck_assert_ptr_ne(bytes, MAP_FAILED);
    ck_assert_int_eq(muse_munmap(muse, bytes, PAGE), 0);
    ck_assert_uint_eq(allocated_bytes(), 0);
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("sizes");

    tcase_add_checked_fixture(tcase, folder_make, folder_remove);
    tcase_add_test(tcase, a_secret_mapping_is_shared_locked_and_not_dumped);
    tcase_add_test(tcase, a_secret_mapping_over_the_limit_is_eagain);
    tcase_add_test(tcase, what_a_shared_writable_mapping_may_reach_is_allocated_before_it_is_made);
    tcase_add_test(tcase, errors_of_the_file_system_are_the_callers);
    tcase_set_timeout(tcase, 60);
    return unit_run("sizes", tcase);
}
