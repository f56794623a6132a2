/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shared memory between the server and one driver through which page runs are asked for and
 * answered: two single-producer single-consumer queues in one memfd, with an eventfd each way. Both
 * sides treat what they read from it as untrusted: indices are masked, entries are copied out
 * before they are checked.
 *
 *   server --- asks ----> driver      wakes the driver's eventfd
 *   server <-- answers -- driver      wakes the server's eventfd
 *
 * An answer says "these pages of this object are now valid in its memfd". It may cover more or less
 * than was asked, in any order, in several parts. Failures travel as FaultFailed on the socket,
 * because they carry a sentence.
 */
#ifndef MUSE_PROTO_FILL_RING_H
#define MUSE_PROTO_FILL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILL_RING_ENTRIES 256u /* power of two: more runs in flight than a driver can profit from */

struct fill_ask {
    uint64_t request_id;
    uint64_t object_key;
    uint64_t object_id;  /* which page cache of that key: the socket may lag behind the ring */
    uint64_t first_page; /* object pages */
    uint32_t n_pages;
    uint32_t n_needed; /* of these, from first_page on, somebody waits for; the rest is readahead */
};

struct fill_answer {
    uint64_t request_id;
    uint64_t object_key;
    uint64_t object_id; /* the page cache written to: an answer about another one is void */
    uint64_t first_page;
    uint64_t n_pages;
};

struct fill_ring {
    _Alignas(64) _Atomic uint32_t ask_head; /* next the driver takes */
    _Alignas(64) _Atomic uint32_t ask_tail; /* next the server writes */
    _Alignas(64) _Atomic uint32_t answer_head;
    _Alignas(64) _Atomic uint32_t answer_tail;
    _Alignas(64) struct fill_ask asks[FILL_RING_ENTRIES];
    struct fill_answer answers[FILL_RING_ENTRIES];
};

/** fill_ring_put_ask() - queue one ask. Only the server. Return: false when the queue is full. */
static inline bool fill_ring_put_ask(struct fill_ring *ring, const struct fill_ask *ask)
{
    uint32_t tail = atomic_load_explicit(&ring->ask_tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&ring->ask_head, memory_order_acquire);

    if (tail - head >= FILL_RING_ENTRIES)
        return false;
    ring->asks[tail % FILL_RING_ENTRIES] = *ask;
    atomic_store_explicit(&ring->ask_tail, tail + 1, memory_order_release);
    return true;
}

/** fill_ring_take_ask() - take the oldest ask. Only the driver. Return: false when none. */
static inline bool fill_ring_take_ask(struct fill_ring *ring, struct fill_ask *ret_ask)
{
    uint32_t head = atomic_load_explicit(&ring->ask_head, memory_order_relaxed);

    if (head == atomic_load_explicit(&ring->ask_tail, memory_order_acquire))
        return false;
    *ret_ask = ring->asks[head % FILL_RING_ENTRIES];
    atomic_store_explicit(&ring->ask_head, head + 1, memory_order_release);
    return true;
}

/** fill_ring_put_answer() - queue one answer. Only the driver, one thread at a time.
 * Return: false when full. */
static inline bool fill_ring_put_answer(struct fill_ring *ring, const struct fill_answer *answer)
{
    uint32_t tail = atomic_load_explicit(&ring->answer_tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&ring->answer_head, memory_order_acquire);

    if (tail - head >= FILL_RING_ENTRIES)
        return false;
    ring->answers[tail % FILL_RING_ENTRIES] = *answer;
    atomic_store_explicit(&ring->answer_tail, tail + 1, memory_order_release);
    return true;
}

/** fill_ring_answers_fit() - whether the driver's end of the answers can be true; server only */
static inline bool fill_ring_answers_fit(const struct fill_ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->answer_head, memory_order_relaxed);

    return atomic_load_explicit(&ring->answer_tail, memory_order_acquire) - head <=
           FILL_RING_ENTRIES;
}

/** fill_ring_take_answer() - take the oldest answer. Only the server. Return: false when none. */
static inline bool fill_ring_take_answer(struct fill_ring *ring, struct fill_answer *ret_answer)
{
    uint32_t head = atomic_load_explicit(&ring->answer_head, memory_order_relaxed);

    if (head == atomic_load_explicit(&ring->answer_tail, memory_order_acquire))
        return false;
    *ret_answer = ring->answers[head % FILL_RING_ENTRIES];
    atomic_store_explicit(&ring->answer_head, head + 1, memory_order_release);
    return true;
}

#endif
