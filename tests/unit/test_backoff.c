/* SPDX-License-Identifier: BSD-3-Clause */
/* Waits that double: common/base/backoff.h. */
#include <check.h>

#include "common/base/backoff.h"
#include "tests/support/unit.h"

START_TEST(each_failure_waits_twice_as_long_up_to_the_longest_wait)
{
    static const uint64_t waits[] = {20, 40, 80, 100, 100};
    struct backoff backoff = {.first_ns = 20, .max_ns = 100};

    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_eq(backoff_failed(&backoff, 1000), 1000 + waits[i]);
}
END_TEST

START_TEST(after_a_success_the_shortest_wait_comes_again)
{
    struct backoff backoff = {.first_ns = 20, .max_ns = 100};

    ck_assert_uint_eq(backoff_failed(&backoff, 0), 20);
    ck_assert_uint_eq(backoff_failed(&backoff, 0), 40);
    backoff_worked(&backoff);
    ck_assert_uint_eq(backoff_failed(&backoff, 0), 20);
}
END_TEST

START_TEST(the_longest_wait_is_never_exceeded)
{
    struct backoff backoff = {.first_ns = UINT64_C(1) << 62, .max_ns = (UINT64_C(1) << 62) + 1};

    ck_assert_uint_eq(backoff_failed(&backoff, 0), UINT64_C(1) << 62);
    ck_assert_uint_eq(backoff_failed(&backoff, 0), (UINT64_C(1) << 62) + 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("backoff");

    tcase_add_test(tcase, each_failure_waits_twice_as_long_up_to_the_longest_wait);
    tcase_add_test(tcase, after_a_success_the_shortest_wait_comes_again);
    tcase_add_test(tcase, the_longest_wait_is_never_exceeded);
    return unit_run("backoff", tcase);
}
