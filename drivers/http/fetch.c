/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread; see fetch.h. A job is a fault or a first look; it is cut into pieces, and each piece that is
 * under way has a slot: a transfer, and when to try again. The thread sleeps in curl_multi_poll(), which
 * new jobs end. All but the queue is its own.
 */
#include "drivers/http/fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "common/base/backoff.h"
#include "common/base/list.h"
#include "common/base/own.h"
#include "drivers/http/transfer.h"

#define N_SLOTS        8u /* chosen: as many connections as a browser has, and some */
#define BUFFERS_BYTES  ((size_t)N_SLOTS * PIECE_BYTES)
#define RETRY_FIRST_NS UINT64_C(50000000)   /* chosen */
#define RETRY_MAX_NS   UINT64_C(2000000000) /* chosen: several tries within a hook's deadline */

struct job {
    struct list node;
    struct muse_fault *fault; /* a read */
    const struct fetch_object *object;
    struct fetch_first *first; /* a first look */
    struct range bytes;        /* of the object, not of pages: ends where it does */
    uint64_t needed_end;
    uint64_t next; /* the first byte that no slot has had yet */
    unsigned n_slots;
    uint64_t deadline_ns;
};

struct slot {
    struct job *job; /* NULL: free */
    struct transfer transfer;
    struct range piece;
    bool is_flying; /* in the multi handle; else it waits for retry_ns */
    uint64_t retry_ns;
    struct backoff backoff;
    struct verdict last; /* why it has to be tried again */
};

struct fetch {
    pthread_t thread;
    CURLM *multi; /* owned */
    atomic_bool stop;
    pthread_mutex_t lock; /* of the queue */
    struct list queue;
    struct list jobs;
    struct slot slots[N_SLOTS];
    uint8_t *buffers; /* owned */
    uint64_t patience_ns;
};

static uint64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- the queue ---- */

static void put_job(struct fetch *fetch, struct job *job)
{
    job->next = job->bytes.start;
    job->deadline_ns = now() + fetch->patience_ns;
    (void)pthread_mutex_lock(&fetch->lock);
    list_add_tail(&fetch->queue, &job->node);
    (void)pthread_mutex_unlock(&fetch->lock);
    (void)curl_multi_wakeup(fetch->multi); /* fails only with a bad handle */
}

static void take_jobs(struct fetch *fetch)
{
    struct list *node;

    (void)pthread_mutex_lock(&fetch->lock);
    while ((node = list_take_first(&fetch->queue)) != NULL)
        list_add_tail(&fetch->jobs, node);
    (void)pthread_mutex_unlock(&fetch->lock);
}

int fetch_read(struct fetch *fetch, struct muse_fault *fault, const struct fetch_object *object)
{
    const uint64_t start = fault->first_page * MUSE_PAGE_BYTES;
    const uint64_t end = start + fault->n_pages * (uint64_t)MUSE_PAGE_BYTES;
    const uint64_t size = object->version.size_bytes;
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return -ENOMEM;
    job->fault = fault;
    job->object = object;
    job->bytes = range_make(start, end < size ? end : size);
    job->needed_end = start + fault->n_needed * (uint64_t)MUSE_PAGE_BYTES;
    put_job(fetch, job);
    return 0;
}

int fetch_look(struct fetch *fetch, struct fetch_first *first)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return -ENOMEM;
    job->first = first;
    job->bytes = range_make(0, 1);
    job->needed_end = 1;
    put_job(fetch, job);
    return 0;
}

/* ---- jobs ---- */

/* @error: 0, or -errno with the sentence set */
static void job_end(struct job *job, int error)
{
    MUST(job->n_slots == 0);
    list_del(&job->node);
    if (job->fault)
        muse_fault_done(job->fault, error);
    else if (job->first) /* one of the two is there */
        job->first->done(job->first, error);
    free(job);
}

/* Who waits comes first, readahead last. */
static struct job *next_job(struct fetch *fetch)
{
    struct job *found = NULL;
    struct list *pos;

    list_for_each(pos, &fetch->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        if (job->next >= job->bytes.end)
            continue;
        if (job->next < job->needed_end)
            return job;
        if (!found)
            found = job;
    }
    return found;
}

/* ---- slots ---- */

static const struct version *version_of(const struct job *job)
{
    return job->object ? &job->object->version : NULL;
}

static const char *url_of(const struct job *job)
{
    MUST(job->object || job->first);
    return job->object ? job->object->url : job->first->url;
}

static const char *name_of(const struct job *job)
{
    MUST(job->object || job->first);
    return job->object ? job->object->name : job->first->name;
}

static void slot_land(struct fetch *fetch, struct slot *slot)
{
    if (slot->is_flying)
        (void)curl_multi_remove_handle(fetch->multi, slot->transfer.easy); /* it is in there */
    slot->is_flying = false;
}

