/* SPDX-License-Identifier: BSD-3-Clause */
/* What a touch meets, for each thing that decides it; and that every combination has an answer. */
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/fault/why.h"
#include "tests/support/unit.h"

/* A shared writable mapping that tracks writes, of a driver that supplies pages. */
static struct why_query ordinary(enum page_state state)
{
    return (struct why_query){.fault = {.has_vma = true, .kind = VMA_MAPPED, .state = state},
                              .readable = true,
                              .writable = true,
                              .tracks_writes = true,
                              .has_source = true};
}

static void expect(const struct why_query *query, enum why_outcome read, enum why_outcome write)
{
    ck_assert_str_eq(why_word(why_decide(query, false)), why_word(read));
    ck_assert_str_eq(why_word(why_decide(query, true)), why_word(write));
}

START_TEST(the_state_of_the_page_decides)
{
    static const struct {
        enum page_state state;
        enum why_outcome read, write;
    } rows[] = {
        {PAGE_ABSENT, WHY_ASK, WHY_ASK},
        {PAGE_FILLING, WHY_JOIN, WHY_JOIN},
        {PAGE_CLEAN, WHY_READY, WHY_DIRTIES},
        {PAGE_DIRTY, WHY_READY, WHY_READY},
        {PAGE_WRITEBACK, WHY_READY, WHY_DIRTIES},
        {PAGE_SETTLING, WHY_READY, WHY_DIRTIES},
        {PAGE_EVICTING, WHY_EVICTING, WHY_EVICTING},
        {PAGE_POISONED, WHY_FAILED, WHY_FAILED},
    };

    ck_assert_uint_eq(N_ELEMENTS(rows), PAGE_STATE_N);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const struct why_query query = ordinary(rows[i].state);

        expect(&query, rows[i].read, rows[i].write);
    }
}
END_TEST

START_TEST(where_nothing_stands_nothing_else_counts)
{
    struct why_query query = ordinary(PAGE_CLEAN);

    query.fault.has_vma = false;
    expect(&query, WHY_NOTHING, WHY_NOTHING);
    query.fault.has_vma = true;
    query.fault.kind = VMA_QUARANTINE;
    expect(&query, WHY_QUARANTINE, WHY_QUARANTINE);
    query.fault.kind = VMA_PENDING;
    query.readable = query.writable = false;
    expect(&query, WHY_LOCKED, WHY_LOCKED);
    query.fault.kind = VMA_MAPPED;
    query.fault.write_locked = true;
    expect(&query, WHY_LOCKED, WHY_LOCKED);
}
END_TEST

START_TEST(the_kernel_looks_at_the_protection_first)
{
    struct why_query query = ordinary(PAGE_POISONED);

    query.writable = false;
    expect(&query, WHY_FAILED, WHY_NO_RIGHT);
    query.readable = false;
    expect(&query, WHY_NO_RIGHT, WHY_NO_RIGHT);
    query.readable = query.writable = true;
    query.fault.direct = true;
    expect(&query, WHY_DIRECT, WHY_DIRECT);
}
END_TEST

START_TEST(the_end_and_a_dead_driver_are_failures)
{
    struct why_query query = ordinary(PAGE_ABSENT);

    query.fault.lost = true;
    expect(&query, WHY_LOST, WHY_LOST);
    query.fault.beyond_end = true;
    expect(&query, WHY_BEYOND, WHY_BEYOND);
    query = ordinary(PAGE_CLEAN);
    query.fault.lost = true; /* what is here stays */
    expect(&query, WHY_READY, WHY_DIRTIES);
    query = ordinary(PAGE_ABSENT);
    query.has_source = false;
    expect(&query, WHY_NO_SOURCE, WHY_NO_SOURCE);
    query.fault.state = PAGE_POISONED;
    expect(&query, WHY_NO_SOURCE, WHY_NO_SOURCE);
}
END_TEST

START_TEST(a_private_write_is_a_copy_and_an_untracked_one_is_nothing_special)
{
    struct why_query query = ordinary(PAGE_CLEAN);

    query.tracks_writes = false;
    expect(&query, WHY_READY, WHY_READY);
    query.is_private = true;
    expect(&query, WHY_READY, WHY_COPY);
}
END_TEST

START_TEST(page_mkwrite_makes_the_first_write_wait_or_fail)
{
    struct why_query query = ordinary(PAGE_CLEAN);

    query.has_mkwrite = true;
    expect(&query, WHY_READY, WHY_ASK_MKWRITE);
    query.fault.lost = true; /* nobody is left to be asked */
    expect(&query, WHY_READY, WHY_DIRTIES);
    query.fault.lost = false;
    query.mkwrite = WHY_MKWRITE_ASKED;
    expect(&query, WHY_READY, WHY_MKWRITE);
    query.mkwrite = WHY_MKWRITE_REFUSED;
    expect(&query, WHY_REFUSED, WHY_REFUSED);
    query.fault.state = PAGE_ABSENT; /* it was taken away; its poison is in the page table */
    expect(&query, WHY_REFUSED, WHY_REFUSED);
    query.mkwrite = WHY_MKWRITE_NONE;
    query.fault.state = PAGE_DIRTY;
    expect(&query, WHY_READY, WHY_READY);
    query.fault.state = PAGE_WRITEBACK;
    expect(&query, WHY_READY, WHY_DIRTIES);
}
END_TEST

START_TEST(every_combination_has_an_answer)
{
    for (unsigned bits = 0; bits < 1u << 11; bits++) {
        for (unsigned state = 0; state < PAGE_STATE_N; state++) {
            for (unsigned kind = 0; kind < VMA_KIND_N; kind++) {
                const struct why_query query = {
                    .fault = {.has_vma = bits & 1,
                              .kind = (enum vma_kind)kind,
                              .write_locked = bits & 2,
                              .direct = bits & 4,
                              .beyond_end = bits & 8,
                              .lost = bits & 16,
                              .state = (enum page_state)state},
                    .readable = bits & 32,
                    .writable = bits & 64,
                    .is_private = bits & 128,
                    .tracks_writes = bits & 256,
                    .has_mkwrite = bits & 512,
                    .has_source = bits & 1024,
                };
                const enum why_outcome outcome = why_decide(&query, true);

                ck_assert_uint_lt(outcome, WHY_OUTCOME_N);
                ck_assert_uint_ne(strlen(why_text(outcome)), 0);
                /* nothing is said to work where the fault path would not show the page */
                if (why_verdict_of(outcome) == WHY_WORKS && outcome != WHY_DIRECT)
                    ck_assert_int_eq(fault_decide(&query.fault), FAULT_SHOW);
            }
        }
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("why");

    tcase_add_test(tcase, the_state_of_the_page_decides);
    tcase_add_test(tcase, where_nothing_stands_nothing_else_counts);
    tcase_add_test(tcase, the_kernel_looks_at_the_protection_first);
    tcase_add_test(tcase, the_end_and_a_dead_driver_are_failures);
    tcase_add_test(tcase, a_private_write_is_a_copy_and_an_untracked_one_is_nothing_special);
    tcase_add_test(tcase, page_mkwrite_makes_the_first_write_wait_or_fail);
    tcase_add_test(tcase, every_combination_has_an_answer);
    return unit_run("why", tcase);
}
