/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of server/vm/aspace.h: where mappings go, what holds an address, and the limits. The arena
 * is pages 100-200 everywhere; pictures are in page numbers (hex).
 *
 *   0         100                200
 *   |..........|------arena-------|..........
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include <check.h>

#include "common/base/own.h"
#include "server/vm/aspace.h"
#include "tests/support/unit.h"
#include "tests/support/vma_draw.h"

#define NOREPLACE  MAP_FIXED_NOREPLACE
#define TASK_PAGES (ASPACE_TASK_END >> VMA_PAGE_SHIFT)

static struct aspace aspace; /* fresh in each test: see the fixture */

static void setup(void)
{
    aspace_init(&aspace, pgs(0x100, 0x200), 8);
}

static void teardown(void)
{
    ck_assert_pstr_eq(aspace_validate(&aspace), NULL);
    aspace_done(&aspace);
}

static struct vma *map(char name, uint64_t first, uint64_t end)
{
    struct vma *vma = draw_make(name, first, end);

    vma->outside_arena = aspace_is_outside(&aspace, vma_range(vma));
    ck_assert_int_eq(vma_tree_insert(&aspace.vmas, vma), 0);
    return vma;
}

static struct vma *quarantine(char name, uint64_t first, uint64_t end)
{
    struct vma *vma = draw_make(name, first, end);

    aspace_quarantine(&aspace, vma);
    return vma;
}

/* ---- without a fixed address ---- */

struct choose_row {
    uint64_t hint, len, align;
    int flags;
    int result;
    uint64_t first; /* page of the answer, when result is 0 */
    uint64_t end;
};

static void check_choice(const struct choose_row *row, size_t i)
{
    struct range range = {1, 1};
    int result = aspace_choose(&aspace, row->hint, row->len, row->align, row->flags, &range);

    ck_assert_msg(result == row->result, "row %zu: %d", i, result);
    if (result == 0) {
        ck_assert_msg(range_equal(range, pgs(row->first, row->end)),
                      "row %zu: %#" PRIx64 "-%#" PRIx64, i, range.start, range.end);
    } else {
        ck_assert_uint_eq(range.start, 1); /* written on success only */
    }
}

START_TEST(without_a_hint_the_highest_free_range_of_the_arena_is_taken)
{
    /*  100      1f0       1f8     1fc     200
     *   |........|----A----|.......|---B---|      */
    const struct choose_row rows[] = {
        {0, pg(1), pg(1), 0, 0, 0x1fb, 0x1fc},
        {0, 1, pg(1), 0, 0, 0x1fb, 0x1fc}, /* rounded up to a page */
        {0, pg(4), pg(1), 0, 0, 0x1f8, 0x1fc},
        {0, pg(5), pg(1), 0, 0, 0x1eb, 0x1f0},
        {0, pg(3), pg(4), 0, 0, 0x1f8, 0x1fb},
        {0, pg(5), pg(0x10), 0, 0, 0x1e0, 0x1e5},
        {0, pg(0xf0), pg(1), 0, 0, 0x100, 0x1f0},
        {0, pg(0xf1), pg(1), 0, -ENOMEM, 0, 0},
        {0, pg(0x101), pg(1), 0, -ENOMEM, 0, 0},
        {0, ASPACE_TASK_END, pg(1), 0, -ENOMEM, 0, 0},
        {0, UINT64_MAX, pg(1), 0, -ENOMEM, 0, 0}, /* would round up to 0 */
        {0, UINT64_MAX - 0xffe, pg(1), 0, -ENOMEM, 0, 0},
        {0, 0, pg(1), 0, -EINVAL, 0, 0},
    };

    map('A', 0x1f0, 0x1f8);
    map('B', 0x1fc, 0x200);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        check_choice(&rows[i], i);
}
END_TEST

