/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The buffer of one CPU of a relay channel, as producers, readers and the driver see it: bytes in
 * sub-buffers, and one control page. Works on memory only; who maps it is the caller's affair.
 *
 *     position    bytes since the beginning, only rising: sub-buffer position / size of one, which
 *                 lies in slot (that % number of sub-buffers)
 *
 *     slot          0        1        2        3
 *               +--------+--------+--------+--------+
 *               | rrrrr. | rrrrrr | rr     | rrrrr. |     r record   . padding: nothing fits
 *               +--------+--------+--------+--------+
 *                 4        5        6 ^      3 ^
 *                             reserved         consumed: the reader gives back whole sub-buffers
 *
 * A record is a header of 8 bytes and its bytes, never across two sub-buffers, aligned to 8. A
 * producer takes room by moving `reserved`, so any number of threads and processes may write to the
 * same buffer; a record is accepted when its header says so. What is refused is counted:
 *
 *     no-overwrite   no room before the reader has given back a sub-buffer
 *     overwrite      a producer has not finished a record of the sub-buffer that is to be overwritten
 *
 * A producer that dies between the two leaves a record that nobody finishes: readers stop there until
 * relay_ring_repair(), by the driver, once nobody can write any more.
 *
 * The control page is shared with others, who may put there what they like: nothing in it makes
 * these functions leave the buffer.
 */
#ifndef MUSE_DRIVERS_RELAY_RING_H
#define MUSE_DRIVERS_RELAY_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/must.h"

#define RELAY_MAGIC           UINT64_C(0x31302d79616c6572) /* "relay-01" */
#define RELAY_CTL_BYTES       4096u
#define RELAY_HEADER_BYTES    8u
#define RELAY_SUBBUFS_MAX     256u /* what the control page has room for */
#define RELAY_SUBBUF_MIN      64u
#define RELAY_SUBBUF_MAX      (64u << 20)
#define RELAY_CTL_F_OVERWRITE UINT64_C(1)

/* The control page. All atomics are lock-free: different processes use them. */
struct relay_ctl {
    uint64_t magic;
    uint64_t subbuf_bytes; /* a multiple of 8 */
    uint64_t n_subbufs;
    uint64_t flags;
    _Atomic uint64_t reserved; /* position */
    _Atomic uint64_t consumed; /* sub-buffers; not used with overwrite */
    _Atomic uint64_t accepted; /* records */
    _Atomic uint64_t lost;     /* records that were refused */
    _Atomic uint64_t aborted;  /* records that their producer did not live to finish */
    uint64_t unused[23];
    _Atomic uint64_t committed[RELAY_SUBBUFS_MAX]; /* bytes finished in each slot, all laps */
};

_Static_assert(sizeof(struct relay_ctl) <= RELAY_CTL_BYTES, "the control page is one page");

/* One side's view. Plain data; the memory is the caller's. */
struct relay_ring {
    struct relay_ctl *ctl;
    uint8_t *buf;
    uint64_t subbuf_bytes;
    uint64_t n_subbufs;
    bool overwrite;
};

/* Room for a record that is being written. */
struct relay_record {
    uint8_t *bytes;
    uint32_t n_bytes;
    uint64_t position;
};

/* Where a reader is. All zeros: at the beginning. */
struct relay_reader {
    uint64_t position;
    uint64_t skipped; /* sub-buffers that were overwritten before they were read */
    bool keeps;       /* does not give sub-buffers back: it only looks, its control page may be
                         mapped for reading only */
};

/** relay_alloc_bytes() - of a buffer: its sub-buffers, rounded up to pages. This is what is mapped. */
static inline uint64_t relay_alloc_bytes(uint64_t subbuf_bytes, uint64_t n_subbufs)
{
    return (subbuf_bytes * n_subbufs + 4095) & ~UINT64_C(4095);
}

/**
 * relay_geometry_is_legal() - whether there can be such a buffer
 * @ret_why: a static sentence when not
 */
bool relay_geometry_is_legal(uint64_t subbuf_bytes, uint64_t n_subbufs, const char **ret_why);

/** relay_ctl_init() - fill a control page of zeros; the geometry is legal */
void relay_ctl_init(struct relay_ctl *ctl, uint64_t subbuf_bytes, uint64_t n_subbufs,
                    bool overwrite);

/**
 * relay_ring_attach() - a view of mapped memory
 * @ctl:       RELAY_CTL_BYTES, mapped   @buf: @buf_bytes, mapped; both borrowed as long as the view
 *
 * Return: 0; -EPROTO the control page is none, or does not fit the buffer.
 */
MUST_CHECK int relay_ring_attach(struct relay_ring *ret_ring, struct relay_ctl *ctl, void *buf,
                                 uint64_t buf_bytes);

/**
 * relay_reserve() - room for a record of @n_bytes, to be filled and given to relay_commit()
 *
 * Any thread of any process, but not in a signal handler that would want to wait. Never waits.
 *
 * Return: 0; -ENOBUFS no room: refused, and counted; -EMSGSIZE larger than a sub-buffer: refused,
 * and counted; -EPROTO the control page is broken.
 */
MUST_CHECK int relay_reserve(const struct relay_ring *ring, uint32_t n_bytes,
                             struct relay_record *ret_record);

/** relay_commit() - the record is complete: readers may see it */
void relay_commit(const struct relay_ring *ring, const struct relay_record *record);

/** relay_write() - relay_reserve(), a copy, relay_commit(). Return: as relay_reserve(). */
MUST_CHECK int relay_write(const struct relay_ring *ring, const void *bytes, uint32_t n_bytes);

/**
 * relay_read() - the next record, in the order of the buffer
 * @buf: caller's, @size bytes
 *
 * One reader of a no-overwrite buffer at a time may give sub-buffers back; any number may look.
 *
 * Return: its bytes, 0 too; -EAGAIN there is none yet; -EMSGSIZE it has more than @size: try again;
 * -EPROTO the buffer is broken.
 */
MUST_CHECK ssize_t relay_read(const struct relay_ring *ring, struct relay_reader *reader, void *buf,
                              size_t size);

/**
 * relay_ring_repair() - give up records that nobody will finish
 *
 * Only while nobody can write. Where the length of one is not known, the rest of its sub-buffer goes
 * with it.
 *
 * Return: how many were given up; counted as aborted.
 */
uint64_t relay_ring_repair(const struct relay_ring *ring);

#endif