static void slot_free(struct fetch *fetch, struct slot *slot)
{
    slot_land(fetch, slot);
    slot->job->n_slots--;
    slot->job = NULL;
}

static void slot_take(struct slot *slot, struct job *job)
{
    const uint64_t end = job->next + PIECE_BYTES;

    slot->job = job;
    slot->piece = range_make(job->next, end < job->bytes.end ? end : job->bytes.end);
    slot->retry_ns = 0;
    slot->last = (struct verdict){0};
    slot->backoff = (struct backoff){.first_ns = RETRY_FIRST_NS, .max_ns = RETRY_MAX_NS};
    job->next = slot->piece.end;
    job->n_slots++;
}

/* What memory is missing for is tried again, too. */
static void slot_send(struct fetch *fetch, struct slot *slot, uint64_t now_ns)
{
    slot->is_flying = transfer_prepare(&slot->transfer, url_of(slot->job), version_of(slot->job),
                                       slot->piece) == 0 &&
                      curl_multi_add_handle(fetch->multi, slot->transfer.easy) == CURLM_OK;
    if (!slot->is_flying)
        slot->retry_ns = backoff_failed(&slot->backoff, now_ns);
}

static void supply(const struct slot *slot)
{
    const uint64_t n_bytes = range_len(slot->piece);
    const uint64_t n_pages = (n_bytes + MUSE_PAGE_BYTES - 1) / MUSE_PAGE_BYTES;

    memset(slot->transfer.buffer + n_bytes, 0, n_pages * MUSE_PAGE_BYTES - n_bytes);
    /* a server that is gone wants no pages; that of others cannot fail */
    (void)muse_fault_supply(slot->job->fault, slot->piece.start / MUSE_PAGE_BYTES,
                            slot->transfer.buffer, n_pages);
}

/* Only the pages of the piece that somebody waits for: the others are asked for again by who wants them. */
static void refuse(const struct slot *slot, const struct verdict *verdict)
{
    const struct job *job = slot->job;
    const uint64_t first_page = slot->piece.start / MUSE_PAGE_BYTES;
    const uint64_t end = slot->piece.end < job->needed_end ? slot->piece.end : job->needed_end;

    if (end <= slot->piece.start)
        return;
    muse_set_error("bytes %" PRIu64 " to %" PRIu64 " of %.*s: %s", slot->piece.start,
                   slot->piece.end, FETCH_NAME_SHOWN, name_of(job), verdict->text);
    (void)muse_fault_fail(job->fault, first_page,
                          (end + MUSE_PAGE_BYTES - 1) / MUSE_PAGE_BYTES - first_page,
                          verdict->error);
}

static void end_first(struct job *job, const struct slot *slot, const struct verdict *verdict)
{
    if (verdict->error == 0 && slot->transfer.answer.modified[0])
        job->first->mtime_s = (int64_t)curl_getdate(slot->transfer.answer.modified, NULL);
    if (verdict->error < 0)
        muse_set_error("%.*s: %s", FETCH_NAME_SHOWN, name_of(job), verdict->text);
    job_end(job, verdict->error);
}

static void on_end(struct fetch *fetch, struct slot *slot, CURLcode result, uint64_t now_ns)
{
    struct job *job = slot->job;
    struct verdict verdict = {0};

    slot_land(fetch, slot);
    transfer_judge(&slot->transfer, result, version_of(job),
                   job->first ? &job->first->version : NULL, &verdict);
    if (verdict.error == -EAGAIN) {
        slot->last = verdict;
        slot->retry_ns = backoff_failed(&slot->backoff, now_ns);
        return;
    }
    if (job->fault && verdict.error == 0)
        supply(slot);
    else if (job->fault)
        refuse(slot, &verdict);
    slot_free(fetch, slot);
    if (job->first)
        end_first(job, slot, &verdict);
    else if (job->n_slots == 0 && job->next >= job->bytes.end)
        job_end(job, 0);
}

static void take_answers(struct fetch *fetch, uint64_t now_ns)
{
    CURLMsg *message;
    int n_left;

    while ((message = curl_multi_info_read(fetch->multi, &n_left)) != NULL) {
        const CURLcode result = message->data.result; /* gone with the handle's removal */
        struct slot *slot;

        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot) == CURLE_OK)
            on_end(fetch, slot, result, now_ns);
    }
}

/* ---- time ---- */

static void expire(struct fetch *fetch, struct job *job)
{
    const char *why = "";

    for (unsigned i = 0; i < N_SLOTS; i++) {
        struct slot *slot = &fetch->slots[i];

        if (slot->job != job)
            continue;
        if (slot->last.error != 0)
            why = slot->last.text;
        slot_free(fetch, slot);
    }
    muse_set_error("%.*s: no answer of the server for %" PRIu64 " s%s%s", FETCH_NAME_SHOWN,
                   name_of(job), fetch->patience_ns / 1000000000u, *why ? ": " : "", why);
    job_end(job, -EIO);
}

