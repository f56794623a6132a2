/* SPDX-License-Identifier: BSD-3-Clause */
/* Staying awake between faults (server/fault/spin.h): when, and when no longer. */
#include <check.h>

#include "server/fault/spin.h"
#include "tests/support/unit.h"

#define WINDOW ((uint64_t)50000)
#define START  ((uint64_t)7000000000)

static struct spin spin;

static uint64_t serve(uint64_t at)
{
    return spin_served(&spin, START + at, START + at + 10, WINDOW);
}

static void begin(void)
{
    spin = (struct spin){0};
}

START_TEST(a_first_fault_is_not_waited_after)
{
    begin();
    ck_assert_uint_eq(serve(0), 0);
}
END_TEST

START_TEST(faults_that_follow_each_other_keep_it_awake)
{
    begin();
    (void)serve(0);
    for (uint64_t at = 1000; at < 100 * SPIN_PAUSE_NS; at += 30000)
        ck_assert_uint_eq(serve(at), START + at + 10 + WINDOW);
    ck_assert_uint_eq(spin.n_vain, 0);
}
END_TEST

START_TEST(faults_far_apart_let_it_sleep)
{
    begin();
    (void)serve(0);
    ck_assert_uint_ne(serve(SPIN_GAP_NS), 0);
    ck_assert_uint_eq(serve(2 * SPIN_GAP_NS + 11), 0);
    ck_assert_uint_eq(serve(4 * SPIN_GAP_NS), 0);
}
END_TEST

/* Every 100 µs: near enough to follow, too far for the window. */
START_TEST(what_is_in_vain_pauses_and_is_tried_again)
{
    uint64_t at = 0, n_awake = 0;
    const uint64_t step = 100000, n_steps = 10 * SPIN_PAUSE_NS / step;

    begin();
    for (uint64_t i = 0; i < n_steps; i++, at += step)
        n_awake += serve(at) != 0;
    ck_assert_uint_ge(n_awake, 2 * SPIN_VAIN_MAX);
    ck_assert_uint_le(n_awake * WINDOW * 20, n_steps * step); /* 5 % of the time, with such gaps */
}
END_TEST

START_TEST(one_success_forgives)
{
    uint64_t at = 0;

    begin();
    (void)serve(at);
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned k = 0; k < SPIN_VAIN_MAX - 1; k++)
            ck_assert_uint_ne(serve(at += 100000), 0);
        ck_assert_uint_ne(serve(at += 20000), 0);
    }
}
END_TEST

START_TEST(without_a_window_it_never_stays_awake)
{
    begin();
    for (uint64_t at = 1; at < 1000; at++)
        ck_assert_uint_eq(spin_served(&spin, START + at, START + at, 0), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("spin");

    tcase_add_test(tcase, a_first_fault_is_not_waited_after);
    tcase_add_test(tcase, faults_that_follow_each_other_keep_it_awake);
    tcase_add_test(tcase, faults_far_apart_let_it_sleep);
    tcase_add_test(tcase, what_is_in_vain_pauses_and_is_tried_again);
    tcase_add_test(tcase, one_success_forgives);
    tcase_add_test(tcase, without_a_window_it_never_stays_awake);
    return unit_run("spin", tcase);
}
