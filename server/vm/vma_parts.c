/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/vm/vma_parts.h"

#include <errno.h>
#include <stdlib.h>

/* Owned by the VMAs that point to it. Written to only while one of them exists. */
struct vma_parts {
    unsigned n_refs, n, n_room;
    struct range *pages; /* owned; 4 KiB pages of the object, by their start; may overlap */
};

struct vma_parts *vma_parts_ref(struct vma_parts *parts)
{
    if (parts)
        parts->n_refs++;
    return parts;
}

void vma_parts_unref(struct vma_parts *parts)
{
    if (parts && --parts->n_refs == 0) {
        free(parts->pages);
        free(parts);
    }
}

int vma_parts_reserve(struct vma *vma, unsigned n)
{
    struct vma_parts *parts = vma->parts;
    struct range *pages;

    if (!parts) {
        parts = vma->parts = calloc(1, sizeof(*parts));
        if (!parts)
            return -ENOMEM;
        parts->n_refs = 1;
    }
    if (n > VMA_PARTS_MAX - parts->n)
        return -ENOMEM;
    if (parts->n + n <= parts->n_room)
        return 0;
    pages = realloc(parts->pages, (parts->n + n) * sizeof(*pages));
    if (!pages)
        return -ENOMEM;
    parts->pages = pages;
    parts->n_room = parts->n + n;
    return 0;
}

void vma_parts_add(struct vma *vma, struct range addrs)
{
    struct vma_parts *parts = vma->parts;
    const uint64_t first = vma_pgoff_at(vma, addrs.start);
    unsigned at;

    MUST(parts && parts->n_refs == 1 && parts->n < parts->n_room);
    MUST(range_contains_range(vma_range(vma), addrs));
    for (at = parts->n++; at > 0 && parts->pages[at - 1].start > first; at--)
        parts->pages[at] = parts->pages[at - 1];
    parts->pages[at] = (struct range){first, first + (range_len(addrs) >> VMA_PAGE_SHIFT)};
}

/* The first page at or behind @page that is in no part. */
static uint64_t leave_parts(const struct vma_parts *parts, uint64_t page)
{
    for (unsigned i = 0; i < parts->n; i++) {
        if (range_contains(parts->pages[i], page))
            page = parts->pages[i].end;
    }
    return page;
}

struct range vma_parts_served(const struct vma *vma, uint64_t addr)
{
    struct range pages = {vma_pgoff_at(vma, addr), vma_pages(vma).end};

    if (vma->parts) {
        pages.start = leave_parts(vma->parts, pages.start);
        for (unsigned i = 0; i < vma->parts->n; i++) {
            const uint64_t start = vma->parts->pages[i].start;

            if (start > pages.start && start < pages.end)
                pages.end = start;
        }
    }
    if (pages.start >= pages.end)
        return (struct range){vma->end, vma->end};
    return (struct range){vma->start + ((pages.start - vma->pgoff) << VMA_PAGE_SHIFT),
                          vma->start + ((pages.end - vma->pgoff) << VMA_PAGE_SHIFT)};
}

bool vma_parts_is_one(const struct vma *vma, struct range addrs)
{
    const uint64_t first = vma_pgoff_at(vma, addrs.start);
    const struct range pages = {first, first + (range_len(addrs) >> VMA_PAGE_SHIFT)};

    for (unsigned i = 0; vma->parts && i < vma->parts->n; i++) {
        if (range_overlaps(vma->parts->pages[i], pages) &&
            !range_contains_range(vma->parts->pages[i], pages))
            return false;
    }
    return true;
}
