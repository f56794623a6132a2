/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/vm/vma_tree.h but for merges (test_vma_merge.c), and of server/vm/vma.h: finding,
 * entering, splitting, gaps, unmapping, and that vma_tree_validate() sees each kind of damage.
 * Pictures are in page numbers.
 */
#include <stdbool.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/vm/vma_tree.h"
#include "tests/support/unit.h"
#include "tests/support/vma_draw.h"

static struct vma_tree tree; /* fresh in each test: see the fixture */

static void setup(void)
{
    vma_tree_init(&tree);
}

static void teardown(void)
{
    vma_tree_done(&tree);
}

/* ---- finding ---- */

START_TEST(an_empty_tree_holds_nothing)
{
    draw_check(&tree, "");
    ck_assert_uint_eq(vma_tree_count(&tree), 0);
    ck_assert_ptr_null(vma_tree_first(&tree));
    ck_assert_ptr_null(vma_tree_find(&tree, 0));
    ck_assert_ptr_null(vma_tree_find_next(&tree, 0));
    ck_assert(!vma_tree_overlaps(&tree, pgs(0, 0x7ffff)));
}
END_TEST

START_TEST(a_vma_is_found_at_each_of_its_bytes_and_nowhere_else)
{
    /*  0   1   2   3   4   5
     *      |---A---|   |-B-|      */
    struct vma *a = draw_add(&tree, 'A', 1, 3);
    struct vma *b = draw_add(&tree, 'B', 4, 5);
    const struct {
        uint64_t addr;
        struct vma *found;
        struct vma *next;
    } rows[] = {
        {0, NULL, a},        {pg(1) - 1, NULL, a},     {pg(1), a, a}, {pg(2) + 77, a, a},
        {pg(3) - 1, a, a},   {pg(3), NULL, b},         {pg(4), b, b}, {pg(5) - 1, b, b},
        {pg(5), NULL, NULL}, {UINT64_MAX, NULL, NULL},
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        ck_assert_ptr_eq(vma_tree_find(&tree, rows[i].addr), rows[i].found);
        ck_assert_ptr_eq(vma_tree_find_next(&tree, rows[i].addr), rows[i].next);
    }
}
END_TEST

START_TEST(walking_goes_by_address_both_ways)
{
    struct vma *c = draw_add(&tree, 'C', 7, 9);
    struct vma *a = draw_add(&tree, 'A', 1, 3);
    struct vma *b = draw_add(&tree, 'B', 3, 5);
    struct vma *vma;
    char seen[8] = "";

    ck_assert_ptr_eq(vma_tree_first(&tree), a);
    ck_assert_ptr_eq(vma_next(a), b);
    ck_assert_ptr_eq(vma_next(b), c);
    ck_assert_ptr_null(vma_next(c));
    ck_assert_ptr_eq(vma_prev(c), b);
    ck_assert_ptr_null(vma_prev(a));
    vma_for_each_in(vma, &tree, pg(2), pg(7))
        seen[strlen(seen)] = (char)vma->id;
    ck_assert_str_eq(seen, "AB"); /* C begins where the range ends */
}
END_TEST

START_TEST(the_last_hit_is_forgotten_when_it_goes_and_follows_a_split)
{
    struct vma *a = draw_add(&tree, 'A', 0, 4);
    struct vma *upper = draw_spare('U');

    ck_assert_ptr_eq(vma_tree_find(&tree, pg(3)), a);
    ck_assert_ptr_eq(tree.last_hit, a);
    vma_split(&tree, a, pg(2), upper);
    ck_assert_ptr_eq(vma_tree_find(&tree, pg(3)), upper);
    ck_assert_ptr_eq(tree.last_hit, upper);
    vma_tree_remove(&tree, upper);
    ck_assert_ptr_null(tree.last_hit);
    ck_assert_ptr_null(vma_tree_find(&tree, pg(3)));
    ck_assert_ptr_eq(vma_tree_find(&tree, pg(1)), a);
    vma_free(upper);
}
END_TEST

/* ---- entering ---- */

