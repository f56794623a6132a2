/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vma_tree.c - the ordered, non-overlapping set of VMAs of a space
 *
 * Each node caches three facts about its subtree: lowest start, highest end, widest hole between
 * two neighbours in it. They are functions of the subtree alone, so a change of one VMA is put
 * right by walking up from it.
 *
 *                    [40-60)                 sub_start 10, sub_end 90
 *                   /       \                sub_gap = max(left 5, 40-25, 70-60, right 0) = 15
 *         [10-15)              [70-90)
 *                \
 *                 [20-25)
 *
 * Owns the VMAs in the tree. Called by aspace.c and the map, fault and flow folders. Deliberately
 * asks nobody (may_split is the caller's to ask) and allocates nothing (spares come in).
 */
#include "server/vm/vma_tree.h"

#include <stddef.h>

/* ---- the subtree facts ---- */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct subtree_facts {
    uint64_t start;
    uint64_t end;
    uint64_t gap_bytes;
};

static struct subtree_facts facts_of(const struct vma *vma)
{
    const struct vma *left = vma_from_node(vma->node.left);
    const struct vma *right = vma_from_node(vma->node.right);
    struct subtree_facts facts = {vma->start, vma->end, 0};

    if (left) {
        facts.start = left->sub_start;
        facts.gap_bytes = max_u64(left->sub_gap_bytes, vma->start - left->sub_end);
    }
    if (right) {
        facts.end = right->sub_end;
        facts.gap_bytes = max_u64(facts.gap_bytes, right->sub_gap_bytes);
        facts.gap_bytes = max_u64(facts.gap_bytes, right->sub_start - vma->end);
    }
    return facts;
}

static void update_facts(struct rb_node *node)
{
    struct vma *vma = vma_from_node(node);
    struct subtree_facts facts = facts_of(vma);

    vma->sub_start = facts.start;
    vma->sub_end = facts.end;
    vma->sub_gap_bytes = facts.gap_bytes;
}

/* Moves the edges of a VMA in the tree; what stays of it keeps its object pages. */
static void set_extent(struct vma_tree *tree, struct vma *vma, uint64_t start, uint64_t end)
{
    MUST(start < end);
    /* unsigned arithmetic wraps to the right result when start moves down */
    vma->pgoff += (start >> VMA_PAGE_SHIFT) - (vma->start >> VMA_PAGE_SHIFT);
    vma->start = start;
    vma->end = end;
    rb_update_path(&tree->root, &vma->node);
}

/* ---- life, finding, walking ---- */

void vma_tree_init(struct vma_tree *tree)
{
    *tree = (struct vma_tree){0};
    rb_init(&tree->root, update_facts);
}

void vma_tree_done(struct vma_tree *tree)
{
    struct vma *vma;

    while ((vma = vma_from_node(tree->root.node)) != NULL) {
        vma_tree_remove(tree, vma);
        vma_free(vma);
    }
}

struct vma *vma_tree_find_next(const struct vma_tree *tree, uint64_t addr)
{
    struct rb_node *node = tree->root.node;
    struct vma *best = NULL;

    while (node) {
        struct vma *vma = vma_from_node(node);

        if (vma->end <= addr) {
            node = node->right;
            continue;
        }
        best = vma;
        if (vma->start <= addr)
            break;
        node = node->left;
    }
    return best;
}

/* As vma_tree_find(), without touching the cache. */
static struct vma *lookup(const struct vma_tree *tree, uint64_t addr)
{
    struct vma *vma = vma_tree_find_next(tree, addr);

    return vma && vma->start <= addr ? vma : NULL;
}

struct vma *vma_tree_find(struct vma_tree *tree, uint64_t addr)
{
    struct vma *vma;

    if (tree->last_hit && vma_contains(tree->last_hit, addr))
        return tree->last_hit;
    vma = lookup(tree, addr);
    if (vma)
        tree->last_hit = vma;
    return vma;
}

struct vma *vma_tree_first(const struct vma_tree *tree)
{
    return vma_from_node(rb_first(&tree->root));
}

struct vma *vma_next(const struct vma *vma)
{
    return vma_from_node(rb_next(&vma->node));
}

struct vma *vma_prev(const struct vma *vma)
{
    return vma_from_node(rb_prev(&vma->node));
}

uint32_t vma_tree_count(const struct vma_tree *tree)
{
    uint32_t n = 0;

    for (unsigned int i = 0; i < VMA_KIND_N; i++)
        n += tree->n_kind[i];
    return n;
}

uint32_t vma_tree_count_kind(const struct vma_tree *tree, enum vma_kind kind)
{
    return tree->n_kind[kind];
}

bool vma_tree_overlaps(const struct vma_tree *tree, struct range range)
{
    const struct vma *vma = vma_tree_find_next(tree, range.start);

    return vma && range_overlaps(range, vma_range(vma));
}

/* ---- entering and taking out ---- */

int vma_tree_insert(struct vma_tree *tree, struct vma *vma)
{
    struct rb_node **link = &tree->root.node;
    struct rb_node *parent = NULL;

    MUST(!vma->in_tree);
    MUST((unsigned int)vma->kind < VMA_KIND_N);
    MUST(vma->start < vma->end && range_is_aligned(vma_range(vma), VMA_PAGE_BYTES));
    while (*link) {
        const struct vma *at = vma_from_node(*link);

        parent = *link;
        if (vma->end > at->start && vma->start < at->end)
            return VMA_TREE_E_OVERLAP;
        link = vma->end <= at->start ? &parent->left : &parent->right;
    }
    rb_insert(&tree->root, parent, link, &vma->node);
    vma->in_tree = true;
    tree->n_kind[vma->kind]++;
    return 0;
}

void vma_tree_remove(struct vma_tree *tree, struct vma *vma)
{
    MUST(vma->in_tree);
    rb_erase(&tree->root, &vma->node);
    vma->in_tree = false;
    MUST(tree->n_kind[vma->kind] > 0);
    tree->n_kind[vma->kind]--;
    if (tree->last_hit == vma)
        tree->last_hit = NULL;
}

void vma_tree_set_kind(struct vma_tree *tree, struct vma *vma, enum vma_kind kind)
{
    MUST(vma->in_tree);
    MUST((unsigned int)kind < VMA_KIND_N);
    tree->n_kind[vma->kind]--;
    vma->kind = kind;
    tree->n_kind[kind]++;
}

/* ---- the highest gap ---- */

struct gap_search {
    struct range limits; /* page aligned */
    uint64_t len;        /* what is to be placed */
    uint64_t align;
    uint64_t need;       /* gaps narrower than this are not looked at; >= len */
    uint32_t tries_left; /* gaps that may prove too narrow once aligned, before giving up */
    uint64_t start;      /* the answer */
};

enum gap_result { GAP_NONE, GAP_FOUND, GAP_GAVE_UP };

/* The part of the hole [lo, hi) that lies in the limits. */
static struct range gap_clip(const struct gap_search *search, uint64_t lo, uint64_t hi)
{
    lo = max_u64(lo, search->limits.start);
    hi = min_u64(hi, search->limits.end);
    return (struct range){lo, max_u64(lo, hi)};
}

static enum gap_result gap_try(struct gap_search *search, uint64_t lo, uint64_t hi)
{
    struct range gap = gap_clip(search, lo, hi);
    uint64_t start;

    if (range_len(gap) < search->need)
        return GAP_NONE;
    start = (gap.end - search->len) & ~(search->align - 1);
    if (start >= gap.start) {
        search->start = start;
        return GAP_FOUND;
    }
    if (search->tries_left == 0)
        return GAP_GAVE_UP;
    search->tries_left--;
    return GAP_NONE;
}

/*
 * Whether the subtree at @vma with the holes beside it, up to its neighbours at @lo and @hi, can
 * have an answer. Holes that the limits cut are overrated; there are two at most.
 */
static bool gap_is_worth_it(const struct gap_search *search, const struct vma *vma, uint64_t lo,
                            uint64_t hi)
{
    if (lo >= search->limits.end || hi <= search->limits.start)
        return false;
    return vma->sub_gap_bytes >= search->need ||
           range_len(gap_clip(search, lo, vma->sub_start)) >= search->need ||
           range_len(gap_clip(search, vma->sub_end, hi)) >= search->need;
}

/*
 * Highest first. Every place in the tree where a child is missing is one hole: from the end of the
 * VMA before it to the start of the VMA behind it.
 */
static enum gap_result gap_search_below(struct gap_search *search, struct rb_node *node,
                                        uint64_t lo, uint64_t hi)
{
    const struct vma *vma = vma_from_node(node);
    enum gap_result result;

    if (!vma)
        return gap_try(search, lo, hi);
    if (!gap_is_worth_it(search, vma, lo, hi))
        return GAP_NONE;
    result = gap_search_below(search, node->right, vma->end, hi);
    if (result != GAP_NONE)
        return result;
    return gap_search_below(search, node->left, lo, vma->start);
}

int vma_tree_gap_topdown(const struct vma_tree *tree, struct range limits, uint64_t len,
                         uint64_t align, uint64_t *ret_start)
{
    struct gap_search search = {
        .limits = range_align_in(limits, VMA_PAGE_BYTES),
        .len = len,
        .align = align,
        .need = len,
        .tries_left = VMA_TREE_GAP_TRIES,
    };
    enum gap_result result;

    MUST(align >= VMA_PAGE_BYTES && (align & (align - 1)) == 0);
    if (len == 0 || len > range_len(search.limits))
        return VMA_TREE_E_NO_GAP;

    result = gap_search_below(&search, tree->root.node, 0, UINT64_MAX);
    if (result == GAP_GAVE_UP &&
        !__builtin_add_overflow(len, align - VMA_PAGE_BYTES, &search.need)) {
        result = gap_search_below(&search, tree->root.node, 0, UINT64_MAX);
        if (result != GAP_FOUND)
            result = GAP_GAVE_UP;
    }
    if (result == GAP_GAVE_UP) {
        search.need = len;
        search.tries_left = UINT32_MAX;
        result = gap_search_below(&search, tree->root.node, 0, UINT64_MAX);
    }
    if (result != GAP_FOUND)
        return VMA_TREE_E_NO_GAP;
    *ret_start = search.start;
    return 0;
}

/* ---- validation ---- */

/* 2 * log2(n + 1) levels at most: more is a loop or a broken tree. */
#define TREE_MAX_DEPTH 64

struct tree_check {
    const struct vma_tree *tree;
    const char *problem; /* the first one found */
    const struct vma *prev;
    bool saw_last_hit;
    uint32_t n_kind[VMA_KIND_N];
};

static int check_fail(struct tree_check *check, const char *problem)
{
    if (!check->problem)
        check->problem = problem;
    return -1;
}

static const char *vma_problem(const struct vma *vma)
{
    if (!vma->in_tree)
        return "a VMA in the tree says that it is not";
    if ((unsigned int)vma->kind >= VMA_KIND_N)
        return "a VMA has an unknown kind";
    if (vma->start >= vma->end)
        return "a VMA is empty";
    if (!range_is_aligned(vma_range(vma), VMA_PAGE_BYTES))
        return "a VMA is not page aligned";
    if (vma->kind == VMA_MAPPED && list_is_linked(&vma->link))
        return "a live mapping is on a list of removed VMAs";
    return NULL;
}

static void check_vma(struct tree_check *check, const struct vma *vma)
{
    const char *problem = vma_problem(vma);

    if (problem) {
        (void)check_fail(check, problem);
        return;
    }
    if (check->prev && check->prev->end > vma->start)
        (void)check_fail(check, "VMAs overlap or are out of order");
    check->prev = vma;
    check->n_kind[vma->kind]++;
    if (check->tree->last_hit == vma)
        check->saw_last_hit = true;
}

static int check_links(struct tree_check *check, const struct rb_node *node)
{
    const struct rb_node *child[] = {node->left, node->right};

    for (unsigned int i = 0; i < 2; i++) {
        if (!child[i])
            continue;
        if (child[i]->parent != node)
            return check_fail(check, "a child does not know its parent");
        if (node->is_red && child[i]->is_red)
            return check_fail(check, "a red node has a red child");
    }
    return 0;
}

/* Returns the number of black nodes on every way down, or -1. */
static int check_subtree(struct tree_check *check, struct rb_node *node, unsigned int depth)
{
    const struct vma *vma = vma_from_node(node);
    struct subtree_facts facts;
    int left;
    int right;

    if (!vma)
        return 0;
    if (depth > TREE_MAX_DEPTH)
        return check_fail(check, "the tree is too deep");
    if (check_links(check, node) < 0)
        return -1;
    left = check_subtree(check, node->left, depth + 1);
    check_vma(check, vma);
    right = check_subtree(check, node->right, depth + 1);
    if (left < 0 || right < 0)
        return -1;
    if (left != right)
        return check_fail(check, "black heights differ");
    facts = facts_of(vma);
    if (facts.start != vma->sub_start || facts.end != vma->sub_end ||
        facts.gap_bytes != vma->sub_gap_bytes)
        return check_fail(check, "what a node says about its subtree is out of date");
    return left + (node->is_red ? 0 : 1);
}

const char *vma_tree_validate(const struct vma_tree *tree)
{
    struct tree_check check = {.tree = tree};
    const struct rb_node *top = tree->root.node;

    if (top && (top->parent || top->is_red))
        return "the topmost node is red or has a parent";
    (void)check_subtree(&check, tree->root.node, 0); /* the problem is kept in check */
    if (check.problem)
        return check.problem;
    for (unsigned int i = 0; i < VMA_KIND_N; i++) {
        if (check.n_kind[i] != tree->n_kind[i])
            return "the counts are wrong";
    }
    if (tree->last_hit && !check.saw_last_hit)
        return "the last hit is not in the tree";
    return NULL;
}

/* ---- split ---- */

void vma_split(struct vma_tree *tree, struct vma *vma, uint64_t addr, struct vma *spare)
{
    MUST(vma->in_tree && vma->start < addr && addr < vma->end);
    MUST((addr & (VMA_PAGE_BYTES - 1)) == 0);
    vma_copy_identity(spare, vma);
    spare->start = addr;
    spare->pgoff = vma_pgoff_at(vma, addr);
    set_extent(tree, vma, vma->start, addr);
    MUST(vma_tree_insert(tree, spare) == 0);
    if (list_is_linked(&vma->object_link))
        list_add(&vma->object_link, &spare->object_link);
}

/* The spare for the next split: first a, then b. */
static struct vma *take_spare(struct vma **a, struct vma **b)
{
    struct vma *spare = *a ? TAKE(*a) : TAKE(*b);

    MUST(spare != NULL);
    return spare;
}

struct vma *vma_isolate(struct vma_tree *tree, struct vma *vma, struct range range,
                        struct vma *spare_a, struct vma *spare_b)
{
    MUST(!range_is_empty(range) && range_contains_range(vma_range(vma), range));
    if (range.start > vma->start) {
        struct vma *upper = take_spare(&spare_a, &spare_b);

        vma_split(tree, vma, range.start, upper);
        vma = upper;
    }
    if (range.end < vma->end)
        vma_split(tree, vma, range.end, take_spare(&spare_a, &spare_b));
    return vma;
}

/* ---- merge ---- */

static bool is_same_mapping(const struct vma *a, const struct vma *b)
{
    return a->flags == b->flags && a->prot_narrow == b->prot_narrow && a->file == b->file &&
           a->object == b->object && a->owner == b->owner && a->ops_id == b->ops_id &&
           a->ops_set == b->ops_set && a->private_data == b->private_data &&
           a->direct == b->direct && a->graduated == b->graduated &&
           a->outside_arena == b->outside_arena;
}

/* Whether @neighbour, in the tree, may take a part like @other in. */
static bool may_extend(const struct vma *neighbour, const struct vma *other)
{
    return neighbour && neighbour->kind == VMA_MAPPED && !neighbour->write_locked &&
           (other->flags & VMF_SPECIAL) == 0 && is_same_mapping(neighbour, other);
}

static struct vma *mergeable_prev(const struct vma_tree *tree, const struct vma *proposed)
{
    struct vma *prev = proposed->start > 0 ? lookup(tree, proposed->start - 1) : NULL;

    if (!may_extend(prev, proposed) || prev->end != proposed->start ||
        prev->pgoff + vma_n_pages(prev) != proposed->pgoff)
        return NULL;
    return prev;
}

static struct vma *mergeable_next(const struct vma_tree *tree, const struct vma *proposed)
{
    struct vma *next = lookup(tree, proposed->end);

    if (!may_extend(next, proposed) || next->start != proposed->end ||
        proposed->pgoff + vma_n_pages(proposed) != next->pgoff)
        return NULL;
    return next;
}

enum vma_merge_kind vma_merge_new_decide(struct vma_tree *tree, const struct vma *proposed,
                                         struct vma **ret_prev, struct vma **ret_next)
{
    struct vma *prev = mergeable_prev(tree, proposed);
    struct vma *next = mergeable_next(tree, proposed);

    if (prev && next && next->has_close)
        next = NULL; /* it would be removed: extend prev only */
    *ret_prev = prev;
    *ret_next = next;
    if (prev && next)
        return VMA_MERGE_BOTH;
    if (prev)
        return VMA_MERGE_LEFT;
    return next ? VMA_MERGE_RIGHT : VMA_MERGE_NONE;
}

/* @gone leaves the tree and its object's list: @survivor is about to cover it. */
static void absorb(struct vma_tree *tree, struct vma *survivor, struct vma *gone)
{
    survivor->n_faults += gone->n_faults;
    list_del(&gone->object_link);
    vma_tree_remove(tree, gone);
}

struct vma *vma_merge_new_commit(struct vma_tree *tree, enum vma_merge_kind kind, struct vma *prev,
                                 struct vma *next, struct range range, struct vma **ret_removed)
{
    MUST(!vma_tree_overlaps(tree, range));
    *ret_removed = NULL;
    switch (kind) {
    case VMA_MERGE_LEFT:
        MUST(prev && prev->end == range.start);
        set_extent(tree, prev, prev->start, range.end);
        return prev;
    case VMA_MERGE_RIGHT:
        MUST(next && next->start == range.end);
        set_extent(tree, next, range.start, next->end);
        return next;
    case VMA_MERGE_BOTH:
        MUST(prev && next && prev->end == range.start && next->start == range.end);
        absorb(tree, prev, next);
        set_extent(tree, prev, prev->start, next->end);
        *ret_removed = next;
        return prev;
    case VMA_MERGE_NONE:
        break;
    }
    MUST(kind != VMA_MERGE_NONE);
    return NULL;
}

enum vma_merge_kind vma_merge_existing_decide(struct vma_tree *tree, const struct vma *mid,
                                              const struct vma_change *change)
{
    struct vma proposed = *mid; /* never linked: only compared */
    struct vma *prev;
    struct vma *next;

    MUST(mid->in_tree && !range_is_empty(change->range));
    MUST(range_contains_range(vma_range(mid), change->range));
    if (range_equal(vma_range(mid), change->range) && mid->has_close)
        return VMA_MERGE_NONE; /* any merge would remove it */
    proposed.start = change->range.start;
    proposed.end = change->range.end;
    proposed.pgoff = vma_pgoff_at(mid, change->range.start);
    proposed.flags = change->flags;
    proposed.prot_narrow = change->prot_narrow;
    /* at an edge inside mid the neighbour found is mid itself, which does not end there */
    return vma_merge_new_decide(tree, &proposed, &prev, &next);
}

static void remove_into(struct vma_tree *tree, struct vma *survivor, struct vma *gone,
                        struct list *removed)
{
    absorb(tree, survivor, gone);
    list_add_tail(removed, &gone->link);
}

struct vma *vma_merge_existing_commit(struct vma_tree *tree, enum vma_merge_kind kind,
                                      struct vma *mid, struct range range, struct list *removed)
{
    bool all = range_equal(vma_range(mid), range);
    struct vma *prev = vma_prev(mid);
    struct vma *next = vma_next(mid);

    switch (kind) {
    case VMA_MERGE_LEFT:
        MUST(prev && prev->end == range.start && mid->start == range.start);
        if (all) {
            remove_into(tree, prev, mid, removed);
        } else {
            set_extent(tree, mid, range.end, mid->end);
        }
        set_extent(tree, prev, prev->start, range.end);
        return prev;
    case VMA_MERGE_RIGHT:
        MUST(next && next->start == range.end && mid->end == range.end);
        if (all) {
            remove_into(tree, next, mid, removed);
        } else {
            set_extent(tree, mid, mid->start, range.start);
        }
        set_extent(tree, next, range.start, next->end);
        return next;
    case VMA_MERGE_BOTH:
        MUST(all && prev && next && prev->end == range.start && next->start == range.end);
        remove_into(tree, prev, mid, removed);
        remove_into(tree, prev, next, removed);
        set_extent(tree, prev, prev->start, next->end);
        return prev;
    case VMA_MERGE_NONE:
        break;
    }
    MUST(kind != VMA_MERGE_NONE);
    return NULL;
}

/* ---- unmap ---- */

void vma_unmap_plan(const struct vma_tree *tree, struct range range,
                    struct vma_unmap_plan *ret_plan)
{
    struct vma_unmap_plan plan = {.range = range};
    struct vma *vma;

    vma_for_each_in(vma, tree, range.start, range.end) {
        if (vma->kind != VMA_MAPPED)
            continue;
        if (!plan.first)
            plan.first = vma;
        plan.last = vma;
        plan.n_vmas++;
        if (vma->start < range.start)
            plan.cut_start = vma;
        if (vma->end > range.end)
            plan.cut_end = vma;
    }
    plan.n_splits = (plan.cut_start ? 1U : 0U) + (plan.cut_end ? 1U : 0U);
    *ret_plan = plan;
}

void vma_unmap_commit(struct vma_tree *tree, struct range range, struct vma *spare_a,
                      struct vma *spare_b, struct list *removed)
{
    struct vma_unmap_plan plan;
    struct vma *vma;
    struct vma *next;

    vma_unmap_plan(tree, range, &plan);
    if (plan.cut_start) {
        struct vma *upper = take_spare(&spare_a, &spare_b);

        vma_split(tree, plan.cut_start, range.start, upper);
        if (plan.cut_end == plan.cut_start)
            plan.cut_end = upper;
        plan.first = upper; /* the lower half stays */
    }
    if (plan.cut_end)
        vma_split(tree, plan.cut_end, range.end, take_spare(&spare_a, &spare_b));

    for (vma = plan.first; vma && vma->start < range.end; vma = next) {
        next = vma_next(vma);
        if (vma->kind != VMA_MAPPED)
            continue;
        vma_tree_remove(tree, vma);
        list_add_tail(removed, &vma->link);
    }
}
