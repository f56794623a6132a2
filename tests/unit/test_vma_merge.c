/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the merges in server/vm/vma_tree.h: the eight classic geometries, the rows of the
 * kernel's own tools/testing/vma/tests/{merge,vma,mmap}.c that apply here, and what Muse compares
 * beyond Linux. Pictures are in page numbers; P previous, N next, V the VMA that is changed.
 *
 * Rows of the kernel's tests that have no counterpart, and why:
 *   anon_vma_non_mergeable, dup_anon_vma   nothing here has an anon_vma: copies of private pages
 *                                          are the client kernel's business
 *   vmi_prealloc_fail                      a commit allocates nothing, so there is nothing to fail
 *   expand_only_mode                       is for stacks and brk, which a space does not have
 *   the 16 sticky permutations             SOFTDIRTY and MAYBE_GUARD do not exist here
 *   vma_flags_*                            the flags are one 32 bit word, not a bitmap type
 *   "write-locked afterwards"              the VMA locks are taken by the map flow, not here
 */
#include <stdbool.h>
#include <stddef.h>

#include <check.h>

#include "common/base/own.h"
#include "server/vm/vma_tree.h"
#include "tests/support/unit.h"
#include "tests/support/vma_draw.h"

#define OLD_FLAGS ((uint32_t)(VMF_READ | VMF_MAYREAD | VMF_MAYWRITE)) /* of a VMA to be changed */

static struct vma_tree tree; /* fresh in each test: see the fixture */

static void setup(void)
{
    vma_tree_init(&tree);
}

static void teardown(void)
{
    vma_tree_done(&tree);
}

/* ---- doing one merge ---- */

struct merged {
    enum vma_merge_kind kind;
    struct vma *vma; /* the survivor, or NULL */
};

/* A new mapping [first, end) with page offset @pgoff that merges or, when it cannot, enters. */
static struct merged map_new(char name, uint64_t first, uint64_t end, uint64_t pgoff)
{
    struct vma *proposed = draw_make(name, first, end);
    struct vma *removed = NULL;
    struct vma *prev = NULL;
    struct vma *next = NULL;
    struct merged merged = {VMA_MERGE_NONE, NULL};

    proposed->pgoff = pgoff;
    merged.kind = vma_merge_new_decide(&tree, proposed, &prev, &next);
    ck_assert((prev != NULL) == (merged.kind == VMA_MERGE_LEFT || merged.kind == VMA_MERGE_BOTH));
    ck_assert((next != NULL) == (merged.kind == VMA_MERGE_RIGHT || merged.kind == VMA_MERGE_BOTH));
    if (merged.kind == VMA_MERGE_NONE) {
        ck_assert_int_eq(vma_tree_insert(&tree, proposed), 0);
        return merged;
    }
    merged.vma =
        vma_merge_new_commit(&tree, merged.kind, prev, next, vma_range(proposed), &removed);
    ck_assert((removed != NULL) == (merged.kind == VMA_MERGE_BOTH));
    vma_free(removed);
    vma_free(proposed);
    return merged;
}

/* Changes [first, end) of @mid to DRAW_FLAGS when that merges; does nothing otherwise. */
static struct merged change(struct vma *mid, uint64_t first, uint64_t end, struct list *removed)
{
    const struct vma_change what = {
        .range = pgs(first, end), .flags = DRAW_FLAGS, .prot_narrow = mid->prot_narrow};
    struct merged merged = {vma_merge_existing_decide(&tree, mid, &what), NULL};

    if (merged.kind != VMA_MERGE_NONE)
        merged.vma = vma_merge_existing_commit(&tree, merged.kind, mid, what.range, removed);
    return merged;
}

/* ---- new mappings ---- */

START_TEST(a_new_mapping_between_two_like_it_makes_one_of_three)
{
    /* simple_merge, case 1:   |-P-| gap |-N-|   ->   |------P------|   */
    struct merged merged;
    struct vma *p = draw_add(&tree, 'P', 0, 1);

    draw_add(&tree, 'N', 2, 3);
    merged = map_new('A', 1, 2, 1);
    ck_assert_int_eq(merged.kind, VMA_MERGE_BOTH);
    ck_assert_ptr_eq(merged.vma, p);
    ck_assert_uint_eq(p->flags, DRAW_FLAGS);
    draw_check(&tree, "P[0-3)+0");
}
END_TEST

