/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records in sub-buffers. Three orders make it right between threads and processes:
 *
 *     committed or consumed, acquired before `reserved` enters a sub-buffer    what was there is over
 *     `reserved` moves, release fence, then bytes                              who reads them can know
 *     bytes, then the header is released, then `committed`                     who sees it sees them
 *
 * A reader that can be overtaken copies first and looks at `reserved` again afterwards.
 */
#include "drivers/relay/ring.h"

#include <errno.h>
#include <string.h>

/* The last two bits of a header's mark; the others are those of the record's position, so that what
 * an earlier lap left there is not taken for one. */
enum kind { KIND_RESERVED = 1, KIND_DONE = 2, KIND_SKIP = 3 };

#define WORD ((uint64_t)sizeof(uint64_t))

/* ThreadSanitizer knows no fences, and gcc says so; it keeps all of these accesses in order anyway. */
#ifdef __SANITIZE_THREAD__
#define FENCE(order) ((void)(order))
#else
#define FENCE(order) atomic_thread_fence(order)
#endif

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shared between processes");

bool relay_geometry_is_legal(uint64_t subbuf_bytes, uint64_t n_subbufs, const char **ret_why)
{
    *ret_why = NULL;
    if (subbuf_bytes < RELAY_SUBBUF_MIN || subbuf_bytes > RELAY_SUBBUF_MAX)
        *ret_why = "a sub-buffer has 64 bytes to 64 MiB";
    else if (subbuf_bytes % WORD != 0)
        *ret_why = "the size of a sub-buffer is a multiple of 8";
    else if (n_subbufs == 0 || n_subbufs > RELAY_SUBBUFS_MAX)
        *ret_why = "a buffer has 1 to 256 sub-buffers";
    return *ret_why == NULL;
}

void relay_ctl_init(struct relay_ctl *ctl, uint64_t subbuf_bytes, uint64_t n_subbufs,
                    bool overwrite)
{
    ctl->subbuf_bytes = subbuf_bytes;
    ctl->n_subbufs = n_subbufs;
    ctl->flags = overwrite ? RELAY_CTL_F_OVERWRITE : 0;
    ctl->magic = RELAY_MAGIC;
}

int relay_ring_attach(struct relay_ring *ret_ring, struct relay_ctl *ctl, void *buf,
                      uint64_t buf_bytes)
{
    const struct relay_ring ring = {.ctl = ctl,
                                    .buf = buf,
                                    .subbuf_bytes = ctl->subbuf_bytes,
                                    .n_subbufs = ctl->n_subbufs,
                                    .overwrite = ctl->flags & RELAY_CTL_F_OVERWRITE};
    const char *why;

    if (ctl->magic != RELAY_MAGIC ||
        !relay_geometry_is_legal(ring.subbuf_bytes, ring.n_subbufs, &why) ||
        relay_alloc_bytes(ring.subbuf_bytes, ring.n_subbufs) != buf_bytes)
        return -EPROTO;
    *ret_ring = ring;
    return 0;
}

/* ---- where things are ---- */

static uint64_t slot_of(const struct relay_ring *ring, uint64_t position)
{
    return position / ring->subbuf_bytes % ring->n_subbufs;
}

static uint8_t *at(const struct relay_ring *ring, uint64_t position)
{
    return ring->buf + slot_of(ring, position) * ring->subbuf_bytes + position % ring->subbuf_bytes;
}

static _Atomic uint64_t *header_at(const struct relay_ring *ring, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)at(ring, position);
}

static uint64_t left_in_subbuf(const struct relay_ring *ring, uint64_t position)
{
    return ring->subbuf_bytes - position % ring->subbuf_bytes;
}

static uint64_t header_make(uint64_t position, enum kind kind, uint64_t n_bytes)
{
    const uint32_t mark = (uint32_t)(position / WORD << 2) | (uint32_t)kind;

    return (uint64_t)mark << 32 | (uint32_t)n_bytes;
}

/* Return: which kind of record begins there; 0: none yet. */
static unsigned header_kind(uint64_t header, uint64_t position)
{
    const uint32_t mark = (uint32_t)(header >> 32);

    return mark >> 2 == (uint32_t)(position / WORD << 2) >> 2 ? mark & 3u : 0;
}

/* Bytes a record takes. */
static uint64_t room_of(uint64_t n_bytes)
{
    return (RELAY_HEADER_BYTES + n_bytes + WORD - 1) & ~(WORD - 1);
}

/* ---- writing ---- */

static void finish(const struct relay_ring *ring, uint64_t position, enum kind kind,
                   uint64_t n_bytes)
{
    atomic_store_explicit(header_at(ring, position), header_make(position, kind, n_bytes),
                          memory_order_release);
    atomic_fetch_add_explicit(&ring->ctl->committed[slot_of(ring, position)], room_of(n_bytes),
                              memory_order_release);
}

