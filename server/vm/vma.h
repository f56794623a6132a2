/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vma.h - one mapping of a space, or a placeholder that keeps addresses free
 *
 * A struct vma says which bytes of which object lie at [start, end) of a space, with which flags
 * and which vm operations. Placeholders are VMAs of another kind: they live in the same tree, so
 * that one search answers "is this free?", but nobody can fault on them and they never merge.
 *
 * Life of a VMA                                who moves it
 *   -        -> detached   allocated           vma_new()
 *   detached -> PENDING    range held          aspace_hold()
 *   detached -> MAPPED     entered             vma_tree_insert(), vma_split()
 *   PENDING  -> MAPPED     client installed    aspace_establish()
 *   MAPPED   -> detached   unmapped or merged  vma_unmap_commit(), vma_merge_*_commit()
 *   PENDING  -> detached   given up, merged    aspace_release()
 *   detached, PENDING -> QUARANTINE            aspace_quarantine()
 *   QUARANTINE -> detached client confirmed    aspace_release(), aspace_confirm()
 *   detached -> -                              vma_free()
 *
 * The fields are public and read by all of the server; start, end, pgoff and kind of a VMA in a
 * tree are changed only by vma_tree.c and aspace.c. Callers: server/{vm,map,fault,flow}.
 * Deliberately not here: hooks, pages, the client's kernel mappings, reference counts of the file.
 */
#ifndef MUSE_SERVER_VM_VMA_H
#define MUSE_SERVER_VM_VMA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/own.h"
#include "common/base/range.h"
#include "common/base/rbtree.h"
#include "server/vm/vma_name.h"

/* Addresses, lengths and pgoff count in these, whatever the object's page size is. */
#define VMA_PAGE_SHIFT 12
#define VMA_PAGE_BYTES (UINT64_C(1) << VMA_PAGE_SHIFT)

/* Values as include/linux/mm.h of Linux 6.18. */
enum vma_flag {
    VMF_READ = 0x1,
    VMF_WRITE = 0x2,
    VMF_EXEC = 0x4,
    VMF_SHARED = 0x8,
    VMF_MAYREAD = 0x10,
    VMF_MAYWRITE = 0x20,
    VMF_MAYEXEC = 0x40,
    VMF_MAYSHARE = 0x80,
    VMF_PFNMAP = 0x400,
    VMF_LOCKED = 0x2000,
    VMF_IO = 0x4000,
    VMF_SEQ_READ = 0x8000,
    VMF_RAND_READ = 0x10000,
    VMF_DONTCOPY = 0x20000,
    VMF_DONTEXPAND = 0x40000,
    VMF_NORESERVE = 0x200000,
    VMF_WIPEONFORK = 0x2000000,
    VMF_DONTDUMP = 0x4000000,
    VMF_MIXEDMAP = 0x10000000,
    VMF_HUGEPAGE = 0x20000000,
    VMF_NOHUGEPAGE = 0x40000000,
};

/* A VMA with one of these never merges (VM_SPECIAL of include/linux/mm.h). */
#define VMF_SPECIAL ((uint32_t)(VMF_IO | VMF_DONTEXPAND | VMF_PFNMAP | VMF_MIXEDMAP))

/* What prot asks for and what it may at most become. */
#define VMF_ACCESS ((uint32_t)(VMF_READ | VMF_WRITE | VMF_EXEC))
#define VMF_MAY    ((uint32_t)(VMF_MAYREAD | VMF_MAYWRITE | VMF_MAYEXEC | VMF_MAYSHARE))

/* What stands at an address of a space. */
#define VMA_KINDS(X)                                                                               \
    X(MAPPED, "mapped", "a live mapping; faults on it are served")                                 \
    X(PENDING, "pending", "a mapping being made; held by the space's write lock")                  \
    X(QUARANTINE, "quarantine", "a mapping is gone here, the client has not confirmed it yet")