START_TEST(a_hint_is_followed_when_it_is_free_and_in_the_arena)
{
    /*  100   110   120                       200
     *   |.....|--A--|.........................|      */
    const struct choose_row rows[] = {
        {pg(0x150), pg(4), pg(1), 0, 0, 0x150, 0x154},
        {pg(0x150) + 123, pg(4), pg(1), 0, 0, 0x150, 0x154}, /* rounded down to a page */
        {pg(0x151), pg(4), pg(0x10), 0, 0, 0x160, 0x164},    /* then up to the alignment */
        {pg(0x100), pg(0x10), pg(1), 0, 0, 0x100, 0x110},
        {pg(0x120), pg(0xe0), pg(1), 0, 0, 0x120, 0x200},
        {pg(0x110), pg(1), pg(1), 0, 0, 0x1ff, 0x200},   /* taken */
        {pg(0x10f), pg(2), pg(1), 0, 0, 0x1fe, 0x200},   /* partly taken */
        {pg(0x1ff), pg(2), pg(1), 0, 0, 0x1fe, 0x200},   /* reaches out of the arena */
        {pg(0x50), pg(2), pg(1), 0, 0, 0x1fe, 0x200},    /* outside */
        {pg(0xff), pg(2), pg(1), 0, 0, 0x1fe, 0x200},    /* half outside */
        {UINT64_MAX, pg(2), pg(1), 0, 0, 0x1fe, 0x200},  /* nonsense is no error */
        {UINT64_MAX, pg(2), pg(16), 0, 0, 0x1f0, 0x1f2}, /**/
        {pg(0x150), pg(0xe1), pg(1), 0, -ENOMEM, 0, 0},
    };

    map('A', 0x110, 0x120);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        check_choice(&rows[i], i);
}
END_TEST

START_TEST(pending_and_quarantined_ranges_are_not_given_out)
{
    /*  100                 1f0     1f8     200
     *   |...................|--H?---|--Q!---|      */
    struct vma *h = draw_spare('H');
    struct vma *q = quarantine('Q', 0x1f8, 0x200);
    const struct choose_row row = {0, pg(1), pg(1), 0, 0, 0x1ef, 0x1f0};
    const struct choose_row hinted = {pg(0x1f8), pg(1), pg(1), 0, 0, 0x1ef, 0x1f0};
    const struct choose_row after_h = {0, pg(1), pg(1), 0, 0, 0x1f7, 0x1f8};
    const struct choose_row after_q = {0, pg(1), pg(1), 0, 0, 0x1ff, 0x200};

    ck_assert_int_eq(aspace_hold(&aspace, pgs(0x1f0, 0x1f8), h), 0);
    draw_check(&aspace.vmas, "H[1f0-1f8)? Q[1f8-200)!");
    check_choice(&row, 0);
    check_choice(&hinted, 1);
    aspace_release(&aspace, h);
    check_choice(&after_h, 2);
    aspace_release(&aspace, q);
    check_choice(&after_q, 3);
    vma_free(h);
    vma_free(q);
}
END_TEST

/* ---- with a fixed address ---- */