START_TEST(a_new_mapping_behind_one_like_it_extends_it)
{
    /* simple_expand, case 2:   |-P-| gap  x   ->   |---P---|   x   */
    struct vma *p = draw_add(&tree, 'P', 0, 1);

    ck_assert_ptr_eq(map_new('A', 1, 3, 1).vma, p);
    draw_check(&tree, "P[0-3)+0");
}
END_TEST

START_TEST(a_new_mapping_before_one_like_it_extends_it_downwards)
{
    /* case 3:   x  gap |-N-|   ->   x  |---N---|   start and pgoff move */
    struct vma *n = draw_add(&tree, 'N', 3, 5);

    n->has_close = true;
    ck_assert_ptr_eq(map_new('A', 1, 3, 1).vma, n);
    draw_check(&tree, "N[1-5)+1");
    ck_assert_int_eq(map_new('B', 0, 1, 0).kind, VMA_MERGE_RIGHT); /* down to address 0 */
    draw_check(&tree, "N[0-5)+0");
}
END_TEST

START_TEST(seven_new_mappings_merge_as_in_the_kernels_test)
{
    /*  merge_new:
     *  0   1   2   3   4   5   6   7   8   9   a   b   c
     *  |---A---|   |-B-|                           |-C-|     and then 7-9, 2-3, 4-5, 6-7, 5-6,
     *                                                        a-b, 9-a                          */
    struct vma *a = draw_add(&tree, 'A', 0, 2);
    struct vma *c;
    struct vma *d;

    draw_add(&tree, 'B', 3, 4);
    c = draw_add(&tree, 'C', 0xb, 0xc);

    ck_assert_int_eq(map_new('D', 7, 9, 7).kind, VMA_MERGE_NONE);
    draw_check(&tree, "A[0-2)+0 B[3-4)+3 D[7-9)+7 C[b-c)+b");
    d = vma_tree_find(&tree, pg(7));

    a->has_close = true;
    ck_assert_ptr_eq(map_new('x', 2, 3, 2).vma, a);
    draw_check(&tree, "A[0-4)+0 D[7-9)+7 C[b-c)+b");

    ck_assert_ptr_eq(map_new('x', 4, 5, 4).vma, a);
    draw_check(&tree, "A[0-5)+0 D[7-9)+7 C[b-c)+b");

    d->has_close = true;
    ck_assert_ptr_eq(map_new('x', 6, 7, 6).vma, d);
    draw_check(&tree, "A[0-5)+0 D[6-9)+6 C[b-c)+b");

    d->has_close = false;
    ck_assert_ptr_eq(map_new('x', 5, 6, 5).vma, a);
    draw_check(&tree, "A[0-9)+0 C[b-c)+b");

    ck_assert_ptr_eq(map_new('x', 0xa, 0xb, 0xa).vma, c);
    draw_check(&tree, "A[0-9)+0 C[a-c)+a");

    ck_assert_ptr_eq(map_new('x', 9, 0xa, 9).vma, a);
    draw_check(&tree, "A[0-c)+0");
}
END_TEST

START_TEST(a_next_with_close_is_not_removed_by_a_new_mapping)
{
    /*  vma_merge_with_close (i), vma_merge_new_with_close; P may have close or not
     *  0     3   5       9          0         5       9
     *  |--P--|gap|---N---|    ->    |----P----|---N---|      N has close  */
    for (int p_has_close = 0; p_has_close < 2; p_has_close++) {
        struct vma *p = draw_add(&tree, 'P', 0, 3);
        struct vma *n = draw_add(&tree, 'N', 5, 9);
        struct merged merged;

        p->has_close = p_has_close != 0;
        p->ops_id = n->ops_id = 0;
        n->has_close = true;
        merged = map_new('A', 3, 5, 3);
        ck_assert_int_eq(merged.kind, VMA_MERGE_LEFT);
        ck_assert_ptr_eq(merged.vma, p);
        ck_assert(p->has_close == (p_has_close != 0));
        draw_check(&tree, "P[0-5)+0 N[5-9)+5");
        vma_tree_done(&tree);
    }
}
END_TEST

START_TEST(growing_in_place_absorbs_the_neighbour_reached)
{
    /* merge_extend: V 0-1 grows by 2 pages and meets N 3-4 */
    struct vma *v = draw_add(&tree, 'V', 0, 1);

    draw_add(&tree, 'N', 3, 4);
    ck_assert_ptr_eq(map_new('x', 1, 3, vma_pgoff_at(v, v->end)).vma, v);
    draw_check(&tree, "V[0-4)+0");
}
END_TEST

