/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/quota/quota.h: charges and limits.
 */
#include <check.h>

#include "server/quota/quota.h"
#include "tests/support/unit.h"

#define ALICE 1000u
#define BOB   1001u

static struct quota_table table;

static void setup(void)
{
    quota_init(&table);
}

static void teardown(void)
{
    quota_done(&table);
}

static void limit(const char *key, uint64_t value)
{
    ck_assert_int_eq(quota_limit_set(&table, key, value), 0);
}

START_TEST(a_charge_up_to_the_limit_is_granted_and_one_more_is_not)
{
    limit("files", 3);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, 2), 0);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, 2), QUOTA_E_EXCEEDED);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, 1), 0);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, 1), QUOTA_E_EXCEEDED);
    ck_assert_uint_eq(quota_used(&table, ALICE, QUOTA_FILES), 3);
    ck_assert_uint_eq(quota_room(&table, ALICE, QUOTA_FILES), 0);
    ck_assert_uint_eq(table.n_refused, 2);
    charge_drop(&table, ALICE, QUOTA_FILES, 3);
}
END_TEST

START_TEST(one_user_does_not_use_up_what_another_may_have)
{
    limit("spaces", 1);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_SPACES, 1), 0);
    ck_assert_int_eq(charge_take(&table, BOB, QUOTA_SPACES, 1), 0);
    ck_assert_uint_eq(table.total[QUOTA_SPACES], 2);
}
END_TEST

START_TEST(memory_is_limited_for_all_together)
{
    limit("cache_bytes", 100);
    limit(QUOTA_KEY_MEMORY, 150);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_CACHE, 90), 0);
    ck_assert_uint_eq(quota_room(&table, ALICE, QUOTA_CACHE), 10);
    ck_assert_uint_eq(quota_room(&table, BOB, QUOTA_CACHE), 60);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_CACHE, 11), QUOTA_E_EXCEEDED);
    ck_assert_int_eq(charge_take(&table, BOB, QUOTA_CACHE, 61), QUOTA_E_MEMORY);
    ck_assert_int_eq(charge_take(&table, BOB, QUOTA_CACHE, 60), 0);
    charge_drop(&table, ALICE, QUOTA_CACHE, 90);
    ck_assert_uint_eq(quota_room(&table, BOB, QUOTA_CACHE), 40);
}
END_TEST

START_TEST(lowering_a_limit_below_what_is_held_only_stops_more)
{
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_VMAS, 10), 0);
    limit("vmas", 5);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_VMAS, 1), QUOTA_E_EXCEEDED);
    ck_assert_uint_eq(quota_room(&table, ALICE, QUOTA_VMAS), 0);
    charge_drop(&table, ALICE, QUOTA_VMAS, 6);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_VMAS, 1), 0);
}
END_TEST

START_TEST(a_user_who_holds_nothing_leaves_no_record)
{
    size_t cursor = 0;

    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, 0), 0);
    ck_assert_ptr_null(quota_next_user(&table, &cursor));
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, 1), 0);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_VMAS, 2), 0);
    charge_drop(&table, ALICE, QUOTA_FILES, 1);
    cursor = 0;
    ck_assert_uint_eq(quota_next_user(&table, &cursor)->uid, ALICE);
    charge_drop(&table, ALICE, QUOTA_VMAS, 2);
    cursor = 0;
    ck_assert_ptr_null(quota_next_user(&table, &cursor));
    charge_drop(&table, ALICE, QUOTA_VMAS, 0);
}
END_TEST

START_TEST(the_peak_is_remembered_while_something_is_held)
{
    size_t cursor = 0;

    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_VMAS, 7), 0);
    charge_drop(&table, ALICE, QUOTA_VMAS, 6);
    ck_assert_uint_eq(quota_next_user(&table, &cursor)->peak[QUOTA_VMAS], 7);
}
END_TEST

START_TEST(sums_do_not_wrap_around)
{
    limit("cache_bytes", QUOTA_UNLIMITED);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_CACHE, UINT64_MAX - 5), 0);
    ck_assert_int_ne(charge_take(&table, ALICE, QUOTA_CACHE, 10), 0);
    ck_assert_int_ne(charge_take(&table, BOB, QUOTA_CACHE, 10), 0);
    limit("files", QUOTA_UNLIMITED);
    ck_assert_int_eq(charge_take(&table, ALICE, QUOTA_FILES, UINT64_MAX - 5), 0);
    ck_assert_int_eq(charge_take(&table, BOB, QUOTA_FILES, 10), QUOTA_E_EXCEEDED);
}
END_TEST

START_TEST(every_limit_can_be_named_read_and_set)
{
    uint64_t value = 0;

    for (unsigned int kind = 0; kind <= QUOTA_KIND_N; kind++) {
        const char *key = quota_key((enum quota_kind)kind);

        ck_assert_str_ne(quota_help((enum quota_kind)kind), "");
        limit(key, 100 + kind);
        ck_assert_int_eq(quota_limit_get(&table, key, &value), 0);
        ck_assert_uint_eq(value, 100 + kind);
    }
    ck_assert_int_eq(quota_limit_set(&table, "bogus", 1), QUOTA_E_NO_KEY);
    ck_assert_int_eq(quota_limit_get(&table, "", &value), QUOTA_E_NO_KEY);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("quota");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_charge_up_to_the_limit_is_granted_and_one_more_is_not);
    tcase_add_test(tcase, one_user_does_not_use_up_what_another_may_have);
    tcase_add_test(tcase, memory_is_limited_for_all_together);
    tcase_add_test(tcase, lowering_a_limit_below_what_is_held_only_stops_more);
    tcase_add_test(tcase, a_user_who_holds_nothing_leaves_no_record);
    tcase_add_test(tcase, the_peak_is_remembered_while_something_is_held);
    tcase_add_test(tcase, sums_do_not_wrap_around);
    tcase_add_test(tcase, every_limit_can_be_named_read_and_set);
    return unit_run("quota", tcase);
}
