/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/fault/run.h: runs in flight and who waits.
 */
#include <string.h>

#include <check.h>

#include "server/fault/run.h"
#include "tests/support/unit.h"

static struct run_table table;
static struct list owed;
static int space_a, space_b;

static void setup(void)
{
    run_table_init(&table);
    list_init(&owed);
}

static void start(struct run *run, uint64_t id, uint64_t first, uint64_t end)
{
    run_init(run, NULL, id, (struct range){first, end});
    run_table_insert(&table, run);
    list_add_tail(&owed, &run->owner_link);
}

static struct page_waiter fault(uint64_t page, void *space)
{
    struct page_waiter waiter;

    waiter_init(&waiter, WAITER_FAULT);
    waiter.page = page;
    waiter.space = space;
    waiter.addr = 0x10000 + page * 4096;
    return waiter;
}

static void join(struct page_waiter *waiter)
{
    list_init(&waiter->space_link); /* it has moved since fault() returned it */
    list_init(&waiter->batch);
    ck_assert_int_eq(run_table_join(&table, waiter), 0);
}

/* The ids of the owner's runs, as digits. */
static unsigned int owed_ids(void)
{
    struct list *pos;
    unsigned int ids = 0;

    list_for_each(pos, &owed)
        ids = ids * 10 + (unsigned int)LIST_ENTRY(pos, struct run, owner_link)->id;
    return ids;
}

/* The pages of a batch, as digits; empties it. */
static unsigned int batch_pages(struct list *batch)
{
    struct list *node;
    unsigned int pages = 0;

    while ((node = list_take_first(batch)))
        pages = pages * 10 + (unsigned int)LIST_ENTRY(node, struct page_waiter, batch)->page;
    return pages;
}

START_TEST(a_run_is_found_by_each_of_its_pages)
{
    struct run low, high;

    start(&high, 2, 20, 30);
    start(&low, 1, 10, 20);
    ck_assert_ptr_null(run_table_find(&table, 9));
    ck_assert_ptr_eq(run_table_find(&table, 10), &low);
    ck_assert_ptr_eq(run_table_find(&table, 19), &low);
    ck_assert_ptr_eq(run_table_find(&table, 20), &high);
    ck_assert_ptr_null(run_table_find(&table, 30));
    ck_assert_ptr_eq(run_table_find_next(&table, 0), &low);
    ck_assert_ptr_eq(run_next(&low), &high);
    ck_assert_ptr_null(run_next(&high));
    ck_assert_ptr_null(run_table_validate(&table));
}
END_TEST

START_TEST(cutting_an_edge_leaves_the_rest_in_flight)
{
    struct run run;

    start(&run, 1, 10, 20);
    ck_assert(!run_cut_needs_spare(&run, (struct range){10, 14}));
    ck_assert(!run_table_cut(&table, &run, (struct range){10, 14}, NULL));
    ck_assert(!run_table_cut(&table, &run, (struct range){18, 20}, NULL));
    ck_assert(range_equal(run.pages, (struct range){14, 18}));
    ck_assert_ptr_null(run_table_find(&table, 13));
    ck_assert(run_table_cut(&table, &run, (struct range){14, 18}, NULL));
    ck_assert(run_table_is_idle(&table));
    ck_assert(list_is_empty(&owed));
}
END_TEST

START_TEST(cutting_the_middle_makes_a_second_part_next_to_the_first)
{
    struct run one, two, spare;

    start(&one, 1, 10, 20);
    start(&two, 2, 30, 40);
    one.deadline_ns = 77;
    one.asked_ns = 55;
    ck_assert(run_cut_needs_spare(&one, (struct range){13, 15}));
    ck_assert(!run_table_cut(&table, &one, (struct range){13, 15}, &spare));
    ck_assert(range_equal(one.pages, (struct range){10, 13}));
    ck_assert(range_equal(spare.pages, (struct range){15, 20}));
    ck_assert_uint_eq(spare.id, 1);
    ck_assert_uint_eq(spare.deadline_ns, 77);
    ck_assert_uint_eq(spare.asked_ns, 55);
    ck_assert_uint_eq(owed_ids(), 112);
    ck_assert_ptr_eq(run_table_find(&table, 15), &spare);
    ck_assert_ptr_null(run_table_find(&table, 14));
    ck_assert_uint_eq(table.n_runs, 3);
    ck_assert_ptr_null(run_table_validate(&table));
}
END_TEST

