/* SPDX-License-Identifier: BSD-3-Clause */
/* The eviction policy: which entries there are, and which goes next. */
#include <errno.h>

#include <check.h>

#include "server/cache/evict.h"
#include "tests/support/unit.h"

#define N_PAGES 4096u
#define KIB(n)  ((uint64_t)(n) << 10)

static struct evict evict;
static struct evict_pool pool;
static struct evict_object object;
static _Atomic uint8_t states[N_PAGES];
static struct page_table table;

static void begin(void)
{
    evict_init(&evict);
    ck_assert_int_eq(evict_pool_init(&evict, &pool), 0);
    ck_assert_int_eq(evict_object_init(&evict, &object, &pool, 7, 12), 0);
    page_table_init(&table, states, N_PAGES);
}

static void end(void)
{
    ck_assert_ptr_null(evict_validate(&evict, &pool));
    evict_object_done(&evict, &object);
    evict_pool_done(&evict, &pool);
    ck_assert_uint_eq(evict.n_used, 0);
    ck_assert_uint_eq(evict_bytes(&evict), (uint64_t)evict.n_owners * sizeof(void *));
    evict_done(&evict);
}

static struct evict_seen add(uint64_t first, uint64_t last)
{
    const struct range pages = {first, last};
    struct evict_seen seen;

    ck_assert_int_eq(evict_add(&evict, &object, pages, &seen), 0);
    return seen;
}

static void expect_pages(uint32_t handle, uint64_t first, uint64_t last)
{
    ck_assert_uint_ne(handle, 0);
    ck_assert_uint_eq(evict_pages(&evict, handle).start, first);
    ck_assert_uint_eq(evict_pages(&evict, handle).end, last);
}

/* The next one, with everything over the limit of SMALL or nothing. */
static uint32_t next_from(bool small)
{
    return evict_next(&evict, &pool, small ? 0 : UINT64_MAX);
}

static void expect_gone(uint64_t first, uint64_t last, bool small)
{
    const uint32_t handle = next_from(small);

    expect_pages(handle, first, last);
    evict_drop(&evict, handle, true);
}

START_TEST(runs_go_in_the_order_in_which_they_came)
{
    begin();
    (void)add(10, 11);
    (void)add(0, 1);
    (void)add(20, 36);
    ck_assert_uint_eq(evict_pool_bytes(&pool), KIB(4) * 18);
    expect_gone(10, 11, true);
    expect_gone(0, 1, true);
    expect_gone(20, 36, true);
    ck_assert_uint_eq(next_from(true), 0);
    ck_assert_uint_eq(evict_pool_bytes(&pool), 0);
    end();
}
END_TEST

START_TEST(what_has_an_entry_gets_no_second_one)
{
    begin();
    (void)add(10, 20);
    (void)add(15, 30);
    (void)add(0, 40);
    ck_assert_ptr_null(evict_validate(&evict, &pool));
    ck_assert_uint_eq(pool.n_entries, 4);
    expect_gone(10, 20, true);
    expect_gone(20, 30, true);
    expect_gone(0, 10, true);
    expect_gone(30, 40, true);
    end();
}
END_TEST

START_TEST(no_entry_crosses_a_block)
{
    begin();
    (void)add(500, 1100);
    expect_gone(500, 512, true);
    expect_gone(512, 1024, true);
    expect_gone(1024, 1100, true);
    end();
}
END_TEST

START_TEST(two_touches_save_it_from_probation_and_one_does_not)
{
    begin();
    (void)add(1, 2);
    (void)add(2, 3);
    (void)add(3, 4);
    evict_touch(&evict, &object, 1);
    evict_touch(&evict, &object, 2);
    evict_touch(&evict, &object, 2);
    evict_touch(&evict, &object, 99); /* nobody's */
    expect_gone(1, 2, true);
    expect_gone(3, 4, true);
    ck_assert_uint_eq(pool.main_bytes, KIB(4));
    expect_gone(2, 3, true);
    end();
}
END_TEST

START_TEST(a_pass_over_a_run_counts_once)
{
    begin();
    (void)add(0, 512);
    for (uint64_t page = 0; page < 512; page++)
        evict_touch(&evict, &object, page);
    expect_gone(0, 512, true);
    end();
}
END_TEST

