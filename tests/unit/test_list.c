/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of common/base/list.h and of the ownership helpers in own.h.
 */
#include <stdlib.h>

#include <check.h>

#include "common/base/list.h"
#include "tests/support/unit.h"

struct item {
    int value;
    struct list link;
};

static int value_of(struct list *node)
{
    return LIST_ENTRY(node, struct item, link)->value;
}

/* Reads the values as the digits of a number, and checks the back links on the way. */
static int digits(struct list *head)
{
    struct list *pos;
    int number = 0;

    list_for_each(pos, head) {
        ck_assert_ptr_eq(pos->prev->next, pos);
        ck_assert_ptr_eq(pos->next->prev, pos);
        number = number * 10 + value_of(pos);
    }
    return number;
}

static void fill(struct list *head, struct item *items, int n, int first_value)
{
    int i;

    list_init(head);
    for (i = 0; i < n; i++) {
        items[i].value = first_value + i;
        list_add_tail(head, &items[i].link);
    }
}

START_TEST(a_fresh_list_is_empty_and_a_fresh_node_unlinked)
{
    struct list head = LIST_INIT(head);
    struct list node;

    list_init(&node);
    ck_assert(list_is_empty(&head));
    ck_assert(!list_is_linked(&node));
    ck_assert_ptr_null(list_first(&head));
    ck_assert_ptr_null(list_last(&head));
    ck_assert_ptr_null(list_take_first(&head));
}
END_TEST

START_TEST(nodes_come_in_the_order_they_were_added)
{
    struct item items[4];
    struct list head;

    fill(&head, items, 3, 1);
    ck_assert_int_eq(digits(&head), 123);
    items[3].value = 4;
    list_add(&head, &items[3].link);
    ck_assert_int_eq(digits(&head), 4123);
    ck_assert_int_eq(value_of(list_first(&head)), 4);
    ck_assert_int_eq(value_of(list_last(&head)), 3);
}
END_TEST

START_TEST(a_node_can_be_added_next_to_another)
{
    struct item items[3];
    struct item more = {.value = 9};
    struct list head;

    fill(&head, items, 3, 1);
    list_add(&items[0].link, &more.link);
    ck_assert_int_eq(digits(&head), 1923);
    list_del(&more.link);
    list_add_tail(&items[2].link, &more.link);
    ck_assert_int_eq(digits(&head), 1293);
}
END_TEST

START_TEST(a_deleted_node_is_unlinked_and_may_be_deleted_again)
{
    struct item items[3];
    struct list head;

    fill(&head, items, 3, 1);
    ck_assert(list_is_linked(&items[1].link));
    list_del(&items[1].link);
    list_del(&items[1].link);
    ck_assert(!list_is_linked(&items[1].link));
    ck_assert_int_eq(digits(&head), 13);
}
END_TEST

START_TEST(the_visited_node_may_be_deleted_in_a_safe_walk)
{
    struct item items[5];
    struct list head;
    struct list *pos;
    struct list *tmp;

    fill(&head, items, 5, 1);
    list_for_each_safe(pos, tmp, &head) {
        if (value_of(pos) % 2)
            list_del(pos);
    }
    ck_assert_int_eq(digits(&head), 24);
}
END_TEST

START_TEST(taking_the_first_empties_the_list_in_order)
{
    struct item items[3];
    struct list head;

    fill(&head, items, 3, 1);
    ck_assert_int_eq(value_of(list_take_first(&head)), 1);
    ck_assert_int_eq(value_of(list_take_first(&head)), 2);
    ck_assert_int_eq(value_of(list_take_first(&head)), 3);
    ck_assert(list_is_empty(&head));
}
END_TEST

START_TEST(moving_all_appends_and_leaves_an_empty_list)
{
    struct item left[2];
    struct item right[2];
    struct list to;
    struct list from;

    fill(&to, left, 2, 1);
    fill(&from, right, 2, 3);
    list_move_all(&to, &from);
    ck_assert_int_eq(digits(&to), 1234);
    ck_assert(list_is_empty(&from));
    list_move_all(&to, &from);
    ck_assert_int_eq(digits(&to), 1234);
    list_move_all(&from, &to);
    ck_assert_int_eq(digits(&from), 1234);
    ck_assert(list_is_empty(&to));
}
END_TEST

static int n_freed;

static void item_free(struct item *item)
{
    n_freed++;
    free(item);
}
DEFINE_CLEANUP(struct item *, item_free);

static struct item *item_new(bool fail_half_way)
{
    CLEAN(item_free_p) struct item *item = calloc(1, sizeof(*item));

    if (!item || fail_half_way)
        return NULL;
    return TAKE(item);
}

START_TEST(a_half_made_object_is_freed_and_a_finished_one_handed_out)
{
    struct item *item;

    n_freed = 0;
    ck_assert_ptr_null(item_new(true));
    ck_assert_int_eq(n_freed, 1);
    item = item_new(false);
    ck_assert_ptr_nonnull(item);
    ck_assert_int_eq(n_freed, 1);
    item_free(item);
}
END_TEST

START_TEST(taking_an_fd_leaves_none_behind)
{
    int fd = 7;

    ck_assert_int_eq(fd_take(&fd), 7);
    ck_assert_int_eq(fd, -1);
    fd_close_p(&fd);
    ck_assert_int_eq(fd, -1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("list");

    tcase_add_test(tcase, a_fresh_list_is_empty_and_a_fresh_node_unlinked);
    tcase_add_test(tcase, nodes_come_in_the_order_they_were_added);
    tcase_add_test(tcase, a_node_can_be_added_next_to_another);
    tcase_add_test(tcase, a_deleted_node_is_unlinked_and_may_be_deleted_again);
    tcase_add_test(tcase, the_visited_node_may_be_deleted_in_a_safe_walk);
    tcase_add_test(tcase, taking_the_first_empties_the_list_in_order);
    tcase_add_test(tcase, moving_all_appends_and_leaves_an_empty_list);
    tcase_add_test(tcase, a_half_made_object_is_freed_and_a_finished_one_handed_out);
    tcase_add_test(tcase, taking_an_fd_leaves_none_behind);
    return unit_run("list", tcase);
}