START_TEST(a_moved_copy_merges_where_it_lands_or_stands_alone)
{
    struct vma *n;

    /* copy_vma (i): V 3-5 to 0-2, its page offsets stay, so it is no neighbour of V's even at 1 */
    draw_add(&tree, 'V', 3, 5);
    ck_assert_int_eq(map_new('C', 0, 2, 3).kind, VMA_MERGE_NONE);
    draw_check(&tree, "C[0-2)+3 V[3-5)+3");
    vma_tree_done(&tree);

    /* copy_vma (ii): 2 pages to 4-6, contiguous with N in the object as well */
    draw_add(&tree, 'V', 0, 2);
    n = draw_add(&tree, 'N', 6, 8);
    ck_assert_ptr_eq(map_new('C', 4, 6, 4).vma, n);
    draw_check(&tree, "V[0-2)+0 N[4-8)+4");
}
END_TEST

START_TEST(four_mappings_make_two_as_in_the_kernels_mmap_test)
{
    /* mmap_region_basic */
    ck_assert_int_eq(map_new('A', 0x300, 0x303, 0x300).kind, VMA_MERGE_NONE);
    ck_assert_int_eq(map_new('B', 0x250, 0x253, 0x250).kind, VMA_MERGE_NONE);
    ck_assert_int_eq(map_new('x', 0x303, 0x306, 0x303).kind, VMA_MERGE_LEFT);
    ck_assert_int_eq(map_new('x', 0x24d, 0x250, 0x24d).kind, VMA_MERGE_RIGHT);
    draw_check(&tree, "B[24d-253)+24d A[300-306)+300");
}
END_TEST

/* ---- special flags ---- */

static const uint32_t special_flags[] = {VMF_IO, VMF_DONTEXPAND, VMF_PFNMAP, VMF_MIXEDMAP};

START_TEST(special_mappings_never_merge)
{
    /* vma_merge_special_flags */
    uint32_t flag = special_flags[_i];
    struct vma *l = draw_add(&tree, 'L', 0, 3);
    struct vma *r = draw_make('R', 3, 4);
    const struct vma_change what = {
        .range = pgs(3, 4), .flags = DRAW_FLAGS | flag, .prot_narrow = r->prot_narrow};
    struct vma *prev = NULL;
    struct vma *next = NULL;

    l->flags |= flag;
    r->flags |= flag;
    ck_assert_int_eq(vma_merge_new_decide(&tree, r, &prev, &next), VMA_MERGE_NONE);
    ck_assert_ptr_null(prev);
    ck_assert_ptr_null(next);
    ck_assert_int_eq(vma_tree_insert(&tree, r), 0);
    ck_assert_int_eq(vma_merge_existing_decide(&tree, r, &what), VMA_MERGE_NONE);
    l->flags &= ~flag; /* the neighbour alone is not special: still none */
    ck_assert_int_eq(vma_merge_existing_decide(&tree, r, &what), VMA_MERGE_NONE);
    draw_check(&tree, "L[0-3)+0 R[3-4)+3");
}
END_TEST

START_TEST(four_flags_are_special)
{
    uint32_t all = 0;

    for (size_t i = 0; i < N_ELEMENTS(special_flags); i++)
        all |= special_flags[i];
    ck_assert_uint_eq(VMF_SPECIAL, all);
}
END_TEST

/* ---- what has to be the same ---- */

static int other_identity; /* its address is a file, object or owner that differs */

static void no_change(struct vma *vma)
{
    (void)vma; /* the control: everything the same */
}

static void change_flags(struct vma *vma)
{
    vma->flags |= VMF_DONTDUMP;
}

static void change_prot(struct vma *vma)
{
    vma->prot_narrow = PROT_READ;
}

static void change_file(struct vma *vma)
{
    vma->file = &other_identity;
}

static void change_object(struct vma *vma)
{
    vma->object = &other_identity;
}

static void change_owner(struct vma *vma)
{
    vma->owner = &other_identity;
}

static void change_ops(struct vma *vma)
{
    vma->ops_id = 9;
}

static void change_ops_set(struct vma *vma)
{
    vma->ops_set = true;
}

static void change_private_data(struct vma *vma)
{
    vma->private_data = 9;
}