START_TEST(what_comes_back_soon_enters_main_and_what_comes_back_late_does_not)
{
    struct evict_seen seen;

    begin();
    for (uint64_t page = 0; page < 8; page++)
        (void)add(page, page + 1);
    expect_gone(0, 1, true);
    expect_gone(1, 2, true);
    seen = add(0, 1); /* since then two pages went, six are here */
    ck_assert_uint_eq(seen.n_ghosts, 1);
    ck_assert_uint_eq(seen.n_refaults, 1);
    ck_assert_uint_eq(pool.main_bytes, KIB(4));
    for (uint64_t page = 2; page < 7; page++)
        expect_gone(page, page + 1, true);
    seen = add(1, 2); /* six went since, two are here */
    ck_assert_uint_eq(seen.n_ghosts, 0);
    ck_assert_uint_eq(seen.n_refaults, 1);
    seen = add(100, 101);
    ck_assert_uint_eq(seen.n_refaults, 0);
    end();
}
END_TEST

START_TEST(a_window_is_known_again_by_where_it_begins)
{
    begin();
    (void)add(0, 512);
    (void)add(512, 1024);
    expect_gone(0, 512, true);
    ck_assert_uint_eq(add(256, 512).n_ghosts, 1);
    end();
}
END_TEST

START_TEST(another_object_is_not_taken_for_one_that_went)
{
    struct evict_object other;
    struct evict_seen seen;

    begin();
    (void)add(0, 16);
    (void)add(16, 32);
    expect_gone(0, 16, true);
    ck_assert_int_eq(evict_object_init(&evict, &other, &pool, 8, 12), 0);
    ck_assert_int_eq(evict_add(&evict, &other, (struct range){0, 16}, &seen), 0);
    ck_assert_uint_eq(seen.n_refaults, 0);
    evict_object_done(&evict, &other);
    end();
}
END_TEST

START_TEST(main_is_spared_while_probation_is_over_its_share)
{
    begin();
    (void)add(0, 1);
    (void)add(1, 2);
    (void)add(2, 3);
    expect_gone(0, 1, true);
    (void)add(0, 1); /* MAIN now */
    (void)add(3, 4);
    expect_gone(1, 2, true);
    expect_gone(0, 1, false); /* probation is within its share */
    expect_gone(2, 3, true);
    end();
}
END_TEST

START_TEST(what_was_touched_in_main_gets_another_round)
{
    begin();
    (void)add(0, 1);
    (void)add(1, 2);
    (void)add(2, 3);
    (void)add(3, 4);
    expect_gone(0, 1, true);
    expect_gone(1, 2, true);
    (void)add(0, 1);
    (void)add(1, 2);
    ck_assert_uint_eq(pool.main_bytes, KIB(8));
    evict_touch(&evict, &object, 0);
    expect_gone(1, 2, false);
    expect_gone(0, 1, false);
    end();
}
END_TEST

START_TEST(cold_ones_go_first_and_forget_their_touches)
{
    begin();
    (void)add(0, 1);
    (void)add(1, 2);
    (void)add(2, 3);
    evict_touch(&evict, &object, 2);
    evict_touch(&evict, &object, 2);
    evict_touch(&evict, &object, 2);
    evict_cool(&evict, &object, (struct range){2, 50});
    ck_assert_ptr_null(evict_validate(&evict, &pool));
    expect_gone(2, 3, false);
    expect_gone(0, 1, true);
    end();
}
END_TEST

START_TEST(held_ones_are_not_met_until_something_changed)
{
    uint32_t handle;

    begin();
    (void)add(0, 10);
    (void)add(20, 21);
    handle = next_from(true);
    expect_pages(handle, 0, 10);
    evict_keep(&evict, handle, (struct range){3, 5}, true);
    ck_assert_uint_eq(evict_pool_bytes(&pool), KIB(4) * 3);
    expect_gone(20, 21, true);
    ck_assert_uint_eq(next_from(true), 0);
    ck_assert(evict_unhold(&evict, &pool));
    ck_assert_ptr_null(evict_validate(&evict, &pool));
    ck_assert(!evict_unhold(&evict, &pool));
    expect_gone(3, 5, true);
    end();
}
END_TEST

START_TEST(those_that_were_held_are_looked_at_before_the_rest_of_main)
{
    begin();
    for (uint64_t page = 0; page < 4; page++)
        (void)add(page, page + 1);
    evict_keep(&evict, next_from(true), (struct range){0, 1}, true);
    evict_keep(&evict, next_from(true), (struct range){1, 2}, true);
    expect_gone(2, 3, true);
    (void)add(2, 3); /* in MAIN */
    ck_assert(evict_unhold(&evict, &pool));
    ck_assert_ptr_null(evict_validate(&evict, &pool));
    expect_gone(0, 1, false);
    expect_gone(1, 2, false);
    expect_gone(2, 3, false);
    end();
}
END_TEST