START_TEST(nothing_enters_where_something_stands)
{
    /*  0   1   2   3   4   5   6
     *          |---A---|            */
    const struct {
        uint64_t first, end;
        int result;
    } rows[] = {
        {0, 2, 0},
        {4, 6, 0},
        {2, 4, VMA_TREE_E_OVERLAP},
        {1, 3, VMA_TREE_E_OVERLAP},
        {3, 5, VMA_TREE_E_OVERLAP},
        {1, 5, VMA_TREE_E_OVERLAP},
        {2, 3, VMA_TREE_E_OVERLAP},
        {3, 4, VMA_TREE_E_OVERLAP},
    };

    draw_add(&tree, 'A', 2, 4);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct vma *b = draw_make('B', rows[i].first, rows[i].end);

        ck_assert(vma_tree_overlaps(&tree, vma_range(b)) == (rows[i].result != 0));
        ck_assert_int_eq(vma_tree_insert(&tree, b), rows[i].result);
        if (rows[i].result == 0)
            vma_tree_remove(&tree, b);
        vma_free(b);
        draw_check(&tree, "A[2-4)+2");
    }
    ck_assert(!vma_tree_overlaps(&tree, pgs(3, 3))); /* an empty range overlaps nothing */
}
END_TEST

START_TEST(kinds_are_counted_apart_and_all_take_room)
{
    struct vma *held = draw_make('H', 4, 6);

    draw_add(&tree, 'A', 0, 2);
    held->kind = VMA_PENDING;
    ck_assert_int_eq(vma_tree_insert(&tree, held), 0);
    draw_check(&tree, "A[0-2)+0 H[4-6)?");
    ck_assert_uint_eq(vma_tree_count(&tree), 2);
    ck_assert_uint_eq(vma_tree_count_kind(&tree, VMA_MAPPED), 1);
    ck_assert_uint_eq(vma_tree_count_kind(&tree, VMA_PENDING), 1);
    ck_assert_ptr_eq(vma_tree_find(&tree, pg(5)), held);

    vma_tree_set_kind(&tree, held, VMA_QUARANTINE);
    draw_check(&tree, "A[0-2)+0 H[4-6)!");
    ck_assert_uint_eq(vma_tree_count_kind(&tree, VMA_PENDING), 0);
    ck_assert_uint_eq(vma_tree_count_kind(&tree, VMA_QUARANTINE), 1);
    ck_assert(vma_tree_overlaps(&tree, pgs(5, 9)));
    ck_assert_str_eq(vma_kind_name(held->kind), "quarantine");
}
END_TEST

START_TEST(vmas_can_go_in_every_order)
{
    static const unsigned char orders[][5] = {
        {0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}, {1, 3, 0, 4, 2}, {3, 2, 4, 0, 1},
    };

    for (size_t i = 0; i < N_ELEMENTS(orders); i++) {
        struct vma *vmas[5];

        for (uint64_t j = 0; j < 5; j++)
            vmas[j] = draw_add(&tree, "ABCDE"[j], 2 * j, 2 * j + 1);
        for (unsigned int j = 0; j < 5; j++) {
            vma_tree_remove(&tree, vmas[orders[i][j]]);
            vma_free(vmas[orders[i][j]]);
            ck_assert_ptr_null(vma_tree_validate(&tree));
            ck_assert_uint_eq(vma_tree_count(&tree), 4 - j);
        }
    }
}
END_TEST

/* ---- split ---- */