static void check_time(struct fetch *fetch, uint64_t now_ns)
{
    struct list *pos, *tmp;

    list_for_each_safe(pos, tmp, &fetch->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        if (now_ns >= job->deadline_ns)
            expire(fetch, job);
    }
}

static int poll_ms(const struct fetch *fetch, uint64_t now_ns)
{
    uint64_t next_ns = now_ns + UINT64_C(3600000000000);
    struct list *pos;

    list_for_each(pos, &fetch->jobs) {
        const struct job *job = LIST_ENTRY(pos, struct job, node);

        next_ns = job->deadline_ns < next_ns ? job->deadline_ns : next_ns;
    }
    for (unsigned i = 0; i < N_SLOTS; i++) {
        const struct slot *slot = &fetch->slots[i];

        if (slot->job && !slot->is_flying && slot->retry_ns < next_ns)
            next_ns = slot->retry_ns;
    }
    return next_ns <= now_ns ? 0 : (int)((next_ns - now_ns) / 1000000u) + 1;
}

static void send_all(struct fetch *fetch, uint64_t now_ns)
{
    for (unsigned i = 0; i < N_SLOTS; i++) {
        struct slot *slot = &fetch->slots[i];
        struct job *job = slot->job ? NULL : next_job(fetch);

        if (job)
            slot_take(slot, job);
        if (slot->job && !slot->is_flying && now_ns >= slot->retry_ns)
            slot_send(fetch, slot, now_ns);
    }
}

static void *run(void *arg)
{
    struct fetch *fetch = arg;

    while (!atomic_load(&fetch->stop)) {
        int n_running;

        take_jobs(fetch);
        send_all(fetch, now());
        (void)curl_multi_perform(fetch->multi, &n_running); /* what fails ends a transfer */
        take_answers(fetch, now());
        check_time(fetch, now());
        send_all(fetch, now());
        (void)curl_multi_poll(fetch->multi, NULL, 0, poll_ms(fetch, now()), NULL);
    }
    return NULL;
}

/* ---- start and end ---- */

static void release(struct fetch *fetch)
{
    for (unsigned i = 0; i < N_SLOTS; i++)
        transfer_done(&fetch->slots[i].transfer);
    if (fetch->multi)
        (void)curl_multi_cleanup(fetch->multi); /* nothing is in it any more */
    if (fetch->buffers)
        (void)munmap(fetch->buffers, BUFFERS_BYTES);
    (void)pthread_mutex_destroy(&fetch->lock);
    free(fetch);
    curl_global_cleanup();
}

static int init(struct fetch *fetch)
{
    void *buffers =
        mmap(NULL, BUFFERS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r = 0;

    if (buffers == MAP_FAILED)
        return -errno;
    fetch->buffers = buffers;
    fetch->multi = curl_multi_init();
    if (!fetch->multi)
        return -ENOMEM;
    for (unsigned i = 0; i < N_SLOTS && r == 0; i++) {
        r = transfer_init(&fetch->slots[i].transfer, fetch->buffers + (size_t)i * PIECE_BYTES,
                          &fetch->slots[i], fetch->patience_ns);
    }
    return r;
}

int fetch_start(struct fetch **ret_fetch, uint64_t patience_ns)
{
    struct fetch *fetch;
    int r;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    fetch = calloc(1, sizeof(*fetch));
    if (!fetch) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    fetch->patience_ns = patience_ns;
    (void)pthread_mutex_init(&fetch->lock, NULL); /* cannot fail with default attributes */
    list_init(&fetch->queue);
    list_init(&fetch->jobs);
    r = init(fetch);
    if (r == 0)
        r = -pthread_create(&fetch->thread, NULL, run, fetch);
    if (r < 0) {
        release(fetch);
        return r;
    }
    *ret_fetch = fetch;
    return 0;
}

struct fetch *fetch_stop(struct fetch *fetch)
{
    struct list *pos, *tmp;

    if (!fetch)
        return NULL;
    atomic_store(&fetch->stop, true);
    (void)curl_multi_wakeup(fetch->multi);
    (void)pthread_join(fetch->thread, NULL);
    take_jobs(fetch);
    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (fetch->slots[i].job)
            slot_free(fetch, &fetch->slots[i]);
    }
    list_for_each_safe(pos, tmp, &fetch->jobs) {
        struct job *job = LIST_ENTRY(pos, struct job, node);

        muse_set_error("%.*s: the driver ends", FETCH_NAME_SHOWN, name_of(job));
        job_end(job, -EIO);
    }
    release(fetch);
    return NULL;
}