/* Whether sub-buffer @subbuf can be begun: what was in its slot is over. */
static bool may_begin(const struct relay_ring *ring, uint64_t subbuf)
{
    const uint64_t lap = subbuf / ring->n_subbufs;
    _Atomic uint64_t *committed = &ring->ctl->committed[subbuf % ring->n_subbufs];

    if (ring->overwrite) {
        return atomic_load_explicit(committed, memory_order_acquire) >= lap * ring->subbuf_bytes;
    }
    return subbuf - atomic_load_explicit(&ring->ctl->consumed, memory_order_acquire) <
           ring->n_subbufs;
}

static int refuse(const struct relay_ring *ring, int error)
{
    atomic_fetch_add_explicit(&ring->ctl->lost, 1, memory_order_relaxed);
    return error;
}

int relay_reserve(const struct relay_ring *ring, uint32_t n_bytes, struct relay_record *ret_record)
{
    const uint64_t room = room_of(n_bytes);
    uint64_t position = atomic_load_explicit(&ring->ctl->reserved, memory_order_relaxed);

    if (room > ring->subbuf_bytes)
        return refuse(ring, -EMSGSIZE);
    for (;;) {
        const uint64_t left = left_in_subbuf(ring, position);
        const uint64_t taken = room <= left ? room : left;

        if (position % WORD != 0)
            return -EPROTO;
        if (left == ring->subbuf_bytes && !may_begin(ring, position / ring->subbuf_bytes))
            return refuse(ring, -ENOBUFS);
        if (!atomic_compare_exchange_weak_explicit(&ring->ctl->reserved, &position,
                                                   position + taken, memory_order_acq_rel,
                                                   memory_order_relaxed))
            continue;
        FENCE(memory_order_release);
        if (room <= left)
            break;
        finish(ring, position, KIND_SKIP, left - RELAY_HEADER_BYTES);
        position += left;
    }
    atomic_store_explicit(header_at(ring, position), header_make(position, KIND_RESERVED, n_bytes),
                          memory_order_relaxed);
    *ret_record = (struct relay_record){at(ring, position) + RELAY_HEADER_BYTES, n_bytes, position};
    return 0;
}

void relay_commit(const struct relay_ring *ring, const struct relay_record *record)
{
    finish(ring, record->position, KIND_DONE, record->n_bytes);
    atomic_fetch_add_explicit(&ring->ctl->accepted, 1, memory_order_relaxed);
}

/* Word by word: with overwrite a reader may be looking. */
static void copy_in(void *to, const uint8_t *from, size_t n_bytes)
{
    _Atomic uint64_t *words = to;

    for (size_t done = 0; done < n_bytes; done += WORD) {
        const size_t left = n_bytes - done;
        uint64_t word = 0;

        memcpy(&word, from + done, left < WORD ? left : WORD);
        atomic_store_explicit(words++, word, memory_order_relaxed);
    }
}

static void copy_out(uint8_t *to, const uint8_t *from, size_t n_bytes)
{
    for (size_t done = 0; done < n_bytes; done += WORD) {
        const size_t left = n_bytes - done;
        const uint64_t word = atomic_load_explicit(
            (const _Atomic uint64_t *)(const void *)(from + done), memory_order_relaxed);

        memcpy(to + done, &word, left < WORD ? left : WORD);
    }
}

int relay_write(const struct relay_ring *ring, const void *bytes, uint32_t n_bytes)
{
    struct relay_record record;
    int r = relay_reserve(ring, n_bytes, &record);

    if (r < 0)
        return r;
    copy_in(record.bytes, bytes, n_bytes);
    relay_commit(ring, &record);
    return 0;
}

/* ---- reading ---- */

/* The first sub-buffer that is not being overwritten when @reserved is where writing goes on. */
static uint64_t oldest_subbuf(const struct relay_ring *ring, uint64_t reserved)
{
    const uint64_t n_begun = reserved / ring->subbuf_bytes + (reserved % ring->subbuf_bytes != 0);

    return n_begun > ring->n_subbufs ? n_begun - ring->n_subbufs : 0;
}

/* Return: whether what the reader looked at is, or was, overwritten: it is at the oldest now. */
static bool was_overtaken(const struct relay_ring *ring, struct relay_reader *reader)
{
    uint64_t oldest;

    FENCE(memory_order_acquire);
    oldest = oldest_subbuf(ring, atomic_load_explicit(&ring->ctl->reserved, memory_order_relaxed));
    if (oldest <= reader->position / ring->subbuf_bytes)
        return false;
    reader->skipped += oldest - reader->position / ring->subbuf_bytes;
    reader->position = oldest * ring->subbuf_bytes;
    return true;
}

