/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides. Owns two arrays. */
#include "drivers/hugetlb/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/own.h"

int pool_init(struct pool *pool, uint64_t n_pages)
{
    if (n_pages == 0 || n_pages > POOL_PAGES_MAX)
        return -EINVAL;
    *pool = (struct pool){.n_pages = (uint32_t)n_pages};
    pool->free_slots = malloc(n_pages * sizeof(*pool->free_slots));
    if (!pool->free_slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < pool->n_pages; i++)
        pool->free_slots[i] = pool->n_pages - 1 - i;
    return 0;
}

void pool_done(struct pool *pool)
{
    free(pool->free_slots);
    *pool = (struct pool){.n_pages = 0};
}

uint32_t pool_available(const struct pool *pool)
{
    return pool->n_pages - pool->n_used - pool->n_reserved;
}

int pool_reserve(struct pool *pool, uint64_t n_pages)
{
    if (n_pages > pool_available(pool))
        return -ENOMEM;
    pool->n_reserved += (uint32_t)n_pages;
    return 0;
}

void pool_unreserve(struct pool *pool, uint64_t n_pages)
{
    MUST(n_pages <= pool->n_reserved);
    pool->n_reserved -= (uint32_t)n_pages;
}

/* ---- pages of files ---- */

static bool is_reserved(const struct file_page *page)
{
    return page->slot == 0 && (page->n_pending > 0 || page->is_committed);
}

/* @page was as @before. */
static void account(struct pool *pool, const struct file_page *page, struct file_page before)
{
    if (is_reserved(&before) && !is_reserved(page))
        pool_unreserve(pool, 1);
    if (!is_reserved(&before) && is_reserved(page))
        MUST(pool_reserve(pool, 1) == 0);
}

/* Room for [0, end). Return: 0; -EFBIG; -ENOMEM. */
static int make_room(struct file_pages *file, uint64_t end)
{
    struct file_page *pages;
    uint64_t room = file->n_pages > 0 ? file->n_pages : 16;

    if (end > FILE_PAGES_MAX)
        return -EFBIG;
    if (end <= file->n_pages)
        return 0;
    while (room < end)
        room *= 2;
    pages = realloc(file->pages, room * sizeof(*pages));
    if (!pages)
        return -ENOMEM;
    memset(pages + file->n_pages, 0, (room - file->n_pages) * sizeof(*pages));
    file->pages = pages;
    file->n_pages = (uint32_t)room;
    return 0;
}

int file_pages_reserve(struct pool *pool, struct file_pages *file, uint64_t first, uint64_t n_pages)
{
    uint64_t n_new = 0;
    int r;

    if (n_pages > FILE_PAGES_MAX || first > FILE_PAGES_MAX - n_pages)
        return -EFBIG;
    r = make_room(file, first + n_pages);
    if (r < 0)
        return r;
    for (uint64_t i = first; i < first + n_pages; i++)
        n_new += file->pages[i].slot == 0 && !is_reserved(&file->pages[i]);
    if (n_new > pool_available(pool))
        return -ENOMEM;
    for (uint64_t i = first; i < first + n_pages; i++) {
        const struct file_page before = file->pages[i];

        file->pages[i].n_pending++;
        account(pool, &file->pages[i], before);
    }
    return 0;
}

static void end_pending(struct pool *pool, struct file_pages *file, uint64_t first,
                        uint64_t n_pages, bool is_made)
{
    for (uint64_t i = first; i < first + n_pages; i++) {
        struct file_page *page = &file->pages[i];
        const struct file_page before = *page;

        MUST(page->n_pending > 0);
        page->n_pending--;
        if (is_made)
            page->is_committed = 1;
        account(pool, page, before);
    }
}

void file_pages_commit(struct pool *pool, struct file_pages *file, uint64_t first, uint64_t n_pages)
{
    end_pending(pool, file, first, n_pages, true);
}

void file_pages_release(struct pool *pool, struct file_pages *file, uint64_t first,
                        uint64_t n_pages)
{
    end_pending(pool, file, first, n_pages, false);
}

int file_pages_take(struct pool *pool, struct file_pages *file, uint64_t page, uint32_t *ret_slot)
{
    int r = page < FILE_PAGES_MAX ? make_room(file, page + 1) : -EFBIG;
    struct file_page *found;
    struct file_page before;

    if (r < 0)
        return r;
    found = &file->pages[page];
    if (found->slot != 0) {
        *ret_slot = found->slot - 1;
        return 0;
    }
    if (!is_reserved(found) && pool_available(pool) == 0)
        return -ENOMEM;
    before = *found;
    *ret_slot = pool->free_slots[pool->n_pages - pool->n_used - 1];
    found->slot = *ret_slot + 1;
    account(pool, found, before);
    pool->n_used++;
    return 1;
}

int64_t file_pages_find(const struct file_pages *file, uint64_t page)
{
    return page < file->n_pages ? (int64_t)file->pages[page].slot - 1 : -1;
}

bool file_pages_is_reserved(const struct file_pages *file, uint64_t page)
{
    return page < file->n_pages && is_reserved(&file->pages[page]);
}

void file_pages_cut(struct pool *pool, struct file_pages *file, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end && i < file->n_pages; i++) {
        struct file_page *page = &file->pages[i];
        const struct file_page before = *page;

        if (page->slot != 0) {
            pool->n_used--;
            pool->free_slots[pool->n_pages - pool->n_used - 1] = page->slot - 1;
        }
        page->slot = 0;
        page->is_committed = 0;
        account(pool, page, before);
    }
}

void file_pages_done(struct pool *pool, struct file_pages *file)
{
    file_pages_cut(pool, file, 0, file->n_pages);
    free(file->pages);
    *file = (struct file_pages){.pages = NULL};
}