START_TEST(a_fixed_address_is_taken_exactly_or_refused)
{
    /*  80   90   100   110   120             200
     *  |-B--|     |.....|--A--|...............|      */
    const struct choose_row rows[] = {
        {pg(0x150), pg(2), pg(1), MAP_FIXED, 0, 0x150, 0x152},
        {pg(0x150), pg(2) - 5, pg(1), MAP_FIXED, 0, 0x150, 0x152},
        {pg(0x110), pg(2), pg(1), MAP_FIXED, 0, 0x110, 0x112}, /* A is to be replaced */
        {pg(0x10f), pg(0x20), pg(1), MAP_FIXED, 0, 0x10f, 0x12f},
        {pg(0x80), pg(2), pg(1), MAP_FIXED, 0, 0x80, 0x82}, /* outside the arena */
        {pg(0x300), pg(2), pg(1), MAP_FIXED, 0, 0x300, 0x302},
        {0, pg(1), pg(1), MAP_FIXED, 0, 0, 1}, /* the client's kernel has its own word on that */
        {pg(0x150) + 1, pg(2), pg(1), MAP_FIXED, -EINVAL, 0, 0},
        {pg(0x151), pg(2), pg(2), MAP_FIXED, -EINVAL, 0, 0},
        {pg(0x152), pg(2), pg(2), MAP_FIXED, 0, 0x152, 0x154},
        {pg(0xff), pg(2), pg(1), MAP_FIXED, -EINVAL, 0, 0}, /* half in the arena */
        {pg(0x1ff), pg(2), pg(1), MAP_FIXED, -EINVAL, 0, 0},
        {pg(0xff), pg(0x102), pg(1), MAP_FIXED, -EINVAL, 0, 0}, /* over all of it */
        {pg(0xff), pg(1), pg(1), MAP_FIXED, 0, 0xff, 0x100},    /* just outside */
        {pg(0x200), pg(1), pg(1), MAP_FIXED, 0, 0x200, 0x201},
        {ASPACE_TASK_END - pg(1), pg(1), pg(1), MAP_FIXED, 0, TASK_PAGES - 1, TASK_PAGES},
        {ASPACE_TASK_END, pg(1), pg(1), MAP_FIXED, -ENOMEM, 0, 0},
        {ASPACE_TASK_END - pg(1), pg(2), pg(1), MAP_FIXED, -ENOMEM, 0, 0},
        {ASPACE_TASK_END + 1, pg(2), pg(1), MAP_FIXED, -ENOMEM, 0, 0}, /* before EINVAL, as Linux */
        {UINT64_MAX, pg(2), pg(1), MAP_FIXED, -ENOMEM, 0, 0},
        {pg(0x150), UINT64_MAX - 0xfff, pg(1), MAP_FIXED, -ENOMEM, 0, 0},
        {pg(0x150), 0, pg(1), MAP_FIXED, -EINVAL, 0, 0},
        {pg(0x150), pg(2), pg(1), NOREPLACE, 0, 0x150, 0x152}, /* implies MAP_FIXED */
        {pg(0x150), pg(2), pg(1), NOREPLACE | MAP_FIXED, 0, 0x150, 0x152},
        {pg(0x10f), pg(1), pg(1), NOREPLACE, 0, 0x10f, 0x110},
        {pg(0x10f), pg(2), pg(1), NOREPLACE, -EEXIST, 0, 0},
        {pg(0x11f), pg(2), pg(1), NOREPLACE, -EEXIST, 0, 0},
        {pg(0x8f), pg(2), pg(1), NOREPLACE, -EEXIST, 0, 0},
        {pg(0x90), pg(2), pg(1), NOREPLACE, 0, 0x90, 0x92},
        {pg(0x110) + 1, pg(1), pg(1), NOREPLACE, -EINVAL, 0, 0},
    };

    map('A', 0x110, 0x120);
    map('B', 0x80, 0x90);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        check_choice(&rows[i], i);
}
END_TEST

START_TEST(a_fixed_address_over_a_held_range_is_busy)
{
    /*  110   120   130   140   150
     *   |--A--|--Q!-|     |--H?-|      */
    struct vma *h = draw_spare('H');
    const struct choose_row rows[] = {
        {pg(0x110), pg(0x10), pg(1), MAP_FIXED, 0, 0x110, 0x120},
        {pg(0x11f), pg(2), pg(1), MAP_FIXED, ASPACE_E_BUSY, 0, 0},
        {pg(0x110), pg(0x80), pg(1), MAP_FIXED, ASPACE_E_BUSY, 0, 0},
        {pg(0x130), pg(0x10), pg(1), MAP_FIXED, 0, 0x130, 0x140},
        {pg(0x13f), pg(2), pg(1), MAP_FIXED, ASPACE_E_BUSY, 0, 0},
        {pg(0x12f), pg(1), pg(1), NOREPLACE, -EEXIST, 0, 0},
        {pg(0x14f), pg(1), pg(1), NOREPLACE, -EEXIST, 0, 0},
    };

    map('A', 0x110, 0x120);
    quarantine('Q', 0x120, 0x130);
    ck_assert_int_eq(aspace_hold(&aspace, pgs(0x140, 0x150), h), 0);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        check_choice(&rows[i], i);
}
END_TEST

/* ---- holding, establishing, quarantine ---- */

START_TEST(a_held_vma_becomes_a_mapping)
{
    struct vma *a = draw_make('A', 0, 1);

    ck_assert_int_eq(aspace_hold(&aspace, pgs(0x150, 0x152), a), 0);
    draw_check(&aspace.vmas, "A[150-152)?");
    ck_assert_int_eq(vma_tree_find(&aspace.vmas, pg(0x151))->kind, VMA_PENDING);
    a->pgoff = 7;
    aspace_establish(&aspace, a);
    draw_check(&aspace.vmas, "A[150-152)+7");
    ck_assert_uint_eq(vma_tree_count_kind(&aspace.vmas, VMA_MAPPED), 1);
    ck_assert_uint_eq(vma_tree_count_kind(&aspace.vmas, VMA_PENDING), 0);
}
END_TEST

