/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/fault/fault.h: every combination against the same decisions as nested questions.
 */
#include <check.h>

#include "server/fault/fault.h"
#include "tests/support/unit.h"

static enum fault_action by_state(const struct fault_query *q)
{
    if (page_state_is_valid(q->state))
        return FAULT_SHOW;
    if (q->lost)
        return FAULT_POISON;
    if (q->state == PAGE_ABSENT)
        return FAULT_ASK;
    if (q->state == PAGE_FILLING)
        return FAULT_JOIN;
    return q->state == PAGE_POISONED ? FAULT_RETRY : FAULT_WAKE;
}

static enum fault_action expected(const struct fault_query *q)
{
    if (!q->has_vma || q->kind == VMA_QUARANTINE)
        return FAULT_OUTSIDE;
    if (q->kind == VMA_PENDING || q->write_locked)
        return FAULT_PARK;
    if (q->direct)
        return FAULT_WAKE;
    return q->beyond_end ? FAULT_POISON : by_state(q);
}

static struct fault_query query_of(unsigned int n)
{
    struct fault_query query = {
        .has_vma = n & 1,
        .write_locked = n >> 1 & 1,
        .direct = n >> 2 & 1,
        .beyond_end = n >> 3 & 1,
        .lost = n >> 4 & 1,
    };

    n >>= 5;
    query.kind = (enum vma_kind)(n % VMA_KIND_N);
    query.state = (enum page_state)(n / VMA_KIND_N);
    return query;
}

START_TEST(every_combination_is_decided_as_the_questions_say)
{
    for (unsigned int n = 0; n < 32u * VMA_KIND_N * PAGE_STATE_N; n++) {
        struct fault_query query = query_of(n);

        UNIT_EXPECT(fault_decide(&query) == expected(&query));
    }
}
END_TEST

START_TEST(only_valid_pages_are_ever_shown)
{
    for (unsigned int n = 0; n < 32u * VMA_KIND_N * PAGE_STATE_N; n++) {
        struct fault_query query = query_of(n);

        UNIT_EXPECT(fault_decide(&query) != FAULT_SHOW || page_state_is_valid(query.state));
    }
}
END_TEST

START_TEST(nobody_is_asked_or_waited_for_when_the_driver_is_dead)
{
    for (unsigned int n = 0; n < 32u * VMA_KIND_N * PAGE_STATE_N; n++) {
        struct fault_query query = query_of(n);
        enum fault_action action;

        query.lost = true;
        action = fault_decide(&query);
        UNIT_EXPECT(action != FAULT_ASK && action != FAULT_JOIN && action != FAULT_RETRY);
    }
}
END_TEST

START_TEST(every_action_has_a_name)
{
    for (unsigned int action = 0; action < FAULT_ACTION_N; action++)
        ck_assert_str_ne(fault_action_name((enum fault_action)action), "?");
    ck_assert_str_eq(fault_action_name(FAULT_ACTION_N), "?");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fault");

    tcase_add_test(tcase, every_combination_is_decided_as_the_questions_say);
    tcase_add_test(tcase, only_valid_pages_are_ever_shown);
    tcase_add_test(tcase, nobody_is_asked_or_waited_for_when_the_driver_is_dead);
    tcase_add_test(tcase, every_action_has_a_name);
    return unit_run("fault", tcase);
}