START_TEST(a_split_gives_the_upper_half_everything_but_name_and_faults)
{
    /*  0   1   2   3
     *  |-----A-----|
     *  |-A-|---U---|      U: the same object, one page further  */
    struct list mappings = LIST_INIT(mappings);
    int file = 0;
    int object = 0;
    int owner = 0;
    struct vma *a = draw_add(&tree, 'A', 0, 3);
    struct vma *other = draw_add(&tree, 'B', 8, 9);
    struct vma *upper = draw_spare('U');

    a->pgoff = 0x100;
    a->flags |= VMF_HUGEPAGE;
    a->prot_narrow = PROT_READ;
    a->file = &file;
    a->object = &object;
    a->owner = &owner;
    a->ops_id = 7;
    a->private_data = 70;
    a->ops_set = a->has_open = a->has_close = a->has_may_split = true;
    a->direct = a->graduated = a->write_locked = a->outside_arena = true;
    a->n_faults = 5;
    list_add_tail(&mappings, &a->object_link);
    list_add_tail(&mappings, &other->object_link);

    vma_split(&tree, a, pg(1), upper);
    draw_check(&tree, "A[0-1)+100 U[1-3)+101 B[8-9)+8");
    ck_assert_uint_eq(upper->flags, DRAW_FLAGS | VMF_HUGEPAGE);
    ck_assert_uint_eq(upper->prot_narrow, PROT_READ);
    ck_assert_ptr_eq(upper->file, &file);
    ck_assert_ptr_eq(upper->object, &object);
    ck_assert_ptr_eq(upper->owner, &owner);
    ck_assert_uint_eq(upper->ops_id, 7);
    ck_assert_uint_eq(upper->private_data, 70);
    ck_assert(upper->ops_set && upper->has_open && upper->has_close && upper->has_may_split);
    ck_assert(upper->direct && upper->graduated && upper->write_locked && upper->outside_arena);
    ck_assert_uint_eq(upper->n_faults, 0);
    ck_assert_uint_eq(a->n_faults, 5);
    ck_assert_ptr_eq(mappings.next, &a->object_link);
    ck_assert_ptr_eq(mappings.next->next, &upper->object_link);
    ck_assert_ptr_eq(mappings.next->next->next, &other->object_link);
    vma_tree_done(&tree); /* while the list is there still */
}
END_TEST

START_TEST(a_split_without_object_list_leaves_both_halves_off_it)
{
    struct vma *a = draw_add(&tree, 'A', 0, 3);
    struct vma *upper = draw_spare('U');

    vma_split(&tree, a, pg(2), upper);
    draw_check(&tree, "A[0-2)+0 U[2-3)+2");
    ck_assert(!list_is_linked(&a->object_link));
    ck_assert(!list_is_linked(&upper->object_link));
}
END_TEST

START_TEST(isolating_cuts_only_where_it_must)
{
    /*  0   1   2   3   4
     *  |-------A-------|       changed part:            */
    static const struct {
        uint64_t first, end;
        const char *after;
        char name;
        unsigned int n_spares;
    } rows[] = {
        {0, 4, "A[0-4)+0", 'A', 0},                   /* all of it */
        {0, 1, "A[0-1)+0 X[1-4)+1", 'A', 1},          /* head */
        {3, 4, "A[0-3)+0 X[3-4)+3", 'X', 1},          /* tail */
        {1, 2, "A[0-1)+0 X[1-2)+1 Y[2-4)+2", 'X', 2}, /* middle */
    };

    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct vma *a = draw_add(&tree, 'A', 0, 4);
        struct vma *x = rows[i].n_spares > 0 ? draw_spare('X') : NULL;
        struct vma *y = rows[i].n_spares > 1 ? draw_spare('Y') : NULL;
        const struct vma *part = vma_isolate(&tree, a, pgs(rows[i].first, rows[i].end), x, y);

        draw_check(&tree, rows[i].after);
        ck_assert_int_eq((char)part->id, rows[i].name);
        ck_assert(range_equal(vma_range(part), pgs(rows[i].first, rows[i].end)));
        vma_tree_done(&tree);
    }
}
END_TEST

/* ---- gaps ---- */

START_TEST(the_highest_gap_that_is_wide_enough_is_taken)
{
    /*  0     2     4       8   9     b             10
     *  |.....|--A--|.......|-B-|.....|------C------|      limits 0-10  */
    static const struct {
        uint64_t n_pages;
        int result;
        uint64_t first;
    } rows[] = {
        {1, 0, 0xa}, {2, 0, 9}, {3, 0, 5}, {4, 0, 4}, {5, VMA_TREE_E_NO_GAP, 0},
    };

    draw_add(&tree, 'A', 2, 4);
    draw_add(&tree, 'B', 8, 9);
    draw_add(&tree, 'C', 0xb, 0x10);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        uint64_t start = UINT64_MAX;

        ck_assert_int_eq(
            vma_tree_gap_topdown(&tree, pgs(0, 0x10), pg(rows[i].n_pages), VMA_PAGE_BYTES, &start),
            rows[i].result);
        if (rows[i].result == 0) {
            ck_assert_uint_eq(start, pg(rows[i].first));
        } else {
            ck_assert_uint_eq(start, UINT64_MAX); /* written on success only */
        }
    }
}
END_TEST

