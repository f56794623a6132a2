/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where cached bytes live: one memfd an object (4 KiB pages, or 2 MiB pages from hugetlbfs), the
 * shared-memory arena that holds the page-state tables of all objects, and the reused, pre-faulted
 * buffers through which bytes go. Decides nothing: which page is valid is the page table's business
 * (server/cache).
 *
 * Bytes enter by large pwrite from a buffer, never through a fresh mapping: that costs a page fault
 * a page, twenty times as much. (2 MiB objects are the exception: hugetlbfs has no write(2), and
 * one fault there is 2 MiB.)
 */
#ifndef MUSE_SERVER_STORE_STORE_H
#define MUSE_SERVER_STORE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/must.h"
#include "common/base/range.h"
#include "server/store/guard.h"

#define STORE_STATES_BYTES (1ull << 30) /* chosen: states of 4 TiB in 4 KiB pages; sparse */
#define STORE_BUFFER_BYTES (2u << 20)   /* the largest run: a block */
#define STORE_BUFFERS_KEPT 8u           /* free buffers kept for reuse */
#define STORE_WINDOW_BYTES (1ull << 30) /* chosen: moved seldom, and only addresses */
#define PAGE_BYTES_SMALL   4096u
#define PAGE_BYTES_HUGE    (2u << 20)

struct backing;

struct store {
    int states_fd;            /* owned: the memfd of all page-state tables */
    _Atomic uint8_t *states;  /* its mapping, STORE_STATES_BYTES long, mapped once */
    struct list free_ranges;  /* of the arena, by offset; no two touch */
    struct list spare_ranges; /* one for every table, so that freeing it cannot fail */
    uint64_t states_used_bytes;
    struct list free_buffers;
    unsigned n_free_buffers, n_buffers;
    int cache_mount; /* owned: a detached tmpfs for objects' bytes; -1: memfds */
    bool has_large;  /* whole blocks of 2 MiB are large folios on this machine */
    struct guard guard;
    /* A backing is stuck from now on; called within the function that found it so. */
    void (*on_stuck)(struct backing *backing);
};

/* One object's bytes. */
struct backing {
    int fd; /* owned, read-write, mode 0600: a file of the store's tmpfs, or a memfd, then sealed
               against grow/shrink/seal */
    int fd_readonly;     /* owned, the same opened O_RDONLY; -1 until asked for */
    uint64_t size_bytes; /* rounded up to page_bytes; the largest it has had */
    uint64_t page_bytes;
    uint8_t *map; /* hugetlb only: the server's mapping; else NULL */
    /* Blocks that are being filled: STORE_WINDOW_BYTES of the file from window_offset on. */
    uint8_t *window; /* owned; NULL: no mapping yet */
    uint64_t window_offset;
    unsigned n_window_users; /* blocks in it that are being filled */
    struct store *strangers; /* the store, once others than the server's own user can write to it */
    int worker_fd;           /* owned, then: for the worker, which keeps it when it is stuck */
    bool is_stuck;           /* one of them holds its lock: nothing is changed any more */
};

/** store_init() - Return: 0 or -errno */
MUST_CHECK int store_init(struct store *store);

/** store_done() - everything allocated from it must be back */
void store_done(struct store *store);

/**
 * store_states_new() - a zeroed page-state table
 * @n_pages: entries, one byte each; 0 is legal
 * @ret_states: in the arena; give back by store_states_free() with the same length
 *
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int store_states_new(struct store *store, uint64_t n_pages,
                                _Atomic uint8_t **ret_states);

/** store_states_free() - give a table back; @n_pages as it was made with. NULL is a no-op. */
void store_states_free(struct store *store, _Atomic uint8_t *states, uint64_t n_pages);

/** store_buffer_get() - STORE_BUFFER_BYTES, page aligned, pre-faulted. Return: NULL: no memory. */
void *store_buffer_get(struct store *store);

/** store_buffer_put() - give a buffer back; its bytes are lost. NULL is a no-op. */
void store_buffer_put(struct store *store, void *buffer);

