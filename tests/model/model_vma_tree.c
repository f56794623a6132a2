/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMA tree against a naive model: a sorted array of records and loops over page numbers. Random
 * operations; after every one the tree validates, equals the array, and the object's list has
 * exactly the VMAs of the tree. The seed is printed; MUSE_TEST_SEED=N (or MUSE_SEED) repeats a run.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/base/own.h"
#include "server/vm/vma_tree.h"
#include "tests/support/unit.h"
#include "tests/support/vma_draw.h"

#define N_PAGES 512 /* small, so that everything meets everything */
#define N_STEPS 20000
#define N_RUNS  4

/* What the model knows of a VMA; pages, not bytes. */
struct record {
    uint64_t start, end, pgoff, id;
    uint32_t flags;
    enum vma_kind kind;
    bool has_close;
    bool write_locked;
};

struct world {
    uint64_t random;
    uint64_t last_id;
    struct vma_tree tree;
    struct list mappings; /* of the one object there is: every VMA of the tree */
    struct record records[N_PAGES];
    size_t n_records;
};

/* ---- chance ---- */

static uint64_t below(struct world *w, uint64_t n)
{
    return (unit_random(&w->random) >> 16) % n;
}

/* Pages [start, end), mostly short. */
static struct range some_pages(struct world *w)
{
    uint64_t start = below(w, N_PAGES);
    uint64_t len = 1 + below(w, below(w, 8) == 0 ? N_PAGES : 12);

    return (struct range){start, start + len < N_PAGES ? start + len : N_PAGES};
}

static uint32_t some_flags(struct world *w)
{
    static const uint32_t choice[] = {VMF_READ,
                                      VMF_READ,
                                      VMF_READ | VMF_WRITE,
                                      VMF_READ | VMF_WRITE,
                                      VMF_READ | VMF_WRITE,
                                      VMF_READ | VMF_PFNMAP};

    return choice[below(w, N_ELEMENTS(choice))];
}

/* ---- the model: arrays and loops only ---- */

static bool model_is_free(const struct world *w, struct range pages)
{
    for (size_t i = 0; i < w->n_records; i++) {
        if (w->records[i].start < pages.end && w->records[i].end > pages.start)
            return false;
    }
    return true;
}

static void model_add(struct world *w, struct record record)
{
    size_t i = w->n_records;

    for (; i > 0 && w->records[i - 1].start > record.start; i--)
        w->records[i] = w->records[i - 1];
    w->records[i] = record;
    w->n_records++;
}

static void model_drop(struct world *w, size_t at)
{
    w->n_records--;
    for (size_t i = at; i < w->n_records; i++)
        w->records[i] = w->records[i + 1];
}

static void model_split(struct world *w, size_t at, uint64_t page, uint64_t id)
{
    struct record upper = w->records[at];

    upper.id = id;
    upper.pgoff += page - upper.start;
    upper.start = page;
    w->records[at].end = page;
    model_add(w, upper);
}

/* The record that ends (or starts) exactly at @page, or n_records. */
static size_t model_at_edge(const struct world *w, uint64_t page, bool ends)
{
    size_t i = 0;

    while (i < w->n_records && (ends ? w->records[i].end : w->records[i].start) != page)
        i++;
    return i;
}

static bool model_may_merge(const struct world *w, size_t at, const struct record *with)
{
    const struct record *r = &w->records[at];

    return at < w->n_records && r->kind == VMA_MAPPED && !r->write_locked &&
           r->flags == with->flags && (with->flags & VMF_PFNMAP) == 0 &&
           r->start - r->pgoff == with->start - with->pgoff;
}

static enum vma_merge_kind model_merge(const struct world *w, const struct record *with)
{
    size_t prev = model_at_edge(w, with->start, true);
    size_t next = model_at_edge(w, with->end, false);
    bool left = model_may_merge(w, prev, with);
    bool right = model_may_merge(w, next, with);

    if (left && right && !w->records[next].has_close)
        return VMA_MERGE_BOTH;
    if (left)
        return VMA_MERGE_LEFT;
    return right ? VMA_MERGE_RIGHT : VMA_MERGE_NONE;
}

/* Grows a neighbour of @with over it, the range being free. */
static void model_grow(struct world *w, enum vma_merge_kind kind, const struct record *with)
{
    size_t prev = model_at_edge(w, with->start, true);
    size_t next = model_at_edge(w, with->end, false);

    if (kind == VMA_MERGE_RIGHT) {
        w->records[next].pgoff -= w->records[next].start - with->start;
        w->records[next].start = with->start;
        return;
    }
    w->records[prev].end = kind == VMA_MERGE_BOTH ? w->records[next].end : with->end;
    if (kind == VMA_MERGE_BOTH)
        model_drop(w, next);
}

