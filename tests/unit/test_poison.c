/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/cache/poison.h: records of failed pages.
 */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "server/cache/poison.h"
#include "tests/support/unit.h"

static struct poison poison;

static void setup(void)
{
    poison_init(&poison);
}

static void teardown(void)
{
    poison_done(&poison);
}

static void add(uint64_t start, uint64_t end, int error, const char *text)
{
    poison_add(&poison, (struct range){start, end}, error, "fault", text);
}

static int error_at(uint64_t page)
{
    const struct poison_record *record = poison_find(&poison, page);

    return record ? record->error : 0;
}

START_TEST(a_failed_page_is_found_with_its_sentence)
{
    add(5, 7, EIO, "the disk is on fire");
    ck_assert_ptr_null(poison_find(&poison, 4));
    ck_assert_int_eq(poison_find(&poison, 5)->error, EIO);
    ck_assert_str_eq(poison_find(&poison, 6)->text, "the disk is on fire");
    ck_assert_str_eq(poison_find(&poison, 6)->hook, "fault");
    ck_assert_ptr_null(poison_find(&poison, 7));
}
END_TEST

START_TEST(no_sentence_is_an_empty_one_and_a_long_one_is_cut)
{
    char text[2 * POISON_TEXT_BYTES];

    add(1, 2, EIO, NULL);
    ck_assert_str_eq(poison_find(&poison, 1)->text, "");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    add(1, 2, EIO, text);
    ck_assert_uint_eq(strlen(poison_find(&poison, 1)->text), POISON_TEXT_BYTES - 1);
}
END_TEST

START_TEST(a_newer_failure_replaces_the_part_it_covers)
{
    add(10, 20, EIO, "old");
    add(13, 15, ENODATA, "new");
    ck_assert_int_eq(error_at(12), EIO);
    ck_assert_int_eq(error_at(13), ENODATA);
    ck_assert_int_eq(error_at(14), ENODATA);
    ck_assert_int_eq(error_at(15), EIO);
    add(8, 14, EPERM, "newest");
    ck_assert_int_eq(error_at(8), EPERM);
    ck_assert_int_eq(error_at(13), EPERM);
    ck_assert_int_eq(error_at(14), ENODATA);
    ck_assert_int_eq(error_at(19), EIO);
}
END_TEST

START_TEST(neighbours_that_failed_alike_share_a_record)
{
    for (uint64_t page = 0; page < 5000; page++)
        add(page, page + 1, EIO, "all of it");
    ck_assert_uint_eq(poison.n_records, 1);
    ck_assert_int_eq(error_at(4999), EIO);
    add(5000, 5001, EPERM, "all of it");
    ck_assert_uint_eq(poison.n_records, 2);
}
END_TEST

START_TEST(over_the_limit_the_catch_all_answers)
{
    for (uint64_t i = 0; i < POISON_RECORDS_MAX; i++)
        add(2 * i, 2 * i + 1, EIO, "each its own");
    ck_assert_ptr_null(poison_find(&poison, 1));
    add(9001, 9003, ENODATA, "one too many");
    ck_assert_uint_eq(poison.n_records, POISON_RECORDS_MAX);
    ck_assert_uint_eq(poison.n_uncounted, 2);
    ck_assert_int_eq(error_at(9001), ENODATA);
    ck_assert_int_eq(error_at(0), EIO);
    add(9005, 9006, EPERM, "another one");
    ck_assert_int_eq(error_at(9005), ENODATA);
}
END_TEST

START_TEST(what_is_said_about_the_rest_does_not_hide_records)
{
    add(3, 4, ENODATA, "gone");
    poison_add_rest(&poison, EIO, "driver", "driver file died");
    ck_assert_int_eq(error_at(3), ENODATA);
    ck_assert_int_eq(error_at(UINT64_MAX), EIO);
    ck_assert_str_eq(poison_find(&poison, 0)->hook, "driver");
}
END_TEST

START_TEST(dropping_cuts_records_at_both_edges)
{
    add(10, 20, EIO, "a");
    add(30, 40, EIO, "b");
    poison_drop(&poison, (struct range){15, 35});
    ck_assert_int_eq(error_at(14), EIO);
    ck_assert_int_eq(error_at(15), 0);
    ck_assert_int_eq(error_at(34), 0);
    ck_assert_int_eq(error_at(35), EIO);
    poison_drop(&poison, (struct range){12, 13});
    ck_assert_int_eq(error_at(11), EIO);
    ck_assert_int_eq(error_at(12), 0);
    ck_assert_int_eq(error_at(13), EIO);
    ck_assert_uint_eq(poison.n_records, 3);
    poison_drop(&poison, (struct range){0, UINT64_MAX});
    ck_assert_uint_eq(poison.n_records, 0);
    poison_drop(&poison, (struct range){5, 5});
}
END_TEST

START_TEST(records_agree_with_an_array)
{
    enum { N = 64 };
    int model[N] = {0};
    uint64_t random = unit_seed();

    for (unsigned int round = 0; round < 5000; round++) {
        uint64_t start = unit_random(&random) % N;
        uint64_t end = start + unit_random(&random) % (N - start + 1);
        int error = (int)(unit_random(&random) % 4);

        if (error == 0)
            poison_drop(&poison, (struct range){start, end});
        else
            add(start, end, error, NULL);
        for (uint64_t page = start; page < end; page++)
            model[page] = error;
        for (uint64_t page = 0; page < N; page++)
            UNIT_EXPECT(error_at(page) == model[page]);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("poison");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_failed_page_is_found_with_its_sentence);
    tcase_add_test(tcase, no_sentence_is_an_empty_one_and_a_long_one_is_cut);
    tcase_add_test(tcase, a_newer_failure_replaces_the_part_it_covers);
    tcase_add_test(tcase, neighbours_that_failed_alike_share_a_record);
    tcase_add_test(tcase, over_the_limit_the_catch_all_answers);
    tcase_add_test(tcase, what_is_said_about_the_rest_does_not_hide_records);
    tcase_add_test(tcase, dropping_cuts_records_at_both_edges);
    tcase_add_test(tcase, records_agree_with_an_array);
    return unit_run("poison", tcase);
}
