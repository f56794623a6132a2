/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vma_tree.h - the ordered, non-overlapping set of VMAs of a space
 *
 * A red-black tree by address in which every node knows the extent of its subtree and the widest
 * hole in it, so that finding a VMA, its neighbours and the highest free range are all O(log n).
 * Changes that can fail (allocations, the driver's may_split) come first and are the caller's;
 * everything named _commit, and vma_split(), returns void and cannot fail.
 *
 * Owns the VMAs that are in it. Callers: aspace.c, server/{map,fault,flow}.
 * Deliberately not here: limits, the choice of an address for a request (aspace.h), hooks.
 */
#ifndef MUSE_SERVER_VM_VMA_TREE_H
#define MUSE_SERVER_VM_VMA_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/range.h"
#include "common/base/rbtree.h"
#include "server/vm/vma.h"

/* Conditions: callers handle these. */
enum {
    VMA_TREE_E_OVERLAP = 1, /* something stands in the range already */
    VMA_TREE_E_NO_GAP,      /* no free range is wide enough */
};

struct vma_tree {
    struct rb_root root;
    struct vma *last_hit; /* borrowed from the tree: what vma_tree_find() gave last, or NULL */
    uint32_t n_kind[VMA_KIND_N];
};

/** vma_tree_init() - an empty tree, in place */
void vma_tree_init(struct vma_tree *tree);

/** vma_tree_done() - free all VMAs that are left; the tree is empty and usable afterwards */
void vma_tree_done(struct vma_tree *tree);

/**
 * vma_tree_find() - what stands at an address
 * @tree: its last-hit cache is updated
 * @addr: bytes, any alignment
 *
 * Return: the VMA that contains @addr, borrowed, of whatever kind: look at vma->kind; or NULL.
 */
struct vma *vma_tree_find(struct vma_tree *tree, uint64_t addr);

/**
 * vma_tree_find_next() - the first VMA that ends above an address: it contains it or lies above
 * @tree: borrowed
 * @addr: bytes, any alignment
 *
 * Return: borrowed, of whatever kind; or NULL.
 */
struct vma *vma_tree_find_next(const struct vma_tree *tree, uint64_t addr);

/** vma_tree_first() - the VMA with the lowest address, borrowed, or NULL */
struct vma *vma_tree_first(const struct vma_tree *tree);

/** vma_next() - the VMA above @vma in its tree, borrowed, or NULL */
struct vma *vma_next(const struct vma *vma);

/** vma_prev() - the VMA below @vma in its tree, borrowed, or NULL */
struct vma *vma_prev(const struct vma *vma);

/* Every VMA by address. The tree must not change meanwhile. */
#define vma_for_each(pos, tree)                                                                    \
    for ((pos) = vma_tree_first(tree); (pos) != NULL; (pos) = vma_next(pos))

/* The same for every VMA that overlaps [from, to); for none when that is empty. */
#define vma_for_each_in(pos, tree, from, to)                                                       \
    for ((pos) = (from) < (to) ? vma_tree_find_next((tree), (from)) : NULL;                        \
         (pos) != NULL && (pos)->start < (to); (pos) = vma_next(pos))

/**
 * vma_tree_insert() - enter a VMA
 * @tree: takes @vma on success
 * @vma:  detached; start < end, both page aligned
 *
 * Return: 0 or VMA_TREE_E_OVERLAP.
 */
MUST_CHECK int vma_tree_insert(struct vma_tree *tree, struct vma *vma);

/** vma_tree_remove() - take @vma, which is in @tree, out again; it is the caller's then */
void vma_tree_remove(struct vma_tree *tree, struct vma *vma);

/** vma_tree_set_kind() - make @vma, which is in @tree, mapped, pending or quarantined */
void vma_tree_set_kind(struct vma_tree *tree, struct vma *vma, enum vma_kind kind);

/** vma_tree_count() - how many VMAs there are, of all kinds */
uint32_t vma_tree_count(const struct vma_tree *tree);

/** vma_tree_count_kind() - how many VMAs of one kind there are */
uint32_t vma_tree_count_kind(const struct vma_tree *tree, enum vma_kind kind);

/** vma_tree_overlaps() - whether anything, of whatever kind, stands in @range (bytes) */
bool vma_tree_overlaps(const struct vma_tree *tree, struct range range);

/**
 * vma_tree_gap_topdown() - the highest free range of a length
 * @tree:      borrowed
 * @limits:    bytes; the answer lies inside
 * @len:       bytes, not 0
 * @align:     bytes, a power of two, at least VMA_PAGE_BYTES
 * @ret_start: start of the range, a multiple of @align
 *
 * O(log n) for @align == VMA_PAGE_BYTES, and O(log n) more when a free range of @len + @align is
 * there. Only when a coarse alignment fits into none of the first VMA_TREE_GAP_TRIES free ranges
 * and no roomy one exists are all of them looked at; the highest one is then still found, but a
 * roomy one may be taken although a tight one lies above it.
 *
 * Return: 0 or VMA_TREE_E_NO_GAP.
 */
MUST_CHECK int vma_tree_gap_topdown(const struct vma_tree *tree, struct range limits, uint64_t len,
                                    uint64_t align, uint64_t *ret_start);

/* Chosen: enough for any sane layout, small against one system call. */
#define VMA_TREE_GAP_TRIES 64

/**
 * vma_tree_validate() - check every invariant. O(n).
 * @tree: borrowed
 *
 * Order, no overlap, alignment, augmentation, colours, counts, the last-hit cache.
 *
 * Return: NULL when all hold, else what does not (a static string).
 */
const char *vma_tree_validate(const struct vma_tree *tree);

/* ---- split ---- */

/**
 * vma_split() - cut a VMA in two
 * @tree:  has @vma
 * @vma:   becomes the lower half [start, addr)
 * @addr:  bytes, page aligned, inside @vma and not its start
 * @spare: detached, with the id it shall have; becomes the upper half [addr, end) with pgoff
 *         advanced, goes into the tree, and right behind @vma into its object's list
 *
 * The caller has asked may_split before and calls the driver's open for @spare afterwards.
 * Source: __split_vma() of mm/vma.c.
 */
void vma_split(struct vma_tree *tree, struct vma *vma, uint64_t addr, struct vma *spare);

/**
 * vma_isolate() - cut so that one VMA is exactly a range inside @vma: mprotect's, madvise's split
 * @tree:    has @vma
 * @vma:     keeps the lowest part
 * @range:   bytes, page aligned, not empty, inside @vma
 * @spare_a: detached; used when one edge of @range is inside @vma
 * @spare_b: detached; used as well when both are; spares not needed may be NULL
 *
 * Return: the VMA that is @range now: @vma, or @spare_a when @range starts inside @vma.
 */
struct vma *vma_isolate(struct vma_tree *tree, struct vma *vma, struct range range,
                        struct vma *spare_a, struct vma *spare_b);

/* ---- merge ---- */

enum vma_merge_kind {
    VMA_MERGE_NONE,
    VMA_MERGE_LEFT,  /* prev grows upwards */
    VMA_MERGE_RIGHT, /* next grows downwards */
    VMA_MERGE_BOTH,  /* prev grows over the range and next; next is removed */
};

/**
 * vma_merge_new_decide() - may a new mapping become part of its neighbours?
 * @tree:     borrowed; whatever stands in @proposed's own range (nothing, its placeholder, mappings
 *            that MAP_FIXED replaces) is not looked at
 * @proposed: not in the tree, or in it as PENDING; all fields as the finished VMA would have them
 * @ret_prev: the VMA to be extended upwards (LEFT, BOTH), else NULL
 * @ret_next: the VMA to be extended downwards (RIGHT) or removed (BOTH), else NULL
 *
 * A neighbour must touch the range. One that reaches into it (MAP_FIXED over a part of it) does
 * not: when a merge is wanted there, decide again after vma_unmap_commit().
 *
 * Merges need: no VMF_SPECIAL, same flags and prot_narrow, same file and object, contiguous pgoff,
 * same ops and private data, same direct, graduated and outside_arena, neighbour MAPPED and not
 * write-locked. A next with close is not removed: BOTH becomes LEFT.
 * Source: vma_merge_new_range() of mm/vma.c; docs: the hook contract, merge rules.
 *
 * Return: both sides if possible, else left, else right, else none.
 */
enum vma_merge_kind vma_merge_new_decide(struct vma_tree *tree, const struct vma *proposed,
                                         struct vma **ret_prev, struct vma **ret_next);

/**
 * vma_merge_new_commit() - carry out what vma_merge_new_decide() said
 * @tree:        holds nothing in @range: placeholder released, replaced mappings unmapped
 * @kind:        LEFT, RIGHT or BOTH
 * @prev:        as decided
 * @next:        as decided
 * @range:       the new part, bytes
 * @ret_removed: next after BOTH, off the tree and its object's list, the caller's to free; or NULL
 *
 * Return: the surviving VMA, borrowed from the tree.
 */
struct vma *vma_merge_new_commit(struct vma_tree *tree, enum vma_merge_kind kind, struct vma *prev,
                                 struct vma *next, struct range range, struct vma **ret_removed);

/* What an operation on an existing mapping (mprotect, madvise) will make of a part of it. */
struct vma_change {
    struct range range;   /* bytes, page aligned, not empty, inside the VMA */
    uint32_t flags;       /* VMF_ afterwards */
    uint32_t prot_narrow; /* PROT_ bits afterwards */
};

/**
 * vma_merge_existing_decide() - may a changed part of a VMA become part of the VMA's neighbours?
 * @tree:   has @mid
 * @mid:    the VMA to be changed, with its old flags still; may be write-locked by the caller
 * @change: the part and what it becomes
 *
 * A part that touches neither edge of @mid never merges. A VMA with close is not removed: all of
 * @mid changed and it has close: NONE; next has close: BOTH becomes LEFT.
 * Source: vma_merge_existing_range() of mm/vma.c, its eight cases are drawn in test_vma_merge.c.
 *
 * Return: both sides if possible, else left, else right, else none: then split with vma_isolate().
 */
enum vma_merge_kind vma_merge_existing_decide(struct vma_tree *tree, const struct vma *mid,
                                              const struct vma_change *change);

/**
 * vma_merge_existing_commit() - carry out what vma_merge_existing_decide() said
 * @tree:    unchanged since then
 * @kind:    LEFT, RIGHT or BOTH
 * @mid:     as decided about; shrunk, or removed when @range is all of it
 * @range:   the changed part, bytes
 * @removed: head; removed VMAs (mid, next: 0..2) are appended, off the tree and their object's list
 *
 * Return: the surviving VMA, borrowed from the tree; it has the new flags already.
 */
struct vma *vma_merge_existing_commit(struct vma_tree *tree, enum vma_merge_kind kind,
                                      struct vma *mid, struct range range, struct list *removed);

/* ---- unmap ---- */

/* What unmapping a range takes. Borrowed pointers, valid until the tree changes. */
struct vma_unmap_plan {
    struct range range;
    struct vma *first;     /* lowest mapping concerned, or NULL: nothing mapped there */
    struct vma *last;      /* highest one */
    uint32_t n_vmas;       /* mappings concerned; placeholders between them are not counted */
    struct vma *cut_start; /* the mapping to be split at range.start, or NULL */
    struct vma *cut_end;   /* the mapping to be split at range.end, or NULL; may be the same */
    uint32_t n_splits;     /* 0..2: as many spares vma_unmap_commit() needs */
};

/**
 * vma_unmap_plan() - what unmapping a range takes; changes nothing
 * @tree:     borrowed
 * @range:    bytes, page aligned, may be empty of mappings
 * @ret_plan: valid until the tree changes
 *
 * Only mappings are concerned; pending and quarantined ranges stay. The caller asks may_split of
 * (cut_start, range.start), then of (cut_end, range.end), and allocates n_splits spares.
 * Source: vms_gather_munmap_vmas() of mm/vma.c.
 */
void vma_unmap_plan(const struct vma_tree *tree, struct range range,
                    struct vma_unmap_plan *ret_plan);

/**
 * vma_unmap_commit() - take every mapping inside a range off the tree, splitting at the edges
 * @tree:    unchanged since vma_unmap_plan()
 * @range:   as planned
 * @spare_a: detached, needed when the plan says one split or more
 * @spare_b: detached, needed when it says two; spares not needed stay the caller's, may be NULL
 * @removed: head; the mappings are appended in address order, the caller's to close and free.
 *           They stay on their object's list: the client can still see pages until it confirms.
 *
 * A VMA that is cut keeps its object and id for its lowest part, also when that part is removed.
 */
void vma_unmap_commit(struct vma_tree *tree, struct range range, struct vma *spare_a,
                      struct vma *spare_b, struct list *removed);

#endif
