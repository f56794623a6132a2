/* SPDX-License-Identifier: BSD-3-Clause */
/* The trace of hook calls: what is kept, what followers get. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/flow/trace.h"
#include "tests/support/unit.h"

static struct trace *trace;

static void setup(void)
{
    ck_assert_int_eq(trace_new(&trace), 0);
}

static void teardown(void)
{
    trace_free(trace);
}

static void add(unsigned n)
{
    struct trace_entry entry = {.at_ns = n, .hook = "open", .driver = "zero"};

    (void)snprintf(entry.args, sizeof(entry.args), "n=%u", n);
    trace_add(trace, &entry);
}

struct reader {
    struct trace_follower follower;
    unsigned n_entries;
    uint64_t last_seq;
    bool leaves;
};

static void on_entry(struct trace_follower *follower, const struct trace_entry *entry)
{
    struct reader *reader = CONTAINER_OF(follower, struct reader, follower);

    reader->n_entries++;
    reader->last_seq = entry->seq;
    if (reader->leaves)
        trace_unfollow(follower);
}

START_TEST(an_empty_trace_has_no_next_entry)
{
    ck_assert_ptr_null(trace_next(trace, 0));
    ck_assert_ptr_null(trace_next(trace, 7));
}
END_TEST

START_TEST(entries_come_back_in_order)
{
    uint64_t seq = 0;

    for (unsigned i = 1; i <= 3; i++)
        add(i);
    for (unsigned i = 1; i <= 3; i++) {
        const struct trace_entry *entry = trace_next(trace, seq);

        ck_assert_ptr_nonnull(entry);
        ck_assert_uint_eq(entry->seq, i);
        ck_assert_uint_eq(entry->at_ns, i);
        seq = entry->seq;
    }
    ck_assert_ptr_null(trace_next(trace, seq));
}
END_TEST

START_TEST(only_the_last_entries_are_kept)
{
    for (unsigned i = 1; i <= 2 * TRACE_KEPT + 5; i++)
        add(i);
    ck_assert_uint_eq(trace_next(trace, 0)->seq, TRACE_KEPT + 6);
    ck_assert_uint_eq(trace_next(trace, 2 * TRACE_KEPT + 4)->at_ns, 2 * TRACE_KEPT + 5);
    ck_assert_ptr_null(trace_next(trace, 2 * TRACE_KEPT + 5));
}
END_TEST

START_TEST(a_follower_gets_what_ends_while_it_follows)
{
    struct reader reader = {.follower = {.entry = on_entry}};

    add(1);
    trace_follow(trace, &reader.follower);
    add(2);
    add(3);
    trace_unfollow(&reader.follower);
    add(4);
    ck_assert_uint_eq(reader.n_entries, 2);
    ck_assert_uint_eq(reader.last_seq, 3);
}
END_TEST

START_TEST(a_follower_may_leave_inside_its_call)
{
    struct reader leaver = {.follower = {.entry = on_entry}, .leaves = true};
    struct reader stayer = {.follower = {.entry = on_entry}};

    trace_follow(trace, &leaver.follower);
    trace_follow(trace, &stayer.follower);
    add(1);
    add(2);
    ck_assert_uint_eq(leaver.n_entries, 1);
    ck_assert_uint_eq(stayer.n_entries, 2);
    trace_unfollow(&leaver.follower); /* twice is fine */
    trace_unfollow(&stayer.follower);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("trace");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_empty_trace_has_no_next_entry);
    tcase_add_test(tcase, entries_come_back_in_order);
    tcase_add_test(tcase, only_the_last_entries_are_kept);
    tcase_add_test(tcase, a_follower_gets_what_ends_while_it_follows);
    tcase_add_test(tcase, a_follower_may_leave_inside_its_call);
    return unit_run("trace", tcase);
}
