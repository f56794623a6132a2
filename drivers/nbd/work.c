/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs, slots, and flushes; see work.h. */
#include "drivers/nbd/work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/own.h"

/* A write may take a server's disk longer than somebody who reads wants to wait; the kernel's nbd has
 * the same 30 s. */
#define WRITE_PATIENCE_NS UINT64_C(30000000000)

#define BUFFERS_BYTES ((size_t)N_SLOTS * PIECE_BYTES)

/* ---- jobs ---- */

struct job *job_new_read(struct muse_fault *fault, const struct blocks *blocks)
{
    struct job *job = calloc(1, sizeof(*job));
    const uint64_t start = fault->first_page * BLOCK_PAGE_BYTES;

    if (!job)
        return NULL;
    job->kind = JOB_READ;
    job->fault = fault;
    job->needed = range_make(start, start + fault->n_needed * (uint64_t)BLOCK_PAGE_BYTES);
    job->bytes = blocks_cover(
        blocks, range_make(start, start + fault->n_pages * (uint64_t)BLOCK_PAGE_BYTES));
    job->next = job->bytes.start;
    return job;
}

struct job *job_new_write(const struct muse_writeback *writeback, struct muse_request *request,
                          const struct blocks *blocks)
{
    struct job *job = calloc(1, sizeof(*job));
    const uint64_t start = writeback->first_page * BLOCK_PAGE_BYTES;
    const uint64_t end = start + writeback->n_pages * BLOCK_PAGE_BYTES;

    if (!job)
        return NULL;
    job->kind = JOB_WRITE;
    job->writeback = *writeback;
    job->request = request;
    job->bytes = range_make(start, end < blocks->size_bytes ? end : blocks->size_bytes);
    job->next = start;
    return job;
}

struct job *job_new_flush(struct muse_request *request)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->kind = JOB_FLUSH;
    job->state = JOB_WRITTEN;
    job->request = request;
    return job;
}

/* Nobody works for it any more. @error: 0, or -errno with the sentence set. */
static void job_end(struct job *job, int error)
{
    MUST(job->n_slots == 0);
    list_del(&job->node);
    if (job->kind != JOB_READ)
        muse_reply(job->request, error);
    else if (job->fault)
        muse_fault_done(job->fault, error);
    free(job);
}

static bool is_read_with_need(const struct job *job)
{
    return job->kind == JOB_READ && job->next < job->needed.end;
}

static bool is_write(const struct job *job)
{
    return job->kind == JOB_WRITE;
}

static bool is_read(const struct job *job)
{
    return job->kind == JOB_READ;
}

/* The first job with bytes for another slot. */
static struct job *find_job(struct work *work, bool (*is_wanted)(const struct job *job))
{
    struct list *pos;

    list_for_each(pos, &work->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        if (job->state == JOB_ACTIVE && job->next < job->bytes.end && is_wanted(job))
            return job;
    }
    return NULL;
}

/* Who waits for a page comes first, readahead last. */
static struct job *next_job(struct work *work)
{
    const bool may_read = work->n_reading < N_READ_SLOTS;
    const bool may_write = work->n_busy - work->n_reading < N_WRITE_SLOTS;
    struct job *job = may_read ? find_job(work, is_read_with_need) : NULL;

    if (!job && may_write)
        job = find_job(work, is_write);
    if (!job && may_read)
        job = find_job(work, is_read);
    return job;
}

/* ---- slots ---- */

static void slot_free(struct slot *slot)
{
    slot->job->n_slots--;
    slot->work->n_busy--;
    slot->work->n_reading -= slot->job->kind == JOB_READ;
    slot->job = NULL;
}

static void slot_begin(struct slot *slot, struct range chunk)
{
    slot->chunk = chunk;
    slot->sent = chunk.start;
    slot->error = 0;
}

static void slot_take(struct slot *slot, struct job *job)
{
    slot->job = job;
    slot->piece = blocks_piece(range_make(job->next, job->bytes.end));
    slot->is_careful = false;
    slot_begin(slot, slot->piece);
    job->next = slot->piece.end;
    job->n_slots++;
    slot->work->n_busy++;
    slot->work->n_reading += job->kind == JOB_READ;
}

/* What of the piece is in the export. */
static struct range inside(const struct slot *slot, struct range bytes)
{
    const uint64_t size = slot->work->info->blocks.size_bytes;

    return range_make(bytes.start, bytes.end < size ? bytes.end : size);
}

static uint8_t *buffer_at(const struct slot *slot, uint64_t offset)
{
    return slot->buffer + (offset - slot->piece.start);
}