START_TEST(gaps_end_at_the_limits)
{
    /*  0   1   2   3   4   5   6   7   8   9   a
     *      |-A-|           |-B-|           |-C-|       */
    static const struct {
        uint64_t from, to, n_pages;
        int result;
        uint64_t first;
    } rows[] = {
        {0, 0x20, 8, 0, 0x18},               /* above all */
        {0, 0xa, 3, 0, 6},                   /* all of B..C */
        {0, 8, 2, 0, 6},                     /* B..C cut at 8 */
        {0, 8, 3, 0, 2},                     /* then B..C is too narrow */
        {3, 8, 3, VMA_TREE_E_NO_GAP, 0},     /* A..B cut at 3 too */
        {3, 8, 2, 0, 6},                     /**/
        {3, 7, 2, 0, 3},                     /**/
        {0, 1, 1, 0, 0},                     /* below all */
        {1, 2, 1, VMA_TREE_E_NO_GAP, 0},     /* inside A */
        {3, 5, 2, 0, 3},                     /* inside a hole */
        {0xa, 0xb, 1, 0, 0xa},               /* right behind C */
        {0, 0xa, 0, VMA_TREE_E_NO_GAP, 0},   /* nothing to place */
        {0, 0xa, 0xb, VMA_TREE_E_NO_GAP, 0}, /* wider than the limits */
        {5, 5, 1, VMA_TREE_E_NO_GAP, 0},     /* empty limits */
    };

    draw_add(&tree, 'A', 1, 2);
    draw_add(&tree, 'B', 5, 6);
    draw_add(&tree, 'C', 9, 0xa);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        uint64_t start = 0;
        int result = vma_tree_gap_topdown(&tree, pgs(rows[i].from, rows[i].to), pg(rows[i].n_pages),
                                          VMA_PAGE_BYTES, &start);

        ck_assert_msg(result == rows[i].result, "row %zu", i);
        if (result == 0)
            ck_assert_msg(start == pg(rows[i].first), "row %zu: %#" PRIx64, i, start);
    }
}
END_TEST

START_TEST(an_aligned_gap_skips_what_is_too_narrow_once_aligned)
{
    /*  0       8      f    11        17      1f  20      limits 0-20, 8 pages aligned to 8
     *  |.......|...|A-|.....|---B----|.......|-C-|
     *  gaps: 0-e, 11-17 (6), 18-1f (7: too narrow)          */
    uint64_t start = 0;

    draw_add(&tree, 'A', 0xe, 0x11);
    draw_add(&tree, 'B', 0x17, 0x18);
    draw_add(&tree, 'C', 0x1f, 0x20);
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(0, 0x20), pg(8), pg(8), &start), 0);
    ck_assert_uint_eq(start, pg(0));
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(0, 0x20), pg(4), pg(8), &start), 0);
    ck_assert_uint_eq(start, pg(0x18));
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(1, 0x18), pg(4), pg(8), &start), 0);
    ck_assert_uint_eq(start, pg(8));
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(1, 0x18), pg(8), pg(8), &start),
                     VMA_TREE_E_NO_GAP);
}
END_TEST

/* One page every 4, shifted by one: @n holes of 3 pages, none of which holds 2 aligned to 4. */
static void add_comb(uint64_t first, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        draw_add(&tree, 'x', first + 4 * i, first + 4 * i + 1);
}

START_TEST(a_roomy_gap_below_many_tight_ones_is_found)
{
    /*  0        10                         1000   1001                1401
     *  |--A--|...roomy...|----------F------|.x..x..x..x  (256 x)  .x..|    3 pages aligned to 4  */
    uint64_t start = 0;

    draw_add(&tree, 'A', 0, 5);
    draw_add(&tree, 'F', 0x10, 0x1001);
    add_comb(0x1002, UINT64_C(4) * VMA_TREE_GAP_TRIES);
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(0, 0x1402), pg(3), pg(4), &start), 0);
    ck_assert_uint_eq(start, pg(0xc));
}
END_TEST

