/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reservation of one private mapping. It is its owner's only: mappings that fork(2) copied have none.
 * What is cut or moved takes its part along. Pure.
 */
#ifndef MUSE_DRIVERS_HUGETLB_OWNER_H
#define MUSE_DRIVERS_HUGETLB_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"
#include "drivers/hugetlb/pool.h"

struct owner {
    uint64_t space_id;
    uint64_t first;   /* page of the file */
    uint64_t *vma_of; /* owned: which VMA holds each page's reservation; 0: none any more */
    uint32_t n_pages;
    uint32_t n_vmas; /* that have this one as their private data, copies too */
};

/** owner_new() - a mapping is being made. Return: 0; -ENOMEM: the pool has not as many. */
MUST_CHECK int owner_new(struct pool *pool, uint64_t space_id, uint64_t first, uint64_t n_pages,
                         struct owner **ret_owner);

/** owner_abort() - it came to nothing. Frees @owner. */
void owner_abort(struct pool *pool, struct owner *owner);

/** owner_made() - it is this VMA */
void owner_made(struct owner *owner, uint64_t vma_id);

/** owner_open() - a VMA was copied: a part cut off, a moved mapping, or in a child of fork(2) */
void owner_open(struct owner *owner, uint64_t space_id, uint64_t vma_id, uint64_t first,
                uint64_t n_pages);

/** owner_close() - a VMA ended: what it held goes back. Return: whether it was the last, and @owner is
 * freed. */
bool owner_close(struct pool *pool, struct owner *owner, uint64_t vma_id);

#endif
