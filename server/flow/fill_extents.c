/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages whose bytes the driver described as ranges of fds: the server reads them itself. No process
 * but the client and us is involved in such a fault.
 *
 *   run -> job: a buffer, filled and emptied piece by piece
 *     in memory      preadv2 -> pwrite into the memfd -> supplied, CACHED_PIECE_BYTES at a time
 *     the rest       io_uring (a read ends where its extent does) -> one pwrite -> supplied
 *   a whole block of bytes in memory, and 2 MiB pages
 *                    read straight into a mapping of the file: no buffer, no pwrite. A block that
 *                    nobody waits for is first populated (made one folio of zeros) by a worker of
 *                    the ring, which costs as much as the read, while we do something else
 *   run in a hole    zeros, complete at once
 *
 * What extents leave out is zeros, and so is what lies behind the object's end. An extent whose fd
 * ends earlier than it said is an error of the driver: EIO. A job that nobody waits for any more
 * (timed out, revoked, driver dead) reads to its end, because the kernel writes into its buffer,
 * and is then forgotten.
 *
 * Owns jobs and their buffers; each holds a ref of its object, which keeps the fds. What a miss
 * costs: fault_flow.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "common/base/own.h"
#include "server/flow/fill.h"

/* Chosen: half of a small L2 cache, and large enough that the calls do not count. */
#define CACHED_PIECE_BYTES (256u << 10)

struct extent_job {
    struct ring_op op;
    struct list node;      /* in engine.populated: its block is there */
    struct object *object; /* ref */
    uint64_t run_id;
    struct range pages;
    struct range bytes; /* of the object; [at, end) still to be read */
    uint64_t at;
    uint8_t *block;  /* in use, in the backing's window; NULL: none */
    void *buffer;    /* owned, from the store; NULL when read straight into a mapping of the file */
    uint8_t *memory; /* where bytes.start goes */
};

static struct extent_job *job_free(struct extent_job *job)
{
    if (!job)
        return NULL;
    if (job->block)
        backing_block_end(&job->object->backing, job->block);
    store_buffer_put(&job->object->engine->store, job->buffer);
    object_unref(job->object);
    free(job);
    return NULL;
}

DEFINE_CLEANUP(struct extent_job *, job_free)