enum vma_kind {
#define X(name, text, help) VMA_##name,
    VMA_KINDS(X)
#undef X
        VMA_KIND_N
};

/* How a VMA is being read: written by server/fault/readahead.c only. All zero: not touched yet. */
struct vma_stream {
    uint64_t start, end; /* object pages that were planned last, now and ahead together */
    uint64_t last;       /* the object page touched last */
    uint64_t marker;    /* page left unmapped so that its touch is seen; means nothing unless ... */
    bool has_marker;    /* ... this */
    uint32_t window;    /* pages of the last window; 0: not touched yet */
    uint64_t shown_end; /* pages behind the marker, below this, are mapped ahead of their touch */
};

/* How a VMA is being written to: written by server/fault/writeahead.c only. */
struct vma_writes {
    uint64_t end;    /* the object page where a writer would go on */
    uint32_t window; /* pages of its last window; 0: not written to yet */
};

struct vma_parts;

struct vma {
    /* Place in the tree: written by vma_tree.c only. */
    struct rb_node node;
    bool in_tree;
    uint64_t sub_start; /* lowest start, highest end and widest hole between two VMAs ... */
    uint64_t sub_end;   /* ... in the subtree that hangs from this node */
    uint64_t sub_gap_bytes;

    uint64_t start, end;  /* bytes, page aligned, half-open */
    uint64_t pgoff;       /* object offset of start in 4 KiB pages */
    enum vma_kind kind;   /* changed by vma_tree_set_kind() once in a tree */
    uint32_t flags;       /* VMF_ */
    uint32_t prot_narrow; /* PROT_ bits that the driver's page_prot leaves over */
    uint64_t id;          /* unique in the server for ever; 0 for placeholders without a number */

    void *file;   /* borrowed: opaque shared identity; a merge needs the same one */
    void *object; /* borrowed: whose bytes these are; NULL: anonymous memory, see vma_is_anon() */
    void *owner;  /* borrowed: the space, opaque here */
    uint64_t ops_id;       /* the driver's vm_ops; 0: none */
    uint64_t private_data; /* the driver's token */
    struct vma_name *name; /* ref, shared with copies; NULL: the driver was not asked for one */

    struct vma_parts *parts; /* ref, or NULL: what shows the driver's own fd, vma_parts.h */

    bool ops_set;       /* the driver said something about vm_ops, if only "none" */
    bool has_open;      /* which operations ops_id has, as far as decisions here need them */
    bool has_close;     /* may be extended, never removed by a merge */
    bool has_may_split; /* the driver is asked before a split */
    bool has_mkwrite;   /* the driver is asked before the first write to a clean page */
    bool tracks_writes; /* shared, perhaps writable, and the driver takes pages back */
    bool has_mprotect;  /* ... before its protection changes */
    bool has_mremap;    /* ... before it is moved */
    bool has_access;    /* ... for bytes that cannot be had as memory */
    bool has_name;      /* ... what to call it */
    bool direct;        /* mapped from the driver's own fd: no faults reach the server */
    bool graduated;     /* switched to native faulting for the time being */
    bool write_locked;  /* in a transaction: faults on it wait, neighbours do not merge into it */
    bool outside_arena; /* MAP_FIXED outside the arena: unmapping gives the range to the client */

    struct list object_link; /* in the object's list of mappings, or by itself */
    struct list link;        /* in one list at a time: removed VMAs, aspace.quarantine */

    struct vma_stream stream; /* readahead; a copied VMA starts a fresh one */
    struct vma_writes writes; /* write-ahead; likewise */

    uint64_t n_faults; /* faults served since it was made; a merge adds them up */
};

/**
 * vma_new() - allocate a detached VMA of kind MAPPED, all else zero
 * @id:      what it shall be called in hooks and admin output
 * @ret_vma: owned by the caller until vma_tree_insert() or a commit takes it
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int vma_new(uint64_t id, struct vma **ret_vma);

/**
 * vma_free() - free a detached VMA; takes it off the lists it is still on
 * @vma: owned by the caller, not in a tree; NULL is fine
 *
 * Return: NULL.
 */