static void change_direct(struct vma *vma)
{
    vma->direct = true;
}

static void change_graduated(struct vma *vma)
{
    vma->graduated = true;
}

static void change_outside(struct vma *vma)
{
    vma->outside_arena = true;
}

static void change_pgoff(struct vma *vma)
{
    vma->pgoff++;
}

static void change_to_pending(struct vma *vma)
{
    vma_tree_set_kind(&tree, vma, VMA_PENDING);
}

static void change_to_quarantine(struct vma *vma)
{
    vma_tree_set_kind(&tree, vma, VMA_QUARANTINE);
}

static void change_lock(struct vma *vma)
{
    vma->write_locked = true;
}

static const struct {
    void (*apply)(struct vma *neighbour);
    bool merges;
} differences[] = {
    {no_change, true},      {change_flags, false},      {change_prot, false},
    {change_file, false},   {change_object, false},     {change_owner, false},
    {change_ops, false},    {change_ops_set, false},    {change_private_data, false},
    {change_direct, false}, {change_graduated, false},  {change_outside, false},
    {change_pgoff, false},  {change_to_pending, false}, {change_to_quarantine, false},
    {change_lock, false},
};

START_TEST(neighbours_that_differ_in_anything_do_not_merge)
{
    /*  0     3   5       9
     *  |--P--|gap|---N---|      P, N or both differ from the new mapping  */
    bool merges = differences[_i].merges;

    for (unsigned int which = 1; which < 4; which++) {
        struct vma *p = draw_add(&tree, 'P', 0, 3);
        struct vma *n = draw_add(&tree, 'N', 5, 9);
        struct vma *proposed = draw_make('A', 3, 5);
        bool p_merges = merges || !(which & 1);
        bool n_merges = merges || !(which & 2);
        struct vma *prev = NULL;
        struct vma *next = NULL;
        enum vma_merge_kind kind;

        if (which & 1)
            differences[_i].apply(p);
        if (which & 2)
            differences[_i].apply(n);
        kind = vma_merge_new_decide(&tree, proposed, &prev, &next);
        ck_assert_ptr_eq(prev, p_merges ? p : NULL);
        ck_assert_ptr_eq(next, n_merges ? n : NULL);
        ck_assert_int_eq(kind, p_merges && n_merges ? VMA_MERGE_BOTH
                               : p_merges           ? VMA_MERGE_LEFT
                               : n_merges           ? VMA_MERGE_RIGHT
                                                    : VMA_MERGE_NONE);
        vma_free(proposed);
        vma_tree_done(&tree);
    }
}
END_TEST

/* ---- what stands in the new range itself ---- */

START_TEST(the_placeholder_of_the_new_mapping_is_not_in_its_way)
{
    struct vma *held = draw_make('H', 1, 2);
    struct vma *removed = NULL;
    struct vma *prev = NULL;
    struct vma *next = NULL;
    enum vma_merge_kind kind;

    draw_add(&tree, 'P', 0, 1);
    draw_add(&tree, 'N', 2, 3);
    held->kind = VMA_PENDING;
    ck_assert_int_eq(vma_tree_insert(&tree, held), 0);
    kind = vma_merge_new_decide(&tree, held, &prev, &next);
    ck_assert_int_eq(kind, VMA_MERGE_BOTH);
    draw_check(&tree, "P[0-1)+0 H[1-2)? N[2-3)+2");
    vma_tree_remove(&tree, held);
    ck_assert_ptr_eq(vma_merge_new_commit(&tree, kind, prev, next, pgs(1, 2), &removed), prev);
    draw_check(&tree, "P[0-3)+0");
    vma_free(removed);
    vma_free(held);
}
END_TEST

START_TEST(a_mapping_over_a_part_of_another_merges_once_that_part_is_gone)
{
    /*  0       3   5       8
     *  |-------P-----------|        MAP_FIXED 3-5 of the very same thing  */
    struct list removed = LIST_INIT(removed);
    struct vma *p = draw_add(&tree, 'P', 0, 8);
    struct vma *proposed = draw_make('A', 3, 5);
    struct vma *prev = NULL;
    struct vma *next = NULL;

    ck_assert_int_eq(vma_merge_new_decide(&tree, proposed, &prev, &next), VMA_MERGE_NONE);
    vma_unmap_commit(&tree, pgs(3, 5), draw_spare('X'), draw_spare('Y'), &removed);
    draw_check(&tree, "P[0-3)+0 Y[5-8)+5");
    ck_assert_int_eq(vma_merge_new_decide(&tree, proposed, &prev, &next), VMA_MERGE_BOTH);
    ck_assert_ptr_eq(prev, p);
    vma_free(proposed);
    vma_free_list(&removed);
    ck_assert_ptr_eq(map_new('A', 3, 5, 3).vma, p);
    draw_check(&tree, "P[0-8)+0");
}
END_TEST

