/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aspace.h - the addresses of one client: the VMA tree, its arena, and who may be placed where
 *
 *   0            arena.start                              arena.end        ASPACE_TASK_END
 *   |--client's own--|---------- the server decides ----------|--client's own--|
 *        FIXED only      hint if free, else top-down             FIXED only
 *
 * Ranges that are being mapped, and those whose unmapping the client has not confirmed, are held
 * by placeholder VMAs in the same tree: nobody else is placed there.
 *
 * All calls are made under the space's write lock (logical, see the hook contract), but for
 * aspace_release() and aspace_confirm(), which may come at any time.
 * Callers: server/{map,flow}. Deliberately not here: quotas, hooks, talking to the client.
 */
#ifndef MUSE_SERVER_VM_ASPACE_H
#define MUSE_SERVER_VM_ASPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/range.h"
#include "server/vm/vma.h"
#include "server/vm/vma_tree.h"

/* TASK_SIZE of x86-64 with four page table levels: one page below 2^47. */
#define ASPACE_TASK_END UINT64_C(0x7ffffffff000)

/* vm.max_map_count of Linux. */
#define ASPACE_DEFAULT_MAX_VMAS 65530

/* Conditions: callers handle these. */
enum {
    ASPACE_E_BUSY = 1, /* a pending or quarantined range is in the way: it will be released */
};

struct aspace {
    struct vma_tree vmas;   /* owns mappings and placeholders */
    struct range arena;     /* bytes: what the client reserved */
    struct list quarantine; /* VMAs of kind QUARANTINE by vma.link, oldest first */
    uint32_t max_vmas;      /* as vm.max_map_count: placeholders count too */
};

/**
 * aspace_init() - an empty space, in place
 * @aspace:   not initialised before
 * @arena:    bytes, page aligned, not empty, below ASPACE_TASK_END (aspace_arena_is_sane())
 * @max_vmas: limit on VMAs, not 0
 */
void aspace_init(struct aspace *aspace, struct range arena, uint32_t max_vmas);

/** aspace_done() - free all VMAs that are left, placeholders too */
void aspace_done(struct aspace *aspace);

/** aspace_arena_is_sane() - whether what a client offers as arena may go into aspace_init() */
bool aspace_arena_is_sane(struct range arena);

/** aspace_is_outside() - whether @range lies wholly outside the arena: vma.outside_arena */
bool aspace_is_outside(const struct aspace *aspace, struct range range);

/**
 * aspace_choose() - where a mapping goes
 * @aspace:    borrowed, unchanged
 * @hint:      bytes: the address with MAP_FIXED, else a wish that need not be aligned; 0: none
 * @len:       bytes; rounded up to VMA_PAGE_BYTES here, to an object's larger pages by the caller
 * @align:     bytes, power of two, at least VMA_PAGE_BYTES: the object's page size, or what the
 *             driver wants
 * @map_flags: MAP_ as of mmap(2); only MAP_FIXED and MAP_FIXED_NOREPLACE (implies FIXED) are read
 * @ret_range: bytes, page aligned; with MAP_FIXED mappings may stand there, which are to be
 *             replaced
 *
 * @hint and @len come from the client and are not trusted.
 * Source: do_mmap() and __get_unmapped_area() of mm/mmap.c for order and errno.
 *
 * Return: 0; -EINVAL for no length, a fixed address that is not aligned, or a fixed range that lies
 * half in the arena, half out (nobody could say whom to give it back to); -ENOMEM for no free
 * range, or an end above ASPACE_TASK_END; -EEXIST for NOREPLACE over anything; ASPACE_E_BUSY for
 * FIXED over a pending or quarantined range.
 */
MUST_CHECK int aspace_choose(const struct aspace *aspace, uint64_t hint, uint64_t len,
                             uint64_t align, int map_flags, struct range *ret_range);

/**
 * aspace_check_map() - may one more mapping be made?
 * @aspace: borrowed
 *
 * As in Linux a space can come to hold max_vmas + 1: the check is "more than", before.
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int aspace_check_map(const struct aspace *aspace);

/**
 * aspace_check_split() - may a VMA be split (mprotect, madvise)?
 * @aspace: borrowed
 *
 * Return: 0 or -ENOMEM when max_vmas are there.
 */
MUST_CHECK int aspace_check_split(const struct aspace *aspace);

/**
 * aspace_check_unmap() - may an unmapping be done?
 * @aspace: borrowed
 * @plan:   of this space
 *
 * Only a hole in the middle of one VMA makes more of them, so only that is refused at the limit.
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int aspace_check_unmap(const struct aspace *aspace, const struct vma_unmap_plan *plan);

/**
 * aspace_hold() - keep a range for a mapping being made
 * @aspace:      takes @placeholder on success
 * @range:       bytes, as aspace_choose() gave it
 * @placeholder: detached; becomes PENDING at @range. It may be the very VMA to be established.
 *
 * Not for MAP_FIXED over live mappings: these stay until the commit, and the write lock serialises.
 *
 * Return: 0, or VMA_TREE_E_OVERLAP when something stands there.
 */
MUST_CHECK int aspace_hold(struct aspace *aspace, struct range range, struct vma *placeholder);

/** aspace_establish() - make the PENDING @vma a live mapping, its other fields being set */
void aspace_establish(struct aspace *aspace, struct vma *vma);

/** aspace_release() - take a PENDING or QUARANTINE @placeholder out; it is the caller's to free */
void aspace_release(struct aspace *aspace, struct vma *placeholder);

/**
 * aspace_quarantine() - keep everybody off a range until the client confirms that nothing is there
 * @aspace: takes @vma
 * @vma:    PENDING in this space, or detached after vma_unmap_commit() (nothing stands in its range
 *          then); off its list of removed VMAs afterwards. Only range, id and owner mean something
 *          from here on; the driver has been told, the file let go, object_link taken out.
 *
 * Cannot fail: undo paths use it.
 */
void aspace_quarantine(struct aspace *aspace, struct vma *vma);

/**
 * aspace_confirm() - the client says that its kernel mappings in a range are gone
 * @aspace:  borrowed
 * @range:   bytes, as the client says, not trusted
 * @removed: head; the quarantined VMAs wholly inside are appended, the caller's to free. Those
 *           partly inside stay.
 */
void aspace_confirm(struct aspace *aspace, struct range range, struct list *removed);

/**
 * aspace_validate() - vma_tree_validate(), and what a space adds to it
 * @aspace: borrowed
 *
 * The quarantine list has exactly the quarantined VMAs, which no object lists; outside_arena of
 * each mapping says where it lies.
 *
 * Return: NULL when all hold, else what does not (a static string).
 */
const char *aspace_validate(const struct aspace *aspace);

/** aspace_mapped_bytes() - how much of @range is mapped */
uint64_t aspace_mapped_bytes(const struct aspace *aspace, struct range range);

#endif