/**
 * backing_new() - make an object's file
 * @store: where large folios come from
 * @name: for /proc, cut to 200 bytes   @size_bytes: of the object, not rounded; 0 is legal
 * @page_bytes: 4096 or 2 MiB
 * @is_sealed: nobody may ever shrink or grow the file. It is a memfd then, which has large folios
 *             only where the administrator lets all shared memory have them.
 *
 * Return: 0; -ENOMEM also when the machine grants no huge pages; -EINVAL; -EMFILE.
 */
MUST_CHECK int backing_new(const struct store *store, struct backing *ret_backing, const char *name,
                           uint64_t size_bytes, uint64_t page_bytes, bool is_sealed);

/** backing_done() - close the fds and unmap; what clients mapped stays theirs. Twice is fine. */
void backing_done(struct backing *backing);

/**
 * backing_block_begin() - addresses of 2 MiB of an object, for whoever makes them one large folio
 * @store:  the backing's
 * @offset: bytes, a multiple of 2 MiB
 *
 * For blocks that will be filled as a whole. Nothing is there yet: store_populate(), or the same by
 * ring_populate() in a worker of the ring. The addresses are for system calls only: a file that is
 * not sealed can be truncated by others.
 *
 * Return: valid until backing_block_end(); NULL: not here, not of this object, or not now: write to
 * the file as usual.
 */
uint8_t *backing_block_begin(const struct store *store, struct backing *backing, uint64_t offset);

/** backing_block_end() - the block was filled, or will not be. @block: from backing_block_begin() */
void backing_block_end(struct backing *backing, uint8_t *block);

/**
 * store_populate() - make a block present, as one folio where the kernel can
 *
 * What was there stays or becomes zeros. Small folios may be the result; that is slower, and
 * nothing else.
 *
 * Return: 0 or -errno (-EFAULT: the file was truncated).
 */
MUST_CHECK int store_populate(uint8_t *block);

/**
 * backing_writable_fd() - the fd that a peer may write to the file by
 * @is_trusted: the peer could stop the server anyway: it is of the server's own user, or root
 *
 * Once somebody else has it, whatever changes the file is done by a worker (guard.h): write(2) of that peer can hold
 * the file's lock for as long as it likes. When it does, the backing is stuck: writing, zeroing and
 * resizing are -EIO, and punching does nothing.
 *
 * Return: the fd, borrowed; -errno: no descriptor is free.
 */
int backing_writable_fd(struct store *store, struct backing *backing, bool is_trusted);

/** backing_readonly_fd() - an O_RDONLY fd of the memfd (through /proc/self/fd), opened once.
 * Return: the fd, borrowed; -errno. */
int backing_readonly_fd(struct backing *backing);

/**
 * backing_resize() - another size, of a file that is not sealed
 * @size_bytes: of the object, not rounded
 *
 * size_bytes of the backing only grows: what is written or punched behind a new end is harmless.
 * Return: 0; -errno (-EIO: stuck).
 */
MUST_CHECK int backing_resize(struct backing *backing, uint64_t size_bytes);

/** backing_write() - copy bytes in; @offset + @n_bytes inside size_bytes.
 * Return: 0, -ENOMEM, -ENOSPC, -EIO (stuck). */
MUST_CHECK int backing_write(struct backing *backing, uint64_t offset, const void *data,
                             size_t n_bytes);

/**
 * backing_zero() - make a page-aligned range (bytes) present and zero, whatever was there
 *
 * Mappings lose what they had.
 * Return: 0 or -ENOMEM, -ENOSPC, -EIO (stuck).
 */
MUST_CHECK int backing_zero(struct backing *backing, struct range bytes);

/** backing_punch() - forget a page-aligned range (bytes): every mapping of it loses its pages, unless it is stuck */
void backing_punch(struct backing *backing, struct range bytes);

/** backing_resident_bytes() - what the memfd occupies now (st_blocks) */
uint64_t backing_resident_bytes(const struct backing *backing);

#endif