START_TEST(waiters_are_walked_in_page_order)
{
    struct page_waiter late = fault(9, &space_a), early = fault(3, &space_a);
    struct page_waiter other = fault(3, &space_b);
    const struct page_waiter *waiter;
    unsigned n = 0;

    ck_assert_ptr_null(run_table_first_waiter(&table, 0));
    join(&late);
    join(&early);
    join(&other);
    for (waiter = run_table_first_waiter(&table, 3); waiter && waiter->page == 3;
         waiter = waiter_next(waiter))
        n++;
    ck_assert_uint_eq(n, 2);
    ck_assert_ptr_eq(waiter, &late);
    ck_assert_ptr_null(waiter_next(waiter));
    ck_assert_ptr_eq(run_table_first_waiter(&table, 4), &late);
    ck_assert_ptr_null(run_table_first_waiter(&table, 10));
}
END_TEST

START_TEST(the_same_fault_waits_once)
{
    struct page_waiter first = fault(5, &space_a), again = first;
    struct page_waiter other_space = fault(5, &space_b), other_addr = first;

    other_addr.addr += 0x100000;
    join(&first);
    list_init(&again.batch);
    ck_assert(run_table_has_fault(&table, 5, &space_a, first.addr));
    ck_assert(!run_table_has_fault(&table, 6, &space_a, first.addr));
    ck_assert_int_eq(run_table_join(&table, &again), RUN_E_JOINED);
    ck_assert(!waiter_is_waiting(&again));
    join(&other_space);
    join(&other_addr);
    ck_assert_uint_eq(table.n_waiters, 3);
    ck_assert_ptr_null(run_table_validate(&table));
}
END_TEST

START_TEST(calls_for_the_same_page_wait_each_for_itself)
{
    struct page_waiter one, two;

    waiter_init(&one, WAITER_CALL);
    waiter_init(&two, WAITER_CALL);
    one.page = two.page = 3;
    ck_assert_int_eq(run_table_join(&table, &one), 0);
    ck_assert_int_eq(run_table_join(&table, &two), 0);
    ck_assert_uint_eq(table.n_waiters, 2);
}
END_TEST

START_TEST(completed_pages_yield_their_waiters_in_page_order)
{
    struct page_waiter w[6];
    static const uint64_t pages[6] = {7, 3, 9, 5, 3, 4};
    struct list batch = LIST_INIT(batch);

    for (unsigned int i = 0; i < 6; i++) {
        w[i] = fault(pages[i], i == 4 ? &space_b : &space_a);
        join(&w[i]);
    }
    ck_assert_uint_eq(run_table_waited(&table, (struct range){0, 100}), 3);
    ck_assert_uint_eq(run_table_waited(&table, (struct range){6, 7}), 7);
    run_table_take_waiters(&table, (struct range){3, 6}, &batch);
    ck_assert_uint_eq(batch_pages(&batch), 3345);
    ck_assert(!waiter_is_waiting(&w[1]));
    ck_assert_uint_eq(table.n_waiters, 2);
    run_table_take_waiters(&table, (struct range){0, 100}, &batch);
    ck_assert_uint_eq(batch_pages(&batch), 79);
    ck_assert(run_table_is_idle(&table));
}
END_TEST

START_TEST(a_waiter_may_leave_and_join_again)
{
    struct page_waiter waiter = fault(5, &space_a);

    join(&waiter);
    run_table_leave(&waiter);
    run_table_leave(&waiter);
    ck_assert(run_table_is_idle(&table));
    join(&waiter);
    ck_assert_uint_eq(table.n_waiters, 1);
}
END_TEST

START_TEST(cutting_a_run_moves_no_waiter)
{
    struct run run, spare;
    struct page_waiter low = fault(2, &space_a), high = fault(8, &space_a);
    struct list batch = LIST_INIT(batch);

    start(&run, 1, 0, 10);
    join(&low);
    join(&high);
    ck_assert(!run_table_cut(&table, &run, (struct range){4, 6}, &spare));
    ck_assert_uint_eq(table.n_waiters, 2);
    run_table_take_waiters(&table, spare.pages, &batch);
    ck_assert_uint_eq(batch_pages(&batch), 8);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("run");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_run_is_found_by_each_of_its_pages);
    tcase_add_test(tcase, cutting_an_edge_leaves_the_rest_in_flight);
    tcase_add_test(tcase, cutting_the_middle_makes_a_second_part_next_to_the_first);
    tcase_add_test(tcase, waiters_are_walked_in_page_order);
    tcase_add_test(tcase, the_same_fault_waits_once);
    tcase_add_test(tcase, calls_for_the_same_page_wait_each_for_itself);
    tcase_add_test(tcase, completed_pages_yield_their_waiters_in_page_order);
    tcase_add_test(tcase, a_waiter_may_leave_and_join_again);
    tcase_add_test(tcase, cutting_a_run_moves_no_waiter);
    return unit_run("run", tcase);
}