START_TEST(a_tight_gap_below_many_tighter_ones_is_found)
{
    /* as above, but 4-8 is the only hole that holds 3 pages aligned to 4, and it is not roomy */
    uint64_t start = 0;

    draw_add(&tree, 'A', 0, 4);
    draw_add(&tree, 'F', 8, 0x1001);
    add_comb(0x1002, UINT64_C(4) * VMA_TREE_GAP_TRIES);
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(0, 0x1402), pg(3), pg(4), &start), 0);
    ck_assert_uint_eq(start, pg(4));
    draw_add(&tree, 'B', 4, 8);
    ck_assert_int_eq(vma_tree_gap_topdown(&tree, pgs(0, 0x1402), pg(3), pg(4), &start),
                     VMA_TREE_E_NO_GAP);
}
END_TEST

/* ---- unmap ---- */

struct unmap_row {
    uint64_t first, end;
    uint32_t n_vmas;
    const char *cut_start; /* name of the VMA, "" for none */
    const char *cut_end;
    const char *after;
    const char *removed;
};

/*  0   1   2   3   4   5   6   7   8   9
 *      |-----A-----|   |-B-|---C---|        */
static const struct unmap_row unmap_rows[] = {
    {0, 1, 0, "", "", "A[1-4)+1 B[5-6)+5 C[6-8)+6", ""},
    {4, 5, 0, "", "", "A[1-4)+1 B[5-6)+5 C[6-8)+6", ""},
    {3, 3, 0, "", "", "A[1-4)+1 B[5-6)+5 C[6-8)+6", ""},
    {1, 4, 1, "", "", "B[5-6)+5 C[6-8)+6", "A[1-4)+1"},
    {0, 5, 1, "", "", "B[5-6)+5 C[6-8)+6", "A[1-4)+1"},
    {0, 2, 1, "", "A", "X[2-4)+2 B[5-6)+5 C[6-8)+6", "A[1-2)+1"},
    {1, 3, 1, "", "A", "X[3-4)+3 B[5-6)+5 C[6-8)+6", "A[1-3)+1"},
    {3, 5, 1, "A", "", "A[1-3)+1 B[5-6)+5 C[6-8)+6", "X[3-4)+3"},
    {2, 3, 1, "A", "A", "A[1-2)+1 Y[3-4)+3 B[5-6)+5 C[6-8)+6", "X[2-3)+2"},
    {3, 7, 3, "A", "C", "A[1-3)+1 Y[7-8)+7", "X[3-4)+3 B[5-6)+5 C[6-7)+6"},
    {5, 7, 2, "", "C", "A[1-4)+1 X[7-8)+7", "B[5-6)+5 C[6-7)+6"},
    {2, 6, 2, "A", "", "A[1-2)+1 C[6-8)+6", "X[2-4)+2 B[5-6)+5"},
    {0, 9, 3, "", "", "", "A[1-4)+1 B[5-6)+5 C[6-8)+6"},
};

static void check_cut(const struct vma *cut, const char *name)
{
    char text[2] = "";

    if (cut)
        text[0] = (char)cut->id;
    ck_assert_str_eq(text, name);
}

START_TEST(unmapping_takes_what_lies_inside_and_splits_at_the_edges)
{
    const struct unmap_row *row = &unmap_rows[_i];
    struct list removed = LIST_INIT(removed);
    struct range range = pgs(row->first, row->end);
    struct vma_unmap_plan plan;
    struct vma *x;
    struct vma *y;

    draw_add(&tree, 'A', 1, 4);
    draw_add(&tree, 'B', 5, 6);
    draw_add(&tree, 'C', 6, 8);
    vma_unmap_plan(&tree, range, &plan);
    ck_assert_uint_eq(plan.n_vmas, row->n_vmas);
    ck_assert((plan.first != NULL) == (row->n_vmas > 0));
    ck_assert((plan.last != NULL) == (row->n_vmas > 0));
    ck_assert_uint_eq(plan.n_splits, strlen(row->cut_start) + strlen(row->cut_end));
    check_cut(plan.cut_start, row->cut_start);
    check_cut(plan.cut_end, row->cut_end);
    draw_check(&tree, "A[1-4)+1 B[5-6)+5 C[6-8)+6");

    x = plan.n_splits > 0 ? draw_spare('X') : NULL;
    y = plan.n_splits > 1 ? draw_spare('Y') : NULL;
    vma_unmap_commit(&tree, range, x, y, &removed);
    draw_check(&tree, row->after);
    draw_check_list(&removed, row->removed);
    vma_free_list(&removed);
    ck_assert(list_is_empty(&removed));
}
END_TEST

