/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vma_name.h - what a driver calls its mapping, for people
 *
 * Made without a text when the driver is asked, and shared from then on by the VMA and all that are
 * copied from it, by a cut, a move or a fork: an answer that comes later is the name of each of
 * them. Lives as long as one of them or the question does.
 *
 * Callers: server/vm/vma.c, server/flow. Deliberately not here: asking, and brackets.
 */
#ifndef MUSE_SERVER_VM_VMA_NAME_H
#define MUSE_SERVER_VM_VMA_NAME_H

#include <stdint.h>

#include "common/base/must.h"
#include "common/base/own.h"
#include "proto/limits.h"

struct vma_name {
    uint64_t n_refs;
    char text[VMA_NAME_BYTES_MAX + 1]; /* printable ASCII; "": none, or not answered yet */
};

/** vma_name_new() - no text yet, one reference. Return: 0 or -ENOMEM. */
MUST_CHECK int vma_name_new(struct vma_name **ret_name);

/** vma_name_ref() - NULL is fine. Return: @name. */
struct vma_name *vma_name_ref(struct vma_name *name);

/** vma_name_unref() - the last one frees it; NULL is fine. Return: NULL. */
struct vma_name *vma_name_unref(struct vma_name *name);

DEFINE_CLEANUP(struct vma_name *, vma_name_unref)

/**
 * vma_name_set() - what the driver says
 * @text: untrusted: what is not printable ASCII becomes '?', the rest is cut at
 *        VMA_NAME_BYTES_MAX. Brackets around all of it go: who shows it puts them there.
 */
void vma_name_set(struct vma_name *name, const char *text);

#endif
