/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vma.c - making, copying and freeing VMAs, and where pages of an object lie in one
 *
 * Owns nothing. Called by vma_tree.c, aspace.c and whoever holds a detached VMA. Knows no tree: a
 * VMA that is in one is never freed here.
 */
#include "server/vm/vma.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "server/vm/vma_parts.h"

int vma_new(uint64_t id, struct vma **ret_vma)
{
    struct vma *vma = calloc(1, sizeof(*vma));

    if (!vma)
        return -ENOMEM;
    vma->id = id;
    vma->kind = VMA_MAPPED;
    list_init(&vma->object_link);
    list_init(&vma->link);
    *ret_vma = vma;
    return 0;
}

struct vma *vma_free(struct vma *vma)
{
    if (!vma)
        return NULL;
    MUST(!vma->in_tree);
    list_del(&vma->object_link);
    list_del(&vma->link);
    (void)vma_name_unref(vma->name);
    vma_parts_unref(vma->parts);
    free(vma);
    return NULL;
}

void vma_free_list(struct list *vmas)
{
    struct list *link;
    struct list *tmp;

    list_for_each_safe(link, tmp, vmas) {
        vma_free(vma_from_link(link)); /* leaves the list */
    }
}

void vma_copy_identity(struct vma *to, const struct vma *from)
{
    MUST(!to->in_tree);
    to->start = from->start;
    to->end = from->end;
    to->pgoff = from->pgoff;
    to->kind = from->kind;
    to->flags = from->flags;
    to->prot_narrow = from->prot_narrow;
    to->file = from->file;
    to->object = from->object;
    to->owner = from->owner;
    to->ops_id = from->ops_id;
    to->private_data = from->private_data;
    vma_parts_unref(to->parts);
    to->parts = vma_parts_ref(from->parts);
    to->ops_set = from->ops_set;
    to->has_open = from->has_open;
    to->has_close = from->has_close;
    to->has_mkwrite = from->has_mkwrite;
    to->tracks_writes = from->tracks_writes;
    to->has_may_split = from->has_may_split;
    to->has_mprotect = from->has_mprotect;
    to->has_mremap = from->has_mremap;
    to->has_access = from->has_access;
    to->has_name = from->has_name;
    (void)vma_name_unref(to->name);
    to->name = vma_name_ref(from->name);
    to->direct = from->direct;
    to->graduated = from->graduated;
    to->write_locked = from->write_locked;
    to->outside_arena = from->outside_arena;
    to->n_faults = 0;
}

const char *vma_kind_name(enum vma_kind kind)
{
    static const char *const names[VMA_KIND_N] = {
#define X(name, text, help) [VMA_##name] = (text),
        VMA_KINDS(X)
#undef X
    };

    return (unsigned int)kind < VMA_KIND_N ? names[kind] : "unknown";
}

uint32_t vma_prot(const struct vma *vma)
{
    uint32_t prot = 0;

    prot |= (vma->flags & VMF_READ) ? PROT_READ : 0;
    prot |= (vma->flags & VMF_WRITE) ? PROT_WRITE : 0;
    prot |= (vma->flags & VMF_EXEC) ? PROT_EXEC : 0;
    return prot & vma->prot_narrow;
}

bool vma_find_pages(const struct vma *vma, struct range pages, struct range *ret_range)
{
    struct range shown;

    if (!range_overlaps(pages, vma_pages(vma)))
        return false;
    shown = range_intersect(pages, vma_pages(vma));
    ret_range->start = vma->start + ((shown.start - vma->pgoff) << VMA_PAGE_SHIFT);
    ret_range->end = vma->start + ((shown.end - vma->pgoff) << VMA_PAGE_SHIFT);
    return true;
}
