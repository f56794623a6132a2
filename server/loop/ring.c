/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One io_uring on the loop. Owns the uring and its backlog; borrows operations until they are done.
 * Called by whoever reads files for the cache. Deliberately knows only reads at an offset and
 * populating memory, and never waits for a completion.
 *
 * An operation: backlog -> submission entry (unsubmitted) -> kernel -> completion entry -> done.
 * n_in_flight counts from the submission entry on and stays within the completion entries, so that
 * these cannot overflow. Something in flight and submitted means that the watcher will come;
 * something unsubmitted means that the turn hook or the retry will.
 */
#include "server/loop/ring.h"

#include <errno.h>
#include <sys/mman.h>

#include "common/base/linux_abi.h"

/* Chosen: rounds of submitting and reaping before the loop looks at other fds. */
#define ROUNDS_MAX 8u

#define RETRY_NS 1000000u /* chosen: the timer's grain */

static bool entry_fill(struct ring *ring, struct ring_op *op)
{
    struct io_uring_sqe *sqe;

    if (ring->n_in_flight >= ring->uring.cq.ring_entries)
        return false;
    sqe = io_uring_get_sqe(&ring->uring);
    if (!sqe)
        return false; /* a full submission queue is normal */
    if (op->is_populate)
        io_uring_prep_madvise(sqe, op->buf, op->n_bytes, MADV_POPULATE_WRITE);
    else
        io_uring_prep_read(sqe, op->fd, op->buf, op->n_bytes, op->offset);
    io_uring_sqe_set_data(sqe, op);
    ring->n_in_flight++;
    ring->n_unsubmitted++;
    return true;
}

static void backlog_fill(struct ring *ring)
{
    struct list *node;

    while ((node = list_first(&ring->backlog))) {
        if (!entry_fill(ring, LIST_ENTRY(node, struct ring_op, queued)))
            return;
        list_del(node);
    }
}

/* Return: whether the kernel took everything there was an entry for */
static bool submit(struct ring *ring)
{
    int r;

    backlog_fill(ring);
    while (ring->n_unsubmitted > 0) {
        r = io_uring_submit(&ring->uring);
        if (r == -EINTR)
            continue;
        if (r <= 0) {
            /* No memory, or completions to reap first: the entries stay, and are tried again. */
            MUST(r == 0 || r == -EAGAIN || r == -EBUSY || r == -ENOMEM);
            deadline_set(ring->loop, &ring->retry, loop_now_ns() + RETRY_NS);
            return false;
        }
        MUST((unsigned)r <= ring->n_unsubmitted);
        ring->n_unsubmitted -= (unsigned)r;
        backlog_fill(ring);
    }
    return true;
}

/* Return: how many were done, at most those complete on entry: a fast file would keep us here */
static unsigned reap(struct ring *ring)
{
    unsigned n_ready = io_uring_cq_ready(&ring->uring);
    struct io_uring_cqe *cqe;
    unsigned n;

    for (n = 0; n < n_ready && io_uring_peek_cqe(&ring->uring, &cqe) == 0; n++) {
        struct ring_op *op = io_uring_cqe_get_data(cqe);
        int32_t res = cqe->res;

        MUST(op && op->magic == RING_OP_MAGIC);
        io_uring_cqe_seen(&ring->uring, cqe);
        op->magic = 0;
        ring->n_in_flight--;
        op->done(op, res);
    }
    return n;
}

void ring_submit(struct ring *ring)
{
    unsigned round = 0;
    unsigned n;

    if (ring->is_reaping) {
        (void)submit(ring); /* a failure has set the retry */
        return;
    }
    ring->is_reaping = true;
    do {
        (void)submit(ring);
        n = reap(ring);
        if (n > 0)
            loop_again(ring->loop); /* done callbacks may have left work to hooks that ran before */
    } while (n > 0 && ++round < ROUNDS_MAX);
    (void)submit(ring); /* what the last done callbacks asked for; the watcher reaps it */
    ring->is_reaping = false;
}

static void on_turn(struct turn_hook *hook)
{
    struct ring *ring = CONTAINER_OF(hook, struct ring, turn);

    turn_hook_remove(hook);
    ring_submit(ring);
}

static void on_ready(struct watcher *watcher, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    ring_submit(CONTAINER_OF(watcher, struct ring, watcher));
}

static void on_retry(struct deadline *deadline)
{
    ring_submit(CONTAINER_OF(deadline, struct ring, retry));
}

static void on_closed(struct watcher *watcher)
{
    struct ring *ring = CONTAINER_OF(watcher, struct ring, watcher);

    io_uring_queue_exit(&ring->uring);
    if (ring->closed)
        ring->closed(ring);
}

int ring_init(struct ring *ring, struct loop *loop, unsigned n_entries)
{
    int r;

    *ring = (struct ring){
        .loop = loop,
        .watcher = {.ready = on_ready, .closed = on_closed},
        .turn = {.fn = on_turn},
        .retry = {.fn = on_retry},
    };
    list_init(&ring->turn.node);
    list_init(&ring->backlog);
    r = io_uring_queue_init(n_entries, &ring->uring, 0);
    if (r < 0)
        return r;
    r = watcher_open(loop, &ring->watcher, ring->uring.ring_fd);
    if (r < 0)
        io_uring_queue_exit(&ring->uring);
    return r;
}

void ring_close(struct ring *ring, void (*closed)(struct ring *ring))
{
    MUST(ring->n_in_flight == 0 && list_is_empty(&ring->backlog));
    ring->closed = closed;
    turn_hook_remove(&ring->turn);
    deadline_clear(ring->loop, &ring->retry);
    watcher_close(&ring->watcher);
}

static void enqueue(struct ring *ring, struct ring_op *op)
{
    MUST(op->done && op->magic != RING_OP_MAGIC);
    op->magic = RING_OP_MAGIC;
    list_init(&op->queued);
    if (!list_is_empty(&ring->backlog) || !entry_fill(ring, op)) {
        list_add_tail(&ring->backlog,
                      &op->queued); /* what is in flight, or unsubmitted, will make room */
    }
    if (!list_is_linked(&ring->turn.node))
        turn_hook_add(ring->loop, &ring->turn);
}

void ring_read(struct ring *ring, struct ring_op *op, int fd, void *buf, uint32_t n_bytes,
               uint64_t offset)
{
    op->is_populate = false;
    op->fd = fd;
    op->buf = buf;
    op->n_bytes = n_bytes;
    op->offset = offset;
    enqueue(ring, op);
}

void ring_populate(struct ring *ring, struct ring_op *op, void *memory, uint32_t n_bytes)
{
    op->is_populate = true;
    op->fd = -1;
    op->buf = memory;
    op->n_bytes = n_bytes;
    op->offset = 0;
    enqueue(ring, op);
}