static void go_on(const struct relay_ring *ring, struct relay_reader *reader, uint64_t n_bytes)
{
    reader->position += n_bytes;
    if (!ring->overwrite && !reader->keeps && reader->position % ring->subbuf_bytes == 0) {
        atomic_store_explicit(&ring->ctl->consumed, reader->position / ring->subbuf_bytes,
                              memory_order_release);
    }
}

/* Who gives back begins where the one before has stopped. */
static void catch_up(const struct relay_ring *ring, struct relay_reader *reader)
{
    uint64_t start;

    if (ring->overwrite || reader->keeps)
        return;
    start = atomic_load_explicit(&ring->ctl->consumed, memory_order_relaxed) * ring->subbuf_bytes;
    if (reader->position < start)
        reader->position = start;
}

/* What is at the reader's position. Return: its kind; -EAGAIN; -EPROTO. */
static int look(const struct relay_ring *ring, const struct relay_reader *reader,
                uint64_t *ret_n_bytes)
{
    uint64_t header;
    unsigned kind;

    if (reader->position % WORD != 0)
        return -EPROTO;
    if (reader->position >= atomic_load_explicit(&ring->ctl->reserved, memory_order_acquire))
        return -EAGAIN;
    header = atomic_load_explicit(header_at(ring, reader->position), memory_order_acquire);
    kind = header_kind(header, reader->position);
    if (kind != KIND_DONE && kind != KIND_SKIP)
        return -EAGAIN;
    *ret_n_bytes = (uint32_t)header;
    return room_of(*ret_n_bytes) <= left_in_subbuf(ring, reader->position) ? (int)kind : -EPROTO;
}

ssize_t relay_read(const struct relay_ring *ring, struct relay_reader *reader, void *buf,
                   size_t size)
{
    for (;;) {
        uint64_t n_bytes = 0;
        int kind;

        catch_up(ring, reader);
        kind = look(ring, reader, &n_bytes);
        if (kind == KIND_DONE && n_bytes <= size)
            copy_out(buf, at(ring, reader->position) + RELAY_HEADER_BYTES, n_bytes);
        if (was_overtaken(ring, reader))
            continue;
        if (kind < 0)
            return kind;
        if (kind == KIND_DONE && n_bytes > size)
            return -EMSGSIZE;
        go_on(ring, reader, room_of(n_bytes));
        if (kind == KIND_DONE)
            return (ssize_t)n_bytes;
    }
}

/* ---- repair ---- */

/* What `committed` is when all of [start, end), of one sub-buffer, is finished. */
static uint64_t committed_until(const struct relay_ring *ring, uint64_t start, uint64_t end)
{
    return start / ring->subbuf_bytes / ring->n_subbufs * ring->subbuf_bytes + (end - start);
}

static bool is_finished(const struct relay_ring *ring, uint64_t start, uint64_t end)
{
    return atomic_load_explicit(&ring->ctl->committed[slot_of(ring, start)],
                                memory_order_acquire) == committed_until(ring, start, end);
}

/* Walks what was reserved of one sub-buffer. */
static uint64_t repair_subbuf(const struct relay_ring *ring, uint64_t start, uint64_t end)
{
    uint64_t position = start;
    uint64_t n_aborted = 0;

    while (position < end) {
        const uint64_t header =
            atomic_load_explicit(header_at(ring, position), memory_order_relaxed);
        const unsigned kind = header_kind(header, position);
        uint64_t n_bytes = (uint32_t)header;

        if (kind == 0 || room_of(n_bytes) > end - position)
            n_bytes = end - position - RELAY_HEADER_BYTES;
        else if (kind != KIND_RESERVED) {
            position += room_of(n_bytes);
            continue;
        }
        atomic_store_explicit(header_at(ring, position), header_make(position, KIND_SKIP, n_bytes),
                              memory_order_release);
        position += room_of(n_bytes);
        n_aborted++;
    }
    atomic_store_explicit(&ring->ctl->committed[slot_of(ring, start)],
                          committed_until(ring, start, end), memory_order_release);
    return n_aborted;
}

uint64_t relay_ring_repair(const struct relay_ring *ring)
{
    const uint64_t reserved = atomic_load_explicit(&ring->ctl->reserved, memory_order_acquire);
    uint64_t n_aborted = 0;
    uint64_t start;

    if (reserved % WORD != 0)
        return 0; /* broken by whoever wrote: relay_reserve() says so */
    start = oldest_subbuf(ring, reserved) * ring->subbuf_bytes;
    for (uint64_t i = 0; i < ring->n_subbufs && start < reserved; i++) {
        const uint64_t left = reserved - start;
        const uint64_t end = start + (left < ring->subbuf_bytes ? left : ring->subbuf_bytes);

        if (!is_finished(ring, start, end))
            n_aborted += repair_subbuf(ring, start, end);
        start = end;
    }
    atomic_fetch_add_explicit(&ring->ctl->aborted, n_aborted, memory_order_relaxed);
    return n_aborted;
}
