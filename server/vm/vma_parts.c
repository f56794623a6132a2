/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/vm/vma_parts.h"

#include <errno.h>
#include <stdlib.h>

/* Owned by the VMAs that point to it. Written to only while one of them exists. */
struct vma_parts {
    unsigned n_refs, n;
    struct range pages[VMA_PARTS_MAX]; /* 4 KiB pages of the object */
};

struct vma_parts *vma_parts_ref(struct vma_parts *parts)
{
    if (parts)
        parts->n_refs++;
    return parts;
}

void vma_parts_unref(struct vma_parts *parts)
{
    if (parts && --parts->n_refs == 0)
        free(parts);
}

int vma_parts_reserve(struct vma *vma)
{
    if (!vma->parts) {
        vma->parts = calloc(1, sizeof(*vma->parts));
        if (!vma->parts)
            return -ENOMEM;
        vma->parts->n_refs = 1;
    }
    return vma->parts->n < VMA_PARTS_MAX ? 0 : -ENOMEM;
}

void vma_parts_add(struct vma *vma, struct range addrs)
{
    struct vma_parts *parts = vma->parts;

    MUST(parts && parts->n_refs == 1 && parts->n < VMA_PARTS_MAX);
    MUST(range_contains_range(vma_range(vma), addrs));
    parts->pages[parts->n++] =
        (struct range){vma_pgoff_at(vma, addrs.start),
                       vma_pgoff_at(vma, addrs.start) + (range_len(addrs) >> VMA_PAGE_SHIFT)};
}

/* The first page at or behind @page that is in no part. */
static uint64_t leave_parts(const struct vma_parts *parts, uint64_t page)
{
    unsigned i = 0;

    while (i < parts->n) {
        if (range_contains(parts->pages[i], page)) {
            page = parts->pages[i].end;
            i = 0;
        } else {
            i++;
        }
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