START_TEST(trimmed_entries_keep_what_is_valid_or_filling)
{
    begin();
    (void)add(0, 10);
    (void)add(20, 22);
    (void)page_table_move(&table, 3, PAGE_ABSENT, PAGE_CLEAN);
    (void)page_table_move(&table, 6, PAGE_ABSENT, PAGE_FILLING);
    evict_trim(&evict, &object, (struct range){5, 21}, &table);
    ck_assert_uint_eq(pool.n_entries, 1);
    expect_pages(evict_find(&evict, &object, 0), 3, 7);
    (void)page_table_move(&table, 6, PAGE_FILLING, PAGE_ABSENT);
    evict_trim(&evict, &object, (struct range){6, 7}, &table);
    expect_gone(3, 4, true);
    end();
}
END_TEST

START_TEST(entries_of_blocks_far_apart_are_found_over_what_is_empty)
{
    const uint64_t far = (UINT64_C(1) << 20) + 3;

    begin();
    (void)add(far, far + 4);
    (void)add(510, 514); /* two entries: none crosses a block */
    ck_assert_uint_eq(pool.n_entries, 3);
    expect_pages(evict_find(&evict, &object, 0), 510, 512);
    expect_pages(evict_find(&evict, &object, 512), 512, 514);
    expect_pages(evict_find(&evict, &object, 514), far, far + 4);
    ck_assert_uint_eq(evict_find(&evict, &object, far + 4), 0);
    ck_assert_ptr_null(evict_validate(&evict, &pool));
    evict_cool(&evict, &object, (struct range){511, 513}); /* from within one into the next */
    expect_gone(510, 512, true);
    expect_gone(512, 514, true);
    expect_gone(far, far + 4, true);
    end();
}
END_TEST

START_TEST(entries_are_found_by_page)
{
    begin();
    for (uint64_t first = 0; first < 4000; first += 20)
        (void)add(first, first + 10);
    expect_pages(evict_find(&evict, &object, 5), 0, 10);
    expect_pages(evict_find(&evict, &object, 10), 20, 30);
    expect_pages(evict_find(&evict, &object, 3999 - 10), 3980, 3990);
    ck_assert_uint_eq(evict_find(&evict, &object, 3990), 0);
    ck_assert_ptr_eq(evict_owner(&evict, evict_find(&evict, &object, 5)), &object);
    end();
}
END_TEST

START_TEST(an_entry_takes_less_than_one_per_cent_of_its_page)
{
    begin();
    for (uint64_t page = 0; page < 100000; page++)
        (void)add(2 * page, 2 * page + 1);
    ck_assert_uint_lt(evict_bytes(&evict), 100000 * 4096ull / 100);
    end();
}
END_TEST

START_TEST(places_of_objects_are_used_again)
{
    static struct evict_object objects[100];
    uint32_t n_owners;

    begin();
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(evict_object_init(&evict, &objects[i], &pool, 100 + i, 12), 0);
    n_owners = evict.n_owners;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 100; i += 3)
            evict_object_done(&evict, &objects[i]);
        for (unsigned i = 0; i < 100; i += 3)
            ck_assert_int_eq(evict_object_init(&evict, &objects[i], &pool, 1000 + i, 21), 0);
    }
    ck_assert_uint_eq(evict.n_owners, n_owners);
    for (unsigned i = 0; i < 100; i++)
        evict_object_done(&evict, &objects[i]);
    evict_object_done(&evict, &objects[0]); /* again: nothing */
    end();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("evict");

    tcase_add_test(tcase, runs_go_in_the_order_in_which_they_came);
    tcase_add_test(tcase, what_has_an_entry_gets_no_second_one);
    tcase_add_test(tcase, no_entry_crosses_a_block);
    tcase_add_test(tcase, two_touches_save_it_from_probation_and_one_does_not);
    tcase_add_test(tcase, a_pass_over_a_run_counts_once);
    tcase_add_test(tcase, what_comes_back_soon_enters_main_and_what_comes_back_late_does_not);
    tcase_add_test(tcase, a_window_is_known_again_by_where_it_begins);
    tcase_add_test(tcase, another_object_is_not_taken_for_one_that_went);
    tcase_add_test(tcase, main_is_spared_while_probation_is_over_its_share);
    tcase_add_test(tcase, what_was_touched_in_main_gets_another_round);
    tcase_add_test(tcase, cold_ones_go_first_and_forget_their_touches);
    tcase_add_test(tcase, held_ones_are_not_met_until_something_changed);
    tcase_add_test(tcase, those_that_were_held_are_looked_at_before_the_rest_of_main);
    tcase_add_test(tcase, trimmed_entries_keep_what_is_valid_or_filling);
    tcase_add_test(tcase, entries_of_blocks_far_apart_are_found_over_what_is_empty);
    tcase_add_test(tcase, entries_are_found_by_page);
    tcase_add_test(tcase, an_entry_takes_less_than_one_per_cent_of_its_page);
    tcase_add_test(tcase, places_of_objects_are_used_again);
    return unit_run("evict", tcase);
}
