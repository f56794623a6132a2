/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A copy takes over what it covers. When a mapping is cut, that is the part; when it is moved, all of
 * it, and the old VMA closes with nothing left.
 */
#include "drivers/hugetlb/owner.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"

#define BEING_MADE UINT64_MAX

static void owner_free(struct owner *owner)
{
    free(owner->vma_of);
    free(owner);
}

int owner_new(struct pool *pool, uint64_t space_id, uint64_t first, uint64_t n_pages,
              struct owner **ret_owner)
{
    CLEAN(free_p) struct owner *owner = NULL;
    int r = pool_reserve(pool, n_pages);

    if (r < 0)
        return r;
    owner = calloc(1, sizeof(*owner));
    if (owner)
        owner->vma_of = malloc(n_pages * sizeof(*owner->vma_of));
    if (!owner || !owner->vma_of) {
        pool_unreserve(pool, n_pages);
        return -ENOMEM;
    }
    owner->space_id = space_id;
    owner->first = first;
    owner->n_pages = (uint32_t)n_pages;
    for (uint64_t i = 0; i < n_pages; i++)
        owner->vma_of[i] = BEING_MADE;
    *ret_owner = TAKE(owner);
    return 0;
}

static void let_go(struct pool *pool, struct owner *owner, uint64_t vma_id)
{
    for (uint32_t i = 0; i < owner->n_pages; i++) {
        if (owner->vma_of[i] == vma_id) {
            owner->vma_of[i] = 0;
            pool_unreserve(pool, 1);
        }
    }
}

void owner_abort(struct pool *pool, struct owner *owner)
{
    let_go(pool, owner, BEING_MADE);
    owner_free(owner);
}

void owner_made(struct owner *owner, uint64_t vma_id)
{
    for (uint32_t i = 0; i < owner->n_pages; i++)
        owner->vma_of[i] = vma_id;
    owner->n_vmas = 1;
}

void owner_open(struct owner *owner, uint64_t space_id, uint64_t vma_id, uint64_t first,
                uint64_t n_pages)
{
    owner->n_vmas++;
    if (space_id != owner->space_id)
        return;
    for (uint32_t i = 0; i < owner->n_pages; i++) {
        const uint64_t page = owner->first + i;

        if (page >= first && page - first < n_pages && owner->vma_of[i] != 0)
            owner->vma_of[i] = vma_id;
    }
}

bool owner_close(struct pool *pool, struct owner *owner, uint64_t vma_id)
{
    let_go(pool, owner, vma_id);
    if (--owner->n_vmas > 0)
        return false;
    owner_free(owner);
    return true;
}