START_TEST(a_merge_adds_up_faults_and_leaves_one_entry_in_the_objects_list)
{
    struct list mappings = LIST_INIT(mappings);
    struct vma *p = draw_add(&tree, 'P', 0, 1);
    struct vma *n = draw_add(&tree, 'N', 2, 3);

    list_add_tail(&mappings, &n->object_link);
    list_add_tail(&mappings, &p->object_link);
    p->n_faults = 3;
    n->n_faults = 4;
    ck_assert_ptr_eq(map_new('A', 1, 2, 1).vma, p);
    ck_assert_uint_eq(p->n_faults, 7);
    ck_assert_ptr_eq(mappings.next, &p->object_link);
    ck_assert_ptr_eq(mappings.prev, &p->object_link);
    vma_tree_done(&tree); /* while the list is there still */
}
END_TEST

/* ---- existing mappings ---- */

struct place {
    uint64_t first, end; /* first == end: not there */
    bool has_close;
};

struct existing_row {
    const char *title;
    struct place p, v, n;
    uint64_t first, end; /* the part of V that becomes like P and N */
    enum vma_merge_kind kind;
    const char *survivor;
    const char *after;
    const char *removed;
};

static const struct existing_row existing_rows[] = {
    /* the classic cases 4 to 8; 1 to 3 are for new mappings, above */
    {"case 4", {0, 3, 1}, {3, 7, 1}, {0}, 3, 6, VMA_MERGE_LEFT, "P", "P[0-6)+0 V[6-7)+6", ""},
    {"case 5", {0}, {2, 6, 1}, {6, 9, 1}, 3, 6, VMA_MERGE_RIGHT, "N", "V[2-3)+2 N[3-9)+3", ""},
    {"case 6",
     {0, 3, 1},
     {3, 7, 0},
     {7, 9, 0},
     3,
     7,
     VMA_MERGE_BOTH,
     "P",
     "P[0-9)+0",
     "V[3-7)+3 N[7-9)+7"},
    {"case 7", {0, 3, 1}, {3, 7, 0}, {0}, 3, 7, VMA_MERGE_LEFT, "P", "P[0-7)+0", "V[3-7)+3"},
    {"case 8", {0}, {2, 6, 0}, {6, 9, 1}, 2, 6, VMA_MERGE_RIGHT, "N", "N[2-9)+2", "V[2-6)+2"},

    {"vma_merge_with_close (ii)",
     {0, 3, 0},
     {3, 5, 1},
     {0},
     3,
     5,
     VMA_MERGE_NONE,
     "",
     "P[0-3)+0 V[3-5)+3",
     ""},
    {"vma_merge_with_close (iii)",
     {0},
     {3, 5, 1},
     {5, 9, 0},
     3,
     5,
     VMA_MERGE_NONE,
     "",
     "V[3-5)+3 N[5-9)+5",
     ""},
    {"vma_merge_with_close (iv)",
     {0, 3, 0},
     {3, 5, 1},
     {5, 9, 0},
     3,
     5,
     VMA_MERGE_NONE,
     "",
     "P[0-3)+0 V[3-5)+3 N[5-9)+5",
     ""},
    {"vma_merge_with_close (v)",
     {0, 3, 0},
     {3, 5, 0},
     {5, 9, 1},
     3,
     5,
     VMA_MERGE_LEFT,
     "P",
     "P[0-5)+0 N[5-9)+5",
     "V[3-5)+3"},

    {"merge_existing (i)",
     {0},
     {2, 6, 1},
     {6, 9, 1},
     3,
     6,
     VMA_MERGE_RIGHT,
     "N",
     "V[2-3)+2 N[3-9)+3",
     ""},
    {"merge_existing (ii)",
     {0},
     {2, 6, 0},
     {6, 9, 1},
     2,
     6,
     VMA_MERGE_RIGHT,
     "N",
     "N[2-9)+2",
     "V[2-6)+2"},
    {"merge_existing (iii)",
     {0, 3, 1},
     {3, 7, 1},
     {0},
     3,
     6,
     VMA_MERGE_LEFT,
     "P",
     "P[0-6)+0 V[6-7)+6",
     ""},
    {"merge_existing (iv)",
     {0, 3, 1},
     {3, 7, 0},
     {0},
     3,
     7,
     VMA_MERGE_LEFT,
     "P",
     "P[0-7)+0",
     "V[3-7)+3"},
    {"merge_existing (v)",
     {0, 3, 1},
     {3, 7, 0},
     {7, 9, 0},
     3,
     7,
     VMA_MERGE_BOTH,
     "P",
     "P[0-9)+0",
     "V[3-7)+3 N[7-9)+7"},
#define INTERIOR(first, end)                                                                       \
    {                                                                                              \
        "merge_existing (vi)", {0, 3, 0}, {3, 8, 0}, {8, 0xa, 0}, first, end, VMA_MERGE_NONE, "",  \
            "P[0-3)+0 V[3-8)+3 N[8-a)+8", ""                                                       \
    }
    INTERIOR(4, 5),
    INTERIOR(5, 6),
    INTERIOR(6, 7),
    INTERIOR(4, 7),
    INTERIOR(4, 6),
    INTERIOR(5, 6),
#undef INTERIOR

    {"a part at one edge never merges over the other one",
     {0, 3, 0},
     {3, 8, 0},
     {8, 0xa, 0},
     3,
     4,
     VMA_MERGE_LEFT,
     "P",
     "P[0-4)+0 V[4-8)+4 N[8-a)+8",
     ""},
    {"the tail goes to next though prev is like it too",
     {0, 3, 0},
     {3, 8, 0},
     {8, 0xa, 0},
     7,
     8,
     VMA_MERGE_RIGHT,
     "N",
     "P[0-3)+0 V[3-7)+3 N[7-a)+7",
     ""},
    {"neighbours that do not touch",
     {0, 2, 0},
     {3, 5, 0},
     {6, 9, 0},
     3,
     5,
     VMA_MERGE_NONE,
     "",
     "P[0-2)+0 V[3-5)+3 N[6-9)+6",
     ""},
    {"nobody there", {0}, {3, 5, 0}, {0}, 3, 5, VMA_MERGE_NONE, "", "V[3-5)+3", ""},
};

