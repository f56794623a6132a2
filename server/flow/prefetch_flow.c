/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * muse_prefetch, step by step:
 *
 *   request_prefetch()  a sane range? an eventfd? -> answered at once
 *   lanes               up to LANES mappings of the range at a time, each chunk by chunk:
 *                       fill_wait() until the pages are valid, then shown: a touch does not fault
 *   a page fails        the chunk goes on behind it; where the driver does not answer, is dead, or the
 *                       cache is full, the rest of that mapping is left out
 *   all lanes idle      1 is added to the eventfd, and the prefetch is over
 *
 * The mappings are looked up again at each step, as they may be cut, replaced or unmapped meanwhile.
 * No lock is taken.
 *
 * Owns struct prefetch (malloc'ed, in space.prefetches, charged to the uid as a request) and the copy
 * of the client's eventfd in it. Ends with its client at the latest.
 */
#include "server/flow/prefetch_flow.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/own.h"
#include "common/ipc/fd.h"
#include "proto/client.pb-c.h"
#include "server/flow/fault_flow.h"
#include "server/flow/fill.h"
#include "server/flow/fill_flow.h"
#include "server/flow/requests.h"
#include "server/flow/session_flow.h"
#include "server/map/map_check.h"

#define LANES          4u /* chosen: mappings of slow drivers that do not wait for each other */
#define CHUNK_BYTES    (16ull << 20) /* chosen: shown in one go, half a millisecond */
#define STEPS_PER_TURN 4u   /* chosen: chunks without waiting, before others have their turn */
#define FAILURES_MAX   256u /* chosen: pages of one mapping that fail one by one */
#define RETRY_NS       10000000ull
#define PER_SPACE_MAX  64u /* chosen: each holds an fd of the server */

struct lane {
    struct fill_wait wait;
    struct prefetch *prefetch; /* that it is part of */
    struct object *object;     /* borrowed, to be compared: what the chunk was about */
    struct range chunk;        /* addresses it waits for */
    struct range addrs;        /* what is left of its mapping behind them; empty: idle, when it does
                                  not wait */
    unsigned n_failed;
};

struct prefetch {
    struct list of_space; /* in space.prefetches */
    struct space *space;  /* ref */
    int eventfd;          /* owned */
    struct range rest;    /* what no lane has taken yet */
    struct lane lanes[LANES];
    struct deadline again; /* goes on in a later turn */
};

static void prefetch_free(struct prefetch *prefetch)
{
    struct space *space = prefetch->space;

    for (unsigned i = 0; i < LANES; i++)
        fill_wait_cancel(&prefetch->lanes[i].wait);
    deadline_clear(&space->engine->loop, &prefetch->again);
    fd_close(&prefetch->eventfd);
    list_del(&prefetch->of_space);
    space->n_prefetches--;
    charge_drop(&space->engine->quotas, space->uid, QUOTA_REQUESTS, 1);
    free(prefetch);
    space_unref(space);
}

/* ---- one mapping ---- */

static bool is_served(const struct vma *vma)
{
    return vma->kind == VMA_MAPPED && vma->object && !vma->direct;
}

/* The object pages that @addrs of @vma show, up to the object's end. */
static struct range pages_of(const struct vma *vma, struct range addrs)
{
    const struct object *object = vma_object(vma);
    const struct range pages = {vma_page_at(vma, object, addrs.start),
                                vma_page_at(vma, object, addrs.end - 1) + 1};
    const struct range all = {0, object_n_pages(object)};

    return range_intersect(pages, all);
}

/* What is valid of the chunk is mapped; mappings in a transaction are shown by that. */
static void show(const struct lane *lane)
{
    struct space *space = lane->prefetch->space;
    struct vma *vma;

    vma_for_each_in(vma, &space->aspace.vmas, lane->chunk.start, lane->chunk.end) {
        if (is_served(vma) && vma->object == lane->object && !vma->write_locked &&
            !vma->graduated && space->uffd_open)
            fault_flow_show(space, vma, range_intersect(lane->chunk, vma_range(vma)));
    }
}

static void leave_mapping(struct lane *lane)
{
    lane->addrs.start = lane->addrs.end;
}

/* A page failed: on behind it, unless others will fail for the same reason, one deadline each. */
static void skip_failed(struct lane *lane, int error, uint64_t page)
{
    const struct vma *vma = vma_tree_find(&lane->prefetch->space->aspace.vmas, lane->chunk.start);
    uint64_t behind;

    if (error == -ETIMEDOUT || ++lane->n_failed >= FAILURES_MAX || !vma || !is_served(vma) ||
        vma->object != lane->object) {
        leave_mapping(lane);
        return;
    }
    behind = vma_addrs_of(vma, lane->object, (struct range){page, page + 1}).end;
    if (behind > lane->chunk.start)
        lane->addrs.start = behind;
}

static void step(struct prefetch *prefetch);

static void on_filled(struct fill_wait *wait, int error, uint64_t failed_page)
{
    struct lane *lane = CONTAINER_OF(wait, struct lane, wait);

    if (error < 0)
        skip_failed(lane, error, failed_page);
    show(lane);
    step(lane->prefetch);
}

/* The next chunk of the lane's mapping: afterwards it waits, or can go on at once. */
static void start_chunk(struct lane *lane)
{
    struct space *space = lane->prefetch->space;
    struct vma *vma = vma_tree_find(&space->aspace.vmas, lane->addrs.start);
    struct range pages;
    int r;

    if (!vma || !is_served(vma)) { /* it was unmapped, or is another now */
        leave_mapping(lane);
        return;
    }
    lane->chunk = range_intersect(lane->addrs, vma_range(vma));
    if (range_len(lane->chunk) > CHUNK_BYTES)
        lane->chunk.end = lane->chunk.start + CHUNK_BYTES;
    lane->addrs.start = lane->chunk.end;
    lane->object = vma_object(vma);
    pages = pages_of(vma, lane->chunk);
    if (range_is_empty(pages)) {
        leave_mapping(lane); /* behind the end of the object */
        return;
    }
    lane->wait.done = on_filled;
    lane->wait.what = "prefetch";
    lane->wait.space = space;
    r = fill_wait_start(lane->object, pages, &lane->wait);
    if (r == 0)
        return;
    show(lane);
    if (r < 0)
        leave_mapping(lane);
}

/* ---- all of them ---- */

/* The next mapping that no lane has. Return: whether there was one. */
static bool take_mapping(struct lane *lane)
{
    struct prefetch *prefetch = lane->prefetch;
    struct vma *vma;

    lane->n_failed = 0;
    vma_for_each_in(vma, &prefetch->space->aspace.vmas, prefetch->rest.start, prefetch->rest.end) {
        lane->addrs = range_intersect(prefetch->rest, vma_range(vma));
        prefetch->rest.start = lane->addrs.end;
        if (is_served(vma))
            return true;
    }
    lane->addrs = prefetch->rest = (struct range){0, 0};
    return false;
}

static void on_again(struct deadline *deadline)
{
    step(CONTAINER_OF(deadline, struct prefetch, again));
}

static void step_later(struct prefetch *prefetch, uint64_t in_ns)
{
    prefetch->again.fn = on_again;
    deadline_set(&prefetch->space->engine->loop, &prefetch->again, loop_now_ns() + in_ns);
}

static void finish(struct prefetch *prefetch)
{
    if (notifier_add(&prefetch->space->engine->notifier, prefetch->eventfd) < 0)
        step_later(prefetch, RETRY_NS); /* no memory in the kernel: the client waits for it still */
    else
        prefetch_free(prefetch);
}

/* Every idle lane gets something to do. May free the prefetch. */
static void step(struct prefetch *prefetch)
{
    unsigned n_steps = 0;
    bool is_waiting = false;

    for (unsigned i = 0; i < LANES; i++) {
        struct lane *lane = &prefetch->lanes[i];

        while (!lane->wait.pending && (!range_is_empty(lane->addrs) || take_mapping(lane))) {
            if (n_steps++ == STEPS_PER_TURN) {
                step_later(prefetch, 0);
                return;
            }
            start_chunk(lane);
        }
        is_waiting |= lane->wait.pending;
    }
    if (!is_waiting)
        finish(prefetch);
}

/* ---- the request ---- */

/* Takes @eventfd. Return: NULL: too many, or out of memory. */
static struct prefetch *prefetch_new(struct space *space, struct range range, int *eventfd)
{
    struct quota_table *quotas = &space->engine->quotas;
    struct prefetch *prefetch;

    if (space->n_prefetches >= PER_SPACE_MAX ||
        charge_take(quotas, space->uid, QUOTA_REQUESTS, 1) != 0)
        return NULL;
    prefetch = calloc(1, sizeof(*prefetch));
    if (!prefetch) {
        charge_drop(quotas, space->uid, QUOTA_REQUESTS, 1);
        return NULL;
    }
    prefetch->space = space_ref(space);
    prefetch->eventfd = fd_take(eventfd);
    prefetch->rest = range;
    for (unsigned i = 0; i < LANES; i++)
        prefetch->lanes[i].prefetch = prefetch;
    list_add_tail(&space->prefetches, &prefetch->of_space);
    space->n_prefetches++;
    return prefetch;
}

static bool has_hole(const struct space *space, struct range range)
{
    struct vma *vma;

    vma_for_each_in(vma, &space->aspace.vmas, range.start, range.end) {
        if (vma->kind != VMA_MAPPED || vma->start > range.start)
            return true;
        range.start = vma->end;
    }
    return range.start < range.end;
}

/* Return: 0; -EINVAL, -EBADF, -EAGAIN. */
static int check(struct space *space, const Muse__Wire__Prefetch *message, int eventfd,
                 struct range *ret_range, const char **ret_why)
{
    int r = 0;

    *ret_why = "the range is not page aligned, or beyond the address space";
    *ret_range = (struct range){message->addr, message->addr};
    if (message->length > 0)
        r = map_check_unmap(message->addr, message->length, ret_range);
    else if (message->addr % VMA_PAGE_BYTES != 0)
        r = -EINVAL;
    if (r < 0)
        return r;
    *ret_why = "the descriptor is no eventfd";
    r = notifier_check(&space->engine->notifier, eventfd);
    return r == -ENOMEM ? -EAGAIN : r;
}

int request_prefetch(struct space *space, struct frame *frame)
{
    Muse__Wire__Prefetch *message =
        muse__wire__prefetch__unpack(NULL, frame->n_payload, frame->payload);
    Muse__Wire__Prefetched reply = MUSE__WIRE__PREFETCHED__INIT;
    CLEAN_FD int eventfd = frame_fd_take(frame, 0);
    struct prefetch *prefetch;
    struct range range;
    const char *why;
    int r;

    if (!message)
        return -EPROTO;
    r = check(space, message, eventfd, &range, &why);
    muse__wire__prefetch__free_unpacked(message, NULL);
    if (r < 0) {
        space_fail(space, frame->header.id, r, why);
        return 0;
    }
    prefetch = prefetch_new(space, range, &eventfd);
    if (!prefetch) {
        space_fail(space, frame->header.id, -EAGAIN, "too many prefetches, or out of memory");
        return 0;
    }
    reply.has_hole = has_hole(space, range);
    space_reply(space, frame->header.id, FRAME_PREFETCHED, &reply.base);
    step(prefetch);
    return 0;
}

void prefetch_space_gone(struct space *space)
{
    struct list *node;

    while ((node = list_first(&space->prefetches)))
        prefetch_free(CONTAINER_OF(node, struct prefetch, of_space));
}