/* From the page cache. Return: 0; -errno. */
static int slot_load(struct slot *slot)
{
    const int fd = slot->job->writeback.fd;
    uint64_t at = slot->piece.start;

    while (at < slot->piece.end) {
        ssize_t n = pread(fd, buffer_at(slot, at), slot->piece.end - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

/* libnbd has its lock here: nothing of it may be called. */
/* NOLINTNEXTLINE(readability-non-const-parameter): libnbd's */
static int on_answer(void *user, int *error)
{
    struct slot *slot = user;

    slot->n_flying--;
    if (*error != 0 && slot->error == 0)
        slot->error = -*error;
    return 1;
}

static int64_t send_request(struct slot *slot, struct nbd_handle *handle, uint32_t n_bytes)
{
    const nbd_completion_callback callback = {.callback = on_answer, .user_data = slot};
    uint8_t *at = buffer_at(slot, slot->sent);

    if (slot->job->kind == JOB_READ)
        return nbd_aio_pread(handle, at, n_bytes, slot->sent, callback, 0);
    return nbd_aio_pwrite(handle, at, n_bytes, slot->sent, callback, 0);
}

static bool is_connected(struct nbd_handle *handle)
{
    return nbd_aio_is_ready(handle) || nbd_aio_is_processing(handle);
}

/* Why libnbd has refused to send. -ENOTCONN: because there is no connection. */
static int error_of_libnbd(struct nbd_handle *handle)
{
    const int error = nbd_get_errno();

    return !is_connected(handle) ? -ENOTCONN : error > 0 ? -error : -EIO;
}

/* All requests of the chunk. What cannot be sent is as if the server had refused it. */
static void slot_send(struct slot *slot, struct nbd_handle *handle, uint64_t now_ns)
{
    const struct range chunk = inside(slot, slot->chunk);

    slot->sent_ns = now_ns;
    while (slot->error == 0 && slot->sent < chunk.end) {
        const uint32_t n_bytes =
            blocks_request(&slot->work->info->blocks, range_make(slot->sent, chunk.end));

        slot->n_flying++;
        if (send_request(slot, handle, n_bytes) < 0) {
            slot->n_flying--;
            slot->error = error_of_libnbd(handle);
            return;
        }
        slot->sent += n_bytes;
    }
}

/* ---- what the server has answered ---- */

static void supply_chunk(struct slot *slot)
{
    const struct range chunk = slot->chunk;
    const uint64_t end = inside(slot, chunk).end;

    memset(buffer_at(slot, end), 0, chunk.end - end);
    /* a server that is gone wants no pages; that of others cannot fail */
    (void)muse_fault_supply(slot->job->fault, chunk.start / BLOCK_PAGE_BYTES,
                            buffer_at(slot, chunk.start), range_len(chunk) / BLOCK_PAGE_BYTES);
}

static void set_error(const struct work *work, const char *what, struct range bytes, int error)
{
    muse_set_error("%s bytes %" PRIu64 " to %" PRIu64 " of %s: %s", what, bytes.start, bytes.end,
                   work->info->name, strerror(-error));
}

static uint64_t unit_of(const struct slot *slot)
{
    const uint64_t minimum = slot->work->info->blocks.minimum;

    return minimum > BLOCK_PAGE_BYTES ? minimum : BLOCK_PAGE_BYTES;
}

/* Only pages that somebody waits for are worth finding out which of them are bad. */
static void look_closer(struct slot *slot)
{
    const struct range needed = range_intersect(slot->chunk, slot->job->needed);

    if (slot->is_careful && !range_is_empty(needed)) {
        set_error(slot->work, "reading", needed, slot->error);
        (void)muse_fault_fail(slot->job->fault, needed.start / BLOCK_PAGE_BYTES,
                              range_len(needed) / BLOCK_PAGE_BYTES, slot->error);
    }
    if (!slot->is_careful) {
        slot->is_careful = true;
        slot->chunk.end = slot->chunk.start; /* once more, from its start */
    }
}

/* Return: whether another chunk of the piece is to be read. */
static bool read_answered(struct slot *slot)
{
    const uint64_t unit = unit_of(slot);
    uint64_t next;

    if (!slot->job->fault) /* it was too late */
        return false;
    if (slot->error == 0)
        supply_chunk(slot);
    else
        look_closer(slot);
    next = slot->chunk.end;
    if (next >= slot->piece.end || (slot->is_careful && next >= slot->job->needed.end))
        return false;
    slot_begin(slot,
               range_make(next, next + unit < slot->piece.end ? next + unit : slot->piece.end));
    return true;
}

static void write_answered(struct slot *slot)
{
    struct job *job = slot->job;

    if (slot->error == 0 || job->error != 0)
        return;
    job->error = slot->error;
    job->error_bytes = slot->chunk;
    job->next = job->bytes.end; /* the rest would be written again in any case */
}

/* After its last slot. */
static void job_go_on(struct work *work, struct job *job)
{
    if (job->n_slots > 0 || job->next < job->bytes.end)
        return;
    if (job->kind == JOB_READ) {
        job_end(job, 0);
    } else if (job->error != 0) {
        set_error(work, "writing", job->error_bytes, job->error);
        job_end(job, job->error);
    } else {
        job->state = JOB_WRITTEN;
    }
}

/* Whether such an answer says something about the connection, not about the bytes. */
static bool is_end(int error)
{
    return error == -ESHUTDOWN || error == -ENOTCONN;
}

/* Return: 0; what is_end(). */
static int slot_answered(struct slot *slot, struct nbd_handle *handle, uint64_t now_ns)
{
    struct job *job = slot->job;

    if (is_end(slot->error))
        return slot->error;
    if (job->kind == JOB_READ && read_answered(slot)) {
        slot_send(slot, handle, now_ns);
        return 0;
    }
    if (job->kind == JOB_WRITE)
        write_answered(slot);
    slot_free(slot);
    job_go_on(slot->work, job);
    return 0;
}

/* ---- flushes ---- */

/* NOLINTNEXTLINE(readability-non-const-parameter): libnbd's */
static int on_flushed(void *user, int *error)
{
    struct work *work = user;

    work->has_flushed = true;
    work->flush_error = -*error;
    return 1;
}

static void end_flushed(struct work *work)
{
    struct list *pos, *tmp;

    work->is_flushing = work->has_flushed = false;
    list_for_each_safe(pos, tmp, &work->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        if (job->state != JOB_FLUSHING)
            continue;
        if (work->flush_error < 0)
            muse_set_error("flushing %s: %s", work->info->name, strerror(-work->flush_error));
        job_end(job, work->flush_error);
    }
}

/* One flush for all that was written before it. */
static void begin_flush(struct work *work, struct nbd_handle *handle, uint64_t now_ns)
{
    const nbd_completion_callback callback = {.callback = on_flushed, .user_data = work};
    struct list *pos;

    list_for_each(pos, &work->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        if (job->state == JOB_WRITTEN) {
            job->state = JOB_FLUSHING;
            work->is_flushing = true;
        }
    }
    if (!work->is_flushing)
        return;
    work->flush_sent_ns = now_ns;
    if (!work->info->can_flush) {
        work->has_flushed = true;
        work->flush_error = 0;
    } else if (nbd_aio_flush(handle, callback, 0) < 0) {
        work->has_flushed = true;
        work->flush_error = error_of_libnbd(handle);
    }
}

static int flush_go_on(struct work *work, struct nbd_handle *handle, uint64_t now_ns)
{
    do {
        if (work->has_flushed && is_end(work->flush_error))
            return work->flush_error;
        if (work->has_flushed)
            end_flushed(work);
        if (!work->is_flushing)
            begin_flush(work, handle, now_ns);
    } while (work->has_flushed);
    return 0;
}

/* ---- all of it ---- */

static bool is_answered(const struct slot *slot)
{
    return slot->job && slot->n_flying == 0 &&
           (slot->error != 0 || slot->sent >= inside(slot, slot->chunk).end);
}

/* A piece for every slot that is free; once more what the last connection has not answered. */
static void fill_slots(struct work *work, struct nbd_handle *handle, uint64_t now_ns)
{
    for (unsigned i = 0; i < N_SLOTS; i++) {
        struct slot *slot = &work->slots[i];
        struct job *job = slot->job ? NULL : next_job(work);

        if (job) {
            slot_take(slot, job);
            if (job->kind == JOB_WRITE)
                slot->error = slot_load(slot);
        }
        if (slot->job && slot->n_flying == 0 && slot->sent == slot->chunk.start)
            slot_send(slot, handle, now_ns);
    }
}

/* Return: how many; what is_end(). */
static int take_answers(struct work *work, struct nbd_handle *handle, uint64_t now_ns)
{
    int n = 0;

    for (unsigned i = 0; i < N_SLOTS; i++) {
        while (is_answered(&work->slots[i])) {
            int r = slot_answered(&work->slots[i], handle, now_ns);

            if (r < 0)
                return r;
            n++;
        }
    }
    return n;
}

int work_go_on(struct work *work, struct nbd_handle *handle, uint64_t now_ns)
{
    int n;

    do {
        int r;

        fill_slots(work, handle, now_ns);
        if (!is_connected(handle)) /* whatever its requests say then */
            return -ENOTCONN;
        n = take_answers(work, handle, now_ns);
        r = n < 0 ? n : flush_go_on(work, handle, now_ns);
        if (r < 0)
            return r;
    } while (n > 0);
    return 0;
}

/* A page that was supplied may be written to, and must not be supplied again: so a read goes on where
 * it was. A write begins again, as none of it was flushed. */
static void slot_lost(struct slot *slot)
{
    slot->n_flying = 0;
    slot->error = 0;
    slot->sent = slot->chunk.start;
    if (slot->job->kind == JOB_WRITE || !slot->job->fault)
        slot_free(slot);
}

void work_lost(struct work *work)
{
    struct list *pos, *tmp;

    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (work->slots[i].job)
            slot_lost(&work->slots[i]);
    }
    list_for_each_safe(pos, tmp, &work->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        job->error = 0;
        job->state = job->kind == JOB_FLUSH ? JOB_WRITTEN : JOB_ACTIVE;
        if (job->kind == JOB_WRITE)
            job->next = job->bytes.start;
        if (job->kind == JOB_READ && !job->fault)
            job_end(job, 0);
    }
    work->is_flushing = work->has_flushed = false;
}

static uint64_t patience_of(const struct work *work, const struct slot *slot)
{
    return slot->job->kind == JOB_READ ? work->patience_ns : WRITE_PATIENCE_NS;
}

bool work_is_stuck(const struct work *work, uint64_t now_ns)
{
    for (unsigned i = 0; i < N_SLOTS; i++) {
        const struct slot *slot = &work->slots[i];

        if (slot->job && slot->n_flying > 0 && now_ns >= slot->sent_ns + patience_of(work, slot))
            return true;
    }
    return work->is_flushing && now_ns >= work->flush_sent_ns + WRITE_PATIENCE_NS;
}

static bool has_deadline(const struct job *job)
{
    return job->kind == JOB_FLUSH ? job->state != JOB_FLUSHING : job->fault != NULL;
}

/* The fault ends now; requests that are under way still need their buffers. */
static void expire_read(struct work *work, struct job *job)
{
    muse_fault_done(TAKE(job->fault), -EIO);
    job->next = job->bytes.end;
    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (work->slots[i].job == job && work->slots[i].n_flying == 0)
            slot_free(&work->slots[i]);
    }
    if (job->n_slots == 0)
        job_end(job, 0);
}

void work_expire(struct work *work, uint64_t now_ns, const char *why)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &work->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        if (!has_deadline(job) || now_ns < job->deadline_ns)
            continue;
        muse_set_error("%s: no answer of its server for %" PRIu64 " s%s%s", work->info->name,
                       work->patience_ns / 1000000000u, *why ? ": " : "", why);
        if (job->kind == JOB_READ)
            expire_read(work, job);
        else
            job_end(job, -EIO);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t work_next_ns(const struct work *work)
{
    uint64_t next_ns = UINT64_MAX;
    struct list *pos;

    for (unsigned i = 0; i < N_SLOTS; i++) {
        const struct slot *slot = &work->slots[i];

        if (slot->job && slot->n_flying > 0)
            next_ns = earlier(next_ns, slot->sent_ns + patience_of(work, slot));
    }
    if (work->is_flushing)
        next_ns = earlier(next_ns, work->flush_sent_ns + WRITE_PATIENCE_NS);
    list_for_each(pos, &work->jobs) {
        const struct job *job = LIST_ENTRY(pos, struct job, node);

        if (has_deadline(job))
            next_ns = earlier(next_ns, job->deadline_ns);
    }
    return next_ns;
}

void work_add(struct work *work, struct job *job, uint64_t now_ns)
{
    job->deadline_ns = now_ns + work->patience_ns;
    list_add_tail(&work->jobs, &job->node);
}

int work_init(struct work *work, const struct export_info *info, uint64_t patience_ns)
{
    void *buffers = mmap(NULL, BUFFERS_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (buffers == MAP_FAILED)
        return -ENOMEM;
    *work = (struct work){.info = info, .patience_ns = patience_ns, .buffers = buffers};
    list_init(&work->jobs);
    for (unsigned i = 0; i < N_SLOTS; i++) {
        work->slots[i].work = work;
        work->slots[i].buffer = work->buffers + (size_t)i * PIECE_BYTES;
    }
    return 0;
}

void work_done(struct work *work)
{
    struct list *pos, *tmp;

    work_lost(work);
    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (work->slots[i].job)
            slot_free(&work->slots[i]);
    }
    list_for_each_safe(pos, tmp, &work->jobs) {
        muse_set_error("%s: the driver ends", work->info->name);
        job_end(LIST_ENTRY(pos, struct job, node), -EIO);
    }
    (void)munmap(work->buffers, BUFFERS_BYTES); /* our own mapping: cannot fail */
}
