/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The writing thread: up to N_SLOTS clusters at a time.
 *
 *   queue -> slot: the page cache is mapped -> io_uring write from there at the file's offset -> answered
 *                  (a few pages: pread)
 *
 * So the bytes are copied once, by the write. Only the kernel touches the mapping: what somebody has truncated is
 * EFAULT there, not SIGBUS.
 *
 * A short write goes on where it ended; bytes behind the object's end are left out. The thread sleeps
 * on the queue when no slot is busy, and on the ring when one is; a slot that ends looks at the queue.
 */
#include "drivers/file/flush.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <liburing.h>

#include "common/base/list.h"
#include "common/base/own.h"

#define N_SLOTS     4u          /* as many clusters as the server has under way for an object */
#define PIECE_BYTES (2u << 20)  /* the largest cluster; a multiple of every size of a page */
#define SMALL_BYTES (64u << 10) /* chosen: what is copied sooner than it is mapped and unmapped */

struct job {
    struct list node;
    struct muse_writeback what;
    struct muse_request *request;
    int fd;
    uint64_t offset, end; /* bytes of the file still to be written */
    uint8_t *piece;       /* owned: a mapping of PIECE_BYTES, or malloc'ed; NULL: none yet */
    bool is_mapped;
    uint64_t done;    /* bytes of the piece written */
    uint64_t n_bytes; /* in the piece */
};

struct flusher {
    pthread_t thread;
    pthread_mutex_t lock; /* of the queue */
    pthread_cond_t queued;
    struct list queue;
    struct io_uring ring;
    unsigned n_busy; /* slots */
    bool stop;
};

static void drop_piece(struct job *job)
{
    if (job->piece && job->is_mapped)
        (void)munmap(job->piece, PIECE_BYTES);
    else
        free(job->piece);
    job->piece = NULL;
}

/* Return: 0; -errno. */
static int read_piece(struct job *job)
{
    uint64_t n_read = 0;

    job->is_mapped = false;
    job->piece = malloc(job->n_bytes);
    if (!job->piece)
        return -ENOMEM;
    while (n_read < job->n_bytes) {
        ssize_t n = pread(job->what.fd, job->piece + n_read, job->n_bytes - n_read,
                          (off_t)(job->offset + n_read));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        n_read += (uint64_t)n;
    }
    return 0;
}

/* Return: 0; -errno. */
static int map_piece(struct job *job)
{
    void *piece = mmap(NULL, PIECE_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, job->what.fd,
                       (off_t)job->offset);

    if (piece == MAP_FAILED)
        return -errno;
    job->is_mapped = true;
    job->piece = piece;
    return 0;
}

static int next_piece(struct job *job)
{
    const uint64_t left = job->end - job->offset;

    drop_piece(job);
    job->n_bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
    job->done = 0;
    return job->n_bytes <= SMALL_BYTES ? read_piece(job) : map_piece(job);
}

static void submit(struct flusher *flusher, struct job *job)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&flusher->ring);

    MUST(sqe); /* there are as many entries as slots */
    io_uring_prep_write(sqe, job->fd, job->piece + job->done, (unsigned)(job->n_bytes - job->done),
                        job->offset + job->done);
    io_uring_sqe_set_data(sqe, job);
}

static void finish(struct flusher *flusher, struct job *job, int error)
{
    if (error < 0)
        muse_set_error("writing at byte %" PRIu64 ": %s", job->offset + job->done,
                       strerror(-error));
    drop_piece(job);
    flusher->n_busy--;
    muse_reply(job->request, error);
    free(job);
}

/* The next piece of the job, or its end. */
static void go_on(struct flusher *flusher, struct job *job)
{
    int r;

    if (job->offset >= job->end) {
        finish(flusher, job, 0);
        return;
    }
    r = next_piece(job);
    if (r < 0)
        finish(flusher, job, r);
    else
        submit(flusher, job);
}

/* Return: NULL: nothing is queued, or the thread is to end (stop is set). */
static struct job *take_job(struct flusher *flusher)
{
    struct list *node;

