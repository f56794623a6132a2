/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of a pool of huge pages: who has one, and who has only been promised one. Pure.
 *
 *   n_pages = used + reserved + available
 *
 * A page of a file is of one of these kinds:
 *
 *   none       nobody was promised it; a touch gets one of the available ones, or nothing
 *   reserved   it is promised to mappings: those being made count in n_pending, one that was made
 *              sets is_committed, which lasts until the file is cut off or ends
 *   used       it has a slot of the pool
 *
 * Two mappings that are made at once may be promised the same page. It is given back when the last of
 * them comes to nothing, and not when the first does.
 */
#ifndef MUSE_DRIVERS_HUGETLB_POOL_H
#define MUSE_DRIVERS_HUGETLB_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/must.h"

#define POOL_PAGES_MAX 65536u   /* 128 GiB; chosen */
#define FILE_PAGES_MAX 1048576u /* 2 TiB, most of it never touched; chosen */

struct pool {
    uint32_t n_pages, n_used, n_reserved;
    uint32_t *free_slots; /* owned: a stack; those that nobody uses */
};

struct file_page {
    uint32_t slot; /* of the pool, from 1 on; 0: none */
    uint32_t n_pending    : 31;
    uint32_t is_committed : 1;
};

/* The pages of one file, reserved ones behind its end, too. */
struct file_pages {
    struct file_page *pages; /* owned */
    uint32_t n_pages;
};

/** pool_init() - all are available. Return: 0; -EINVAL; -ENOMEM. */
MUST_CHECK int pool_init(struct pool *pool, uint64_t n_pages);

void pool_done(struct pool *pool);

/** pool_available() - neither used nor reserved */
uint32_t pool_available(const struct pool *pool);

/** pool_reserve() - for whoever counts them. Return: 0; -ENOMEM: there are not as many. */
MUST_CHECK int pool_reserve(struct pool *pool, uint64_t n_pages);

/** pool_unreserve() - of those that pool_reserve() gave */
void pool_unreserve(struct pool *pool, uint64_t n_pages);

/**
 * file_pages_reserve() - a mapping of these pages is being made
 *
 * Only what no other mapping was promised and no page is there for takes one of the pool. Return: 0, to
 * be ended by file_pages_commit() or file_pages_release(); -EFBIG; -ENOMEM, with nothing changed.
 */
MUST_CHECK int file_pages_reserve(struct pool *pool, struct file_pages *file, uint64_t first,
                                  uint64_t n_pages);

/** file_pages_commit() - it was made */
void file_pages_commit(struct pool *pool, struct file_pages *file, uint64_t first,
                       uint64_t n_pages);

/** file_pages_release() - it came to nothing */
void file_pages_release(struct pool *pool, struct file_pages *file, uint64_t first,
                        uint64_t n_pages);

/**
 * file_pages_take() - a page is touched
 * @ret_slot: of the pool, from 0 on
 *
 * Return: 1 it is new: its bytes are what the last one left; 0 it was there; -EFBIG; -ENOMEM: the pool is
 * dry, or there is no memory.
 */
MUST_CHECK int file_pages_take(struct pool *pool, struct file_pages *file, uint64_t page,
                               uint32_t *ret_slot);

/** file_pages_find() - Return: its slot, from 0 on; -1: it is not there. */
int64_t file_pages_find(const struct file_pages *file, uint64_t page);

/** file_pages_is_reserved() - whether it is promised to mappings, and is not there */
bool file_pages_is_reserved(const struct file_pages *file, uint64_t page);

/** file_pages_cut() - [first, end) is no part of the file any more, but for mappings being made */
void file_pages_cut(struct pool *pool, struct file_pages *file, uint64_t first, uint64_t end);

/** file_pages_done() - the file has gone, and no mapping of it is being made */
void file_pages_done(struct pool *pool, struct file_pages *file);

#endif
