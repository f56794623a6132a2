/* SPDX-License-Identifier: BSD-3-Clause */
/* client-lib/outside against one flag a unit, with random changes. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <check.h>

#include "client-lib/outside.h"

#define N_UNITS   64u
#define N_CHANGES 20000u

static unsigned seed;

static unsigned next_random(unsigned below)
{
    seed = seed * 1664525u + 1013904223u; /* Numerical Recipes' */
    return (seed >> 8) % below;
}

/* Return: whether the ranges are disjoint, not empty, and hold just the model's units. */
static bool is_same(const struct outside *outside, const bool *model)
{
    bool seen[N_UNITS] = {false};

    for (size_t i = 0; i < outside->n_ranges; i++) {
        if (range_is_empty(outside->ranges[i]))
            return false;
        for (uint64_t unit = outside->ranges[i].start; unit < outside->ranges[i].end; unit++) {
            if (seen[unit])
                return false;
            seen[unit] = true;
        }
    }
    return memcmp(seen, model, sizeof(seen)) == 0;
}

START_TEST(adding_and_removing_ranges_is_setting_and_clearing_units)
{
    struct outside outside = {0};
    bool model[N_UNITS] = {false};

    for (unsigned i = 0; i < N_CHANGES; i++) {
        const uint64_t start = next_random(N_UNITS);
        const struct range range = {start, start + 1 + next_random(N_UNITS - (unsigned)start)};
        const bool is_addition = next_random(2) == 0;

        if (outside_promise(&outside) < 0)
            ck_abort_msg("out of memory");
        if (next_random(8) == 0) {
            outside_cancel(&outside);
            continue;
        }
        if (is_addition) {
            outside_add(&outside, range);
        } else {
            outside_remove(&outside, range);
        }
        for (uint64_t unit = range.start; unit < range.end; unit++)
            model[unit] = is_addition;
        if (!is_same(&outside, model))
            ck_abort_msg("change %u, state %u: not what was done", i, seed);
    }
    outside_done(&outside);
    outside_done(&outside);
}
END_TEST

START_TEST(changes_announced_together_all_find_room)
{
    struct outside outside = {0};

    for (unsigned i = 0; i < 8; i++)
        ck_assert_int_eq(outside_promise(&outside), 0);
    outside_add(&outside, range_make(0, 100));
    for (uint64_t i = 0; i < 7; i++)
        outside_remove(&outside, range_make(i * 10 + 5, i * 10 + 6)); /* each splits */
    ck_assert_uint_eq(outside.n_ranges, 8);
    outside_done(&outside);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_outside");
    TCase *tcase = tcase_create("outside");
    SRunner *runner;
    int n_failed;

    seed = (unsigned)time(NULL);
    (void)printf("seed %u\n", seed);
    tcase_add_test(tcase, adding_and_removing_ranges_is_setting_and_clearing_units);
    tcase_add_test(tcase, changes_announced_together_all_find_room);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
