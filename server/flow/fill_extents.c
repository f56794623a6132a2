/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages whose bytes the driver described as ranges of fds: the server reads them itself. No process
 * but the client and us is involved in such a fault.
 *
 *   run -> job: a buffer, filled and emptied piece by piece
 *     in memory      preadv2 -> pwrite into the memfd -> supplied, CACHED_PIECE_BYTES at a time
 *     the rest       io_uring (a read ends where its extent does) -> one pwrite -> supplied
 *   a whole window of bytes in memory, and 2 MiB pages
 *                    read straight into a mapping of the file: no buffer, no pwrite
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
    struct object *object; /* ref */
    uint64_t run_id;
    struct range pages;
    struct range bytes; /* of the object; [at, end) still to be read */
    uint64_t at;
    void *buffer;    /* owned, from the store; NULL when read straight into a mapping of the file */
    uint8_t *memory; /* where bytes.start goes */
};

static struct extent_job *job_free(struct extent_job *job)
{
    if (!job)
        return NULL;
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
 * A whole window goes straight into the object's file, which saves the second copy. Only within
 * this call: what io_uring brings later could arrive after a revoke, over newer bytes. So what is
 * not in memory is left in [bytes.start, end). Return: as run_cached().
 */
static int run_cached_large(struct extent_job *job)
{
    struct store *store = &job->object->engine->store;
    int r = 0;

    if (range_len(job->bytes) != STORE_BUFFER_BYTES || job->bytes.start % STORE_BUFFER_BYTES != 0)
        return 0;
    job->memory = store_large_begin(store, &job->object->backing, job->bytes.start);
    if (!job->memory)
        return 0;
    if (is_in_one_extent(job->object, job->bytes))
        r = run_cached(job);
    store_large_end(store);
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
    job->op.done = on_read;
    r = run_cached_large(job);
    if (r != 0)
        return r < 0 ? r : 0;
    r = set_memory(job);
    if (r < 0)
        return r;
    r = run_cached(job);
    if (r != 0)
        return r < 0 ? r : 0;
    if (read_next(job))
        (void)TAKE(job); /* its op's */
    else
        finish(TAKE(job));
    return 0;
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