/* Highest start of @len free pages that is a multiple of @align, or -1. */
static int64_t model_gap(const struct world *w, struct range limits, uint64_t len, uint64_t align)
{
    if (len == 0 || len > range_len(limits))
        return -1;
    for (uint64_t start = limits.end - len + 1; start-- > limits.start;) {
        if (start % align == 0 && model_is_free(w, (struct range){start, start + len}))
            return (int64_t)start;
    }
    return -1;
}

/* ---- tree and model side by side ---- */

static struct vma *vma_of(const struct record *record)
{
    struct vma *vma = draw_make('x', record->start, record->end);

    vma->id = record->id;
    vma->pgoff = record->pgoff;
    vma->flags = record->flags;
    vma->kind = record->kind;
    vma->has_close = record->has_close;
    vma->write_locked = record->write_locked;
    return vma;
}

static bool is_same(const struct vma *vma, const struct record *record)
{
    return vma->id == record->id && vma->start == pg(record->start) &&
           vma->end == pg(record->end) && vma->pgoff == record->pgoff &&
           vma->flags == record->flags && vma->kind == record->kind &&
           vma->has_close == record->has_close && vma->write_locked == record->write_locked &&
           list_is_linked(&vma->object_link);
}

/* Says what is wrong, or NULL. No ck_assert inside the loops: each one writes to a file. */
static const char *compare(const struct world *w)
{
    const char *problem = vma_tree_validate(&w->tree);
    const struct vma *vma;
    struct list *link;
    size_t n = 0;

    if (problem)
        return problem;
    vma_for_each(vma, &w->tree) {
        if (n >= w->n_records || !is_same(vma, &w->records[n]))
            return "a VMA is not as in the model";
        n++;
    }
    if (n != w->n_records || n != vma_tree_count(&w->tree))
        return "VMAs are missing";
    list_for_each(link, &w->mappings) {
        if (n == 0 || !vma_from_object_link(link)->in_tree)
            return "the object's list has more than the tree";
        n--;
    }
    return n == 0 ? NULL : "the object's list has less than the tree";
}

static struct vma *some_vma(struct world *w, size_t *ret_at)
{
    if (w->n_records == 0)
        return NULL;
    *ret_at = below(w, w->n_records);
    return vma_tree_find(&w->tree, pg(w->records[*ret_at].start));
}

static struct record some_record(struct world *w)
{
    struct range pages = some_pages(w);

    return (struct record){
        .start = pages.start,
        .end = pages.end,
        .pgoff = pages.start + 1000 + (below(w, 10) == 0 ? below(w, 3) : 0),
        .id = ++w->last_id,
        .flags = some_flags(w),
        .kind = below(w, 10) == 0 ? (enum vma_kind)below(w, VMA_KIND_N) : VMA_MAPPED,
        .has_close = below(w, 4) == 0,
    };
}

static void enter(struct world *w, const struct record *record)
{
    struct vma *vma = vma_of(record);

    ck_assert_int_eq(vma_tree_insert(&w->tree, vma), 0);
    list_add_tail(&w->mappings, &vma->object_link);
    model_add(w, *record);
}

/* ---- operations ---- */

static void op_insert(struct world *w)
{
    struct record record = some_record(w);
    struct range pages = {record.start, record.end};
    struct vma *vma;

    ck_assert(vma_tree_overlaps(&w->tree, pgs(pages.start, pages.end)) != model_is_free(w, pages));
    if (model_is_free(w, pages)) {
        enter(w, &record);
        return;
    }
    vma = vma_of(&record);
    ck_assert_int_eq(vma_tree_insert(&w->tree, vma), VMA_TREE_E_OVERLAP);
    vma_free(vma);
}

static void op_remove(struct world *w)
{
    size_t at;
    struct vma *vma = some_vma(w, &at);

    if (!vma)
        return;
    vma_tree_remove(&w->tree, vma);
    vma_free(vma);
    model_drop(w, at);
}

static void op_split(struct world *w)
{
    size_t at;
    struct vma *vma = some_vma(w, &at);
    struct vma *spare;
    uint64_t page;

    if (!vma || vma_n_pages(vma) < 2)
        return;
    page = w->records[at].start + 1 + below(w, vma_n_pages(vma) - 1);
    spare = draw_spare('s');
    spare->id = ++w->last_id;
    vma_split(&w->tree, vma, pg(page), spare);
    model_split(w, at, page, spare->id);
}

