/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One driver with one open object, and the steps of a mapping's life as its driver sees them. Each
 * returns 1 the driver agreed; 0 it refused; -1 it did something wrong, or nothing in time: see the
 * peer's complaint.
 */
#ifndef MUSE_KIT_PLAY_H
#define MUSE_KIT_PLAY_H

#include "kit/include/muse/check.h"
#include "kit/peer.h"

#define PLAY_TRIES      10u /* a driver that has more fds after each of so many runs leaks them */
#define PLAY_PAGE       4096u
#define PLAY_VM_READ    0x01u
#define PLAY_VM_WRITE   0x02u
#define PLAY_VM_SHARED  0x08u
#define PLAY_MAY        0x70u /* MAYREAD, MAYWRITE, MAYEXEC */
#define PLAY_MAYSHARE   0x80u
/* IO, PFNMAP, DONTEXPAND, MIXEDMAP: what never merges */
#define PLAY_VM_SPECIAL 0x10044400u

struct play {
    const struct muse_check_options *options;
    struct peer peer;
    bool is_open, has_object;
    uint64_t handle, object_key, object_id, size_bytes, page_bytes, map_align;
    bool has_extents;
    int memfd; /* owned: the object's page cache; -1 */
    uint64_t next_id;
    uint64_t n_prepared, n_completed, n_aborted;
    int n_fds_before;  /* the driver's, with the object open and no mapping */
    bool has_more_fds; /* that is what was wrong */
};

/* A mapping, or one that is being made. */
struct play_map {
    uint64_t space_id, start, end, pgoff, flags;
    uint32_t prot;
    bool is_shared;
    uint64_t prepare_id, complete_id; /* calls that are open; 0: none */
    bool is_prepared, is_live;
    uint64_t got_flags, got_pgoff, private_data, context, vma_id;
    uint32_t got_prot, vm_ops;
    uint64_t vm_file; /* the file it shows */
    uint64_t made;    /* a file that prepare made for it; 0: none */
};

/** play_start() - start the driver, open the object. Return: 0; -1. */
MUST_CHECK int play_start(struct play *play, const struct muse_check_options *options);

/** play_stop() - however it stands */
void play_stop(struct play *play);

/** play_open() - open the object, give it a page cache. play_close_file() - release, and gone. */
MUST_CHECK int play_open(struct play *play);
MUST_CHECK int play_close_file(struct play *play);

/** play_map_make() - what a client asks for: @n_pages of 4 KiB from the object's start, in a space of
 * its own */
struct play_map play_map_make(struct play *play, uint64_t n_pages);

/** play_n_pages() - 4 KiB pages that a mapping of the object may have; at least a unit's */
uint64_t play_n_pages(const struct play *play);

MUST_CHECK int play_prepare_post(struct play *play, struct play_map *map);
MUST_CHECK int play_prepare_take(struct play *play, struct play_map *map, unsigned deadline_ms);
MUST_CHECK int play_prepare(struct play *play, struct play_map *map);
MUST_CHECK int play_abort(struct play *play, struct play_map *map);
/** @survivor: the VMA it was merged into, which grows; NULL: none */
MUST_CHECK int play_complete_post(struct play *play, struct play_map *map,
                                  struct play_map *survivor);
MUST_CHECK int play_complete_take(struct play *play, struct play_map *map, unsigned deadline_ms);
MUST_CHECK int play_complete(struct play *play, struct play_map *map, struct play_map *survivor);
/** play_close() - vm close, when its table has it; and the file made for it is released */
MUST_CHECK int play_close(struct play *play, struct play_map *map);

/** play_vma_event() - VMA_OPEN (one way), MAY_SPLIT, MPROTECT, MREMAP: sent when its table has it, else 1 */
MUST_CHECK int play_vma_event(struct play *play, const struct play_map *map, uint16_t type,
                              uint64_t addr, uint64_t parent);

/** play_has() - whether the map's table has these hooks (VM_HOOK_*) */
bool play_has(const struct play *play, const struct play_map *map, uint32_t hooks);

/** play_page() - ask for one page, or a run; see peer_wait_page(). @n_pages: the object's own */
MUST_CHECK int play_page(struct play *play, uint64_t page, uint32_t n_pages, struct fill_ask *ask);

/** play_is_quiet() - nothing is held: a prepare is answered, debug_held says 0, no more fds than
 * before. Return: 0; -1. */
MUST_CHECK int play_is_quiet(struct play *play);

/**
 * play_try_again() - what a driver keeps once, such as a connection that it uses again, is no leak
 *
 * Return: whether nothing is wrong but that there are more fds than before; that is forgiven, and what
 * was run is to be run again.
 */
bool play_try_again(struct play *play);

#endif
