/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of libmuse-driver, continued: access, vma_name and resized. See test_sdk.c. */
#include <linux/memfd.h>
#include <muse/driver.h>
#include <string.h>

#include <check.h>

#include "tests/support/unit.h"
#include "tests/unit/sdk_server.h"

static void post_access(uint64_t id, uint64_t handle, uint64_t addr, uint32_t length)
{
    Muse__Wire__DriverAccess access = MUSE__WIRE__DRIVER_ACCESS__INIT;
    Muse__Wire__Vma vma = vma_message(7, handle, 0x10000, 4);

    access.vma = &vma;
    access.addr = addr;
    access.length = length;
    post(FRAME_DRIVER_ACCESS, id, &access);
}

static void expect_accessed(uint64_t id, const char *data, size_t n_data)
{
    const Muse__Wire__DriverAccessed *accessed =
        next_message(FRAME_DRIVER_ACCESSED, id, &muse__wire__driver_accessed__descriptor);

    ck_assert_uint_eq(accessed->data.len, n_data);
    ck_assert_mem_eq(accessed->data.data, data, n_data);
}

START_TEST(access_answers_the_bytes_it_counts_and_no_memory_of_the_drivers)
{
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("plain");
    map_file(handle, 7, 0x10000, 4);
    ck_assert_int_eq(next_completed(11)->error, 0);
    post_access(12, handle, 0x11000, 8);
    expect_line("access 7 0x11000 8 0");
    expect_accessed(12, "bbbb", 4);
    post_access(13, handle, 0x11001, 8);
    (void)next_line();
    expect_accessed(13, "bbbb\0\0\0", 8);
    post_access(14, handle, 0x11002, 8); /* more than there was room for */
    (void)next_line();
    ck_assert_uint_eq(next_failed(14)->error, EINVAL);
    post_access(15, handle, 0x11003, 8);
    (void)next_line();
    ck_assert_uint_eq(next_failed(15)->error, ENXIO);
    post_access(16, handle, 0x11003, 8);
    (void)next_line();
    ck_assert_str_eq(next_failed(16)->text, "no such register");
    post_access(17, handle, 0x11000, 4097); /* no server asks for that */
    ck_assert_uint_eq(next_failed(17)->error, EINVAL);
    chan_done(&server.chan);
    expect_line("vm_close 7 [0x10000, 0x14000)");
    end_with(0);
}
END_TEST

START_TEST(a_deferred_access_is_answered_with_a_number_of_bytes_and_others_of_the_vma_wait)
{
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("plain");
    map_file(handle, 7, 0x10000, 4);
    ck_assert_int_eq(next_completed(11)->error, 0);
    post_access(12, handle, 0x11004, 8);
    expect_line("access 7 0x11004 8 0");
    post_vma_event(FRAME_VMA_NAME, 13, vma_message(7, handle, 0x10000, 4), 0, 0);
    post_handle(FRAME_DRIVER_GETATTR, 14, handle);
    (void)next_frame(FRAME_DRIVER_ATTR, 14); /* another hook; that of the VMA waits */
    open_gate();
    expect_accessed(12, "bbb", 3);
    expect_line("name 7");
    (void)next_frame(FRAME_VMA_NAMED, 13);
    chan_done(&server.chan);
    expect_line("vm_close 7 [0x10000, 0x14000)");
    end_with(0);
}
END_TEST

static void expect_named(const char *path, uint64_t vma_id, const char *name)
{
    const uint64_t handle = open_file(path);
    const Muse__Wire__VmaNamed *named;

    post_vma_event(FRAME_VMA_NAME, 20 + vma_id, vma_message(vma_id, handle, 0x10000, 4), 0, 0);
    (void)next_line();
    if (strcmp(path, "defer-name") == 0)
        open_gate();
    named = next_message(FRAME_VMA_NAMED, 20 + vma_id, &muse__wire__vma_named__descriptor);
    if (name)
        ck_assert_str_eq(named->name, name);
    else
        ck_assert_ptr_null(named->name);
}

START_TEST(a_name_is_passed_on_cut_and_may_be_missing)
{
    start(&probe_ops);
    expect_named("plain", 1, "[rings]");
    expect_named("no-name", 2, NULL);
    expect_named("defer-name", 3, NULL);
    expect_named("long-name", 4,
                 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn");
    end_with(0);
}
END_TEST

static void on_resized(void *user, uint64_t key, void *object, uint64_t size_bytes)
{
    (void)user;
    say("resized %llu %llu%s", (unsigned long long)key, (unsigned long long)size_bytes,
        object == &probe ? "" : " wrong object");
}

static void post_resized(uint64_t key, uint64_t id, uint64_t size_bytes)
{
    Muse__Wire__DriverResized resized = MUSE__WIRE__DRIVER_RESIZED__INIT;

    resized.object_key = key;
    resized.object_id = id;
    resized.size = size_bytes;
    post(FRAME_DRIVER_RESIZED, 0, &resized);
}

START_TEST(a_driver_is_told_the_size_of_an_object_that_it_has)
{
    struct muse_driver_ops ops = probe_ops;

    ops.resized = on_resized;
    start(&ops);
    (void)open_file("plain");
    give_object(0, PAGE);
    post_resized(KEY, CACHE_ID, 4096);
    expect_line("resized 42 4096");
    post_resized(KEY + 1, CACHE_ID, 1);
    post_resized(KEY, CACHE_ID + 1, 2); /* another page cache of it */
    post_resized(KEY, CACHE_ID, UINT64_MAX);
    post_resized(KEY, CACHE_ID, 0);
    expect_line("resized 42 0");
    end_with(0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("sdk_vmops");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, access_answers_the_bytes_it_counts_and_no_memory_of_the_drivers);
    tcase_add_test(tcase,
                   a_deferred_access_is_answered_with_a_number_of_bytes_and_others_of_the_vma_wait);
    tcase_add_test(tcase, a_name_is_passed_on_cut_and_may_be_missing);
    tcase_add_test(tcase, a_driver_is_told_the_size_of_an_object_that_it_has);
    return unit_run("sdk_vmops", tcase);
}
