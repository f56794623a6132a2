/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of drivers/bar/bus.h. */
#include <errno.h>

#include <check.h>

#include "drivers/bar/bus.h"
#include "tests/support/unit.h"

static struct bus_window window(uint64_t start, uint64_t end, uint64_t offset)
{
    return (struct bus_window){.bus = range_make(start, end), .offset = offset};
}

START_TEST(an_address_is_found_with_what_lies_behind_it)
{
    struct bus bus = {.n_windows = 0};
    uint64_t offset = 1;

    ck_assert_int_eq(bus_add(&bus, window(0x10000, 0x12000, 0x5000)), 0);
    ck_assert_int_eq(bus_add(&bus, window(0x12000, 0x13000, 0x1000)), 0);
    ck_assert_uint_eq(bus_translate(&bus, 0x10004, 8, &offset), 8);
    ck_assert_uint_eq(offset, 0x5004);
    ck_assert_uint_eq(bus_translate(&bus, 0x11ffc, 8, &offset), 4);
    ck_assert_uint_eq(bus_translate(&bus, 0x12000, UINT64_MAX, &offset), 0x1000);
    ck_assert_uint_eq(offset, 0x1000);
    ck_assert_uint_eq(bus_translate(&bus, 0x13000, 1, &offset), 0);
    ck_assert_uint_eq(bus_translate(&bus, 0xffff, 1, &offset), 0);
    ck_assert_uint_eq(bus_translate(&bus, 0x10000, 0, &offset), 0);
}
END_TEST

START_TEST(windows_are_whole_pages_and_apart_on_both_sides)
{
    struct bus bus = {.n_windows = 0};

    ck_assert_int_eq(bus_add(&bus, window(0x10000, 0x12000, 0x5000)), 0);
    ck_assert_int_eq(bus_add(&bus, window(0x11000, 0x13000, 0x8000)), -EINVAL);
    ck_assert_int_eq(bus_add(&bus, window(0x20000, 0x21000, 0x6000)), -EINVAL);
    ck_assert_int_eq(bus_add(&bus, window(0x20000, 0x20000, 0x9000)), -EINVAL);
    ck_assert_int_eq(bus_add(&bus, window(0x20000, 0x20800, 0x9000)), -EINVAL);
    ck_assert_int_eq(bus_add(&bus, window(0x20000, 0x21000, 0x9800)), -EINVAL);
    for (uint64_t i = 1; i < BUS_WINDOWS_MAX; i++)
        ck_assert_int_eq(bus_add(&bus, window(i << 20, (i << 20) + 4096, i << 20)), 0);
    ck_assert_int_eq(bus_add(&bus, window(1 << 30, (1 << 30) + 4096, 1 << 30)), -E2BIG);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("bar_bus");

    tcase_add_test(tcase, an_address_is_found_with_what_lies_behind_it);
    tcase_add_test(tcase, windows_are_whole_pages_and_apart_on_both_sides);
    return unit_run("bar_bus", tcase);
}