    (void)pthread_mutex_lock(&flusher->lock);
    while (list_is_empty(&flusher->queue) && flusher->n_busy == 0 && !flusher->stop)
        (void)pthread_cond_wait(&flusher->queued, &flusher->lock);
    node = list_take_first(&flusher->queue);
    (void)pthread_mutex_unlock(&flusher->lock);
    return node ? CONTAINER_OF(node, struct job, node) : NULL;
}

static void on_written(struct flusher *flusher, struct job *job, int res)
{
    if (res < 0 && res != -EINTR && res != -EAGAIN) {
        finish(flusher, job,
               res == -EFAULT ? -EIO : res); /* the page cache is shorter than it was */
        return;
    }
    if (res == 0) {
        finish(flusher, job, -ENOSPC);
        return;
    }
    job->done += res > 0 ? (uint64_t)res : 0;
    if (job->done < job->n_bytes) {
        submit(flusher, job);
        return;
    }
    job->offset += job->n_bytes;
    go_on(flusher, job);
}

static void reap(struct flusher *flusher)
{
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&flusher->ring, &cqe) == 0) {
        struct job *job = io_uring_cqe_get_data(cqe);
        const int res = cqe->res;

        io_uring_cqe_seen(&flusher->ring, cqe);
        on_written(flusher, job, res);
    }
}

static void *run(void *arg)
{
    struct flusher *flusher = arg;
    bool more = true;

    while (more || flusher->n_busy > 0) {
        struct job *job;

        while (flusher->n_busy < N_SLOTS && (job = take_job(flusher))) {
            flusher->n_busy++;
            go_on(flusher, job);
        }
        (void)pthread_mutex_lock(&flusher->lock);
        more = !flusher->stop || !list_is_empty(&flusher->queue);
        (void)pthread_mutex_unlock(&flusher->lock);
        if (flusher->n_busy > 0)
            (void)io_uring_submit_and_wait(&flusher->ring, 1); /* failed: it is tried again */
        reap(flusher);
    }
    return NULL;
}

static void release(struct flusher *flusher)
{
    io_uring_queue_exit(&flusher->ring);
    (void)pthread_cond_destroy(&flusher->queued);
    (void)pthread_mutex_destroy(&flusher->lock);
    free(flusher);
}

int flusher_start(struct flusher **ret_flusher)
{
    struct flusher *flusher = calloc(1, sizeof(*flusher));
    int r;

    if (!flusher)
        return -ENOMEM;
    r = io_uring_queue_init(N_SLOTS, &flusher->ring, 0);
    if (r < 0) {
        free(flusher);
        return r;
    }
    (void)pthread_mutex_init(&flusher->lock, NULL); /* these cannot fail with default attributes */
    (void)pthread_cond_init(&flusher->queued, NULL);
    list_init(&flusher->queue);
    r = -pthread_create(&flusher->thread, NULL, run, flusher);
    if (r < 0) {
        release(flusher);
        return r;
    }
    *ret_flusher = flusher;
    return 0;
}

struct flusher *flusher_stop(struct flusher *flusher)
{
    if (!flusher)
        return NULL;
    (void)pthread_mutex_lock(&flusher->lock);
    flusher->stop = true;
    (void)pthread_cond_signal(&flusher->queued);
    (void)pthread_mutex_unlock(&flusher->lock);
    (void)pthread_join(flusher->thread, NULL);
    release(flusher);
    return NULL;
}

void flusher_write(struct flusher *flusher, const struct muse_writeback *writeback, int fd,
                   struct muse_request *request)
{
    const uint64_t end = (writeback->first_page + writeback->n_pages) * writeback->page_bytes;
    struct job *job = calloc(1, sizeof(*job));

    if (!job) {
        muse_reply(request, -ENOMEM);
        return;
    }
    job->what = *writeback;
    job->request = request;
    job->fd = fd;
    job->offset = writeback->first_page * writeback->page_bytes;
    job->end = end < writeback->size_bytes ? end : writeback->size_bytes;
    (void)pthread_mutex_lock(&flusher->lock);
    list_add_tail(&flusher->queue, &job->node);
    (void)pthread_cond_signal(&flusher->queued);
    (void)pthread_mutex_unlock(&flusher->lock);
}
