/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parts of a mapping that show the driver's own fd instead of the object: a REMAP of less than all of
 * it. They are noted by object page, so that cutting, moving and copying the VMA leaves them true; all
 * VMAs that come of one share the note. Nothing of them may be registered with a userfaultfd.
 *
 * Called by the map flow, which makes them, and by whoever registers a mapping afresh. A VMA whose
 * parts are all there is (vma.direct) has no note.
 */
#ifndef MUSE_SERVER_VM_VMA_PARTS_H
#define MUSE_SERVER_VM_VMA_PARTS_H

#include "proto/limits.h"
#include "server/vm/vma.h"

#define VMA_PARTS_MAX MAP_VERBS_MAX

/** vma_parts_reserve() - room for @n parts more. Return: 0; -ENOMEM, also for too many. */
MUST_CHECK int vma_parts_reserve(struct vma *vma, unsigned n);

/** vma_parts_add() - @addrs of @vma show the driver's fd; after vma_parts_reserve() */
void vma_parts_add(struct vma *vma, struct range addrs);

/**
 * vma_parts_served() - the first stretch of @vma at or behind @addr that shows the object
 *
 * Return: empty, at the VMA's end, when there is none.
 */
struct range vma_parts_served(const struct vma *vma, uint64_t addr);

/** vma_parts_is_one() - whether @addrs of @vma is one mapping for the client's kernel, too: all of it in one
 * part, or in none */
bool vma_parts_is_one(const struct vma *vma, struct range addrs);

/** vma_shows_fd() - all of @vma, or parts of it, may show an fd of the driver's own */
static inline bool vma_shows_fd(const struct vma *vma)
{
    return vma->direct || vma->parts || (vma->flags & VMF_PFNMAP);
}

/** vma_parts_ref(), vma_parts_unref() - for vma.c; NULL is fine */
struct vma_parts *vma_parts_ref(struct vma_parts *parts);
void vma_parts_unref(struct vma_parts *parts);

#endif