struct vma *vma_free(struct vma *vma);

DEFINE_CLEANUP(struct vma *, vma_free)

/**
 * vma_free_list() - free all VMAs of a list such as vma_unmap_commit() fills
 * @vmas: head of a list of struct vma.link; empty afterwards
 */
void vma_free_list(struct list *vmas);

/**
 * vma_copy_identity() - make @to a mapping of the same thing: all that a driver or client decided
 * @to:   detached; keeps its id, place and lists
 * @from: borrowed
 *
 * Copied: range, pgoff, kind, flags, prot, file, object, owner, ops, private data, the bools; the
 * name and the parts are shared.
 * n_faults starts at 0, so that summing over VMAs counts each fault once.
 */
void vma_copy_identity(struct vma *to, const struct vma *from);

/**
 * vma_kind_name() - lower-case word for tables and logs
 * @kind: what stands there
 *
 * Return: a static string.
 */
const char *vma_kind_name(enum vma_kind kind);

/**
 * vma_from_node() - the VMA that a tree node is part of
 * @node: NULL or embedded in a struct vma
 */
static inline struct vma *vma_from_node(struct rb_node *node)
{
    return node ? CONTAINER_OF(node, struct vma, node) : NULL;
}

/** vma_from_link() - the VMA on a list of removed or quarantined VMAs */
static inline struct vma *vma_from_link(struct list *link)
{
    return CONTAINER_OF(link, struct vma, link);
}

/** vma_from_object_link() - the VMA on an object's list of mappings */
static inline struct vma *vma_from_object_link(struct list *link)
{
    return CONTAINER_OF(link, struct vma, object_link);
}

/** vma_range() - its addresses in bytes */
static inline struct range vma_range(const struct vma *vma)
{
    return (struct range){vma->start, vma->end};
}

/**
 * vma_is_anon() - whether a MAPPED VMA is anonymous memory: no file, no object, no driver
 *
 * The client's kernel serves it alone. It is direct, its pgoff is that of its address when it is
 * private; shared memory counts from 0 and has a number of its own in private_data, so that two
 * of them never merge.
 */
static inline bool vma_is_anon(const struct vma *vma)
{
    return !vma->object;
}

/** vma_n_pages() - its length in 4 KiB pages */
static inline uint64_t vma_n_pages(const struct vma *vma)
{
    return (vma->end - vma->start) >> VMA_PAGE_SHIFT;
}

/** vma_contains() - whether @addr (bytes, any alignment) lies in it */
static inline bool vma_contains(const struct vma *vma, uint64_t addr)
{
    return addr >= vma->start && addr < vma->end;
}

/** vma_pgoff_at() - the 4 KiB page of the object that lies at @addr, an address in @vma */
static inline uint64_t vma_pgoff_at(const struct vma *vma, uint64_t addr)
{
    return vma->pgoff + ((addr - vma->start) >> VMA_PAGE_SHIFT);
}

/** vma_pages() - the 4 KiB pages of the object that it shows, half-open */
static inline struct range vma_pages(const struct vma *vma)
{
    return (struct range){vma->pgoff, vma->pgoff + vma_n_pages(vma)};
}

/**
 * vma_prot() - the protection of its pages now: what was asked for, narrowed by the driver
 *
 * Return: PROT_ bits.
 */
uint32_t vma_prot(const struct vma *vma);

/**
 * vma_find_pages() - where pages of the object lie in this mapping: what revoke and eviction ask
 * @vma:       borrowed
 * @pages:     4 KiB pages of the object, half-open
 * @ret_range: addresses in bytes of those that it shows
 *
 * Return: whether it shows any of them.
 */
bool vma_find_pages(const struct vma *vma, struct range pages, struct range *ret_range);

#endif
