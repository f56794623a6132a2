/* SPDX-License-Identifier: BSD-3-Clause */
/* How many pages become writable with one: doubled in order, one otherwise. */
#include <check.h>

#include "server/fault/writeahead.h"
#include "tests/support/unit.h"

START_TEST(writing_in_order_doubles_up_to_the_maximum)
{
    struct vma_writes writes = {0};
    uint64_t page = 1000, window = 1;
    unsigned n_faults = 0;

    for (; page < 1000 + 256; page += window, n_faults++) {
        window = writeahead_touch(&writes, page);
        ck_assert_uint_eq(window, 1ull << n_faults);
    }
    ck_assert_uint_eq(n_faults, 9); /* 1 + 2 + ... + 256 */
    for (unsigned i = 0; i < 5; i++, page += window) {
        window = writeahead_touch(&writes, page);
        ck_assert_uint_eq(window, WRITEAHEAD_MAX_PAGES);
    }
}
END_TEST

START_TEST(writing_elsewhere_starts_again)
{
    struct vma_writes writes = {0};

    ck_assert_uint_eq(writeahead_touch(&writes, 0), 1);
    ck_assert_uint_eq(writeahead_touch(&writes, 1), 2);
    ck_assert_uint_eq(writeahead_touch(&writes, 2),
                      1); /* inside of what is writable: it was clean again */
    ck_assert_uint_eq(writeahead_touch(&writes, 3), 2);
    ck_assert_uint_eq(writeahead_touch(&writes, 500), 1);
    ck_assert_uint_eq(writeahead_touch(&writes, 400), 1);
    ck_assert_uint_eq(writeahead_touch(&writes, 401), 2);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("writeahead");

    tcase_add_test(tcase, writing_in_order_doubles_up_to_the_maximum);
    tcase_add_test(tcase, writing_elsewhere_starts_again);
    return unit_run("writeahead", tcase);
}