static void op_map(struct world *w)
{
    struct record record = some_record(w);
    struct vma *proposed;
    struct vma *removed = NULL;
    struct vma *prev = NULL;
    struct vma *next = NULL;
    enum vma_merge_kind kind;

    record.kind = VMA_MAPPED;
    if (below(w, 2) == 0 && w->n_records > 0) /* right behind something: holes get filled */
        record.start = w->records[below(w, w->n_records)].end;
    if (record.end <= record.start)
        record.end = record.start + 1;
    record.pgoff = record.start + 1000;
    if (record.end > N_PAGES || !model_is_free(w, (struct range){record.start, record.end}))
        return;
    proposed = vma_of(&record);
    kind = vma_merge_new_decide(&w->tree, proposed, &prev, &next);
    ck_assert_int_eq(kind, model_merge(w, &record));
    if (kind == VMA_MERGE_NONE) {
        enter(w, &record);
    } else {
        (void)vma_merge_new_commit(&w->tree, kind, prev, next, vma_range(proposed), &removed);
        model_grow(w, kind, &record);
    }
    vma_free(removed);
    vma_free(proposed);
}

/* A part of a VMA gets other flags: by a merge, or by splitting it off. */
static void change_by_split(struct world *w, struct vma *vma, size_t at, struct record part)
{
    struct vma *x = draw_spare('s');
    struct vma *y = draw_spare('s');
    const struct record whole = w->records[at];

    x->id = ++w->last_id;
    y->id = ++w->last_id;
    vma = vma_isolate(&w->tree, vma, pgs(part.start, part.end), x, y);
    vma->flags = part.flags;
    if (part.start > whole.start)
        model_split(w, at++, part.start, x->id);
    if (part.end < whole.end)
        model_split(w, at, part.end, x->in_tree && y->in_tree ? y->id : x->id);
    w->records[at].flags = part.flags;
    if (!x->in_tree)
        vma_free(x);
    if (!y->in_tree)
        vma_free(y);
}

static void op_change(struct world *w)
{
    size_t at;
    struct vma *vma = some_vma(w, &at);
    struct list removed = LIST_INIT(removed);
    struct record part;
    struct vma_change change;
    enum vma_merge_kind kind;
    bool all;

    if (!vma || vma->kind != VMA_MAPPED)
        return;
    part = w->records[at];
    part.start += below(w, 2) == 0 ? 0 : below(w, part.end - part.start);
    part.end -= below(w, 2) == 0 ? 0 : below(w, part.end - part.start);
    part.pgoff += part.start - w->records[at].start;
    part.flags = some_flags(w);
    all = part.start == w->records[at].start && part.end == w->records[at].end;
    change = (struct vma_change){pgs(part.start, part.end), part.flags, vma->prot_narrow};

    kind = vma_merge_existing_decide(&w->tree, vma, &change);
    ck_assert_int_eq(kind, all && part.has_close ? VMA_MERGE_NONE : model_merge(w, &part));
    if (kind == VMA_MERGE_NONE) {
        change_by_split(w, vma, at, part);
        return;
    }
    (void)vma_merge_existing_commit(&w->tree, kind, vma, change.range, &removed);
    vma_free_list(&removed);
    if (all) {
        model_drop(w, at);
    } else if (part.start == w->records[at].start) {
        w->records[at].pgoff += part.end - part.start;
        w->records[at].start = part.end;
    } else {
        w->records[at].end = part.start;
    }
    model_grow(w, kind, &part);
}

static void model_unmap(struct world *w, struct range pages, const struct vma *x,
                        const struct vma *y, struct list *removed)
{
    struct list *link = removed->next;

    for (size_t i = 0; i < w->n_records;) {
        struct record *r = &w->records[i];

        if (r->kind != VMA_MAPPED || r->start >= pages.end || r->end <= pages.start) {
            i++;
        } else if (r->start < pages.start) {
            model_split(w, i++, pages.start, x->id);
        } else if (r->end > pages.end) {
            model_split(w, i, pages.end, y->in_tree ? y->id : x->id);
        } else {
            ck_assert_ptr_ne(link, removed);
            ck_assert(is_same(vma_from_link(link), r));
            link = link->next;
            model_drop(w, i);
        }
    }
    ck_assert_ptr_eq(link, removed);
}