START_TEST(nothing_is_held_where_something_stands)
{
    struct vma *h = draw_spare('H');

    map('A', 0x110, 0x120);
    ck_assert_int_eq(aspace_hold(&aspace, pgs(0x11f, 0x121), h), VMA_TREE_E_OVERLAP);
    draw_check(&aspace.vmas, "A[110-120)+110");
    vma_free(h);
}
END_TEST

START_TEST(an_unmapped_range_stays_in_quarantine_until_the_client_confirms)
{
    /*  110   114   118   120
     *   |-----|cut--|--A--|        114-118 unmapped; confirmed in steps  */
    struct list mappings = LIST_INIT(mappings);
    struct list removed = LIST_INIT(removed);
    struct vma *a = map('A', 0x110, 0x120);
    struct vma *x = draw_spare('X');
    int object = 0;

    a->file = a->object = &object;
    list_add_tail(&mappings, &a->object_link);
    vma_unmap_commit(&aspace.vmas, pgs(0x114, 0x118), x, draw_spare('Y'), &removed);
    draw_check_list(&removed, "X[114-118)+114");
    aspace_quarantine(&aspace, x);
    ck_assert(list_is_empty(&removed));
    ck_assert_ptr_null(x->object);
    ck_assert_ptr_null(x->file);
    ck_assert(!list_is_linked(&x->object_link));
    draw_check(&aspace.vmas, "A[110-114)+110 X[114-118)! Y[118-120)+118");
    ck_assert_pstr_eq(aspace_validate(&aspace), NULL);

    aspace_confirm(&aspace, pgs(0x115, 0x118), &removed); /* partly: stays */
    aspace_confirm(&aspace, pgs(0x114, 0x117), &removed);
    aspace_confirm(&aspace, pgs(0x116, 0x116), &removed);
    aspace_confirm(&aspace, (struct range){UINT64_MAX, 0}, &removed); /* nonsense */
    aspace_confirm(&aspace, (struct range){0x117000, 0x115000}, &removed);
    draw_check(&aspace.vmas, "A[110-114)+110 X[114-118)! Y[118-120)+118");
    aspace_confirm(&aspace, pgs(0, 0x1000), &removed); /* mappings are not touched */
    draw_check(&aspace.vmas, "A[110-114)+110 Y[118-120)+118");
    draw_check_list(&removed, "X[114-118)!");
    vma_free_list(&removed);
    aspace_done(&aspace);
    ck_assert(list_is_empty(&mappings));
}
END_TEST

START_TEST(a_failed_mapping_goes_from_pending_to_quarantine)
{
    struct vma *h = draw_spare('H');

    ck_assert_int_eq(aspace_hold(&aspace, pgs(0x140, 0x150), h), 0);
    aspace_quarantine(&aspace, h);
    draw_check(&aspace.vmas, "H[140-150)!");
    ck_assert_ptr_eq(list_first(&aspace.quarantine), &h->link);
}
END_TEST

START_TEST(several_quarantined_ranges_are_confirmed_at_once)
{
    struct list removed = LIST_INIT(removed);

    quarantine('A', 0x140, 0x150);
    quarantine('B', 0x120, 0x130);
    map('M', 0x130, 0x138);
    quarantine('C', 0x150, 0x160);
    aspace_confirm(&aspace, pgs(0x120, 0x150), &removed);
    draw_check_list(&removed, "B[120-130)! A[140-150)!");
    draw_check(&aspace.vmas, "M[130-138)+130 C[150-160)!");
    vma_free_list(&removed);
}
END_TEST

/* ---- limits ---- */