START_TEST(a_spare_not_needed_stays_with_the_caller)
{
    struct list removed = LIST_INIT(removed);
    struct vma *x = draw_spare('X');
    struct vma *y = draw_spare('Y');

    draw_add(&tree, 'A', 0, 4);
    vma_unmap_commit(&tree, pgs(2, 6), x, y, &removed);
    draw_check(&tree, "A[0-2)+0");
    draw_check_list(&removed, "X[2-4)+2");
    ck_assert(!y->in_tree && !list_is_linked(&y->link));
    vma_unmap_commit(&tree, pgs(0, 1), NULL, y, &removed); /* the only spare may be the second */
    draw_check(&tree, "Y[1-2)+1");
    draw_check_list(&removed, "X[2-4)+2 A[0-1)+0");
    vma_free_list(&removed);
}
END_TEST

START_TEST(unmapping_leaves_pending_and_quarantined_ranges_alone)
{
    /*  0   1   2   3   4
     *  |-A-| Q!| P?|-B-|     unmap 0-4  */
    struct list removed = LIST_INIT(removed);
    struct vma_unmap_plan plan;

    draw_add(&tree, 'A', 0, 1);
    draw_add(&tree, 'B', 3, 4);
    vma_tree_set_kind(&tree, draw_add(&tree, 'Q', 1, 2), VMA_QUARANTINE);
    vma_tree_set_kind(&tree, draw_add(&tree, 'P', 2, 3), VMA_PENDING);
    vma_unmap_plan(&tree, pgs(0, 4), &plan);
    ck_assert_uint_eq(plan.n_vmas, 2);
    vma_unmap_commit(&tree, pgs(0, 4), NULL, NULL, &removed);
    draw_check(&tree, "Q[1-2)! P[2-3)?");
    draw_check_list(&removed, "A[0-1)+0 B[3-4)+3");
    vma_free_list(&removed);
    vma_unmap_plan(&tree, pgs(1, 2), &plan); /* never cut either */
    ck_assert_uint_eq(plan.n_splits, 0);
}
END_TEST

START_TEST(a_removed_mapping_stays_on_its_objects_list_until_freed)
{
    struct list mappings = LIST_INIT(mappings);
    struct list removed = LIST_INIT(removed);
    struct vma *a = draw_add(&tree, 'A', 0, 4);
    struct vma *x = draw_spare('X');
    struct vma *y = draw_spare('Y');

    list_add_tail(&mappings, &a->object_link);
    vma_unmap_commit(&tree, pgs(1, 2), x, y, &removed);
    draw_check(&tree, "A[0-1)+0 Y[2-4)+2");
    draw_check_list(&removed, "X[1-2)+1");
    ck_assert_ptr_eq(x->object_link.prev, &a->object_link);
    ck_assert_ptr_eq(x->object_link.next, &y->object_link);
    vma_free_list(&removed);
    ck_assert_ptr_eq(a->object_link.next, &y->object_link);
    ck_assert_ptr_eq(y->object_link.next, &mappings);
    vma_tree_done(&tree);
    ck_assert(list_is_empty(&mappings));
}
END_TEST

/* ---- pages of the object ---- */

START_TEST(pages_of_the_object_are_found_where_the_vma_shows_them)
{
    /* addresses 10-14 show pages 100-104 */
    struct vma *a = draw_add(&tree, 'A', 0x10, 0x14);
    static const struct {
        uint64_t first_page, end_page;
        bool shown;
        uint64_t first, end;
    } rows[] = {
        {0x100, 0x104, true, 0x10, 0x14}, {0, 0x1000, true, 0x10, 0x14},
        {0x101, 0x102, true, 0x11, 0x12}, {0x103, 0x109, true, 0x13, 0x14},
        {0xf0, 0x101, true, 0x10, 0x11},  {0xf0, 0x100, false, 0, 0},
        {0x104, 0x105, false, 0, 0},      {0x102, 0x102, false, 0, 0},
    };

    a->pgoff = 0x100;
    ck_assert_uint_eq(vma_n_pages(a), 4);
    ck_assert_uint_eq(vma_pgoff_at(a, pg(0x12) + 5), 0x102);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct range range = {0, 0};

        ck_assert(vma_find_pages(a, (struct range){rows[i].first_page, rows[i].end_page}, &range) ==
                  rows[i].shown);
        ck_assert(range_equal(range, pgs(rows[i].first, rows[i].end)));
    }
}
END_TEST