static struct vma *put(char name, struct place place)
{
    struct vma *vma;

    if (place.first == place.end)
        return NULL;
    vma = draw_add(&tree, name, place.first, place.end);
    vma->has_close = place.has_close;
    return vma;
}

START_TEST(a_changed_part_merges_as_in_the_kernels_table)
{
    const struct existing_row *row = &existing_rows[_i];
    struct list removed = LIST_INIT(removed);
    struct merged merged;
    struct vma *v;

    (void)put('P', row->p); /* found again by the merge */
    v = put('V', row->v);
    (void)put('N', row->n);
    v->flags = OLD_FLAGS;
    merged = change(v, row->first, row->end, &removed);
    ck_assert_msg(merged.kind == row->kind, "%s: kind %d", row->title, (int)merged.kind);
    ck_assert_msg((merged.vma != NULL) == (*row->survivor != '\0'), "%s", row->title);
    if (merged.vma) {
        ck_assert_msg((char)merged.vma->id == *row->survivor, "%s", row->title);
        ck_assert_uint_eq(merged.vma->flags, DRAW_FLAGS);
    }
    draw_check(&tree, row->after);
    draw_check_list(&removed, row->removed);
    vma_free_list(&removed);
}
END_TEST

START_TEST(a_part_that_cannot_merge_is_split_off)
{
    /*  simple_modify: the changed part is a VMA of its own afterwards. In Linux it is the old VMA
     *  object; here the old one keeps the lowest part, as in every split.
     *  0   1   2   3
     *  |-----V-----|    ->    |-V-|-X-|-Y-|  */
    struct list removed = LIST_INIT(removed);
    struct vma *v = draw_add(&tree, 'V', 0, 3);
    struct vma *x = draw_spare('X');

    v->flags = OLD_FLAGS;
    ck_assert_int_eq(change(v, 1, 2, &removed).kind, VMA_MERGE_NONE);
    ck_assert_ptr_eq(vma_isolate(&tree, v, pgs(1, 2), x, draw_spare('Y')), x);
    draw_check(&tree, "V[0-1)+0 X[1-2)+1 Y[2-3)+2");
    x->flags = DRAW_FLAGS;

    /* and back again: the part becomes like both its neighbours */
    v->flags = vma_next(x)->flags = DRAW_FLAGS;
    x->flags = OLD_FLAGS;
    ck_assert_ptr_eq(change(x, 1, 2, &removed).vma, v);
    draw_check(&tree, "V[0-3)+0");
    vma_free_list(&removed);
}
END_TEST

