/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aspace.c - the addresses of one client: arena, placeholders, and the choice of an address
 *
 * Owns the VMA tree. Called by the map and flow folders. Decides only: it neither tells the client
 * nor asks a driver, and charges nobody.
 */
#include "server/vm/aspace.h"

#include <errno.h>
#include <sys/mman.h>

bool aspace_arena_is_sane(struct range arena)
{
    return !range_is_empty(arena) && arena.end <= ASPACE_TASK_END &&
           range_is_aligned(arena, VMA_PAGE_BYTES);
}

void aspace_init(struct aspace *aspace, struct range arena, uint32_t max_vmas)
{
    MUST(aspace_arena_is_sane(arena) && max_vmas > 0);
    *aspace = (struct aspace){.arena = arena, .max_vmas = max_vmas};
    vma_tree_init(&aspace->vmas);
    list_init(&aspace->quarantine);
}

void aspace_done(struct aspace *aspace)
{
    vma_tree_done(&aspace->vmas); /* a freed VMA leaves the quarantine list */
    MUST(list_is_empty(&aspace->quarantine));
}

bool aspace_is_outside(const struct aspace *aspace, struct range range)
{
    return !range_overlaps(aspace->arena, range);
}

/* ---- choosing an address ---- */

/* [start, start + len) if that is below the end of user addresses. */
static bool user_range(uint64_t start, uint64_t len, struct range *ret_range)
{
    if (len > ASPACE_TASK_END || start > ASPACE_TASK_END - len)
        return false;
    *ret_range = (struct range){start, start + len};
    return true;
}

/* Whether a pending or quarantined range stands in @range. */
static bool is_held(const struct aspace *aspace, struct range range)
{
    const struct vma *vma;

    vma_for_each_in(vma, &aspace->vmas, range.start, range.end) {
        if (vma->kind != VMA_MAPPED)
            return true;
    }
    return false;
}

static int choose_fixed(const struct aspace *aspace, uint64_t addr, uint64_t len, uint64_t align,
                        int map_flags, struct range *ret_range)
{
    struct range range;

    if (!user_range(addr, len, &range))
        return -ENOMEM;
    if ((addr & (align - 1)) != 0)
        return -EINVAL;
    if (!aspace_is_outside(aspace, range) && !range_contains_range(aspace->arena, range))
        return -EINVAL;
    if ((map_flags & MAP_FIXED_NOREPLACE) && vma_tree_overlaps(&aspace->vmas, range))
        return -EEXIST;
    if (is_held(aspace, range))
        return ASPACE_E_BUSY;
    *ret_range = range;
    return 0;
}

/* The client's wish, when it can be had. */
static bool choose_hinted(const struct aspace *aspace, uint64_t hint, uint64_t len, uint64_t align,
                          struct range *ret_range)
{
    struct range range;
    uint64_t start;

    if (hint == 0 || __builtin_add_overflow(hint & ~(VMA_PAGE_BYTES - 1), align - 1, &start))
        return false;
    if (!user_range(start & ~(align - 1), len, &range))
        return false;
    if (!range_contains_range(aspace->arena, range) || vma_tree_overlaps(&aspace->vmas, range))
        return false;
    *ret_range = range;
    return true;
}