/* ---- validation ---- */

START_TEST(validation_sees_each_kind_of_damage)
{
    struct vma *a = draw_add(&tree, 'A', 0, 2);
    struct vma *b = draw_add(&tree, 'B', 4, 6);
    struct vma *c = draw_add(&tree, 'C', 8, 9);
    struct vma saved_a = *a;
    struct vma saved_b = *b;
    struct vma saved_c = *c;
    struct vma stranger = {0};

#define CHECK_DAMAGE(damage, problem)                                                              \
    do {                                                                                           \
        damage;                                                                                    \
        ck_assert_pstr_eq(vma_tree_validate(&tree), (problem));                                    \
        *a = saved_a;                                                                              \
        *b = saved_b;                                                                              \
        *c = saved_c;                                                                              \
        tree.last_hit = NULL;                                                                      \
        ck_assert_ptr_null(vma_tree_validate(&tree));                                              \
    } while (0)

    ck_assert_ptr_null(vma_tree_validate(&tree));
    CHECK_DAMAGE(b->start = pg(1), "VMAs overlap or are out of order");
    CHECK_DAMAGE(a->start = pg(2), "a VMA is empty");
    CHECK_DAMAGE(c->end += 1, "a VMA is not page aligned");
    CHECK_DAMAGE(c->end = pg(10), "what a node says about its subtree is out of date");
    CHECK_DAMAGE(b->sub_gap_bytes--, "what a node says about its subtree is out of date");
    CHECK_DAMAGE(a->kind = VMA_PENDING, "the counts are wrong");
    CHECK_DAMAGE(a->kind = VMA_KIND_N, "a VMA has an unknown kind");
    CHECK_DAMAGE(a->in_tree = false, "a VMA in the tree says that it is not");
    CHECK_DAMAGE(a->node.parent = &c->node, "a child does not know its parent");
    CHECK_DAMAGE(a->node.is_red = false, "black heights differ");
    CHECK_DAMAGE(b->node.is_red = true, "the topmost node is red or has a parent");
    CHECK_DAMAGE(tree.last_hit = &stranger, "the last hit is not in the tree");
#undef CHECK_DAMAGE
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vma_tree");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_empty_tree_holds_nothing);
    tcase_add_test(tcase, a_vma_is_found_at_each_of_its_bytes_and_nowhere_else);
    tcase_add_test(tcase, walking_goes_by_address_both_ways);
    tcase_add_test(tcase, the_last_hit_is_forgotten_when_it_goes_and_follows_a_split);
    tcase_add_test(tcase, nothing_enters_where_something_stands);
    tcase_add_test(tcase, kinds_are_counted_apart_and_all_take_room);
    tcase_add_test(tcase, vmas_can_go_in_every_order);
    tcase_add_test(tcase, a_split_gives_the_upper_half_everything_but_name_and_faults);
    tcase_add_test(tcase, a_split_without_object_list_leaves_both_halves_off_it);
    tcase_add_test(tcase, isolating_cuts_only_where_it_must);
    tcase_add_test(tcase, the_highest_gap_that_is_wide_enough_is_taken);
    tcase_add_test(tcase, gaps_end_at_the_limits);
    tcase_add_test(tcase, an_aligned_gap_skips_what_is_too_narrow_once_aligned);
    tcase_add_test(tcase, a_roomy_gap_below_many_tight_ones_is_found);
    tcase_add_test(tcase, a_tight_gap_below_many_tighter_ones_is_found);
    tcase_add_loop_test(tcase, unmapping_takes_what_lies_inside_and_splits_at_the_edges, 0,
                        (int)N_ELEMENTS(unmap_rows));
    tcase_add_test(tcase, a_spare_not_needed_stays_with_the_caller);
    tcase_add_test(tcase, unmapping_leaves_pending_and_quarantined_ranges_alone);
    tcase_add_test(tcase, a_removed_mapping_stays_on_its_objects_list_until_freed);
    tcase_add_test(tcase, pages_of_the_object_are_found_where_the_vma_shows_them);
    tcase_add_test(tcase, validation_sees_each_kind_of_damage);
    return unit_run("vma_tree", tcase);
}