START_TEST(shrinking_keeps_the_lower_part)
{
    /* simple_shrink: V 0-3 to 0-1 */
    struct list removed = LIST_INIT(removed);

    draw_add(&tree, 'V', 0, 3);
    vma_unmap_commit(&tree, pgs(1, 3), draw_spare('X'), NULL, &removed);
    draw_check(&tree, "V[0-1)+0");
    vma_free_list(&removed);
}
END_TEST

START_TEST(a_change_of_page_prot_alone_can_merge)
{
    struct vma *p = draw_add(&tree, 'P', 0, 1);
    struct vma *v = draw_add(&tree, 'V', 1, 2);
    struct vma_change what = {
        .range = pgs(1, 2), .flags = DRAW_FLAGS, .prot_narrow = p->prot_narrow};

    v->prot_narrow = PROT_READ;
    ck_assert_int_eq(vma_merge_existing_decide(&tree, v, &what), VMA_MERGE_LEFT);
    what.prot_narrow = PROT_READ;
    ck_assert_int_eq(vma_merge_existing_decide(&tree, v, &what), VMA_MERGE_NONE);
}
END_TEST

START_TEST(the_changed_vma_may_be_write_locked_its_neighbours_may_not)
{
    struct list removed = LIST_INIT(removed);
    struct vma *p = draw_add(&tree, 'P', 0, 1);
    struct vma *v = draw_add(&tree, 'V', 1, 2);

    v->flags = OLD_FLAGS;
    v->write_locked = true;
    p->write_locked = true;
    ck_assert_int_eq(change(v, 1, 2, &removed).kind, VMA_MERGE_NONE);
    p->write_locked = false;
    ck_assert_int_eq(change(v, 1, 2, &removed).kind, VMA_MERGE_LEFT);
    draw_check(&tree, "P[0-2)+0");
    vma_free_list(&removed);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("vma_merge");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_new_mapping_between_two_like_it_makes_one_of_three);
    tcase_add_test(tcase, a_new_mapping_behind_one_like_it_extends_it);
    tcase_add_test(tcase, a_new_mapping_before_one_like_it_extends_it_downwards);
    tcase_add_test(tcase, seven_new_mappings_merge_as_in_the_kernels_test);
    tcase_add_test(tcase, a_next_with_close_is_not_removed_by_a_new_mapping);
    tcase_add_test(tcase, growing_in_place_absorbs_the_neighbour_reached);
    tcase_add_test(tcase, a_moved_copy_merges_where_it_lands_or_stands_alone);
    tcase_add_test(tcase, four_mappings_make_two_as_in_the_kernels_mmap_test);
    tcase_add_loop_test(tcase, special_mappings_never_merge, 0, (int)N_ELEMENTS(special_flags));
    tcase_add_test(tcase, four_flags_are_special);
    tcase_add_loop_test(tcase, neighbours_that_differ_in_anything_do_not_merge, 0,
                        (int)N_ELEMENTS(differences));
    tcase_add_test(tcase, the_placeholder_of_the_new_mapping_is_not_in_its_way);
    tcase_add_test(tcase, a_mapping_over_a_part_of_another_merges_once_that_part_is_gone);
    tcase_add_test(tcase, a_merge_adds_up_faults_and_leaves_one_entry_in_the_objects_list);
    tcase_add_loop_test(tcase, a_changed_part_merges_as_in_the_kernels_table, 0,
                        (int)N_ELEMENTS(existing_rows));
    tcase_add_test(tcase, a_part_that_cannot_merge_is_split_off);
    tcase_add_test(tcase, shrinking_keeps_the_lower_part);
    tcase_add_test(tcase, a_change_of_page_prot_alone_can_merge);
    tcase_add_test(tcase, the_changed_vma_may_be_write_locked_its_neighbours_may_not);
    return unit_run("vma_merge", tcase);
}
