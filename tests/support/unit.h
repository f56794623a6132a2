/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What unit tests share: running one test case, and random numbers from a printed seed. Header
 * only, so that a unit test links nothing for it.
 */
#ifndef MUSE_TESTS_SUPPORT_UNIT_H
#define MUSE_TESTS_SUPPORT_UNIT_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <check.h>

/* UNIT_EXPECT() - ck_assert() without a message to the parent: for helpers called in inner loops */
#define UNIT_EXPECT(cond)                                                                          \
    do {                                                                                           \
        if (!(cond))                                                                               \
            ck_abort_msg("not so: %s", #cond);                                                     \
    } while (0)

/**
 * unit_run() - run all tests of one test case
 * @name:  of the suite, for the output; static
 * @tcase: takes; its tests are added already
 *
 * Return: what main returns.
 */
static inline int unit_run(const char *name, TCase *tcase)
{
    Suite *suite = suite_create(name);
    SRunner *runner;
    int n_failed;

    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/**
 * unit_seed() - choose and print the seed of a random test; MUSE_SEED=N repeats a run
 *
 * Return: a state for unit_random(), never 0.
 */
__attribute__((unused)) static inline uint64_t unit_seed(void)
{
    const char *text = getenv("MUSE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

    printf("MUSE_SEED=%" PRIu64 "\n", seed);
    return seed * 2 + 1;
}

/**
 * unit_random() - the next random number: xorshift64* (Vigna 2014)
 * @state: from unit_seed()
 */
__attribute__((unused)) static inline uint64_t unit_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

#endif
