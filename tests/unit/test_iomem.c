/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of drivers/common/iomem.h: tables of the kernel's format, this machine's own among them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "drivers/common/iomem.h"
#include "tests/support/unit.h"

static const char table[] = "00000000-00000fff : Reserved\n"
                            "00001000-0009fbff : System RAM\n"
                            "000a0000-000bffff : PCI Bus 0000:00\n"
                            "  000a0000-000affff : Video RAM area\n"
                            "00100000-3fffffff : System RAM\n"
                            "  01000000-01ffffff : Kernel code\n"
                            "  02000000-02ffffff : Kernel data\n"
                            "40000000-4000ffff : PCI Bus 0000:00\n";

START_TEST(a_table_is_read_with_its_levels)
{
    struct iomem iomem;
    size_t line;

    ck_assert_int_eq(iomem_parse(table, &iomem, &line), 0);
    ck_assert_uint_eq(iomem.n_ranges, 8);
    ck_assert_str_eq(iomem.ranges[5].name, "Kernel code");
    ck_assert_uint_eq(iomem.ranges[5].depth, 1);
    ck_assert(range_equal(iomem.ranges[5].bytes, range_make(0x1000000, 0x2000000)));
    ck_assert_uint_eq(iomem_end(&iomem), 0x40010000);
    iomem_done(&iomem);
    ck_assert_int_eq(iomem_parse("", &iomem, &line), 0);
    ck_assert_uint_eq(iomem_end(&iomem), 0);
}
END_TEST

START_TEST(ranges_that_touch_cover_together_and_gaps_do_not)
{
    struct iomem iomem;
    size_t line;

    ck_assert_int_eq(iomem_parse(table, &iomem, &line), 0);
    ck_assert(iomem_covers(&iomem, range_make(0, 0x9fc00)));
    ck_assert(!iomem_covers(&iomem, range_make(0, 0xa0000)));
    ck_assert(iomem_covers(&iomem, range_make(0x3ffff000, 0x40001000)));
    ck_assert(!iomem_covers(&iomem, range_make(0x40000000, 0x40020000)));
    ck_assert(!iomem_covers(&iomem, range_make(0x9fbff, 0x9fc01)));
    ck_assert_ptr_eq(iomem_touches(&iomem, "System RAM", range_make(0, 0x1000)), NULL);
    ck_assert_ptr_eq(iomem_touches(&iomem, "System RAM", range_make(0, 0x1001)), &iomem.ranges[1]);
    ck_assert_ptr_eq(iomem_touches(&iomem, "Kernel data", range_make(0x2ffffff, 0x3000000)),
                     &iomem.ranges[6]);
    iomem_done(&iomem);
}
END_TEST

static const char *const bad[] = {
    "0-f\n",
    "0-f : \n",
    "0-f: x\n",
    "0 - f : x\n",
    "-f : x\n",
    "g-f : x\n",
    "f-0 : x\n",
    " 0-f : x\n",
    "  0-f : below nothing\n",
    "0-f : a\n    0-f : two levels down\n",
    "0-f : a\n  0-10 : sticks out\n",
    "0-f : a\n8-1f : overlaps\n",
    "10-1f : a\n0-f : before\n",
    "0-ffffffffffffffff : everything\n",
    "0-10000000000000000 : too large\n",
    "0-f : x\n\n",
    "0-f : 0123456789012345678901234567890123456789012345678901234567890123\n",
};

START_TEST(what_is_no_table_is_refused_with_its_line)
{
    struct iomem iomem;
    size_t line;

    ck_assert_int_eq(iomem_parse(bad[_i], &iomem, &line), -EINVAL);
    ck_assert_uint_eq(line, bad[_i][strcspn(bad[_i], "\n") + 1] ? 2 : 1);
    ck_assert_ptr_null(iomem.ranges);
}
END_TEST

START_TEST(a_table_has_a_largest_size)
{
    const size_t n = IOMEM_RANGES_MAX + 1;
    char *text = malloc(n * 32);
    struct iomem iomem;
    size_t line, at = 0;

    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(text + at, "%zx-%zx : x\n", i, i); /* NOLINT: 32 are enough */
    ck_assert_int_eq(iomem_parse(text, &iomem, &line), -E2BIG);
    ck_assert_uint_eq(line, n);
    free(text);
}
END_TEST

/* As root with the real addresses, else all of them are 0. */
START_TEST(this_machines_own_table_is_read)
{
    static char text[1 << 20];
    FILE *file = fopen("/proc/iomem", "re");
    struct iomem iomem;
    size_t line;

    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    if (strncmp(text, "00000000-00000000", 17) == 0)
        return; /* addresses are root's to know */
    ck_assert_msg(iomem_parse(text, &iomem, &line) == 0, "line %zu", line);
    ck_assert_ptr_nonnull(iomem_touches(&iomem, "System RAM", range_make(0, 1ull << 46)));
    iomem_done(&iomem);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("iomem");

    tcase_add_test(tcase, a_table_is_read_with_its_levels);
    tcase_add_test(tcase, ranges_that_touch_cover_together_and_gaps_do_not);
    tcase_add_loop_test(tcase, what_is_no_table_is_refused_with_its_line, 0, N_ELEMENTS(bad));
    tcase_add_test(tcase, a_table_has_a_largest_size);
    tcase_add_test(tcase, this_machines_own_table_is_read);
    return unit_run("iomem", tcase);
}
