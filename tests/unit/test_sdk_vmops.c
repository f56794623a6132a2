/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of libmuse-driver, continued: access, vma_name, resized and setattr_path. See test_sdk.c. */
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

/* ---- attributes ---- */

static const Muse__Wire__DriverDone *next_done(uint64_t id)
{
    return next_message(FRAME_DRIVER_DONE, id, &muse__wire__driver_done__descriptor);
}

START_TEST(a_change_of_attributes_reaches_the_hook_and_says_whose_they_are)
{
    Muse__Wire__PathAsk nothing = MUSE__WIRE__PATH_ASK__INIT;
    char name[] = "plain";
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("some");
    post_setattr(5, "plain", 0, 0);
    expect_line("setattr plain - 0x33 640 7 0 0 -8");
    ck_assert(!next_done(5)->has_object_key);
    post_setattr(6, "known", 0, AT_SYMLINK_NOFOLLOW);
    expect_line("setattr known - itself 0x33 640 7 0 0 -8");
    ck_assert_uint_eq(next_done(6)->object_key, KEY);
    post_setattr(7, "plain", handle, 0);
    expect_line("setattr plain some 0x33 640 7 0 0 -8");
    (void)next_done(7);
    post_setattr(8, "plain", handle + 1000, 0); /* no such file: nobody is asked */
    ck_assert_uint_eq(next_failed(8)->error, EBADF);
    post_setattr(9, "refuse", 0, 0);
    expect_line("setattr refuse - 0x33 640 7 0 0 -8");
    ck_assert_uint_eq(next_failed(9)->error, EPERM);
    nothing.name = name;
    post(FRAME_DRIVER_SETATTR, 10, &nothing);
    ck_assert_uint_eq(next_failed(10)->error, EOPNOTSUPP);
    end_with(0);
}
END_TEST

START_TEST(a_file_whose_attributes_are_being_changed_is_not_released)
{
    uint64_t handle;

    start(&probe_ops);
    handle = open_file("some");
    post_setattr(5, "later", handle, 0);
    expect_line("setattr later some 0x33 640 7 0 0 -8");
    post_handle(FRAME_DRIVER_RELEASE, 0, handle);
    post_path(FRAME_DRIVER_STATAT, 6, "plain", 0); /* behind it, and done before it */
    expect_line("getattr_path plain");
    (void)next_frame(FRAME_DRIVER_ATTR, 6);
    open_gate();
    (void)next_done(5);
    expect_line("release some");
    end_with(0);
}
END_TEST

START_TEST(a_driver_that_is_older_than_a_hook_does_not_have_it)
{
    const Muse__Wire__DriverHello *hello;
    struct muse_driver_ops older = probe_ops;

    older.struct_size = offsetof(struct muse_driver_ops, setattr_path);
    start_driver(&older, false);
    hello = next_message(FRAME_DRIVER_HELLO, 0, &muse__wire__driver_hello__descriptor);
    ck_assert_uint_eq(hello->optional_hooks, 0);
    welcome();
    post_setattr(5, "plain", 0, 0);
    ck_assert_uint_eq(next_failed(5)->error, EOPNOTSUPP);
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
    tcase_add_test(tcase, a_change_of_attributes_reaches_the_hook_and_says_whose_they_are);
    tcase_add_test(tcase, a_file_whose_attributes_are_being_changed_is_not_released);
    tcase_add_test(tcase, a_driver_that_is_older_than_a_hook_does_not_have_it);
    return unit_run("sdk_vmops", tcase);
}