static void op_unmap(struct world *w)
{
    struct range pages = some_pages(w);
    struct list removed = LIST_INIT(removed);
    struct vma_unmap_plan plan;
    struct vma *x = draw_spare('s');
    struct vma *y = draw_spare('s');

    x->id = ++w->last_id;
    y->id = ++w->last_id;
    vma_unmap_plan(&w->tree, pgs(pages.start, pages.end), &plan);
    vma_unmap_commit(&w->tree, pgs(pages.start, pages.end), x, y, &removed);
    model_unmap(w, pages, x, y, &removed);
    if (plan.n_splits < 1)
        vma_free(x);
    if (plan.n_splits < 2)
        vma_free(y);
    vma_free_list(&removed);
}

static void op_find(struct world *w)
{
    uint64_t page = below(w, N_PAGES);
    uint64_t addr = pg(page) + below(w, VMA_PAGE_BYTES);
    size_t i = 0;
    const struct vma *next = vma_tree_find_next(&w->tree, addr);
    const struct vma *vma = vma_tree_find(&w->tree, addr);

    while (i < w->n_records && w->records[i].end <= page)
        i++;
    ck_assert((next != NULL) == (i < w->n_records));
    if (!next)
        return;
    ck_assert(is_same(next, &w->records[i]));
    ck_assert_ptr_eq(vma, w->records[i].start <= page ? next : NULL);
}

static void op_gap(struct world *w)
{
    struct range limits = below(w, 2) == 0 ? (struct range){0, N_PAGES} : some_pages(w);
    uint64_t len = below(w, 10);
    uint64_t align = UINT64_C(1) << below(w, 5);
    uint64_t start = 0;
    int64_t expected = model_gap(w, limits, len, align);
    int result =
        vma_tree_gap_topdown(&w->tree, pgs(limits.start, limits.end), pg(len), pg(align), &start);

    ck_assert_int_eq(result, expected < 0 ? VMA_TREE_E_NO_GAP : 0);
    if (result != 0)
        return;
    ck_assert(start % pg(align) == 0);
    ck_assert(range_contains_range(pgs(limits.start, limits.end),
                                   (struct range){start, start + pg(len)}));
    ck_assert(!vma_tree_overlaps(&w->tree, (struct range){start, start + pg(len)}));
    if (align == 1 || w->n_records < VMA_TREE_GAP_TRIES)
        ck_assert_uint_eq(start, pg((uint64_t)expected)); /* the highest one, then */
}

static void op_mark(struct world *w)
{
    size_t at;
    struct vma *vma = some_vma(w, &at);

    if (!vma)
        return;
    vma->has_close = w->records[at].has_close = below(w, 4) == 0;
    vma->write_locked = w->records[at].write_locked = below(w, 8) == 0;
    w->records[at].kind = below(w, 8) == 0 ? (enum vma_kind)below(w, VMA_KIND_N) : VMA_MAPPED;
    vma_tree_set_kind(&w->tree, vma, w->records[at].kind);
}

/* The weights keep a few dozen VMAs in the tree: full enough to meet, with holes left. */
static void (*const ops[])(struct world *w) = {
    op_insert, op_insert, op_map,  op_map, op_map, op_map,  op_split,  op_split, op_change,
    op_change, op_find,   op_find, op_gap, op_gap, op_mark, op_remove, op_unmap,
};

START_TEST(the_tree_behaves_as_a_sorted_array)
{
    const char *seed = getenv("MUSE_TEST_SEED");
    struct world w = {.random = 0};
    const char *problem;
    size_t most = 0;

    if (seed)
        ck_assert_int_eq(setenv("MUSE_SEED", seed, 1), 0);
    w.random = unit_seed() + (uint64_t)_i * 2000;
    vma_tree_init(&w.tree);
    list_init(&w.mappings);
    for (unsigned int step = 0; step < N_STEPS; step++) {
        ops[below(&w, N_ELEMENTS(ops))](&w);
        problem = compare(&w);
        ck_assert_msg(problem == NULL, "run %d, step %u: %s", _i, step, problem);
        if (w.n_records > most)
            most = w.n_records;
    }
    ck_assert_uint_gt(most, 20); /* it was a test */
    vma_tree_done(&w.tree);
    ck_assert(list_is_empty(&w.mappings));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("model_vma_tree");

    tcase_set_timeout(tcase, 120); /* against hanging only: seconds, also with sanitizers */
    tcase_add_loop_test(tcase, the_tree_behaves_as_a_sorted_array, 0, N_RUNS);
    return unit_run("model_vma_tree", tcase);
}