START_TEST(the_limit_on_vmas_is_checked_as_linux_does)
{
    /* max_vmas is 8: a ninth can be mapped, a split is refused at eight */
    struct vma_unmap_plan hole;
    struct vma_unmap_plan tail;

    map('A', 0x100, 0x104);
    for (uint64_t i = 1; i < 7; i++)
        map('x', 0x100 + 8 * i, 0x101 + 8 * i);
    ck_assert_int_eq(aspace_check_map(&aspace), 0);
    ck_assert_int_eq(aspace_check_split(&aspace), 0);
    quarantine('Q', 0x1f0, 0x1f1); /* the eighth: placeholders count */
    vma_unmap_plan(&aspace.vmas, pgs(0x101, 0x102), &hole);
    vma_unmap_plan(&aspace.vmas, pgs(0x102, 0x109), &tail);
    ck_assert_int_eq(aspace_check_map(&aspace), 0);
    ck_assert_int_eq(aspace_check_split(&aspace), -ENOMEM);
    ck_assert_int_eq(aspace_check_unmap(&aspace, &hole), -ENOMEM);
    ck_assert_int_eq(aspace_check_unmap(&aspace, &tail), 0);
    map('x', 0x1f8, 0x1f9);
    ck_assert_int_eq(aspace_check_map(&aspace), -ENOMEM);
}
END_TEST

START_TEST(an_arena_is_checked_before_it_is_taken)
{
    ck_assert(aspace_arena_is_sane(pgs(0x100, 0x200)));
    ck_assert(aspace_arena_is_sane((struct range){pg(1), ASPACE_TASK_END}));
    ck_assert(!aspace_arena_is_sane(pgs(0x200, 0x200)));
    ck_assert(!aspace_arena_is_sane(pgs(0x200, 0x100)));
    ck_assert(!aspace_arena_is_sane((struct range){pg(1) + 1, pg(9)}));
    ck_assert(!aspace_arena_is_sane((struct range){pg(1), pg(9) + 1}));
    ck_assert(!aspace_arena_is_sane((struct range){pg(1), ASPACE_TASK_END + pg(1)}));
}
END_TEST

START_TEST(validation_sees_misplaced_vmas_and_lists)
{
    struct vma *a = map('A', 0x110, 0x120);
    struct vma *q = quarantine('Q', 0x130, 0x140);

    ck_assert_pstr_eq(aspace_validate(&aspace), NULL);
    a->outside_arena = true;
    ck_assert_str_eq(aspace_validate(&aspace), "a mapping is wrong about lying outside the arena");
    a->outside_arena = false;
    aspace.arena.end = pg(0x118);
    ck_assert_str_eq(aspace_validate(&aspace), "a VMA lies half in the arena");
    aspace.arena.end = pg(0x200);
    list_del(&q->link);
    ck_assert_str_eq(aspace_validate(&aspace), "a quarantined range is not on the list");
    list_add(&aspace.quarantine, &q->link);
    list_add(&a->object_link, &q->object_link);
    ck_assert_str_eq(aspace_validate(&aspace),
                     "a quarantined range is on an object's list of mappings");
    list_del(&q->object_link);
    list_add(&aspace.quarantine, &a->link);
    ck_assert_str_eq(aspace_validate(&aspace), "a live mapping is on a list of removed VMAs");
    list_del(&a->link);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("aspace");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, without_a_hint_the_highest_free_range_of_the_arena_is_taken);
    tcase_add_test(tcase, a_hint_is_followed_when_it_is_free_and_in_the_arena);
    tcase_add_test(tcase, pending_and_quarantined_ranges_are_not_given_out);
    tcase_add_test(tcase, a_fixed_address_is_taken_exactly_or_refused);
    tcase_add_test(tcase, a_fixed_address_over_a_held_range_is_busy);
    tcase_add_test(tcase, a_held_vma_becomes_a_mapping);
    tcase_add_test(tcase, nothing_is_held_where_something_stands);
    tcase_add_test(tcase, an_unmapped_range_stays_in_quarantine_until_the_client_confirms);
    tcase_add_test(tcase, a_failed_mapping_goes_from_pending_to_quarantine);
    tcase_add_test(tcase, several_quarantined_ranges_are_confirmed_at_once);
    tcase_add_test(tcase, the_limit_on_vmas_is_checked_as_linux_does);
    tcase_add_test(tcase, an_arena_is_checked_before_it_is_taken);
    tcase_add_test(tcase, validation_sees_misplaced_vmas_and_lists);
    return unit_run("aspace", tcase);
}