/* The first extent that ends above @offset; NULL when there is none. */
static const struct object_extent *find_extent(const struct object *object, uint64_t offset)
{
    size_t low = 0, high = object->n_extents;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct object_extent *extent = &object->extents[middle];

        if (extent->object_offset + extent->length > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low < object->n_extents ? &object->extents[low] : NULL;
}

/* The next piece of @bytes that has to be read from a file; @bytes may begin with zeros.
 * Return: NULL: all zeros. */
static const struct object_extent *next_piece(const struct object *object, struct range bytes,
                                              struct range *ret_piece)
{
    const struct object_extent *extent;

    if (bytes.end > object->size_bytes)
        bytes.end = object->size_bytes;
    while (!range_is_empty(bytes)) {
        extent = find_extent(object, bytes.start);
        if (!extent || extent->object_offset >= bytes.end)
            return NULL;
        *ret_piece = range_intersect(
            bytes, (struct range){extent->object_offset, extent->object_offset + extent->length});
        if (extent->fd >= 0)
            return extent;
        bytes.start = ret_piece->end;
    }
    return NULL;
}

/* The parts of a job's run that are in flight still. */
static struct run *find_run(const struct extent_job *job)
{
    struct run *run = run_table_find_next(&job->object->runs, job->pages.start);

    while (run && run->pages.start < job->pages.end && run->id != job->run_id)
        run = run_next(run);
    return run && run->pages.start < job->pages.end ? run : NULL;
}

static void fail(struct extent_job *job, int error, const char *text)
{
    const struct fill_error why = {.error = error, .hook = "extents", .text = text};
    struct run *run;

    while ((run = find_run(job)))
        fill_run_failed(job->object, run, run->pages, &why);
    (void)job_free(job);
}

/* [bytes.start, end) was read. Only pages that this run still stands for are written: others may
 * have come by another way.
 * Return: 0; -errno of the page cache. */
static int supply(struct extent_job *job, uint64_t end)
{
    struct object *object = job->object;
    const struct range done = {job->pages.start, end >> object->page_shift};
    const uint64_t n_bytes = end - job->bytes.start;
    struct run *run;

    while ((run = find_run(job)) && run->pages.start < done.end) {
        const struct range pages = range_intersect(run->pages, done);
        const uint64_t offset = pages.start << object->page_shift;
        int r = 0;

        if (job->buffer && !run->stale)
            r = backing_write(&object->backing, offset, job->memory + (offset - job->bytes.start),
                              range_len(pages) << object->page_shift);
        if (r < 0)
            return r;
        fill_supplied(object, pages, job->run_id, false);
    }
    job->pages.start = done.end;
    job->bytes.start = end;
    if (!job->buffer) /* the mapping goes on; the buffer begins anew */
        job->memory += n_bytes;
    return 0;
}

/* The rest was read. */
static void finish(struct extent_job *job)
{
    if (supply(job, job->bytes.end) < 0)
        fail(job, ENOMEM, "the page cache has no room");
    else
        (void)job_free(job);
}

static void zero(const struct extent_job *job, struct range bytes)
{
    if (job->buffer) /* the mapping is zeros already */
        memset(job->memory + (bytes.start - job->bytes.start), 0, range_len(bytes));
}

/* Asks for the next piece. Return: false when all of the job is there. */
static bool read_next(struct extent_job *job)
{
    struct range piece;
    const struct object_extent *extent =
        next_piece(job->object, (struct range){job->at, job->bytes.end}, &piece);

    if (!extent) {
        zero(job, (struct range){job->at, job->bytes.end});
        return false;
    }
    zero(job, (struct range){job->at, piece.start});
    job->at = piece.start;
    ring_read(&job->object->engine->ring, &job->op, extent->fd,
              job->memory + (piece.start - job->bytes.start), (uint32_t)range_len(piece),
              extent->fd_offset + (piece.start - extent->object_offset));
    return true;
}

/* ---- what is in memory already ---- */

/* Return: bytes; 0 when it has to be waited for, or failed: io_uring waits, and says how. */
static uint64_t read_cached(const struct object_extent *extent, void *memory, struct range piece)
{
    const off_t offset = (off_t)(extent->fd_offset + (piece.start - extent->object_offset));
    struct iovec iov = {.iov_base = memory, .iov_len = range_len(piece)};
    const ssize_t n = preadv2(extent->fd, &iov, 1, offset, extent->in_memory ? 0 : RWF_NOWAIT);

    return n > 0 ? (uint64_t)n : 0;
}

/* Reads [at, end). Return: whether all of it was in memory. */
static bool read_piece(struct extent_job *job, uint64_t end)
{
    while (job->at < end) {
        struct range piece;
        const struct object_extent *extent =
            next_piece(job->object, (struct range){job->at, end}, &piece);
        uint64_t n;

        if (!extent) {
            zero(job, (struct range){job->at, end});
            job->at = end;
            return true;
        }
        zero(job, (struct range){job->at, piece.start});
        job->at = piece.start;
        n = read_cached(extent, job->memory + (piece.start - job->bytes.start), piece);
        if (n == 0)
            return false;
        job->at += n;
    }
    return true;
}

/*
 * Piece by piece: the reader goes on while the rest is copied, and a piece stays in the processor's
 * cache between the read and the write.
 *
 * Return: 1 all was in memory, 0 the rest has to be waited for, -errno.
 */
static int run_cached(struct extent_job *job)
{
    const uint64_t page_bytes = object_page_bytes(job->object);
    const uint64_t piece_bytes = page_bytes > CACHED_PIECE_BYTES ? page_bytes : CACHED_PIECE_BYTES;

    while (!range_is_empty(job->bytes)) {
        const uint64_t left = range_len(job->bytes);
        const uint64_t end = job->bytes.start + (left < piece_bytes ? left : piece_bytes);
        int r;

        if (!read_piece(job, end))
            return 0;
        r = supply(job, end);
        if (r < 0)
            return r;
    }
    return 1;
}

static void on_read(struct ring_op *op, int32_t res)
{
    struct extent_job *job = CONTAINER_OF(op, struct extent_job, op);
    char text[POISON_TEXT_BYTES];

    if (res == 0) {
        fail(job, EIO, "an extent is shorter than announced");
        return;
    }
    if (res < 0 && res != -EINTR && res != -EAGAIN) {
        (void)snprintf(text, sizeof(text), "an extent cannot be read: %s",
                       strerrordesc_np(-res) ? strerrordesc_np(-res) : "unknown error");
        fail(job, -res, text);
        return;
    }
    if (res > 0)
        job->at += (uint32_t)res; /* less than asked for: the rest, or the end, comes next */
    if (!read_next(job))
        finish(job);
}

/* Whether one extent has all of it: then there is nothing to be zeroed. */
static bool is_in_one_extent(const struct object *object, struct range bytes)
{
    struct range piece;
    const struct object_extent *extent = next_piece(object, bytes, &piece);

    return extent && range_equal(piece, bytes);
}

/*
 * A whole block goes straight into the object's file, which saves the second copy. Only within this
 * call, and while all of it is in flight for us: what io_uring brings later could arrive after a
 * revoke, over newer bytes. So what is not in memory is left in [bytes.start, end). Return: as
 * run_cached().
 */
static int run_cached_block(struct extent_job *job)
{
    const struct run *run = find_run(job);
    int r = 0;

    if (run && range_equal(run->pages, job->pages) && !run->stale &&
        is_in_one_extent(job->object, job->bytes)) {
        job->memory = job->block;
        r = run_cached(job);
    }
    backing_block_end(&job->object->backing, TAKE(job->block));
    job->at = job->bytes.start; /* a piece that was read in part is read again */
    return r;
}

static int set_memory(struct extent_job *job)
{
    struct object *object = job->object;
    int r;

    if (object->backing.map) {
        r = backing_zero(&object->backing, job->bytes); /* makes it present, too */
        job->memory = object->backing.map + job->bytes.start;
        return r;
    }
    job->buffer = store_buffer_get(&object->engine->store);
    job->memory = job->buffer;
    return job->buffer ? 0 : -ENOMEM;
}

/* What a block does not take. Consumes the job when it returns 0. */
static int run_pieces(struct extent_job *job)
{
    int r = set_memory(job);

    if (r == 0)
        r = run_cached(job);
    if (r < 0)
        return r;
    job->op.done = on_read; /* while it reads, the job is its op's */
    if (r > 0)
        (void)job_free(job);
    else if (!read_next(job))
        finish(job);
    return 0;
}

/* Where nobody claims pages any more that were populated for us, their zeros go again. */
static void punch_absent(struct object *object, struct range pages)
{
    pages = range_intersect(pages, page_table_range(&object->pages));
    while (!range_is_empty(pages)) {
        const struct range run = page_table_find_run(&object->pages, pages, PAGE_BIT(PAGE_ABSENT));

        if (!range_is_empty(run))
            backing_punch(&object->backing, (struct range){run.start << object->page_shift,
                                                           run.end << object->page_shift});
        pages.start = run.end;
    }
}

static void read_block(struct extent_job *job)
{
    struct object *object = object_ref(job->object);
    const struct range pages = job->pages;
    const int r = run_cached_block(job);

    if (r > 0) { /* all of it, and nobody else had any */
        (void)job_free(job);
    } else {
        if (r == 0 && !find_run(job))
            (void)job_free(job);
        else if (r < 0 || run_pieces(job) < 0)
            fail(job, ENOMEM, "the page cache has no room");
        punch_absent(object, pages);
    }
    object_unref(object);
}

/* One block a turn: between two the reader's next faults are looked at, so that workers populate
 * the blocks after these while we read. */
static void on_populated_turn(struct turn_hook *hook)
{
    struct engine *engine = CONTAINER_OF(hook, struct engine, populated_turn);
    struct list *node = list_first(&engine->populated);

    list_del(node);
    if (list_is_empty(&engine->populated))
        turn_hook_remove(hook);
    else
        loop_again(&engine->loop);
    read_block(LIST_ENTRY(node, struct extent_job, node));
}

static void on_populated(struct ring_op *op, int32_t res)
{
    struct extent_job *job = CONTAINER_OF(op, struct extent_job, op);
    struct engine *engine = job->object->engine;

    (void)res; /* small folios then */
    if (list_is_empty(&engine->populated))
        turn_hook_add(&engine->loop, &engine->populated_turn);
    list_add_tail(&engine->populated, &job->node);
}

void fill_extents_init(struct engine *engine)
{
    list_init(&engine->populated);
    list_init(&engine->populated_turn.node);
    engine->populated_turn.fn = on_populated_turn;
}

/* Return: whether a worker of the ring makes the folio first, while we do something else. */
static bool begin_block(struct extent_job *job, const struct run *run)
{
    if (range_len(job->bytes) != PAGE_BYTES_HUGE || job->bytes.start % PAGE_BYTES_HUGE != 0)
        return false;
    job->block =
        backing_block_begin(&job->object->engine->store, &job->object->backing, job->bytes.start);
    if (!job->block)
        return false;
    if (run->needed_end <= run->pages.start) {
        job->op.done = on_populated;
        ring_populate(&job->object->engine->ring, &job->op, job->block, PAGE_BYTES_HUGE);
        return true;
    }
    (void)!store_populate(job->block); /* small folios then */
    return false;
}

static int start_job(struct object *object, const struct run *run, struct range bytes)
{
    CLEAN(job_free_p) struct extent_job *job = calloc(1, sizeof(*job));
    int r;

    if (!job)
        return -ENOMEM;
    job->object = object_ref(object);
    job->run_id = run->id;
    job->pages = run->pages;
    job->bytes = bytes;
    job->at = bytes.start;
    if (begin_block(job, run)) {
        (void)TAKE(job); /* its op's */
        return 0;
    }
    r = job->block ? run_cached_block(job) : 0;
    if (r != 0)
        return r < 0 ? r : 0;
    r = run_pieces(job);
    if (r == 0)
        (void)TAKE(job);
    return r;
}

int fill_extents_start(struct object *object, const struct run *run)
{
    const struct range bytes = {run->pages.start << object->page_shift,
                                run->pages.end << object->page_shift};
    struct range piece;
    int r;

    MUST(range_len(bytes) <= STORE_BUFFER_BYTES);
    if (next_piece(object, bytes, &piece))
        return start_job(object, run, bytes);
    r = backing_zero(&object->backing, bytes);
    if (r < 0)
        return r;
    object->engine->stats.runs_zero++;
    fill_supplied(object, run->pages, run->id, false);
    return 0;
}
