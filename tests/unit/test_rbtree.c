/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of common/base/rbtree.h: random operations against a table of which keys are in, with the
 * red-black rules, the order, the links and an augmented largest gap checked on the way. The seed
 * is printed; MUSE_SEED=N repeats a run.
 */
#include <stdbool.h>

#include <check.h>

#include "common/base/own.h"
#include "common/base/rbtree.h"
#include "tests/support/unit.h"

#define N_KEYS  400
#define N_STEPS 20000

/*
 * Augmented as an address space would be: the smallest and largest key of the subtree and the
 * largest distance between two neighbours in it. All three depend on the order only.
 */
struct item {
    struct rb_node rb;
    int key;
    int weight; /* changed in place, for rb_update_path() */
    int min_key;
    int max_key;
    int max_gap;
    int sum;
    bool is_in;
};

static struct item items[N_KEYS];

static struct item *item_of(struct rb_node *node)
{
    return node ? CONTAINER_OF(node, struct item, rb) : NULL;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

static void update(struct rb_node *node)
{
    struct item *item = item_of(node);
    const struct item *left = item_of(node->left);
    const struct item *right = item_of(node->right);

    item->min_key = left ? left->min_key : item->key;
    item->max_key = right ? right->max_key : item->key;
    item->sum = item->weight + (left ? left->sum : 0) + (right ? right->sum : 0);
    item->max_gap = 0;
    if (left)
        item->max_gap = max_int(left->max_gap, item->key - left->max_key);
    if (right)
        item->max_gap = max_int(item->max_gap, max_int(right->max_gap, right->min_key - item->key));
}

/* Return: the black height; checks links, order and colours of the subtree. */
static int check_subtree(struct rb_node *node, const struct rb_node *parent, bool is_augmented)
{
    struct item *item = item_of(node);
    struct item cached;
    int height;

    if (!node)
        return 1;
    ck_assert(node->parent == parent);
    ck_assert(item->is_in);
    if (node->is_red)
        ck_assert(parent && !parent->is_red);
    height = check_subtree(node->left, node, is_augmented);
    ck_assert(check_subtree(node->right, node, is_augmented) == height);
    if (is_augmented) {
        cached = *item;
        update(&item->rb);
        ck_assert(item->min_key == cached.min_key);
        ck_assert(item->max_key == cached.max_key);
        ck_assert(item->max_gap == cached.max_gap);
        ck_assert(item->sum == cached.sum);
    }
    return height + !node->is_red;
}

static void check_tree(const struct rb_root *root)
{
    const struct rb_node *node = rb_first(root);
    const struct rb_node *before = NULL;
    int i;

    (void)check_subtree(root->node, NULL, root->update);
    for (i = 0; i < N_KEYS; i++) {
        ck_assert(rb_is_linked(root, &items[i].rb) == items[i].is_in);
        if (!items[i].is_in)
            continue;
        ck_assert(node == &items[i].rb);
        ck_assert(rb_prev(node) == before);
        before = node;
        node = rb_next(node);
    }
    ck_assert(!node);
    ck_assert(rb_last(root) == before);
    ck_assert(rb_is_empty(root) == !before);
}

static void insert(struct rb_root *root, struct item *item)
{
    struct rb_node **link = &root->node;
    struct rb_node *parent = NULL;

    while (*link) {
        parent = *link;
        link = item->key < item_of(parent)->key ? &parent->left : &parent->right;
    }
    rb_insert(root, parent, link, &item->rb);
    item->is_in = true;
}

static void erase(struct rb_root *root, struct item *item)
{
    rb_erase(root, &item->rb);
    item->is_in = false;
}

static void set_up(void)
{
    int i;

    for (i = 0; i < N_KEYS; i++)
        items[i] = (struct item){.key = i * 3, .weight = i % 7};
}

static void run_random(rb_update_fn *update_fn)
{
    uint64_t random = unit_seed();
    struct rb_root root;
    int step;

    rb_init(&root, update_fn);
    for (step = 0; step < N_STEPS; step++) {
        struct item *item = &items[unit_random(&random) % N_KEYS];
        bool grow = unit_random(&random) % 8 < (step / 2500 % 2 ? 2 : 6);

        if (grow && !item->is_in) {
            insert(&root, item);
        } else if (!grow && item->is_in) {
            erase(&root, item);
        } else if (item->is_in) {
            item->weight = (int)(unit_random(&random) % 100);
            rb_update_path(&root, &item->rb);
        }
        if (step % 32 == 0)
            check_tree(&root);
    }
    check_tree(&root);
}

START_TEST(random_inserts_and_erases_keep_the_rules)
{
    run_random(NULL);
}
END_TEST

START_TEST(random_inserts_and_erases_keep_the_augmented_data)
{
    run_random(update);
}
END_TEST

START_TEST(an_empty_tree_has_no_first_or_last)
{
    struct rb_root root;

    rb_init(&root, update);
    ck_assert(rb_is_empty(&root));
    ck_assert_ptr_null(rb_first(&root));
    ck_assert_ptr_null(rb_last(&root));
    rb_update_path(&root, NULL);
}
END_TEST

START_TEST(ascending_and_descending_inserts_stay_balanced)
{
    int direction;
    int i;

    for (direction = 0; direction < 2; direction++) {
        struct rb_root root;

        rb_init(&root, update);
        for (i = 0; i < N_KEYS; i++) {
            insert(&root, &items[direction ? N_KEYS - 1 - i : i]);
            check_tree(&root);
        }
        ck_assert_int_eq(item_of(root.node)->max_gap, 3);
        for (i = 0; i < N_KEYS; i++) {
            erase(&root, item_of(root.node)); /* always the topmost: mostly with two children */
            check_tree(&root);
        }
        ck_assert(rb_is_empty(&root));
    }
}
END_TEST

START_TEST(the_largest_gap_is_found_by_descent)
{
    struct rb_root root;

    rb_init(&root, update);
    insert(&root, &items[0]);
    insert(&root, &items[1]);
    insert(&root, &items[100]);
    insert(&root, &items[120]);
    ck_assert_int_eq(item_of(root.node)->max_gap, (100 - 1) * 3);
    erase(&root, &items[100]);
    ck_assert_int_eq(item_of(root.node)->max_gap, (120 - 1) * 3);
    erase(&root, &items[120]);
    ck_assert_int_eq(item_of(root.node)->max_gap, 3);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rbtree");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, random_inserts_and_erases_keep_the_rules);
    tcase_add_test(tcase, random_inserts_and_erases_keep_the_augmented_data);
    tcase_add_test(tcase, an_empty_tree_has_no_first_or_last);
    tcase_add_test(tcase, ascending_and_descending_inserts_stay_balanced);
    tcase_add_test(tcase, the_largest_gap_is_found_by_descent);
    return unit_run("rbtree", tcase);
}