int aspace_choose(const struct aspace *aspace, uint64_t hint, uint64_t len, uint64_t align,
                  int map_flags, struct range *ret_range)
{
    uint64_t start;

    MUST(align >= VMA_PAGE_BYTES && (align & (align - 1)) == 0);
    if (len == 0)
        return -EINVAL;
    if (__builtin_add_overflow(len, VMA_PAGE_BYTES - 1, &len))
        return -ENOMEM;
    len &= ~(VMA_PAGE_BYTES - 1);
    if (map_flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
        return choose_fixed(aspace, hint, len, align, map_flags, ret_range);
    if (choose_hinted(aspace, hint, len, align, ret_range))
        return 0;
    if (vma_tree_gap_topdown(&aspace->vmas, aspace->arena, len, align, &start) != 0)
        return -ENOMEM;
    *ret_range = (struct range){start, start + len};
    return 0;
}

/* ---- limits ---- */

int aspace_check_map(const struct aspace *aspace)
{
    return vma_tree_count(&aspace->vmas) > aspace->max_vmas ? -ENOMEM : 0;
}

int aspace_check_split(const struct aspace *aspace)
{
    return vma_tree_count(&aspace->vmas) >= aspace->max_vmas ? -ENOMEM : 0;
}

int aspace_check_unmap(const struct aspace *aspace, const struct vma_unmap_plan *plan)
{
    if (!plan->cut_start || plan->cut_start != plan->cut_end)
        return 0;
    return aspace_check_split(aspace);
}

/* ---- placeholders ---- */

int aspace_hold(struct aspace *aspace, struct range range, struct vma *placeholder)
{
    placeholder->start = range.start;
    placeholder->end = range.end;
    placeholder->kind = VMA_PENDING;
    return vma_tree_insert(&aspace->vmas, placeholder);
}

void aspace_establish(struct aspace *aspace, struct vma *vma)
{
    MUST(vma->kind == VMA_PENDING);
    vma_tree_set_kind(&aspace->vmas, vma, VMA_MAPPED);
}

void aspace_release(struct aspace *aspace, struct vma *placeholder)
{
    MUST(placeholder->kind != VMA_MAPPED);
    vma_tree_remove(&aspace->vmas, placeholder);
    list_del(&placeholder->link);
}

void aspace_quarantine(struct aspace *aspace, struct vma *vma)
{
    list_del(&vma->link);
    list_del(&vma->object_link);
    vma->file = NULL;
    vma->object = NULL;
    if (vma->in_tree) {
        MUST(vma->kind == VMA_PENDING);
        vma_tree_set_kind(&aspace->vmas, vma, VMA_QUARANTINE);
    } else {
        vma->kind = VMA_QUARANTINE;
        MUST(vma_tree_insert(&aspace->vmas, vma) == 0);
    }
    list_add_tail(&aspace->quarantine, &vma->link);
}

void aspace_confirm(struct aspace *aspace, struct range range, struct list *removed)
{
    struct vma *vma = vma_tree_find_next(&aspace->vmas, range.start);
    struct vma *next;

    for (; vma && vma->start < range.end; vma = next) {
        next = vma_next(vma);
        if (vma->kind != VMA_QUARANTINE || !range_contains_range(range, vma_range(vma)))
            continue;
        aspace_release(aspace, vma);
        list_add_tail(removed, &vma->link);
    }
}

/* ---- validation ---- */

static const char *place_problem(const struct aspace *aspace, const struct vma *vma)
{
    bool outside = aspace_is_outside(aspace, vma_range(vma));

    if (!outside && !range_contains_range(aspace->arena, vma_range(vma)))
        return "a VMA lies half in the arena";
    if (vma->kind == VMA_MAPPED && vma->outside_arena != outside)
        return "a mapping is wrong about lying outside the arena";
    if (vma->kind == VMA_QUARANTINE && !list_is_linked(&vma->link))
        return "a quarantined range is not on the list";
    if (vma->kind == VMA_QUARANTINE && list_is_linked(&vma->object_link))
        return "a quarantined range is on an object's list of mappings";
    return NULL;
}

const char *aspace_validate(const struct aspace *aspace)
{
    const char *problem = vma_tree_validate(&aspace->vmas);
    const struct vma *vma;
    struct list *link;
    uint32_t n_listed = 0;

    if (problem)
        return problem;
    vma_for_each(vma, &aspace->vmas) {
        problem = place_problem(aspace, vma);
        if (problem)
            return problem;
    }
    list_for_each(link, &aspace->quarantine) {
        if (!vma_from_link(link)->in_tree || vma_from_link(link)->kind != VMA_QUARANTINE)
            return "something else is on the quarantine list";
        n_listed++;
    }
    if (n_listed != vma_tree_count_kind(&aspace->vmas, VMA_QUARANTINE))
        return "the quarantine list is not complete";
    return NULL;
}

uint64_t aspace_mapped_bytes(const struct aspace *aspace, struct range range)
{
    uint64_t n_bytes = 0;
    const struct vma *vma;

    vma_for_each_in(vma, &aspace->vmas, range.start, range.end)
        if (vma->kind == VMA_MAPPED)
            n_bytes += range_len(range_intersect(vma_range(vma), range));
    return n_bytes;
}
